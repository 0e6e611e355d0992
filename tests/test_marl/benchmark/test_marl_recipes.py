"""Recipes of named datasets: their table, what they record, and that it is the same everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import ROOT

from baselines.registry import parse_scheduler
from marl import Dataset, collect, open_engine
from marl.benchmark.networks import COMMON, NETWORKS
from marl.benchmark.published import published
from marl.benchmark.recipes import (
    RECIPES,
    TIERS,
    TRANSITIONS,
    Behaviour,
    Recipe,
    Tier,
    names_of,
    recipe_of,
)
from marl.data.replay import bytes_per_transition
from marl.exchange.d3rlpy import episode_ends
from marl.team import team_of
from rrm_env import RRMConfig, evaluate, metrics
from rrm_env.references import reference

MOST_BYTES = 250e6
SMALL = Recipe("paper", "mixed", 7 * 200)
"""Seven episodes that three behaviours share."""


# --- The tables ---


def test_every_published_checksum_has_a_recipe_and_vice_versa() -> None:
    assert list(published()) == list(RECIPES)
    assert list(RECIPES) == [f"{network}/{tier}" for network in NETWORKS for tier in TIERS]
    checksums = [entry.checksum for entry in published().values()]
    assert len({*checksums}) == len(checksums)
    for name, entry in published().items():
        assert len(entry.checksum) == 64
        assert entry.transitions == RECIPES[name].transitions


def test_datasets_have_whole_episodes_and_fit_into_memory() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.transitions == recipe.episodes * recipe.config.episode_length
        assert recipe.transitions * bytes_per_transition(team_of(recipe.config)) < MOST_BYTES, name
        assert published()[name].bytes < MOST_BYTES
    assert TRANSITIONS.keys() == NETWORKS.keys()


def test_no_two_tiers_share_a_channel() -> None:
    seeds = [tier.seed for tier in TIERS.values()]
    assert len({*seeds}) == len(seeds)


def test_networks_are_presets_with_richer_observations() -> None:
    for name, config in NETWORKS.items():
        assert reference(config).name == name
        for field, value in COMMON.items():
            assert getattr(config, field) == value


def test_tiers_are_ordered_by_quality() -> None:
    scores = {name: entry.score for name, entry in published().items()}
    for network in ("paper", "power"):
        ordered = [scores[f"{network}/{tier}"] for tier in ("random", "medium", "expert")]
        assert ordered == sorted(ordered)
    for network in NETWORKS:
        assert scores[f"{network}/optimal"] == max(scores[f"{network}/{tier}"] for tier in TIERS)


# --- What is recorded ---


@pytest.fixture(scope="module")
def small() -> Dataset:
    return SMALL.record()


def test_behaviours_divide_whole_episodes_of_different_channels(small: Dataset) -> None:
    assert len(small) == 1400
    assert np.flatnonzero(episode_ends(small)).tolist() == [200 * k + 199 for k in range(7)]
    assert small.behaviour[::200].tolist() == [0, 0, 1, 1, 1, 2, 2]
    names = [behaviour["name"] for behaviour in small.metadata["behaviours"]]
    assert names == ["random_walk:silence=true", "itlinq:tolerance_db=-10", "long_memory"]
    for k, (name, first, last) in enumerate(zip(names, (0, 2, 5), (2, 5, 7), strict=True)):
        alone = collect(
            parse_scheduler(name),
            NETWORKS["paper"],
            200 * (last - first),
            TIERS["mixed"].seed,
            first_episode=first,
        )
        rows = slice(200 * first, 200 * last)
        for column, tensor in alone.tensors().items():
            if column != "behaviour":
                assert getattr(small, column)[rows].equal(tensor), (k, column)


def test_metadata_hold_every_episode(small: Dataset) -> None:
    for k, behaviour in enumerate(small.metadata["behaviours"]):
        episodes = behaviour["episodes"]
        reward = small.reward[small.behaviour == k].double().reshape(-1, 200)
        np.testing.assert_allclose(episodes["return"], reward.sum(dim=1), rtol=1e-9)
        assert len(episodes["score"]) == len(reward)
        for kpi in ("sum_rate", "tail_rate", "score"):
            assert np.mean(episodes[kpi]) == pytest.approx(behaviour["kpis"][kpi])
        network = NETWORKS["paper"]
        expected = [
            network.sum_weight * total + 3 * tail
            for total, tail in zip(episodes["sum_rate"], episodes["tail_rate"], strict=True)
        ]
        assert episodes["score"] == pytest.approx(expected)
        assert all(
            worst <= tail
            for worst, tail in zip(episodes["worst_rate"], episodes["tail_rate"], strict=True)
        )


def test_episodes_are_kept_only_where_asked_for() -> None:
    """Fingerprints of recordings that exist already must not change."""
    dataset = collect(parse_scheduler("tdm"), RRMConfig(episode_length=5), 10)
    assert set(dataset.metadata["behaviours"][0]) == {"name", "seed", "transitions", "kpis"}
    assert [*dataset.metadata["behaviours"][0]["kpis"]] == [
        "episodes",
        "return",
        *metrics.PAPER_KPIS,
    ]


def test_a_recording_is_the_same_whatever_the_engine(small: Dataset, tmp_path: Path) -> None:
    """In this process, with two workers, and in a process that is started for it alone."""
    small.write(tmp_path / "serial.safetensors")
    expected = (tmp_path / "serial.safetensors").read_bytes()
    path = tmp_path / "workers.safetensors"
    with open_engine("local", 2) as engine:
        SMALL.record(engine).write(path)
    assert path.read_bytes() == expected
    path = tmp_path / "other.safetensors"
    program = (
        "from marl.benchmark.recipes import Recipe\n"
        f"Recipe('paper', 'mixed', 1400).record().write({str(path)!r})"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    assert path.read_bytes() == expected


def test_a_tier_can_name_schedulers_with_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def behaviours(network: str) -> list[Behaviour]:
        asked.append(network)
        return [
            Behaviour("one", parse_scheduler("tdm")),
            Behaviour("three", parse_scheduler("greedy"), share=3),
        ]

    monkeypatch.setitem(TIERS, "made up", Tier("made up", behaviours, 7))
    dataset = Recipe("wide", "made up", 8 * 200).record()
    assert asked == ["wide"]
    assert dataset.behaviour[::200].tolist() == [0, 0, 1, 1, 1, 1, 1, 1]
    assert dataset.environment.network == NETWORKS["wide"]


def test_the_scale_of_a_recording_is_that_of_its_network(small: Dataset) -> None:
    scheduler = parse_scheduler("long_memory")
    scheduler.schedule = scheduler.schedule_candidates  # type: ignore[method-assign]
    seen = evaluate(scheduler, NETWORKS["paper"], 16).score.mean()
    recorded = small.metadata["behaviours"][2]["kpis"]["score"]
    assert recorded == pytest.approx(seen, rel=0.2)


# --- Names ---


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["paper/medium"], ["paper/medium"]),
        (["wide/*"], [f"wide/{tier}" for tier in TIERS]),
        (["*/expert", "paper/expert"], [f"{network}/expert" for network in NETWORKS]),
        (["all"], list(RECIPES)),
    ],
)
def test_names_and_patterns(patterns: list[str], expected: list[str]) -> None:
    assert names_of(patterns) == expected


@pytest.mark.parametrize("call", [lambda: recipe_of("paper/medum"), lambda: names_of(["paper/x*"])])
def test_unknown_names_are_refused(call: Any) -> None:
    with pytest.raises(ValueError, match="unknown dataset 'paper/"):
        call()
