"""The learners in another environment: mpe2's simple_spread, where three agents cover landmarks.

Trains a learner online, then one offline from transitions of random play and of the online learner,
and compares both with random play on episodes that neither saw. ``--help`` shows the options.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from mpe2 import simple_spread_v3

from baselines.plots import require_drawing
from marl import (
    Dataset,
    LearnerConfig,
    Policy,
    TrainingConfig,
    collect_parallel,
    episode_returns,
    train,
)
from marl.config import Paradigm
from marl.environment import Environment, acting
from marl.runs.checkpoint import remove_run
from marl.training.curves import write_curves
from rrm_env import metrics
from rrm_env.exit_status import status_of


@dataclass(frozen=True)
class Options:
    """How much to train, and where to put the results."""

    paradigm: Paradigm = "c"
    """Paradigm of the learners: centralised, independent or CTDE."""
    updates: int = 5000
    """Updates of each learner."""
    transitions: int = 20_000
    """Size of the offline dataset: half random play, half drawn from the online policy."""
    episodes: int = 200
    """Episodes of 25 steps for the final comparison."""
    seed: int = 0
    """Seed of learners and environments."""
    out: Path = Path("runs/simple_spread")
    """Folder for runs and picture; those of an earlier call are replaced."""


def make() -> Any:
    """Make one environment."""
    return simple_spread_v3.parallel_env(max_cycles=25)


def main(options: Options) -> None:
    """Train online, record, train offline, and compare."""
    require_drawing("the picture")
    options.out.mkdir(parents=True, exist_ok=True)
    config = LearnerConfig(
        paradigm=options.paradigm,
        hidden_sizes=(128, 128),
        reward_scale=1.0,
        discount=0.95,
        initial_temperature=0.1,
    )
    training = TrainingConfig(
        updates=options.updates, evaluate_every=1000, evaluation_episodes=64, envs_per_seed=8
    )
    runs = {"online": options.out / "online", "offline": options.out / "offline"}
    for run in runs.values():
        remove_run(run)
    train(
        runs["online"],
        config,
        training,
        seeds=[options.seed],
        environment=Environment.of_factory(make),
        report=_report("online"),
    )
    dataset = _record(options, Policy.load(runs["online"], sample=True))
    dataset.write(options.out / "data.safetensors")
    train(
        runs["offline"],
        config,
        training,
        seeds=[options.seed],
        environment=Environment.of_factory(make),
        dataset=dataset,
        report=_report("offline"),
    )
    recorded = {
        behaviour["name"]: behaviour["kpis"] for behaviour in dataset.metadata["behaviours"]
    }
    for name, kpis in recorded.items():
        print(f"{name}: return {kpis['return']:.2f}")
    for name, run in runs.items():
        returns = np.array(
            episode_returns(Policy.load(run), make, options.episodes, options.seed + 1)
        )
        low, high = metrics.mean_interval(returns)
        print(
            f"{name}: return {returns.mean():.2f} ({low:.2f}…{high:.2f}) "
            f"over {options.episodes} unseen episodes"
        )
    write_curves(options.out / "learning_curve.png", runs, recorded)
    print(f"wrote {options.out / 'learning_curve.png'}")


def _record(options: Options, policy: Policy) -> Dataset:
    half = options.transitions // 2
    return Dataset.concatenate(
        [
            collect_parallel(make, None, half, options.seed + 2, name="random play"),
            collect_parallel(
                make, acting(policy), half, options.seed + 3, name="online learner, sampled"
            ),
        ]
    )


def _report(name: str) -> Any:
    def report(updates: int, record: dict[str, Any]) -> None:
        if "evaluation" in record:
            print(
                f"{name}, update {updates:,}: return {record['evaluation']['return'][0]:.2f}",
                flush=True,
            )

    return report


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
