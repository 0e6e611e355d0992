"""examples/benchmarks/large_networks.py in miniature: its rows, refusals and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from folders import examples

from baselines import RandomWalk
from marl import collect
from rrm_env import RRMConfig


@pytest.fixture(scope="module", name="script")
def imported() -> Iterator[ModuleType]:
    """examples/benchmarks/large_networks.py."""
    with examples():
        import large_networks

        yield large_networks


@pytest.fixture(name="parts")
def parts_of_the_script(script: ModuleType) -> ModuleType:
    import large_parts

    return large_parts


def test_networks_are_as_dense_as_the_preset_whatever_their_size(script: ModuleType) -> None:
    paper = RRMConfig()
    for n_aps, n_ues in ((4, 20), (9, 20), (64, 1280)):
        config = script.network_of(n_aps, n_ues)
        assert n_aps / config.area_side_m**2 == pytest.approx(paper.n_aps / paper.area_side_m**2)


def test_a_network_row_counts_links_and_bytes(script: ModuleType, parts: ModuleType) -> None:
    row = parts.network_row(script.network_of(8, 40, episode_length=3), 16, threads=2)
    assert row["ns_per_link"] == pytest.approx(1e9 * row["step_s"] / (16 * 8 * 40))
    assert row["env_steps_per_second"] == pytest.approx(16 / row["step_s"])
    assert row["all_steps_s"] >= 3 * row["step_s"] / 2 > 0
    if row["peak_bytes"] is not None:
        assert row["peak_bytes"] > 16 * row["bytes_per_episode"] > 16 * 8 * 40 * 4


def test_the_gap_is_closed_by_many_starts_and_open_with_one(parts: ModuleType) -> None:
    config = RRMConfig(n_aps=5, n_ues=25, episode_length=30)
    one, many = (parts.gap_row(config, "reported", starts, 8) for starts in (1, 100))
    assert one["decisions"] == many["decisions"] == 240
    assert (
        one["ratio_lowest"]
        <= one["ratio_first_percentile"]
        <= one["ratio_mean"]
        < many["ratio_mean"]
        <= 1 + 1e-9
    )
    assert one["optimal_share"] < many["optimal_share"]
    assert many["ratio_mean"] > 0.999
    low, mean, high = (one["score_difference"][key] for key in ("low", "mean", "high"))
    assert low <= mean <= high
    assert mean == pytest.approx(one["score"]["greedy"] - one["score"]["exact"])


def test_a_learner_row_says_what_was_learned(
    script: ModuleType, parts: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "data.safetensors"
    dataset = collect(RandomWalk(silence=True), script.network_of(8, 40, episode_length=40), 800)
    dataset.write(path)
    changes = {
        "paradigm": "ctde",
        "algorithm": "dqn",
        "share_parameters": True,
        "cql_alpha": 0.0,
        "hidden_sizes": (16,),
    }
    row = parts.learner_row(
        {**changes, "critic_learning_rate": 3e-3}, path, updates=60, episodes=4, threads=1
    )
    assert row["td_loss"][1] < 0.5 * row["td_loss"][0]
    assert row["parameters"] == 2 * 2 * (
        (6 + 1) * 16 + (16 + 1) * 4
    )  # two critics and their targets
    assert row["minutes_for_5000_updates"] == pytest.approx(5000 * row["processor_s"] / 60)
    assert row["score_gain"]["mean"] == pytest.approx(row["score"][1] - row["score"][0])


def test_every_refusal_says_what_to_do_instead(script: ModuleType) -> None:
    said = {row["attempt"]: row["error"] for row in script.refusals(script.Options())}
    for attempt, instead in (
        ("centralised learner", "'ctde' or 'i'"),
        ("exhaustive search", "GreedyMaxWeight"),
        ("flat joint actions", "flat_actions = False"),
        ("replay of 10 seeds", "allowed: up to"),
    ):
        assert instead in said[attempt]


def test_sections_are_printed_and_wrong_ones_named(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script.main(
        script.Options(quick=True, only=("gap", "references"), json=tmp_path / "large.json")
    )
    text = capsys.readouterr().out
    assert "4 x 20, 3 in 100 m" in text
    assert "greedy_max_weight:csi=large_scale" in text
    assert '"gap"' in (tmp_path / "large.json").read_text(encoding="utf-8")
    before = json.loads((tmp_path / "large.json").read_text(encoding="utf-8"))
    script.main(script.Options(quick=True, only=("memory",), json=tmp_path / "large.json"))
    after = json.loads((tmp_path / "large.json").read_text(encoding="utf-8"))
    assert [row["scheduler"] for row in after.pop("memory")] == list(script.MEMORY)
    assert after == before  # other sections are kept
    with pytest.raises(ValueError, match=r"only must name sections, .*, got 'all'"):
        script.main(script.Options(only=("all",)))
