"""What trained policies do: points of learning curves, and recordings."""

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
"""The evaluation seed of learning curves: its episodes are unseen in training, and none is one of a
final evaluation."""


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
    """Record the policies of all seeds of a run, in equal shares of episodes of their own.

    Args:
        run: the run's folder.
        transitions: how many.
        seed: as in `collect`.
        sample: draw actions from the actors instead of taking the most probable ones.
        environment: where to act; a network's configuration, or another environment, which is
            always recorded in this process; the preset ``paper`` where None.
        progress: called with the number of transitions just recorded.
        engine: as in `collect`.
    """
    policies, scheme = load_policies(run, sample=sample), describe(run)["scheme"]
    share = -(-bounded_integer("transitions", transitions) // len(policies))
    own: list[dict[str, Any]] = [
        {"first_episode": k * share, "name": f"{scheme}, seed {k}"} for k in range(len(policies))
    ]
    place = environment_of(RRMConfig() if environment is None else environment)
    pairs = zip(policies, own, strict=True)
    if place.make is None:
        recordings = [
            Recording(policy, place.network, share, seed, **more) for policy, more in pairs
        ]
        parts = record(recordings, engine, progress)
    else:
        parts = [
            collect_parallel(
                place.make, acting(policy, seed + k), share, seed, progress=progress, **more
            )
            for k, (policy, more) in enumerate(pairs)
        ]
    return Dataset.mix(parts, transitions, seed)


def curve_point(
    policy: Scheduler, environment: Environment | RRMConfig, episodes: int
) -> dict[str, float]:
    """Mean KPIs on the first episodes behind learning curves; nothing where nobody can act."""
    place = environment_of(environment)
    if not place.can_be_made:
        return {}
    found = place.evaluate(policy, episodes, CURVE_SEED)
    return {kpi: float(np.mean(values)) for kpi, values in found.items()}
