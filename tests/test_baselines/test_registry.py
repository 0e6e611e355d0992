"""Schedulers by name: those of this package, and those that installed packages add."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from folders import ROOT

from baselines import REGISTRY, TDM, RandomWalk, registry
from baselines import __main__ as command
from baselines.registry import ENTRY_POINTS, added_schedulers, parse_scheduler

ADDED = '''
from baselines import RandomWalk

class Mine(RandomWalk):
    """Somebody's scheduler."""

    def __init__(self, seed: int = 7, pace: float = 0.5, silence: bool = False) -> None:
        super().__init__(seed, silence)
        self.pace = pace
'''


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entry points of a package that is not ours, of which only the first works."""
    (tmp_path / "somebodys.py").write_text(ADDED)
    (tmp_path / "brokens.py").write_text("import a_library_that_nobody_has\n")
    (tmp_path / "leavers.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    entries = {
        "mine": "somebodys:Mine",
        "gone": "somebodys:Yours",
        "broken": "brokens:Mine",
        "leaving": "leavers:Mine",
        "tdm": "somebodys:Mine",
    }

    def entry_points(group: str) -> list[EntryPoint]:
        assert group == ENTRY_POINTS == "rrm_env.schedulers"
        return [EntryPoint(name, value, group) for name, value in entries.items()]

    monkeypatch.setattr(registry, "entry_points", entry_points)


@pytest.mark.usefixtures("added")
def test_an_entry_point_adds_a_scheduler_with_its_options() -> None:
    scheduler = parse_scheduler("mine:pace=0.25:silence=true")
    assert type(scheduler).__name__ == "Mine"
    assert isinstance(scheduler, RandomWalk)
    assert (scheduler.seed, scheduler.silence) == (7, True)
    assert vars(scheduler)["pace"] == 0.25
    with pytest.raises(ValueError, match=r"unknown option of mine: 'pase' .did you mean 'pace'"):
        parse_scheduler("mine:pase=1")


@pytest.mark.usefixtures("added")
def test_names_of_this_package_are_not_taken() -> None:
    assert "tdm" not in added_schedulers()
    assert type(parse_scheduler("tdm")) is TDM


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(("given", "meant"), [("mien", "mine"), ("itlink", "itlinq")])
def test_the_nearest_name_of_all_is_suggested(given: str, meant: str) -> None:
    with pytest.raises(ValueError, match=f"'{given}' .did you mean '{meant}'") as caught:
        parse_scheduler(given)
    for name in (*REGISTRY, "mine", "broken"):
        assert name in str(caught.value)


@pytest.mark.usefixtures("added")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", "ModuleNotFoundError: No module named 'a_library_that_nobody_has'"),
        ("gone", "AttributeError: module 'somebodys' has no attribute 'Yours'"),
        ("leaving", "SystemExit: 3"),
    ],
)
def test_a_scheduler_that_cannot_be_imported_is_told_in_one_line(
    name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--schedulers", name, "--episodes", "2"]) == 2
    lines = capsys.readouterr().err.splitlines()
    module = {"broken": "brokens:Mine", "gone": "somebodys:Yours", "leaving": "leavers:Mine"}[name]
    assert lines == [f"error: scheduler {name}, {module}, cannot be imported ({reason})"]


@pytest.mark.usefixtures("added")
def test_an_added_scheduler_is_compared(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--schedulers", "tdm,mine", "--episodes", "2", "--set", "episode_length=3"]
    assert command.main(arguments) == 0
    assert "mine" in capsys.readouterr().out


def test_packages_that_add_schedulers_are_not_imported_before_they_are_asked_for() -> None:
    program = (
        "import sys; from baselines.registry import added_schedulers, parse_scheduler\n"
        "parse_scheduler('tdm'); added_schedulers()\n"
        "assert not {'torch', 'marl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
