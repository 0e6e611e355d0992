"""The loop around the learner, and trained policies at work."""
