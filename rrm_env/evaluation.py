"""Evaluation of a scheduler on unseen episodes, with every user's average rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rrm_env import metrics
from rrm_env.checks import bounded_integer
from rrm_env.config import RRMConfig
from rrm_env.network import Network
from rrm_env.scheduler import Scheduler, require_scheduler
from rrm_env.seeds import EVALUATION_SEEDS

MAX_EPISODES = 2**32
"""Episodes of one evaluation seed.

Episode k of the evaluation seed s has the episode seed EVALUATION_SEEDS + s * MAX_EPISODES + k.
"""

BATCH_SIZE = 512
"""Episodes that `evaluate` simulates at once."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a scheduler achieved in each episode.

    `stack` holds what several training seeds of one learner achieved in the same episodes: then
    the training seeds are the first dimension of every array.
    """

    config: RRMConfig
    seed: int
    ue_rates: NDArray[np.float64]
    """(episodes, J) rate of each user averaged over the episode, bit/s/Hz."""
    silent_share: NDArray[np.float64]
    """(episodes,) share of AP-steps without a transmission."""
    returns: NDArray[np.float64]
    """(episodes,) sum of the rewards that the config defines."""
    seconds: float
    """Time that the scheduler and the network took together."""
    relative_power: NDArray[np.float64] | None = None
    """(episodes,) as `power_share`; None without power levels."""

    @classmethod
    def stack(cls, evaluations: Sequence[Evaluation]) -> Evaluation:
        """One evaluation of several training seeds.

        Raises:
            ValueError: none, or evaluations of different episodes.
        """
        if not evaluations:
            raise ValueError("evaluations must hold at least one Evaluation, got none")
        first = evaluations[0]
        episodes = first.config, first.seed, first.ue_rates.shape
        for other in evaluations:
            if (other.config, other.seed, other.ue_rates.shape) != episodes:
                raise ValueError(
                    "evaluations must be of the same config, seed and number of episodes"
                )
        return cls(
            first.config,
            first.seed,
            np.stack([other.ue_rates for other in evaluations]),
            np.stack([other.silent_share for other in evaluations]),
            np.stack([other.returns for other in evaluations]),
            sum(other.seconds for other in evaluations),
            None
            if first.relative_power is None
            else np.stack([other.power_share for other in evaluations]),
        )

    @property
    def power_share(self) -> NDArray[np.float64]:
        """(episodes,) power of an AP over `tx_power_dbm`, linear, averaged over APs and steps."""
        return 1 - self.silent_share if self.relative_power is None else self.relative_power

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return int(self.ue_rates.shape[-2])

    def kpi(self, name: str) -> NDArray[np.float64]:
        """(episodes,) the KPI of this name in `rrm_env.metrics.KPIS` (KeyError: there is none)."""
        return metrics.KPIS[name].value(self.ue_rates, self.config)

    @property
    def sum_rate(self) -> NDArray[np.float64]:
        """(episodes,) sum rate, Eq. 9, bit/s/Hz."""
        return self.kpi("sum_rate")

    @property
    def tail_rate(self) -> NDArray[np.float64]:
        """(episodes,) 5-percentile rate, Eq. 10, bit/s/Hz."""
        return self.kpi("tail_rate")

    @property
    def worst_rate(self) -> NDArray[np.float64]:
        """(episodes,) lowest rate of a user, bit/s/Hz."""
        return self.kpi("worst_rate")

    @property
    def score(self) -> NDArray[np.float64]:
        """(episodes,) score, Eq. 11."""
        return self.kpi("score")

    @property
    def minimum_score(self) -> NDArray[np.float64]:
        """(episodes,) score with the lowest rate of all users as the tail."""
        return self.kpi("minimum_score")

    @property
    def fairness(self) -> NDArray[np.float64]:
        """(episodes,) Jain's fairness index."""
        return self.kpi("fairness")

    @property
    def pooled_tail_rate(self) -> float:
        """5th percentile over all users of all episodes, bit/s/Hz."""
        return metrics.pooled_tail_rate(self.ue_rates)

    @property
    def steps_per_second(self) -> float:
        """Environment steps (all APs act) per second, scheduler included."""
        return self.silent_share.size * self.config.episode_length / self.seconds


def first_episode(seed: int) -> int:
    """The episode seed of the first episode of an evaluation seed.

    Raises:
        TypeError, ValueError: ``seed`` is no integer from 0 to 2^30 - 1.
    """
    return EVALUATION_SEEDS + bounded_integer("seed", seed, 2**30 - 1, lowest=0) * MAX_EPISODES


def evaluate(
    scheduler: Scheduler,
    config: RRMConfig | None = None,
    episodes: int = 128,
    seed: int = 0,
    *,
    num_threads: int = 1,
    batch_size: int = BATCH_SIZE,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Run a scheduler over full episodes that no training seed ever produces.

    All schedulers meet the same channels under the same config and seed, so results are paired by
    episode. The first episodes of a longer evaluation are those of a shorter one.

    Args:
        scheduler: any `Scheduler`.
        config: the network; the preset ``paper`` where None.
        episodes: number of episodes, 1 ... 2^32.
        seed: 0 ... 2^30 - 1; different seeds share no episode.
        num_threads: threads of the network.
        batch_size: episodes simulated at once.
        progress: called after every step of the batch with the environment steps it counts for.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.
    """
    require_scheduler(scheduler)
    config = RRMConfig() if config is None else config
    episodes = bounded_integer("episodes", episodes, MAX_EPISODES)
    first_seed = first_episode(seed)
    batch_size = min(bounded_integer("batch_size", batch_size), episodes)
    ue_rates, silent_share, power_share, returns = [], [], [], []
    seconds = 0.0
    network = Network(config, batch_size, num_threads)
    for start in range(0, episodes, batch_size):
        if episodes - start < batch_size:
            network = Network(config, episodes - start, num_threads)
        began = time.perf_counter()
        network.reset(first_seed + start)
        scheduler.reset(network)
        running = np.zeros(network.num_envs)
        while not network.done:
            running += network.step(scheduler.schedule(network))[1]
            if progress is not None:
                progress(network.num_envs)
        seconds += time.perf_counter() - began
        ue_rates.append(network.ue_rate_sum / config.episode_length)
        ap_steps = config.n_aps * config.episode_length
        silent_share.append(network.silent_steps / ap_steps)
        power_share.append(network.power_sum / ap_steps)
        returns.append(running)
    return Evaluation(
        config,
        int(seed),
        np.concatenate(ue_rates),
        np.concatenate(silent_share),
        np.concatenate(returns),
        seconds,
        None if config.full_power else np.concatenate(power_share),
    )
