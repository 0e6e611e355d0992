"""The cache of compiled code is used where it can be, and replaced where it is damaged."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from faults import read_only, small_disk
from folders import ROOT
from notices import without_notice

from rrm_env import compiling

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled"
)

SOURCE = """
from rrm_env.compiling import compiled

@compiled(nogil=True)
def twice(x):
    return 2 * x

@compiled(nogil=True)
def thrice(x):
    return 3 * x
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Imports a module of two compiled functions anew each time, cached in `tmp_path / "cache"`."""
    path = tmp_path / "doubled.py"
    path.write_text(SOURCE)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiling, "_said", set())

    def load() -> Any:
        spec = importlib.util.spec_from_file_location("doubled", path)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        return loaded

    return load


def hits(function: Any) -> int:
    """How often compiled code was read from the disk."""
    return sum(function.stats.cache_hits.values())


def test_compiled_code_is_kept_and_used_again(
    module: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    first, second = module().twice, module().twice
    assert (first(3), second(3)) == (6, 6)
    assert (hits(first), hits(second)) == (0, 1)
    assert caplog.messages == []


def test_an_edit_in_a_module_that_is_used_compiles_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "quadrupled.py").write_text(
        "import factor\n"
        "from rrm_env.compiling import compiled\n\n"
        "@compiled(uses=(factor,))\n"
        "def product(x):\n"
        "    return factor.scaled(x)\n"
    )

    def load(number: int | None) -> Any:
        """The function, imported anew; with a number, after an edit of the module it uses."""
        if number is not None:
            (tmp_path / "factor.py").write_text(
                f"import numba\n\n@numba.njit\ndef scaled(x):\n    return {number} * x\n"
            )
        for name in ("factor", "quadrupled"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("quadrupled").product

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    first, second = load(4), load(None)
    assert (first(3), hits(first)) == (12, 0)
    assert (second(3), hits(second)) == (12, 1)
    third = load(10)
    assert (third(3), hits(third)) == (30, 0)


def test_without_a_place_code_is_compiled_in_memory_and_one_line_says_so(
    module: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(numba.core.caching.CacheImpl, "_locator_classes", [])
    loaded = module()
    assert (loaded.twice(3), loaded.thrice(3)) == (6, 9)
    (line,) = caplog.messages
    assert (
        "compiled code cannot be kept on the disk "
        "(cannot cache function 'twice': no locator available" in line
    )
    assert "\n" not in line


def test_package_is_imported_and_compiles_where_nothing_can_be_written(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for package in ("rrm_env", "baselines"):
        shutil.copytree(
            ROOT / package, site / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    program = "import baselines, numpy, rrm_env; from rrm_env import kernels; "
    program += "print(rrm_env.__file__, kernels.first_out_of_range(numpy.array([[0, 9]]), 3))"
    nowhere = {
        "PYTHONPATH": str(site),
        "HOME": "/dev/null",
        "XDG_CACHE_HOME": "/dev/null/cache",
        "LOCALAPPDATA": "/dev/null",
    }
    environment = {**os.environ, **nowhere, "NUMBA_CACHE_DIR": ""}
    with read_only(site):
        command = [sys.executable, "-W", "error", "-c", program]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(site / "rrm_env" / "__init__.py"), "1"]
    (line,) = without_notice(done.stderr).splitlines()
    assert line.startswith("compiled code cannot be kept on the disk (cannot cache function")


def overwritten(content: bytes) -> bytes:
    """Two thirds in, a byte is another one."""
    at = 2 * len(content) // 3
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda _: b"",
        lambda content: bytes(len(content)),
        overwritten,
    ],
    ids=["truncated", "empty", "zeros", "one byte"],
)
def test_a_damaged_file_is_replaced(
    damage: Callable[[bytes], bytes],
    ending: str,
    module: Callable[[], Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert module().twice(3) == 6
    (path,) = (tmp_path / "cache").rglob(f"*twice*{ending}")
    path.write_bytes(damage(path.read_bytes()))
    second, third = module().twice, module().twice
    assert (second(3), hits(second)) == (6, 0)
    assert (third(3), hits(third)) == (6, 1)
    for line in caplog.messages:
        assert line == f"a damaged file of compiled code in {str(path.parent)!r} is replaced"
    may_look_outdated = (ending, damage) == (".nbi", overwritten)
    assert len(caplog.messages) == 1 or may_look_outdated


def test_a_full_disk_is_named_once_and_nothing_ends(
    module: Callable[[], Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "cache") as disk:
        loaded = module()
        disk.fill()
        assert (loaded.twice(3), loaded.thrice(3)) == (6, 9)
        (line,) = caplog.messages
        assert str(tmp_path / "cache") in line
        assert "No space left on device" in line or "File too large" in line
        assert "NUMBA_CACHE_DIR can name another folder" in line
        disk.free()
        again, last = module().twice, module().twice
        assert (again(3), last(3), hits(last)) == (6, 6, 1)


def test_a_cache_folder_that_is_none_is_named(
    module: Callable[[], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        assert module().thrice(3) == 9
    (line,) = caplog.messages
    assert line.startswith(
        f"NUMBA_CACHE_DIR = {str(tmp_path / 'file')!r} is no folder that can be written to; "
    )


def test_a_direct_call_reads_the_cache_and_looks_at_types_once(module: Callable[[], Any]) -> None:
    assert module().twice(3) == 6
    function = module().twice
    direct = compiling.Direct(function)
    assert [direct.call(number) for number in (3, 4)] == [6, 8]
    assert (len(function.signatures), hits(function)) == (1, 1)
    assert direct.call(2.5) == 4  # it is taken for an integer, as the first argument was
    assert len(function.signatures) == 1


def test_a_direct_call_of_plain_python_is_that_call() -> None:
    assert compiling.Direct(abs).call is abs


@pytest.mark.parametrize(
    "given",
    [
        np.broadcast_to(np.arange(3), (2, 3)),
        np.asfortranarray(np.ones((2, 3), np.int64)),
        np.arange(12).reshape(2, 6)[:, ::2],
        np.zeros(49, np.uint8)[1:].view(np.int64).reshape(2, 3),
        np.ones((2, 3), ">i8"),
        np.ones((2, 3), np.longlong),
        np.ones((2, 3), np.int16),
    ],
    ids=["broadcast", "column-major", "strided", "unaligned", "big-endian", "longlong", "int16"],
)
def test_plain_arrays_have_one_type(given: Any) -> None:
    wanted = np.zeros((2, 3), np.int64)
    assert compiling.plain(wanted, np.int64) is wanted
    found = compiling.plain(given, np.int64)
    assert found.tolist() == given.tolist()
    kinds = [numba.typeof(array) for array in (found, wanted)]  # type: ignore[no-untyped-call]
    assert kinds[0] == kinds[1]
