"""No scheduler is above the optimum by more than luck allows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs

from baselines import REGISTRY
from baselines.optimum import Optimum, optimum
from baselines.registry import parse_scheduler
from rrm_env import Evaluation, RRMConfig, evaluate

pytest.importorskip("scipy.optimize")

ERRORS = 5.0
"""Standard errors by which a mean may lie above a bound."""
EPISODES = 24

FURTHER = (
    "long_memory:exponent=4",
    "long_memory:users=candidates",
    "debts:counted=everybody",
    "debts:exchange_steps=4:debt_weight=3",
    "max_weight:csi=large_scale:exponent=2",
    "greedy_max_weight:csi=large_scale",
    "wmmse:csi=large_scale",
    "reuse:groups=2:turns=equal",
)


def excess(evaluation: Evaluation, bound: Optimum) -> dict[str, NDArray[np.float64]]:
    """(episodes,) by how much each KPI of a scheduler lies above its bound."""
    config, lowest = evaluation.config, evaluation.worst_rate
    score = config.sum_weight * evaluation.sum_rate + config.score_tail_weight * lowest
    return {
        "minimum_score": score - bound.minimum_score.bound,
        "sum_rate": evaluation.sum_rate - bound.sum_rate.bound,
        "max_min": lowest - bound.max_min.bound,
    }


def assert_below(name: str, config: RRMConfig, seed: int, bound: Optimum) -> None:
    """The means over episodes lie below the bounds, up to luck."""
    episodes = bound.episodes
    evaluation = evaluate(parse_scheduler(name), config, episodes, seed)
    for kpi, difference in excess(evaluation, bound).items():
        luck = ERRORS * difference.std(ddof=1) / math.sqrt(episodes) + 1e-6
        assert difference.mean() <= luck, (name, kpi)


fading: dict[str, Any] = {
    "n_aps": st.sampled_from([1, 2, 3, 4]),
    "n_ues": st.sampled_from([1, 2, 3, 5, 8, 12]),
    "episode_length": st.sampled_from([10, 25]),
    "tx_power_dbm": st.sampled_from([0.0, 10.0, 40.0]),
    "ue_speed_mps": st.sampled_from([0.0, 1.0]),
    "step_duration_s": 0.05,
    "fading": "iid",
}


@settings(max_examples=30)
@given(
    configs(**fading, csi_delay=st.sampled_from([1, 2])),
    st.integers(0, 1000),
    st.lists(st.sampled_from([*REGISTRY, *FURTHER]), min_size=4, max_size=4, unique=True),
)
def test_no_scheduler_is_above_the_optimum(config: RRMConfig, seed: int, names: list[str]) -> None:
    bound = optimum(config, seed, EPISODES, cached=False)
    assert bound.is_bound
    for name in names:
        assert_below(name, config, seed, bound)


@pytest.mark.parametrize(
    "name",
    ["long_memory", "debts:counted=everybody", "max_weight:csi=large_scale:exponent=2"],
)
def test_schedulers_come_close_to_the_bound_in_the_paper_s_network(name: str) -> None:
    """So a bound that is far too high would be noticed."""
    bound = optimum(RRMConfig(), 0, 16, cached=False)
    assert_below(name, RRMConfig(), 0, bound)
    evaluation = evaluate(parse_scheduler(name), RRMConfig(), 16)
    assert (
        excess(evaluation, bound)["minimum_score"].mean() > -0.35 * bound.minimum_score.bound.mean()
    )


@settings(max_examples=15)
@given(
    configs(
        **{
            **fading,
            "n_aps": st.sampled_from([1, 2, 4]),
            "fading": st.sampled_from(["iid", "jakes"]),
        },
        csi_delay=st.sampled_from([0, 1]),
    ),
    st.integers(0, 1000),
)
def test_with_the_whole_channel_known_it_bounds_oracles_too(config: RRMConfig, seed: int) -> None:
    """In every single episode, since nothing is left to luck."""
    bound = optimum(config, seed, 3, information="channel", cached=False)
    assert bound.blocks == config.episode_length
    for name in ("max_weight:csi=present", "max_weight", "greedy", "long_memory", "debts"):
        evaluation = evaluate(parse_scheduler(name), config, 3, seed)
        for kpi, difference in excess(evaluation, bound).items():
            assert (difference <= 1e-5).all(), (name, kpi)
        assert (evaluation.score <= bound.score.bound + 1e-5).all()


def test_schedulers_that_know_the_present_fading_exceed_the_large_scale_optimum() -> None:
    """Which is why the other information is there."""
    config = RRMConfig(n_ues=8, n_candidates=8, episode_length=50)
    bound = optimum(config, 0, 8, cached=False)
    evaluation = evaluate(parse_scheduler("greedy_max_weight:csi=present:exponent=0"), config, 8)
    assert (evaluation.sum_rate > bound.sum_rate.bound).mean() > 0.8


def test_without_fading_it_is_the_same_with_either_information() -> None:
    config = RRMConfig(n_aps=3, n_ues=9, fading="none", csi_delay=0, episode_length=6)
    one = optimum(config, 0, 2, blocks=6, cached=False)
    other = optimum(config, 0, 2, information="channel", cached=False)
    for name in ("score", "sum_rate", "max_min"):
        np.testing.assert_allclose(getattr(one, name).value, getattr(other, name).value, rtol=1e-6)
    for name in ("max_weight", "network_tdm"):
        difference = excess(evaluate(parse_scheduler(name), config, 2), one)
        assert all((kpi <= 1e-5).all() for kpi in difference.values())


def test_knowing_the_channel_is_worth_something() -> None:
    config = RRMConfig(n_aps=3, n_ues=9, episode_length=40)
    without = optimum(config, 0, 4, cached=False)
    known = optimum(config, 0, 4, information="channel", cached=False)
    assert (known.minimum_score.value > 1.1 * without.minimum_score.value).all()
