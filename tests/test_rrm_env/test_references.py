"""Normalised scores against the published references of each network."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from typing import Any, cast

import numpy as np
import pytest
from folders import ROOT
from hypothesis import given
from hypothesis import strategies as st

from baselines import RandomWalk
from baselines.optimum import optimum
from rrm_env import PRESETS, RRMConfig, evaluate, normalised_score
from rrm_env.references import (
    KPIS,
    OF_THE_PHYSICS,
    OF_THE_VIEW,
    known_reference,
    reference,
    references,
)

TABLE = json.loads((ROOT / "rrm_env" / "references.json").read_text(encoding="utf-8"))

CHANGED: dict[str, Any] = {
    "n_candidates": 8,
    "rate_ema": 0.2,
    "average": "episode",
    "average_prior_steps": 9.0,
    "min_average_rate": 0.1,
    "pf_exponent": 2.0,
    "fairness_exponent": 0.5,
    "reward": "utility",
    "measurements": "neighbours",
    "n_neighbours": 3,
    "turns": "equal",
    "clock": "elapsed",
    "messages": "all",
    "message_range": "neighbours",
    "message_bits": 4,
}
"""Another value of each field of the view."""


def test_every_field_is_of_the_physics_or_of_the_view() -> None:
    names = [item.name for item in fields(RRMConfig)]
    assert sorted((*OF_THE_PHYSICS, *OF_THE_VIEW)) == sorted(names)
    assert set(CHANGED) == set(OF_THE_VIEW)


@pytest.mark.parametrize("field", OF_THE_VIEW)
def test_fields_of_the_view_change_neither_the_channel_nor_the_reference(field: str) -> None:
    config = RRMConfig(**{field: CHANGED[field]})
    assert config != RRMConfig()
    assert reference(config) is reference("paper")

    class First:
        """Serves the first user of each access point, whatever the view shows."""

        def reset(self, network: Any) -> None:
            """Remember nothing."""

        def schedule(self, network: Any) -> Any:
            """(B, I) the first user of each AP, or silence."""
            mine = network.association[:, None, :] == np.arange(network.config.n_aps)[:, None]
            return np.where(mine.any(-1), mine.argmax(-1), -1)

    rates = [
        evaluate(First(), replace(network, episode_length=5, n_ues=6), 3).ue_rates
        for network in (config, RRMConfig())
    ]
    np.testing.assert_array_equal(rates[0], rates[1])


@pytest.mark.parametrize("name", [*PRESETS, "power"])
@pytest.mark.parametrize("kpi", KPIS)
def test_the_ends_of_the_scale_are_0_and_100(name: str, kpi: str) -> None:
    known = reference(name)
    assert normalised_score(known.random_walk[kpi], name, kpi) == 0
    assert normalised_score(known.optimum[kpi], name, kpi) == pytest.approx(100)
    assert known.optimum["minimum_score"] <= known.optimum["score"]
    assert reference(known.network) is known
    assert known.version == TABLE["version"] >= 1


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=6), st.sampled_from(sorted(references())))
def test_scores_are_placed_linearly_between_the_ends(scores: list[float], name: str) -> None:
    zero, best = (TABLE["networks"][name][end]["score"] for end in ("random_walk", "optimum"))
    found = normalised_score(np.array(scores).reshape(1, -1), name)
    assert found.shape == (1, len(scores))
    for score, value in zip(scores, found[0], strict=True):
        assert value == pytest.approx((score - zero) / (best - zero) * 100)
        assert normalised_score(score, name) == value
        assert isinstance(normalised_score(score, name), float)


@pytest.mark.parametrize("name", ["paper", "wide", "power"])
def test_the_table_holds_what_evaluation_finds(name: str) -> None:
    """The first episodes here; the table's means are over all of them."""
    known = reference(name)
    walk = evaluate(RandomWalk(), known.network, known.random_walk_episodes)
    for kpi in KPIS:
        assert walk.kpi(kpi).mean() == pytest.approx(known.random_walk[kpi], rel=1e-5)


def test_the_optimum_of_the_table_is_that_of_the_committed_results() -> None:
    path = ROOT / "docs" / "results" / "schedulers.json"
    solved = json.loads(path.read_text(encoding="utf-8"))["paper"]["optimum"]
    known = reference("paper")
    assert known.optimum_episodes == solved["episodes"]
    for kpi in KPIS:
        assert known.optimum[kpi] == pytest.approx(solved[kpi]["mean"], rel=1e-6)


def test_the_optimum_of_the_table_has_the_scale_of_the_first_episodes() -> None:
    known = reference("paper")
    best = optimum(known.network, 0, 4)
    assert best.score.value.mean() == pytest.approx(known.optimum["score"], rel=0.15)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (RRMConfig(n_ues=21), "differs from paper in n_ues = 21; known: paper, "),
        (RRMConfig.preset("wide", csi_delay=0), "differs from wide in csi_delay = 0;"),
        (RRMConfig(score_tail_weight=1.0), "differs from paper in score_tail_weight = 1.0;"),
        (RRMConfig(score_sum_weight=1.0), "differs from paper in score_sum_weight = 1.0;"),
        (RRMConfig(power_levels_dbm=(10.0, 3.0)), "in power_levels_dbm = (10.0, 3.0);"),
        (
            RRMConfig(fading="jakes", ue_speed_mps=2.0),
            "differs from paper in ue_speed_mps = 2.0, fading = 'jakes';",
        ),
    ],
)
def test_networks_without_references_are_refused_by_name(config: RRMConfig, message: str) -> None:
    assert known_reference(config) is None
    with pytest.raises(ValueError, match="no references are known for this network") as refusal:
        normalised_score(1.0, config)
    assert message in str(refusal.value)
    assert "--optimum, or baselines.scale.ScoreScale" in str(refusal.value)


def test_values_of_equal_meaning_have_the_same_references() -> None:
    assert known_reference(RRMConfig(score_sum_weight=1 / 20)) is reference("paper")
    assert known_reference(RRMConfig(power_levels_dbm=(10.0,))) is reference("paper")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: normalised_score(1.0, "papr"),
            ValueError,
            "network 'papr' (did you mean 'paper'?)",
        ),
        (
            lambda: normalised_score(1.0, cast("str", 3)),
            TypeError,
            "network must be a name or an RRMConfig",
        ),
        (lambda: normalised_score("1", "paper"), TypeError, "score must be a real number"),
        (lambda: normalised_score(None, "paper"), TypeError, "score must be a real number"),
        (lambda: normalised_score(True, "paper"), TypeError, "score must be a real number"),
        (lambda: normalised_score(1.0, "paper", "sum_rate"), ValueError, "unknown kpi 'sum_rate'"),
    ],
)
def test_bad_arguments_are_refused(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call()
