"""The joint action of highest weighted rate among neighbours, in a time that fits large networks.

Given weights of the users, a set of APs is good if the sum of weighted rates of the best user of
each is large. Starting from silence, every AP in turn, the most promising first, joins or leaves
where that raises the sum, for a few rounds. APs that are no neighbours are taken as noise, as if
all transmitted a share `ACTIVITY` of the time.

The rate of a user is taken as log2(1 + f g / (1 + f sum of g_k)), with f = exp(-gamma) under
Rayleigh fading and gamma = 0.5772 (Euler): f g is the geometric mean of the received power, and
log2(1 + f g) at most the mean of log2(1 + g |h|^2) (Jensen's inequality). It costs one logarithm
where the ergodic rate costs a sum over nodes, and schedulers reach the same score with it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.links import Links
from rrm_env import SILENT
from rrm_env.compiling import compiled

RAYLEIGH = math.exp(-np.euler_gamma)
"""f under Rayleigh fading."""
ACTIVITY = 0.3
"""Share of the time in which an AP transmits, as far as others take it as noise."""
AUDIBLE = 0.01
"""Share of noise and interference below which one AP's change is not looked at."""
ROUNDS = 3
"""Rounds in which every AP decides."""


class Choice(NamedTuple):
    """Joint actions of B episodes."""

    served: NDArray[np.int64]
    """(B, I) the user of each AP, or `SILENT`."""
    rate: NDArray[np.float64]
    """(B, I) what that user is expected to get, bit/s/Hz; 0 where the AP is silent."""


def choose(
    links: Links, weight: NDArray[np.float64], fading: float = RAYLEIGH, rounds: int = ROUNDS
) -> Choice:
    """Joint actions for weighted users.

    Args:
        links: of B episodes.
        weight: (B, J) of the users, at least 0; users of weight 0 are not served.
        fading: f, 1 without fading.
        rounds: in which every AP decides.
    """
    b, n_aps = links.neighbours.shape[:2]
    served, rate = np.full((b, n_aps), SILENT), np.zeros((b, n_aps))
    _choose(served, rate, *_read(links, weight), fading, rounds)
    return Choice(served, rate)


def choose_own(
    links: Links, served: NDArray[np.int64], weight: NDArray[np.float64], fading: float = RAYLEIGH
) -> NDArray[np.int64]:
    """(B, I) the best user of each AP that transmits, by weights (B, J) of its own.

    Args:
        links: of B episodes.
        served: (B, I) joint actions, of which only who transmits matters.
        weight: (B, J) of the users, at least 0.
        fading: as in `choose`.
    """
    chosen = served.copy()
    _choose_own(chosen, *_read(links, weight), fading)
    return chosen


def _read(links: Links, weight: NDArray[np.float64]) -> tuple[NDArray[Any], ...]:
    """The arrays of links and weights that the loops read."""
    rest = links.rest * np.float32(ACTIVITY)
    read = links.own, links.cross, rest, links.association, links.neighbours
    return *read, weight * links.present


@compiled(nogil=True, error_model="numpy")
def _choose(
    served: Any,
    rate: Any,
    own: Any,
    cross: Any,
    rest: Any,
    association: Any,
    neighbours: Any,
    weight: Any,
    fading: float,
    rounds: int,
) -> None:
    """Write the joint actions found to `served` (B, I), `SILENT` before, and their rates."""
    n_envs, n_aps, n_neighbours = neighbours.shape
    n_ues = association.shape[1]
    first, users = np.empty(n_aps + 1, np.int64), np.empty(n_ues, np.int64)
    heard, listener = np.empty(n_aps + 1, np.int64), np.empty(n_aps * n_neighbours, np.int64)
    floor, noise = np.empty(n_ues), np.empty(n_ues)
    signal, value = np.empty(n_ues), np.empty(n_ues)
    top, on = np.empty(n_aps), np.empty(n_aps, np.bool_)
    for b in range(n_envs):
        _group(first, users, association[b], n_aps)
        _listeners(heard, listener, neighbours[b])
        factor = weight[b]
        for j in range(n_ues):
            floor[j], signal[j] = 1.0 + fading * rest[b, j], fading * own[b, j]
            noise[j] = floor[j]
        _evaluate(top, value, first, users, factor, signal, noise, 0, n_aps)
        order = np.argsort(-top, kind="mergesort")
        on[:] = False
        for _ in range(rounds):
            changed = False
            for k in order:
                if top[k] == 0.0:
                    continue
                sign = -fading if on[k] else fading
                change = -top[k] if on[k] else top[k]
                for m in range(heard[k], heard[k + 1]):
                    i, place = listener[m] // n_neighbours, listener[m] % n_neighbours
                    if on[i]:
                        best = 0.0
                        for n in range(first[i], first[i + 1]):
                            j = users[n]
                            new = value[j]
                            if fading * cross[b, j, place] > AUDIBLE * noise[j]:
                                louder = max(noise[j] + sign * cross[b, j, place], floor[j])
                                new = factor[j] * math.log2(1.0 + signal[j] / louder)
                            best = max(best, new)
                        change += best - top[i]
                        if (change > 0.0) == on[k]:  # the other APs can only add to that
                            break
                if change > 1e-9 * top[k]:
                    changed, on[k] = True, not on[k]
                    for m in range(heard[k], heard[k + 1]):
                        i, place = listener[m] // n_neighbours, listener[m] % n_neighbours
                        for n in range(first[i], first[i + 1]):
                            j = users[n]
                            noise[j] = max(noise[j] + sign * cross[b, j, place], floor[j])
                        _evaluate(top, value, first, users, factor, signal, noise, i, i + 1)
            if not changed:
                break
        for i in range(n_aps):
            if on[i]:
                for n in range(first[i], first[i + 1]):
                    j = users[n]
                    if value[j] == top[i]:
                        served[b, i], rate[b, i] = j, value[j] / factor[j]
                        break


@compiled(nogil=True, error_model="numpy")
def _group(first: Any, users: Any, association: Any, n_aps: int) -> None:
    """Write the users of each AP one AP after another, and the place of each AP's first one."""
    first[:] = 0
    for i in association:
        first[i + 1] += 1
    for i in range(n_aps):
        first[i + 1] += first[i]
    place = first.copy()
    for j in range(association.size):
        users[place[association[j]]] = j
        place[association[j]] += 1


@compiled(nogil=True, error_model="numpy")
def _listeners(heard: Any, listener: Any, neighbours: Any) -> None:
    """Write, AP by AP, whom it disturbs: the flat index (i, place) in `neighbours` (I, K).

    Those whom it disturbs the most among their neighbours come first.
    """
    n_aps, n_neighbours = neighbours.shape
    heard[:] = 0
    for k in neighbours.ravel():
        if k >= 0:
            heard[k + 1] += 1
    for k in range(n_aps):
        heard[k + 1] += heard[k]
    place = heard.copy()
    for n in range(n_neighbours):
        for i in range(n_aps):
            k = neighbours[i, n]
            if k >= 0:
                listener[place[k]] = i * n_neighbours + n
                place[k] += 1


@compiled(nogil=True, error_model="numpy")
def _evaluate(
    top: Any,
    value: Any,
    first: Any,
    users: Any,
    factor: Any,
    signal: Any,
    noise: Any,
    start: int,
    stop: int,
) -> None:
    """Write the weighted rates of the users of the APs `start` to `stop`, and the best of each."""
    for i in range(start, stop):
        top[i] = 0.0
        for n in range(first[i], first[i + 1]):
            j = users[n]
            value[j] = factor[j] * math.log2(1.0 + signal[j] / noise[j])
            top[i] = max(top[i], value[j])


@compiled(nogil=True, error_model="numpy")
def _choose_own(
    served: Any,
    own: Any,
    cross: Any,
    rest: Any,
    association: Any,
    neighbours: Any,
    weight: Any,
    fading: float,
) -> None:
    """Exchange the users of `served` (B, I) for the best ones of the same APs."""
    n_envs, n_aps, n_neighbours = neighbours.shape
    top, on = np.empty(n_aps), np.empty(n_aps, np.bool_)
    for b in range(n_envs):
        top[:] = 0.0
        for i in range(n_aps):
            on[i] = served[b, i] != SILENT
        for j in range(association.shape[1]):
            i = association[b, j]
            if on[i]:
                noise = 1.0 + fading * rest[b, j]
                for n in range(n_neighbours):
                    if neighbours[b, i, n] >= 0 and on[neighbours[b, i, n]]:
                        noise += fading * cross[b, j, n]
                value = weight[b, j] * math.log2(1.0 + fading * own[b, j] / noise)
                if value > top[i]:
                    served[b, i], top[i] = j, value
