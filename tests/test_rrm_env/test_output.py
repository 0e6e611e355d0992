"""Text that cannot be shown never ends the work: poor encodings, closed pipes, full devices."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from folders import EXAMPLES
from notices import without_notice
from streams import FULL, closed_pipe, full_device

from baselines.__main__ import main
from rrm_env.exit_status import status_of

SMALL = ("--episodes", "2", "--schedulers", "tdm,greedy", "--set", "episode_length=5")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437", "utf-16"])
def test_comparison_is_saved_and_shown_in_any_encoding(
    encoding: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)

    assert main([*SMALL, "--json", str(tmp_path / "a.json")]) == 0
    stream.seek(0)
    shown = stream.read()

    assert "tdm" in shown
    assert "wrote" in shown
    assert json.loads((tmp_path / "a.json").read_text())["schedulers"].keys() == {"tdm", "greedy"}
    assert capsys.readouterr().err == ""


def test_what_an_encoding_lacks_is_replaced_one_character_each() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        assert status_of(lambda: print("12.9…13.7, 2×3, λ, \udcff")) == 0  # noqa: T201
        stream.flush()
    assert raw.getvalue() == b"12.9~13.7, 2x3, ?, ?\n"


def test_a_reader_that_left_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with closed_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([*SMALL, "--json", str(tmp_path / "a.json")]) == 0
    assert (tmp_path / "a.json").exists()
    assert capsys.readouterr().err == ""


def test_full_output_is_named_after_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_device() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main([*SMALL, "--json", str(tmp_path / "a.json")]) == 1
    assert (tmp_path / "a.json").exists()
    assert capsys.readouterr().err == (
        "error: standard output could not be written: No space left on device; "
        "the work is done and its files are written\n"
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_line_that_cannot_be_shown_does_not_end_the_work(
    stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def work() -> None:
        print("first", file=getattr(sys, stream), flush=True)
        done.append(1)

    with closed_pipe() as closed:
        monkeypatch.setattr(sys, stream, closed)
        assert status_of(work) == 0
    assert done


def test_streams_that_are_closed_or_missing_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stdout", stream)
        assert status_of(lambda: print("nobody reads this", flush=True)) == 0  # noqa: T201
        assert sys.stdout is stream


@pytest.mark.parametrize(
    ("command", "status", "errors"),
    [
        (
            "{python} -m baselines --info > /dev/full",
            1,
            "error: standard output could not be written",
        ),
        (
            "{python} -m baselines --help > /dev/full",
            1,
            "error: standard output could not be written",
        ),
        ("{python} -m baselines --info | true", 0, ""),
        ("{python} -m baselines --nothing 2> /dev/full", 2, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {python} -m baselines --info", 0, ""),
    ],
)
@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_processes_end_with_one_line_and_no_complaint_of_the_interpreter(
    command: str, status: int, errors: str
) -> None:
    ended = subprocess.run(
        ["bash", "-c", "set -o pipefail; " + command.format(python=sys.executable)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = without_notice(ended.stderr)
    assert (ended.returncode, len(said.splitlines())) == (status, bool(errors)), said
    assert said.startswith(errors)


GUARD = 'if __name__ == "__main__":'
SCRIPTS = [
    path for path in sorted(EXAMPLES.glob("*.py")) if GUARD in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_script_ends_by_the_one_function_that_guards_its_output(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    _, _, ending = text.partition(GUARD)
    assert "status_of(" in ending or "run_example(" in ending or "main(FIGURE, __doc__)" in ending
