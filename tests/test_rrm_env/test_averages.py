"""Long-term averages that forget, and those that remember the whole episode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import configs, random_service, reset_network, seeds

from baselines import MaxWeight
from rrm_env import Network, RRMConfig, evaluate, metrics

FLOOR = 1e-6


@given(configs(average="episode", min_average_rate=FLOOR), seeds, st.integers(0, 2**32))
def test_the_average_of_an_episode_is_the_mean_with_its_prior(
    config: RRMConfig, seed: int, noise: int
) -> None:
    network, generator = reset_network(config, seed), np.random.default_rng(noise)
    prior, first = config.average_prior_steps, network.average_rate[0].tolist()
    history: list[list[float]] = []
    while not network.done:
        history.append(network.step(random_service(network, generator))[0][0].tolist())
        for j, start in enumerate(first):
            mean = naive.mean_since_start(start, [rates[j] for rates in history], prior)
            # What the prior leaves of the start keeps this user above the floor all along.
            if prior * start / (prior + network.t) > FLOOR:
                assert network.average_rate[0, j] == pytest.approx(mean, rel=1e-5)


@given(configs(), seeds, st.sampled_from(["weighted_rate", "utility"]))
def test_each_average_has_its_own_constant_and_ignores_the_other_s(
    config: RRMConfig, seed: int, reward: str
) -> None:
    unused = "average_prior_steps" if config.average == "ema" else "rate_ema"
    other: dict[str, Any] = {unused: 0.123}
    config = replace(config, reward=reward)
    networks = [reset_network(config, seed), reset_network(replace(config, **other), seed)]
    generator = np.random.default_rng(seed)
    while not networks[0].done:
        served = random_service(networks[0], generator)
        (rates, rewards), (again, rewards_again) = (network.step(served) for network in networks)
        assert np.array_equal(rates, again)
        assert np.array_equal(rewards, rewards_again)
        for name in ("average_rate", "pf_ratio", "candidates", "observation"):
            assert np.array_equal(*(getattr(network, name) for network in networks)), name


def test_the_order_of_rates_matters_to_an_average_that_forgets_alone() -> None:
    """A user served in the first steps or in the last, without fading and motion."""
    still: dict[str, Any] = {
        "n_aps": 1,
        "n_ues": 2,
        "fading": "none",
        "ue_speed_mps": 0.0,
        "episode_length": 20,
    }
    for average, ratio in (("episode", 1.0), ("ema", (1 - 0.05) ** 10)):
        ends = []
        for serve_early in (True, False):
            network = reset_network(RRMConfig(average=average, **still), 3)
            start = network.average_rate[0, 0] * (
                5 / 25 if average == "episode" else (1 - 0.05) ** 20
            )
            while not network.done:
                network.step([[0 if (network.t < 10) == serve_early else 1]])
            ends.append(network.average_rate[0, 0] - start)
        assert ends[0] / ends[1] == pytest.approx(ratio, rel=1e-4)


@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.0, 2.0])
def test_utility_over_an_episode_is_eq_16_less_the_drift_by_the_ratio_of_etas(
    exponent: float,
) -> None:
    """To first order in eta, which a long prior keeps small."""
    config = RRMConfig(
        average="episode",
        average_prior_steps=1e4,
        fairness_exponent=exponent,
        min_average_rate=FLOOR,
        episode_length=20_000,
    )
    paper, utility = (
        reset_network(replace(config, reward=reward), 3) for reward in ("weighted_rate", "utility")
    )
    for step in range(5):
        ratio = (20_000 + 1e4) / (step + 1 + 1e4)
        drift = float((paper.average_rate[0].astype(float) ** (1 - exponent)).sum())
        served = random_service(paper, np.random.default_rng(step))
        expected = ratio * (float(paper.step(served)[1][0]) - drift)
        assert utility.step(served)[1][0] == pytest.approx(expected, rel=2e-2, abs=0.1)


@given(configs(pf_exponent=0.0), seeds)
def test_without_weights_candidates_are_those_of_the_highest_reported_rate(
    config: RRMConfig, seed: int
) -> None:
    network, generator = reset_network(config, seed), np.random.default_rng(seed)
    while not network.done:
        assert np.array_equal(network.pf_ratio, network.reported_rate)
        network.step(random_service(network, generator))


def test_steep_candidates_and_averages_that_remember_raise_the_score_of_max_weight() -> None:
    """Paired by episode over 48 episodes, each interval above the last."""
    scheduler = MaxWeight(csi="large_scale", exponent=4.0)
    remember = RRMConfig(average="episode", average_prior_steps=1.0)
    forgets, remembers, steep = (
        evaluate(scheduler, config, episodes=48).score
        for config in (RRMConfig(), remember, replace(remember, pf_exponent=8.0))
    )
    assert metrics.difference_interval(remembers, forgets)[0] > 0
    assert metrics.difference_interval(steep, remembers)[0] > 0.1


def test_averages_begin_alike_at_the_rate_of_the_first_report() -> None:
    for average in ("ema", "episode"):
        network = Network(RRMConfig(average=average), num_envs=16)
        network.reset(0)
        assert np.array_equal(
            network.average_rate, np.maximum(network.reported_rate, 0.01, dtype="f4")
        )
