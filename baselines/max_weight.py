"""Max-weight scheduling: exhaustive search for the joint action of highest weighted rate."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.scheduler import Served
from baselines.weighted_rate import WeightedRate
from rrm_env import SILENT, Network, PoweredDecision
from rrm_env.compiling import compiled

MAX_JOINT_ACTIONS = 2**20


class SearchTooLargeError(ValueError):
    """The network has more joint actions than an exhaustive search can go through."""


class MaxWeight(WeightedRate):
    """The joint action over all candidates that maximises sum_j w_j^lambda C_j (Eq. 15).

    A centre knows the channel, so this is a reference for schemes that know less. The search is
    exact; it skips joint actions that their first choices already rule out. Ties go to the better
    candidates of lower APs. Where APs have power levels, it goes through these too. With
    ``csi="present"`` no scheduler has a higher weighted rate in the step: an oracle.

    L. Tassiulas, A. Ephremides, "Stability properties of constrained queueing systems and
    scheduling policies for maximum throughput in multihop radio networks", IEEE Trans. Autom.
    Control 37 (1992).

    Args:
        csi: the channel of the search, ``reported`` (`csi_delay` steps old), ``large_scale``
            (without fading, present) or ``present`` (with the fading of the step that is being
            decided, which nobody knows).
        exponent: lambda of the weights; None is the network's `fairness_exponent`. Larger ones
            favour the tail.
    """

    def reset(self, network: Network) -> None:
        """Refuse networks with too many joint actions to search (SearchTooLargeError)."""
        config = network.config
        if config.n_joint_actions > MAX_JOINT_ACTIONS:
            raise SearchTooLargeError(
                f"MaxWeight searches at most {MAX_JOINT_ACTIONS:,} joint actions; "
                f"n_aps = {config.n_aps} with {config.n_actions} actions each have "
                f"{config.n_joint_actions:,}. GreedyMaxWeight (greedy_max_weight) takes networks "
                "of any size"
            )

    def _best_at_levels(
        self, candidates: Any, gain: Any, average_rate: Any, exponent: float, powers: Any
    ) -> PoweredDecision | None:
        if powers.tolist() == [1.0]:  # full power or silence, which `_best` compares faster
            return None
        found = _search_at_levels(candidates, gain, average_rate, exponent, powers)
        return PoweredDecision(*found)

    def _best(self, candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Served:
        served: Served = _search(candidates, gain, average_rate, exponent)
        return served


@compiled(nogil=True, error_model="numpy")
def _search(candidates: Any, gain: Any, average_rate: Any, fairness_exponent: float) -> Any:
    """Branch and bound, depth first over APs, each trying its candidates in order and then silence.

    A transmitter only takes rate from those fixed before it, so the rates under the transmitters
    fixed so far bound every completion from above. A branch is cut where its bound does not exceed
    the best value found.
    """
    n_envs, n_aps, n = candidates.shape
    best_served = np.full((n_envs, n_aps), SILENT, np.int64)
    weight = np.empty((n_aps, n))
    # [d, i, s]: noise and power at candidate s of AP i from the first d APs.
    interference = np.empty((n_aps + 1, n_aps, n))
    slot = np.empty(n_aps, np.int64)  # the choice of each AP fixed so far; n is silence
    for b in range(n_envs):
        for i in range(n_aps):
            for s in range(n):
                ue = candidates[b, i, s]
                weight[i, s] = average_rate[b, ue] ** -fairness_exponent if ue != SILENT else 0.0
                interference[0, i, s] = 1.0
        best, depth = -1.0, 0
        slot[0] = -1
        while depth >= 0:
            slot[depth] += 1
            if slot[depth] > n:
                depth -= 1
                continue
            if slot[depth] < n and candidates[b, depth, slot[depth]] == SILENT:
                continue
            bound = 0.0
            for i in range(n_aps):
                top = 0.0
                for s in range(n):
                    ue = candidates[b, i, s]
                    if ue == SILENT:
                        break
                    power = gain[b, depth, ue] if i != depth and slot[depth] < n else 0.0
                    interference[depth + 1, i, s] = interference[depth, i, s] + power
                    if i > depth or s == slot[i]:
                        sinr = gain[b, i, ue] / interference[depth + 1, i, s]
                        top = max(top, weight[i, s] * math.log2(1.0 + sinr))
                bound += top
            if bound <= best:
                continue
            if depth < n_aps - 1:
                depth += 1
                slot[depth] = -1
                continue
            best = bound
            for i in range(n_aps):
                best_served[b, i] = candidates[b, i, slot[i]] if slot[i] < n else SILENT
    return best_served


@compiled(nogil=True, error_model="numpy")
def _search_at_levels(
    candidates: Any, gain: Any, average_rate: Any, fairness_exponent: float, powers: Any
) -> Any:
    """`_search` over candidates and levels: who is served, and the level.

    What an AP could get that is not fixed yet is bounded by its rate at the highest power.
    """
    n_envs, n_aps, n = candidates.shape
    n_levels, highest = powers.size, powers.max()
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    level = np.zeros((n_envs, n_aps), np.int64)
    weight = np.empty((n_aps, n))
    interference = np.empty((n_aps + 1, n_aps, n))  # as in `_search`
    choice = np.empty(n_aps, np.int64)  # candidate * L + level of each AP fixed so far
    silence = n * n_levels
    for b in range(n_envs):
        for i in range(n_aps):
            for s in range(n):
                ue = candidates[b, i, s]
                weight[i, s] = average_rate[b, ue] ** -fairness_exponent if ue != SILENT else 0.0
                interference[0, i, s] = 1.0
        best, depth = -1.0, 0
        choice[0] = -1
        while depth >= 0:
            choice[depth] += 1
            if choice[depth] > silence:
                depth -= 1
                continue
            active = choice[depth] < silence
            if active and candidates[b, depth, choice[depth] // n_levels] == SILENT:
                continue
            power = powers[choice[depth] % n_levels] if active else 0.0
            bound = 0.0
            for i in range(n_aps):
                first, last, own = 0, n, highest
                if i <= depth:  # what is fixed needs no look at the other candidates
                    first = choice[i] // n_levels
                    last = min(first + 1, n)
                    own = powers[choice[i] % n_levels]
                top = 0.0
                for s in range(first, last):
                    ue = candidates[b, i, s]
                    if ue == SILENT:
                        break
                    received = power * gain[b, depth, ue] if i != depth else 0.0
                    interference[depth + 1, i, s] = interference[depth, i, s] + received
                    sinr = own * gain[b, i, ue] / interference[depth + 1, i, s]
                    top = max(top, weight[i, s] * math.log2(1.0 + sinr))
                bound += top
            if bound <= best:
                continue
            if depth < n_aps - 1:
                depth += 1
                choice[depth] = -1
                continue
            best = bound
            for i in range(n_aps):
                active = choice[i] < silence
                served[b, i] = candidates[b, i, choice[i] // n_levels] if active else SILENT
                level[b, i] = choice[i] % n_levels if active else 0
    return served, level
