"""Learners for `rrm_env`. Nothing here yet."""
