"""Runs independent tasks in this process, on this machine's cores or on a Ray cluster; what a lost worker had is run again, visibly.

One loop serves all: it hands tasks out, waits, and tells a task's own error, which would come again, from the loss of its worker (a killed
process, a dead node), which says nothing about the task. Where a task runs must not show in its result, so every one computes with one
torch thread: with several, small matrix products round differently.
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
"""How often a task is started before the loss of its worker counts as its failure."""

MAX_WORKERS = 4096
LOOK_S = 0.5
"""Seconds between looks at whether the user interrupted."""


class LostError(RuntimeError):
    """The worker that ran a task is gone."""


class StartError(ValueError):
    """No worker can start; the message says why and what to do."""


class Task(NamedTuple):
    """A call; function and arguments travel to other processes by pickle, between the user's own machines only."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    gpu: bool = False
    """Whether it needs a GPU of its own."""


class Event(NamedTuple):
    """Something worth showing."""

    kind: Literal["submitted", "done", "lost", "failed", "waiting"]
    """The last one comes again and again while tasks run, and is of none in particular."""
    task: str
    attempt: int
    """Counted from 1."""
    detail: str = ""
    """Of done: where it ran and how long; of the others: what happened."""


class Outcome(NamedTuple):
    """How a task ended."""

    number: int
    """Of the task in the sequence given to `Engine.run`, from 0."""
    value: Any
    error: Exception | None
    traceback: str = ""


class Returned(NamedTuple):
    """What comes back from wherever a task ran."""

    value: Any
    error: Exception | None
    traceback: str
    where: str
    seconds: float


Listen = Callable[[Event], None]


class Engine(ABC):
    """Runs tasks and yields their outcomes in the order in which they end; a context manager, which abandons what still runs.

    Args:
        listen: called with every event.
        attempts: how often a task is started at most.
    """

    def __init__(self, listen: Listen | None = None, attempts: int = ATTEMPTS) -> None:
        self._listen: Listen = listen or (lambda _: None)
        self._attempts = bounded_integer("attempts", attempts)

    def run(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """Every task once to its end; a task's own error is its outcome, and the others go on."""
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
        """`run` for tasks that must all succeed: yields number and value, and raises the first error."""
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

    def close(self) -> None:  # noqa: B027 - most have no past to forget
        """Give back processes and connections."""

    # --- Inside ---

    def _tell(self, kind: Any, task: Task, attempt: int, detail: str = "") -> None:
        self._listen(Event(kind, task.name, attempt, detail))

    def _outcome(self, k: int, task: Task, attempt: int, handle: Hashable) -> Outcome | None:
        """None where the task has to be started again."""
        try:
            returned = self._result(handle)
        except LostError as error:
            if attempt < self._attempts:
                self._tell("lost", task, attempt, f"{error}; starting it again")
                return None
            returned = Returned(
                None,
                LostError(f"{task.name} was started {attempt} times and lost every time: {error}"),
                "",
                "",
                0,
            )
        except StartError:  # no task would fare better
            raise
        except (
            Exception
        ) as error:  # it would come again, as where the result cannot be brought back
            returned = Returned(None, error, traceback.format_exc(), "", 0)
        if returned.error is not None:
            self._tell(
                "failed", task, attempt, f"{type(returned.error).__name__}: {returned.error}"
            )
        else:
            self._tell("done", task, attempt, f"{returned.where}, {returned.seconds:.1f} s")
        return Outcome(k, returned.value, returned.error, returned.traceback)

    @abstractmethod
    def _submit(self, task: Task) -> Hashable | None:
        """Start a task, or None where there is no room for it now."""

    @abstractmethod
    def _finished(self, handles: list[Hashable]) -> list[Hashable]:
        """Those that ended; waits a moment where none did."""

    @abstractmethod
    def _result(self, handle: Hashable) -> Returned:
        """What a finished task returned; `LostError` where its worker is gone."""

    @abstractmethod
    def _abandon(self, handles: list[Hashable]) -> None:
        """Stop what nobody waits for any more."""


class Serial(Engine):
    """One task after the other in this process."""

    def __init__(self, listen: Listen | None = None) -> None:
        super().__init__(listen, attempts=1)
        self._done: dict[Hashable, Returned] = {}

    def _submit(self, task: Task) -> Hashable | None:
        if self._done:  # the last outcome first, so that none waits in memory
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
    began = time.perf_counter()
    value, failure, told = None, None, ""
    with one_torch_thread():
        try:
            value = function(*arguments)
        except Exception as error:  # of the task's own; the caller decides
            failure, told = error, traceback.format_exc()
        except SystemExit as error:  # ends the task, not who runs it
            failure, told = RuntimeError(f"SystemExit: {error}"), traceback.format_exc()
    return Returned(
        value, failure, told, f"{socket.gethostname()}:{os.getpid()}", time.perf_counter() - began
    )


def call_afar(
    function: Callable[..., Any], arguments: tuple[Any, ...], gpu: int | None = None
) -> Returned:
    """`_call`, with an error that can travel."""
    if gpu is not None:
        torch.cuda.set_device(gpu)
    returned = _call(function, arguments)
    try:
        pickle.loads(pickle.dumps(returned.error))
    except Exception:  # whatever a foreign exception's own methods raise
        returned = returned._replace(
            error=RuntimeError(f"{type(returned.error).__name__}: {returned.error}")
        )
    return returned


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within it torch computes with one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
