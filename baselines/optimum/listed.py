"""The best joint action of small networks: the rates in all sets of access points are listed."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.ergodic import rates_of_sets
from baselines.joint_actions import compare_sets
from baselines.optimum.choice import Choice, Floats, Integers
from rrm_env import SILENT
from rrm_env.compiling import compiled


class Listed:
    """The best joint actions of an episode, by going through all sets of APs.

    Args:
        gain: (n, I, J) received power over noise in each time block.
        association: (J,) the AP of each user.
        fades: whether a rate is the mean over Rayleigh fading, or the one without fading.
    """

    def __init__(self, gain: Floats, association: Integers, *, fades: bool) -> None:
        self.shape = gain.shape[0], gain.shape[1], gain.shape[2]
        self._association = np.empty((gain.shape[0], gain.shape[2]), np.int64)
        self._association[:] = association
        rates = rates_of_sets if fades else rates_without_fading
        self._rates = rates(gain, self._association)

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:  # noqa: ARG002
        """In each block the joint action of highest sum of weight (J,) times rate."""
        n, n_aps, n_ues = self.shape
        value, weights = np.empty(n), np.empty((n, n_ues))
        weights[:] = weight
        served, rate = np.full((n, n_aps), SILENT), np.zeros((n, n_aps))
        compare_sets(value, served, rate, self._rates, self._association, weights)
        return Choice(value, value, served, rate)


def rates_without_fading(gain: Floats, association: Integers) -> Floats:
    """log2(1 + SINR) of every user in every set that contains its AP, as `rates_of_sets` does."""
    rates = np.empty((*association.shape, 2 ** (gain.shape[1] - 1)))
    gains, aps = np.array(gain, np.float64, order="C"), np.array(association, np.int64, order="C")
    _rates_without_fading(rates, gains, aps)
    return rates


_compile: Any = compiled(nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


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
