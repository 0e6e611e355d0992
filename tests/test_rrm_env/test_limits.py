"""Memory and cores of the process are the least of machine and control groups of both versions."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rrm_env.limits import available_memory, usable_cores
from rrm_env.provenance import facts, machine

MIB = 2**20
HOST = 22 * 1024 * MIB
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
V2 = "30 23 0:26 {root} {target} rw,nosuid - cgroup2 cgroup2 rw"
V1 = "31 23 0:27 {root} {target} rw,nosuid - cgroup cgroup rw,{controller}"


def tree(folder: Path, cgroup: str, mounts: list[str], files: dict[str, object]) -> Path:
    """A file system with the given memberships, mounts and files of control groups."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "meminfo").write_text(
        f"MemTotal: {HOST // 512} kB\nMemAvailable:   {HOST // 1024} kB\n"
    )
    (folder / "proc" / "self" / "cgroup").write_text(cgroup)
    (folder / "proc" / "self" / "mountinfo").write_text("\n".join(mounts) + "\n")
    for name, content in files.items():
        path = folder / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return folder


def v2(folder: Path, files: dict[str, object], group: str = "/a/b", root: str = "/") -> Path:
    return tree(folder, f"0::{group}\n", [V2.format(root=root, target="/sys/fs/cgroup")], files)


def v1(folder: Path, files: dict[str, object], group: str = "/a/b", root: str = "/") -> Path:
    mounts = [
        V1.format(root=root, target=f"/sys/fs/cgroup/{name}", controller=name)
        for name in ("memory", "cpu")
    ]
    return tree(folder, f"4:memory:{group}\n1:cpu,cpuacct:{group}\n", mounts, files)


def limit(name: str) -> dict[str, object]:
    return {f"{name}/memory.max": 700 * MIB, f"{name}/memory.current": 200 * MIB}


def old(name: str) -> dict[str, object]:
    return {
        f"memory/{name}/memory.limit_in_bytes": 700 * MIB,
        f"memory/{name}/memory.usage_in_bytes": 200 * MIB,
    }


UNLIMITED = {"a/b/memory.max": "max", "a/b/memory.current": 5 * MIB}
MEMORY: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "no groups": (tree, ("", [], {}), HOST),
    "v2": (v2, (limit("a/b"),), 500 * MIB),
    "v2 unlimited": (v2, (UNLIMITED,), HOST),
    "v2 limit of a parent": (v2, ({**UNLIMITED, **limit("a")},), 500 * MIB),
    "v2 above the machine": (v2, ({"a/b/memory.max": 2 * HOST, "a/b/memory.current": 1},), HOST),
    "v2 files in memory": (
        v2,
        ({**limit("a/b"), "a/b/memory.stat": f"anon 7\ninactive_file {150 * MIB}"},),
        650 * MIB,
    ),
    "v2 full": (v2, ({"a/b/memory.max": 5, "a/b/memory.current": 9},), 0),
    "v2 in a container": (
        v2,
        ({"memory.max": 700 * MIB, "memory.current": 200 * MIB}, "/"),
        500 * MIB,
    ),
    "v1": (v1, (old("a/b"),), 500 * MIB),
    "v1 unlimited": (v1, ({"memory/a/b/memory.limit_in_bytes": 9223372036854771712},), HOST),
    "v1 limit of a parent": (
        v1,
        ({"memory/a/b/memory.limit_in_bytes": 2**63 - 4096, **old("a")},),
        500 * MIB,
    ),
    "v1 mounted group": (v1, (old("."), "/docker/x", "/docker/x"), 500 * MIB),
    "v1 hidden above": (v1, (old("."), "/docker/x", "/other"), 500 * MIB),
    "v1 files in memory": (
        v1,
        ({**old("a"), "memory/a/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}"},),
        550 * MIB,
    ),
}


@pytest.mark.parametrize("case", MEMORY)
def test_memory_is_the_least_that_any_group_leaves(case: str, tmp_path: Path) -> None:
    build, arguments, expected = MEMORY[case]
    assert available_memory(build(tmp_path, *arguments)) == expected


@pytest.mark.parametrize(
    ("build", "files", "expected"),
    [
        (v2, {"a/b/cpu.max": "max 100000"}, CORES),
        (v2, {"a/b/cpu.max": "50000 100000"}, 1),
        (v2, {"a/cpu.max": "100000 100000", "a/b/cpu.max": "800000 100000"}, 1),
        (v2, {"a/b/cpu.max": "9900000 100000"}, CORES),
        (v1, {"cpu/a/b/cpu.cfs_quota_us": -1, "cpu/a/b/cpu.cfs_period_us": 100000}, CORES),
        (v1, {"cpu/a/cpu.cfs_quota_us": 100000, "cpu/a/cpu.cfs_period_us": 100000}, 1),
    ],
)
def test_cores_are_those_of_affinity_and_quota(
    build: Any, files: dict[str, object], expected: int, tmp_path: Path
) -> None:
    assert usable_cores(build(tmp_path, files)) == expected


def test_quotas_are_rounded_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert usable_cores(v2(tmp_path, {"a/b/cpu.max": "250000 100000"})) == 3


def test_a_system_that_does_not_tell_is_left_alone(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    assert usable_cores(tmp_path) == CORES


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v binds elsewhere only in part")
def test_the_limit_on_address_space_counts() -> None:
    program = "from rrm_env.limits import available_memory; print(available_memory())"
    command = f'ulimit -v 8000000; {sys.executable} -c "{program}"'
    shown = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True
    ).stdout
    assert 0 < int(shown) < 8_000_000 * 1024


def test_provenance_states_what_the_process_may_use() -> None:
    assert machine()["cores"] == usable_cores()
    assert facts()["cores"] == str(usable_cores())
    assert facts()["memory"].endswith(" GiB free for this process")
