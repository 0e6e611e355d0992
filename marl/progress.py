"""Progress in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar, where the terminal shows one; it yields a function that takes what was just done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def training_progress(updates: int) -> Iterator[Callable[[int, dict[str, Any]], None]]:
    """A bar with the newest loss parts under it, and a line for every evaluation."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.completed}/{task.total}"), BarColumn(20), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=updates)

        def report(done: int, record: dict[str, Any]) -> None:
            parts = {name: float(np.mean(value)) for name, value in record.items() if isinstance(value, list)}
            progress.update(task, completed=done, description="  ".join(f"{name} {value:.3g}" for name, value in parts.items()))
            if "evaluation" in record:
                kpis = "  ".join(f"{name} {np.mean(values):.3f}" for name, values in record["evaluation"].items())
                (progress.console if console.is_terminal else Console()).print(f"update {done:,}: {kpis}", highlight=False)

        yield report
