"""Max-weight on ergodic rates, with weights that remember the whole episode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.ergodic import nodes_and_weights, rates_of_set, rates_of_sets
from baselines.scheduler import Baseline, Served
from baselines.weighted_rate import MAX_EXPONENT
from rrm_env import SILENT, Network
from rrm_env.checks import bounded_number
from rrm_env.compiling import compiled

EXACT_APS = 10
"""Largest network in which all sets of transmitting APs are compared."""
IMPROVEMENT = 1e-9
"""Smaller relative increases do not count, so that rounding cannot keep a search going."""
_RATES_AT_ONCE = 2**22
"""Ergodic rates that are kept in memory at once, 32 MB."""


class LongMemory(Baseline):
    """The APs and users that maximise sum_j m_j^-exponent rho(S, j).

    rho(S, j) is the ergodic rate of user j while the APs of the set S transmit
    (`baselines.ergodic_rate`), one user per AP of S is served, and m_j is the user's mean rate
    since the episode began, (prior_steps p_j + sum of its rates) / (prior_steps + t). The prior p_j
    is what round robin with all APs transmitting would give at the present gains. The weights of
    `MaxWeight` forget after 1 / `rate_ema` steps; these forget nothing, as Eqs. 9 to 11 do not.

    With exponent 1 the rule climbs the sum of log(rate); a large exponent approaches the max-min
    rate, and 0 the sum rate (alpha-fair utilities, J. Mo, J. Walrand, "Fair end-to-end window-based
    congestion control", IEEE/ACM Trans. Netw. 8 (2000)). Up to 10 APs all sets are compared. In
    larger networks the APs join one at a time, while one raises the sum, and leave where that
    raises it, as in G. Dimic, N. D. Sidiropoulos (2005), cited at `GreedyMaxWeight`.

    A centre knows the large-scale gains of all links, without fading, and the rates so far.
    Ties go to the set with the fewer high APs and to the lower user.

    Args:
        users: ``all``, or ``candidates``, the candidates of each AP alone.
        exponent: of the weights, 0 to 10.
        prior_steps: steps that the prior counts for, above 0.
    """

    def __init__(self, users: str = "all", exponent: float = 4.0, prior_steps: float = 5.0) -> None:
        if users not in ("all", "candidates"):
            raise ValueError(f"users must be 'all' or 'candidates', got {users!r}")
        self.users = users
        self.exponent = bounded_number("exponent", exponent, 0, MAX_EXPONENT)
        self.prior_steps = bounded_number("prior_steps", prior_steps, 1e-6, 1e6)

    def schedule(self, network: Network) -> Served:
        """(B, I) the users of the best set found."""
        if self.users == "candidates":
            return self.schedule_candidates(network)
        return self._best(network, np.ones(network.association.shape, np.bool_))

    def schedule_candidates(self, network: Network) -> Served:
        """Like `schedule`, among the candidates alone."""
        slots = network.candidates.reshape(network.num_envs, -1)
        allowed = np.zeros((network.num_envs, network.config.n_ues + 1), np.bool_)
        np.put_along_axis(allowed, slots, True, axis=1)  # SILENT is the last column
        return self._best(network, np.ascontiguousarray(allowed[:, :-1]))

    def _best(self, network: Network, allowed: NDArray[np.bool_]) -> Served:
        gain, association = network.large_scale_gain, network.association
        config = network.config
        if config.n_aps > EXACT_APS:
            everyone = np.ones((network.num_envs, config.n_aps), np.bool_)
            reference = rates_of_set(gain, association, everyone, coarse=True)
            weight = self._weights(network, reference, slice(None))
            largest = float(gain.sum(axis=1, dtype=np.float64).max())
            nodes, factors = nodes_and_weights(largest, coarse=True)
            found: Served = _grow(gain, association, weight, allowed, nodes, factors)
            return found
        served = np.empty((network.num_envs, config.n_aps), np.int64)
        share = max(1, _RATES_AT_ONCE // (config.n_ues * 2 ** (config.n_aps - 1)))
        for first in range(0, network.num_envs, share):
            part = slice(first, first + share)
            rates = rates_of_sets(gain[part], association[part], coarse=True)
            weight = self._weights(network, rates[..., -1], part)
            served[part] = _compare(rates, association[part], weight, allowed[part])
        return served

    def _weights(
        self, network: Network, reference: NDArray[np.float64], part: slice
    ) -> NDArray[np.float64]:
        """(b, J) the weights m_j^-exponent of a part of the episodes.

        Args:
            network: the network.
            reference: (b, J) ergodic rates with all APs transmitting.
            part: the episodes.
        """
        association = network.association[part]
        of_same_ap = (association[:, :, None] == association[:, None, :]).sum(axis=2)
        prior = np.maximum(reference / of_same_ap, network.config.min_average_rate)
        total = self.prior_steps * prior + network.ue_rate_sum[part]
        weight: NDArray[np.float64] = (total / (self.prior_steps + network.t)) ** -self.exponent
        return weight


@compiled(nogil=True, error_model="numpy")
def _compare(rates: Any, association: Any, weight: Any, allowed: Any) -> Any:
    """The users (B, I) of the best of all sets, from rates (B, J, 2^(I - 1)).

    Given the set, each AP's best user does not depend on the other APs' users.
    """
    n_envs, n_ues, n_sets = rates.shape
    n_aps = 1
    while 1 << (n_aps - 1) < n_sets:
        n_aps += 1
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    top = np.empty((n_aps, n_sets))  # the best weighted rate of each AP, by the set of the others
    user = np.empty((n_aps, n_sets), np.int64)
    for b in range(n_envs):
        top[:], user[:] = 0.0, SILENT
        for j in range(n_ues):
            if allowed[b, j]:
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
                served[b, i] = user[i, best_set & ((1 << i) - 1) | best_set >> i + 1 << i]
    return served


@compiled(nogil=True, error_model="numpy")
def _grow(gain: Any, association: Any, weight: Any, allowed: Any, nodes: Any, factors: Any) -> Any:
    """The users (B, I) of a set that grows and shrinks by one AP while that raises the sum.

    `integrand` holds for every user the terms whose sum is its rate, were it served beside the
    present set.
    """
    n_envs, n_aps, n_ues = gain.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    integrand, rate = np.empty((n_ues, nodes.size)), np.empty(n_ues)
    for b in range(n_envs):
        for j in range(n_ues):
            own = gain[b, association[b, j], j]
            for n in range(nodes.size):
                integrand[j, n] = factors[n] * own / (1.0 + nodes[n] * own)
        changed = True
        while changed:
            value = _choose(served[b], rate, integrand, association[b], weight[b], allowed[b])
            threshold = IMPROVEMENT * value
            present = served[b], rate, integrand, gain[b], association[b], weight[b], nodes
            changed = _leave(*present, threshold) or _join(*present, threshold, allowed[b])
    return served


@compiled(nogil=True, error_model="numpy")
def _choose(
    served: Any, rate: Any, integrand: Any, association: Any, weight: Any, allowed: Any
) -> float:
    """Let each AP of the set serve its best user, and return the weighted sum of rates."""
    transmits = served != SILENT
    top = np.zeros(served.size)
    for j in range(rate.size):
        rate[j] = integrand[j].sum()
        i = association[j]
        if transmits[i] and allowed[j] and weight[j] * rate[j] > top[i]:
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
    allowed: Any,
) -> bool:
    """Let the AP join that raises the weighted sum the most, and return whether there is one."""
    n_aps = served.size
    top, user = np.zeros(n_aps), np.full(n_aps, SILENT, np.int64)
    for j in range(rate.size):
        i = association[j]
        if served[i] == SILENT and allowed[j] and weight[j] * rate[j] > top[i]:
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
