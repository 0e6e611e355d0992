"""The script that writes the references of normalised scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from folders import ROOT, examples

from baselines import RandomWalk
from baselines.optimum import optimum
from rrm_env import RRMConfig, evaluate, reference
from rrm_env.references import network_of

pytest.importorskip("scipy.optimize")
with examples():
    import references

EPISODES = 3


@pytest.fixture
def _at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(table: Path, *networks: str) -> dict[str, object]:
    references.main(references.Options(networks, table, EPISODES))
    content: dict[str, object] = json.loads(table.read_text(encoding="utf-8"))
    return content


@pytest.mark.usefixtures("_at_the_root")
def test_the_table_states_random_walk_and_optimum_of_the_episodes(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    first = run(table, "paper")
    entry = first["networks"]["paper"]  # type: ignore[index] # it is a mapping
    walk = evaluate(RandomWalk(), RRMConfig(), EPISODES)
    best = optimum(RRMConfig(), 0, EPISODES)
    assert entry["random_walk"]["score"] == pytest.approx(walk.score.mean())
    assert entry["random_walk"]["minimum_score"] == pytest.approx(walk.minimum_score.mean())
    assert entry["optimum"]["score"] == pytest.approx(best.score.value.mean(), rel=1e-6)
    assert entry["optimum"]["minimum_score"] == pytest.approx(
        best.minimum_score.value.mean(), rel=1e-6
    )
    assert (entry["random_walk_episodes"], entry["optimum_episodes"]) == (EPISODES, EPISODES)
    assert entry["is_bound"]
    assert first["version"] == 1
    assert run(table, "paper")["version"] == 1
    entry["optimum"]["score"] += 0.1
    table.write_text(json.dumps(first), encoding="utf-8")
    assert run(table, "paper")["version"] == 2


def test_the_cases_are_those_of_the_package() -> None:
    for name, case in references.CASES.items():
        known = reference(name)
        assert known.optimum_episodes == case.episodes
        assert known.information == case.information
        assert known.network == network_of(name, case.power_levels_dbm)


def test_unknown_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown network 'paperr'"):
        run(tmp_path / "table.json", "paperr")
