"""Records datasets: what a scheduler or a trained policy does in the network, or any policy in any parallel environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marl.dataset import Dataset
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
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """Transitions of a scheduler or trained policy in the network, whole episodes one after the other; the last one may be cut.

    Args:
        scheduler: whose actions to record. Baselines choose among candidates, as in the parallel API.
        config: the network; the preset ``paper`` where None.
        transitions: how many.
        seed: 0 ... 2^30 - 1; different seeds share no episode, and none is an evaluation's.
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

    columns, kpis = _record(source, act, rounds * config.episode_length, seed, progress)
    environment = {"kind": "network", "config": config.as_dict()}
    return _dataset(columns, transitions, environment, name or type(scheduler).__name__, seed, kpis)


def collect_parallel(
    make: MakeEnv,
    policy: Act | None = None,
    transitions: int = 10_000,
    seed: int = 0,
    *,
    num_envs: int = 8,
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
        name: what the dataset calls the behaviour.
        progress: called with the number of transitions just recorded.

    Raises:
        TypeError, ValueError: something else than the above.
    """
    transitions, seed = bounded_integer("transitions", transitions), bounded_integer("seed", seed, MAX_SEED, lowest=0)
    num_envs = min(bounded_integer("num_envs", num_envs), transitions)
    generator = np.random.default_rng(seed)

    def random(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:  # noqa: ARG001 - the face of a policy
        chosen: NDArray[Any] = np.where(mask == 1, generator.random(mask.shape), -1).argmax(-1)
        return chosen

    source = ParallelSource(make, num_envs)
    columns, kpis = _record(source, policy or random, -(-transitions // num_envs), seed, progress)
    environment = {"kind": "parallel", "name": str(make().metadata.get("name", "unknown"))}
    return _dataset(columns, transitions, environment, name or ("policy" if policy else "random actions"), seed, kpis)


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


def _record(
    source: Source, act: Act, steps: int, seed: int, progress: Callable[[int], None] | None
) -> tuple[dict[str, NDArray[Any]], dict[str, float]]:
    """Columns (B, steps, ...) of B environments, and the mean KPIs of the episodes that ended."""
    source.reset(seed, 0)
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
    returns, running, rates = [], np.zeros(batch), []
    for t in range(steps):
        actions = act(source.observation, source.mask)
        before = source.observation, source.mask, actions
        outcome = source.step(actions)
        for column, value in zip(columns.values(), (*before, *outcome), strict=True):
            column[:, t] = value
        running += outcome.reward
        ended = (outcome.terminated | outcome.truncated).astype(bool)
        if ended.any():
            returns.append(running[ended])
            running[ended] = 0
            if isinstance(source, NetworkSource):
                rates.append(source.finished_ue_rates)
        if progress is not None:
            progress(batch)
    columns["truncated"][:, -1] |= 1 - columns["terminated"][:, -1]
    kpis = {} if not returns else {"episodes": float(sum(map(len, returns))), "return": float(np.concatenate(returns).mean())}
    if rates:
        config, every = source.network.config, np.concatenate(rates)  # type: ignore[attr-defined]
        kpis |= {
            "sum_rate": float(metrics.sum_rate(every).mean()),
            "tail_rate": float(metrics.tail_rate(every).mean()),
            "score": float(metrics.score(every, config.sum_weight, config.score_tail_weight).mean()),
        }
    return columns, kpis


def _dataset(
    columns: dict[str, NDArray[Any]], n: int, environment: dict[str, Any], name: str, seed: int, kpis: dict[str, float]
) -> Dataset:
    """The first ``n`` transitions, environment after environment."""
    rows = {key: torch.from_numpy(column.reshape(-1, *column.shape[2:])[:n]) for key, column in columns.items()}
    rows["truncated"][-1] = 1 - rows["terminated"][-1]
    behaviour = {"name": name, "seed": seed, "transitions": n, "kpis": kpis}
    return Dataset(**rows, behaviour=torch.zeros(n, dtype=torch.int32), metadata={"environment": environment, "behaviours": [behaviour]})
