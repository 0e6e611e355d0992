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
KEPT_SETS = 96
"""Sets of APs that are remembered of a large network."""
RATES_AT_ONCE = 2**22
"""Ergodic rates that are kept in memory at once, 32 MB."""


class Chosen(NamedTuple):
    """Joint actions of b episodes."""

    served: Integers
    """(b, I) the user of each AP, or `SILENT`."""
    rate: Floats
    """(b, I) the ergodic rates of those users, bit/s/Hz; 0 where the AP is silent."""


class Sets(NamedTuple):
    """Sets of APs that were good in b large networks, up to M each."""

    transmits: NDArray[np.bool_]
    """(b, M, I) the APs of each set."""
    rates: Floats
    """(b, M, J) the users' ergodic rates; 0 where their AP is silent."""
    size: Integers
    """(b,) how many there are."""
    used: Integers
    """(b, M) when a set was the best one the last time; the oldest gives way to a new one."""

    @classmethod
    def none_of(cls, config: RRMConfig, num_envs: int) -> Sets:
        """No set yet, with room for `KEPT_SETS` where sets of APs have to be searched."""
        room = KEPT_SETS if config.n_aps > EXACT_APS else 0
        return cls(
            np.zeros((num_envs, room, config.n_aps), np.bool_),
            np.zeros((num_envs, room, config.n_ues)),
            np.zeros(num_envs, np.int64),
            np.zeros((num_envs, room), np.int64),
        )

    def of(self, part: slice) -> Sets:
        """Those of a part of the episodes."""
        return Sets(self.transmits[part], self.rates[part], self.size[part], self.used[part])


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

    def best(
        self, weight: Floats, known: Sets | None = None, *, keep: bool = False, turn: int = 0
    ) -> Chosen:
        """The best joint actions found; ties go to the lower user and to few high APs.

        Args:
            weight: (b, J) of the rates, at least 0; users of weight 0 are not served.
            known: good sets of APs. A growing set begins with the best of them, and for comparison
                with one AP alone or another one of them; without them it begins with silence.
            keep: whether the sets found join the known ones, whose rates must be of these gains.
            turn: which of the other beginnings is tried, counted up from call to call.
        """
        b, n_aps = self.gain.shape[:2]
        served, rate = np.full((b, n_aps), SILENT), np.zeros((b, n_aps))
        if self._rates is not None:
            compare_sets(np.empty(b), served, rate, self._rates, self.association, weight)
        elif known is None:
            self._grow(served, rate, weight)
        else:
            kept = known if keep else None
            _begin(served, *known, self.association, weight)
            self._grow(served, rate, weight, kept)
            other, other_rate = np.full((b, n_aps), SILENT), np.zeros((b, n_aps))
            _begin_elsewhere(other, turn, known.transmits, known.size, self.association, weight)
            self._grow(other, other_rate, weight, kept)
            better = _value(weight, other, other_rate) > _value(weight, served, rate)
            served[better], rate[better] = other[better], other_rate[better]
        return Chosen(served, rate)

    def _grow(
        self, served: Integers, rate: Floats, weight: Floats, kept: Sets | None = None
    ) -> None:
        each = np.empty(weight.shape)
        _grow(served, rate, each, self.gain, self.association, weight, *self._rule)
        if kept is not None:
            _keep(served, each, *kept, self.association)

    def refresh(self, known: Sets) -> None:
        """Compute the rates of the known sets at these gains."""
        if self._rates is None:
            for n in range(int(known.size.max(initial=0))):
                known.rates[:, n] = self.rates_beside(known.transmits[:, n])

    def rates_beside(self, transmits: NDArray[np.bool_]) -> Floats:
        """(b, J) ergodic rates while the APs of (b, I) transmit; 0 where a user's own does not."""
        if self._rates is not None and bool(transmits.all()):
            return self._rates[..., -1]
        return rates_of_set(self.gain, self.association, transmits, coarse=True)


def _value(weight: Floats, served: Integers, rate: Floats) -> Floats:
    """(b,) the weighted sum of rates of joint actions; rates are 0 where APs are silent."""
    total: Floats = (np.take_along_axis(weight, np.maximum(served, 0), axis=1) * rate).sum(axis=1)
    return total


def parts(config: RRMConfig, num_envs: int) -> Iterator[slice]:
    """Parts of the episodes for which `JointActions` needs little memory at once."""
    size = num_envs
    if config.n_aps <= EXACT_APS:
        size = max(1, RATES_AT_ONCE // (config.n_ues * 2 ** (config.n_aps - 1)))
    for first in range(0, num_envs, size):
        yield slice(first, first + size)


@compiled(nogil=True, error_model="numpy")
def compare_sets(
    value: Any, served: Any, rate: Any, rates: Any, association: Any, weight: Any
) -> None:
    """Write the best joint actions among all sets of APs, to which ties go as `best` says.

    Given the set, each AP's best user does not depend on the other APs' users.

    Args:
        value: (b,) the weighted sums of rates, written.
        served: (b, I) the users, written; `SILENT` before.
        rate: (b, I) the rates of those users, written; 0 before.
        rates: (b, J, 2^(I - 1)) as `rates_of_sets` gives them.
        association: (b, J) the AP of each user.
        weight: (b, J) of the rates, at least 0; users of weight 0 are not served.
    """
    n_envs, n_ues, n_sets = rates.shape
    n_aps = served.shape[1]
    top = np.empty((n_aps, n_sets))  # the best weighted rate of each AP, by the set of the others
    for b in range(n_envs):
        top[:] = 0.0
        for j in range(n_ues):
            i, factor = association[b, j], weight[b, j]
            for others in range(n_sets):
                top[i, others] = max(top[i, others], factor * rates[b, j, others])
        value[b], best_set = 0.0, 0
        for members in range(1, 2 * n_sets):
            total = 0.0
            for i in range(n_aps):
                if members >> i & 1:
                    total += top[i, members & ((1 << i) - 1) | members >> i + 1 << i]
            if total > value[b] * (1.0 + IMPROVEMENT):
                value[b], best_set = total, members
        for j in range(n_ues):
            i = association[b, j]
            if best_set >> i & 1 and served[b, i] == SILENT and weight[b, j] > 0.0:
                others = best_set & ((1 << i) - 1) | best_set >> i + 1 << i
                if weight[b, j] * rates[b, j, others] == top[i, others] > 0.0:
                    served[b, i], rate[b, i] = j, rates[b, j, others]


@compiled(nogil=True, error_model="numpy")
def _grow(
    served: Any,
    rate: Any,
    each: Any,
    gain: Any,
    association: Any,
    weight: Any,
    nodes: Any,
    factors: Any,
) -> None:
    """Let the sets of `served` (B, I) grow and shrink by one AP while that raises the sum.

    Write the rates of their users to `rate` (B, I), and to `each` (B, J) what every user would get
    beside the set. `integrand` holds the terms of that, whose sum is the rate.
    """
    n_envs, n_aps, n_ues = gain.shape
    integrand = np.empty((n_ues, nodes.size))
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
            value = _choose(served[b], each[b], integrand, association[b], weight[b])
            present = served[b], each[b], integrand, gain[b], association[b], weight[b], nodes
            changed = _leave(*present, value) or _join(*present, value)
        for i in range(n_aps):
            if served[b, i] != SILENT:
                rate[b, i] = each[b, served[b, i]]


@compiled(nogil=True, error_model="numpy")
def _begin(
    served: Any, transmits: Any, rates: Any, size: Any, used: Any, association: Any, weight: Any
) -> None:
    """Let `served` (B, I) hold the best of the known sets, with any of an AP's users."""
    n_envs, n_aps = served.shape
    top = np.empty(n_aps)
    for b in range(n_envs):
        best, chosen = 0.0, -1
        for n in range(size[b]):
            top[:] = 0.0
            for j in range(association.shape[1]):
                i = association[b, j]
                top[i] = max(top[i], weight[b, j] * rates[b, n, j])
            total = top.sum()
            if total > best:
                best, chosen = total, n
        if chosen >= 0:
            used[b, chosen] = used[b].max() + 1
            for j in range(association.shape[1]):
                i = association[b, j]
                if transmits[b, chosen, i] and weight[b, j] > 0.0:
                    served[b, i] = j


@compiled(nogil=True, error_model="numpy")
def _begin_elsewhere(
    served: Any, turn: int, transmits: Any, size: Any, association: Any, weight: Any
) -> None:
    """Let `served` (B, I) hold any users of one AP or of one known set, each in its turn."""
    n_envs, n_aps = served.shape
    for b in range(n_envs):
        n = turn % (n_aps + size[b])
        for j in range(association.shape[1]):
            i = association[b, j]
            member = i == n if n < n_aps else transmits[b, n - n_aps, i]
            if member and weight[b, j] > 0.0:
                served[b, i] = j


@compiled(nogil=True, error_model="numpy")
def _keep(
    served: Any, each: Any, transmits: Any, rates: Any, size: Any, used: Any, association: Any
) -> None:
    """Note the sets of `served` (B, I), if they are new, with the rates `each` (B, J)."""
    n_envs, room, n_aps = transmits.shape
    for b in range(n_envs):
        known = False
        for n in range(size[b]):
            same = True
            for i in range(n_aps):
                same = same and transmits[b, n, i] == (served[b, i] != SILENT)
            known = known or same
        if known:
            continue
        place = size[b]
        if place < room:
            size[b] += 1
        else:
            place = used[b].argmin()
        used[b, place] = used[b].max() + 1
        transmits[b, place] = served[b] != SILENT
        for j in range(association.shape[1]):
            silent = served[b, association[b, j]] == SILENT
            rates[b, place, j] = 0.0 if silent else each[b, j]


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
    value: float,
) -> bool:
    """Let the AP join that raises the weighted sum the most, and return whether there is one."""
    n_aps = served.size
    top, user, others = np.zeros(n_aps), np.full(n_aps, SILENT, np.int64), np.empty(n_aps)
    for j in range(rate.size):
        i = association[j]
        if served[i] == SILENT and weight[j] * rate[j] > top[i]:
            top[i], user[i] = weight[j] * rate[j], j
    best, best_change = SILENT, IMPROVEMENT * value
    for k in range(n_aps):
        if top[k] <= best_change:  # the others only lose
            continue
        others[:] = 0.0
        for j in range(rate.size):
            i = association[j]
            if served[i] != SILENT and weight[j] * rate[j] > others[i]:
                left = 0.0
                for n in range(nodes.size):
                    left += integrand[j, n] / (1.0 + nodes[n] * gain[k, j])
                others[i] = max(others[i], weight[j] * left)
        change = top[k] + others.sum() - value
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
    value: float,
) -> bool:
    """Let the AP leave whose silence raises the weighted sum the most; whether there is one."""
    others = np.empty(served.size)
    best, best_change = SILENT, IMPROVEMENT * value
    for k in range(served.size):
        if served[k] == SILENT:
            continue
        others[:] = 0.0
        for j in range(rate.size):
            i = association[j]
            if served[i] != SILENT and i != k and weight[j] > 0.0:
                alone = 0.0
                for n in range(nodes.size):
                    alone += integrand[j, n] * (1.0 + nodes[n] * gain[k, j])
                others[i] = max(others[i], weight[j] * alone)
        change = others.sum() - value
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
