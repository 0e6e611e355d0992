"""The units of work of a sweep: datasets, trainings, evaluations and schedulers, each with a name.

A name ends in a hash of everything that the outcome depends on, options left at their defaults
included. It is therefore the same on every machine, and differs as soon as the outcome may differ.
Where a cell runs is not part of its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from marl.config import LearnerConfig, TrainingConfig
from marl.environment import Environment
from marl.options import RecordingOptions
from marl.runs.description import CHECKPOINT, DESCRIPTION, describe

Description = dict[str, Any]
"""What an outcome depends on, as JSON can hold it."""

CHANGED = "changed since the sweep was declared; the same command declares it again"
"""End of the error about a file whose content no longer agrees with the cells' names."""


@dataclass(frozen=True)
class Data:
    """The transitions that a learner learns from: an existing dataset, or one to record."""

    description: Description
    label: str
    """Readable beginning of the name."""
    environment: Environment
    """The environment of the transitions."""
    file: Path | None = None
    """The existing dataset."""
    recording: RecordingOptions | None = None
    """What to record where there is no dataset yet."""

    @cached_property
    def name(self) -> str:
        """Name of the dataset's file."""
        return f"{_file_name(self.label)}-{digest(self.description)}.safetensors"

    def require_same_policy(self) -> None:
        """Check that the run whose policy is recorded is still the one of the description.

        Raises:
            ValueError: it changed, for example because it is still training.
        """
        if self.recording is not None and self.recording.policy is not None:
            run = str(self.recording.policy)
            if run_identity(run) != self.description["policy"]:
                raise ValueError(f"policy: {run!r} {CHANGED}")


@dataclass(frozen=True)
class Evaluating:
    """How policies are evaluated."""

    episodes: int
    seed: int
    act_on: str | None
    sample: bool
    environment: Environment

    @property
    def description(self) -> Description:
        """All fields, as JSON can hold them."""
        own = {name: getattr(self, name) for name in ("episodes", "seed", "act_on", "sample")}
        return {**own, **environment_description(self.environment)}


@dataclass(frozen=True)
class Point:
    """A point of the grid: everything except the training seeds."""

    varied: Mapping[str, Any]
    """Values of the options that vary, by name."""
    data: Data | None
    learner: LearnerConfig
    training: TrainingConfig
    """Its device is always the CPU: the machine that trains may be another one."""
    environment: Environment
    evaluating: Evaluating
    schedulers: tuple[str, ...]
    """Schedulers to compare with."""

    @property
    def scheme(self) -> str:
        """The learner's name in the paper."""
        return self.learner.scheme(offline=self.data is not None)


@dataclass(frozen=True)
class Cell:
    """Some seeds of a point, which one learner trains side by side, and their evaluation."""

    point: Point
    seeds: tuple[int, ...]

    @cached_property
    def training(self) -> Description:
        """What the trained policies depend on; cells that differ only in evaluation share it."""
        point = self.point
        training = asdict(point.training)
        del training["device"]
        return {
            "data": point.data.description if point.data else None,
            "learner": point.learner.as_dict(),
            "training": training,
            **environment_description(point.environment),
            "seeds": list(self.seeds),
        }

    @cached_property
    def description(self) -> Description:
        """What the outcome depends on."""
        return {**self.training, "evaluation": self.point.evaluating.description}

    @cached_property
    def run(self) -> str:
        """Name of the training run's folder."""
        return f"{_file_name(self.point.scheme)}-{digest(self.training)}"

    @cached_property
    def evaluation(self) -> str:
        """Name of the evaluation's file in that folder."""
        return f"evaluation-{digest(self.description)}.json"

    @property
    def name(self) -> str:
        """Path of the evaluation's file below the folder of all runs."""
        return f"{self.run}/{self.evaluation}"


@dataclass(frozen=True)
class Reference:
    """A scheduler evaluated on the same episodes as the cells."""

    scheduler: str
    evaluating: Evaluating

    @cached_property
    def description(self) -> Description:
        """What the outcome depends on."""
        evaluating = self.evaluating
        return {
            "scheduler": self.scheduler,
            "episodes": evaluating.episodes,
            "seed": evaluating.seed,
            "network": environment_description(evaluating.environment)["network"],
        }

    @cached_property
    def name(self) -> str:
        """Name of the evaluation's file."""
        return f"{_file_name(self.scheduler)}-{digest(self.description)}.json"


def digest(description: Description) -> str:
    """16 hexadecimal digits of a hash that depends neither on key order nor on the machine."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def environment_description(environment: Environment) -> Description:
    """An environment's part of a description."""
    network = environment.network
    return {"network": network.as_dict() if network else None, "env": environment.module}


def file_stamp(path: Path) -> tuple[int, ...]:
    """A value that changes whenever the file is written or replaced; empty without a file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def run_identity(run: str) -> Description:
    """What tells the policies in a run's folder from all others: learner, seeds and checkpoint."""
    folder = Path(run)
    stamps = file_stamp(folder / DESCRIPTION), file_stamp(folder / CHECKPOINT)
    return _run_identity(run, stamps)


@lru_cache(maxsize=256)
def _run_identity(
    run: str,
    stamps: tuple[tuple[int, ...], ...],  # noqa: ARG001 - a key of the cache
) -> Description:
    described = describe(run)
    checkpoint = Path(run) / CHECKPOINT
    content = checkpoint.read_bytes() if checkpoint.exists() else b""
    return {
        **{key: described[key] for key in ("learner", "seeds", "team")},
        "checkpoint": hashlib.sha256(content).hexdigest(),
    }


def _file_name(text: str) -> str:
    """The text in lower case, with hyphens for characters unsafe in file names or shells."""
    return re.sub(r"[^a-z0-9_.=]+", "-", text.lower()).strip("-")[:60]
