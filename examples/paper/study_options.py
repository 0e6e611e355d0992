"""Options that all studies share, and the origin that their results files state."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from study import QUICK, Scale, Study, train_missing

from marl.cli.shared import EngineOptions
from marl.engines.base import Event
from rrm_env import provenance


@dataclass(frozen=True)
class StudyOptions:
    """How much of a study to run, and where to put it."""

    quick: bool = False
    """Run the same pipeline in miniature: two seeds and too few updates to learn anything. It
    writes into the study's folder only."""
    seeds: int = Scale.seeds
    """Independent learners per row."""
    out: Path = Path("study")
    """Folder of runs and datasets, shared by all studies. Finished work there is not repeated."""
    only: tuple[str, ...] = ()
    """Recompute these rows alone and print them; no results are written."""
    device: str = "cpu"
    """Device to train on."""
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=EngineOptions
    )
    """Where to train what is missing; one run after the other in this process by default."""

    @property
    def scale(self) -> Scale:
        """Seeds, updates, episodes and sizes of datasets."""
        return QUICK if self.quick else replace(Scale(), seeds=self.seeds)

    @property
    def folder(self) -> Path:
        """Folder of runs and datasets; created if missing."""
        folder = self.out / "quick" if self.quick else self.out
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def results(self, name: str) -> Path:
        """Path of a results file or picture."""
        return (self.folder if self.quick else Path("docs/results")) / name

    def train(self, wanted: Iterable[tuple[Study, Iterable[str]]]) -> None:
        """Train the missing runs of several studies on the engine; without one, nothing happens.

        Args:
            wanted: studies, and the names of their runs.
        """
        if self.where.engine is not None:
            with self.where.open(_tell) as engine:
                train_missing(wanted, engine)

    def check_only(self, known: Collection[str]) -> None:
        """Refuse rows in ``only`` that do not exist (ValueError)."""
        for name in self.only:
            if name not in known:
                raise ValueError(
                    f"only must name rows of the figure, {', '.join(known)}, got {name!r}"
                )


def _tell(event: Event) -> None:
    if event.kind in ("done", "lost", "failed"):
        print(f"{event.kind}: {event.task} ({event.detail})", flush=True)


def origin(scale: object) -> dict[str, Any]:
    """Origin of a results file: command, revision, machine, versions and scale.

    It names torch's vector instructions too, because rounding depends on them.
    """
    return {
        **provenance.origin("torch"),
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        "scale": vars(scale),
    }
