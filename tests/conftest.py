"""Settings shared by all tests."""

import importlib.util

from hypothesis import settings

# Learners need torch, which is an extra and missing where only the environment is tested.
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_marl_*.py"]

# Shared machines stall at random, and the first example of a test may compile kernels: no deadline.
settings.register_profile("default", deadline=None, max_examples=60, print_blob=True)
settings.register_profile("quick", parent=settings.get_profile("default"), max_examples=10)
settings.load_profile("default")
