"""Grids of trainings and evaluations: what they are, how they run, what they report."""
