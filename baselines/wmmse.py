"""WMMSE: powers that minimise weighted mean squared errors, rounded to on/off or to levels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.power_levels import PowerSearch
from baselines.scheduler import Served
from baselines.weighted_rate import MAX_ITERATIONS, links
from rrm_env import SILENT
from rrm_env.checks import bounded_integer
from rrm_env.compiling import compiled


class WMMSE(PowerSearch):
    """A joint action with a high sum_j w_j^lambda C_j (Eq. 15), by weighted mean squared errors.

    Each AP begins with full power, shared equally by its candidates. In each iteration all
    candidates compute their receivers and the weights of their mean squared errors, and all APs the
    amplitudes that minimise the weighted sum of these errors within their power; so the weighted
    sum rate never falls while powers are continuous. At the end APs are put on one after the other,
    in descending order of the power that they would take without a limit. Those on serve their
    candidates of highest weighted rate, and the set of highest weighted sum rate counts. Ties go to
    lower APs, better candidates and smaller sets. With ``power="levels"`` powers are rounded to the
    network's levels instead (`baselines.power_levels.rounded`). An AP then serves one candidate
    with all of its power, by which the weighted sum rate never falls: at a given power of each AP
    it is convex in how an AP divides its own.

    Q. Shi, M. Razaviyayn, Z.-Q. Luo, C. He, "An iteratively weighted MMSE approach to distributed
    sum-utility maximization for a MIMO interfering broadcast channel", IEEE Trans. Signal Process.
    59 (2011), here with one antenna each; the rounding is an addition.

    It knows as much as `MaxWeight`: N (I + 1) numbers from each AP and one to it in every step.

    Args:
        csi: as for `MaxWeight`.
        exponent: as for `MaxWeight`.
        iterations: number of iterations, at least 1.
        power: ``on_off``, or ``levels``, those of the network.
    """

    def __init__(
        self,
        csi: str = "reported",
        exponent: float | None = None,
        iterations: int = 100,
        power: str = "on_off",
    ) -> None:
        super().__init__(csi, exponent, power)
        self.iterations = bounded_integer("iterations", iterations, MAX_ITERATIONS)

    def _best(self, candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Served:
        weight, received = links(candidates, gain, average_rate, exponent)
        wanted = _wanted_amplitudes(weight, received, self.iterations)
        served: Served = _rounded(candidates, weight, received, wanted)
        return served

    def _powers(self, weight: Any, received: Any) -> NDArray[np.float64]:
        wanted: NDArray[np.float64] = _wanted_amplitudes(weight, received, self.iterations)
        return np.minimum(1.0, wanted**2)


@compiled(nogil=True, error_model="numpy")
def _wanted_amplitudes(weight: Any, received: Any, iterations: int) -> Any:
    """(B, I) the root of the power of each AP after the iterations, not limited to 1.

    One antenna makes everything a closed form. All candidates of an AP share the denominator of
    their amplitudes, so the multiplier of its power constraint is what lifts it to the norm of
    their numerators.
    """
    n_envs, n_aps, n = weight.shape
    wanted = np.zeros((n_envs, n_aps))
    power = np.empty(n_aps)
    amplitude, numerator = np.empty((n_aps, n)), np.empty((n_aps, n))
    harm = np.empty((n_aps, n))  # weight times squared receiver
    for b in range(n_envs):
        w, g = weight[b], received[b]
        for i in range(n_aps):
            present = (w[i] > 0.0).sum()
            for s in range(n):
                amplitude[i, s] = math.sqrt(1.0 / present) if w[i, s] > 0.0 else 0.0
            power[i] = 1.0 if present > 0 else 0.0
        for _ in range(iterations):
            for i in range(n_aps):
                for s in range(n):
                    interference = 1.0
                    for k in range(n_aps):
                        if k != i:
                            interference += g[k, i, s] * power[k]
                    for other in range(n):
                        if other != s:
                            interference += g[i, i, s] * amplitude[i, other] ** 2
                    total = interference + g[i, i, s] * amplitude[i, s] ** 2
                    receiver = math.sqrt(g[i, i, s]) * amplitude[i, s] / total
                    # 1 / error is total / interference; as 1 / (1 - ...) it would lose its digits.
                    weighted = w[i, s] * total / interference
                    numerator[i, s] = weighted * receiver * math.sqrt(g[i, i, s])
                    harm[i, s] = weighted * receiver**2
            for i in range(n_aps):
                caused, norm = 0.0, 0.0
                for k in range(n_aps):
                    for s in range(n):
                        caused += harm[k, s] * g[i, k, s]
                for s in range(n):
                    norm += numerator[i, s] ** 2
                denominator = max(caused, math.sqrt(norm))
                wanted[b, i] = math.sqrt(norm) / caused if norm > 0.0 else 0.0
                power[i] = 0.0
                for s in range(n):
                    amplitude[i, s] = (
                        numerator[i, s] / denominator if numerator[i, s] > 0.0 else 0.0
                    )
                    power[i] += amplitude[i, s] ** 2
    return wanted


@compiled(nogil=True, error_model="numpy")
def _rounded(candidates: Any, weight: Any, received: Any, wanted: Any) -> Any:
    """The users served if those APs are on that want most power, as many as are worth most."""
    n_envs, n_aps, n = candidates.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    interference, slot = np.empty((n_aps, n)), np.empty(n_aps, np.int64)
    for b in range(n_envs):
        interference[:], slot[:] = 1.0, SILENT
        highest = 0.0
        for joining in np.argsort(-wanted[b], kind="mergesort"):  # stable: ties to lower APs
            if weight[b, joining, 0] == 0.0:
                continue
            for i in range(n_aps):
                if i != joining:
                    for s in range(n):
                        interference[i, s] += received[b, joining, i, s]
            slot[joining], value = 0, 0.0
            for i in range(n_aps):
                if slot[i] == SILENT:
                    continue
                best = -1.0
                for s in range(n):
                    sinr = received[b, i, i, s] / interference[i, s]
                    rate = weight[b, i, s] * math.log2(1.0 + sinr)
                    if weight[b, i, s] > 0.0 and rate > best:
                        best, slot[i] = rate, s
                value += best
            if value > highest:
                highest = value
                for i in range(n_aps):
                    served[b, i] = candidates[b, i, slot[i]] if slot[i] != SILENT else SILENT
    return served
