"""What writing files needs of the system: locks, writes that reach the disk, and renames.

Linux, macOS and Windows differ in each.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_LOCK = fcntl is not None
"""Whether a lock can be held on an open file that is then renamed; not on Windows."""

_IN_USE = (5, 32)
"""Windows' numbers for a rename that is refused while a program has one of the two files open."""
_PAUSES_S = (0.02, 0.1, 0.3, 1.0)
"""Pauses after which to try again, since virus scanners open every new file for a moment."""

_ABANDONED_S = 86_400.0
"""Age from which a temporary file belongs to nobody, where files cannot be locked."""


def lock(descriptor: int, *, wait: bool = True) -> None:
    """Lock an open file, where the system can (OSError: it cannot, or another process holds it)."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def remove_unused(temporary: Path) -> None:
    """Remove a temporary file unless somebody uses it (OSError: it is locked).

    Where files cannot be locked, one that was written to within a day is taken for used.
    """
    if not CAN_LOCK:
        if time.time() - temporary.stat().st_mtime > _ABANDONED_S:
            temporary.unlink()
        return
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        lock(descriptor, wait=False)
        temporary.unlink()
    finally:
        os.close(descriptor)


def reach_disk(path: Path, flags: int) -> None:
    """Open a file or folder with these flags, and wait until the disk has what was written."""
    descriptor = os.open(path, flags)
    try:
        synchronise(descriptor)
    finally:
        os.close(descriptor)


def synchronise(descriptor: int) -> None:
    """Wait until the disk has what was written to an open file."""
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS, where fsync leaves it in the memory of the disk
        with suppress(OSError):  # not every file system knows it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def move(temporary: Path, place: Path) -> None:
    """Rename a file, and try again for a moment while another program has one of the two open."""
    for pause in _PAUSES_S:
        if _moved(temporary, place):
            return
        time.sleep(pause)
    os.replace(temporary, place)


def _moved(temporary: Path, place: Path) -> bool:
    try:
        os.replace(temporary, place)
    except PermissionError as error:
        if not is_in_use(error):
            raise
        return False
    return True


def is_in_use(error: OSError) -> bool:
    """Whether Windows refused something because another program has the file open."""
    return getattr(error, "winerror", None) in _IN_USE
