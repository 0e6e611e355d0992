"""Every kind of learner on the paper's network, several seeds each: online, offline with and without the penalty, behaviour cloning.

All offline learners see the same transitions. Reported are final checkpoints on unseen episodes, never the best ones seen. The study
goes on where it was interrupted: finished runs are kept in the folder and not trained again. ``--help`` shows the options.

The results in docs/results/study_learners.json come from ``python examples/study_learners.py``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from baselines import REGISTRY
from baselines.comparison import parse_scheduler, show, summarise
from marl import Dataset, LearnerConfig, TrainingConfig, collect, load_policies, train
from marl.checkpoint import read_log, updates_done
from marl.curves import learning_curve, write_curves
from marl.policy import describe
from marl.training import curve_point
from rrm_env import Evaluation, RRMConfig, evaluate
from rrm_env.files import check_writable, write_whole
from rrm_env.version import versions

CURVE_EPISODES = 32
REFERENCES = ("itlinq:tolerance_db=-10", "network_tdm", "max_weight", "max_weight:csi=large_scale")

OFFLINE: dict[str, dict[str, Any]] = {
    "bc": {"algorithm": "bc"},
    "c-cql-sac": {},
    "c-sac-without-penalty": {"cql_alpha": 0.0},
    "ctde-cql-sac": {"paradigm": "ctde"},
    "i-cql-sac": {"paradigm": "i"},
}
ONLINE: dict[str, dict[str, Any]] = {"c-sac": {}, "c-dqn": {"algorithm": "dqn"}}


@dataclass(frozen=True)
class Options:
    """How much to train and where to put it."""

    seeds: int = 5
    """Independent learners per scheme."""
    scheduler: str = "max_weight"
    """Whose transitions the offline learners see."""
    transitions: int = 100_000
    """How many."""
    offline_updates: int = 5000
    """Updates of each offline learner."""
    online_updates: int = 8000
    """Updates of each online learner."""
    episodes: int = 256
    """Unseen evaluation episodes."""
    only: tuple[str, ...] = (*OFFLINE, *ONLINE)
    """Schemes to train now; the report covers all that are finished."""
    device: str = "cpu"
    """Where to train."""
    out: Path = Path("study")
    """Folder of dataset and runs."""
    json: Path = Path("docs/results/study_learners.json")
    """Results."""
    plot: Path = Path("docs/learning_curves.png")
    """Learning curves of the finished schemes."""


def main(options: Options) -> None:
    """Train what is missing, then evaluate and report everything."""
    for name in options.only:
        if name not in {**OFFLINE, **ONLINE}:
            raise ValueError(f"only must name schemes of {', '.join({**OFFLINE, **ONLINE})}, got {name!r}")
    json_path, plot_path = check_writable("--json", options.json), check_writable("--plot", options.plot)
    options.out.mkdir(parents=True, exist_ok=True)
    data = options.out / "data.safetensors"
    if not data.exists():
        collect(parse_scheduler(options.scheduler, REGISTRY), None, options.transitions, name=options.scheduler).write(data)
    dataset = Dataset.read(data)
    for name in options.only:
        _train(options, name, dataset)
    runs = {name: options.out / name for name in {**OFFLINE, **ONLINE} if _finished(options, name)}
    evaluations = dict(_evaluations(options, runs))
    summary = summarise(evaluations)
    show(summary, f"{options.seeds} seeds, {options.episodes} unseen episodes")
    result = {
        "options": {key: value for key, value in vars(options).items() if not isinstance(value, Path)},
        "data": dataset.metadata["behaviours"],
        "training_hours": {name: list(read_log(run))[-1]["seconds"] / 3600 for name, run in runs.items()},
        "versions": versions("torch"),
        "schedulers": {
            name: {**summary[name], "score_per_seed": np.atleast_2d(evaluation.score).mean(-1).tolist()}
            for name, evaluation in evaluations.items()
        },
        "curves": {
            name: {"updates": updates.tolist(), **{kpi: values.tolist() for kpi, values in kpis.items()}}
            for name, (updates, kpis) in ((name, learning_curve(run)) for name, run in runs.items())
        },
    }
    write_whole(json_path, lambda file: file.write(json.dumps(result, indent=1).encode()))
    recorded = curve_point(parse_scheduler(options.scheduler, REGISTRY), RRMConfig(), CURVE_EPISODES)
    write_curves(plot_path, {_label(name, run): run for name, run in runs.items()}, {f"{options.scheduler} (the data)": recorded})
    print(f"wrote {json_path}\nwrote {plot_path}")


def _train(options: Options, name: str, dataset: Dataset) -> None:
    run, began = options.out / name, time.perf_counter()
    if _finished(options, name):
        print(f"{name}: done before")
        return
    updates = _updates(options, name)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=updates)
        train(
            run,
            LearnerConfig(**{**OFFLINE, **ONLINE}[name]),
            TrainingConfig(updates=updates, evaluate_every=500, evaluation_episodes=CURVE_EPISODES, device=options.device),
            seeds=range(options.seeds),
            dataset=dataset if name in OFFLINE else None,
            resume=(run / "config.json").exists(),
            report=lambda done, _: progress.update(task, completed=done),
        )
    print(f"{name}: {updates} updates of {options.seeds} seeds in {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)


def _updates(options: Options, name: str) -> int:
    return options.offline_updates if name in OFFLINE else options.online_updates


def _finished(options: Options, name: str) -> bool:
    return updates_done(options.out / name) >= _updates(options, name)


def _label(name: str, run: Path) -> str:
    return str(describe(run)["scheme"]) + ("" if name in OFFLINE else " online")


def _evaluations(options: Options, runs: dict[str, Path]) -> Iterator[tuple[str, Evaluation]]:
    for name, run in runs.items():
        yield _label(name, run), Evaluation.stack([evaluate(policy, None, options.episodes) for policy in load_policies(run)])
    for name in REFERENCES:
        yield name, evaluate(parse_scheduler(name, REGISTRY), None, options.episodes)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
