"""Measures everything that docs/performance.md states, one part after the other.

``python examples/benchmarks/performance.py`` runs the benchmarks of the environment, of schedulers
and the optimum, of recorded channels and of learners, each in a process of its own, and writes
their results to docs/results and the page's tables. It takes ten minutes on two cores, and should
have the machine to itself: two programs at once measure each other. A part that fails leaves its
results as they were, and the others run all the same.

``--parts`` measures some parts anew. ``--quick`` runs all in miniature and writes nothing.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from rrm_env.checks import nearest
from rrm_env.exit_status import status_of

FOLDER = Path("examples/benchmarks")
TABLES = Path("examples/paper/tables.py")


@dataclass(frozen=True)
class Part:
    """A benchmark of the page."""

    script: str
    results: str
    """Its file in docs/results, given to the script as ``--json``."""
    options: tuple[str, ...] = ()
    """Further options of the full measurement."""
    quick: tuple[str, ...] = ("--quick",)
    """Options that measure in miniature."""


PARTS = {
    "environment": Part(
        "environment.py",
        "benchmark_environment.json",
        ("--rounds", "25"),
        ("--rounds", "1", "--batch", "8", "--steps", "5"),
    ),
    "deciding": Part("deciding.py", "benchmark_deciding.json"),
    "traces": Part("traces.py", "traces.json"),
    "learners": Part(
        "learners.py",
        "benchmark_learners.json",
        ("--rounds", "7", "--bfloat16", "--compile"),
        quick=("--rounds", "1", "--updates", "1", "--no-peer"),
    ),
}


@dataclass(frozen=True)
class Options:
    """What to measure."""

    parts: tuple[str, ...] = field(default_factory=lambda: tuple(PARTS))
    """Parts to measure, by name."""
    quick: bool = False
    """Measure in miniature, in about a minute, and write nothing."""

    def __post_init__(self) -> None:
        for name in self.parts:
            if name not in PARTS:
                raise ValueError(f"unknown part {nearest(name, PARTS)}")


def command_of(part: Part, quick: bool) -> list[str]:
    """The command that measures a part."""
    options = part.quick if quick else (*part.options, "--json", f"docs/results/{part.results}")
    return [sys.executable, str(FOLDER / part.script), *options]


def main(options: Options) -> None:
    """Run the parts, and write the tables of what they measured."""
    if not TABLES.exists():
        raise ValueError(f"{TABLES} is not here: run this from the root of the repository")
    failed = []
    for name in options.parts:
        command = command_of(PARTS[name], options.quick)
        print(f"== {name}: python {' '.join(command[1:])}", flush=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    if not options.quick:
        subprocess.run([sys.executable, str(TABLES)], stdout=subprocess.DEVNULL, check=True)
    if failed:
        raise OSError(f"could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
