"""Running a sweep on an engine, in a folder that says what is done.

Every dataset is recorded once, every cell is trained and evaluated once, and the outcomes are
merged into one file. Whole files are not made again; an interrupted training resumes from its
checkpoint.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from baselines.comparison import mean_with_interval
from marl.config import environment_steps
from marl.data.dataset import Dataset, DatasetError
from marl.engines.base import Engine, Event, LostError, Task
from marl.runs.description import DESCRIPTION
from marl.sweep.cells import Cell, Data, Description, Point, Reference
from marl.sweep.grid import Sweep
from marl.sweep.progress import Progress
from marl.sweep.work import (
    TrainingTask,
    Values,
    evaluate_scheduler,
    train_and_evaluate,
    write_readable,
)
from rrm_env.files import append_line, check_utf8
from rrm_env.provenance import origin

# Folders and files in a sweep's folder.
DATASETS = "datasets"
RUNS = "runs"
REFERENCES = "schedulers"
RESULTS = "results.json"
PICTURE = "results.png"
EVENTS = "events.jsonl"
ORIGIN = "origin.json"


class SweepRun:
    """A sweep and its folder.

    Args:
        sweep: the grid to train and evaluate.
        out: the folder; made where missing. All nodes of a cluster must see it under this path.
        say: called with each line about what happened.
        reach: called with the number of updates that running cells have done, and with the number
            that they are to do.
    """

    def __init__(
        self,
        sweep: Sweep,
        out: str | Path,
        say: Callable[[str], None] = print,
        reach: Callable[[int, int], None] | None = None,
    ) -> None:
        self.sweep = sweep
        self.out = Path(out).absolute()
        self._say = say
        self._reach = reach
        self.cells = {cell.name: cell for point in sweep.points for cell in sweep.cells(point)}
        self.references = {of.name: of for point in sweep.points for of in references(point)}
        self._values: dict[str, Values] = {}
        """Values of what is done, by the names of cells and references."""
        self.failed: dict[str, str] = {}
        """Reasons of failures, by the names of cells and references."""
        self._progress = Progress()

    def listen(self, event: Event) -> None:
        """Report an engine's event, and append it to the file of events."""
        if event.kind == "waiting":
            self._report_updates()
            return
        record = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **event._asdict()}
        append_line(self.out / EVENTS, json.dumps(record))
        count = self._progress.count(event)
        if count is not None:
            show_attempt = event.attempt > 1 or event.kind == "lost"
            attempt = f", attempt {event.attempt}" if show_attempt else ""
            self._say(f"{event.kind}{count}: {event.task}{attempt} ({event.detail})")

    def run(self, engine: Engine) -> dict[str, Any]:
        """Do what is missing, merge everything into `RESULTS`, and return its content.

        Cells that fail are in `failed`; the others go on.

        Raises:
            ValueError: the folder cannot be made, or holds files of something else.
        """
        self._make_folders()
        self._load()
        missing = [cell for name, cell in self.cells.items() if name not in self._values]
        begun = sum((self.out / RUNS / cell.run / DESCRIPTION).exists() for cell in missing)
        done = len(self.cells) - len(missing)
        counts = f"{done} done, {begun} begun, {len(missing) - begun} to begin"
        self._say(f"{len(self.cells)} cells: {counts}")
        # The origin has a file of its own, because it may differ where the results do not.
        write_readable(self.out / ORIGIN, origin("torch", "safetensors"))
        self._compute(self._with_data(missing, engine), engine)
        results = self.results()
        write_readable(self.out / RESULTS, results)
        return results

    # --- The folder ---

    def _make_folders(self) -> None:
        """Make missing folders.

        Raises:
            ValueError: the system refuses, or the folder holds files of something else.
        """
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
        """Read the values of what is done."""
        for name, cell in self.cells.items():
            self._load_values(name, self.out / RUNS / name, cell.description)
        for name, reference in self.references.items():
            self._load_values(name, self.out / REFERENCES / name, reference.description)

    def _load_values(self, name: str, path: Path, description: Description) -> None:
        """Read the values in a file, if it is whole and has this description."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["of"] == json.loads(json.dumps(description)):
                self._values[name] = content["values"]
        except (OSError, ValueError, KeyError, TypeError):
            pass  # missing or damaged: it is made again

    # --- Work ---

    def _with_data(self, cells: list[Cell], engine: Engine) -> list[Cell]:
        """Record the missing datasets; returns the cells whose data are there."""
        needed = {
            cell.point.data.name: cell.point.data
            for cell in cells
            if cell.point.data and cell.point.data.recording
        }
        errors: dict[str, str] = {}
        for name, data in needed.items():
            path = self.out / DATASETS / name
            if not _is_intact(path):
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
        self._progress = Progress()
        dataset = data.recording.record(lambda _: None, engine)
        data.require_same_policy()
        path.unlink(missing_ok=True)  # a damaged file would stand in the way
        dataset.write(path)
        self._say(f"recorded {path.name}: {len(dataset):,} transitions")

    def _compute(self, cells: list[Cell], engine: Engine) -> None:
        """Train and evaluate the cells, and evaluate the schedulers that are missing."""
        runs: dict[str, list[Cell]] = {}
        for cell in cells:
            runs.setdefault(cell.run, []).append(cell)
        gpu = self.sweep.device == "cuda"
        work: list[tuple[list[str], Task]] = []
        """The names of the values that a task returns, and the task."""
        for name, of_run in runs.items():
            arguments = (self._training_task(of_run),)
            task = Task(f"cell {name}", train_and_evaluate, arguments, gpu)
            work.append(([cell.name for cell in of_run], task))
        for name, reference in self.references.items():
            if name not in self._values:
                path = self.out / REFERENCES / name
                label = f"scheduler {reference.scheduler}"
                work.append(([name], Task(label, evaluate_scheduler, (path, reference))))
        updates = {
            self.out / RUNS / name: of_run[0].point.training.updates
            for name, of_run in runs.items()
        }
        self._progress = Progress(len(work), updates)
        for outcome in engine.run([task for _, task in work]):
            names, _ = work[outcome.number]
            if outcome.error is None:
                self._values |= dict(zip(names, outcome.value, strict=True))
            else:
                reason = f"{type(outcome.error).__name__}: {outcome.error}"
                self.failed |= dict.fromkeys(names, reason)
                failure = {"failed": names, "traceback": outcome.traceback}
                append_line(self.out / EVENTS, json.dumps(failure))

    def _training_task(self, cells: list[Cell]) -> TrainingTask:
        """The task of cells that share a training."""
        point = cells[0].point
        data = point.data
        evaluations = [(cell.evaluation, cell.description, cell.point.evaluating) for cell in cells]
        return TrainingTask(
            folder=self.out / RUNS / cells[0].run,
            dataset=None if data is None else data.file or self.out / DATASETS / data.name,
            fingerprint=None if data is None else data.description.get("fingerprint"),
            learner=point.learner,
            training=point.training,
            device=self.sweep.device,
            seeds=cells[0].seeds,
            environment=point.environment,
            evaluations=tuple(evaluations),
        )

    def _report_updates(self) -> None:
        """Report the updates that running cells have done, at most every few seconds."""
        done = self._progress.look()
        if done is None:
            return
        if self._reach is not None:
            self._reach(done, self._progress.updates)
        if self._progress.is_time_to_speak():
            self._say(f"running: {done:,} of {self._progress.updates:,} updates")

    # --- Results ---

    def results(self) -> dict[str, Any]:
        """All values merged: identical bytes however the work was distributed or interrupted."""
        rows = [row for point in self.sweep.points if (row := self._row(point)) is not None]
        for name, reference in self.references.items():
            if name in self._values:
                rows.append(self._reference_row(reference))
        declared = {item.name: getattr(self.sweep, item.name) for item in fields(Sweep)}
        names = (*self.cells, *self.references)
        return {
            "sweep": json.loads(json.dumps(declared, default=str)),
            "varied": self.sweep.varied,
            "rows": rows,
            "failed": {name: self.failed[name] for name in names if name in self.failed},
        }

    def _row(self, point: Point) -> dict[str, Any] | None:
        """A point's summary over all its seeds; None where one of its cells failed."""
        cells = self.sweep.cells(point)
        if any(cell.name not in self._values for cell in cells):
            return None
        values = [self._values[cell.name] for cell in cells]
        row = _summary(point.scheme, point.varied, values, len(self.sweep.all_seeds))
        return {**row, **_experience(point), "cells": [cell.name for cell in cells]}

    def _reference_row(self, reference: Reference) -> dict[str, Any]:
        """A scheduler's summary, with the varied options whose values all its points share."""
        beside = [point.varied for point in self.sweep.points if reference in references(point)]
        common = {
            name: value
            for name, value in beside[0].items()
            if all(varied[name] == value for varied in beside)
        }
        return _summary(reference.scheduler, common, [self._values[reference.name]], None)


def references(point: Point) -> list[Reference]:
    """The schedulers to compare a point with."""
    evaluating = replace(point.evaluating, act_on=None, sample=False)
    return [Reference(scheduler, evaluating) for scheduler in point.schedulers]


def _summary(
    label: str, varied: Mapping[str, Any], values: list[Values], seeds: int | None
) -> dict[str, Any]:
    """A row of the results: KPIs with intervals, over all seeds and episodes.

    Args:
        label: the scheme or scheduler.
        varied: values of the options that vary, by name.
        values: KPIs, of one or more cells or of a scheduler.
        seeds: how many training seeds there are; None of a scheduler.
    """
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
    if point.data:
        return {"updates": updates}
    steps = environment_steps(updates, point.learner, point.training)
    return {"updates": updates, "environment_steps": steps}


def _is_intact(path: Path) -> bool:
    """Whether the file is a dataset that can be read."""
    if not path.exists():
        return False
    try:
        Dataset.read(path)
    except DatasetError:
        return False
    return True
