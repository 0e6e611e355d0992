"""Reuse-k: groups of access points that disturb each other little take turns."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.scheduler import Baseline, PerNetwork, Served
from rrm_env import SILENT, Network, metrics
from rrm_env.checks import bounded_integer, nearest
from rrm_env.compiling import compiled
from rrm_env.config import TURNS

MAX_GROUPS = 1_000_000
"""Largest number of groups that can be asked for; there are never more than APs."""


class _Plan(NamedTuple):
    """What is decided at the start of an episode."""

    group: NDArray[np.int64]
    """(B, I) the group of each AP."""
    turn: NDArray[np.int64]
    """(B, T) the group whose turn each step is."""


class Reuse(Baseline):
    """APs in k groups that take turns; each AP of the active group serves its neediest candidate.

    The groups are a greedy colouring, made once per episode from the gains without fading. Two APs
    disturb each other by what their users lose on average if the other one transmits too, in
    bit/s/Hz. In descending order of what they lose and cause, APs join the group whose members
    disturb them least, ties to the lower group and the lower AP. The candidate of highest weight is
    served, ties to the better PF ratio. With one group all APs transmit, and with as many groups as
    APs it is a rotation like `TurnTaking`.

    V. H. Mac Donald, "Advanced mobile phone service: the cellular concept", Bell Syst. Tech. J. 58
    (1979), for frequencies on a regular grid; here groups share time.

    A centre needs the gains of each AP's users from all APs once per episode, J numbers per AP on
    average, and tells each AP its group and the turns. In a step nothing is exchanged: an AP knows
    the weights of its candidates, and there is a common clock.

    Args:
        groups: k, at least 1; 0 chooses for each episode the k of highest estimated score (Eq. 11),
            ties to fewer groups. The estimate is without fading and motion, and gives all users of
            an AP the same share of its time.
        turns: ``by_load``, in proportion to the largest number of users of an AP in each group, or
            ``equal``. A group without users has no turn.

    Raises:
        TypeError, ValueError: another value of ``groups`` or ``turns``.
    """

    def __init__(self, groups: int = 0, turns: str = "by_load") -> None:
        self.groups = bounded_integer("groups", groups, MAX_GROUPS, lowest=0)
        if turns not in TURNS[1:]:
            raise ValueError(f"unknown turns {nearest(str(turns), TURNS[1:])}")
        self.turns = turns
        self._plans: PerNetwork[_Plan] = PerNetwork(type(self).__name__)

    def reset(self, network: Network) -> None:
        """Form the groups of the episodes that begin, and their turns."""
        config, by_load = network.config, self.turns == "by_load"
        gain, association = network.large_scale_gain, network.association
        disturbance = _disturbance(gain, association)
        highest = min(self.groups or config.n_aps, config.n_aps)
        group = np.zeros((network.num_envs, config.n_aps), np.int64)
        load = np.zeros_like(group)
        best = np.full(network.num_envs, -np.inf)
        for k in range(1 if self.groups == 0 else highest, highest + 1):
            tried = _coloured(disturbance, k)
            loads = _loads(tried, association, by_load)
            rates = _estimated_rates(tried, loads, gain, association)
            score = metrics.score(rates, config.sum_weight, config.score_tail_weight)
            better = score > best
            best[better], group[better], load[better] = score[better], tried[better], loads[better]
        self._plans[network] = _Plan(group, _rotation(load, config.episode_length))

    def schedule(self, network: Network) -> Served:
        """(B, I) the candidate of highest weight at APs whose turn it is, or `SILENT`."""
        plan, candidates = self._plans[network], network.candidates
        averages = network.average_rate[
            np.arange(network.num_envs)[:, None, None], np.maximum(candidates, 0)
        ]
        neediest = np.where(candidates == SILENT, np.inf, averages).argmin(axis=2)
        served = np.take_along_axis(candidates, neediest[..., None], axis=2)[..., 0]
        active = plan.group == plan.turn[:, network.t, None]
        return np.where(active, served, SILENT).astype(np.int64)


@compiled(nogil=True)
def _disturbance(gain: Any, association: Any) -> Any:
    """(B, I, I) what the users of two APs lose if both transmit, bit/s/Hz.

    It is the mean over the users of the one AP plus that over the users of the other.
    """
    n_envs, n_aps, n_ues = gain.shape
    disturbance = np.zeros((n_envs, n_aps, n_aps))
    users = np.empty(n_aps)
    for b in range(n_envs):
        users[:] = 0.0
        for j in range(n_ues):
            users[association[b, j]] += 1.0
        for j in range(n_ues):
            own = association[b, j]
            signal = float(gain[b, own, j])
            for k in range(n_aps):
                if k != own and users[k] > 0.0:  # without users it never transmits
                    other = float(gain[b, k, j])
                    # The difference of the two rates, which would cancel where they are small.
                    lost = math.log1p(signal * other / (1.0 + signal + other)) / math.log(2.0)
                    disturbance[b, own, k] += lost / users[own]
                    disturbance[b, k, own] += lost / users[own]
    return disturbance


@compiled(nogil=True)
def _coloured(disturbance: Any, groups: int) -> Any:
    """(B, I) the group of each AP, if there are so many groups."""
    n_envs, n_aps, _ = disturbance.shape
    group = np.full((n_envs, n_aps), -1, np.int64)
    for b in range(n_envs):
        total = np.zeros(n_aps)
        for i in range(n_aps):
            for k in range(n_aps):
                total[i] += disturbance[b, i, k]
        for i in np.argsort(-total, kind="mergesort"):  # stable: ties to lower APs
            least = np.inf
            for c in range(groups):
                added = 0.0
                for k in range(n_aps):
                    if group[b, k] == c:
                        added += disturbance[b, i, k]
                if added < least:
                    least, joined = added, c
            group[b, i] = joined
    return group


@compiled(nogil=True)
def _loads(group: Any, association: Any, by_load: bool) -> Any:
    """(B, I) turns of each group in a rotation, 0 for groups that do not exist or have no users."""
    n_envs, n_aps = group.shape
    load = np.zeros((n_envs, n_aps), np.int64)
    for b in range(n_envs):
        users = np.zeros(n_aps, np.int64)
        for j in range(association.shape[1]):
            users[association[b, j]] += 1
        for i in range(n_aps):
            turns = users[i] if by_load else min(users[i], 1)
            load[b, group[b, i]] = max(load[b, group[b, i]], turns)
    return load


@compiled(nogil=True)
def _estimated_rates(group: Any, load: Any, gain: Any, association: Any) -> Any:
    """(B, J) the mean rate of each user without fading, bit/s/Hz."""
    n_envs, n_aps, n_ues = gain.shape
    rates = np.empty((n_envs, n_ues))
    users = np.empty(n_aps)
    for b in range(n_envs):
        users[:] = 0.0
        for j in range(n_ues):
            users[association[b, j]] += 1.0
        for j in range(n_ues):
            own, interference = association[b, j], 1.0
            for k in range(n_aps):
                if k != own and group[b, k] == group[b, own] and users[k] > 0.0:
                    interference += float(gain[b, k, j])
            share = load[b, group[b, own]] / load[b].sum() / users[own]
            rates[b, j] = share * math.log2(1.0 + float(gain[b, own, j]) / interference)
    return rates


@compiled(nogil=True)
def _rotation(load: Any, steps: int) -> Any:
    """(B, T) the group whose turn each step is: as even as the loads (B, I) allow.

    Each step adds its load to what every group is owed, and goes to the group that is owed most,
    ties to the lower one.
    """
    n_envs, n_aps = load.shape
    turn = np.empty((n_envs, steps), np.int64)
    for b in range(n_envs):
        owed = np.zeros(n_aps, np.int64)
        total = load[b].sum()
        for t in range(steps):
            owed += load[b]
            turn[b, t] = owed.argmax()
            owed[turn[b, t]] -= total
    return turn
