"""Waiting for processes, and recording the events of an engine."""

from __future__ import annotations

import time
from typing import Any

import psutil

from marl.engines.base import Event


def wait_until(condition: Any, seconds: float = 120) -> None:
    """Wait until the condition holds; the limit allows for a busy machine."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        found: bool = psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    return found


class EventRecorder:
    """A listener that keeps the events of an engine."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Keep an event, unless it only says that the engine waits."""
        if event.kind != "waiting":
            self.events.append(event)

    def recorded(self, kind: str) -> list[tuple[str, int]]:
        """Task and attempt of every event of this kind."""
        return [(event.task, event.attempt) for event in self.events if event.kind == kind]
