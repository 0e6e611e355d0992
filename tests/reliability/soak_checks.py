"""What the soak looks at while it runs, beside the network itself: memory, and statistics of early episodes against late ones."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RSS_BOUND = 4 * 2**20
"""Bytes by which resident memory may grow after the warm-up: fragmentation and late buffers, far below one byte per step."""
BLOCKS_BOUND = 2000
"""Blocks of Python's allocator by which the interpreter may grow after the warm-up, some 0.1 MiB."""
OBJECTS_BOUND = 200
"""Objects under the garbage collector's watch that may be added after the warm-up."""


def resident_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    statm = Path("/proc/self/statm")
    return (
        int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if statm.exists() else None
    )


class Memory:
    """Samples of resident memory, of the blocks of Python's allocator and of objects over a run.

    Args:
        rounds: how often `sample` will be called, at least 20; at most some 200 samples are taken. Room for them is made at once, so
            that samples do not count themselves.
    """

    def __init__(self, rounds: int) -> None:
        self._every, self._calls, self._taken = max(1, rounds // 200), 0, 0
        self._samples = np.full((rounds // self._every, 3), -1, np.int64)
        gc.collect()
        gc.freeze()  # collections look at what comes from here on

    def sample(self) -> None:
        """Take one, if it is time to."""
        self._calls += 1
        if self._calls % self._every == 0:
            gc.collect()
            self._samples[self._taken] = (
                resident_bytes() or 0,
                sys.getallocatedblocks(),
                len(gc.get_objects()),
            )
            self._taken += 1

    def growth(self) -> dict[str, int]:
        """Median of the last tenth less that of the second; the first is the warm-up."""
        tenth = self._taken // 10
        early, late = (
            np.median(part, 0).astype(int)
            for part in (self._samples[tenth : 2 * tenth], self._samples[self._taken - tenth :])
        )
        grown = dict(
            zip(
                ("growth_bytes", "growth_blocks", "growth_objects"),
                (late - early).tolist(),
                strict=True,
            )
        )
        return {"resident_bytes": int(late[0]), **grown}


def flat(growth: Mapping[str, int]) -> bool:
    """Whether memory stayed within the bounds."""
    return all(
        growth[f"growth_{what}"] <= bound
        for what, bound in (
            ("bytes", RSS_BOUND),
            ("blocks", BLOCKS_BOUND),
            ("objects", OBJECTS_BOUND),
        )
    )


def drift(values: Mapping[str, NDArray[Any]]) -> dict[str, float]:
    """p-values of three tests per quantity, given its values (episodes,) in the order of the episodes, which are independent draws.

    ``mean``: Welch's t-test of the first tenth against the last. ``distribution``: Kolmogorov and Smirnov's test of the same (with ties
    its p-value is too large). ``trend``: no slope in a linear regression of the values on their order. A constant quantity has p = 1.
    """
    found: dict[str, float] = {}
    for name, series in values.items():
        tenth = len(series) // 10
        first, last = series[:tenth], series[-tenth:]
        constant = np.ptp(series) == 0
        found[f"{name}, mean"] = (
            1.0 if constant else float(stats.ttest_ind(first, last, equal_var=False).pvalue)
        )
        method = "exact" if tenth <= 1000 else "asymp"
        found[f"{name}, distribution"] = (
            1.0 if constant else float(stats.ks_2samp(first, last, method=method).pvalue)
        )
        found[f"{name}, trend"] = (
            1.0 if constant else float(stats.linregress(np.arange(len(series)), series).pvalue)
        )
    return found


def paired_drift(
    early: Mapping[str, NDArray[Any]], late: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """p-values of paired t-tests: averages (links,) over an early and a late part of one long episode, links being independent."""
    return {
        f"{name}, paired mean": float(stats.ttest_rel(early[name], late[name]).pvalue)
        for name in early
    }
