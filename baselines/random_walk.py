"""Random choice among an access point's candidates."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.scheduler import Baseline
from rrm_env import SILENT, Network, PoweredDecision
from rrm_env.checks import bounded_integer
from rrm_env.compiling import compiled
from rrm_env.power import Decision


class RandomWalk(Baseline):
    """Each AP serves one of its candidates, all equally likely; an AP without UEs is silent.

    This is the paper's RW baseline. Draws depend on the episode's seed, the step and ``seed``, not
    on the batch.

    Args:
        seed: 0 ... 2^32 - 1; another seed gives other draws.
        silence: silence is as likely as each candidate at each power level, which gives uniformly
            random legal actions, for instance as data for offline learning. Without it power is the
            highest.

    Raises:
        TypeError, ValueError: a seed out of range, or a ``silence`` that is no bool.
    """

    def __init__(self, seed: int = 0, silence: bool = False) -> None:
        if not isinstance(silence, (bool, np.bool_)):
            raise TypeError(f"silence must be True or False, got {silence!r}")
        self.silence = bool(silence)
        self.seed = bounded_integer("seed", seed, 2**32 - 1, lowest=0)

    def schedule(self, network: Network) -> Decision:
        """(B, I) a random candidate of each AP, at a random level where silence is drawn too."""
        n_levels = network.config.n_power_levels if self.silence else 1
        uniform = network.uniform(network.config.n_aps, self.seed)
        served, level = _pick(network.candidates, uniform, self.silence, n_levels)
        return served if n_levels == 1 else PoweredDecision(served, level)


@compiled(nogil=True)
def _pick(candidates: Any, uniform: Any, silence: bool, n_levels: int) -> Any:
    n_envs, n_aps, n = candidates.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    level = np.zeros((n_envs, n_aps), np.int64)
    for b in range(n_envs):
        for i in range(n_aps):
            n_legal = 0
            while n_legal < n and candidates[b, i, n_legal] != SILENT:
                n_legal += 1
            choice = int(uniform[b, i] * (n_legal * n_levels + silence))
            if choice < n_legal * n_levels:
                served[b, i] = candidates[b, i, choice // n_levels]
                level[b, i] = choice % n_levels
    return served, level
