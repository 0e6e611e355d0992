"""Every script explains itself with --help, and does nothing else then."""

from __future__ import annotations

import runpy
import sys
import warnings
from pathlib import Path

import pytest
from folders import EXAMPLES, RELIABILITY, examples

SCRIPTS = [*sorted(EXAMPLES.rglob("*.py")), *sorted(RELIABILITY.rglob("*.py"))]
NAMES = [f"{path.parent.name}-{path.stem}" for path in SCRIPTS]


def is_script(path: Path) -> bool:
    """Whether the file does something when it is run, and not only when it is imported."""
    return 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")


def test_scripts_of_all_folders_are_found() -> None:
    found = {path.parent.name for path in SCRIPTS if is_script(path)}
    assert found == {"examples", "paper", "trainers", "benchmarks", "bridges", "reliability"}


@pytest.mark.parametrize("script", SCRIPTS, ids=NAMES)
def test_help_of_an_example_runs_nothing(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script.name, "--help"])
    status: object = None
    with examples(script.parent), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that are imported
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            status = ended.code
    captured = capsys.readouterr()
    assert list(tmp_path.iterdir()) == []
    if isinstance(status, str) and "this example needs" in status:
        pytest.skip(status)
    if not is_script(script):
        assert (captured.out, status) == ("", None)
        return
    assert status in (0, None)
    assert captured.out.startswith("usage: ")
    assert "--help" in captured.out
    assert "wrote" not in captured.out


@pytest.mark.parametrize(
    "script",
    [path for path in SCRIPTS if is_script(path)],
    ids=[name for name, path in zip(NAMES, SCRIPTS, strict=True) if is_script(path)],
)
def test_an_unknown_option_of_an_example_is_refused(
    script: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script.name, "--no-such-option", "1"])
    with examples(script.parent), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(script), run_name="__main__")
    assert list(tmp_path.iterdir()) == []
    if isinstance(ended.value.code, str) and "this example needs" in ended.value.code:
        pytest.skip(ended.value.code)
    assert ended.value.code == 2
    assert "--no-such-option" in capsys.readouterr().err
