"""Binary power control: which access points transmit, for users that are chosen beforehand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.scheduler import Served
from baselines.weighted_rate import WeightedRate, links
from rrm_env import SILENT
from rrm_env.checks import nearest
from rrm_env.compiling import compiled

USERS = ("all_on", "alone")
MAX_EXHAUSTIVE_APS = 10
"""APs up to which all sets are tried; 10 have 1,024, and each further one doubles them."""
IMPROVEMENT = 1e-9
"""Smaller relative increases of the weighted rate do not count.

Otherwise rounding could keep a search going.
"""


class PowerControl(WeightedRate):
    """Full power or silence for each AP, by sum_j w_j^lambda C_j (Eq. 15) of users chosen before.

    Each AP first chooses its candidate of highest weighted rate. Then, up to 10 APs, all sets of
    APs are tried. In larger networks a local search switches on or off whichever AP raises the
    weighted rate the most, until no switch raises it, once from all APs on and once from silence;
    the better outcome counts. Ties go to the first set in binary order, of which AP 0 is the last
    digit, or to lower APs. `MaxWeight` chooses users and powers together, and is never worse.

    A. Gjendemsjo, D. Gesbert, G. E. Oien, S. G. Kiani, "Binary power control for sum rate
    maximization over multiple interfering links", IEEE Trans. Wireless Commun. 7 (2008); weights,
    users and this local search are additions.

    A centre needs I + 1 numbers from each AP in every step, the weight of its user and the gains
    at this user from all APs, and sends one back. The APs choose their users by themselves.

    Args:
        csi: as for `MaxWeight`.
        exponent: as for `MaxWeight`.
        users: by which rate each AP chooses: ``all_on``, that while all APs transmit, or ``alone``,
            that while no other does.

    Raises:
        ValueError: another value of ``users``.
    """

    def __init__(
        self, csi: str = "reported", exponent: float | None = None, users: str = "all_on"
    ) -> None:
        super().__init__(csi, exponent)
        if users not in USERS:
            raise ValueError(f"unknown users {nearest(str(users), USERS)}")
        self.users = users

    def _best(self, candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Served:
        weight, received = links(candidates, gain, average_rate, exponent)
        served: Served = _switched(candidates, weight, received, self.users == "all_on")
        return served


@compiled(nogil=True, error_model="numpy")
def _switched(candidates: Any, weight: Any, received: Any, all_on: bool) -> Any:
    """The users of the best set of APs found in each episode."""
    n_envs, n_aps, _ = candidates.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    slot = np.empty(n_aps, np.int64)
    w, g = np.empty(n_aps), np.empty((n_aps, n_aps))  # g[k, i]: from AP k at the user of AP i
    on, best_on = np.empty(n_aps, np.bool_), np.empty(n_aps, np.bool_)
    for b in range(n_envs):
        _choose(slot, weight[b], received[b], all_on)
        for i in range(n_aps):
            w[i] = weight[b, i, slot[i]]
            for k in range(n_aps):
                g[k, i] = received[b, k, i, slot[i]]
        best_on[:] = False
        if n_aps <= MAX_EXHAUSTIVE_APS:
            best = 0.0
            for chosen in range(1, 2**n_aps):
                for i in range(n_aps):
                    on[i] = (chosen >> i) & 1
                value = _value(on, w, g)
                if value > best:
                    best, best_on[:] = value, on
        else:
            best = _climb(best_on, w, g)
            on[:] = w > 0.0
            if _climb(on, w, g) > best * (1.0 + IMPROVEMENT):
                best_on[:] = on
        for i in range(n_aps):
            if best_on[i] and w[i] > 0.0:
                served[b, i] = candidates[b, i, slot[i]]
    return served


@compiled(nogil=True, error_model="numpy")
def _choose(slot: Any, weight: Any, received: Any, all_on: bool) -> None:
    """Write into slot (I,) each AP's candidate of highest weighted rate, all others on or off."""
    n_aps, n = weight.shape
    for i in range(n_aps):
        highest, slot[i] = -1.0, 0
        for s in range(n):
            if weight[i, s] == 0.0:  # neither this candidate nor a later one exists
                break
            interference = 1.0
            for k in range(n_aps):
                # An AP without candidates never transmits.
                if all_on and k != i and weight[k, 0] > 0.0:
                    interference += received[k, i, s]
            rate = math.log2(1.0 + received[i, i, s] / interference)
            if weight[i, s] * rate > highest:
                highest, slot[i] = weight[i, s] * rate, s


@compiled(nogil=True, error_model="numpy")
def _climb(on: Any, w: Any, g: Any) -> float:
    """Switch APs, each time the one that helps most, and return the weighted rate reached."""
    reached: float = _value(on, w, g)
    while True:
        switched, best = SILENT, reached * (1.0 + IMPROVEMENT)
        for i in range(on.size):
            if w[i] > 0.0:
                on[i] = not on[i]
                value = _value(on, w, g)
                on[i] = not on[i]
                if value > best:
                    switched, best = i, value
        if switched == SILENT:
            return reached
        on[switched] = not on[switched]
        reached = best


@compiled(nogil=True, error_model="numpy")
def _value(on: Any, w: Any, g: Any) -> float:
    """The weighted rate of the APs that are on."""
    value = 0.0
    for i in range(on.size):
        if on[i] and w[i] > 0.0:
            interference = 1.0
            for k in range(on.size):
                if on[k] and k != i and w[k] > 0.0:
                    interference += g[k, i]
            value += w[i] * math.log2(1.0 + g[i, i] / interference)
    return value
