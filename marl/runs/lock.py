"""Lock files for work that only one process may do at a time.

The operating system releases a lock when the process that holds it ends, even if it was killed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from marl.runs.description import RunError
from rrm_env.files import storing

POLL_S = 0.2
"""Seconds between two attempts of a process that waits for a lock."""


class BusyError(RunError):
    """Another process holds the lock."""


@contextmanager
def alone(
    lock: Path, what: str, *, waiting: Callable[[str], object] | None = None
) -> Iterator[None]:
    """Hold a lock file while the context is active.

    The file exists only while the lock is held, or after the process that held it was killed.

    Args:
        lock: the file, in an existing folder.
        what: the work that needs the lock, for messages, such as "training 'runs/a'".
        waiting: called with a message to show before this process waits for another one; where
            None, it does not wait.

    Raises:
        BusyError: another process holds the lock, and ``waiting`` is None.
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
        # `FileLock` is a `SoftFileLock`, which removes its file itself, where the system has no
        # other locks. Other files are removed before the release: a process that waits for the lock
        # sees that its file is gone and makes a new one.
        if not isinstance(held, SoftFileLock):
            with suppress(OSError):
                lock.unlink()
        held.release()
