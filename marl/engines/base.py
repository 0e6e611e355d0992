"""The engine interface, the loop that all engines share, and the engine in this process.

The loop submits tasks and waits for them. It distinguishes a task's own error, which a second
attempt would repeat, from the loss of its worker (a killed process, a dead node), after which the
task is started again and an event says so.

Results must not depend on where a task runs. Every task therefore computes with one torch thread:
with several, small matrix products round differently.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
import traceback
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch

from rrm_env.checks import bounded_integer

ATTEMPTS = 4
"""Most starts of a task; losing its worker in the last one is its failure."""

MAX_WORKERS = 4096
"""Most workers of an engine."""

LOOK_S = 0.5
"""Longest wait in seconds before the loop checks for interruptions and sends an event."""


class LostError(RuntimeError):
    """The worker that ran a task is gone."""


class StartError(ValueError):
    """No worker can start; the message says why and what to do."""


class Task(NamedTuple):
    """A function call. Function and arguments are pickled, for the user's own machines only."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    gpu: bool = False
    """Whether the task needs a GPU of its own."""


class Event(NamedTuple):
    """Something that happened to a task, or a sign that tasks are still running."""

    kind: Literal["submitted", "done", "lost", "failed", "waiting"]
    """``"waiting"`` is repeated while tasks run, and belongs to none of them."""
    task: str
    """The task's name."""
    attempt: int
    """The task's start that the event is about, counted from 1."""
    detail: str = ""
    """Where a done task ran and for how long, or what happened to a lost or failed one."""


class Outcome(NamedTuple):
    """How a task ended."""

    number: int
    """Index of the task in the sequence given to `Engine.run`."""
    value: Any
    error: Exception | None
    traceback: str = ""


class Returned(NamedTuple):
    """What a worker sends back about a task."""

    value: Any
    error: Exception | None
    traceback: str
    where: str
    """Host name and process id."""
    seconds: float
    """How long the call took."""


Listen = Callable[[Event], None]
"""A function that is called with every event."""


class Engine(ABC):
    """Runs tasks and yields their outcomes in the order in which they end.

    An engine is a context manager, which at its end abandons the tasks that still run.

    Args:
        listen: called with every event.
        attempts: most starts of a task.
    """

    def __init__(self, listen: Listen | None = None, attempts: int = ATTEMPTS) -> None:
        self._listen: Listen = listen or (lambda _: None)
        self._attempts = bounded_integer("attempts", attempts)

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Run every task to its end and yield the outcomes.

        A task's own error is its outcome, and the other tasks go on.

        Raises:
            StartError: no worker can start.
        """
        waiting = deque((k, 1) for k in range(len(tasks)))
        running: dict[Hashable, tuple[int, int]] = {}
        try:
            while waiting or running:
                while waiting and (handle := self._submit(tasks[waiting[0][0]])) is not None:
                    running[handle] = k, attempt = waiting.popleft()
                    self._tell("submitted", tasks[k], attempt)
                self._listen(Event("waiting", "", 0))
                for handle in self._finished(list(running)):
                    k, attempt = running.pop(handle)
                    outcome = self._outcome(k, tasks[k], attempt, handle)
                    if outcome is None:
                        waiting.appendleft((k, attempt + 1))
                    else:
                        yield outcome
        finally:
            self._abandon(list(running))

    def values(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """Run tasks that must all succeed; yields each task's number and value.

        Raises:
            Exception: the first error of a task.
        """
        outcomes = self.run(tasks)
        try:
            for outcome in outcomes:
                if outcome.error is not None:
                    raise outcome.error
                yield outcome.number, outcome.value
        finally:
            outcomes.close()  # type: ignore[attr-defined] # a generator

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - not every engine has something to release
        """Release processes and connections."""

    # --- Inside ---

    def _tell(self, kind: Any, task: Task, attempt: int, detail: str = "") -> None:
        self._listen(Event(kind, task.name, attempt, detail))

    def _outcome(self, k: int, task: Task, attempt: int, handle: Hashable) -> Outcome | None:
        """The outcome of a task that ended; None where it has to be started again."""
        try:
            returned = self._result(handle)
        except LostError as error:
            if attempt < self._attempts:
                self._tell("lost", task, attempt, f"{error}; starting it again")
                return None
            message = f"{task.name} was started {attempt} times and lost every time: {error}"
            returned = Returned(None, LostError(message), "", "", 0)
        except StartError:  # no other task could start either
            raise
        except Exception as error:  # such as a result that cannot be unpickled: no second attempt
            returned = Returned(None, error, traceback.format_exc(), "", 0)
        if returned.error is not None:
            reason = f"{type(returned.error).__name__}: {returned.error}"
            self._tell("failed", task, attempt, reason)
        else:
            self._tell("done", task, attempt, f"{returned.where}, {returned.seconds:.1f} s")
        return Outcome(k, returned.value, returned.error, returned.traceback)

    @abstractmethod
    def _submit(self, task: Task) -> Hashable | None:
        """Start a task and return its handle; None where no worker is free for it."""

    @abstractmethod
    def _finished(self, handles: list[Hashable]) -> list[Hashable]:
        """The handles of tasks that ended, after waiting up to `LOOK_S` for one."""

    @abstractmethod
    def _result(self, handle: Hashable) -> Returned:
        """What the worker of an ended task sent back.

        Raises:
            LostError: the worker is gone.
            StartError: no worker can start.
        """

    @abstractmethod
    def _abandon(self, handles: list[Hashable]) -> None:
        """Stop running tasks."""


class Serial(Engine):
    """Runs one task after the other in this process."""

    def __init__(self, listen: Listen | None = None) -> None:
        super().__init__(listen, attempts=1)
        self._done: dict[Hashable, Returned] = {}

    def _submit(self, task: Task) -> Hashable | None:
        if self._done:  # its outcome is yielded first, so that only one is in memory
            return None
        handle = object()
        self._done[handle] = _call(task.function, task.arguments)
        return handle

    def _finished(self, handles: list[Hashable]) -> list[Hashable]:
        return handles

    def _result(self, handle: Hashable) -> Returned:
        return self._done.pop(handle)

    def _abandon(self, handles: list[Hashable]) -> None:  # noqa: ARG002 - the interface asks for it
        self._done.clear()


def _call(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Returned:
    """Call a function with one torch thread, and catch its error."""
    began = time.perf_counter()
    value: Any = None
    failure: Exception | None = None
    trace = ""
    with one_torch_thread():
        try:
            value = function(*arguments)
        except Exception as error:
            failure, trace = error, traceback.format_exc()
        except SystemExit as error:  # it must end the task only, not the process that runs it
            failure, trace = RuntimeError(f"SystemExit: {error}"), traceback.format_exc()
    where = f"{socket.gethostname()}:{os.getpid()}"
    return Returned(value, failure, trace, where, time.perf_counter() - began)


def call_afar(
    function: Callable[..., Any], arguments: tuple[Any, ...], gpu: int | None = None
) -> Returned:
    """Call a function in a worker; an error that cannot be pickled becomes a `RuntimeError`.

    Args:
        function: what to call.
        arguments: its positional arguments.
        gpu: the CUDA device to make current; none where None.
    """
    if gpu is not None:
        torch.cuda.set_device(gpu)
    returned = _call(function, arguments)
    try:
        pickle.loads(pickle.dumps(returned.error))
    except Exception:  # methods of foreign exceptions may raise anything
        message = f"{type(returned.error).__name__}: {returned.error}"
        returned = returned._replace(error=RuntimeError(message))
    return returned


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute with one thread inside the ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
