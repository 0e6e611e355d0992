"""Reference implementations of the searches for a high weighted rate, and of reuse-k.

They are in plain Python like those of `naive`, which holds the other baselines. `slots[i]` are the
candidates of AP i, `gain[i][j]` is received power over noise from AP i at UE j, and powers are
shares of full power.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from naive import SILENT, Matrix, rate, score, weighted_sum


def weighted_rates_under(
    links: Sequence[tuple[int, int, float]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
) -> float:
    """Eq. 15's objective where AP i sends to UE j at power p, for each link (i, j, p)."""
    return math.fsum(
        averages[j] ** -exponent * rate(p * gain[i][j] / _received(n, links, gain))
        for n, (i, j, p) in enumerate(links)
    )


def _received(n: int, links: Sequence[tuple[int, int, float]], gain: Matrix) -> float:
    """Noise and the power of all other links at the receiver of link n."""
    receiver = links[n][1]
    return 1 + sum(p * gain[i][receiver] for m, (i, _, p) in enumerate(links) if m != n)


# --- FPLinQ ---


def fplinq(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    iterations: int,
    users: str,
    course: list[float] | None = None,
    ended: dict[int, float] | None = None,
) -> list[int]:
    """Fractional programming over users and powers; `course` gets the value after each update.

    `ended` gets the last continuous powers of APs with candidates.
    """
    own = {i: [ue for ue in slots[i] if ue != SILENT] for i in range(len(slots))}
    power = {i: 1.0 for i in own if own[i]}
    chosen = {i: _preferred(i, own[i], power, gain, averages, exponent) for i in power}
    transform: dict[int, float] = {}
    for iteration in range(iterations):
        if users == "iterated" and iteration > 0:
            chosen = {i: _preferred(i, own[i], power, gain, averages, exponent) for i in power}
        interference = {
            i: 1 + sum(power[k] * gain[k][chosen[i]] for k in power if k != i) for i in power
        }
        signal = {i: gain[i][chosen[i]] for i in power}
        gamma = {i: power[i] * signal[i] / interference[i] for i in power}
        amplitude = {
            i: math.sqrt(averages[chosen[i]] ** -exponent * (1 + gamma[i]) * signal[i])
            for i in power
        }
        y = {
            i: amplitude[i] * math.sqrt(power[i]) / (interference[i] + power[i] * signal[i])
            for i in power
        }
        harm = {i: sum(y[k] ** 2 * gain[i][chosen[k]] for k in power) for i in power}
        # What is left of the transform of AP i at full power, and at the power that maximises it.
        transform = {i: 2 * y[i] * amplitude[i] - harm[i] for i in power}
        power = {i: min(1.0, (y[i] * amplitude[i] / harm[i]) ** 2) if y[i] else 0.0 for i in power}
        if course is not None:
            links = [(i, chosen[i], power[i]) for i in power]
            course.append(weighted_rates_under(links, gain, averages, exponent))
    if ended is not None:
        ended.update(power)
    return [chosen[i] if transform.get(i, 0) > 0 else SILENT for i in range(len(slots))]


def _preferred(
    ap: int,
    own: Sequence[int],
    power: dict[int, float],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
) -> int:
    """The AP's candidate of highest weighted rate under the powers of all."""

    def value(ue: int) -> float:
        interference = 1 + sum(p * gain[k][ue] for k, p in power.items() if k != ap)
        return math.pow(averages[ue], -exponent) * rate(power[ap] * gain[ap][ue] / interference)

    return max(own, key=value)


# --- WMMSE ---


def wmmse(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    iterations: int,
    course: list[float] | None = None,
    ended: dict[int, float] | None = None,
) -> list[int]:
    """Weighted minimum mean squared errors over all candidates, then the best of nested sets.

    Errors, receivers and the multiplier of each power constraint come from their definitions.
    `ended` gets the last continuous powers of APs with candidates.
    """
    own = [[ue for ue in candidates if ue != SILENT] for candidates in slots]
    pairs = [(i, j) for i, ues in enumerate(own) for j in ues]
    v = {(i, j): math.sqrt(1 / len(own[i])) for i, j in pairs}
    unlimited: dict[int, float] = {}
    for _ in range(iterations):
        links = [(i, j, v[i, j] ** 2) for i, j in pairs]
        u, weight = {}, {}
        for n, (i, j) in enumerate(pairs):
            interference, h = _received(n, links, gain), math.sqrt(gain[i][j])
            u[i, j] = h * v[i, j] / (interference + (h * v[i, j]) ** 2)
            error = (1 - u[i, j] * h * v[i, j]) ** 2 + u[i, j] ** 2 * interference
            weight[i, j] = averages[j] ** -exponent / error
        for i, ues in enumerate(own):
            harm = sum(weight[k, j] * u[k, j] ** 2 * gain[i][j] for k, j in pairs)
            wanted = {j: weight[i, j] * u[i, j] * math.sqrt(gain[i][j]) for j in ues}
            if ues:
                unlimited[i] = math.sqrt(sum(value**2 for value in wanted.values())) / (harm or 1)
            for j, amplitude in _within_power(wanted, harm).items():
                v[i, j] = amplitude
        if course is not None:
            links = [(i, j, v[i, j] ** 2) for i, j in pairs]
            course.append(weighted_rates_under(links, gain, averages, exponent))
    if ended is not None:
        ended.update({i: sum(v[i, j] ** 2 for j in ues) for i, ues in enumerate(own) if ues})
    order = sorted(unlimited, key=lambda i: (-unlimited[i], i))
    sets = [order[:n] for n in range(1, len(order) + 1)]
    served = [
        [
            _preferred(i, own[i], dict.fromkeys(on, 1.0), gain, averages, exponent)
            if i in on
            else SILENT
            for i in range(len(slots))
        ]
        for on in sets
    ]
    return max(
        served,
        key=lambda each: weighted_sum(each, gain, averages, exponent),
        default=[SILENT] * len(slots),
    )


def _within_power(wanted: dict[int, float], harm: float) -> dict[int, float]:
    """Amplitudes wanted / (harm + multiplier), with the least multiplier that keeps their power."""

    def power(multiplier: float) -> float:
        return sum((value / (harm + multiplier)) ** 2 for value in wanted.values())

    low, high = 0.0, sum(wanted.values())
    if not high:
        return dict.fromkeys(wanted, 0.0)
    if harm > 0 and power(0.0) <= 1:
        high = 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle) > 1 else (low, middle)
    return {j: value / (harm + high) for j, value in wanted.items()}


# --- Binary power control ---


def power_control(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    users: str,
    exhaustive_up_to: int = 10,
    improvement: float = 1e-9,
) -> list[int]:
    """The best set of APs for users chosen beforehand, or in large networks a local optimum."""
    own = {
        i: [ue for ue in slots[i] if ue != SILENT] for i in range(len(slots)) if slots[i][0] >= 0
    }
    chosen = {}
    for i, ues in own.items():
        others = own if users == "all_on" else [i]
        power = dict.fromkeys(others, 1.0)
        chosen[i] = _preferred(i, ues, power, gain, averages, exponent)

    def served(on: Sequence[int]) -> list[int]:
        return [chosen[i] if i in on else SILENT for i in range(len(slots))]

    def value(on: Sequence[int]) -> float:
        return weighted_sum(served(on), gain, averages, exponent)

    if len(slots) <= exhaustive_up_to:
        sets = [on for n in range(len(own) + 1) for on in itertools.combinations(own, n)]
        return served(max(sets, key=value))
    reached = []
    for start in ([], list(own)):
        on = start
        while True:
            switched = [sorted(set(on) ^ {i}) for i in own]
            better = max(switched, key=value, default=on)
            if value(better) <= value(on) * (1 + improvement):
                break
            on = better
        reached.append(on)
    small, large = reached
    return served(large if value(large) > value(small) * (1 + improvement) else small)


# --- Reuse-k ---


def reuse_groups(gain: Matrix, association: Sequence[int], n_groups: int) -> list[int]:
    """The group of each AP: greedy colouring by what users lose to each other's APs."""
    own = [[j for j, ap in enumerate(association) if ap == i] for i in range(len(gain))]

    def lost(i: int, k: int) -> float:
        """Mean loss of AP i's users if AP k transmits too."""
        losses = [rate(gain[i][j]) - rate(gain[i][j] / (1 + gain[k][j])) for j in own[i]]
        return sum(losses) / len(losses) if losses and own[k] else 0.0

    def disturbance(i: int, k: int) -> float:
        return lost(i, k) + lost(k, i)

    aps = range(len(gain))
    group = [-1] * len(gain)
    for i in sorted(aps, key=lambda i: (-sum(disturbance(i, k) for k in aps if k != i), i)):
        added = [sum(disturbance(i, k) for k in aps if group[k] == c) for c in range(n_groups)]
        group[i] = added.index(min(added))
    return group


def reuse_loads(group: Sequence[int], association: Sequence[int], turns: str) -> list[int]:
    """Turns of each group: the most users of an AP in it, or 1 where it has any."""
    most = [0] * len(group)
    for i, c in enumerate(group):
        most[c] = max(most[c], sum(ap == i for ap in association))
    return most if turns == "by_load" else [min(users, 1) for users in most]


def reuse_turns(loads: Sequence[int], steps: int) -> list[int]:
    """The group of each step: always the one furthest behind its share."""
    given, course = [0] * len(loads), []
    for t in range(1, steps + 1):
        behind = [load * t - sum(loads) * n for load, n in zip(loads, given, strict=True)]
        course.append(behind.index(max(behind)))
        given[course[-1]] += 1
    return course


def reuse_score(
    group: Sequence[int],
    loads: Sequence[int],
    gain: Matrix,
    association: Sequence[int],
    mu1: float,
    mu2: float,
) -> float:
    """The estimated score: equal shares of each AP's time for its users, no fading."""
    rates = []
    for j, i in enumerate(association):
        interference = 1 + sum(
            gain[k][j]
            for k in range(len(gain))
            if k != i and group[k] == group[i] and k in association
        )
        share = loads[group[i]] / sum(loads) / association.count(i)
        rates.append(share * rate(gain[i][j] / interference))
    return score(rates, mu1, mu2)


def neediest(slots: Sequence[int], averages: Sequence[float]) -> int:
    """The candidate of highest weight, ties to the better PF ratio."""
    return min((ue for ue in slots if ue != -1), key=lambda ue: averages[ue], default=SILENT)
