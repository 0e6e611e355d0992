"""Continuous powers of a search, their weighted rate, and their rounding to power levels."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.scheduler import Served
from baselines.weighted_rate import WeightedRate, links
from rrm_env import SILENT, Network, PoweredDecision
from rrm_env.checks import nearest
from rrm_env.compiling import compiled

POWERS = ("on_off", "levels")
"""What continuous powers are rounded to: full power or silence, or the network's levels."""
IMPROVEMENT = 1e-9
"""Smaller relative increases of the weighted rate do not count.

Otherwise rounding could keep a search going.
"""


class Continuous(NamedTuple):
    """The continuous powers that a search ends with, before they are rounded."""

    power: NDArray[np.float64]
    """(B, I) of each AP, relative to `tx_power_dbm`, linear."""
    value: NDArray[np.float64]
    """(B,) sum_j w_j^lambda C_j at these powers, of each AP's best candidate."""


def rounded(
    candidates: Any, weight: Any, received: Any, power: Any, powers: Any
) -> PoweredDecision:
    """The decision at the levels next to continuous powers.

    Each AP takes the level or silence whose power is nearest to its own. Then the APs in their
    order, sweep after sweep, change to the other one of the two levels next to their own power
    where that raises the weighted rate, until none changes. All serve their candidates of highest
    weighted rate. Ties go to the nearer level and to better candidates.

    Args:
        candidates: (B, I, N).
        weight: of `links`.
        received: of `links`.
        power: (B, I) continuous powers.
        powers: (L,) of the levels, in the same unit.
    """
    order = np.argsort(powers)
    steps = np.concatenate([[0.0], powers[order]])  # silence is the lowest step
    step, slot = _rounded(weight, received, power, steps)
    return PoweredDecision(served_of(candidates, slot), order[np.maximum(step - 1, 0)])


def served_of(candidates: Any, slot: NDArray[np.int64]) -> Served:
    """(B, I) the users at places (B, I) among candidates (B, I, N); `SILENT` where that is."""
    chosen = np.take_along_axis(candidates, np.maximum(slot, 0)[..., None], axis=2)[..., 0]
    return np.where(slot == SILENT, SILENT, chosen).astype(np.int64)


class PowerSearch(WeightedRate):
    """A search whose powers are continuous until it rounds them.

    Args:
        csi: as for `WeightedRate`.
        exponent: as for `WeightedRate`.
        power: ``on_off``: full power or silence; or ``levels``: the levels of the network, of which
            each AP takes one of the two next to its continuous power, or silence (`rounded`).

    Raises:
        ValueError: another value of ``power``.
    """

    def __init__(self, csi: str, exponent: float | None, power: str) -> None:
        super().__init__(csi, exponent)
        if power not in POWERS:
            raise ValueError(f"unknown power {nearest(str(power), POWERS)}")
        self.power = power

    def continuous(self, network: Network) -> Continuous:
        """The powers before rounding, up to the highest level, with their weighted rate.

        The rate is computed on the channel of the search. No AP can play these powers.
        """
        candidates, gain, average_rate, exponent = self._known(network)
        weight, received = links(candidates, gain, average_rate, exponent)
        power = self._limited(weight, received, max(network.config.relative_powers))
        value = np.empty(len(power))
        _values(value, weight, received, power)
        return Continuous(power, value)

    @abstractmethod
    def _powers(self, weight: Any, received: Any) -> NDArray[np.float64]:
        """(B, I) continuous powers up to 1, for weight and received of `links`."""

    def _limited(self, weight: Any, received: Any, highest: float) -> NDArray[np.float64]:
        """(B, I) continuous powers up to ``highest``."""
        return highest * self._powers(weight, received * highest)

    def _best_at_levels(
        self, candidates: Any, gain: Any, average_rate: Any, exponent: float, powers: Any
    ) -> PoweredDecision | None:
        if self.power == "on_off":
            return None
        weight, received = links(candidates, gain, average_rate, exponent)
        power = self._limited(weight, received, powers.max())
        return rounded(candidates, weight, received, power, powers)


@compiled(nogil=True, error_model="numpy")
def _rounded(weight: Any, received: Any, power: Any, steps: Any) -> Any:
    """The step of each AP, 0 for silence, and the candidate that it serves, both (B, I)."""
    n_envs, n_aps, _ = weight.shape
    chosen, slot = np.zeros((n_envs, n_aps), np.int64), np.full((n_envs, n_aps), SILENT, np.int64)
    low, at = np.empty(n_aps, np.int64), np.empty(n_aps)  # at: the power of each AP's step
    for b in range(n_envs):
        for i in range(n_aps):
            low[i] = max(min(np.searchsorted(steps, power[b, i]), steps.size - 1) - 1, 0)
            above = steps[low[i] + 1] - power[b, i] < power[b, i] - steps[low[i]]
            chosen[b, i] = low[i] + 1 if above else low[i]
            if weight[b, i, 0] == 0.0:  # an AP without candidates never transmits
                chosen[b, i] = 0
            at[i] = steps[chosen[b, i]]
        value, changed = _value(at, slot[b], weight[b], received[b]), True
        while changed:
            changed = False
            for i in range(n_aps):
                if weight[b, i, 0] == 0.0:
                    continue
                other = 2 * low[i] + 1 - chosen[b, i]
                before, at[i] = at[i], steps[other]
                reached = _value(at, slot[b], weight[b], received[b])
                if reached > value * (1.0 + IMPROVEMENT):
                    chosen[b, i], value, changed = other, reached, True
                else:
                    at[i] = before
        _value(at, slot[b], weight[b], received[b])
    return chosen, slot


@compiled(nogil=True, error_model="numpy")
def _values(value: Any, weight: Any, received: Any, power: Any) -> None:
    """Write the weighted rates (B,) at powers (B, I)."""
    slot = np.empty(weight.shape[1], np.int64)
    for b in range(value.size):
        value[b] = _value(power[b], slot, weight[b], received[b])


@compiled(nogil=True, error_model="numpy")
def _value(power: Any, slot: Any, weight: Any, received: Any) -> float:
    """The weighted rate at powers (I,), each AP's best candidate written to slot (I,)."""
    n_aps, n = weight.shape
    total = 0.0
    for i in range(n_aps):
        highest, slot[i] = 0.0, SILENT
        if power[i] == 0.0:
            continue
        for s in range(n):
            if weight[i, s] == 0.0:  # neither this candidate nor a later one exists
                break
            interference = 1.0
            for k in range(n_aps):
                if k != i:
                    interference += received[k, i, s] * power[k]
            rate = weight[i, s] * math.log2(1.0 + received[i, i, s] * power[i] / interference)
            if slot[i] == SILENT or rate > highest:
                highest, slot[i] = rate, s
        total += highest
    return total
