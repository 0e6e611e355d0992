"""Episode seeds: who uses which, those that a caller gives, and random ones."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.checks import as_integer

EVALUATION_SEEDS = 2**62
"""First episode seed of `rrm_env.evaluate`, whose seeds reach to 2^63 - 1.

Training uses 0 ... 2^62 - 1 and never meets them.
"""


def random_seeds(num_envs: int) -> NDArray[np.uint64]:
    """(B,) consecutive seeds for training, the first drawn from the operating system."""
    first = secrets.randbelow(EVALUATION_SEEDS - num_envs)
    return np.arange(first, first + num_envs, dtype=np.uint64)


def given_seeds(seed: int | Sequence[int] | NDArray[Any], num_envs: int) -> NDArray[np.uint64]:
    """(B,) the seeds that a caller gives: an int s stands for s, s + 1, ..., s + B - 1.

    Raises:
        TypeError, ValueError: no integers, not B of them, or outside 0 ... 2^63 - 1.
    """
    allowed = f"an int, or {num_envs} ints, from 0 to 2^63 - 1"
    first = as_integer(seed)
    if first is not None:
        seeds = [first + k for k in range(num_envs)]
    else:
        array = np.asarray(seed)
        if array.dtype.kind not in "iu":
            raise TypeError(f"seed must be {allowed}, got {seed!r}")
        if array.shape != (num_envs,):
            raise ValueError(f"seed must be {allowed}, got an array of shape {array.shape}")
        seeds = [int(s) for s in array]
    if min(seeds) < 0 or max(seeds) >= 2**63:
        wrong = min(seeds) if min(seeds) < 0 else max(seeds)
        raise ValueError(f"seed must be {allowed}, got {wrong}")
    return np.array(seeds, np.uint64)
