"""Records data, trains a scheduler from it, and compares it with the classical ones, in minutes.

1. Records the decisions of a classical scheduler in the network: a dataset.
2. Trains the paper's C-MARL-CQL (SAC) from these transitions alone, without acting in the network.
3. Evaluates it and all baselines on the same episodes, which training did not see, and states
   their shares of the optimum if the extra ``optimum`` is installed.

``python examples/quickstart.py`` takes a few minutes on two cores without a GPU; ``--help`` shows
the options.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from baselines.plots import require_drawing
from baselines.registry import COMPARED, parse_scheduler
from marl.cli.data import Collect
from marl.cli.learning import Evaluate, Train
from marl.config import LearnerConfig, TrainingConfig
from marl.runs.checkpoint import remove_run
from marl.runs.description import describe
from marl.training.curves import write_curves
from marl.training.rollout import curve_point
from rrm_env import RRMConfig
from rrm_env.exit_status import status_of
from rrm_env.optional import lacking


@dataclass(frozen=True)
class Options:
    """What to record, how long to train, and where to put the results."""

    scheduler: str = "max_weight"
    """Scheduler to learn from, as in python -m baselines, such as itlinq:tolerance_db=0."""
    transitions: int = 100_000
    """Size of the dataset."""
    updates: int = 5000
    """Gradient updates."""
    seeds: int = 1
    """Learners trained side by side."""
    episodes: int = 128
    """Unseen episodes of 200 steps for the comparison."""
    out: Path = Path("quickstart")
    """Folder for dataset, run, table and pictures; those of an earlier quickstart are replaced."""


def main(options: Options) -> None:
    """Collect a dataset, train a learner from it, and evaluate it."""
    require_drawing("the picture")
    parse_scheduler(options.scheduler)
    data, run = options.out / "data.safetensors", options.out / "run"
    options.out.mkdir(parents=True, exist_ok=True)
    remove_run(run)
    print(f"1. {options.transitions:,} transitions of {options.scheduler}")
    Collect(out=data, scheduler=options.scheduler, transitions=options.transitions).run()
    print(
        f"2. C-MARL-CQL (SAC), {options.updates:,} updates; now and then on 32 held-out episodes:"
    )
    training = TrainingConfig(updates=options.updates, evaluate_every=500)
    Train(
        out=run, dataset=data, seeds=options.seeds, learner=LearnerConfig(), training=training
    ).run()
    print(f"3. against {len(COMPARED)} schedulers on {options.episodes} unseen episodes")
    comparison = options.out / "comparison.json"
    Evaluate(
        runs=(run,),
        episodes=options.episodes,
        schedulers=",".join(COMPARED),
        json=comparison,
        plot=options.out / "rates.png",
        optimum=lacking("scipy.optimize", extra="optimum") is None,
    ).run()
    recorded = curve_point(
        parse_scheduler(options.scheduler), RRMConfig(), training.evaluation_episodes
    )
    write_curves(
        options.out / "learning_curve.png",
        {describe(run)["scheme"]: run},
        {f"{options.scheduler} (the data)": recorded},
    )
    print(f"wrote {options.out / 'learning_curve.png'}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
