"""Training: the loop around the learner, its logs and curves, and recordings of its policies."""
