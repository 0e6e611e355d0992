"""The joint action of highest weighted ergodic rate at given gains, for schedulers with weights.

Up to `EXACT_APS` access points all sets of them are compared. In larger networks a set grows and
shrinks by one AP while that raises the weighted sum, as in G. Dimic, N. D. Sidiropoulos, "On
downlink beamforming with greedy user selection: performance analysis and a simple new algorithm",
IEEE Trans. Signal Process. 53 (2005).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.ergodic import nodes_and_weights_of_each, rates_of_set, rates_of_sets
from rrm_env import SILENT, RRMConfig
from rrm_env.compiling import compiled

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

EXACT_APS = 10
"""Largest network in which all sets of transmitting APs are compared."""
IMPROVEMENT = 1e-9
"""Smaller relative increases do not count, so that rounding cannot keep a search going."""
RATES_AT_ONCE = 2**22
"""Ergodic rates that are kept in memory at once, 32 MB."""


class Chosen(NamedTuple):
    """Joint actions of b episodes."""

    served: Integers
    """(b, I) the user of each AP, or `SILENT`."""
    rate: Floats
    """(b, I) the ergodic rates of those users, bit/s/Hz; 0 where the AP is silent."""


class JointActions:
    """Finds joint actions at the present gains of b episodes.

    Args:
        gain: (b, I, J) received power over noise, without fading.
        association: (b, J) the AP of each user.
    """

    def __init__(self, gain: NDArray[Any], association: NDArray[Any]) -> None:
        self.gain = np.array(gain, np.float64, order="C")
        self.association = association.astype(np.int64, order="C")
        self._rates: Floats | None = None
        if gain.shape[1] <= EXACT_APS:
            self._rates = rates_of_sets(self.gain, self.association, coarse=True)
            return
        self._rule = nodes_and_weights_of_each(self.gain.sum(axis=1).max(axis=1), coarse=True)

    def best(self, weight: Floats, start: Integers | None = None) -> Chosen:
        """The best joint actions found; ties go to the lower user and to few high APs.

        Args:
            weight: (b, J) of the rates, at least 0; users of weight 0 are not served.
            start: (b, I) joint actions whose sets of APs a growing set begins with.
        """
        b, n_aps = self.gain.shape[:2]
        served, rate = np.full((b, n_aps), SILENT), np.zeros((b, n_aps))
        if self._rates is not None:
            _compare(served, rate, self._rates, self.association, weight)
        else:
            if start is not None:
                served[:] = start
            _grow(served, rate, self.gain, self.association, weight, *self._rule)
        return Chosen(served, rate)

    def rates_beside(self, transmits: NDArray[np.bool_]) -> Floats:
        """(b, J) each user's ergodic rate beside the APs (b, I) that transmit, its own included."""
        if self._rates is not None and bool(transmits.all()):
            return self._rates[..., -1]
        return rates_of_set(self.gain, self.association, transmits, coarse=True)


def parts(config: RRMConfig, num_envs: int) -> Iterator[slice]:
    """Parts of the episodes for which `JointActions` needs little memory at once."""
    size = num_envs
    if config.n_aps <= EXACT_APS:
        size = max(1, RATES_AT_ONCE // (config.n_ues * 2 ** (config.n_aps - 1)))
    for first in range(0, num_envs, size):
        yield slice(first, first + size)


@compiled(nogil=True, error_model="numpy")
def _compare(served: Any, rate: Any, rates: Any, association: Any, weight: Any) -> None:
    """Write the users (B, I) of the best of all sets, from rates (B, J, 2^(I - 1)).

    Given the set, each AP's best user does not depend on the other APs' users.
    """
    n_envs, n_ues, n_sets = rates.shape
    n_aps = served.shape[1]
    top = np.empty((n_aps, n_sets))  # the best weighted rate of each AP, by the set of the others
    user = np.empty((n_aps, n_sets), np.int64)
    for b in range(n_envs):
        top[:], user[:] = 0.0, SILENT
        for j in range(n_ues):
            if weight[b, j] > 0.0:
                i = association[b, j]
                for others in range(n_sets):
                    value = weight[b, j] * rates[b, j, others]
                    if value > top[i, others]:
                        top[i, others], user[i, others] = value, j
        best, best_set = 0.0, 0
        for members in range(1, 2 * n_sets):
            total = 0.0
            for i in range(n_aps):
                if members >> i & 1:
                    total += top[i, members & ((1 << i) - 1) | members >> i + 1 << i]
            if total > best * (1.0 + IMPROVEMENT):
                best, best_set = total, members
        for i in range(n_aps):
            if best_set >> i & 1:
                others = best_set & ((1 << i) - 1) | best_set >> i + 1 << i
                j = user[i, others]
                served[b, i] = j
                if j != SILENT:
                    rate[b, i] = rates[b, j, others]


@compiled(nogil=True, error_model="numpy")
def _grow(
    served: Any, rate: Any, gain: Any, association: Any, weight: Any, nodes: Any, factors: Any
) -> None:
    """Let the sets of `served` (B, I) grow and shrink by one AP while that raises the sum.

    `integrand` holds for every user the terms whose sum is its rate, were it served beside the
    present set.
    """
    n_envs, n_aps, n_ues = gain.shape
    integrand, each = np.empty((n_ues, nodes.size)), np.empty(n_ues)
    for b in range(n_envs):
        for j in range(n_ues):
            own = gain[b, association[b, j], j]
            for n in range(nodes.size):
                integrand[j, n] = factors[b, n] * own / (1.0 + nodes[n] * own)
            for k in range(n_aps):
                if served[b, k] != SILENT and k != association[b, j]:
                    for n in range(nodes.size):
                        integrand[j, n] /= 1.0 + nodes[n] * gain[b, k, j]
        changed = True
        while changed:
            value = _choose(served[b], each, integrand, association[b], weight[b])
            threshold = IMPROVEMENT * value
            present = served[b], each, integrand, gain[b], association[b], weight[b], nodes
            changed = _leave(*present, threshold) or _join(*present, threshold)
        for i in range(n_aps):
            if served[b, i] != SILENT:
                rate[b, i] = each[served[b, i]]


@compiled(nogil=True, error_model="numpy")
def _choose(served: Any, rate: Any, integrand: Any, association: Any, weight: Any) -> float:
    """Let each AP of the set serve its best user, and return the weighted sum of rates."""
    transmits = served != SILENT
    top = np.zeros(served.size)
    for j in range(rate.size):
        rate[j] = integrand[j].sum()
        i = association[j]
        if transmits[i] and weight[j] * rate[j] > top[i]:
            served[i], top[i] = j, weight[j] * rate[j]
    return float(top.sum())


@compiled(nogil=True, error_model="numpy")
def _join(
    served: Any,
    rate: Any,
    integrand: Any,
    gain: Any,
    association: Any,
    weight: Any,
    nodes: Any,
    threshold: float,
) -> bool:
    """Let the AP join that raises the weighted sum the most, and return whether there is one."""
    n_aps = served.size
    top, user = np.zeros(n_aps), np.full(n_aps, SILENT, np.int64)
    for j in range(rate.size):
        i = association[j]
        if served[i] == SILENT and weight[j] * rate[j] > top[i]:
            top[i], user[i] = weight[j] * rate[j], j
    best, best_change = SILENT, threshold
    for k in range(n_aps):
        change = top[k]
        if user[k] == SILENT:
            continue
        for i in range(n_aps):
            j = served[i]
            if j != SILENT:
                left = 0.0
                for n in range(nodes.size):
                    left += integrand[j, n] / (1.0 + nodes[n] * gain[k, j])
                change -= weight[j] * (rate[j] - left)
        if change > best_change:
            best, best_change = k, change
    if best == SILENT:
        return False
    served[best] = user[best]
    for j in range(rate.size):
        if association[j] != best:
            for n in range(nodes.size):
                integrand[j, n] /= 1.0 + nodes[n] * gain[best, j]
    return True


@compiled(nogil=True, error_model="numpy")
def _leave(
    served: Any,
    rate: Any,
    integrand: Any,
    gain: Any,
    association: Any,
    weight: Any,
    nodes: Any,
    threshold: float,
) -> bool:
    """Let the AP leave whose silence raises the weighted sum the most; whether there is one."""
    best, best_change = SILENT, threshold
    for k in range(served.size):
        if served[k] == SILENT:
            continue
        change = -weight[served[k]] * rate[served[k]]
        for i in range(served.size):
            j = served[i]
            if j != SILENT and i != k:
                alone = 0.0
                for n in range(nodes.size):
                    alone += integrand[j, n] * (1.0 + nodes[n] * gain[k, j])
                change += weight[j] * (alone - rate[j])
        if change > best_change:
            best, best_change = k, change
    if best == SILENT:
        return False
    served[best] = SILENT
    for j in range(rate.size):
        if association[j] != best:
            for n in range(nodes.size):
                integrand[j, n] *= 1.0 + nodes[n] * gain[best, j]
    return True
