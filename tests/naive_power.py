"""Reference implementations of power levels in plain Python, from the equations.

`powers[i]` is the power of AP i over full power, 0 if it is silent; other names are those of
`naive`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from naive import SILENT, Matrix, rate


def relative(level_dbm: float, full_dbm: float) -> float:
    """The power of a level over full power."""
    return float(10 ** (level_dbm / 10)) / float(10 ** (full_dbm / 10))


def decided(action: int, slots: Sequence[int], n_levels: int) -> tuple[int, int]:
    """The UE and the level of an action: candidates in their order, each at all levels; silence."""
    pairs = [(ue, level) for ue in slots for level in range(n_levels)] + [(SILENT, SILENT)]
    ue, level = pairs[action]
    return (ue, level) if ue != SILENT else (SILENT, SILENT)


def mask(slots: Sequence[int], n_levels: int) -> list[int]:
    """1 for every legal action."""
    return [int(ue != SILENT) for ue in slots for _ in range(n_levels)] + [1]


def rates(gain: Matrix, served: Sequence[int], powers: Sequence[float]) -> list[float]:
    """Eqs. 6 and 7 for every UE where AP i transmits at powers[i]; 0 for those not served."""
    result = [0.0] * len(gain[0])
    for i, ue in enumerate(served):
        if ue != SILENT:
            disturbing = [k for k, other in enumerate(served) if other != SILENT and k != i]
            interference = sum(powers[k] * gain[k][ue] for k in disturbing)
            result[ue] = rate(powers[i] * gain[i][ue] / (1 + interference))
    return result


def weighted(
    gain: Matrix,
    served: Sequence[int],
    powers: Sequence[float],
    averages: Sequence[float],
    exponent: float,
) -> float:
    """Eq. 15's objective."""
    each = rates(gain, served, powers)
    return math.fsum(averages[ue] ** -exponent * each[ue] for ue in served if ue != SILENT)


def joint_actions(
    slots: Sequence[Sequence[int]], powers: Sequence[float]
) -> Iterator[tuple[tuple[int, ...], tuple[float, ...]]]:
    """Everything that all APs can do: users and powers."""
    own = [
        [(SILENT, 0.0)] + [(ue, power) for ue in candidates if ue != SILENT for power in powers]
        for candidates in slots
    ]
    for joint in itertools.product(*own):
        yield tuple(ue for ue, _ in joint), tuple(power for _, power in joint)


def max_weight(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    powers: Sequence[float],
) -> float:
    """The highest weighted rate of all joint actions."""
    return max(
        weighted(gain, served, at, averages, exponent)
        for served, at in joint_actions(slots, powers)
    )


def value_at(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    powers: Sequence[float],
) -> tuple[float, list[int]]:
    """The weighted rate at powers (I,), each AP serving its best candidate; and whom it serves."""
    total, served = 0.0, []
    for i, candidates in enumerate(slots):
        best, ue = -1.0, SILENT
        for j in candidates:
            if j != SILENT and powers[i] > 0:
                disturbing = sum(powers[k] * gain[k][j] for k in range(len(slots)) if k != i)
                value = averages[j] ** -exponent * rate(powers[i] * gain[i][j] / (1 + disturbing))
                if value > best:
                    best, ue = value, j
        total += max(best, 0.0)
        served.append(ue)
    return total, served


def rounded(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    continuous: Sequence[float],
    powers: Sequence[float],
    improvement: float = 1e-9,
) -> list[float]:
    """The powers of levels, or 0, to which continuous powers are rounded."""
    steps = sorted([0.0, *powers])
    pairs = []
    for power, candidates in zip(continuous, slots, strict=True):
        above = next((s for s in steps[1:] if s >= power), steps[-1])
        below = steps[steps.index(above) - 1]
        near, far = sorted((below, above), key=lambda s: (abs(s - power), s))
        pairs.append((near, far) if candidates[0] != SILENT else (0.0, 0.0))
    chosen = [near for near, _ in pairs]
    known = slots, gain, averages, exponent
    while True:
        start = list(chosen)
        for i, (near, far) in enumerate(pairs):
            tried = [*chosen]
            tried[i] = far if chosen[i] == near else near
            if value_at(*known, tried)[0] > value_at(*known, chosen)[0] * (1 + improvement):
                chosen = tried
        if chosen == start:
            return chosen
