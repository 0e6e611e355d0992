"""The best joint action of large networks: by local search, and by branch and bound.

Users are sorted by their AP. For AP k, node n of the quadrature and user j the factor is
1 / (1 + t_n g_kj), or for the user's own AP the integrand without interference; the product over
the APs that transmit, summed over the nodes, is the user's rate (`baselines.ergodic`). So an AP
that joins or leaves costs one multiplication or division per node and user.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from baselines.ergodic import nodes_and_weights
from baselines.optimum.choice import Choice, Floats, Integers
from rrm_env import SILENT
from rrm_env.compiling import compiled

MAX_SEARCHED_APS = 20
"""Largest network for branch and bound, whose time doubles with nearly every AP."""
CLOSE = 1e-4
"""Branch and bound ends at this relative difference from its bound, the error of the rates."""
IMPROVEMENT = 1e-9
"""Smaller relative improvements do not count; otherwise rounding could keep a search going."""


class Factors:
    """The factors of all users in all time blocks, shared by the searches below.

    Args:
        gain: (n, I, J) received power over noise.
        association: (J,) the AP of each user.
    """

    def __init__(self, gain: Floats, association: Integers) -> None:
        self.shape = gain.shape[0], gain.shape[1], gain.shape[2]
        self.order = np.argsort(association, kind="stable")
        """(J,) the users, sorted by AP."""
        self.first = np.searchsorted(association[self.order], np.arange(gain.shape[1] + 1))
        """(I + 1,) the first user of each AP in this order, and J."""
        nodes, weights = nodes_and_weights(float(gain.sum(axis=1).max()), coarse=True)
        self.each = np.empty((*gain.shape[:2], nodes.size, gain.shape[2]))
        """(n, I, nodes, J)."""
        _factors(self.each, gain[:, :, self.order], self.first, nodes, weights)

    def choice(self, transmits: Any, weight: Floats, bound: Floats) -> Choice:
        """The joint action of sets of APs (n, I), each of which serves its best user."""
        n, n_aps, _ = self.shape
        value = np.empty(n)
        served, rate = np.empty((n, n_aps), np.int64), np.empty((n, n_aps))
        _serve(value, served, rate, self.each, self.first, transmits, weight[self.order])
        users = np.where(served == SILENT, SILENT, self.order[served])
        return Choice(value, bound, users, rate)


class Nearby:
    """Local search from the sets of APs found last: one AP at a time joins or leaves.

    Args:
        factors: of the episode.
    """

    def __init__(self, factors: Factors) -> None:
        self.shape, self._factors = factors.shape, factors
        self._transmits = np.ones(self.shape[:2], np.bool_)

    def best(self, weight: Floats) -> Choice:
        """In each block a joint action that no single AP can improve."""
        factors = self._factors
        _climb(self._transmits, factors.each, factors.first, weight[factors.order])
        unknown = np.full(self.shape[0], np.inf)
        return factors.choice(self._transmits, weight, unknown)


class Thorough:
    """Local search from silence, from all APs and from the sets found last, also by exchanges.

    Args:
        factors: of the episode.
    """

    def __init__(self, factors: Factors) -> None:
        self.shape, self._factors = factors.shape, factors
        self._transmits = np.zeros(self.shape[:2], np.bool_)

    def best(self, weight: Floats) -> Choice:
        """In each block the best joint action found, without proof."""
        factors, sorted_weight = self._factors, weight[self._factors.order]
        starts = self._transmits, np.zeros_like(self._transmits), np.ones_like(self._transmits)
        for transmits in starts:
            _climb(transmits, factors.each, factors.first, sorted_weight)
            _exchange(transmits, factors.each, factors.first, sorted_weight)
        unknown = np.full(self.shape[0], np.inf)
        values = [factors.choice(transmits, weight, unknown).value for transmits in starts]
        best = np.argmax(values, axis=0)
        self._transmits = np.stack(starts)[best, np.arange(self.shape[0])]
        return factors.choice(self._transmits, weight, unknown)


class BranchAndBound:
    """The best joint action up to `CLOSE`, with a proof; local search provides the first one.

    Args:
        factors: of the episode.
    """

    def __init__(self, factors: Factors) -> None:
        self.shape, self._factors = factors.shape, factors
        self._thorough = Thorough(factors)

    def best(self, weight: Floats) -> Choice:
        """In each block the best joint action."""
        factors = self._factors
        transmits = self._thorough.best(weight).served != SILENT
        _branch(transmits, factors.each, factors.first, weight[factors.order])
        found = factors.choice(transmits, weight, np.empty(self.shape[0]))
        return found._replace(bound=found.value * (1 + CLOSE))


_options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
_compile: Any = compiled(nogil=True, **_options)
_inline: Any = njit(forceinline=True, **_options)


@_compile
def _factors(factor: Any, gain: Any, first: Any, nodes: Any, weights: Any) -> None:
    """Write the factors (n, I, nodes, J) of users sorted by AP."""
    n_blocks, n_aps, n_ues = gain.shape
    for b in range(n_blocks):
        for k in range(n_aps):
            for n in range(nodes.size):
                for j in range(n_ues):
                    factor[b, k, n, j] = 1.0 / (1.0 + nodes[n] * gain[b, k, j])
                for j in range(first[k], first[k + 1]):
                    factor[b, k, n, j] *= weights[n] * gain[b, k, j]


@_compile
def _products(product: Any, factor: Any, first: Any, transmits: Any) -> None:
    """Write products (nodes, J) as if each user's own AP transmitted beside the given ones."""
    n_aps, n_nodes = factor.shape[:2]
    for i in range(n_aps):
        for n in range(n_nodes):
            for j in range(first[i], first[i + 1]):
                product[n, j] = factor[i, n, j]
    for k in range(n_aps):
        if transmits[k]:
            _multiply(product, product, factor[k], first[k], first[k + 1])


@_inline
def _multiply(result: Any, product: Any, factor: Any, start: int, stop: int) -> None:
    """Let an AP join: multiply all but its own users, which are start ... stop - 1."""
    n_nodes, n_ues = product.shape
    for n in range(n_nodes):
        for j in range(start):
            result[n, j] = product[n, j] * factor[n, j]
        for j in range(start, stop):
            result[n, j] = product[n, j]
        for j in range(stop, n_ues):
            result[n, j] = product[n, j] * factor[n, j]


@_compile
def _best_of_each(best: Any, rate: Any, product: Any, first: Any, weight: Any) -> None:
    """Write the highest weighted rate (I,) among each AP's users; `rate` (J,) is overwritten."""
    rate[:] = 0.0
    for n in range(product.shape[0]):
        for j in range(rate.size):
            rate[j] += product[n, j]
    for i in range(best.size):
        best[i] = 0.0
        for j in range(first[i], first[i + 1]):
            best[i] = max(best[i], weight[j] * rate[j])


@_compile
def _changed(
    k: int, product: Any, factor: Any, first: Any, transmits: Any, weight: Any, rate: Any
) -> float:
    """The weighted rate if AP k joined, or left where it transmits; `rate` (J,) is overwritten."""
    n_nodes, total, joins = product.shape[0], 0.0, not transmits[k]
    for i in range(transmits.size):
        if (transmits[i] and i != k) or (i == k and joins):
            start, stop = first[i], first[i + 1]
            rate[start:stop] = 0.0
            for n in range(n_nodes):
                if i == k:
                    for j in range(start, stop):
                        rate[j] += product[n, j]
                elif joins:
                    for j in range(start, stop):
                        rate[j] += product[n, j] * factor[k, n, j]
                else:
                    for j in range(start, stop):
                        rate[j] += product[n, j] / factor[k, n, j]
            best = 0.0
            for j in range(start, stop):
                best = max(best, weight[j] * rate[j])
            total += best
    return total


@_compile
def _climb_one(transmits: Any, factor: Any, first: Any, weight: Any, product: Any) -> Any:
    """Let the AP join or leave that improves the weighted rate most, as long as one does."""
    n_aps, rate = transmits.size, np.empty(weight.size)
    best_of_each = np.empty(n_aps)
    value = -1.0
    while True:
        _products(product, factor, first, transmits)
        if value < 0:
            _best_of_each(best_of_each, rate, product, first, weight)
            value = 0.0
            for i in range(n_aps):
                if transmits[i]:
                    value += best_of_each[i]
        best, chosen = value * (1 + IMPROVEMENT), -1
        for k in range(n_aps):
            changed = _changed(k, product, factor, first, transmits, weight, rate)
            if changed > best:
                best, chosen = changed, k
        if chosen < 0:
            return value
        transmits[chosen] = not transmits[chosen]
        value = best


@_compile
def _climb(transmits: Any, factor: Any, first: Any, weight: Any) -> None:
    """Improve the sets of APs (n, I) of all blocks."""
    product = np.empty(factor.shape[2:])
    for b in range(transmits.shape[0]):
        _climb_one(transmits[b], factor[b], first, weight, product)


@_compile
def _exchange(transmits: Any, factor: Any, first: Any, weight: Any) -> None:
    """Improve sets (n, I) that no single AP can improve by one AP that leaves for another."""
    n_aps, product = transmits.shape[1], np.empty(factor.shape[2:])
    rate = np.empty(weight.size)
    for b in range(transmits.shape[0]):
        present = transmits[b]
        value = _climb_one(present, factor[b], first, weight, product)
        leaving = 0
        while leaving >= 0:
            best, leaving, joining = value * (1 + IMPROVEMENT), -1, -1
            for i in range(n_aps):
                if not present[i]:
                    continue
                present[i] = False
                _products(product, factor[b], first, present)
                for k in range(n_aps):
                    if not present[k] and k != i:
                        changed = _changed(k, product, factor[b], first, present, weight, rate)
                        if changed > best:
                            best, leaving, joining = changed, i, k
                present[i] = True
            if leaving >= 0:
                present[leaving], present[joining] = False, True
                value = _climb_one(present, factor[b], first, weight, product)


@_compile
def _serve(
    value: Any, served: Any, rate: Any, factor: Any, first: Any, transmits: Any, weight: Any
) -> None:
    """Write the best user of each AP that transmits, its rate, and the weighted sum."""
    n_blocks, n_aps = transmits.shape
    product, rates = np.empty(factor.shape[2:]), np.empty(weight.size)
    best = np.empty(n_aps)
    for b in range(n_blocks):
        _products(product, factor[b], first, transmits[b])
        _best_of_each(best, rates, product, first, weight)
        value[b], served[b], rate[b] = 0.0, SILENT, 0.0
        for i in range(n_aps):
            if transmits[b, i] and best[i] > 0:
                value[b] += best[i]
                top = -1.0
                for j in range(first[i], first[i + 1]):
                    if weight[j] * rates[j] > top:
                        top, served[b, i], rate[b, i] = weight[j] * rates[j], j, rates[j]


@_compile
def _branch(transmits: Any, factor: Any, first: Any, weight: Any) -> None:
    """Improve the sets (n, I) until none is better by more than `CLOSE`.

    Depth first, the APs in falling order of what they reach alone, each tried as a transmitter and
    then silent. A transmitter only takes rate from the others, so what every AP would reach beside
    those that transmit so far bounds all completions.
    """
    n_blocks, n_aps = transmits.shape
    rate = np.empty(weight.size)
    product = np.empty((n_aps + 1, *factor.shape[2:]))  # after the d-th AP that transmits
    best = np.empty((n_aps + 1, n_aps))  # likewise, of each AP's users
    level = np.empty(n_aps + 1, np.int64)  # transmitters among the first d APs
    tried = np.empty(n_aps, np.int64)  # choices tried: transmits, then silent
    present = np.zeros(n_aps, np.bool_)
    for b in range(n_blocks):
        present[:] = False
        _products(product[0], factor[b], first, transmits[b])
        _best_of_each(best[0], rate, product[0], first, weight)
        incumbent = 0.0
        for i in range(n_aps):
            if transmits[b, i]:
                incumbent += best[0, i]
        _products(product[0], factor[b], first, present)
        _best_of_each(best[0], rate, product[0], first, weight)
        order = np.argsort(-best[0])
        depth, level[0], tried[0] = 0, 0, 0
        while depth >= 0:
            ap = order[depth]
            if tried[depth] == 2:
                depth -= 1
                continue
            present[ap] = tried[depth] == 0
            tried[depth] += 1
            now = level[depth]
            if present[ap]:
                _multiply(product[now + 1], product[now], factor[b, ap], first[ap], first[ap + 1])
                now += 1
                _best_of_each(best[now], rate, product[now], first, weight)
            level[depth + 1] = now
            bound = 0.0
            for d in range(n_aps):
                if d > depth or present[order[d]]:
                    bound += best[now, order[d]]
            if depth == n_aps - 1:
                if bound > incumbent:
                    incumbent = bound
                    transmits[b] = present
            elif bound > incumbent * (1 + CLOSE):
                depth += 1
                tried[depth] = 0
