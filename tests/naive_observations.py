"""Reference implementations of neighbours and of whole observations, in plain Python.

They are written from the definitions on the environment's page; gains[i][j] is linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from naive import clip, observation, quantised, turn_holder

Matrix = Sequence[Sequence[float]]

MESSAGE_RANGES = {"sinr": (-1.0, 4.0), "weight": (-0.5, 1.0), "gain": (0.0, 7.0)}


def strength(gains: Matrix, association: Sequence[int], ap: int, other: int) -> float:
    """How much an AP's UEs hear of another AP: its shares of what they hear of the two, summed."""
    total = 0.0
    for ue, serving in enumerate(association):
        if serving == ap:
            total += gains[other][ue] / (gains[ap][ue] + gains[other][ue] + 1)
    return total


def neighbours(gains: Matrix, association: Sequence[int], ap: int, k: int) -> list[int]:
    """The k other APs of highest strength, ties to the lower index, -1 where there are fewer."""
    others = [m for m in range(len(gains)) if m != ap]
    ranked = sorted(others, key=lambda m: (-strength(gains, association, ap, m), m))[:k]
    return ranked + [-1] * (k - len(ranked))


def log_gain(gain: float) -> float:
    """log10 of a gain within the bounds, the lower one for none."""
    return clip(math.log10(gain), -6, 12) if gain > 0 else -6.0


def neighbour_gains(ue: int, ap: int, near: Sequence[int], gains: Matrix) -> list[float]:
    """A candidate's gains from its own AP, from each neighbour, and from the rest in sum."""
    if ue == -1:
        return [-6.0] * (len(near) + 2)
    of_neighbours = [gains[m][ue] if m != -1 else 0.0 for m in near]
    of_rest = sum(row[ue] for m, row in enumerate(gains) if m != ap and m not in near)
    return [log_gain(x) for x in (gains[ap][ue], *of_neighbours, of_rest)]


def candidates_seen(
    slots: Sequence[int],
    ap: int,
    near: Sequence[int],
    gains: Matrix,
    sinr: Sequence[float],
    averages: Sequence[float],
    floor: float,
) -> list[float]:
    """SINR, weight and gains of each candidate, candidate after candidate."""
    seen: list[float] = []
    for ue in slots:
        seen += observation([ue], sinr, averages, floor)
        seen += neighbour_gains(ue, ap, near, gains)
    return seen


def message(seen: Sequence[float], n_gains: int, bits: int) -> list[float]:
    """What an AP sends of some candidates: every number of theirs as the middle of its cell."""
    kinds = (["sinr", "weight"] + ["gain"] * n_gains) * (len(seen) // (2 + n_gains))
    return [quantised(x, *MESSAGE_RANGES[kind], bits) for x, kind in zip(seen, kinds, strict=True)]


def missing_message(n_candidates: int, n_gains: int) -> list[float]:
    """What stands in the place of a missing neighbour's message: the lower bounds."""
    kinds = (["sinr", "weight"] + ["gain"] * n_gains) * n_candidates
    return [MESSAGE_RANGES[kind][0] for kind in kinds]


def turn_seen(association: Sequence[int], ap: int, n_aps: int, t: int, turns: str) -> list[float]:
    """Whether it is the AP's turn, where there are turns."""
    return [] if turns == "none" else [float(turn_holder(association, n_aps, t, turns) == ap)]


def clock_seen(t: int, episode_length: int, clock: str) -> list[float]:
    """The share of the episode that has elapsed, where there is a clock."""
    return [t / episode_length] if clock == "elapsed" else []
