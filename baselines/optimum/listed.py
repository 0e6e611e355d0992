"""The best joint action of small networks: the rates in all sets of access points are listed."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.ergodic import rates_of_sets
from baselines.optimum.choice import Choice, Floats, Integers
from rrm_env import SILENT
from rrm_env.compiling import compiled

MAX_LISTED_APS = 10


class Listed:
    """The best joint actions of an episode, by going through all sets of APs.

    Args:
        gain: (n, I, J) received power over noise in each time block.
        association: (J,) the AP of each user.
        fades: whether a rate is the mean over Rayleigh fading, or the one without fading.
    """

    def __init__(self, gain: Floats, association: Integers, *, fades: bool) -> None:
        self.shape = gain.shape[0], gain.shape[1], gain.shape[2]
        self._association = np.array(association, np.int64)
        everywhere = np.broadcast_to(self._association, (len(gain), gain.shape[2]))
        self._rates = (
            rates_of_sets(gain, everywhere) if fades else rates_without_fading(gain, everywhere)
        )

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:  # noqa: ARG002
        """In each block the joint action of highest sum of weight (J,) times rate."""
        n, n_aps, _ = self.shape
        value = np.empty(n)
        served, rate = np.empty((n, n_aps), np.int64), np.empty((n, n_aps))
        _best(value, served, rate, self._rates, self._association, weight)
        return Choice(value, value, served, rate)


def rates_without_fading(gain: Floats, association: Integers) -> Floats:
    """log2(1 + SINR) of every user in every set that contains its AP, as `rates_of_sets` does."""
    rates = np.empty((*association.shape, 2 ** (gain.shape[1] - 1)))
    gains, aps = np.array(gain, np.float64, order="C"), np.array(association, np.int64, order="C")
    _rates_without_fading(rates, gains, aps)
    return rates


_compile: Any = compiled(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


@_compile
def _best(value: Any, served: Any, rate: Any, rates: Any, association: Any, weight: Any) -> None:
    """Write value (n,), served (n, I) and rates (n, I) of the best joint action of each block."""
    n_blocks, n_ues, n_sets = rates.shape
    n_aps = served.shape[1]
    best = np.empty((n_aps, n_sets))  # of each AP's users in each set
    for b in range(n_blocks):
        best[:] = 0.0
        for j in range(n_ues):
            ap, factor = association[j], weight[j]
            for s in range(n_sets):
                best[ap, s] = max(best[ap, s], factor * rates[b, j, s])
        value[b], chosen = 0.0, 0
        for members in range(1, 1 << n_aps):
            total = 0.0
            for i in range(n_aps):
                if members >> i & 1:
                    total += best[i, members & ((1 << i) - 1) | members >> (i + 1) << i]
            if total > value[b]:
                value[b], chosen = total, members
        served[b], rate[b] = SILENT, 0.0
        for j in range(n_ues):
            ap = association[j]
            if chosen >> ap & 1:
                s = chosen & ((1 << ap) - 1) | chosen >> (ap + 1) << ap
                if served[b, ap] == SILENT and weight[j] * rates[b, j, s] == best[ap, s]:
                    served[b, ap], rate[b, ap] = j, rates[b, j, s]


@_compile
def _rates_without_fading(rates: Any, gain: Any, association: Any) -> None:
    """Write the rates (B, J, 2^(I - 1)); interference is summed directly."""
    n_envs, n_aps, n_ues = gain.shape
    for b in range(n_envs):
        for j in range(n_ues):
            ap = association[b, j]
            for s in range(rates.shape[2]):
                total = 1.0
                for k in range(n_aps - 1):
                    if s >> k & 1:
                        total += gain[b, k + (k >= ap), j]
                rates[b, j, s] = np.log2(1.0 + gain[b, ap, j] / total)
