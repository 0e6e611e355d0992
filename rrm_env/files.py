"""Result files: refused before the work starts, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def check_writable(name: str, path: str | os.PathLike[str]) -> Path:
    """The path, if a file can be written there.

    Raises:
        ValueError: its folder is missing or cannot be written to, or it is a folder itself; ``name`` is what to call it.
    """
    target = Path(path)
    if target.is_dir():
        raise ValueError(f"{name} must be a file, got the folder {str(target)!r}")
    if not target.parent.is_dir():
        raise ValueError(f"{name} = {str(target)!r} must lie in an existing folder; {str(target.parent)!r} is none")
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise ValueError(f"{name} = {str(target)!r} cannot be written: {error.strerror or error}") from None
    return target


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` on a temporary file beside ``path`` and move it there when it is complete."""

    def write_to(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    write_whole_at(path, write_to)


def write_whole_at(path: Path, write: Callable[[Path], object]) -> None:
    """`write_whole` for writers that want a path; the temporary one has the same ending."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(descriptor)
    try:
        write(Path(name))
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)  # what open() would have given; mkstemp allows the owner alone
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
