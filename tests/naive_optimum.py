"""Reference implementations of ergodic rates and of the optimum, in plain Python."""

from __future__ import annotations

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
