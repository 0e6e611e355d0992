"""Threads that share a job over a range of episodes with the calling thread.

`concurrent.futures.ThreadPoolExecutor` would do the same with less code. It was slower: its threads
sleep between steps, and waking them takes long compared with the half millisecond of a step.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config as numba_config
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from rrm_env.compiling import compiled

Job = Callable[[int, int, int], Any]
"""A function of the thread's index and its range, start and stop.

It should release the interpreter lock while it works.
"""

_AHEAD_S = 10e-6
"""How long before the caller the helpers should finish, so that it need not wait for them."""
_SPINS = 150_000
"""How often a waiting thread reads a counter before it goes to sleep.

This takes some 50 microseconds, about twice what waking up would take.
"""


@intrinsic
def _load(_context: Any, counter: Any) -> Any:
    """Read the first element of an int64 array from memory.

    The compiler would move an ordinary read out of a loop.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=arguments[0])
        return builder.load_atomic(
            builder.bitcast(array.data, ir.IntType(64).as_pointer()), "acquire", 8
        )

    return types.int64(counter), generate


@compiled(nogil=True)
def _spin(counter: Any, seen: int) -> None:
    """Return once the counter differs from the value seen, or after `_SPINS` reads."""
    for _ in range(_SPINS):
        if _load(counter) != seen:
            return


class _Mailbox:
    """A queue whose reader spins for a while, without the interpreter lock, before it sleeps."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        # Two cache lines long, so that no other counter is on the same line.
        self._counter: NDArray[np.int64] = np.zeros(16, np.int64)
        self._taken = 0

    def put(self, item: Any) -> None:
        """Add an item."""
        self._queue.put(item)
        self._counter[0] += 1

    def get(self) -> Any:
        """Wait for the next item and return it."""
        if self._queue.empty() and not numba_config.DISABLE_JIT:
            _spin(self._counter, self._taken)
        item = self._queue.get()
        self._taken += 1
        return item


class Threads:
    """Splits ranges between `count` threads, including the calling one.

    Helpers start later than the caller, above all when they had gone to sleep, so with equal parts
    the caller would have to wait. Its share follows the measured finishing times instead. Results
    do not depend on which thread does what.

    One job runs at a time: a call of `run` from another thread meanwhile is refused.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._busy = threading.Lock()
        self._share = 1 / count
        self._helpers: list[tuple[_Mailbox, _Mailbox, threading.Thread]] = []
        self._owner = 0

    def run(self, job: Job, size: int) -> list[Any]:
        """Run a job on the parts of range(size) and return the results in order.

        The first exception of a part is raised once all threads are done.

        Raises:
            RuntimeError: another thread's job is running.
        """
        if not self._busy.acquire(False):
            raise RuntimeError(
                "another thread is in this network: give each thread a Network of its own"
            )
        try:
            return [job(0, 0, size)] if self.count == 1 else self._run(job, size)
        finally:
            self._busy.release()

    def _run(self, job: Job, size: int) -> list[Any]:
        began = time.perf_counter()
        first = round(size * self._share)
        bounds = [first + (size - first) * k // (self.count - 1) for k in range(self.count)]
        helpers = self._started()
        for k, (inbox, _, _) in enumerate(helpers):
            inbox.put((job, k + 1, bounds[k], bounds[k + 1]))
        try:
            outcomes = [_attempt(job, 0, 0, first), *(outbox.get() for _, outbox, _ in helpers)]
        except BaseException:  # after an interruption, late results must not reach the next run
            self._dismiss()
            raise
        ends = [end for _, _, end in outcomes]
        self._adapt(ends[0] - max(ends[1:]), max(ends) - began)
        for _, error, _ in outcomes:
            if error is not None:
                raise error
        return [result for result, _, _ in outcomes]

    def _adapt(self, late: float, total: float) -> None:
        """Move the caller's share against its lateness.

        It moves slowly, since another program may have held up a helper.
        """
        step = max(-0.05, min(0.05, (late - _AHEAD_S) / total / self.count))
        self._share = max(0.0, min(1.0, self._share - 0.25 * step))

    def _started(self) -> list[tuple[_Mailbox, _Mailbox, threading.Thread]]:
        if self._owner != os.getpid():  # threads do not survive a fork
            self._helpers, self._owner = [], os.getpid()
            for _ in range(self.count - 1):
                inbox, outbox = _Mailbox(), _Mailbox()
                thread = threading.Thread(target=_help, args=(inbox, outbox), daemon=True)
                thread.start()
                weakref.finalize(self, inbox.put, None)
                self._helpers.append((inbox, outbox, thread))
        return self._helpers

    def _dismiss(self) -> None:
        """Let the helpers finish their parts and end; the next run starts others."""
        helpers, self._helpers, self._owner = self._helpers, [], 0
        for inbox, _, thread in helpers:
            inbox.put(None)
            thread.join()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_helpers": [], "_owner": 0, "_busy": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _busy=threading.Lock())


def _attempt(
    job: Job, index: int, start: int, stop: int
) -> tuple[Any, BaseException | None, float]:
    try:
        return job(index, start, stop), None, time.perf_counter()
    except BaseException as error:  # raised again in the calling thread
        return None, error, time.perf_counter()


def _help(inbox: _Mailbox, outbox: _Mailbox) -> None:
    while (task := inbox.get()) is not None:
        outbox.put(_attempt(*task))
        del task  # otherwise the last job would keep its network alive
