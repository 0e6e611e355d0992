"""Turn taking: one access point at a time, in a fixed rotation."""

from __future__ import annotations

import numpy as np

from baselines.scheduler import Baseline, Served
from rrm_env import SILENT, Network
from rrm_env.checks import nearest
from rrm_env.config import TURNS


class TurnTaking(Baseline):
    """The AP whose turn it is serves its candidate of highest weight; all others are silent.

    There is no interference, and nothing is exchanged in a step: equal turns need a common clock;
    turns by load need to know once per episode which UEs each AP has. It is a point of reference
    for decentralised learners that the paper does not have.

    Args:
        turns: ``by_load``, in proportion to the UEs of each AP, or ``equal``.

    Raises:
        ValueError: another value of ``turns``.
    """

    def __init__(self, turns: str = "by_load") -> None:
        if turns not in TURNS[1:]:
            raise ValueError(f"unknown turns {nearest(str(turns), TURNS[1:])}")
        self.turns = turns

    def schedule(self, network: Network) -> Served:
        """(B, I) `SILENT` except for the AP whose turn it is."""
        candidates, holder = network.candidates, network.turn(self.turns)
        own = candidates[np.arange(network.num_envs), holder]
        average_rate = np.take_along_axis(network.average_rate, np.maximum(own, 0), axis=1)
        best = np.where(own == SILENT, np.inf, average_rate).argmin(axis=1)
        served = np.full(candidates.shape[:2], SILENT, np.int64)
        served[np.arange(network.num_envs), holder] = own[np.arange(network.num_envs), best]
        return served
