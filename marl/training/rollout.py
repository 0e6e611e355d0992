"""Trained policies in their environment: recordings, and points of learning curves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from marl.data.collect import Recording, collect_parallel, record
from marl.data.dataset import Dataset
from marl.engines.base import Engine
from marl.environment import Environment, acting, environment_of
from marl.policy import load_policies
from marl.runs.description import describe
from marl.torch_state import known_torch
from rrm_env import RRMConfig, Scheduler
from rrm_env.checks import bounded_integer

CURVE_SEED = 2**30 - 1
"""Evaluation seed of learning curves. Its episodes occur neither in training nor in a final
evaluation."""


@known_torch
def collect_run(
    run: str | Path,
    transitions: int = 100_000,
    seed: int = 0,
    *,
    sample: bool = False,
    environment: Environment | RRMConfig | None = None,
    progress: Callable[[int], None] | None = None,
    engine: Engine | None = None,
) -> Dataset:
    """Record the policies of all seeds of a run in equal shares, each on its own episodes.

    Args:
        run: the run's folder.
        transitions: number of transitions to record.
        seed: as in `collect`.
        sample: draw actions from the actors instead of taking the most probable ones.
        environment: where to act: a network's configuration, or another environment, which is
            always recorded in this process; the preset ``paper`` where None.
        progress: called with the number of transitions just recorded.
        engine: as in `collect`.

    Raises:
        TypeError, ValueError: an argument is out of range, or a policy does not fit the
            environment.
        RunError: the folder holds no run that can act.
    """
    policies, scheme = load_policies(run, sample=sample), describe(run)["scheme"]
    share = -(-bounded_integer("transitions", transitions) // len(policies))
    options: list[dict[str, Any]] = [
        {"first_episode": k * share, "name": f"{scheme}, seed {k}"} for k in range(len(policies))
    ]
    place = environment_of(RRMConfig() if environment is None else environment)
    if place.make is None:
        recordings = [
            Recording(policy, place.network, share, seed, **own)
            for policy, own in zip(policies, options, strict=True)
        ]
        parts = record(recordings, engine, progress)
    else:
        parts = []
        for k, (policy, own) in enumerate(zip(policies, options, strict=True)):
            act = acting(policy, seed + k)
            parts.append(collect_parallel(place.make, act, share, seed, progress=progress, **own))
    return Dataset.mix(parts, transitions, seed)


def curve_point(
    policy: Scheduler, environment: Environment | RRMConfig, episodes: int
) -> dict[str, float]:
    """Mean KPIs of a policy on the episodes of learning curves.

    Args:
        policy: the policy or scheduler.
        environment: where to act.
        episodes: number of episodes.

    Returns:
        Means by KPI; empty where the environment is known by its name alone.
    """
    place = environment_of(environment)
    if not place.can_be_made:
        return {}
    found = place.evaluate(policy, episodes, CURVE_SEED)
    return {kpi: float(np.mean(values)) for kpi, values in found.items()}
