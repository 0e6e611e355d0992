"""The engine on this machine's cores: one process per worker, replaced when it is killed."""

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
"""Name of the processes."""
_UNGUARDED = 78
"""Exit status of a worker that met an engine while it imported the main script."""
_FROM_OUTSIDE = tuple(
    getattr(signal, name)
    for name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT")
    if hasattr(signal, name)
)
"""Signals that say nothing about the task: a process ended by another one is replaced."""
_END_S = 10.0
"""Seconds for a broken pool to collect its process."""

_attending = False
"""Whether this process is a worker that has imported everything and takes tasks."""


class Local(Engine):
    """Processes on this machine.

    Args:
        workers: how many; one per core that this process may use where None.
        listen, attempts: as for every `Engine`.

    Raises:
        ValueError: workers cannot start from the main script; the message says why and what to do.
    """

    def __init__(
        self, workers: int | None = None, listen: Listen | None = None, attempts: int = ATTEMPTS
    ) -> None:
        super().__init__(listen, attempts)
        _require_main_script()
        self.workers = (
            usable_cores() if workers is None else bounded_integer("workers", workers, MAX_WORKERS)
        )
        self._idle = [_Worker() for _ in range(self.workers)]
        self._busy: dict[Hashable, tuple[_Worker, int | None]] = {}
        self._starts = _main_module_name() is not None
        """Whether a worker is known to start; until then there is only one, which fails alone."""

    def _submit(self, task: Task) -> Hashable | None:
        if self._busy and not self._has_started():
            return None
        gpus = self._free_gpus() if task.gpu else []
        if not self._idle or (task.gpu and not gpus):
            return None
        worker, gpu = self._idle.pop(), gpus[0] if task.gpu else None
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
                f"device = 'cuda' is not available on this machine: torch {torch.__version__} finds no CUDA device"
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
        returned: Returned = pickle.loads(content)  # of a worker of this process
        return returned

    def _release(self, handle: Hashable) -> _Worker:
        worker, _ = self._busy.pop(handle)
        self._idle.append(worker)
        return worker

    def _abandon(self, handles: list[Hashable]) -> None:
        for handle in handles:
            self._release(handle).kill()

    def close(self) -> None:
        """End all processes, busy ones at once."""
        self._abandon(list(self._busy))
        for worker in self._idle:
            worker.close()


class _Context(SpawnContext):
    """Starts processes anew, and keeps the last one.

    A fork would copy torch's and numba's threads in whatever state they are.
    """

    process: multiprocessing.process.BaseProcess | None = None

    def Process(self, *args: Any, **options: Any) -> Any:  # type: ignore[override] # noqa: N802 - multiprocessing's name
        """A new process of ours."""
        self.process = super().Process(*args, **{**options, "name": _WORKER})
        return self.process


class _Worker:
    """A process that runs one task at a time and is replaced when killed; in a pool of its own, so that it takes no others along."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._context = _Context()
        self._process: Future[int] | None = None

    def submit(
        self, function: Callable[..., Any], arguments: tuple[Any, ...], gpu: int | None
    ) -> Future[bytes]:
        """Start a task, whose `Returned` comes back pickled; what cannot travel is its error."""
        try:
            content = pickle.dumps((function, arguments))
        except Exception as error:  # whatever the objects' own methods raise
            refused: Future[bytes] = Future()
            refused.set_exception(error)
            return refused
        if self._pool is not None:
            try:
                return self._pool.submit(_run, content, gpu)
            except BrokenProcessPool:  # killed, perhaps while it was idle
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
        """Say why the process is gone.

        Raises:
            LostError: it was ended from outside, which says nothing about the task.
            StartError: no worker can start.
            RuntimeError: the task itself ended it, and would do so again.
        """
        code = self._exit_code()
        if code is None or -code in _FROM_OUTSIDE:
            raise LostError("its process was killed") from None
        if code == _UNGUARDED or not self.has_started:
            raise StartError(_start_problem(code)) from None
        how = (
            f"ended itself with status {code}"
            if code >= 0
            else f"was ended by {_signal_name(-code)}"
        )
        raise RuntimeError(f"its process {how}, and would be again") from None

    def _exit_code(self) -> int | None:
        process, deadline = self._context.process, time.monotonic() + _END_S
        while process is not None and process.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.01)  # the pool's own thread collects it
        return None if process is None else process.exitcode

    def kill(self) -> None:
        """End the process and what it does."""
        if self._pool is None or self._process is None:
            return
        with suppress(BrokenProcessPool, ProcessLookupError):
            os.kill(self._process.result(), signal.SIGTERM)
        self.close()

    def close(self) -> None:
        """End the process when it has done its task."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = self._process = None


# --- Starting ---


def _require_main_script() -> None:
    """Refuse a main script that workers could not import (ValueError), before they are started."""
    if multiprocessing.current_process().name == _WORKER and not _attending:
        os._exit(
            _UNGUARDED
        )  # the worker imports the main script, which ran on to here; its parent says so
    path = getattr(sys.modules["__main__"], "__file__", None)
    if path is not None and _main_module_name() is None and not Path(path).is_file():
        raise StartError(
            f"workers cannot start: {path!r}, the main script, is no file that they can import: "
            "save it as a file, or record in this process (engine=None)"
        )


def _main_module_name() -> str | None:
    """Of a main module that was started by its name, as python -m does, which has a guard."""
    return getattr(getattr(sys.modules["__main__"], "__spec__", None), "name", None)


def _start_problem(code: int) -> str:
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


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


# --- In a worker ---


def _run(content: bytes, gpu: int | None) -> bytes:
    """Run a pickled task; errors of loading it, and of sending its value, are its own."""
    try:
        function, arguments = pickle.loads(content)
        returned = call_afar(function, arguments, gpu)
        sent = pickle.dumps(returned)
        pickle.loads(sent)
    except Exception as error:  # whatever foreign objects' own methods raise
        returned = Returned(None, RuntimeError(f"{type(error).__name__}: {error}"), "", "", 0)
        sent = pickle.dumps(returned)
    return sent


def _attend_parent() -> None:
    """In a worker: leave interruptions to the parent, and die with it, even if it was killed: nobody would take the result."""
    global _attending
    _attending = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
