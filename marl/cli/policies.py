"""The command that lists the policies which come with the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marl.data.storage import parse_json, read_safetensors
from marl.graph.files import FOLDER, SUFFIX


@dataclass(frozen=True)
class Shipped:
    """A file of a trained policy that comes with the package."""

    path: Path
    numbers: int
    """Parameters, and other numbers that its file holds."""
    metadata: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name without the folder and the suffix."""
        return self.path.stem

    @property
    def is_graph(self) -> bool:
        """Whether it is a graph policy, which has a name among schedulers."""
        return "graph" in self.metadata

    @property
    def trained(self) -> str:
        """What it was trained on and how, as its file says."""
        training = self.metadata.get("training", {})
        training = training if isinstance(training, Mapping) else {}
        options = training.get("options", training)
        if not isinstance(options, Mapping) or not options:
            return "not stated"
        return _listed({name: value for name, value in options.items() if value is not False})

    @property
    def scores(self) -> str:
        """The KPIs that its file states."""
        found = self.metadata.get("scores", self.metadata.get("kpis", {}))
        return _listed(found) if isinstance(found, Mapping) and found else "not stated"

    @property
    def use(self) -> str:
        """How it is used."""
        if self.is_graph:
            spec = "graph" if self.name == "graph" else f"graph:policy={self.name}"
            return f"python -m baselines --schedulers {spec}"
        return "recorded by named datasets: python -m marl datasets"


def shipped_policies(folder: Path = FOLDER) -> Iterator[Shipped]:
    """The policies in a folder, in the order of their names.

    Raises:
        ValueError: a file cannot be read.
    """
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        tensors, header = read_safetensors(path, _refusal_of(path))
        try:
            described = parse_json(header.get("description", "{}"))
        except ValueError as error:
            raise _refusal_of(path)(str(error)) from None
        metadata = described if isinstance(described, Mapping) else {}
        yield Shipped(path, sum(tensor.numel() for tensor in tensors.values()), metadata)


def _refusal_of(path: Path) -> Any:
    return lambda reason: ValueError(f"{str(path)!r}: {reason}")


def _listed(values: Any) -> str:
    """Values by name as one text."""
    if isinstance(values, Mapping):
        return ", ".join(f"{name} {_listed(value)}" for name, value in values.items())
    if isinstance(values, (list, tuple)):
        return " and ".join(map(_listed, values))
    return f"{values:.3f}" if isinstance(values, float) else str(values)


@dataclass(frozen=True)
class Policies:
    """List the trained policies that come with the package, and how to use them."""

    def run(self) -> None:
        """Print a table for each policy."""
        for entry in shipped_policies():
            kilobytes = entry.path.stat().st_size / 1000
            grid = Table(
                title=escape(entry.name), box=box.SIMPLE, show_header=False, title_justify="left"
            )
            for name, text in (
                ("holds", f"{entry.numbers:,} numbers, {kilobytes:.0f} kB"),
                ("trained with", entry.trained),
                ("scores", entry.scores),
                ("use", entry.use),
            ):
                grid.add_row(name, escape(text))
            Console().print(grid)
