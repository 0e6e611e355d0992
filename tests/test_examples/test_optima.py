"""examples/paper/optima.py: the optimum beside the scores of studies, and what shows it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from documents import DOCS
from folders import examples
from miniature import PNG

from baselines.optimum import optimum
from rrm_env import RRMConfig

EPISODES = 2
SMALL: dict[str, Any] = {"n_aps": 2, "n_ues": 6, "episode_length": 10}


@pytest.fixture(scope="module", name="script")
def imported() -> Iterator[ModuleType]:
    """examples/paper/optima.py."""
    with examples():
        import optima

        yield optima


@pytest.mark.parametrize(
    ("changes", "information"),
    [
        ({}, "large_scale"),
        ({"fading": "none", "csi_delay": 0}, "large_scale"),
        ({"csi_delay": 0}, "channel"),
        ({"fading": "jakes"}, "channel"),
    ],
)
def test_the_optimum_knows_the_fading_where_schedulers_can(
    changes: dict[str, Any], information: str, script: ModuleType
) -> None:
    network = RRMConfig(**SMALL, **changes)
    found = script.optimum_of(network, EPISODES)
    best = optimum(network, 0, EPISODES, information=information)
    assert found["information"] == information
    for name in ("score", "minimum_score"):
        assert found[name]["mean"] == pytest.approx(getattr(best, name).value.mean())
    row = {"score": {"mean": found["score"]["mean"] / 4}}
    assert script.share_of(row, found) == pytest.approx(0.25)
    assert script.share_of(row, None) is None


def test_where_no_optimum_is_known_a_line_says_why(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.optimum_of(RRMConfig(n_aps=11, n_ues=22, csi_delay=0), EPISODES) is None
    assert "optimum left out: " in capsys.readouterr().out


def test_optima_are_stated_beside_scores_and_pictures_drawn(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    import tables

    before = {}
    for study, networks in script.STUDIES.items():
        before[study] = json.loads((DOCS / "results" / f"{study}.json").read_text())
        for k, entry in enumerate(before[study][networks].values()):
            del entry["optimum"]
            entry["network"] = {**SMALL, "csi_delay": k % 2}
        before[study]["scale"]["episodes"] = EPISODES
        (tmp_path / f"{study}.json").write_text(json.dumps(before[study]))
    without = [page(tmp_path) for page in (tables.sensitivity, tables.claims_map)]
    for name in ("past_the_paper", "optimum_paper"):
        shutil.copy(DOCS / "results" / f"{name}.json", tmp_path)
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    script.main()
    for study, networks in script.STUDIES.items():
        after = json.loads((tmp_path / f"{study}.json").read_text())
        for k, entry in enumerate(after[networks].values()):
            assert entry.pop("optimum")["information"] == ("channel", "large_scale")[k % 2]
        assert after == before[study]
    for name in ("sensitivity", "past_the_paper"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(PNG)
    for page, bare in zip((tables.sensitivity, tables.claims_map), without, strict=True):
        assert "%," not in bare
        assert "†" not in bare
        text = page(tmp_path)
        assert "†: schedulers can know the present fading" in text
        assert f"of the same {EPISODES} episodes" in text


def test_committed_rows_stay_below_the_optimum(script: ModuleType) -> None:
    for study, networks in script.STUDIES.items():
        content = json.loads((DOCS / "results" / f"{study}.json").read_text())
        for entry in content[networks].values():
            assert entry["optimum"]["command"] == "python examples/paper/optima.py"
            shares = [script.share_of(row, entry["optimum"]) for row in entry["rows"].values()]
            assert 0.2 < min(shares) < max(shares) < 0.75
