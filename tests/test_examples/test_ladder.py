"""examples/paper/ladder.py: its rungs have results, and its frontier is one."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from documents import DOCS
from folders import examples

from baselines import Greedy, LongMemory
from rrm_env import RRMConfig, evaluate


@pytest.fixture(scope="module", name="script")
def imported() -> Iterator[ModuleType]:
    """examples/paper/ladder.py."""
    with examples():
        import ladder

        yield ladder


def test_rungs_are_in_the_order_of_their_scores_but_for_equal_ones(script: ModuleType) -> None:
    rows, top = script.rows_of(DOCS / "results")
    assert [rung.row for rung, _ in rows] == [rung.row for rung in script.RUNGS]
    scores = [row["score"]["mean"] for _, row in rows]
    assert all(above > below - 0.01 for below, above in itertools.pairwise(scores))
    assert scores[-1] < top["score"]["mean"]


def test_the_frontier_falls_and_no_scheduler_is_above_it(script: ModuleType) -> None:
    config = RRMConfig(n_ues=8)
    points = script.frontier(config, 16)
    worst = [point["worst_rate"] for point in points]
    sums = [point["sum_rate"] for point in points]
    assert worst == sorted(worst)
    assert sums == sorted(sums, reverse=True)
    for scheduler in (Greedy(), LongMemory()):
        found = evaluate(scheduler, config, 16)
        for point in points:  # the best weighted sum of the two, for each weight
            value = point["sum_rate"] / 8 + point["tail_weight"] * point["worst_rate"]
            reached = found.sum_rate / 8 + point["tail_weight"] * found.worst_rate
            assert reached.mean() < value * 1.02


def test_the_picture_and_the_frontier_are_written(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    for source in {rung.source for rung in script.RUNGS}:
        shutil.copy(DOCS / "results" / f"{source}.json", tmp_path)
    monkeypatch.setattr(script, "WEIGHTS", (1.0, 3.0))
    script.main(script.Options(results=tmp_path, episodes=1))
    assert (tmp_path / "ladder.png").stat().st_size > 10_000
    found = json.loads((tmp_path / "frontier.json").read_text(encoding="utf-8"))
    assert [point["tail_weight"] for point in found["frontier"]] == [1.0, 3.0]
