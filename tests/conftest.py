"""Settings shared by all tests."""

from hypothesis import settings

# Shared machines stall at random, and the first example of a test may compile kernels: no deadline.
settings.register_profile("default", deadline=None, max_examples=60, print_blob=True)
settings.register_profile("quick", parent=settings.get_profile("default"), max_examples=10)
settings.load_profile("default")
