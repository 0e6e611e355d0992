"""Files, limits, signals and the console on Windows and macOS, as far as Linux can play them."""

from __future__ import annotations

import ast
import errno
import io
import json
import os
import sys
import time
from pathlib import Path

import portable_core_tour
import pytest
import without_posix
from folders import ROOT

from rrm_env import disk, files
from rrm_env.exit_status import status_of
from rrm_env.files import WriteError, write_json

SOURCES = [
    path
    for folder in ("rrm_env", "baselines", "marl", "examples", "docs", ".ci")
    for path in (ROOT / folder).rglob("*.py")
]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing can be taken away there")
def test_core_does_the_same_where_what_only_posix_has_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    (tmp_path / "with").mkdir()
    expected = json.loads(json.dumps(portable_core_tour.take(tmp_path / "with")))
    assert without_posix.facts_of("core", tmp_path / "without") == expected
    assert expected["statuses"] == [0, 0, 0]
    assert expected["ended"] == [128]
    assert expected["files"] == ["log", "out.json", "rates.png", "tdm.gif", "trace.npz"]


@pytest.mark.parametrize("number", [5, 32])
def test_file_that_a_scanner_has_open_is_replaced_a_moment_later(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = refusing(monkeypatch, winerror=number, times=2)
    write_json(tmp_path / "out.json", 1)
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == 1
    assert len(tries) == 3


def test_file_that_stays_open_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_json(tmp_path / "out.json", 1)
    monkeypatch.setattr(disk, "_PAUSES_S", (0.0, 0.0))
    tries = refusing(monkeypatch, winerror=32, times=100)
    with pytest.raises(WriteError, match="untouched; close the program that has it open"):
        write_json(tmp_path / "out.json", 2)
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == 1
    assert os.listdir(tmp_path) == ["out.json"]
    assert len(tries) == 3


def test_other_refusals_are_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = refusing(monkeypatch, winerror=19, times=100)  # the disk is write-protected
    with pytest.raises(WriteError, match="change the permissions"):
        write_json(tmp_path / "out.json", 2)
    assert len(tries) == 1


def refusing(monkeypatch: pytest.MonkeyPatch, winerror: int, times: int) -> list[Path]:
    """Let renames fail as on Windows, so many times; returns the sources of all attempts."""
    tries: list[Path] = []
    replace = os.replace

    def fail(source: Path, target: Path) -> None:
        tries.append(source)
        if len(tries) > times:
            replace(source, target)
            return
        error = PermissionError(errno.EACCES, "Access is denied")
        error.winerror = winerror  # type: ignore[attr-defined, unused-ignore]
        raise error

    monkeypatch.setattr(os, "replace", fail)
    return tries


def test_old_leftovers_go_and_new_ones_stay_where_files_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (disk, files):
        monkeypatch.setattr(module, "CAN_LOCK", False)
    prefix = files._prefix(Path("out.json"))
    old, new = (tmp_path / f"{prefix}{digit * 8}.part.json" for digit in "01")
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 100_000,) * 2)
    write_json(tmp_path / "out.json", 1)
    assert sorted(tmp_path.iterdir()) == sorted([new, tmp_path / "out.json"])


@pytest.mark.parametrize("knows", [True, False])
def test_macos_is_asked_to_empty_the_memory_of_the_disk(
    knows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    synchronised: list[int] = []

    class Fcntl:
        """That of macOS."""

        F_FULLFSYNC = 51

        @staticmethod
        def fcntl(_: int, operation: int) -> None:
            asked.append(operation)
            if not knows:
                raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(disk, "fcntl", Fcntl)
    monkeypatch.setattr(os, "fsync", synchronised.append)
    with (tmp_path / "file").open("wb") as file:
        disk.synchronise(file.fileno())
    assert asked == [51]
    assert len(synchronised) == (0 if knows else 1)


@pytest.mark.parametrize(("system", "status"), [("nt", 0), ("posix", 1)])
def test_pipe_without_a_reader_is_no_failure_on_windows(
    system: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class LeftPipe(io.StringIO):
        """What Windows' pipes do when the reader has left."""

        def write(self, _: str) -> int:
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(sys, "stdout", LeftPipe())
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", system)
        found = status_of(lambda: print("text"))  # noqa: T201
    assert found == status
    assert ("Invalid argument" in capsys.readouterr().err) == bool(status)


# --- Encodings ---


def without_encoding(source: str) -> list[int]:
    """The lines of calls that leave the encoding of a text to the system."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if _handles_text(call) and not _states_encoding(call)]


def _handles_text(call: ast.Call) -> bool:
    """Whether a call reads or writes a text file, or the text of a program."""
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in ("open", "fdopen"):
        modes = [text for text in _texts(call) if set(text) <= set("rwaxbt+")]
        return not any("b" in mode for mode in modes) and (bool(modes) or not call.args)
    is_program = any(keyword.arg == "text" for keyword in call.keywords)
    return name in ("read_text", "write_text") or (name in ("run", "Popen") and is_program)


def _states_encoding(call: ast.Call) -> bool:
    return "utf-8" in _texts(call) or any(keyword.arg == "encoding" for keyword in call.keywords)


def _texts(call: ast.Call) -> list[str]:
    values = [part.value for part in call.args if isinstance(part, ast.Constant)]
    return [value for value in values if isinstance(value, str)]


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("p.read_text()", [1]),
        ("p.read_text(encoding='utf-8')", []),
        ("p.read_text('utf-8', 'replace')", []),
        ("p.write_text(x)", [1]),
        ("p.open()", [1]),
        ("p.open('w')", [1]),
        ("p.open('rb')", []),
        ("open(p, 'w')", [1]),
        ("self.where.open(listen)", []),
        ("subprocess.run(c, text=True)", [1]),
        ("subprocess.run(c, encoding='utf-8')", []),
    ],
)
def test_calls_without_an_encoding_are_found(source: str, lines: list[int]) -> None:
    assert without_encoding(source) == lines


def test_text_is_read_and_written_in_a_stated_encoding() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): lines
        for path in SOURCES
        if (lines := without_encoding(path.read_text(encoding="utf-8")))
    }
    assert found == {}
