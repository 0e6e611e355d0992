"""Progress in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from marl.engines.base import Event


class Bar:
    """A bar on standard error where that is a terminal, and lines above it."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._task = progress, progress.add_task(what, total=total)

    def __call__(self, done: int) -> None:
        """So much was just done."""
        self._progress.advance(self._task, done)

    def reach(self, done: int, total: int) -> None:
        """So much has been done altogether, of so much."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """A line, terminal or not."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def losses(self, event: Event) -> None:
        """What an engine tells of lost workers; its other news are the bar's or an error's."""
        if event.kind == "lost":
            self.say(f"lost: {event.task}, attempt {event.attempt}: {event.detail}")


@contextmanager
def progress(what: str, total: int) -> Iterator[Bar]:
    """A bar, where the terminal shows one; called with what was just done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield Bar(progress, what, total)


@contextmanager
def training_progress(updates: int) -> Iterator[Callable[[int, dict[str, Any]], None]]:
    """A bar with the newest loss parts under it, and a line for every evaluation."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(20),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=updates)

        def report(done: int, record: dict[str, Any]) -> None:
            parts = {
                name: float(np.mean(value))
                for name, value in record.items()
                if isinstance(value, list)
            }
            progress.update(
                task,
                completed=done,
                description="  ".join(f"{name} {value:.3g}" for name, value in parts.items()),
            )
            if "evaluation" in record:
                kpis = "  ".join(
                    f"{name} {np.mean(values):.3f}" for name, values in record["evaluation"].items()
                )
                steps = (
                    f" ({record['environment_steps']:,} environment steps)"
                    if "environment_steps" in record
                    else ""
                )
                (progress.console if console.is_terminal else Console()).print(
                    f"update {done:,}{steps}: {kpis}", highlight=False
                )

        yield report
