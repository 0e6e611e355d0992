"""Greedy scheduling: the candidate with the best channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.scheduler import Baseline, Served
from rrm_env import SILENT, Network
from rrm_env.compiling import compiled


class Greedy(Baseline):
    """Each AP serves the candidate with the highest reported SINR, ties to the better PF ratio.

    This is the paper's greedy baseline, which buys sum rate at the expense of the tail. It chooses
    among candidates, as the learners do; among all UEs of an AP most would never be served.
    """

    def schedule(self, network: Network) -> Served:
        """(B, I) the candidate of highest reported SINR."""
        served: Served = _best(network.candidates, network.reported_sinr)
        return served


@compiled(nogil=True)
def _best(candidates: Any, sinr: Any) -> Any:
    n_envs, n_aps, n = candidates.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    for b in range(n_envs):
        for i in range(n_aps):
            for slot in range(n):
                ue = candidates[b, i, slot]
                if ue != SILENT and (served[b, i] == SILENT or sinr[b, ue] > sinr[b, served[b, i]]):
                    served[b, i] = ue
    return served
