"""Growth of memory, and statistics of early episodes against late ones, for the soak."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray
from scipy import stats

RSS_BOUND = 4 * 2**20
"""Bytes by which resident memory may grow after the warm-up.

They leave room for fragmentation and late buffers and are far below one byte per step.
"""
BLOCKS_BOUND = 2000
"""Blocks of Python's allocator, some 0.1 MiB, that may be added after the warm-up."""
OBJECTS_BOUND = 200
"""Objects that the garbage collector tracks and that may be added after the warm-up."""
TESTS = ("mean", "distribution", "trend")


class Memory:
    """Samples of resident memory, of the blocks of Python's allocator and of objects over a run.

    Args:
        rounds: number of calls of `sample`, at least 20; at most some 200 samples are taken. Room
            for them is made at once, so that samples do not count themselves.
    """

    def __init__(self, rounds: int) -> None:
        self._every, self._calls, self._taken = max(1, rounds // 200), 0, 0
        self._samples = np.full((rounds // self._every, 3), -1, np.int64)
        self._process = psutil.Process()
        gc.collect()
        gc.freeze()  # collections visit only objects that are made from here on

    def sample(self) -> None:
        """Take a sample in every n-th call."""
        self._calls += 1
        if self._calls % self._every == 0:
            gc.collect()
            self._samples[self._taken] = (
                self._process.memory_info().rss,
                sys.getallocatedblocks(),
                len(gc.get_objects()),
            )
            self._taken += 1

    def growth(self) -> dict[str, int]:
        """Return the median of the last tenth less that of the second; the first is the warm-up."""
        tenth = self._taken // 10
        early, late = (
            np.median(part, 0).astype(int)
            for part in (self._samples[tenth : 2 * tenth], self._samples[self._taken - tenth :])
        )
        names = ("growth_bytes", "growth_blocks", "growth_objects")
        grown = dict(zip(names, (late - early).tolist(), strict=True))
        return {"resident_bytes": int(late[0]), **grown}


def flat(growth: Mapping[str, int]) -> bool:
    """Return whether memory stayed within the bounds."""
    bounds = {"bytes": RSS_BOUND, "blocks": BLOCKS_BOUND, "objects": OBJECTS_BOUND}
    return all(growth[f"growth_{what}"] <= bound for what, bound in bounds.items())


def drift(values: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """Return p-values of three tests per quantity; a constant quantity has p = 1.

    ``mean`` is Welch's t-test of the first tenth against the last. ``distribution`` is Kolmogorov
    and Smirnov's test of the same; with ties its p-value is too large. ``trend`` tests the slope of
    a linear regression of the values on their order.

    Args:
        values: for each quantity its values (episodes,) in the order of the episodes, which are
            independent draws.
    """
    found: dict[str, float] = {}
    for name, series in values.items():
        tenth = len(series) // 10
        first, last = series[:tenth], series[-tenth:]
        if np.ptp(series) == 0:
            found |= dict.fromkeys((f"{name}, {test}" for test in TESTS), 1.0)
            continue
        method = "exact" if tenth <= 1000 else "asymp"
        results = (
            stats.ttest_ind(first, last, equal_var=False),
            stats.ks_2samp(first, last, method=method),
            stats.linregress(np.arange(len(series)), series),
        )
        for test, result in zip(TESTS, results, strict=True):
            found[f"{name}, {test}"] = float(result.pvalue)
    return found


def paired_drift(
    early: Mapping[str, NDArray[Any]], late: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Return p-values of paired t-tests of an early and a late part of one long episode.

    Args:
        early: for each quantity its average (links,) over the early part; links are independent.
        late: the same over the late part.
    """
    return {
        f"{name}, paired mean": float(stats.ttest_rel(early[name], late[name]).pvalue)
        for name in early
    }
