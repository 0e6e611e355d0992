"""What a sweep's workers do: train and evaluate the seeds of cells, and evaluate schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baselines.registry import parse_scheduler
from marl.config import LearnerConfig, TrainingConfig
from marl.data.dataset import Dataset, DatasetError
from marl.data.storage import dump_json
from marl.environment import Environment
from marl.policy import load_policies
from marl.runs.description import DESCRIPTION
from marl.sweep.cells import CHANGED, Description, Evaluating, Reference
from marl.training.train import train
from rrm_env import Scheduler
from rrm_env.files import write_json

Values = dict[str, Any]
"""KPIs per episode: (seeds, episodes) or (episodes,) nested lists by name."""


@dataclass(frozen=True)
class TrainingTask:
    """All that a worker needs for one training run and its evaluations."""

    folder: Path
    """The run's folder; a run that it holds already is resumed."""
    dataset: Path | None
    fingerprint: str | None
    """Fingerprint that the dataset must have, where the cells' names depend on it."""
    learner: LearnerConfig
    training: TrainingConfig
    device: str
    seeds: tuple[int, ...]
    environment: Environment
    evaluations: tuple[tuple[str, Description, Evaluating], ...]
    """The missing evaluations: file name, description of the cell, and how to evaluate."""


def train_and_evaluate(task: TrainingTask) -> list[Values]:
    """Train or resume the run, write its evaluations, and return their values.

    Raises:
        DatasetError: the dataset no longer is the one that the cells are named after.
        and the errors of `marl.training.train.train`.
    """
    train(
        task.folder,
        task.learner,
        replace(task.training, device=task.device),
        seeds=task.seeds,
        dataset=_dataset(task),
        environment=task.environment,
        resume=(task.folder / DESCRIPTION).exists(),
    )
    evaluations = []
    for name, description, evaluating in task.evaluations:
        values = _evaluate_run(task.folder, evaluating)
        write_readable(task.folder / name, {"of": description, "values": values})
        evaluations.append(values)
    return evaluations


def evaluate_scheduler(path: Path, reference: Reference) -> list[Values]:
    """Evaluate a scheduler, write the values to ``path``, and return them."""
    scheduler = parse_scheduler(reference.scheduler)
    values = _evaluate(scheduler, reference.evaluating)
    write_readable(path, {"of": reference.description, "values": values})
    return [values]


def write_readable(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, unless it could not be read again (ValueError)."""
    dump_json(content)
    write_json(path, content)


def _dataset(task: TrainingTask) -> Dataset | None:
    if task.dataset is None:
        return None
    dataset = Dataset.read(task.dataset)
    if task.fingerprint is not None and dataset.fingerprint() != task.fingerprint:
        raise DatasetError(f"{str(task.dataset)!r} {CHANGED}")
    return dataset


def _evaluate_run(run: Path, evaluating: Evaluating) -> Values:
    """KPIs of the policies of all seeds, (seeds, episodes) by name."""
    policies = load_policies(run, act_on=evaluating.act_on, sample=evaluating.sample)
    of_seeds = [_evaluate(policy, evaluating) for policy in policies]
    return {kpi: [values[kpi] for values in of_seeds] for kpi in of_seeds[0]}


def _evaluate(scheduler: Scheduler, evaluating: Evaluating) -> Values:
    """KPIs of one scheduler or policy, (episodes,) by name."""
    return evaluating.environment.evaluate(scheduler, evaluating.episodes, evaluating.seed)
