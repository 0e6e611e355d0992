"""One learner for every scheme: networks, heads, losses and random numbers."""
