"""The engine on this machine's cores, with one process per worker."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.context import SpawnContext
from pathlib import Path
from typing import Any, NoReturn

import torch

from marl.engines.base import (
    ATTEMPTS,
    LOOK_S,
    MAX_WORKERS,
    Engine,
    Listen,
    LostError,
    Returned,
    StartError,
    Task,
    call_afar,
)
from rrm_env.checks import bounded_integer
from rrm_env.limits import usable_cores

_WORKER = "rrm_env worker"
"""Name of the worker processes."""
_UNGUARDED = 78
"""Exit status of a worker in which importing the main script opens an engine."""
_OUTSIDE_SIGNALS = ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
"""Signals that come from outside the task: after them it is started again in a new process."""
_ENDED_BY_WINDOWS = {1, int(signal.SIGTERM), -int(signal.SIGTERM), 0xC000013A}
"""Exit statuses of processes that were ended from outside on Windows, which has no such signals.

They are those of the task manager, `os.kill`, `multiprocessing` and a closed console.
"""
_END_S = 10.0
"""Seconds to wait for the exit status of a process whose pool is broken."""

_attending = False
"""Whether this process is a worker that has imported everything and takes tasks."""


class Local(Engine):
    """Runs tasks in processes on this machine; a process that is killed is replaced.

    Args:
        workers: number of processes; one per core that this process may use where None.
        listen, attempts: as for every `Engine`.

    Raises:
        ValueError: workers cannot start from the main script; the message says why and what to do.
    """

    def __init__(
        self, workers: int | None = None, listen: Listen | None = None, attempts: int = ATTEMPTS
    ) -> None:
        super().__init__(listen, attempts)
        _require_main_script()
        if workers is None:
            self.workers = usable_cores()
        else:
            self.workers = bounded_integer("workers", workers, MAX_WORKERS)
        self._idle = [_Worker() for _ in range(self.workers)]
        self._busy: dict[Hashable, tuple[_Worker, int | None]] = {}
        self._starts = _main_module_name() is not None
        """Whether a worker has started; until then there is only one, so only one can fail."""

    def _submit(self, task: Task) -> Hashable | None:
        if self._busy and not self._has_started():
            return None
        gpus = self._free_gpus() if task.gpu else []
        if not self._idle or (task.gpu and not gpus):
            return None
        worker = self._idle.pop()
        gpu = gpus[0] if task.gpu else None
        future = worker.submit(task.function, task.arguments, gpu)
        self._busy[future] = worker, gpu
        return future

    def _has_started(self) -> bool:
        self._starts = self._starts or any(worker.has_started for worker, _ in self._busy.values())
        return self._starts

    def _free_gpus(self) -> list[int]:
        count = torch.cuda.device_count()
        if count == 0:
            raise ValueError(
                "device = 'cuda' is not available on this machine: "
                f"torch {torch.__version__} finds no CUDA device"
            )
        taken = [gpu for _, gpu in self._busy.values()]
        return [gpu for gpu in range(count) if gpu not in taken]

    def _finished(self, handles: list[Hashable]) -> list[Hashable]:
        futures: list[Future[bytes]] = handles  # type: ignore[assignment]
        return list(wait(futures, timeout=LOOK_S, return_when=FIRST_COMPLETED).done)

    def _result(self, handle: Hashable) -> Returned:
        worker = self._release(handle)
        try:
            content = handle.result()  # type: ignore[attr-defined] # a future
        except BrokenProcessPool:
            worker.raise_cause()
        self._starts = True
        returned: Returned = pickle.loads(content)  # trusted: from a worker of this process
        return returned

    def _release(self, handle: Hashable) -> _Worker:
        worker, _ = self._busy.pop(handle)
        self._idle.append(worker)
        return worker

    def _abandon(self, handles: list[Hashable]) -> None:
        for handle in handles:
            self._release(handle).kill()

    def close(self) -> None:
        """End all processes; busy ones are killed."""
        self._abandon(list(self._busy))
        for worker in self._idle:
            worker.close()


class _Context(SpawnContext):
    """Spawns processes and remembers the last one.

    Forking would copy the threads of torch and numba in an arbitrary state.
    """

    process: multiprocessing.process.BaseProcess | None = None
    """The process that was started last."""

    def Process(self, *args: Any, **options: Any) -> Any:  # type: ignore[override] # noqa: N802 - multiprocessing's name
        """A new process with the name of a worker."""
        self.process = super().Process(*args, **{**options, "name": _WORKER})
        return self.process


class _Worker:
    """A process that runs one task at a time and is replaced when it is killed.

    It has a pool of its own, because a killed process breaks all others in its pool.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._context = _Context()
        self._process: Future[int] | None = None

    def submit(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], gpu: int | None
    ) -> Future[bytes]:
        """Start a task; the result is a pickled `Returned`, or the error of pickling the task."""
        try:
            content = pickle.dumps((function, arguments))
        except Exception as error:  # the objects' own methods may raise anything
            refused: Future[bytes] = Future()
            refused.set_exception(error)
            return refused
        if self._pool is not None:
            try:
                return self._pool.submit(_run, content, gpu)
            except BrokenProcessPool:  # the process was killed, possibly while idle
                self._pool.shutdown()
        self._pool = ProcessPoolExecutor(1, self._context, initializer=_attend_parent)
        self._process = self._pool.submit(os.getpid)
        return self._pool.submit(_run, content, gpu)

    @property
    def has_started(self) -> bool:
        """Whether the process has imported the main script and takes tasks."""
        started = self._process
        return started is not None and started.done() and started.exception() is None

    def raise_cause(self) -> NoReturn:
        """Raise the error that says why the process is gone.

        Raises:
            LostError: it was killed from outside, so the task may be started again.
            StartError: no worker can start.
            RuntimeError: the task itself ended it, and would do so again.
        """
        code = self._exit_code()
        if code is None or _was_killed(code):
            raise LostError("its process was killed") from None
        if code == _UNGUARDED or not self.has_started:
            raise StartError(_start_problem(code)) from None
        how = f"ended itself with status {code}"
        if code < 0:
            how = f"was ended by {_signal_name(-code)}"
        raise RuntimeError(f"its process {how}, and would be again") from None

    def _exit_code(self) -> int | None:
        process, deadline = self._context.process, time.monotonic() + _END_S
        while process is not None and process.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.01)  # a thread of the pool waits for the process
        return None if process is None else process.exitcode

    def kill(self) -> None:
        """End the process at once."""
        if self._pool is None or self._process is None:
            return
        with suppress(BrokenProcessPool, ProcessLookupError):
            self._process.result()  # it has started
            if self._context.process is not None:
                self._context.process.terminate()
        self.close()

    def close(self) -> None:
        """End the process after its task."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = self._process = None


# --- Starting ---


def _require_main_script() -> None:
    """Check that workers can import the main script.

    Raises:
        StartError: it is not a file.
    """
    if multiprocessing.current_process().name == _WORKER and not _attending:
        # This worker is still importing the main script, which has no guard; the parent explains.
        os._exit(_UNGUARDED)
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is not None and _main_module_name() is None and not Path(path).is_file():
        raise StartError(
            f"workers cannot start: {path!r}, the main script, is no file that they can import: "
            "save it as a file, or record in this process (engine=None)"
        )


def _main_module_name() -> str | None:
    """Name of a main module started by ``python -m``, which has a guard; None otherwise."""
    return getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None)


def _start_problem(code: int) -> str:
    """Why no worker can start and what to do, from the exit status of the first."""
    path = getattr(sys.modules["__main__"], "__file__", "the main script")
    if code == _UNGUARDED:
        return (
            f"workers cannot start: they import {path!r}, which starts an engine of its own on "
            'import: put what it does under if __name__ == "__main__":'
        )
    return (
        f"workers cannot start: importing {path!r} fails in them (the error is above, exit status "
        f'{code}): put what only the main script can do under if __name__ == "__main__":'
    )


def _was_killed(code: int, system: str = os.name) -> bool:
    """Whether a process with this exit status was ended from outside, POSIX or Windows ("nt")."""
    if system == "nt":
        return code in _ENDED_BY_WINDOWS
    return code < 0 and _signal_name(-code) in _OUTSIDE_SIGNALS


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- In a worker ---


def _run(content: bytes, gpu: int | None) -> bytes:
    """Run a pickled task; errors of unpickling it, or of pickling its value, are its error."""
    try:
        function, arguments = pickle.loads(content)
        returned = call_afar(function, arguments, gpu)
        sent = pickle.dumps(returned)
        pickle.loads(sent)
    except Exception as error:  # methods of foreign objects may raise anything
        returned = Returned(None, RuntimeError(f"{type(error).__name__}: {error}"), "", "", 0)
        sent = pickle.dumps(returned)
    return sent


def _attend_parent() -> None:
    """Leave interruptions to the parent process, and end when it ends, even if it was killed."""
    global _attending
    _attending = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
