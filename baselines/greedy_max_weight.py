"""Max-weight scheduling of large networks, by greedy insertion and local search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.scheduler import Served
from baselines.weighted_rate import WeightedRate
from rrm_env import SILENT
from rrm_env.checks import bounded_integer
from rrm_env.compiling import compiled

MAX_SWEEPS = 1000
"""Largest number of sweeps of a local search."""
IMPROVEMENT = 1e-9
"""Smaller relative increases of the weighted rate do not count.

Otherwise rounding could keep a search going.
"""


class GreedyMaxWeight(WeightedRate):
    """A joint action with a high sum_j w_j^lambda C_j (Eq. 15), for networks of any size.

    A centre knows the channel. The search begins with one link. One at a time, the link of a silent
    AP joins that raises the weighted rate the most, net of what it takes from those already served,
    until no link raises it. Then the APs in their order, sweep after sweep, change to their best
    choice while all others stay as they are, be it another candidate or silence, until no AP can
    improve. The search is repeated from each of the links with the highest weighted rates alone,
    and the best outcome counts. It is a local optimum, which no change of one AP improves, and at
    least as good as any single link; `MaxWeight` finds the best joint action where it can search.
    Ties go to the present choice, then to lower APs and their better candidates.

    G. Dimic, N. D. Sidiropoulos, "On downlink beamforming with greedy user selection: performance
    analysis and a simple new algorithm", IEEE Trans. Signal Process. 53 (2005), select users by
    what each adds to the sum rate; weights, candidates per access point and the local search are
    additions.

    Args:
        csi: as for `MaxWeight`.
        exponent: as for `MaxWeight`.
        starts: number of first links to search from, at least 1; each costs about as much time.
    """

    def __init__(
        self, csi: str = "reported", exponent: float | None = None, starts: int = 8
    ) -> None:
        super().__init__(csi, exponent)
        self.starts = bounded_integer("starts", starts)

    def _best(self, candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Served:
        served: Served = _search(candidates, gain, average_rate, exponent, self.starts)
        return served


@compiled(nogil=True, error_model="numpy")
def _search(
    candidates: Any, gain: Any, average_rate: Any, fairness_exponent: float, starts: int
) -> Any:
    """The best joint action found for each episode; link l = i * N + s is candidate s of AP i."""
    n_envs, n_aps, n = candidates.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    ues = np.empty(n_aps * n, np.int64)
    weight, signal = np.empty(n_aps * n), np.empty(n_aps * n)
    alone = np.empty(n_aps * n)  # weighted rate without interference
    received = np.empty((n_aps, n_aps * n))  # [k, l]: interference from AP k at the UE of link l
    interference = np.empty(n_aps * n)  # noise and the power of all that transmit
    chosen = np.empty(n_aps, np.int64)  # the link of each AP, or SILENT
    for b in range(n_envs):
        ues[:] = candidates[b].ravel()
        for link in range(n_aps * n):
            weight[link] = (
                average_rate[b, ues[link]] ** -fairness_exponent if ues[link] != SILENT else 0.0
            )
            for k in range(n_aps):
                received[k, link] = gain[b, k, ues[link]] if ues[link] != SILENT else 0.0
            signal[link], received[link // n, link] = received[link // n, link], 0.0
            alone[link] = weight[link] * math.log2(1.0 + signal[link])
        best = 0.0
        # The sort is stable, so ties go to lower APs and better candidates.
        for first in np.argsort(-alone, kind="mergesort")[:starts]:
            chosen[:], interference[:] = SILENT, 1.0
            chosen[first // n] = first
            _add(interference, received[first // n])
            value = _insert(alone[first], chosen, weight, signal, received, interference)
            for _ in range(MAX_SWEEPS):
                before = value
                value = _sweep(value, chosen, weight, signal, received, interference)
                if value == before:
                    break
            if value > best * (1 + IMPROVEMENT):
                best = value
                for i in range(n_aps):
                    served[b, i] = ues[chosen[i]] if chosen[i] != SILENT else SILENT
    return served


@compiled(nogil=True, error_model="numpy")
def _insert(
    value: float, chosen: Any, weight: Any, signal: Any, received: Any, interference: Any
) -> float:
    """Let links join those that transmit, and return the weighted rate reached."""
    joining = 0
    while joining != SILENT:
        joining, best_change = SILENT, 0.0
        for i in range(chosen.size):
            if chosen[i] == SILENT:
                link, change = _best_reply(
                    i, SILENT, value, chosen, weight, signal, received, interference
                )
                if change > best_change:
                    joining, best_change = link, change
        if joining != SILENT:
            ap = joining * chosen.size // weight.size
            chosen[ap] = joining
            _add(interference, received[ap])
            value += best_change
    return value


@compiled(nogil=True, error_model="numpy")
def _sweep(
    value: float, chosen: Any, weight: Any, signal: Any, received: Any, interference: Any
) -> float:
    """Let each AP change to its best reply, and return the weighted rate reached.

    It is the same number if no AP changed.
    """
    for i in range(chosen.size):
        kept = chosen[i]
        if kept != SILENT:
            # Interference is summed anew without this AP. Subtracting a strong signal would leave
            # rounding errors in place of weak ones.
            chosen[i], interference[:] = SILENT, 1.0
            for k in range(chosen.size):
                if chosen[k] != SILENT:
                    _add(interference, received[k])
        link, change = _best_reply(i, kept, value, chosen, weight, signal, received, interference)
        if link != SILENT:
            chosen[i] = link
            _add(interference, received[i])
        value += change
    return value


@compiled(nogil=True, error_model="numpy")
def _best_reply(
    i: int,
    kept: int,
    value: float,
    chosen: Any,
    weight: Any,
    signal: Any,
    received: Any,
    interference: Any,
) -> Any:
    """The best choice of AP i, now silent, and how much it raises the weighted rate over `kept`."""
    n, taken = weight.size // chosen.size, 0.0
    for k in range(chosen.size):
        link = chosen[k]
        if link != SILENT:
            before = interference[link]
            after = before + received[i, link]
            taken += weight[link] * math.log2(
                (before + signal[link]) / before * (after / (after + signal[link]))
            )
    kept_change = (
        weight[kept] * math.log2(1.0 + signal[kept] / interference[kept]) - taken
        if kept != SILENT
        else 0.0
    )
    threshold = IMPROVEMENT * value
    best, best_change = kept, kept_change
    for link in range(i * n, (i + 1) * n):
        change = weight[link] * math.log2(1.0 + signal[link] / interference[link]) - taken
        if weight[link] > 0.0 and change > max(best_change, kept_change + threshold):
            best, best_change = link, change
    if max(best_change, kept_change + threshold) < 0.0:
        best, best_change = SILENT, 0.0
    return best, best_change - kept_change


@compiled(nogil=True)
def _add(total: Any, row: Any) -> None:
    for k in range(total.size):
        total[k] += row[k]
