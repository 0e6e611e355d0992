"""The benchmarks behind docs/performance.md in miniature: its one command, and who decides."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from folders import ROOT, examples

from rrm_env import RRMConfig
from rrm_env.exit_status import status_of


@pytest.fixture(scope="module", name="scripts")
def imported() -> Iterator[tuple[ModuleType, ModuleType]]:
    """performance.py and deciding.py of examples/benchmarks."""
    with examples():
        import deciding
        import performance

        yield performance, deciding


def test_every_scheduler_and_the_optimum_are_timed(
    scripts: tuple[ModuleType, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, deciding = scripts
    path = tmp_path / "deciding.json"
    deciding.main(deciding.Options(quick=True, rounds=1, json=path))
    found = json.loads(path.read_text(encoding="utf-8"))
    assert list(found["presets"]) == list(deciding.QUICK)
    printed = capsys.readouterr().out
    for preset in found["presets"].values():
        rows = {row["scheduler"]: row for row in preset["schedulers"]}
        assert tuple(rows) == deciding.SCHEDULERS
        for name, row in rows.items():
            assert name in printed
            assert row["us_per_decision"] > 0
            assert row["env_steps_per_second"] == pytest.approx(
                1e6 / (row["us_per_decision"] + row["us_per_network_step"])
            )
        # Solving linear programs for 5 steps takes longer than to sort 20 users in each.
        assert rows["fluid"]["us_per_decision"] > rows["proportional_fair"]["us_per_decision"]
        assert preset["optimum"]["seconds_per_episode"] > 0
        assert preset["optimum"]["relative_gap"] < 0.01


def test_schedulers_that_refuse_a_network_are_left_out(
    scripts: tuple[ModuleType, ModuleType],
) -> None:
    _, deciding = scripts
    for preset, case in deciding.CASES.items():
        for name in case.left_out:
            with pytest.raises(ValueError, match="joint actions"):
                deciding.scheduler_rows((name,), RRMConfig.preset(preset), 1, 1)


def test_one_command_measures_all_parts_and_names_those_that_fail(
    scripts: tuple[ModuleType, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    performance, _ = scripts
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(performance, "FOLDER", tmp_path)
    for name in ("good", "bad"):
        (tmp_path / f"{name}.py").write_text(
            f"import sys; print('ran {name}', *sys.argv[1:]); sys.exit({name == 'bad':d})"
        )
    parts = {name: performance.Part(f"{name}.py", f"{name}.json") for name in ("bad", "good")}
    monkeypatch.setattr(performance, "PARTS", parts)
    assert status_of(lambda: performance.main(performance.Options(quick=True))) == 1
    printed = capfd.readouterr()
    assert "ran bad --quick" in printed.out
    assert "ran good --quick" in printed.out
    assert "bad" in printed.err
    assert "good" not in printed.err
    with pytest.raises(ValueError, match=r"unknown part 'god'.*good"):
        performance.Options(parts=("god",))


def test_parts_are_scripts_whose_results_the_tables_read(
    scripts: tuple[ModuleType, ModuleType],
) -> None:
    performance, _ = scripts
    for part in performance.PARTS.values():
        assert (ROOT / performance.FOLDER / part.script).exists()
        command = performance.command_of(part, quick=False)
        assert command[-2:] == ["--json", f"docs/results/{part.results}"]
        assert (ROOT / command[-1]).exists()
        assert "--json" not in performance.command_of(part, quick=True)
