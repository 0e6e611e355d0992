"""Takes a tour, such as `portable_core_tour`, where what only POSIX systems have is missing.

    python tests/without_posix.py core FOLDER

Modules, functions and signals that Windows lacks are taken away before the packages are imported.
The file system then refuses what Windows' refuses: names with forbidden characters, names that
differ from another one in case only, opening a folder, and moving or removing a file that is open
or mapped into memory. The last line of standard output is the tour's facts as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

MODULES = ("fcntl", "grp", "pwd", "resource", "syslog", "termios")
FUNCTIONS = (
    *("chown", "fchmod", "fchown", "fork", "forkpty", "getloadavg", "getpgid", "getpriority"),
    *("getuid", "geteuid", "getxattr", "killpg", "lchown", "listxattr", "mkfifo", "nice"),
    *("pread", "pwrite", "sched_getaffinity", "sched_setaffinity", "setsid", "setxattr"),
    *("statvfs", "sysconf", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK"),
)
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGUSR2", "alarm", "pthread_kill")
FORBIDDEN = frozenset('<>:"|?*')
RESERVED = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)),
}

UNNAMED = getattr(os, "O_TMPFILE", -1)
"""How `tempfile` opens folders on Linux, which is its own affair."""


class SharingError(PermissionError):
    """What Windows raises for a file that is open."""

    winerror = 32


def take_away() -> None:
    """Remove what Windows lacks, from this process and from those that it starts."""
    for name in MODULES:
        sys.modules[name] = None  # type: ignore[assignment] # importing it raises an error
    for owner, names in ((os, FUNCTIONS), (signal, SIGNALS)):
        for name in names:
            with suppress(AttributeError):
                delattr(owner, name)
    # Windows has this one instead of SIGHUP; here another signal plays it.
    signal.SIGBREAK = signal.SIGUSR1  # type: ignore[attr-defined]
    sys.addaudithook(_refuse)
    warnings.filterwarnings("error", category=EncodingWarning, module=r"rrm_env|baselines|marl")


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what Windows' file system refuses; called before every operation."""
    if event == "open":
        path, mode, flags = arguments
        if isinstance(path, (str, bytes, os.PathLike)):
            place = Path(os.fsdecode(path))
            if mode is None and place.is_dir() and flags & UNNAMED != UNNAMED:
                raise PermissionError(13, "Permission denied", str(place))
            if flags & os.O_CREAT:
                _check_name(place)
    elif event == "os.mkdir":
        _check_name(Path(os.fsdecode(arguments[0])))
    elif event == "os.rename":
        for path in arguments[:2]:
            _check_closed(Path(os.fsdecode(path)))
        _check_name(Path(os.fsdecode(arguments[1])))
    elif event == "os.remove":
        _check_closed(Path(os.fsdecode(arguments[0])))


def _check_name(place: Path) -> None:
    name = place.name
    if FORBIDDEN & set(name) or name.endswith((" ", ".")) or name.split(".")[0].lower() in RESERVED:
        raise OSError(22, "Invalid argument", str(place))
    if place.parent.is_dir():
        others = set(os.listdir(place.parent)) - {name}
        if name.lower() in {other.lower() for other in others}:
            raise AssertionError(f"{place} differs from another file in case only")


def _check_closed(place: Path) -> None:
    if not place.exists():
        return
    if os.path.realpath(place) in _open_files():
        raise SharingError(13, "The file is open in another program", str(place))


def _open_files() -> set[str]:
    """Files that this process has open or mapped into memory, as far as the system tells."""
    found = set()
    with suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            _, slash, rest = line.partition("/")
            found.add(slash + rest)
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(descriptor))
    return found


def facts_of(tour: str, folder: Path) -> Any:
    """The facts of a tour that is taken without POSIX, in an ASCII locale and console."""
    poor = {
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
        "PYTHONWARNDEFAULTENCODING": "1",
        "SDL_VIDEODRIVER": "dummy",
    }
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, __file__, tour, str(folder)],
        env={**os.environ, **poor},
        capture_output=True,
        encoding="ascii",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


if __name__ in ("__main__", "__mp_main__"):  # the second is its name in workers
    # Parts of the standard library and other packages that have a version of their own for Windows.
    for name in ("asyncio", "multiprocessing.util"):
        with suppress(ModuleNotFoundError):
            importlib.import_module(name)
    take_away()

if __name__ == "__main__":
    tour = importlib.import_module(f"portable_{sys.argv[1]}_tour")
    sys.stdout.write(json.dumps(tour.take(Path(sys.argv[2]))) + "\n")
