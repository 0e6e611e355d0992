"""Result files that are written whole or not at all.

Paths that cannot be written are refused before the work starts. A written file has reached the disk
before anything later is written.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import secrets
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from rrm_env.disk import (
    CAN_LOCK,
    is_in_use,
    lock,
    move,
    reach_disk,
    remove_unused,
    synchronise,
)

UNTOUCHED = "what stood there before is untouched"

_REMEDIES = {
    errno.ENOSPC: "free some space on that disk or write to another one",
    errno.EDQUOT: "your quota is used up: delete something or write to another disk",
    errno.EROFS: "that file system is read-only: write elsewhere",
    errno.EACCES: "you may not write there: change the permissions or write elsewhere",
    errno.EPERM: "you may not write there: change the permissions or write elsewhere",
    errno.EFBIG: (
        "files may not grow that large there (ulimit -f): raise the limit or write elsewhere"
    ),
    errno.EIO: "the device fails: see the system's log, and write to another disk",
    errno.ENOLCK: "that file system has no locks: work on another one, such as a local disk",
    errno.EOPNOTSUPP: "that file system has no locks: work on another one, such as a local disk",
}

# The machine whose process owns a temporary file: on file systems whose locks do not reach other
# machines, its files would look abandoned from there.
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


class WriteError(OSError):
    """The system refused to store a file.

    The message says which file and why, what is left on the disk, and what to do.
    """


@contextmanager
def storing(
    path: str | os.PathLike[str], left: str = UNTOUCHED, action: str = "written"
) -> Iterator[None]:
    """Turn errors of the system into a `WriteError`.

    Args:
        path: what the error names.
        left: the state in which the error leaves it.
        action: what could not be done, a participle such as "written".
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        reason = error.strerror or (str(error).splitlines() or [type(error).__name__])[0]
        remedy = _REMEDIES.get(error.errno or 0, "remove the cause or write elsewhere")
        if is_in_use(error):
            remedy = "close the program that has it open, or write elsewhere"
        raise WriteError(
            f"{os.fspath(path)!r} could not be {action}: {reason}; {left}; {remedy}, then try again"
        ) from error


def check_writable(name: str, path: str | os.PathLike[str]) -> Path:
    """The path, if a file can be written there.

    Raises:
        ValueError: its folder is missing or cannot be written to, or it is itself a folder or a
            device; the error calls it ``name``.
    """
    target, place = Path(path), _resolved(Path(path))
    if place.is_dir():
        raise ValueError(f"{name} must be a file, got the folder {str(target)!r}")
    if place.exists() and not place.is_file():
        raise ValueError(f"{name} must be a file, got {str(target)!r}, which is a device or a pipe")
    if not place.parent.is_dir():
        raise ValueError(
            f"{name} = {str(target)!r} must lie in an existing folder; "
            f"{str(place.parent)!r} is none"
        )
    try:
        with _temporary(place.with_name(target.name), _replaced_state(place)):
            pass
    except OSError as error:
        raise ValueError(
            f"{name} = {str(target)!r} cannot be written: {error.strerror or error}"
        ) from None
    return target


def check_replaceable(
    name: str, path: str | os.PathLike[str], kind: str, is_own: Callable[[Path], bool]
) -> Path:
    """The path, if a file can be written there and replaces at most an earlier output.

    Args:
        name: what errors call the path.
        path: where to write.
        kind: what will be written, such as "dataset".
        is_own: whether an existing file is of this kind; empty files may always be replaced.

    Raises:
        ValueError: as `check_writable`, or the path has a file of another kind.
    """
    target = check_writable(name, path)
    if target.exists() and target.stat().st_size and not is_own(target):
        raise ValueError(
            f"{name} = {str(target)!r} exists and is no {kind} of this package: "
            "choose another name, or remove that file first"
        )
    return target


def check_results(name: str, path: str | os.PathLike[str]) -> Path:
    """`check_replaceable` for results in JSON."""
    return check_replaceable(name, path, "file of results", _holds_results)


def _holds_results(path: Path) -> bool:
    """Whether a file holds results: they state versions; descriptions of runs also state a team."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return (
        isinstance(content, dict)
        and isinstance(content.get("versions"), dict)
        and "rrm_env" in content["versions"]
        and "team" not in content
    )


def is_utf8(text: str) -> bool:
    """Whether UTF-8 can hold a text; Python also represents file names that it cannot hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def readable(path: str | os.PathLike[str]) -> str:
    """A path as a text that UTF-8 can hold, with its other bytes replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def check_utf8(name: str, path: str | os.PathLike[str]) -> None:
    """Refuse a path that UTF-8 cannot hold: safetensors writes such files and cannot read them.

    Raises:
        ValueError: UTF-8 cannot hold it; the error calls it ``name``.
    """
    if not is_utf8(os.fspath(path)):
        raise ValueError(f"{name} must be a path that UTF-8 can hold, got {readable(path)!r}")


def check_apart(**paths: Path | None) -> None:
    """Refuse one file for two outputs.

    Args:
        **paths: the path of each output, by the name of its option.

    Raises:
        ValueError: two outputs have the same path.
    """
    seen: dict[Path, str] = {}
    for name, path in paths.items():
        if path is not None and (first := seen.setdefault(path.resolve(), name)) != name:
            raise ValueError(
                f"--{first} and --{name} must be two files, got {str(path)!r} for both"
            )


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call ``write`` on a temporary file beside ``path`` and move it there when it is complete.

    A file that exists already is replaced by another one of the same name:

    - Its permissions and extended attributes (access control lists among them) are kept, its owner
      and group where the system allows it; a group that cannot be kept does not pass its
      permissions on to another group. A new file gets those of any new file.
    - A symbolic link stays, and the file that it leads to is replaced, or made if the link dangles.
    - Other names of the file (hard links) keep the old content, since a file cannot be replaced
      under all its names at once.
    - A write-protected file, a folder, a device and a pipe are refused.

    Raises:
        WriteError: the system refused; what stood there before is untouched.
    """

    def write_to(temporary: Path) -> None:
        with temporary.open("wb") as file:
            write(file)

    write_whole_at(path, write_to)


def write_json(path: Path, content: Any) -> None:
    """Write a file in JSON, whole or not at all.

    Raises:
        TypeError, ValueError: JSON cannot hold the content.
        WriteError: the system refused; what stood there before is untouched.
    """
    text = json.dumps(content, indent=1).encode()
    write_whole(path, lambda file: file.write(text))


def write_whole_at(path: Path, write: Callable[[Path], object]) -> None:
    """`write_whole` for writers that need a path; the temporary file has the same suffix.

    A power cut before this returns leaves the old content or all of the new; a later one leaves
    the new.
    """
    place = _resolved(path)
    with storing(path):
        old = _replaced_state(place)
        with _temporary(place.with_name(path.name), old) as temporary:
            write(temporary)
            if old is not None:
                _inherit(temporary, place, old)
            reach_disk(temporary, os.O_RDWR)
            move(temporary, place)
    # Some systems cannot open or synchronise folders: they decide when the new name is on the disk.
    with suppress(OSError):
        reach_disk(place.parent, os.O_RDONLY)


def append_line(path: Path, line: str) -> None:
    """Add a line to a file, whole or not at all; it is on the disk on return.

    A missing file is made.

    Raises:
        WriteError: the system refused; the lines before are untouched.
    """
    with storing(path, "the lines before are untouched"), path.open("ab", buffering=0) as file:
        length, rest = file.tell(), memoryview(line.encode() + b"\n")
        try:
            while rest:
                rest = rest[file.write(rest) :]
            synchronise(file.fileno())
        except BaseException:
            with suppress(OSError):
                file.truncate(length)
            raise


# --- Files that are replaced ---


def _resolved(path: Path) -> Path:
    """The path that a symbolic link leads to; any other path as it is."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _replaced_state(place: Path) -> os.stat_result | None:
    """The state of the file at a path; None if there is none (OSError: it must not be replaced)."""
    try:
        state = place.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(state.st_mode):
        what = "a folder" if stat.S_ISDIR(state.st_mode) else "a device or a pipe"
        raise OSError(errno.EINVAL, f"it is {what}")
    if not os.access(place, os.W_OK):  # renaming asks for the right to write to the folder only
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return state


def _inherit(temporary: Path, place: Path, old: os.stat_result) -> None:
    """Give a new file the owner, permissions and attributes of the one that it replaces.

    Refusals are ignored: not all file systems know these, and only administrators change owners.
    """
    if not hasattr(os, "chown"):  # Windows
        return
    for owner, group in ((-1, old.st_gid), (old.st_uid, -1)):
        with suppress(OSError):
            os.chown(temporary, owner, group)
    mode = stat.S_IMODE(old.st_mode)
    if temporary.stat().st_gid != old.st_gid:
        of_all = (mode & stat.S_IRWXO) << 3
        mode = mode & ~stat.S_IRWXG | mode & of_all
    with suppress(OSError):
        temporary.chmod(mode)
    if hasattr(os, "listxattr"):  # Linux
        with suppress(OSError):
            for name in os.listxattr(place):
                os.setxattr(temporary, name, os.getxattr(place, name))


# --- Temporary files ---


@contextmanager
def _temporary(path: Path, old: os.stat_result | None) -> Iterator[Path]:
    """A new hidden file beside ``path``, locked while it is in use.

    Unlocked ones belong to processes that were killed, and are removed first; where files cannot be
    locked, those of yesterday and before.
    """
    _remove_leftovers(path)
    temporary, descriptor = _claim(path, 0o666 if old is None else 0o600)
    try:
        yield temporary
    finally:
        # It has been moved away, or an error that says more than this one is being raised.
        with suppress(OSError):
            temporary.unlink()
        if descriptor is not None:
            os.close(descriptor)


def _claim(path: Path, mode: int) -> tuple[Path, int | None]:
    """A new temporary file and the descriptor that holds its lock; None where none are held."""
    while True:
        temporary = path.with_name(f"{_prefix(path)}{secrets.token_hex(4)}.part{path.suffix}")
        # Not by `tempfile`, whose files only their owner may read.
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        if not CAN_LOCK:  # nor could an open file be moved there
            os.close(descriptor)
            return temporary, None
        # On a file system without locks nobody else can lock the file to remove it either.
        with suppress(OSError):
            lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return temporary, descriptor
        os.close(descriptor)  # taken for a leftover before it was locked


def _remove_leftovers(path: Path) -> None:
    """Remove temporary files of ``path`` that nobody holds."""
    own = re.compile(re.escape(_prefix(path)) + r"[0-9a-f]{8}\.part" + re.escape(path.suffix))
    for name in filter(own.fullmatch, os.listdir(path.parent)):
        with suppress(OSError):
            remove_unused(path.with_name(name))


def _prefix(path: Path) -> str:
    return f".{path.stem}.{_HOST}-"
