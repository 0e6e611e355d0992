"""Trained policies at work: returns of their episodes, points of learning curves, and recordings of what they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marl.data.collect import MAX_SEED, Act, Recording, collect_parallel, record
from marl.data.dataset import Dataset
from marl.data.sources import MakeEnv, ParallelSource
from marl.engines.base import Engine
from marl.policy import Policy, load_policies
from marl.runs.description import describe
from marl.torch_state import known_torch
from rrm_env import RRMConfig, Scheduler, evaluate, metrics
from rrm_env.checks import bounded_integer


@known_torch
def collect_run(
    run: str | Path,
    transitions: int = 100_000,
    seed: int = 0,
    *,
    sample: bool = False,
    config: RRMConfig | None = None,
    make: MakeEnv | None = None,
    progress: Callable[[int], None] | None = None,
    engine: Engine | None = None,
) -> Dataset:
    """Transitions of the policies of all seeds of a training run, in equal shares, each of episodes of its own.

    Args:
        run: the run's folder.
        transitions: how many.
        seed: as in `collect`.
        sample: draw actions from the actors instead of taking the most probable ones.
        config: the network, as in `collect`.
        make: another parallel environment instead, as in `collect_parallel`; always recorded in this process.
        progress: called with the number of transitions just recorded.
        engine: as in `collect`.
    """
    policies, scheme = load_policies(run, sample=sample), describe(run)["scheme"]
    share = -(-bounded_integer("transitions", transitions) // len(policies))
    own: list[dict[str, Any]] = [
        {"first_episode": k * share, "name": f"{scheme}, seed {k}"} for k in range(len(policies))
    ]
    if make is None:
        recordings = [
            Recording(policy, config, share, seed, **more)
            for policy, more in zip(policies, own, strict=True)
        ]
        parts = record(recordings, engine, progress)
    else:
        parts = [
            collect_parallel(make, acting(policy, seed + k), share, seed, progress=progress, **more)
            for k, (policy, more) in enumerate(zip(policies, own, strict=True))
        ]
    return Dataset.mix(parts, transitions, seed)


def acting(policy: Policy, seed: int = 0) -> Act:
    """What a trained policy does, as a function; a sampling one draws from a generator of this seed."""
    generator = np.random.default_rng(seed)

    def act(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:
        drawn = len(observation), policy.n_uniform_of(observation.shape[1])
        uniform = generator.random(drawn, np.float32) if policy.sample else None
        return policy.actions(observation, mask, uniform)

    return act


CURVE_SEED = 2**30 - 1
"""Evaluation seed of the episodes behind learning curves: unseen in training, and others than those of final evaluations."""


@known_torch
def curve_point(scheduler: Scheduler, network: RRMConfig, episodes: int) -> dict[str, float]:
    """Mean KPIs of a policy, or of a scheduler to draw beside it, on the first episodes behind learning curves."""
    result = evaluate(scheduler, network, episodes, CURVE_SEED)
    return {kpi: float(getattr(result, kpi).mean()) for kpi in metrics.LEARNERS_KPIS}


@known_torch
def episode_returns(policy: Policy, make: MakeEnv, episodes: int, seed: int = 0) -> list[float]:
    """Returns, averaged over agents, of a policy's first ``episodes`` episodes in a parallel environment, played side by side.

    Raises:
        ValueError: the policy was trained for other sizes.
    """
    source = ParallelSource(make, bounded_integer("episodes", episodes), evaluates=True)
    policy.require(source.team)
    source.reset(bounded_integer("seed", seed, MAX_SEED, lowest=0), 0)
    running, done, act = np.zeros(episodes), np.zeros(episodes, bool), acting(policy, seed)
    while not done.all():
        outcome = source.step(act(source.observation, source.mask))
        running += np.where(done, 0, outcome.reward)
        done |= (outcome.terminated | outcome.truncated).astype(bool)
    return list(running)
