"""examples/benchmarks/schedulers.py in miniature: its rows, the optimum's, and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from folders import examples

from baselines.optimum import optimum
from rrm_env import RRMConfig, evaluate


@pytest.fixture(scope="module", name="script")
def imported() -> Iterator[ModuleType]:
    """examples/benchmarks/schedulers.py."""
    with examples():
        import schedulers

        yield schedulers


def test_scheduler_rows_are_evaluations(script: ModuleType) -> None:
    config = RRMConfig(episode_length=20)
    best = optimum(config, 0, 2, cached=False)
    row = script.scheduler_row("itlinq:tolerance_db=0", config, 4, best)
    found = evaluate(script.parse_scheduler(row["scheduler"]), config, 4)
    assert row["score"]["mean"] == pytest.approx(found.score.mean())
    lowest = found.ue_rates.min(axis=1)
    everybody = config.sum_weight * found.sum_rate + config.score_tail_weight * lowest
    assert row["minimum_score"]["mean"] == pytest.approx(everybody.mean())
    share = found.score[:2].mean() / best.score.value.mean()
    assert row["score_share"]["mean"] == pytest.approx(share)
    assert row["steps_per_second"] > 0
    assert row["steps_per_processor_second"] > 0


def test_tables_are_printed_and_other_networks_kept(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps({"dense": "as it was"}))
    script.main(script.Options(quick=True, networks=("paper", "8 access points"), json=path))
    text = capsys.readouterr().out
    assert "Network paper" in text
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found.pop("dense") == "as it was"
    assert list(found) == ["paper", "8 access points"]
    rows = [row["scheduler"] for row in found["paper"]["schedulers"]]
    assert rows == [*script.SCHEDULERS, *script.ONLY_IN_PAPER]
    top = found["paper"]["optimum"]
    assert top["is_bound"]
    assert 0 <= top["relative_gap"]["score"] < 1e-6
    with pytest.raises(ValueError, match="unknown network 'papers'"):
        script.main(script.Options(networks=("papers",)))


def test_some_rows_are_measured_anew_and_others_kept(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, case = tmp_path / "found.json", script.NETWORKS["8 access points"]
    few = ("tdm", "debts", "long_memory")
    short = script.Case(case.config, few, 2, 1)
    monkeypatch.setitem(script.NETWORKS, "8 access points", short)
    chosen = {"quick": True, "networks": ("8 access points",), "json": path}
    script.main(script.Options(**chosen))
    before = json.loads(path.read_text())["8 access points"]
    before["schedulers"] = [{**row, "score": "old"} for row in before["schedulers"][::-1]]
    path.write_text(json.dumps({"dense": "as it was", "8 access points": before}))
    script.main(script.Options(**chosen, schedulers=("debts", "fluid")))  # fluid is not measured
    found = json.loads(path.read_text())
    assert found["dense"] == "as it was"
    rows = found["8 access points"]["schedulers"]
    assert [row["scheduler"] for row in rows] == list(few)
    assert [row["score"] == "old" for row in rows] == [True, False, True]
    assert rows[1]["score_share"]["mean"] > 0
    assert found["8 access points"]["optimum"] == before["optimum"]
