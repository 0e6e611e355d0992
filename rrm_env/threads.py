"""A job over a range of episodes, shared between the calling thread and helpers."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Job = Callable[[int, int, int], Any]
"""Takes the thread's index and its range, start and stop; releases the interpreter lock while it works."""

_AHEAD_S = 5e-6
"""How long before the caller the helpers should finish: a caller that has to sleep for them wakes late."""


class Threads:
    """Splits ranges between `count` threads, the calling one included.

    Helpers start tens of microseconds after the caller, the time a sleeping thread takes to wake, so equal parts would leave the caller
    waiting. The caller's share follows the measured finishing times instead. Which thread does what never shows in the results.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._share = 1 / count
        self._helpers: list[tuple[SimpleQueue[Any], SimpleQueue[Any]]] = []
        self._owner = 0

    def run(self, job: Job, size: int) -> list[Any]:
        """What `job` returned for each part of range(size), in order. The first exception is raised once all threads are done."""
        if self.count == 1:
            return [job(0, 0, size)]
        began = time.perf_counter()
        first = round(size * self._share)
        bounds = [first + (size - first) * k // (self.count - 1) for k in range(self.count)]
        helpers = self._started()
        for k, (inbox, _) in enumerate(helpers):
            inbox.put((job, k + 1, bounds[k], bounds[k + 1]))
        outcomes = [_attempt(job, 0, 0, first), *(outbox.get() for _, outbox in helpers)]
        ends = [end for _, _, end in outcomes]
        self._adapt(ends[0] - max(ends[1:]), max(ends) - began)
        for _, error, _ in outcomes:
            if error is not None:
                raise error
        return [result for result, _, _ in outcomes]

    def _adapt(self, late: float, total: float) -> None:
        """Move the caller's share against its lateness, slowly, since a helper may have been held up by another program."""
        step = max(-0.05, min(0.05, (late - _AHEAD_S) / total / self.count))
        self._share = max(0.0, min(1.0, self._share - 0.25 * step))

    def _started(self) -> list[tuple[SimpleQueue[Any], SimpleQueue[Any]]]:
        if self._owner != os.getpid():  # threads do not survive a fork
            self._helpers = [(SimpleQueue(), SimpleQueue()) for _ in range(self.count - 1)]
            self._owner = os.getpid()
            for inbox, outbox in self._helpers:
                threading.Thread(target=_help, args=(inbox, outbox), daemon=True).start()
                weakref.finalize(self, inbox.put, None)
        return self._helpers

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_helpers": [], "_owner": 0}


def _attempt(job: Job, index: int, start: int, stop: int) -> tuple[Any, BaseException | None, float]:
    try:
        return job(index, start, stop), None, time.perf_counter()
    except BaseException as error:  # handed to the caller
        return None, error, time.perf_counter()


def _help(inbox: SimpleQueue[Any], outbox: SimpleQueue[Any]) -> None:
    while (task := inbox.get()) is not None:
        outbox.put(_attempt(*task))
        del task  # the last job would otherwise keep its network alive
