"""Reference implementations of ergodic rates and of the optimum, in plain Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

SILENT = -1


def probability_above(z: float, signal: float, interference: Sequence[float]) -> float:
    """P(SINR > z) under Rayleigh fading of the signal and of everything that interferes."""
    probability = math.exp(-z / signal)
    for other in interference:
        probability /= 1 + z * other / signal
    return probability


def ergodic_rate(signal: float, interference: Sequence[float], steps: int = 20_000) -> float:
    """The integral of P(SINR > z) / (1 + z) dz / ln 2, by the midpoint rule in log z.

    Beyond z = 800 times the signal the probability is 0 for a float; below the lower limit the
    integrand is proportional to z and its integral negligible.
    """
    low = math.log(1e-9 * signal / (1 + signal + sum(interference)))
    high = math.log(800 * signal)
    width = (high - low) / steps
    total = 0.0
    for k in range(steps):
        z = math.exp(low + (k + 0.5) * width)
        total += probability_above(z, signal, interference) / (1 + z) * z * width
    return total / math.log(2)


def joint_actions(n_aps: int, association: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every choice of one own user or silence by each AP."""
    choices = [[SILENT] for _ in range(n_aps)]
    for user, ap in enumerate(association):
        choices[ap].append(user)
    return itertools.product(*choices)


def rates_of(
    action: Sequence[int], gain: Sequence[Sequence[float]], *, fades: bool = True
) -> list[float]:
    """The users' rates under a joint action; `gain` is that of each AP at each user, over noise.

    With fading it is the mean rate, otherwise log2(1 + SINR).
    """
    rates = [0.0] * len(gain[0])
    for ap, user in enumerate(action):
        if user == SILENT:
            continue
        others = [
            gain[other][user]
            for other, served in enumerate(action)
            if served != SILENT and other != ap
        ]
        if fades:
            rates[user] = ergodic_rate(gain[ap][user], others, steps=400)
        else:
            rates[user] = math.log2(1 + gain[ap][user] / (1 + sum(others)))
    return rates


def dual(
    rates: Sequence[Sequence[Sequence[float]]],
    length: Sequence[float],
    weight: Sequence[float],
) -> float:
    """The mean over time blocks of the highest weighted sum of rates.

    Args:
        rates: of each user under each joint action in each block.
        length: share of the episode of each block.
        weight: of each user.
    """
    total = 0.0
    for share, of_block in zip(length, rates, strict=True):
        total += share * max(
            sum(w * rate for w, rate in zip(weight, row, strict=True)) for row in of_block
        )
    return total


def dual_value(
    gain: Sequence[Sequence[float]],
    association: Sequence[int],
    weight: Sequence[float],
    realised: Sequence[float],
    remaining: int,
    length: int,
) -> float:
    """D: sum_j weight_j R_j under the joint action that is best for the remaining steps.

    Args:
        gain: I x J received power over noise.
        association: the AP of each user.
        weight: mu1 + lambda_j of each user.
        realised: each user's rates so far, summed.
        remaining: steps that remain.
        length: steps of an episode.
    """
    best = max(
        sum(w * rate for w, rate in zip(weight, rates_of(served, gain), strict=True))
        for served in joint_actions(len(gain), association)
    )
    done = sum(w * rate for w, rate in zip(weight, realised, strict=True))
    return (done + remaining * best) / length
