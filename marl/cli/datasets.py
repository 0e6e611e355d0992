"""The command for the named datasets of the benchmark: list, make, verify and hub."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich import box
from rich.table import Table

from baselines.comparison import print_whole
from marl.benchmark.hub import check_hub_folder, write_hub_folder
from marl.benchmark.named import (
    VARIABLE,
    dataset_folder,
    dataset_path,
    is_made,
    load_dataset,
    make_dataset,
    verify_dataset,
)
from marl.benchmark.published import published
from marl.benchmark.recipes import RECIPES, names_of
from marl.cli.progress import progress
from marl.cli.shared import EngineOptions
from marl.data.dataset import DatasetError
from marl.options import default_is
from rrm_env import metrics
from rrm_env.references import known_reference

Names = Annotated[
    tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(help_behavior_hint="(at least one)")
]
Folder = Annotated[Path | None, default_is(f"{VARIABLE}, else among the user's caches")]


class VerificationError(Exception):
    """Files of named datasets are missing or differ from what is published."""


@dataclass(frozen=True, kw_only=True)
class ListDatasets:
    """List all named datasets, and say which are made."""

    folder: Folder = None
    """Folder of the files."""

    def run(self) -> None:
        """Print the table."""
        grid = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
        grid.add_column("Dataset")
        grid.add_column("Behaviour")
        for heading in ("Transitions", "MB", "Score", "Normalised", "Worst user", "SACo"):
            grid.add_column(heading, justify="right")
        grid.add_column("Checksum")
        grid.add_column("Made")
        for name in RECIPES:
            grid.add_row(*_row(name, self.folder))
        print_whole(grid)
        print(f"folder: {dataset_folder(self.folder)}")


def _row(name: str, folder: Path | None) -> tuple[str, ...]:
    """A line of the list."""
    recipe, facts = RECIPES[name], published()[name]
    known = known_reference(recipe.config)
    return (
        name,
        recipe.about,
        f"{facts.transitions:,}",
        f"{facts.bytes / 1e6:.0f}",
        f"{facts.score:.{metrics.KPIS['score'].digits}f}",
        "" if known is None else f"{known.normalised(facts.score):.0f}",
        f"{facts.worst_rate:.{metrics.KPIS['worst_rate'].digits}f}",
        f"{facts.coverage:.2f}",
        facts.checksum[:16],
        "yes" if is_made(recipe, folder) else "no",
    )


@dataclass(frozen=True, kw_only=True)
class MakeDatasets:
    """Make datasets whose files are missing, and verify those that are there."""

    names: Names
    """Datasets: names such as paper/medium, patterns such as paper/* in quotes, or all."""
    folder: Folder = None
    """Folder of the files."""
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=EngineOptions
    )
    """Where the work is done."""

    def run(self) -> None:
        """Make the datasets, one after the other."""
        for name in _required(self.names):
            path = dataset_path(name, self.folder)
            if path.exists():
                verify_dataset(name, self.folder)
                print(f"{name}: {path} is there, as published", flush=True)
                continue
            total = RECIPES[name].transitions
            with progress(name, total) as bar, self.where.open(bar.losses) as engine:
                dataset, seconds = make_dataset(name, self.folder, engine=engine, progress=bar)
            print(
                f"{name}: wrote {path}, {total:,} transitions in {seconds:.0f} s, "
                f"checksum {dataset.fingerprint()} as published",
                flush=True,
            )


@dataclass(frozen=True, kw_only=True)
class VerifyDatasets:
    """Compare the files of datasets with the published checksums."""

    names: Names
    """Datasets: names such as paper/medium, patterns such as paper/* in quotes, or all."""
    folder: Folder = None
    """Folder of the files."""

    def run(self) -> None:
        """Verify the datasets, and say of each what was found."""
        names = _required(self.names)
        failed = [name for name in names if not self._is_as_published(name)]
        if failed:
            raise VerificationError(f"{len(failed)} of {len(names)} datasets are not as published")

    def _is_as_published(self, name: str) -> bool:
        """Verify a dataset, and say what was found."""
        try:
            verify_dataset(name, self.folder)
        except DatasetError as error:
            print(error, file=sys.stderr, flush=True)
            return False
        print(f"{name}: as published", flush=True)
        return True


@dataclass(frozen=True, kw_only=True)
class HubDatasets:
    """Write folders that are ready to be pushed to a hub: data, card and picture."""

    names: Names
    """Datasets: names such as paper/medium, patterns such as paper/* in quotes, or all."""
    out: Path
    """Folder in which each dataset gets its own, such as paper-medium."""
    minari: bool = False
    """Write the Minari dataset next to it."""
    folder: Folder = None
    """Folder of the datasets, which are made there first where they are missing."""

    def run(self) -> None:
        """Write the folders."""
        names = _required(self.names)
        for name in names:
            check_hub_folder(name, self.out, minari=self.minari)
        for name in names:
            with progress(name, RECIPES[name].transitions) as bar:
                dataset = load_dataset(name, self.folder, progress=bar)
            print(f"wrote {write_hub_folder(name, dataset, self.out, minari=self.minari)}")


def _required(names: tuple[str, ...]) -> list[str]:
    """The datasets that the names stand for (ValueError: there is none)."""
    if not names:
        raise ValueError("names must hold at least one dataset, or all, got none")
    return names_of(names)


Action = (
    Annotated[ListDatasets, tyro.conf.subcommand("list")]
    | Annotated[MakeDatasets, tyro.conf.subcommand("make")]
    | Annotated[VerifyDatasets, tyro.conf.subcommand("verify")]
    | Annotated[HubDatasets, tyro.conf.subcommand("hub")]
)


@dataclass(frozen=True)
class Datasets:
    """The named datasets of the benchmark: list, make or verify them, or prepare them for a hub."""

    action: Annotated[Action, tyro.conf.OmitArgPrefixes] = field(default_factory=ListDatasets)
    """What to do; list where nothing is said."""

    def run(self) -> None:
        """Do what was asked for."""
        self.action.run()
