"""tests/reliability/fuzz_calls.py in miniature: every section, and that a broken check is noticed."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from folders import examples

from marl.sweep.grid import MAX_POINTS, Sweep

COUNTS = {"configurations": 1000, "networks": 60, "learners": 60, "command lines": 40, "TOML": 60}


@pytest.fixture(scope="module")
def calls() -> ModuleType:
    """tests/reliability/fuzz_calls.py, imported."""
    with examples():
        import fuzz_calls
    return fuzz_calls


@pytest.mark.parametrize("name", COUNTS)
def test_draws_are_refused_or_work(calls: ModuleType, name: str) -> None:
    verdicts = list(calls.SECTIONS[name](0, COUNTS[name]))
    assert [detail for outcome, detail in verdicts if outcome == "finding"] == []
    assert {outcome for outcome, _ in verdicts} == {"refused", "fine"}


def test_every_section_is_tried(calls: ModuleType) -> None:
    assert set(calls.SECTIONS) == set(COUNTS)


def test_an_error_that_is_not_ours_is_a_finding(
    calls: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OverflowError("int too large")

    monkeypatch.setattr("rrm_env.config._checked", broken)
    verdicts = [outcome for outcome, _ in calls.SECTIONS["configurations"](0, 20)]
    assert "finding" in verdicts


def test_deep_nesting_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(f"seeds = {'[' * 3000}{']' * 3000}\n")
    with pytest.raises(ValueError, match=r"deep.toml.*nested too deeply"):
        Sweep.read(path)


def test_an_axis_beyond_any_grid_is_refused_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"\[train\] updates has 100,000 values, allowed: up to 10,000"
    ):
        Sweep(train={"updates": list(range(10 * MAX_POINTS))})
