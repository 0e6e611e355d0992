"""How much memory and how many cores this process may use.

The least counts of what the machine has, what control groups allow and what the process may take.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

try:
    import resource
except ModuleNotFoundError:  # Windows
    resource = None  # type: ignore[assignment]

SYSTEM = Path("/")
"""Root of the file system with /proc and the control groups; tests replace it."""

_UNLIMITED = 2**62
"""Control groups of version 1 state a number from here on where there is no limit."""


def available_memory(system: Path | None = None) -> int | None:
    """Bytes of memory that this process can still take; None where the system does not say.

    Args:
        system: root of a file system with /proc and the control groups; None is this machine's.
    """
    root = SYSTEM if system is None else system
    found = [*_of_machine(root), *_of_groups(root), *(_of_process() if system is None else ())]
    return max(0, min(found)) if found else None


def usable_cores(system: Path | None = None) -> int:
    """Cores that this process may keep busy: its affinity, within the quota of its control groups.

    Args:
        system: as for `available_memory`.
    """
    root = SYSTEM if system is None else system
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [quota for folder in _groups(root, "cpu") if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc" / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_process() -> Iterator[int]:
    """Bytes that the limit on address space (ulimit -v) leaves."""
    if resource is None:
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        for line in _lines(Path("/proc/self/statm")):
            yield limit - int(line.split()[0]) * resource.getpagesize()


def _of_groups(root: Path) -> Iterator[int]:
    """Bytes that each control group leaves; files that can be dropped from memory count as free."""
    for folder in _groups(root, "memory"):
        limit = _first(_number(folder / "memory.max"), _number(folder / "memory.limit_in_bytes"))
        used = _first(_number(folder / "memory.current"), _number(folder / "memory.usage_in_bytes"))
        if limit is not None and limit < _UNLIMITED:
            yield limit - max(0, (used or 0) - _cached(folder))


def _cached(folder: Path) -> int:
    """Bytes of inactive files in a group and the groups below it."""
    stated = dict(line.split()[:2] for line in _lines(folder / "memory.stat"))
    # Version 1 counts the groups below under a name of its own, version 2 always.
    return int(stated.get("total_inactive_file", stated.get("inactive_file", 0)))


def _quota(folder: Path) -> float | None:
    """Cores that a group may keep busy; None without a limit."""
    together = "".join(_lines(folder / "cpu.max")).split()
    if len(together) == 2 and together[0].isdigit():
        return int(together[0]) / int(together[1])
    quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


# --- Control groups ---


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of this process's control groups, of both versions, up to the mounted root."""
    paths = dict(_memberships(root))
    for kind, mounted, target in _mounts(root, controller):
        if kind not in paths:
            continue
        path, place = PurePosixPath(paths[kind]), PurePosixPath(mounted)
        # In a container outer groups may be hidden: then the mounted root is the own group.
        inside = path.relative_to(place) if path.is_relative_to(place) else PurePosixPath()
        folder = root / target.lstrip("/")
        for level in (inside, *inside.parents):
            if (folder / level).is_dir():
                yield folder / level


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """Controller and path of each of this process's groups; the controller is "" for version 2."""
    for line in _lines(root / "proc" / "self" / "cgroup"):
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _mounts(root: Path, controller: str) -> Iterator[tuple[str, str, str]]:
    """Controller, mounted group and mount point, of version 2 and of version 1."""
    for line in _lines(root / "proc" / "self" / "mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(), "", "", ""][:3]
        _, _, _, mounted, target = [*before.split(), *[""] * 5][:5]
        if kind == "cgroup2":
            yield "", mounted, target
        elif kind == "cgroup" and controller in options.split(","):
            yield controller, mounted, target


# --- Files ---


def _lines(path: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    with suppress(OSError):
        return path.read_text("utf-8", "replace").splitlines()
    return []


def _number(path: Path) -> int | None:
    """The integer that a file holds; None where it holds something else or cannot be read."""
    text = "".join(_lines(path)).strip()
    return int(text) if text.lstrip("-").isdigit() else None


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
