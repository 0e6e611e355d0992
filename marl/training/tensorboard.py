"""Log entries of training for TensorBoard, where that can be imported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from marl.runs.checkpoint import EVENTS
from rrm_env.files import storing
from rrm_env.optional import leave_out, reason, welcome

_LESS_TO_SHOW = "TensorBoard shows less than the log, which is whole"
_ALL_IS_LOGGED = "the log in the run's folder holds the same values"


@contextmanager
def tensorboard(folder: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Open a run's TensorBoard files; gives the function that writes a log entry to them.

    The function does nothing where TensorBoard is missing or broken.

    Args:
        folder: the run's folder.

    Raises:
        WriteError: the system refuses to store the files.
    """
    module = welcome("torch.utils.tensorboard", "tensorboard", _ALL_IS_LOGGED)
    if module is None:
        yield lambda _: None
        return
    board = _Board(folder / EVENTS, module)
    with _QUIET_THREADS:
        try:
            yield board.write
        except BaseException:
            with suppress(OSError):  # the first error says more
                board.close()
            raise
        else:
            board.close()


class _Board:
    """TensorBoard's writer, which is given up after an error of TensorBoard itself."""

    def __init__(self, events: Path, module: Any) -> None:
        self._events, self._writer = events, None
        with self._leaving_out():
            self._writer = module.SummaryWriter(str(events))

    def write(self, record: dict[str, Any]) -> None:
        """Add all numbers of a log entry."""
        writer: Any = self._writer
        if writer is None:
            return
        with self._leaving_out():
            for name, values in {**record, **record.get("evaluation", {})}.items():
                if isinstance(values, list):
                    for k, value in enumerate(values):
                        writer.add_scalar(f"{name}/seed_{k}", value, record["update"])

    def close(self) -> None:
        """Write what is buffered, and close the files."""
        writer: Any = self._writer
        if writer is not None:
            with self._leaving_out():
                writer.close()

    @contextmanager
    def _leaving_out(self) -> Iterator[None]:
        """Give the writer up after an error other than the system's (WriteError)."""
        with storing(self._events, _LESS_TO_SHOW):
            try:
                yield
            except OSError:
                raise
            except Exception as error:
                self._writer = None
                leave_out("tensorboard", reason(error), _ALL_IS_LOGGED)


class _QuietThreads:
    """Keeps errors of TensorBoard's threads from being printed: its methods raise them again.

    The hook belongs to the whole process, so the last of several trainings restores it.
    """

    def __init__(self) -> None:
        self._lock, self._users = threading.Lock(), 0
        self._before = threading.excepthook

    def __enter__(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before, threading.excepthook = threading.excepthook, self._report
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                threading.excepthook = self._before

    def _report(self, failure: threading.ExceptHookArgs) -> None:
        if not type(failure.thread).__module__.startswith("tensorboard."):
            self._before(failure)


_QUIET_THREADS = _QuietThreads()
