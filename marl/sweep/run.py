"""Runs a sweep on an engine: makes every dataset, trains and evaluates every cell, each once, and merges what came out into one file.

The folder holds all there is to know: what stands there whole is not done again, what was interrupted goes on from its checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from baselines import REGISTRY
from baselines.comparison import mean_with_interval
from baselines.registry import parse_scheduler
from marl.config import LearnerConfig, TrainingConfig, environment_steps
from marl.data.dataset import Dataset, DatasetError
from marl.data.storage import dump_json
from marl.engines.base import Engine, Event, LostError, Task
from marl.environment import Environment
from marl.policy import load_policies
from marl.runs.checkpoint import LOG, read_log
from marl.runs.description import DESCRIPTION
from marl.sweep.cells import CHANGED, Cell, Data, Description, Evaluating, Point, Reference
from marl.sweep.grid import Sweep
from marl.training.train import train
from rrm_env import Scheduler
from rrm_env.files import append_line, check_utf8, write_whole
from rrm_env.provenance import origin

DATASETS, RUNS, REFERENCES, RESULTS, EVENTS, ORIGIN = (
    "datasets",
    "runs",
    "schedulers",
    "results.json",
    "events.jsonl",
    "origin.json",
)
"""Folders and files of a sweep's folder."""

PICTURE = "results.png"
"""A picture of the results, in the same folder."""

LOOK_S, SPEAK_S = 2.0, 60.0
"""Seconds between looks at how far running cells are, and between lines about it."""

Values = dict[str, Any]
"""KPIs per episode, (seeds, episodes) or (episodes,) nested lists."""


@dataclass(frozen=True)
class TrainingTask:
    """All that a worker needs to know to make a run's folder and its evaluations."""

    folder: Path
    dataset: Path | None
    fingerprint: str | None
    """Of the dataset, where the cells' names depend on it."""
    learner: LearnerConfig
    training: TrainingConfig
    device: str
    seeds: tuple[int, ...]
    environment: Environment
    evaluations: tuple[tuple[str, Description, Evaluating], ...]
    """Still to be made: name of the file, what it is of, and how."""


class Counts:
    """How far the work at hand is.

    Args:
        tasks: whose ends to count; 0 where they are only parts of something.
        runs: folders of trainings, and the updates that each is to do.
    """

    def __init__(self, tasks: int = 0, runs: Mapping[Path, int] | None = None) -> None:
        self._tasks, self._ended, self._runs = tasks, 0, dict(runs or {})
        self.updates = sum(self._runs.values())
        self._done = dict.fromkeys(self._runs, 0)
        self._looked = self._spoke = time.monotonic()

    def count(self, event: Event) -> str | None:
        """What to print after the event's kind; None where it is not worth a line."""
        if event.kind == "lost":
            return ""
        if event.kind == "submitted" or (not self._tasks and event.kind == "done"):
            return None
        self._ended += 1
        return f" {self._ended}/{self._tasks}" if self._tasks else ""

    def look(self) -> int | None:
        """Updates that logs tell of; None where it is too early to look again, or there is nothing to see."""
        if not self._runs or time.monotonic() - self._looked < LOOK_S:
            return None
        self._looked = time.monotonic()
        for run, updates in self._runs.items():
            if self._done[run] < updates and (run / LOG).exists():
                self._done[run] = max((record["update"] for record in read_log(run)), default=0)
        return sum(self._done.values())

    def is_time_to_speak(self) -> bool:
        """Once a minute."""
        due = time.monotonic() - self._spoke > SPEAK_S
        self._spoke = time.monotonic() if due else self._spoke
        return due


class SweepRun:
    """A sweep in its folder.

    Args:
        sweep: what to do.
        out: the folder; made where missing. All nodes of a cluster must see it under this path.
        say: called with a line about what happened.
        reach: called with the updates that running cells have done, and with those that all have to do.
    """

    def __init__(
        self,
        sweep: Sweep,
        out: str | Path,
        say: Callable[[str], None] = print,
        reach: Callable[[int, int], None] | None = None,
    ) -> None:
        self.sweep, self.out, self._say, self._reach = sweep, Path(out).absolute(), say, reach
        self.cells = {cell.name: cell for point in sweep.points for cell in sweep.cells(point)}
        self.references = {of.name: of for point in sweep.points for of in references(point)}
        self._values: dict[str, Values] = {}
        self.failed: dict[str, str] = {}
        """Why, by the names of cells and references."""
        self._progress = Counts()

    def listen(self, event: Event) -> None:
        """Show and keep an engine's event."""
        if event.kind == "waiting":
            self._look()
            return
        record = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **event._asdict()}
        append_line(self.out / EVENTS, json.dumps(record))
        count = self._progress.count(event)
        if count is not None:
            attempt = (
                f", attempt {event.attempt}" if event.attempt > 1 or event.kind == "lost" else ""
            )
            self._say(f"{event.kind}{count}: {event.task}{attempt} ({event.detail})")

    def run(self, engine: Engine) -> dict[str, Any]:
        """Do what is missing, then merge; the content of `RESULTS`.

        Raises:
            ValueError: the folder cannot be made.
        """
        self._make_folders()
        self._load()
        missing = [cell for name, cell in self.cells.items() if name not in self._values]
        begun = sum((self.out / RUNS / cell.run / DESCRIPTION).exists() for cell in missing)
        self._say(
            f"{len(self.cells)} cells: {len(self.cells) - len(missing)} done, {begun} begun, {len(missing) - begun} to begin"
        )
        # Apart from the results, since it may differ where they do not.
        write_json(self.out / ORIGIN, origin("torch", "safetensors"))
        self._compute(self._with_data(missing, engine), engine)
        results = self.results()
        write_json(self.out / RESULTS, results)
        return results

    # --- What is there ---

    def _make_folders(self) -> None:
        """Make what is missing; refuse a folder whose files are of something else."""
        check_utf8("out", self.out)
        inside = [name for name in (DATASETS, RUNS, REFERENCES) if (self.out / name).is_dir()]
        taken = [name for name in (RESULTS, PICTURE, ORIGIN, EVENTS) if (self.out / name).exists()]
        if taken and not inside:
            raise ValueError(
                f"out = {str(self.out)!r} holds {taken[0]} of something else: choose another folder"
            )
        try:
            for name in (DATASETS, RUNS, REFERENCES):
                (self.out / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"out = {str(self.out)!r} cannot be made: {error.strerror or error}"
            ) from None

    def _load(self) -> None:
        for name, cell in self.cells.items():
            self._take(name, self.out / RUNS / name, cell.description)
        for name, reference in self.references.items():
            self._take(name, self.out / REFERENCES / name, reference.description)

    def _take(self, name: str, path: Path, description: Description) -> None:
        """Values that a file holds, if it is whole and of just this."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["of"] == json.loads(json.dumps(description)):
                self._values[name] = content["values"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # not there, or no longer what it was: it is made anew

    # --- Work ---

    def _with_data(self, cells: list[Cell], engine: Engine) -> list[Cell]:
        """Record what the cells learn from; those whose data cannot be recorded have failed."""
        needed = {
            cell.point.data.name: cell.point.data
            for cell in cells
            if cell.point.data and cell.point.data.recording
        }
        errors: dict[str, str] = {}
        for name, data in needed.items():
            if not _readable(path := self.out / DATASETS / name):
                try:
                    self._record(data, path, engine)
                except (TypeError, ValueError, LostError) as error:
                    errors[name] = f"its data: {error}"
        for cell in cells:
            if cell.point.data and cell.point.data.name in errors:
                self.failed[cell.name] = errors[cell.point.data.name]
        return [cell for cell in cells if cell.name not in self.failed]

    def _record(self, data: Data, path: Path, engine: Engine) -> None:
        assert data.recording is not None
        self._progress = Counts()
        dataset = data.recording.record(lambda _: None, engine)
        data.require_same_policy()
        path.unlink(missing_ok=True)  # unreadable, or it would not be recorded again
        dataset.write(path)
        self._say(f"recorded {path.name}: {len(dataset):,} transitions")

    def _compute(self, cells: list[Cell], engine: Engine) -> None:
        """Train and evaluate cells, each training once, and schedulers."""
        runs: dict[str, list[Cell]] = {}
        for cell in cells:
            runs.setdefault(cell.run, []).append(cell)
        gpu = self.sweep.device == "cuda"
        work: list[tuple[list[str], Task]] = [
            (
                [cell.name for cell in of],
                Task(f"cell {name}", train_and_evaluate, (self._training(of),), gpu),
            )
            for name, of in runs.items()
        ]
        work += [
            (
                [name],
                Task(
                    f"scheduler {of.scheduler}",
                    evaluate_scheduler,
                    (self.out / REFERENCES / name, of),
                ),
            )
            for name, of in self.references.items()
            if name not in self._values
        ]
        self._progress = Counts(
            len(work),
            {self.out / RUNS / name: of[0].point.training.updates for name, of in runs.items()},
        )
        for outcome in engine.run([task for _, task in work]):
            names, _ = work[outcome.number]
            if outcome.error is None:
                self._values |= dict(zip(names, outcome.value, strict=True))
            else:
                self.failed |= dict.fromkeys(
                    names, f"{type(outcome.error).__name__}: {outcome.error}"
                )
                self._keep_traceback(names, outcome.traceback)

    def _look(self) -> None:
        """Show how far running cells are."""
        done = self._progress.look()
        if done is None:
            return
        if self._reach is not None:
            self._reach(done, self._progress.updates)
        if self._progress.is_time_to_speak():
            self._say(f"running: {done:,} of {self._progress.updates:,} updates")

    def _keep_traceback(self, names: list[str], text: str) -> None:
        append_line(self.out / EVENTS, json.dumps({"failed": names, "traceback": text}))

    def _training(self, cells: list[Cell]) -> TrainingTask:
        point, data = cells[0].point, cells[0].point.data
        return TrainingTask(
            self.out / RUNS / cells[0].run,
            None if data is None else data.file or self.out / DATASETS / data.name,
            None if data is None else data.description.get("fingerprint"),
            point.learner,
            point.training,
            self.sweep.device,
            cells[0].seeds,
            point.environment,
            tuple((cell.evaluation, cell.description, cell.point.evaluating) for cell in cells),
        )

    # --- Results ---

    def results(self) -> dict[str, Any]:
        """Everything merged: the same to the byte however the work was distributed or interrupted."""
        rows = [row for point in self.sweep.points if (row := self._row(point)) is not None]
        rows += [
            self._reference_row(of) for name, of in self.references.items() if name in self._values
        ]
        declared = {item.name: getattr(self.sweep, item.name) for item in fields(Sweep)}
        return {
            "sweep": json.loads(json.dumps(declared, default=str)),
            "varied": self.sweep.varied,
            "rows": rows,
            "failed": {
                name: self.failed[name]
                for name in (*self.cells, *self.references)
                if name in self.failed
            },
        }

    def _row(self, point: Point) -> dict[str, Any] | None:
        """A point's summary over all its seeds; None where one of its cells failed."""
        cells = self.sweep.cells(point)
        if any(cell.name not in self._values for cell in cells):
            return None
        row = self._summary(
            point.scheme,
            point.varied,
            [self._values[cell.name] for cell in cells],
            len(self.sweep.all_seeds),
        )
        return {**row, **_experience(point), "cells": [cell.name for cell in cells]}

    def _reference_row(self, reference: Reference) -> dict[str, Any]:
        """A scheduler's summary; of the options that vary it has those that all points beside it have in common."""
        beside = [point.varied for point in self.sweep.points if reference in references(point)]
        common = {
            name: value
            for name, value in beside[0].items()
            if all(varied[name] == value for varied in beside)
        }
        return self._summary(reference.scheduler, common, [self._values[reference.name]], None)

    @staticmethod
    def _summary(
        label: str, varied: Mapping[str, Any], values: list[Values], seeds: int | None
    ) -> dict[str, Any]:
        arrays = {
            kpi: np.concatenate([np.array(part[kpi], np.float64) for part in values])
            for kpi in values[0]
        }
        kpis: dict[str, Any] = {kpi: mean_with_interval(array) for kpi, array in arrays.items()}
        if seeds is not None:
            for kpi, array in arrays.items():
                kpis[kpi]["per_seed"] = array.mean(-1).tolist()
        episodes = next(iter(arrays.values())).shape[-1]
        return {
            "name": label,
            "varied": dict(varied),
            "seeds": seeds,
            "episodes": episodes,
            "kpis": kpis,
        }


def _experience(point: Point) -> dict[str, Any]:
    """Updates of each seed, and its environment steps where it learns online."""
    updates = point.training.updates
    steps = (
        {}
        if point.data
        else {"environment_steps": environment_steps(updates, point.learner, point.training)}
    )
    return {"updates": updates, **steps}


def references(point: Point) -> list[Reference]:
    """The schedulers beside a point."""
    return [
        Reference(scheduler, replace(point.evaluating, act_on=None, sample=False))
        for scheduler in point.schedulers
    ]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, whole or not at all; nothing that could not be read again (ValueError)."""
    text = dump_json(content, indent=1)
    write_whole(path, lambda file: file.write(text.encode()))


def _readable(path: Path) -> bool:
    """Whether a dataset stands there that was not damaged."""
    if not path.exists():
        return False
    try:
        Dataset.read(path)
    except DatasetError:
        return False
    return True


# --- What workers do ---


def train_and_evaluate(task: TrainingTask) -> list[Values]:
    """Make the run's folder, or go on with it, and its evaluations; their values."""
    train(
        task.folder,
        task.learner,
        replace(task.training, device=task.device),
        seeds=task.seeds,
        dataset=_dataset(task),
        environment=task.environment,
        resume=(task.folder / DESCRIPTION).exists(),
    )
    made = []
    for name, description, evaluating in task.evaluations:
        values = _evaluated(task.folder, evaluating)
        write_json(task.folder / name, {"of": description, "values": values})
        made.append(values)
    return made


def _dataset(task: TrainingTask) -> Dataset | None:
    """What the task's cells learn from (DatasetError where the file is no longer the one that they are named after)."""
    if task.dataset is None:
        return None
    dataset = Dataset.read(task.dataset)
    if task.fingerprint is not None and dataset.fingerprint() != task.fingerprint:
        raise DatasetError(f"{str(task.dataset)!r} {CHANGED}")
    return dataset


def _evaluated(run: Path, how: Evaluating) -> Values:
    policies = load_policies(run, act_on=how.act_on, sample=how.sample)
    return _together([_played(policy, how) for policy in policies])


def evaluate_scheduler(path: Path, reference: Reference) -> list[Values]:
    """Evaluate a scheduler and write the file."""
    values = _played(parse_scheduler(reference.scheduler, REGISTRY), reference.evaluating)
    write_json(path, {"of": reference.description, "values": values})
    return [values]


def _played(scheduler: Scheduler, how: Evaluating) -> Values:
    return how.environment.evaluate(scheduler, how.episodes, how.seed)


def _together(of_seeds: Iterable[Values]) -> Values:
    parts = list(of_seeds)
    return {kpi: [part[kpi] for part in parts] for kpi in parts[0]}
