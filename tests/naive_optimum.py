"""Reference implementations of ergodic rates and of the optimum, in plain Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


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
    choices = [[-1, *(j for j, ap in enumerate(association) if ap == i)] for i in range(len(gain))]
    best = 0.0
    for served in itertools.product(*choices):
        value = 0.0
        for j in served:
            if j >= 0:
                own = association[j]
                others = [gain[k][j] for k in range(len(gain)) if k != own and served[k] >= 0]
                value += weight[j] * ergodic_rate(gain[own][j], others, steps=300)
        best = max(best, value)
    return sum(w * r for w, r in zip(weight, realised, strict=True)) / length + (
        remaining / length * best
    )
