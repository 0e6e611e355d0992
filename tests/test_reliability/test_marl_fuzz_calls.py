"""tests/reliability/fuzz_calls.py in miniature: every section, and that a broken check is found."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis.errors import DidNotReproduce

from marl.sweep.grid import MAX_POINTS, Sweep

COUNTS = {"configurations": 1000, "networks": 60, "learners": 60, "command lines": 40, "TOML": 60}


@pytest.fixture(scope="module")
def calls() -> ModuleType:
    """tests/reliability/fuzz_calls.py, imported."""
    pytest.importorskip("resource", reason="no limits of memory there")
    import fuzz_calls

    return fuzz_calls


@pytest.mark.parametrize("name", COUNTS)
def test_cases_are_refused_or_work(calls: ModuleType, name: str) -> None:
    from fuzz_section import run

    outcomes = Counter[tuple[str, str]]()
    run(calls.SECTIONS[name], COUNTS[name], 0, outcomes)
    assert outcomes.total() == COUNTS[name]
    assert {outcome for _, outcome in outcomes} == {"refused", "fine"}


def test_every_section_is_tried(calls: ModuleType) -> None:
    assert set(calls.SECTIONS) == set(COUNTS)


def test_an_error_that_is_not_ours_is_a_finding(
    calls: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shrunk, and what its note says judges it again."""
    from fuzz_section import run

    def broken(*_: object) -> None:
        raise OverflowError("int too large")

    section = calls.SECTIONS["configurations"]
    monkeypatch.setattr("rrm_env.config.checked", broken)
    with pytest.raises(OverflowError) as finding:
        run(section, 20, 0, Counter())
    notes = "\n".join(finding.value.__notes__)
    assert "case=RRMConfig(n_aps=0)" in notes
    found = re.search(r"@reproduce_failure\('[\d.]+', b'(\S+)'\)", notes)
    assert found
    with pytest.raises(OverflowError, match="too large"):
        run(section, 20, 0, Counter(), replay=found[1])
    monkeypatch.undo()
    with pytest.raises(DidNotReproduce):
        run(section, 20, 0, Counter(), replay=found[1])


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
