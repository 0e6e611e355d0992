"""FPLinQ: links transmit or not as fractional programming decides."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.power_levels import PowerSearch, served_of
from baselines.scheduler import Served
from baselines.weighted_rate import MAX_ITERATIONS, links
from rrm_env import SILENT
from rrm_env.checks import bounded_integer, nearest
from rrm_env.compiling import compiled

USERS = ("iterated", "all_on")
TRANSMITS_ABOVE = 0.5
"""Root of the power above which a link transmits: its quadratic transform is then positive."""


class FPLinQ(PowerSearch):
    """A joint action with a high sum_j w_j^lambda C_j (Eq. 15), by fractional programming.

    All APs begin at full power. In each iteration every AP turns to its candidate of highest
    weighted rate under the present powers, and all powers take the closed-form values that maximise
    the quadratic transform of the weighted sum rate; so the weighted sum rate never falls while
    powers are continuous. At the end an AP transmits if its transform is higher at full power than
    in silence. Ties go to better candidates, and to silence. It tunes no threshold, unlike ITLinQ.
    With ``power="levels"`` powers are rounded to the network's levels instead
    (`baselines.power_levels.rounded`).

    K. Shen, W. Yu, "FPLinQ: A cooperative spectrum sharing strategy for device-to-device
    communications", IEEE ISIT 2017, for links that are given; the choice of users under present
    powers is that of multi-cell scheduling, where whom an AP serves changes nobody else's
    interference. K. Shen, W. Yu, "Fractional programming for communication systems - part I: power
    control and beamforming", IEEE Trans. Signal Process. 66 (2018).

    It knows as much as `MaxWeight`: N (I + 1) numbers from each AP and one to it in every step.

    Args:
        csi: as for `MaxWeight`.
        exponent: as for `MaxWeight`.
        iterations: number of iterations, at least 1.
        users: ``iterated``, as above, or ``all_on``: those of highest weighted rate while all APs
            transmit stay.
        power: ``on_off``, or ``levels``, those of the network.

    Raises:
        ValueError: another value of ``users`` or ``power``.
    """

    def __init__(
        self,
        csi: str = "reported",
        exponent: float | None = None,
        iterations: int = 100,
        users: str = "iterated",
        power: str = "on_off",
    ) -> None:
        super().__init__(csi, exponent, power)
        self.iterations = bounded_integer("iterations", iterations, MAX_ITERATIONS)
        if users not in USERS:
            raise ValueError(f"unknown users {nearest(str(users), USERS)}")
        self.users = users

    def _best(self, candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Served:
        weight, received = links(candidates, gain, average_rate, exponent)
        slot, _ = _iterate(weight, received, self.iterations, self.users == "iterated")
        return served_of(candidates, slot)

    def _powers(self, weight: Any, received: Any) -> NDArray[np.float64]:
        power: NDArray[np.float64]
        _, power = _iterate(weight, received, self.iterations, self.users == "iterated")
        return power


@compiled(nogil=True, error_model="numpy")
def _iterate(weight: Any, received: Any, iterations: int, iterated: bool) -> Any:
    """The candidate that each AP serves after the iterations, or `SILENT`, and its power.

    Both are (B, I); power 1 is full power.
    """
    n_envs, n_aps, _ = weight.shape
    chosen = np.full((n_envs, n_aps), SILENT, np.int64)
    powers = np.empty((n_envs, n_aps))
    slot = np.empty(n_aps, np.int64)
    power, root = np.empty(n_aps), np.empty(n_aps)  # root: of the power, not yet limited to 1
    y, amplitude = np.empty(n_aps), np.empty(n_aps)
    for b in range(n_envs):
        w, g = weight[b], received[b]
        for i in range(n_aps):
            power[i], slot[i] = 1.0 if w[i, 0] > 0.0 else 0.0, 0
        _choose(slot, power, w, g)
        for iteration in range(iterations):
            if iterated and iteration > 0:
                _choose(slot, power, w, g)
            for i in range(n_aps):
                signal, interference = g[i, i, slot[i]], 1.0
                for k in range(n_aps):
                    if k != i:
                        interference += g[k, i, slot[i]] * power[k]
                sinr = signal * power[i] / interference
                amplitude[i] = math.sqrt(w[i, slot[i]] * (1.0 + sinr) * signal)
                y[i] = amplitude[i] * math.sqrt(power[i]) / (interference + signal * power[i])
            for i in range(n_aps):
                harm = 0.0
                for k in range(n_aps):
                    harm += y[k] * y[k] * g[i, k, slot[k]]
                root[i] = y[i] * amplitude[i] / harm if y[i] > 0.0 else 0.0
            for i in range(n_aps):
                power[i] = min(1.0, root[i] * root[i])
        for i in range(n_aps):
            powers[b, i] = power[i]
            if root[i] > TRANSMITS_ABOVE:
                chosen[b, i] = slot[i]
    return chosen, powers


@compiled(nogil=True, error_model="numpy")
def _choose(slot: Any, power: Any, weight: Any, received: Any) -> None:
    """Write into slot (I,) each AP's candidate of highest weighted rate under the powers (I,)."""
    n_aps, n = weight.shape
    for i in range(n_aps):
        highest = -1.0
        for s in range(n):
            if weight[i, s] == 0.0:  # neither this candidate nor a later one exists
                break
            interference = 1.0
            for k in range(n_aps):
                if k != i:
                    interference += received[k, i, s] * power[k]
            rate = math.log2(1.0 + received[i, i, s] * power[i] / interference)
            if weight[i, s] * rate > highest:
                highest, slot[i] = weight[i, s] * rate, s
    return
