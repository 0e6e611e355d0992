"""Recording datasets of schedulers and policies, in the network or any parallel environment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from marl.checks import check_text
from marl.data.dataset import Dataset
from marl.data.replay import bytes_per_transition
from marl.data.storage import free_bytes
from marl.data.transitions import COLUMNS
from marl.engines.base import Engine, Serial, Task
from marl.environment import MAX_SEED, Act, Environment
from marl.sources import MakeEnv, NetworkSource, ParallelSource, Source
from marl.team import team_of
from marl.torch_state import known_torch
from rrm_env import Network, RRMConfig, Scheduler, metrics
from rrm_env.checks import bounded_integer
from rrm_env.power import Decision, actions_of

MAX_BATCH = 512
"""Most slots of a recording; each slot plays episodes one after the other."""

SHARD_SLOTS = 32
"""Slots of a shard, at least; fewer where the shard would exceed `SHARD_TRANSITIONS`."""
SHARD_TRANSITIONS = 25_000
"""Transitions of a shard, roughly at most."""
_SMALLEST_SHARD = 16
"""Fewest slots of a shard. With fewer rows per matrix product, BLAS rounds differently, and a
policy could choose other actions than in a wider shard."""

MAX_SEEDS = 10_000
"""Most seeds of one training run."""


@known_torch
def collect(
    scheduler: Scheduler,
    config: RRMConfig | None = None,
    transitions: int = 100_000,
    seed: int = 0,
    *,
    first_episode: int = 0,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
    engine: Engine | None = None,
) -> Dataset:
    """Record transitions of a scheduler or a trained policy in the network.

    The dataset holds whole episodes one after the other; only the last one may be cut.

    Args:
        scheduler: the scheduler to record. Baselines choose among candidates, as in the parallel
            API.
        config: the network; the preset ``paper`` where None.
        transitions: number of transitions.
        seed: 0 ... 2^30 - 1; different seeds share no episode, and evaluations use none of them.
        first_episode: the first of the seed's episodes, for recordings that share a seed.
        name: name of the behaviour in the dataset; the scheduler's class where None.
        progress: called with the number of transitions just recorded.
        engine: where to record the shards; this process where None. All engines give the same
            dataset if the scheduler depends only on the network that it is given and draws from
            `Network.uniform`.

    Raises:
        TypeError, ValueError: an argument is not as described, the dataset does not fit in the free
            memory, or the scheduler serves a UE that is not a candidate.
    """
    recording = Recording(
        scheduler, config, transitions, seed, first_episode=first_episode, name=name
    )
    return record([recording], engine, progress)[0]


class Recording:
    """A dataset that `collect` records in shards, which may run in different processes.

    B <= `MAX_BATCH` slots play episodes in parallel: slot b plays the episodes b, b + B, b + 2B and
    so on, and its transitions follow one another in the dataset. A shard is a range of slots. The
    shards depend only on the number of transitions and the episode length.

    Args:
        scheduler, config, transitions, seed, first_episode, name: as in `collect`.
        keeps_episodes: whether the metadata also hold the return and KPIs of every whole episode,
            under ``episodes`` of the behaviour.

    Raises:
        TypeError, ValueError: as `collect`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        config: RRMConfig | None = None,
        transitions: int = 100_000,
        seed: int = 0,
        *,
        first_episode: int = 0,
        name: str | None = None,
        keeps_episodes: bool = False,
    ) -> None:
        if isinstance(scheduler, type) or not isinstance(scheduler, Scheduler):
            raise TypeError(
                f"scheduler must have reset(network) and schedule(network), got {scheduler!r}"
            )
        self._scheduler = scheduler
        self._config = RRMConfig() if config is None else config
        self._transitions = bounded_integer("transitions", transitions)
        self._seed = bounded_integer("seed", seed, MAX_SEED, lowest=0)
        self._first_episode = bounded_integer("first_episode", first_episode, 2**31, lowest=0)
        self._name = name or type(scheduler).__name__
        check_text("name", self._name)
        self._keeps_episodes = keeps_episodes
        episodes = -(-self._transitions // self._config.episode_length)
        rounds = -(-episodes // MAX_BATCH)
        self._slots = -(-episodes // rounds)
        self._steps = rounds * self._config.episode_length
        self._check_memory()
        self._columns: dict[str, NDArray[Any]] = {}
        self._ended: list[_EndedEpisode] = []

    def _check_memory(self) -> None:
        """Raise ValueError if the recording does not fit in memory, before any work is done."""
        each = bytes_per_transition(team_of(self._config))
        free = free_bytes(torch.device("cpu"))
        needed = each * self._transitions
        if free is not None and needed > free:
            raise ValueError(
                f"transitions = {self._transitions:,} need {needed / 2**30:,.1f} GiB of memory, "
                f"{free / 2**30:,.1f} GiB are free, allowed: up to {free // each:,}"
            )

    @property
    def shards(self) -> list[range]:
        """The slots of each shard; shards are nearly equal in size."""
        wanted = min(SHARD_SLOTS, max(_SMALLEST_SHARD, SHARD_TRANSITIONS // self._steps))
        count = max(1, self._slots // wanted)
        bounds = [self._slots * k // count for k in range(count + 1)]
        return [range(*pair) for pair in pairwise(bounds)]

    @property
    def tasks(self) -> list[Task]:
        """One task for each shard, which records it."""
        return [self._task(shard) for shard in self.shards]

    def _task(self, shard: range) -> Task:
        """The task that records a shard."""
        name = f"{self._name}, slots {shard.start} to {shard.stop - 1} of {self._slots}"
        # A single slot at the end of the dataset may need fewer steps than the others.
        steps = min(self._steps, self._transitions - shard.start * self._steps)
        arguments = (
            self._scheduler,
            self._config,
            steps,
            self._slots,
            self._seed,
            self._first_episode,
            shard,
        )
        return Task(name, _record_shard, arguments)

    def add(
        self, shard: range, recorded: tuple[dict[str, NDArray[Any]], list[_EndedEpisode]]
    ) -> int:
        """Store the result of a shard's task, and return the number of its transitions."""
        columns, ended = recorded
        first = shard.start * self._steps
        size = min(len(shard) * self._steps, self._transitions - first)
        for name, column in columns.items():
            if name not in self._columns:
                self._columns[name] = np.empty((self._transitions, *column.shape[2:]), column.dtype)
            rows = column.reshape(-1, *column.shape[2:])
            self._columns[name][first : first + size] = rows[:size]
        self._ended += [episode._replace(row=first + episode.row) for episode in ended]
        return size

    def dataset(self) -> Dataset:
        """The dataset, once all shards have been added."""
        # Means are taken in the order in which episodes ended, all slots in step.
        ended = sorted(self._ended, key=lambda episode: (episode.row % self._steps, episode.row))
        kpis = _kpis(ended, self._transitions, self._config)
        environment = Environment.of_network(self._config)
        more = {}
        if self._keeps_episodes:
            more["episodes"] = _episodes(self._ended, self._transitions, self._config)
        return _dataset(self._columns, environment, self._name, self._seed, kpis, more)


@known_torch
def record(
    recordings: Sequence[Recording],
    engine: Engine | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Dataset]:
    """Record the shards of several recordings in one pass over the engine.

    Args:
        recordings: the recordings.
        engine: where to record; this process where None.
        progress: called with the number of transitions just recorded.

    Returns:
        The datasets, in the order of ``recordings``.
    """
    shards = [
        (recording, shard, task)
        for recording in recordings
        for shard, task in zip(recording.shards, recording.tasks, strict=True)
    ]
    for k, recorded in (engine or Serial()).values([task for _, _, task in shards]):
        recording, shard, _ = shards[k]
        done = recording.add(shard, recorded)
        if progress is not None:
            progress(done)
    return [recording.dataset() for recording in recordings]


def among_candidates(scheduler: Scheduler) -> Callable[[Network], Decision]:
    """How a scheduler is recorded: baselines choose among candidates, all others as they do."""
    choose: Callable[[Network], Decision] = getattr(
        scheduler, "schedule_candidates", scheduler.schedule
    )
    return choose


def _record_shard(
    scheduler: Scheduler,
    config: RRMConfig,
    steps: int,
    slots: int,
    seed: int,
    first_episode: int,
    shard: range,
) -> tuple[dict[str, NDArray[Any]], list[_EndedEpisode]]:
    """Columns and ended episodes of one shard, a range of the ``slots`` of a recording."""
    source = NetworkSource(config, len(shard), stride=slots)
    choose = among_candidates(scheduler)

    def act(
        observation: NDArray[np.float32],  # noqa: ARG001 - the interface of a policy
        mask: NDArray[np.uint8],  # noqa: ARG001 - the interface of a policy
    ) -> NDArray[Any]:
        if source.network.t == 0:
            scheduler.reset(source.network)
        return actions_of(source.network, choose(source.network))

    return _record(source, act, steps, seed, first_episode + shard.start)


@known_torch
def collect_parallel(
    make: MakeEnv,
    policy: Act | None = None,
    transitions: int = 10_000,
    seed: int = 0,
    *,
    num_envs: int = 8,
    first_episode: int = 0,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Record transitions of a policy in a parallel environment with discrete actions.

    Rewards are averaged over agents.

    Args:
        make: makes one environment.
        policy: maps observations (B, I, D) and masks (B, I, A) to legal actions (B, I); uniformly
            random legal actions where None.
        transitions: number of transitions.
        seed: 0 ... 2^30 - 1; seed of the environments and of random actions.
        num_envs: B, environments that run in parallel; the transitions of each follow one another.
        first_episode: added to the seeds of the environments, for recordings that share a seed.
        name: name of the behaviour in the dataset.
        progress: called with the number of transitions just recorded.

    Raises:
        TypeError, ValueError: an argument is not as described, or SuperSuit is missing.
    """
    transitions = bounded_integer("transitions", transitions)
    seed = bounded_integer("seed", seed, MAX_SEED, lowest=0)
    num_envs = min(bounded_integer("num_envs", num_envs), transitions)
    first_episode = bounded_integer("first_episode", first_episode, 2**31, lowest=0)
    name = name or ("policy" if policy else "random actions")
    check_text("name", name)
    environment = Environment.of_factory(make)
    check_text("environment: name", environment.name)
    generator = np.random.default_rng(seed)

    def random_actions(
        observation: NDArray[np.float32],  # noqa: ARG001 - the interface of a policy
        mask: NDArray[np.uint8],
    ) -> NDArray[Any]:
        chosen: NDArray[Any] = np.where(mask == 1, generator.random(mask.shape), -1).argmax(-1)
        return chosen

    source = ParallelSource(make, num_envs)
    act = policy or random_actions
    steps = -(-transitions // num_envs)
    columns, ended = _record(source, act, steps, seed, first_episode, progress)
    rows = {
        key: column.reshape(-1, *column.shape[2:])[:transitions] for key, column in columns.items()
    }
    return _dataset(rows, environment, name, seed, _kpis(ended, transitions))


class _EndedEpisode(NamedTuple):
    """An episode that ended while it was recorded."""

    row: int
    """Row of its last transition."""
    episode_return: float
    """Undiscounted sum of its rewards."""
    ue_rates: NDArray[np.float64] | None
    """(J,) mean rates in bit/s/Hz; None in an environment that is not a network."""


def _record(
    source: Source,
    act: Act,
    steps: int,
    seed: int,
    first_episode: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, NDArray[Any]], list[_EndedEpisode]]:
    """Columns (B, steps, ...) of the B environments of a source, and the episodes that ended."""
    source.reset(seed, first_episode)
    batch, team = len(source.observation), source.team
    columns = {
        name: np.empty((batch, steps, *column.shape(team)), column.dtype)
        for name, column in COLUMNS.items()
        if name != "behaviour"
    }
    returns = np.zeros(batch)
    ended = []
    for t in range(steps):
        actions = act(source.observation, source.mask)
        before = source.observation, source.mask, actions
        outcome = source.step(actions)
        for column, value in zip(columns.values(), (*before, *outcome), strict=True):
            column[:, t] = value
        returns += outcome.reward
        for b in np.flatnonzero(outcome.terminated | outcome.truncated):
            rates = source.finished_ue_rates[b] if isinstance(source, NetworkSource) else None
            ended.append(_EndedEpisode(int(b) * steps + t, float(returns[b]), rates))
            returns[b] = 0
        if progress is not None:
            progress(batch)
    columns["truncated"][:, -1] |= 1 - columns["terminated"][:, -1]
    return columns, ended


_RECORDED_KPIS = ("sum_rate", "tail_rate", "score")
"""KPIs in a dataset's metadata; a change of this list would change every file and fingerprint."""

_EPISODE_KPIS = ("sum_rate", "tail_rate", "worst_rate", "score")
"""KPIs of single episodes; a change of this list would change every published checksum."""


def _kpis(ended: list[_EndedEpisode], n: int, config: RRMConfig | None = None) -> dict[str, float]:
    """Mean KPIs of the episodes that lie wholly within the first ``n`` rows; empty without any."""
    whole = [episode for episode in ended if episode.row < n]
    if not whole:
        return {}
    kpis = {
        "episodes": float(len(whole)),
        "return": float(np.mean([episode.episode_return for episode in whole])),
    }
    if config is not None:
        rates = np.stack([episode.ue_rates for episode in whole if episode.ue_rates is not None])
        for name in _RECORDED_KPIS:
            kpis[name] = float(metrics.KPIS[name].value(rates, config).mean())
    return kpis


def _episodes(ended: list[_EndedEpisode], n: int, config: RRMConfig) -> dict[str, list[float]]:
    """Return and KPIs of each episode wholly within the first ``n`` rows, in the order of rows."""
    whole = sorted((episode for episode in ended if episode.row < n), key=lambda one: one.row)
    if not whole:
        return {}
    rates = np.stack([episode.ue_rates for episode in whole if episode.ue_rates is not None])
    return {
        "return": [episode.episode_return for episode in whole],
        **{name: metrics.KPIS[name].value(rates, config).tolist() for name in _EPISODE_KPIS},
    }


def _dataset(
    columns: dict[str, NDArray[Any]],
    environment: Environment,
    name: str,
    seed: int,
    kpis: dict[str, float],
    more: Mapping[str, Any] | None = None,
) -> Dataset:
    """The dataset of columns (n, ...) that one behaviour recorded, truncated at the last row.

    ``more`` are further entries of the behaviour in the metadata.
    """
    columns["truncated"][-1] = 1 - columns["terminated"][-1]
    n = len(columns["reward"])
    behaviour = {"name": name, "seed": seed, "transitions": n, "kpis": kpis, **(more or {})}
    metadata = {"environment": environment.as_dict(), "behaviours": [behaviour]}
    return Dataset.from_arrays(columns, metadata)
