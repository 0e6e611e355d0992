"""Progress bars and lines in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from marl.engines.base import Event


class Bar:
    """A progress bar on standard error, if that is a terminal, with lines printed above it."""

    def __init__(self, progress: Progress, what: str, total: int) -> None:
        self._progress, self._task = progress, progress.add_task(what, total=total)

    def __call__(self, done: int) -> None:
        """Advance the progress bar by `done` steps."""
        self._progress.advance(self._task, done)

    def reach(self, done: int, total: int) -> None:
        """Set the progress bar to `done` of `total` steps."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, text: str) -> None:
        """Print a line on standard error, also where that is no terminal."""
        self._progress.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def losses(self, event: Event) -> None:
        """Print an engine's events about lost workers; all others are left out."""
        if event.kind == "lost":
            self.say(f"lost: {event.task}, attempt {event.attempt}: {event.detail}")


@contextmanager
def progress(what: str, total: int) -> Iterator[Bar]:
    """Show a progress bar while the ``with`` block runs.

    Args:
        what: the text beside the bar.
        total: number of steps; the bar is called with each number of steps just done.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield Bar(progress, what, total)


@contextmanager
def training_progress(updates: int) -> Iterator[Callable[[int, dict[str, Any]], None]]:
    """Show the progress of training: a bar with the newest losses, a line for each evaluation.

    Gives a function to call with the number of updates done and the newest entry of the log.

    Args:
        updates: number of updates altogether.
    """
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

        def report(done: int, entry: dict[str, Any]) -> None:
            losses = [
                f"{name} {np.mean(values):.3g}"
                for name, values in entry.items()
                if isinstance(values, list)
            ]
            progress.update(task, completed=done, description="  ".join(losses))
            if "evaluation" not in entry:
                return
            evaluation = entry["evaluation"]
            kpis = [f"{name} {np.mean(values):.3f}" for name, values in evaluation.items()]
            steps = ""
            if "environment_steps" in entry:
                steps = f" ({entry['environment_steps']:,} environment steps)"
            # Without a terminal, evaluations go to standard output.
            output = progress.console if console.is_terminal else Console()
            output.print(f"update {done:,}{steps}: {'  '.join(kpis)}", highlight=False)

        yield report
