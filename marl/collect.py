"""Records datasets: what a scheduler or a trained policy does in the network, or any policy in any parallel environment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from marl.dataset import Dataset
from marl.policy import Policy, describe, load_policies
from marl.sources import MakeEnv, NetworkSource, ParallelSource, Source
from rrm_env import SILENT, Network, RRMConfig, Scheduler, metrics
from rrm_env.network import bounded_integer

MAX_BATCH = 512
"""Episodes simulated at once."""

MAX_SEED = 2**30 - 1

Act = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[Any]]
"""Maps observations (B, I, D) and masks (B, I, A) to legal actions (B, I)."""


def collect(
    scheduler: Scheduler,
    config: RRMConfig | None = None,
    transitions: int = 100_000,
    seed: int = 0,
    *,
    first_episode: int = 0,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
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

    Raises:
        TypeError, ValueError: something else than the above, or a scheduler that serves a UE that is no candidate.
    """
    if isinstance(scheduler, type) or not isinstance(scheduler, Scheduler):
        raise TypeError(f"scheduler must have reset(network) and schedule(network), got {scheduler!r}")
    config = RRMConfig() if config is None else config
    transitions, seed = bounded_integer("transitions", transitions), bounded_integer("seed", seed, MAX_SEED, lowest=0)
    episodes = -(-transitions // config.episode_length)
    rounds = -(-episodes // MAX_BATCH)
    source = NetworkSource(config, -(-episodes // rounds))
    choose = getattr(scheduler, "schedule_candidates", scheduler.schedule)

    def act(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:  # noqa: ARG001 - the scheduler reads the network
        if source.network.t == 0:
            scheduler.reset(source.network)
        return _indices(source.network, choose(source.network))

    first_episode = bounded_integer("first_episode", first_episode, 2**31, lowest=0)
    columns, ended = _record(source, act, rounds * config.episode_length, seed, first_episode, progress)
    environment = {"kind": "network", "config": config.as_dict()}
    kpis = _kpis(ended, transitions, config)
    return _dataset(columns, transitions, environment, name or type(scheduler).__name__, seed, kpis)


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
    transitions, seed = bounded_integer("transitions", transitions), bounded_integer("seed", seed, MAX_SEED, lowest=0)
    num_envs = min(bounded_integer("num_envs", num_envs), transitions)
    first_episode = bounded_integer("first_episode", first_episode, 2**31, lowest=0)
    generator = np.random.default_rng(seed)

    def random(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:  # noqa: ARG001 - the face of a policy
        chosen: NDArray[Any] = np.where(mask == 1, generator.random(mask.shape), -1).argmax(-1)
        return chosen

    source = ParallelSource(make, num_envs)
    columns, ended = _record(source, policy or random, -(-transitions // num_envs), seed, first_episode, progress)
    environment = {"kind": "parallel", "name": str(make().metadata.get("name", "unknown"))}
    kpis = _kpis(ended, transitions)
    return _dataset(columns, transitions, environment, name or ("policy" if policy else "random actions"), seed, kpis)


def collect_run(
    run: str | Path,
    transitions: int = 100_000,
    seed: int = 0,
    *,
    sample: bool = False,
    config: RRMConfig | None = None,
    make: MakeEnv | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Transitions of the policies of all seeds of a training run, in equal shares, each of episodes of its own.

    Args:
        run: the run's folder.
        transitions: how many.
        seed: as in `collect`.
        sample: draw actions from the actors instead of taking the most probable ones.
        config: the network, as in `collect`.
        make: another parallel environment instead, as in `collect_parallel`.
        progress: called with the number of transitions just recorded.
    """
    policies, scheme = load_policies(run, sample=sample), describe(run)["scheme"]
    share, parts = -(-bounded_integer("transitions", transitions) // len(policies)), []
    for k, policy in enumerate(policies):
        common: dict[str, Any] = {"first_episode": k * share, "name": f"{scheme}, seed {k}", "progress": progress}
        if make is not None:
            parts.append(collect_parallel(make, acting(policy, seed + k), share, seed, **common))
        else:
            parts.append(collect(policy, config, share, seed, **common))
    return Dataset.mix(parts, transitions, seed)


def acting(policy: Policy, seed: int = 0) -> Act:
    """What a trained policy does, as a function; a sampling one draws from a generator of this seed."""
    generator = np.random.default_rng(seed)

    def act(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:
        uniform = generator.random((len(observation), policy.n_uniform), np.float32) if policy.sample else None
        return policy.actions(observation, mask, uniform)

    return act


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
    source: Source, act: Act, steps: int, seed: int, first_episode: int, progress: Callable[[int], None] | None
) -> tuple[dict[str, NDArray[Any]], list[_Ended]]:
    """Columns (B, steps, ...) of B environments, and the episodes that ended."""
    source.reset(seed, first_episode)
    batch, team = len(source.observation), source.team
    observed, masked = (team.n_agents, team.n_features), (team.n_agents, team.n_actions)
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "observation": (observed, np.float32),
        "mask": (masked, np.uint8),
        "action": ((team.n_agents,), np.int32),
        "reward": ((), np.float32),
        "next_observation": (observed, np.float32),
        "next_mask": (masked, np.uint8),
        "terminated": ((), np.uint8),
        "truncated": ((), np.uint8),
    }
    columns = {name: np.empty((batch, steps, *shape), kind) for name, (shape, kind) in shapes.items()}
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


def _kpis(ended: list[_Ended], n: int, config: RRMConfig | None = None) -> dict[str, float]:
    """Means over the episodes that lie wholly within the first ``n`` rows; nothing where there is none."""
    whole = [episode for episode in ended if episode.row < n]
    if not whole:
        return {}
    kpis = {"episodes": float(len(whole)), "return": float(np.mean([episode.episode_return for episode in whole]))}
    if config is None:
        return kpis
    rates = np.stack([episode.ue_rates for episode in whole if episode.ue_rates is not None])
    return {
        **kpis,
        "sum_rate": float(metrics.sum_rate(rates).mean()),
        "tail_rate": float(metrics.tail_rate(rates).mean()),
        "score": float(metrics.score(rates, config.sum_weight, config.score_tail_weight).mean()),
    }


def _dataset(
    columns: dict[str, NDArray[Any]], n: int, environment: dict[str, Any], name: str, seed: int, kpis: dict[str, float]
) -> Dataset:
    """The first ``n`` transitions, environment after environment."""
    rows = {key: torch.from_numpy(column.reshape(-1, *column.shape[2:])[:n]) for key, column in columns.items()}
    rows["truncated"][-1] = 1 - rows["terminated"][-1]
    behaviour = {"name": name, "seed": seed, "transitions": n, "kpis": kpis}
    return Dataset(**rows, behaviour=torch.zeros(n, dtype=torch.int32), metadata={"environment": environment, "behaviours": [behaviour]})
