"""The learner of all schemes, with its networks, heads, losses and random numbers."""
