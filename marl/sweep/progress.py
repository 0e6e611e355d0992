"""How far the work of a sweep is: tasks that ended, and updates that the logs of runs state."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from marl.engines.base import Event
from marl.runs.checkpoint import LOG, read_log

LOOK_S = 2.0
"""Seconds between looks at the logs of running cells."""

SPEAK_S = 60.0
"""Seconds between lines about running cells."""


class Progress:
    """Counts of tasks and updates.

    Args:
        tasks: how many tasks there are; 0 where their ends are not counted.
        runs: folders of trainings, and the number of updates of each.
    """

    def __init__(self, tasks: int = 0, runs: Mapping[Path, int] | None = None) -> None:
        self._tasks = tasks
        self._ended = 0
        self._runs = dict(runs or {})
        self.updates = sum(self._runs.values())
        """Updates of all runs together."""
        self._done = dict.fromkeys(self._runs, 0)
        self._looked = self._spoke = time.monotonic()

    def count(self, event: Event) -> str | None:
        """Count an event; what to print after its kind, None where it deserves no line."""
        if event.kind == "lost":
            return ""
        if event.kind == "submitted" or (not self._tasks and event.kind == "done"):
            return None
        self._ended += 1
        return f" {self._ended}/{self._tasks}" if self._tasks else ""

    def look(self) -> int | None:
        """Updates done according to the logs; None without runs, or sooner than `LOOK_S`."""
        if not self._runs or time.monotonic() - self._looked < LOOK_S:
            return None
        self._looked = time.monotonic()
        for run, updates in self._runs.items():
            if self._done[run] < updates and (run / LOG).exists():
                self._done[run] = max((record["update"] for record in read_log(run)), default=0)
        return sum(self._done.values())

    def is_time_to_speak(self) -> bool:
        """Whether `SPEAK_S` passed since this was last true."""
        due = time.monotonic() - self._spoke > SPEAK_S
        self._spoke = time.monotonic() if due else self._spoke
        return due
