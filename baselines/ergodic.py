"""Ergodic rates: the mean of log2(1 + SINR) over Rayleigh fading, for any set of transmitting APs.

Let a user receive the mean power g from its AP and g_k from each AP k that interferes, over noise.
Under Rayleigh fading P(SINR > z) = exp(-z / g) prod_k 1 / (1 + z g_k / g), and the mean rate is the
integral of P(SINR > z) / (1 + z) over z > 0, divided by ln 2. With z = g t it becomes

    rho = 1 / ln 2 * integral of exp(-t) g / (1 + g t) * prod_k 1 / (1 + g_k t) dt over t > 0,

in which every AP contributes a factor of its own. With t = exp(u) the trapezoidal rule in u
converges geometrically, with an error of about exp(-pi^2 / h) for nodes h apart. So a rate is a sum
over fixed nodes, which costs one division per AP and node, and sets of APs share the divisions.
Where t is so small that the integrand is nearly proportional to t, the remaining sum is closed: it
becomes larger weights of the first nodes.

The integral is that of K. A. Hamdi, "A useful lemma for capacity analysis of fading interference
channels", IEEE Trans. Commun. 58 (2010); the rule is described by L. N. Trefethen,
J. A. C. Weideman, "The exponentially convergent trapezoidal rule", SIAM Review 56 (2014).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from rrm_env.checks import shown
from rrm_env.compiling import compiled

Floats = NDArray[np.float64]

MAX_GAIN = 1e36
"""Largest received power over noise; networks stay below 1e33."""
MAX_APS = 16
"""Largest network for which all sets of APs are listed."""


class Rule(NamedTuple):
    """Nodes and weights of the quadrature."""

    nodes: Floats
    """(n,) t, rising."""
    weights: Floats
    """(n,) of the inner nodes, exp(-t) and 1 / ln 2 included."""
    head: Floats
    """(3,) factors of the first three weights used, which stand for all nodes before them."""
    step: float
    """h, the distance of the nodes in log t."""
    edge: float
    """Largest product of the first node used and the sum of all gains and 1."""


def _rule(step: float, last: int, edge: float) -> Rule:
    """The rule with nodes exp(h m) for all integers m up to ``last``.

    If node 0 is the first one used, the sum over the nodes 0, 1, 2 with weights c_0, c_1, c_2 has
    to equal the sum over the nodes ..., -1, 0, 1, 2 with weights 1 for the powers t, t^2 and t^3.
    """
    lowest = math.floor(math.log(edge / (MAX_GAIN * 1e6)) / step)
    nodes = np.exp(step * np.arange(lowest, last + 1))
    powers, first = np.arange(1, 4)[:, None], np.exp(step * np.arange(3))
    head = np.linalg.solve(
        first**powers, first[2] ** powers[:, 0] / -np.expm1(-step * powers[:, 0])
    )
    return Rule(nodes, step * nodes * np.exp(-nodes) / math.log(2), head, step, edge)


PRECISE = _rule(step=0.5, last=6, edge=1e-3)
"""Errors up to 1e-8 bit/s/Hz, and 3e-7 of a small rate."""
COARSE = _rule(step=0.85, last=3, edge=0.05)
"""Errors up to 5e-5 bit/s/Hz, and 1e-4 of a small rate, in half the time."""


def ergodic_rate(signal: ArrayLike, interference: ArrayLike, *, coarse: bool = False) -> Floats:
    """The mean of log2(1 + SINR) over Rayleigh fading of all links, bit/s/Hz.

    The error is below 1e-6, also relative to the rate.

    Args:
        signal: (...) mean received power over noise from the serving AP, linear, 0 ... 1e36.
        interference: (..., K) likewise from each AP that transmits at the same time; K may be 0.
            The leading dimensions of both are broadcast.
        coarse: about half the time, with an error of up to 1e-4.

    Returns:
        (...) the rates.

    Raises:
        TypeError: values that are no real numbers.
        ValueError: a negative, infinite or missing (NaN) value, one above 1e36, or shapes that do
            not fit.
    """
    received = _gains("signal", signal)
    others = _gains("interference", interference)
    if others.ndim == 0:
        raise ValueError("interference must have shape (..., K), got a number; [] is none")
    try:
        shape = np.broadcast_shapes(received.shape, others.shape[:-1])
    except ValueError:
        raise ValueError(
            f"interference must have shape (..., K) that fits signal {received.shape}, "
            f"got {others.shape}"
        ) from None
    n_others = others.shape[-1]
    rates = np.empty(shape)
    every = np.array(np.broadcast_to(received, shape), order="C").reshape(rates.size)
    each = np.array(np.broadcast_to(others, (*shape, n_others)), order="C")
    _rates(rates.reshape(rates.size), every, each.reshape(rates.size, n_others), *_of(coarse))
    return rates


def rates_of_sets(gain: ArrayLike, association: ArrayLike, *, coarse: bool = False) -> Floats:
    """The ergodic rate of every user in every set of transmitting APs that contains its own.

    A set is an integer whose bit k says whether AP k transmits. For a user of AP i, bit i is left
    out of it: the set S has the index ``S & (2**i - 1) | S >> i + 1 << i``.

    Args:
        gain: (B, I, J) mean received power over noise, linear, such as `Network.large_scale_gain`.
        association: (B, J) the AP of each user.
        coarse: as for `ergodic_rate`.

    Returns:
        (B, J, 2^(I - 1)) rates in bit/s/Hz.

    Raises:
        TypeError, ValueError: as `ergodic_rate`, or more than 16 APs.
    """
    gains, aps = _network(gain, association)
    if gains.shape[1] > MAX_APS:
        raise ValueError(
            f"gain has {gains.shape[1]} APs, allowed: up to {MAX_APS}, since all sets are listed"
        )
    n_sets = 2 ** (gains.shape[1] - 1)
    rates = np.empty((*aps.shape, n_sets))
    _rates_of_sets(rates, gains, aps, *_of(coarse))
    return rates


def rates_of_set(
    gain: ArrayLike, association: ArrayLike, transmits: ArrayLike, *, coarse: bool = False
) -> Floats:
    """The ergodic rate of every user under one set of transmitting APs per episode.

    Args:
        gain: (B, I, J) as for `rates_of_sets`, for any number of APs.
        association: (B, J) the AP of each user.
        transmits: (B, I) truth values, the APs of the set.
        coarse: as for `ergodic_rate`.

    Returns:
        (B, J) rates in bit/s/Hz, were the user served; 0 where its AP is silent.

    Raises:
        TypeError, ValueError: as `ergodic_rate`.
    """
    gains, aps = _network(gain, association)
    active = np.array(transmits, order="C")
    if active.dtype.kind != "b" or active.shape != gains.shape[:2]:
        raise ValueError(
            f"transmits must be truth values of shape {gains.shape[:2]}, "
            f"got {active.dtype} of shape {active.shape}"
        )
    rates = np.empty(aps.shape)
    _rates_of_set(rates, gains, aps, active, *_of(coarse))
    return rates


def nodes_and_weights(largest: float, *, coarse: bool = False) -> tuple[Floats, Floats]:
    """The quadrature for users whose gains add up to at most ``largest``, both (n,).

    The rate is the sum of weight * g / (1 + t g) * prod_k 1 / (1 + t g_k) over the nodes t. With
    it a scheduler's own loop keeps the products of a set and tries one more AP.
    """
    rule = COARSE if coarse else PRECISE
    first = max(0, int(np.searchsorted(rule.nodes, rule.edge / (1 + largest), side="right")) - 1)
    weights = rule.weights[first:].copy()
    weights[:3] *= rule.head
    return rule.nodes[first:].copy(), weights


def nodes_and_weights_of_each(largest: Floats, *, coarse: bool = False) -> tuple[Floats, Floats]:
    """`nodes_and_weights` of many networks at once.

    Args:
        largest: (B,) of each network. Its weights do not depend on the others'.
        coarse: as for `ergodic_rate`.

    Returns:
        nodes (n,) and weights (B, n), 0 where a network needs fewer nodes than another one.
    """
    rule = COARSE if coarse else PRECISE
    limit = rule.edge / (1 + largest)
    first = np.maximum(np.searchsorted(rule.nodes, limit, side="right") - 1, 0)
    weights = rule.weights * (np.arange(rule.nodes.size) >= first[:, None])
    for n in range(3):
        weights[np.arange(len(largest)), first + n] *= rule.head[n]
    return rule.nodes[first.min() :].copy(), weights[:, first.min() :].copy()


def _of(coarse: bool) -> Rule:
    return COARSE if coarse else PRECISE


def _gains(name: str, values: ArrayLike) -> Floats:
    """A copy of gains as float64, checked."""
    array = np.array(values, order="C")
    if array.size and array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers, got {shown(values)}")
    array = array.astype(np.float64, order="C")
    if not ((array >= 0) & (array <= MAX_GAIN)).all():
        wrong = array[~((array >= 0) & (array <= MAX_GAIN))][0]
        raise ValueError(f"{name} must be from 0 to {MAX_GAIN:g}, got {wrong}")
    return array


def _network(gain: ArrayLike, association: ArrayLike) -> tuple[Floats, NDArray[np.int64]]:
    """Copies of gains and association, checked."""
    gains, aps = _gains("gain", gain), np.array(association)
    if gains.ndim != 3 or not gains.shape[1]:
        raise ValueError(f"gain must have shape (B, I, J), got {gains.shape}")
    if aps.dtype.kind not in "iu" or aps.shape != (len(gains), gains.shape[2]):
        raise ValueError(
            f"association must be integers of shape {(len(gains), gains.shape[2])}, "
            f"got {aps.dtype} of shape {aps.shape}"
        )
    if aps.size and not 0 <= aps.min() <= aps.max() < gains.shape[1]:
        raise ValueError(f"association must hold APs from 0 to {gains.shape[1] - 1}")
    return gains, aps.astype(np.int64, order="C")


# Sums may be reordered, so that they run in vector instructions; NaN checks stay.
_options: dict[str, Any] = {"error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
_compile: Any = compiled(nogil=True, **_options)
_inline: Any = njit(forceinline=True, **_options)


@_inline
def _signal(product: Any, nodes: Any, weights: Any, head: Any, first: int, gain: float) -> None:
    """Fill `product` with the integrand of a user without interference at nodes `first`, ..."""
    for n in range(first, nodes.size):
        product[n] = weights[n] * gain / (1.0 + nodes[n] * gain)
    for n in range(3):
        product[first + n] *= head[n]


@_inline
def _first(total: float, nodes: Any, step: float, edge: float) -> Any:
    """The first node used by a user whose gains add up to `total`."""
    first = int((math.log(edge / (1.0 + total)) - math.log(nodes[0])) / step)
    return min(max(first, 0), nodes.size - 3)


@_compile
def _rates(
    rates: Any,
    signal: Any,
    interference: Any,
    nodes: Any,
    weights: Any,
    head: Any,
    step: float,
    edge: float,
) -> None:
    """Rates (M,) from signal (M,) and interference (M, K)."""
    product = np.empty(nodes.size)
    for m in range(rates.size):
        first = _first(signal[m] + interference[m].sum(), nodes, step, edge)
        _signal(product, nodes, weights, head, first, signal[m])
        for k in range(interference.shape[1]):
            for n in range(first, nodes.size):
                product[n] /= 1.0 + nodes[n] * interference[m, k]
        rates[m] = product[first:].sum()


@_compile
def _rates_of_set(
    rates: Any,
    gain: Any,
    association: Any,
    transmits: Any,
    nodes: Any,
    weights: Any,
    head: Any,
    step: float,
    edge: float,
) -> None:
    """Rates (B, J) under the APs that transmit (B, I)."""
    n_envs, n_aps, n_ues = gain.shape
    product = np.empty(nodes.size)
    for b in range(n_envs):
        for j in range(n_ues):
            ap = association[b, j]
            rates[b, j] = 0.0
            if not transmits[b, ap]:
                continue
            first = _first(gain[b, :, j].sum(), nodes, step, edge)
            _signal(product, nodes, weights, head, first, gain[b, ap, j])
            for k in range(n_aps):
                if transmits[b, k] and k != ap:
                    for n in range(first, nodes.size):
                        product[n] /= 1.0 + nodes[n] * gain[b, k, j]
            rates[b, j] = product[first:].sum()


@_compile
def _rates_of_sets(
    rates: Any,
    gain: Any,
    association: Any,
    nodes: Any,
    weights: Any,
    head: Any,
    step: float,
    edge: float,
) -> None:
    """Rates (B, J, 2^(I - 1)) in all sets.

    In rising order a set differs by its lowest AP from a set before it, whose product of factors is
    still kept: one product for each possible lowest AP is enough.
    """
    n_envs, n_aps, n_ues = gain.shape
    factor = np.empty((n_aps, nodes.size))
    product = np.empty((n_aps, nodes.size))
    for b in range(n_envs):
        for j in range(n_ues):
            ap = association[b, j]
            first = _first(gain[b, :, j].sum(), nodes, step, edge)
            for k in range(n_aps - 1):
                other = gain[b, k + (k >= ap), j]
                for n in range(first, nodes.size):
                    factor[k, n] = 1.0 / (1.0 + nodes[n] * other)
            _signal(product[n_aps - 1], nodes, weights, head, first, gain[b, ap, j])
            rates[b, j, 0] = product[n_aps - 1, first:].sum()
            for members in range(1, rates.shape[2]):
                lowest, rest = 0, members
                while not rest & 1:
                    rest >>= 1
                    lowest += 1
                rest >>= 1
                above = lowest + 1
                if rest == 0:
                    above = n_aps - 1
                else:
                    while not rest & 1:
                        rest >>= 1
                        above += 1
                total = 0.0
                for n in range(first, nodes.size):
                    value = product[above, n] * factor[lowest, n]
                    product[lowest, n] = value
                    total += value
                rates[b, j, members] = total
