"""examples/paper/benchmark.py in miniature: cells, the file, ranks, tables and picture."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from folders import examples
from miniature import PNG

from rrm_env import RRMConfig

TINY = RRMConfig(
    n_aps=2,
    n_ues=6,
    n_candidates=2,
    episode_length=4,
    measurements="neighbours",
    clock="elapsed",
    average="episode",
    n_neighbours=2,
)


@pytest.fixture(name="script")
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with one network, which is tiny, and few tiers and methods."""
    from marl.benchmark import recipes

    with examples():
        import benchmark
        import benchmark_methods
        import benchmark_pictures
        import benchmark_tables

        methods = benchmark_methods.METHODS
        few = {name: methods[name] for name in ("bc-i", "bc-c", "graph-dual")}
        tiers = {name: recipes.TIERS[name] for name in ("random", "mixed")}
        networks = {"paper": TINY}
        for module in (benchmark, benchmark_pictures, benchmark_tables, recipes):
            monkeypatch.setattr(module, "NETWORKS", networks)
            monkeypatch.setattr(module, "TIERS", tiers)
        for module in (benchmark, benchmark_pictures, benchmark_tables):
            if hasattr(module, "METHODS"):
                monkeypatch.setattr(module, "METHODS", few)
        monkeypatch.setattr(
            benchmark, "normalised_score", lambda score, _: 50.0 * score
        )  # a tiny network has no references
        yield benchmark


def test_missing_cells_are_computed_and_others_kept(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "benchmark.json"
    kept = {"paper/random:bc-i": {"kept": True}}
    path.write_text(json.dumps({"cells": kept}))
    options: dict[str, Any] = {"quick": True, "json": path, "out": tmp_path / "runs"}
    script.main(script.Options(**options))
    found = json.loads(path.read_text())["cells"]
    assert found["paper/random:bc-i"] == {"kept": True}
    assert set(found) == {str(cell) for cell in script.cells()}
    row = found["paper/mixed:bc-c"]
    assert len(row["seeds"]) == script.QUICK.seeds
    assert row["score"]["mean"] == pytest.approx(np.mean(row["seeds"]))
    behaviour = found["paper/mixed:behaviour"]["score"]["mean"]
    assert row["above_behaviour"]["mean"] == pytest.approx(row["score"]["mean"] - behaviour)
    assert row["learner"]["algorithm"] == "bc"
    assert not list((tmp_path / "runs").iterdir()), "runs of finished cells are removed"

    # Computed anew, a cell comes out the same.
    capsys.readouterr()
    script.main(script.Options(cells=("paper/mixed:*-c",), **options))
    again = json.loads(path.read_text())["cells"]
    assert capsys.readouterr().out.count("paper/mixed:bc-c:") == 1
    assert again["paper/mixed:bc-c"]["seeds"] == row["seeds"]


def test_unknown_cells_are_refused(script: ModuleType, tmp_path: Path) -> None:
    options = script.Options(quick=True, cells=("paper/mixed:bcc",), out=tmp_path)
    with pytest.raises(ValueError, match=r"cells = 'paper/mixed:bcc' names no cell.*bc-i"):
        script.main(options)


def test_a_mixed_behaviour_counts_by_its_shares(script: ModuleType) -> None:
    from rrm_env import evaluate

    cell = script.Cell("paper", "mixed", "behaviour")
    found = script.behaved(cell, script.QUICK)["score"]
    parts = [
        evaluate(script._AmongCandidates(behaviour.scheduler), TINY, script.QUICK.episodes).score
        for behaviour in script.TIERS["mixed"].behaviours("paper")
    ]
    np.testing.assert_allclose(found, np.mean(parts, axis=0))


@pytest.fixture(name="cells")
def cells_of_two_methods() -> dict[str, Any]:
    """Cells in which bc-c is better than bc-i in one of two datasets, seed by seed."""
    scores = {
        "paper/random:bc-i": [1.0, 1.1],
        "paper/random:bc-c": [2.0, 2.1],
        "paper/mixed:bc-i": [1.0, 3.0],
        "paper/mixed:bc-c": [2.0, 2.0],
    }
    between = {"mean": 10.0, "low": 9.0, "high": 11.0}
    return {
        name: {
            "seeds": seeds,
            "score": between,
            "normalised": between,
            "worst_rate": between,
            "above_behaviour": {"mean": 1.0, "low": 1.0 if "bc-c" in name else -1.0, "high": 2.0},
        }
        for name, seeds in scores.items()
    }


def test_ranks_and_probabilities(script: ModuleType, cells: dict[str, Any]) -> None:
    import benchmark_pictures as pictures

    data, methods, scores = pictures.compared(cells, ["paper"])
    assert data == ["paper/random", "paper/mixed"]
    assert methods == ["bc-i", "bc-c"]
    np.testing.assert_array_equal(scores[1], [[2.0, 2.0], [2.1, 2.0]])
    ranks = dict(zip(methods, pictures.mean_ranks(scores), strict=True))
    # Second and, since the means are equal, shared first; and the other way round.
    assert ranks["bc-i"][0] == pytest.approx((2 + 1.5) / 2)
    assert ranks["bc-c"][0] == pytest.approx((1 + 1.5) / 2)
    assert ranks["bc-c"][1] < ranks["bc-c"][2]
    better, low, high = pictures.improvements(cells)["bc-c"]
    assert better == pytest.approx((1 + 0.5) / 2)
    assert low <= better <= high


def test_methods_of_one_network_are_compared_within_it(
    script: ModuleType, cells: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import benchmark_pictures as pictures

    monkeypatch.setitem(script.NETWORKS, "other", TINY)
    cells["other/mixed:bc-i"] = cells["paper/mixed:bc-i"]
    assert pictures.compared(cells, ["paper", "other"])[1] == ["bc-i"]
    data, methods, _ = pictures.compared(cells, ["paper"])
    assert data == ["paper/random", "paper/mixed"]
    assert methods == ["bc-i", "bc-c"]
    # The third dataset has no score of bc-c to compare with.
    assert pictures.improvements(cells)["bc-c"][0] == pytest.approx((1 + 0.5) / 2)


def test_equal_scores_share_their_rank(script: ModuleType) -> None:
    import benchmark_pictures as pictures

    np.testing.assert_array_equal(pictures.ranks(np.array([5.0, 7.0, 5.0, 1.0])), [2.5, 1, 2.5, 4])


def test_a_table_that_has_only_begun_is_drawn(script: ModuleType, tmp_path: Path) -> None:
    import benchmark_pictures as pictures
    import benchmark_tables as tables

    pictures.draw({}, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").exists()
    assert "No method" in tables.benchmark_tables({"cells": {}})


def test_tables_and_picture(script: ModuleType, cells: dict[str, Any], tmp_path: Path) -> None:
    import benchmark_pictures as pictures
    import benchmark_tables as tables

    text = tables.benchmark_tables({"cells": cells})
    assert "| cloning, centralised | **10** (9…11) | **10** (9…11) |" in text
    assert "| cloning, independent | 10 (9…11) | 10 (9…11) |" in text
    assert "| cloning, centralised | 1.2 (" in text
    assert "75 % (" in text
    pictures.draw(cells, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
