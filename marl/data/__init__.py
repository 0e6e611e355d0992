"""Transitions: where they come from, how they are stored, and the files that hold them."""
