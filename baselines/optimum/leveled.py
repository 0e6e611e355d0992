"""The best joint action of small networks with power levels: all powers of all APs are listed."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.ergodic import ergodic_rate
from baselines.optimum.choice import Choice, Floats, Integers
from rrm_env import SILENT, RRMConfig
from rrm_env.compiling import compiled

MAX_LISTED_POWERS = 4096
"""Most combinations of all APs' powers, (L + 1)^I with silence, that are listed."""


def is_listed(config: RRMConfig) -> bool:
    """Whether all powers of all APs of a network can be listed."""
    return bool((config.n_power_levels + 1) ** config.n_aps <= MAX_LISTED_POWERS)


class Leveled:
    """The best joint actions of an episode, by going through all powers of all APs.

    What an AP does is a digit: 0 is silence, d > 0 the level d - 1. So the APs' powers are a number
    to base L + 1, whose digit i is that of AP i, and the powers of all others are the number
    without digit i.

    Args:
        gain: (n, I, J) received power over noise in each time block, at full power.
        association: (J,) the AP of each user.
        powers: (L,) of the levels over full power.
        fades: whether a rate is the mean over Rayleigh fading, or the one without fading.
    """

    def __init__(self, gain: Floats, association: Integers, powers: Floats, *, fades: bool) -> None:
        self.shape = gain.shape[0], gain.shape[1], gain.shape[2]
        self._association = association.astype(np.int64, order="C")
        self._rates = np.stack(
            [rates_at_powers(block, self._association, powers, fades=fades) for block in gain]
        )

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:  # noqa: ARG002
        """In each block the joint action of highest sum of weight (J,) times rate."""
        n, n_aps, _ = self.shape
        value, served = np.empty(n), np.full((n, n_aps), SILENT)
        rate, level = np.zeros((n, n_aps)), np.full((n, n_aps), SILENT)
        _compare(value, served, level, rate, self._rates, self._association, weight)
        return Choice(value, value, served, rate, level)


def rates_at_powers(gain: Floats, association: Integers, powers: Floats, *, fades: bool) -> Floats:
    """(J, L, (L + 1)^(I - 1)) the rate of each user at each power of its AP and of the others."""
    n_aps, n_ues = gain.shape
    of_digit = np.concatenate([[0.0], powers])
    others = (powers.size + 1) ** (n_aps - 1)
    digits = np.arange(others)[:, None] // (powers.size + 1) ** np.arange(n_aps - 1)
    at = of_digit[digits % (powers.size + 1)]  # (others, I - 1)
    rates = np.empty((n_ues, powers.size, others))
    for j in range(n_ues):
        signal = powers[:, None] * gain[association[j], j]
        interference = at * np.delete(gain[:, j], association[j])
        rates[j] = (
            ergodic_rate(signal, interference)
            if fades
            else np.log2(1 + signal / (1 + interference.sum(axis=1)))
        )
    return rates


@compiled(nogil=True, error_model="numpy")
def _compare(
    value: Any, served: Any, level: Any, rate: Any, rates: Any, association: Any, weight: Any
) -> None:
    """Write the best joint actions; ties go to the lower user and to the lower number of powers.

    Given all powers, each AP's best user does not depend on the other APs' users.
    """
    n, n_ues, n_levels, n_others = rates.shape
    n_aps, base = served.shape[1], n_levels + 1
    top = np.empty((n_aps, n_levels, n_others))  # the best weighted rate of each AP
    for b in range(n):
        top[:] = 0.0
        for j in range(n_ues):
            for own in range(n_levels):
                for others in range(n_others):
                    weighted = weight[j] * rates[b, j, own, others]
                    if weighted > top[association[j], own, others]:
                        top[association[j], own, others] = weighted
        value[b], chosen = 0.0, 0
        for powers in range(1, n_others * base):
            total, place = 0.0, 1
            for i in range(n_aps):
                digit = powers // place % base
                if digit > 0:
                    others = powers % place + powers // (place * base) * place
                    total += top[i, digit - 1, others]
                place *= base
            if total > value[b]:
                value[b], chosen = total, powers
        place = 1
        for i in range(n_aps):
            digit = chosen // place % base
            if digit > 0:
                others = chosen % place + chosen // (place * base) * place
                best = top[i, digit - 1, others]
                for j in range(n_ues):
                    found = rates[b, j, digit - 1, others]
                    is_best = association[j] == i and weight[j] * found == best > 0.0
                    if is_best and served[b, i] == SILENT:
                        served[b, i], level[b, i], rate[b, i] = j, digit - 1, found
            place *= base
