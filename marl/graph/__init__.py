"""A policy for networks of any size: learned prices of users, and a search that obeys them."""
