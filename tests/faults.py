"""Real faults: full disks, read-only folders, processes that are killed and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from folders import ROOT, SCRIPTS

OLD = '{"versions": {"rrm_env": "0.0"}}'
"""Content of an earlier file of results, which a command may replace."""


def mounted(*options: str) -> bool:
    """Mount, and return whether the system allowed it."""
    return (
        sys.platform == "linux"
        and subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    )


class SmallDisk:
    """A disk that a test fills, or a limit on the size of files where nothing can be mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_mounted = mounted("-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder))

    def fill(self, left: int = 0) -> None:
        """Leave this many bytes free, in whole pages."""
        if self._is_mounted:
            free = os.statvfs(self.folder)
            with (self.folder / "ballast").open("ab") as file:
                file.write(bytes(max(0, free.f_bavail * free.f_frsize - left)))
        else:
            self._limit(max(left, 1))

    def free(self) -> None:
        """Make the disk empty again."""
        if self._is_mounted:
            (self.folder / "ballast").unlink(missing_ok=True)
        else:
            self._limit(-1)

    def remove(self) -> None:
        """Unmount the disk."""
        self.free()
        if self._is_mounted:
            subprocess.run(["umount", "-l", str(self.folder)], check=True)

    @staticmethod
    def _limit(size: int) -> None:
        resource = pytest.importorskip(
            "resource", reason="neither a disk of its own nor a limit on files can be had"
        )
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )


@contextmanager
def small_disk(folder: Path) -> Iterator[SmallDisk]:
    """Mount a small disk at a new folder."""
    folder.mkdir()
    disk = SmallDisk(folder)
    try:
        yield disk
    finally:
        disk.remove()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to the folder, not even an administrator; skip where that is impossible."""
    if mounted("--bind", str(folder), str(folder)):
        try:
            if not mounted("-o", "remount,ro,bind", str(folder)):
                pytest.skip("a mounted folder cannot be made read-only here")
            yield
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)
        return
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("permissions do not bind an administrator, and nothing can be mounted here")
    modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path in modes:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def hidden(folder: Path) -> list[str]:
    """Return the names of temporary and lock files."""
    return sorted(path.name for path in folder.rglob(".*"))


# --- Processes ---


def started(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a Python process that runs the program; the test reads its output."""
    folders = (
        ROOT,
        ROOT / "tests",
        ROOT / "tests" / "reliability",
        *SCRIPTS,
        os.environ.get("PYTHONPATH", ""),
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(str(folder) for folder in folders if str(folder)),
    }
    command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment
    )


def says(process: subprocess.Popen[str], line: str) -> None:
    """Wait until the process prints the line."""
    assert process.stdout is not None
    for said in process.stdout:
        if said == line + "\n":
            return
    pytest.fail(f"ended without saying {line!r}: {process.communicate()[1]}")


def go_on(process: subprocess.Popen[str]) -> None:
    """Give the process the line that it waits for."""
    assert process.stdin is not None
    process.stdin.write("go on\n")
    process.stdin.flush()


def until(
    condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 180
) -> None:
    """Wait until the condition holds, while the process runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    """Send the signal and return exit status and output; ending may take a minute."""
    os.kill(process.pid, number)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
