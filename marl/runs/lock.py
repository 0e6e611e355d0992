"""Work that one process at a time may do. The system itself releases the locks when their holder ends, however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from marl.runs.description import RunError
from rrm_env.files import storing

POLL_S = 0.2
"""How often who waits looks again."""


class BusyError(RunError):
    """Another process is at it."""


@contextmanager
def alone(
    lock: Path, what: str, *, waiting: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Hold the lock file ``lock``, which is there only while it is held or after its holder was killed.

    Args:
        lock: the file, in an existing folder.
        what: what only one process may do, such as "training 'runs/a'".
        waiting: called with a line to show before waiting for the process that holds it; None to refuse instead.

    Raises:
        BusyError: another process holds it, and ``waiting`` is None.
        WriteError: the file cannot be made, or its file system has no locks.
    """
    held = FileLock(lock)
    with storing(lock, "nothing was changed", "locked"):
        try:
            held.acquire(blocking=False)
        except Timeout:
            if waiting is None:
                raise BusyError(
                    f"another process is {what}: wait until it ends, or choose another folder"
                ) from None
            waiting(f"another process is {what}: waiting until it ends")
            held.acquire(poll_interval=POLL_S)
    try:
        yield
    finally:
        if not isinstance(
            held, SoftFileLock
        ):  # what `FileLock` becomes where the system knows no other; it removes its file itself
            with suppress(OSError):
                lock.unlink()  # while it is held: who waits for it sees that it is gone and takes a new one
        held.release()
