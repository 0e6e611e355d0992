"""Records datasets: what a scheduler or a trained policy does in the network, or any policy in any parallel environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from rrm_env import SILENT, Network, RRMConfig, Scheduler, metrics
from rrm_env.checks import bounded_integer

MAX_BATCH = 512
"""Slots of a recording; each plays episodes one after the other."""

SHARD_SLOTS = 32
"""Slots of a shard, at least; fewer where they play so many episodes that the shard would exceed `SHARD_TRANSITIONS`."""
SHARD_TRANSITIONS = 25_000
_SMALLEST_SHARD = 16
"""Fewer rows per matrix product make BLAS round differently, and a policy could then choose otherwise than in a wider shard."""

MAX_SEEDS = 10_000
"""Of one training."""


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
    """Transitions of a scheduler or trained policy in the network, whole episodes one after the other; the last one may be cut.

    Args:
        scheduler: whose actions to record. Baselines choose among candidates, as in the parallel API.
        config: the network; the preset ``paper`` where None.
        transitions: how many.
        seed: 0 ... 2^30 - 1; different seeds share no episode, and none is an evaluation's.
        first_episode: which of the seed's episodes to begin with, for recordings that share a seed.
        name: what the dataset calls the behaviour; the scheduler's class where None.
        progress: called with the number of transitions just recorded.
        engine: where to record the shards; this process where None. The dataset is the same if the scheduler decides by what it is shown
            (draws come from `Network.uniform`).

    Raises:
        TypeError, ValueError: something else than the above, or a scheduler that serves a UE that is no candidate.
    """
    recording = Recording(
        scheduler, config, transitions, seed, first_episode=first_episode, name=name
    )
    return record([recording], engine, progress)[0]


class Recording:
    """A dataset in the making: what `collect` records, in shards whose layout follows from transitions and episode length alone.

    E episodes are played in B <= `MAX_BATCH` slots side by side: slot b plays episodes b, b + B, b + 2B and so on, and its transitions
    follow one another. A shard is a range of slots.

    Args:
        scheduler, config, transitions, seed, first_episode, name: as in `collect`.
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
    ) -> None:
        if isinstance(scheduler, type) or not isinstance(scheduler, Scheduler):
            raise TypeError(
                f"scheduler must have reset(network) and schedule(network), got {scheduler!r}"
            )
        self._scheduler, self._config = scheduler, RRMConfig() if config is None else config
        self._transitions = bounded_integer("transitions", transitions)
        self._seed = bounded_integer("seed", seed, MAX_SEED, lowest=0)
        self._first_episode = bounded_integer("first_episode", first_episode, 2**31, lowest=0)
        self._name = name or type(scheduler).__name__
        check_text("name", self._name)
        episodes = -(-self._transitions // self._config.episode_length)
        rounds = -(-episodes // MAX_BATCH)
        self._slots, self._steps = -(-episodes // rounds), rounds * self._config.episode_length
        self._check_memory()
        self._columns: dict[str, NDArray[Any]] = {}
        self._ended: list[_Ended] = []

    def _check_memory(self) -> None:
        """Refuse a recording that does not fit (ValueError), before hours are spent on it."""
        each, free = bytes_per_transition(team_of(self._config)), free_bytes(torch.device("cpu"))
        if free is not None and each * self._transitions > free:
            raise ValueError(
                f"transitions = {self._transitions:,} need {each * self._transitions / 2**30:,.1f} GiB of memory, "
                f"{free / 2**30:,.1f} GiB are free, allowed: up to {free // each:,}"
            )

    @property
    def shards(self) -> list[range]:
        """Their slots: near-equal numbers."""
        wanted = min(SHARD_SLOTS, max(_SMALLEST_SHARD, SHARD_TRANSITIONS // self._steps))
        count = max(1, self._slots // wanted)
        bounds = [self._slots * k // count for k in range(count + 1)]
        return [range(*pair) for pair in pairwise(bounds)]

    @property
    def tasks(self) -> list[Task]:
        """Record a shard each."""
        before, after = (
            (self._scheduler, self._config),
            (self._slots, self._seed, self._first_episode),
        )
        return [
            Task(
                f"{self._name}, slots {s.start} to {s.stop - 1} of {self._slots}",
                _record_shard,
                (*before, self._steps_of(s), *after, s),
            )
            for s in self.shards
        ]

    def _steps_of(self, shard: range) -> int:
        """Steps that the shard's transitions take: fewer than a slot's where it is the last one alone."""
        return min(self._steps, self._transitions - shard.start * self._steps)

    def add(self, shard: range, recorded: tuple[dict[str, NDArray[Any]], list[_Ended]]) -> int:
        """Put in what the shard's task returned; the number of its transitions."""
        columns, ended = recorded
        first, size = shard.start * self._steps, len(shard) * self._steps
        for name, column in columns.items():
            if name not in self._columns:
                self._columns[name] = np.empty((self._transitions, *column.shape[2:]), column.dtype)
            rows = self._columns[name][first : first + size]
            rows[:] = column.reshape(-1, *column.shape[2:])[: len(rows)]
        size = min(size, self._transitions - first)
        self._ended += [episode._replace(row=first + episode.row) for episode in ended]
        return size

    def dataset(self) -> Dataset:
        """All of it."""
        ended = sorted(
            self._ended, key=lambda episode: (episode.row % self._steps, episode.row)
        )  # as they ended, all slots in step
        environment = Environment.of_network(self._config)
        return _dataset(
            self._columns,
            environment,
            self._name,
            self._seed,
            _kpis(ended, self._transitions, self._config),
        )


@known_torch
def record(
    recordings: Sequence[Recording],
    engine: Engine | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Dataset]:
    """Make recordings, all their shards in one go; ``engine`` and ``progress`` as in `collect`."""
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


def _record_shard(
    scheduler: Scheduler,
    config: RRMConfig,
    steps: int,
    slots: int,
    seed: int,
    first_episode: int,
    shard: range,
) -> tuple[dict[str, NDArray[Any]], list[_Ended]]:
    """`_record` for a range of the slots."""
    source = NetworkSource(config, len(shard), stride=slots)
    choose = getattr(scheduler, "schedule_candidates", scheduler.schedule)

    def act(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:  # noqa: ARG001 - the interface of a policy
        if source.network.t == 0:
            scheduler.reset(source.network)
        return _indices(source.network, choose(source.network))

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
    """Transitions of a policy in a parallel environment with discrete actions; rewards are averaged over agents.

    Args:
        make: makes one environment.
        policy: chooses the actions; uniformly random legal ones where None.
        transitions: how many.
        seed: of the environments, and of the random actions.
        num_envs: copies run side by side; each one's transitions follow one another.
        first_episode: counts the environments' seeds on, for recordings that share a seed.
        name: what the dataset calls the behaviour.
        progress: called with the number of transitions just recorded.

    Raises:
        TypeError, ValueError: something else than the above.
    """
    transitions, seed = (
        bounded_integer("transitions", transitions),
        bounded_integer("seed", seed, MAX_SEED, lowest=0),
    )
    num_envs = min(bounded_integer("num_envs", num_envs), transitions)
    first_episode = bounded_integer("first_episode", first_episode, 2**31, lowest=0)
    name = name or ("policy" if policy else "random actions")
    check_text("name", name)
    environment = Environment.of_factory(make)
    check_text("environment: name", environment.name)
    generator = np.random.default_rng(seed)

    def random(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:  # noqa: ARG001 - the interface of a policy
        chosen: NDArray[Any] = np.where(mask == 1, generator.random(mask.shape), -1).argmax(-1)
        return chosen

    source = ParallelSource(make, num_envs)
    columns, ended = _record(
        source, policy or random, -(-transitions // num_envs), seed, first_episode, progress
    )
    rows = {
        key: column.reshape(-1, *column.shape[2:])[:transitions] for key, column in columns.items()
    }
    return _dataset(rows, environment, name, seed, _kpis(ended, transitions))


def _indices(network: Network, served: NDArray[Any]) -> NDArray[np.int64]:
    """(B, I) UEs served to action indices; silence is N."""
    matches = network.candidates == served[..., None]
    found = np.where(served == SILENT, network.config.n_candidates, matches.argmax(-1))
    foreign = (served != SILENT) & ~matches.any(-1)
    if foreign.any():
        slot, ap = np.argwhere(foreign)[0]
        raise ValueError(
            f"served[{slot}, {ap}] = {served[slot, ap]} is no candidate of AP {ap}; datasets hold candidates' indices and silence"
        )
    return found


class _Ended(NamedTuple):
    """An episode that ended while it was recorded."""

    row: int
    """Of its last transition."""
    episode_return: float
    ue_rates: NDArray[np.float64] | None
    """(J,) bit/s/Hz, in the network."""


def _record(
    source: Source,
    act: Act,
    steps: int,
    seed: int,
    first_episode: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[dict[str, NDArray[Any]], list[_Ended]]:
    """Columns (B, steps, ...) of B environments, and the episodes that ended."""
    source.reset(seed, first_episode)
    batch, team = len(source.observation), source.team
    columns = {
        name: np.empty((batch, steps, *column.shape(team)), column.dtype)
        for name, column in COLUMNS.items()
        if name != "behaviour"
    }
    running, ended = np.zeros(batch), []
    for t in range(steps):
        actions = act(source.observation, source.mask)
        before = source.observation, source.mask, actions
        outcome = source.step(actions)
        for column, value in zip(columns.values(), (*before, *outcome), strict=True):
            column[:, t] = value
        running += outcome.reward
        for b in np.flatnonzero(outcome.terminated | outcome.truncated):
            rates = source.finished_ue_rates[b] if isinstance(source, NetworkSource) else None
            ended.append(_Ended(int(b) * steps + t, float(running[b]), rates))
            running[b] = 0
        if progress is not None:
            progress(batch)
    columns["truncated"][:, -1] |= 1 - columns["terminated"][:, -1]
    return columns, ended


_RECORDED_KPIS = ("sum_rate", "tail_rate", "score")
"""Exactly these, whatever KPIs there are: they stand in a dataset's metadata, so another one would change every file and fingerprint."""


def _kpis(ended: list[_Ended], n: int, config: RRMConfig | None = None) -> dict[str, float]:
    """Means over the episodes that lie wholly within the first ``n`` rows; nothing where there is none."""
    whole = [episode for episode in ended if episode.row < n]
    if not whole:
        return {}
    kpis = {
        "episodes": float(len(whole)),
        "return": float(np.mean([episode.episode_return for episode in whole])),
    }
    if config is None:
        return kpis
    rates = np.stack([episode.ue_rates for episode in whole if episode.ue_rates is not None])
    return {
        **kpis,
        **{name: float(metrics.KPIS[name].value(rates, config).mean()) for name in _RECORDED_KPIS},
    }


def _dataset(
    columns: dict[str, NDArray[Any]],
    environment: Environment,
    name: str,
    seed: int,
    kpis: dict[str, float],
) -> Dataset:
    """Of columns (n, ...); the recording ends with the last row."""
    columns["truncated"][-1] = 1 - columns["terminated"][-1]
    n = len(columns["reward"])
    behaviour = {"name": name, "seed": seed, "transitions": n, "kpis": kpis}
    metadata = {"environment": environment.as_dict(), "behaviours": [behaviour]}
    return Dataset.from_arrays(columns, metadata)
