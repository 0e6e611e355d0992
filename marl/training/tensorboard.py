"""Training's records for TensorBoard, where that can be imported."""

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
    """A function that also writes a run's records for TensorBoard, unless that is missing or broken.

    Raises:
        WriteError: the system refuses to store them.
    """
    module = welcome("torch.utils.tensorboard", "tensorboard", _ALL_IS_LOGGED)
    if module is None:
        yield lambda _: None
        return
    board = _Board(folder / EVENTS, module)
    with _ERRORS_COME_ONCE:
        try:
            yield board.write
        except BaseException:
            with suppress(OSError):  # the error that is under way says more
                board.close()
            raise
        else:
            board.close()


class _Board:
    """TensorBoard's writer, until it fails by something else than the system."""

    def __init__(self, events: Path, module: Any) -> None:
        self._events, self._writer = events, None
        with self._leaving_out():
            self._writer = module.SummaryWriter(str(events))

    def write(self, record: dict[str, Any]) -> None:
        """Add all numbers of a record."""
        writer: Any = self._writer
        if writer is None:
            return
        with self._leaving_out():
            for name, values in {**record, **record.get("evaluation", {})}.items():
                if isinstance(values, list):
                    for k, value in enumerate(values):
                        writer.add_scalar(f"{name}/seed_{k}", value, record["update"])

    def close(self) -> None:
        """Write what is left."""
        writer: Any = self._writer
        if writer is not None:
            with self._leaving_out():
                writer.close()

    @contextmanager
    def _leaving_out(self) -> Iterator[None]:
        """Go on without the writer after an error that is neither the system's nor the caller's."""
        with storing(self._events, _LESS_TO_SHOW):
            try:
                yield
            except OSError:
                raise
            except Exception as error:
                self._writer = None
                leave_out("tensorboard", reason(error), _ALL_IS_LOGGED)


class _ErrorsComeOnce:
    """Errors of TensorBoard's own threads are not printed, since they come again from its methods.

    The hook is the process's, so the last of several trainings puts back what was there.
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


_ERRORS_COME_ONCE = _ErrorsComeOnce()
