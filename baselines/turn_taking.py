"""One access point at a time, by a rotation that all know."""

from __future__ import annotations

import numpy as np

from baselines.scheduler import Baseline, Served
from rrm_env import SILENT, Network
from rrm_env.checks import nearest
from rrm_env.config import TURNS


class TurnTaking(Baseline):
    """The AP whose turn it is serves its candidate of highest weight; the others are silent, so that there is no interference.

    Nothing is exchanged: a common clock is enough for equal turns, and knowing once per episode who serves whom for turns by load.
    A reference point for decentralised learners; not in the paper.

    Args:
        turns: ``by_load``, in proportion to the UEs of each AP, or ``equal``.
    """

    def __init__(self, turns: str = "by_load") -> None:
        if turns not in TURNS[1:]:
            raise ValueError(f"unknown turns {nearest(str(turns), TURNS[1:])}")
        self.turns = turns

    def schedule(self, network: Network) -> Served:
        """(B, I) `SILENT`, but for the AP whose turn it is."""
        candidates, holder = network.candidates, network.turn(self.turns)
        own = candidates[np.arange(network.num_envs), holder]
        average_rate = np.take_along_axis(network.average_rate, np.maximum(own, 0), axis=1)
        best = np.where(own == SILENT, np.inf, average_rate).argmin(axis=1)
        served = np.full(candidates.shape[:2], SILENT, np.int64)
        served[np.arange(network.num_envs), holder] = own[np.arange(network.num_envs), best]
        return served
