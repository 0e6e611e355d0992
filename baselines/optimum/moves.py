"""The loops of the searches in large networks: APs that join and leave a set.

Users are sorted by their AP. For AP k, node n of the quadrature and user j the factor is
1 / (1 + t_n g_kj), or for the user's own AP the integrand without interference; the product over
the APs that transmit, summed over the nodes, is the user's rate (`baselines.ergodic`). So an AP
that joins or leaves costs one multiplication or division per node and user.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from rrm_env import SILENT
from rrm_env.compiling import compiled

CLOSE = 1e-4
"""Branch and bound ends at this relative difference from its bound."""
IMPROVEMENT = 1e-9
"""Smaller relative improvements do not count; otherwise rounding could keep a search going."""

_options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
_compile: Any = compiled(nogil=True, **_options)
_inline: Any = njit(forceinline=True, **_options)


@_compile
def factors(factor: Any, gain: Any, first: Any, nodes: Any, weights: Any) -> None:
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
def products(product: Any, factor: Any, first: Any, transmits: Any) -> None:
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
def improve(
    transmits: Any,
    products: Any,
    sets: Any,
    tops: Any,
    joins_of: Any,
    leaves_of: Any,
    factor: Any,
    first: Any,
    weight: Any,
    exchange: bool,
) -> None:
    """Improve sets (n, I) by single APs that join or leave, until no such move helps.

    With `exchange` also by an AP that joins for another one that leaves. What a move is worth is
    told by the users served now; others that may be better after it are looked at when it is made.
    So a move costs one product for each node and AP, whatever the number of users. Kept between
    calls are `products` (n, nodes, J) of the `sets` (n, I) looked at last, their best users `tops`
    (n, I), the factors of each AP for these (n, I, nodes, I), and the inverses.
    """
    n_blocks, n_aps = transmits.shape
    n_nodes, n_ues = factor.shape[2:]
    rate, best = np.empty(n_ues), np.empty(n_aps)
    kept, without = np.empty((n_nodes, n_aps)), np.empty((n_nodes, n_aps))
    for b in range(n_blocks):
        present, top, join, leave = transmits[b], tops[b], joins_of[b], leaves_of[b]
        product = products[b]
        while True:
            _follow(product, sets[b], present, factor[b], first)
            _best_of_each(best, rate, product, first, weight)
            value = _prepare(
                kept, join, leave, top, product, rate, factor[b], first, present, weight
            )
            wanted, joins, leaves = value * (1 + IMPROVEMENT), -1, -1
            for k in range(n_aps):
                if present[k]:
                    changed = _dot(kept, leave[k]) - best[k]
                else:
                    changed = _dot(kept, join[k]) + best[k]
                if changed > wanted:
                    wanted = changed
                    joins, leaves = (-1, k) if present[k] else (k, -1)
            if exchange and joins < 0 and leaves < 0:
                for i in range(n_aps):
                    if not present[i]:
                        continue
                    for n in range(n_nodes):
                        for j in range(n_aps):
                            without[n, j] = kept[n, j] * leave[i, n, j]
                        without[n, i] = 0.0
                    for k in range(n_aps):
                        if present[k]:
                            continue
                        changed = _dot(without, join[k]) + _alone(
                            product, factor[b, i], weight, first[k], first[k + 1]
                        )
                        if changed > wanted:
                            wanted, joins, leaves = changed, k, i
            if joins < 0 and leaves < 0:
                break
            if joins >= 0:
                present[joins] = True
            if leaves >= 0:
                present[leaves] = False


@_compile
def _follow(product: Any, of: Any, present: Any, factor: Any, first: Any) -> None:
    """Turn the products of the set `of` into those of the set `present`, and `of` into that."""
    for i in range(of.size):
        if of[i] and not present[i]:  # division could meet a product that is 0 by underflow
            of[:] = present
            products(product, factor, first, present)
            return
    for i in range(of.size):
        if present[i] and not of[i]:
            _multiply(product, product, factor[i], first[i], first[i + 1])
            of[i] = True


@_compile
def _prepare(
    kept: Any,
    join: Any,
    leave: Any,
    top: Any,
    product: Any,
    rate: Any,
    factor: Any,
    first: Any,
    present: Any,
    weight: Any,
) -> float:
    """Write the weighted products `kept` (nodes, I) and the factors of each AP's best user.

    Returns the weighted rate. Factors of users that were the best before are there already.
    """
    n_nodes, n_aps = kept.shape
    value = 0.0
    for i in range(n_aps):
        chosen, highest = -1, -1.0
        for j in range(first[i], first[i + 1]):
            if weight[j] * rate[j] > highest:
                chosen, highest = j, weight[j] * rate[j]
        kept[:, i] = 0.0
        if chosen < 0:
            continue
        if present[i]:
            value += highest
            for n in range(n_nodes):
                kept[n, i] = weight[chosen] * product[n, chosen]
        if chosen != top[i]:
            top[i] = chosen
            for k in range(n_aps):
                if k != i:
                    for n in range(n_nodes):
                        join[k, n, i] = factor[k, n, chosen]
                        leave[k, n, i] = 1.0 / factor[k, n, chosen]
    return value


@_inline
def _dot(one: Any, other: Any) -> float:
    total = 0.0
    for n in range(one.shape[0]):
        for j in range(one.shape[1]):
            total += one[n, j] * other[n, j]
    return total


@_inline
def _alone(product: Any, factor: Any, weight: Any, start: int, stop: int) -> float:
    """The best weighted rate of the users start ... stop - 1 if an AP of this factor left."""
    best = 0.0
    for j in range(start, stop):
        rate = 0.0
        for n in range(product.shape[0]):
            rate += product[n, j] / factor[n, j]
        best = max(best, weight[j] * rate)
    return best


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
def polish(transmits: Any, factor: Any, first: Any, weight: Any) -> None:
    """Improve sets (n, I) by the moves of `improve`, each told by all users."""
    n_blocks, n_aps = transmits.shape
    product, rate = np.empty(factor.shape[2:]), np.empty(weight.size)
    best = np.empty(n_aps)
    for b in range(n_blocks):
        present = transmits[b]
        joins, leaves = 0, 0
        while joins >= 0 or leaves >= 0:
            products(product, factor[b], first, present)
            _best_of_each(best, rate, product, first, weight)
            wanted, joins, leaves = 0.0, -1, -1
            for i in range(n_aps):
                if present[i]:
                    wanted += best[i] * (1 + IMPROVEMENT)
            for k in range(n_aps):
                changed = _changed(k, product, factor[b], first, present, weight, rate)
                if changed > wanted:
                    wanted = changed
                    joins, leaves = (-1, k) if present[k] else (k, -1)
            if joins < 0 and leaves < 0:
                for i in range(n_aps):
                    if present[i]:
                        present[i] = False
                        products(product, factor[b], first, present)
                        for k in range(n_aps):
                            if not present[k] and k != i:
                                changed = _changed(
                                    k, product, factor[b], first, present, weight, rate
                                )
                                if changed > wanted:
                                    wanted, joins, leaves = changed, k, i
                        present[i] = True
            if joins >= 0:
                present[joins] = True
            if leaves >= 0:
                present[leaves] = False


@_compile
def serve(
    value: Any, served: Any, rate: Any, factor: Any, first: Any, transmits: Any, weight: Any
) -> None:
    """Write the best user of each AP that transmits, its rate, and the weighted sum."""
    n_blocks, n_aps = transmits.shape
    product, rates = np.empty(factor.shape[2:]), np.empty(weight.size)
    best = np.empty(n_aps)
    for b in range(n_blocks):
        products(product, factor[b], first, transmits[b])
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
def branch(transmits: Any, factor: Any, first: Any, weight: Any) -> None:
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
        products(product[0], factor[b], first, transmits[b])
        _best_of_each(best[0], rate, product[0], first, weight)
        incumbent = 0.0
        for i in range(n_aps):
            if transmits[b, i]:
                incumbent += best[0, i]
        products(product[0], factor[b], first, present)
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
