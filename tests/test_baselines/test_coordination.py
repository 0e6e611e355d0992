"""Measurements, turns and messages in observations, and the reward of growing utility."""

from __future__ import annotations

import math
from dataclasses import replace

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import OBSERVING, configs, random_actions, random_service, reset_network, seeds

from baselines import REGISTRY, TurnTaking
from rrm_env import SILENT, Network, RRMConfig, RRMVectorEnv, evaluate, kernels, parallel_env

coordinating = configs(**OBSERVING)
broadcasting = configs(**{**OBSERVING, "message_range": "all"})


# --- Observations ---


@given(broadcasting, seeds, st.integers(0, 2**32))
def test_turn_and_messages_follow_the_candidates(config: RRMConfig, seed: int, noise: int) -> None:
    network, generator = reset_network(config, seed, num_envs=2), np.random.default_rng(noise)
    off = replace(config, turns="none", clock="none", messages="none")
    plain = reset_network(off, seed, num_envs=2)
    n_aps, of_each = config.n_aps, config.n_candidate_features
    candidates = config.n_candidates * of_each
    own = candidates + config.n_neighbours * (config.measurements == "neighbours")
    spread = {"none": 0, "best": of_each, "all": candidates}[config.messages]
    turned = 0 if config.turns == "none" else 1
    clocked = 0 if config.clock == "none" else 1
    assert (
        network.observation.shape
        == (2, n_aps, config.n_features)
        == (2, n_aps, own + turned + clocked + n_aps * spread)
    )
    assert config.message_bits_per_step == n_aps * spread * config.message_bits
    for _ in range(min(config.episode_length, 5)):
        np.testing.assert_array_equal(network.observation[..., :own], plain.observation)
        for b in range(2):
            if turned:
                holder = naive.turn_holder(
                    network.association[b].tolist(), n_aps, network.t, config.turns
                )
                assert network.observation[b, :, own].tolist() == [
                    float(i == holder) for i in range(n_aps)
                ]
            for sender in range(n_aps):
                place = own + turned + clocked + sender * spread
                block = network.observation[b, :, place : place + spread]
                assert (block == block[0]).all()
                for k in range(spread):
                    low, high = map(float, kernels.MESSAGE_RANGES[min(k % of_each, 2)])
                    value, width = (
                        float(plain.observation[b, sender, k]),
                        float(high - low) / 2**config.message_bits,
                    )
                    near = (
                        naive.quantised(value - 1e-5, low, high, config.message_bits),
                        naive.quantised(value + 1e-5, low, high, config.message_bits),
                    )
                    assert (
                        min(near) - 1e-6 * max(width, 1)
                        <= block[0, k]
                        <= max(near) + 1e-6 * max(width, 1)
                    )
        chosen = random_actions(network, generator)
        network.step_actions(chosen)
        plain.step_actions(chosen)


@given(configs(measurements=st.just("large_scale")), seeds, st.integers(0, 2**32))
def test_measurements_are_the_gains_of_each_candidate_from_all_aps(
    config: RRMConfig, seed: int, noise: int
) -> None:
    network, generator = reset_network(config, seed, num_envs=2), np.random.default_rng(noise)
    plain = reset_network(replace(config, measurements="none"), seed, num_envs=2)
    for _ in range(min(config.episode_length, 5)):
        seen = network.observation.reshape(2, config.n_aps, config.n_candidates, 2 + config.n_aps)
        np.testing.assert_array_equal(
            seen[..., :2].reshape(plain.observation.shape), plain.observation
        )
        for b in range(2):
            gains = network.large_scale_gain[b].tolist()
            measured = [
                [naive.measurements(ue, gains) for ue in slots]
                for slots in network.candidates[b].tolist()
            ]
            np.testing.assert_allclose(seen[b, ..., 2:], measured, rtol=2e-6, atol=1e-6)
        chosen = random_actions(network, generator)
        network.step_actions(chosen)
        plain.step_actions(chosen)


@given(coordinating, seeds)
def test_observations_with_everything_lie_in_every_face_s_space(
    config: RRMConfig, seed: int
) -> None:
    env = parallel_env(config=config)
    observations, _ = env.reset(seed=seed)
    assert all(
        env.observation_space(agent).contains(observation)
        for agent, observation in observations.items()
    )
    vector = RRMVectorEnv(2, config)
    batch, _ = vector.reset(seed=seed)
    assert vector.observation_space.contains(batch)
    np.testing.assert_array_equal(batch[0], np.stack(list(observations.values())))


def test_few_bits_tell_few_values() -> None:
    network = reset_network(RRMConfig(messages="all", message_bits=2, n_ues=40), 0, num_envs=8)
    told = network.observation[..., 2 * network.config.n_candidates :]
    assert len(np.unique(told[..., 0::2])) == len(np.unique(told[..., 1::2])) == 4


# --- Turns ---


@given(configs(n_ues=st.sampled_from([3, 9, 20]), episode_length=40), seeds)
def test_turns_by_load_are_as_many_as_users_and_equal_ones_as_many_as_aps(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed, num_envs=2)
    by_load, equal = np.zeros((2, 2, config.n_aps))
    while not network.done:
        for count, turns, period in (
            (by_load, "by_load", config.n_ues),
            (equal, "equal", config.n_aps),
        ):
            if network.t < period:
                count[np.arange(2), network.turn(turns)] += 1
        network.step_actions(np.zeros((2, config.n_aps), int))
    assert by_load.tolist() == [
        [(network.association[b] == i).sum() for i in range(config.n_aps)] for b in range(2)
    ]
    assert (equal == 1).all()


def test_unknown_turns_are_refused() -> None:
    network = reset_network(RRMConfig(), 0)
    with pytest.raises(ValueError, match=r"^turns must be one of equal, by_load, got 'none'$"):
        network.turn("none")
    with pytest.raises(
        ValueError,
        match=r"^unknown turns 'by load' \(did you mean 'by_load'\?\); allowed: equal, by_load$",
    ):
        TurnTaking(turns="by load")


@pytest.mark.parametrize("turns", ["equal", "by_load"])
@given(config=configs(), seed=seeds, noise=st.integers(0, 2**32))
def test_turn_taking_serves_the_candidate_of_highest_weight_alone(
    turns: str, config: RRMConfig, seed: int, noise: int
) -> None:
    network, scheduler, generator = (
        reset_network(config, seed, num_envs=2),
        TurnTaking(turns),
        np.random.default_rng(noise),
    )
    for _ in range(min(config.episode_length, 4)):
        served = scheduler.schedule(network)
        for b in range(2):
            holder = naive.turn_holder(
                network.association[b].tolist(), config.n_aps, network.t, turns
            )
            own = [ue for ue in network.candidates[b, holder].tolist() if ue != SILENT]
            assert all(served[b, i] == SILENT for i in range(config.n_aps) if i != holder)
            assert served[b, holder] == (
                min(own, key=lambda ue: network.average_rate[b, ue]) if own else SILENT
            )
        network.step(random_service(network, generator))


def test_taking_turns_by_load_beats_every_baseline_of_the_paper_without_a_message() -> None:
    by_load, equal, itlinq = (
        evaluate(REGISTRY[name](**options), episodes=32).score.mean() for name, options in BEATEN
    )
    assert by_load > 1.7 > equal > itlinq


BEATEN: tuple[tuple[str, dict[str, str]], ...] = (
    ("turn_taking", {}),
    ("turn_taking", {"turns": "equal"}),
    ("itlinq", {}),
)


# --- The reward utility ---


def last_eta(config: RRMConfig) -> float:
    """Eq. 13's eta in the last step of an episode."""
    constants = config.average, config.rate_ema, config.average_prior_steps
    return naive.newest_weight(config.episode_length, *constants)


@given(configs(reward="utility"), seeds, st.integers(0, 2**32))
def test_utility_reward_is_the_growth_of_utility(config: RRMConfig, seed: int, noise: int) -> None:
    network, generator = reset_network(config, seed, num_envs=2), np.random.default_rng(noise)
    for _ in range(min(config.episode_length, 6)):
        before = network.average_rate.astype(float)
        _, reward = network.step(random_service(network, generator))
        for b in range(2):
            terms = [
                naive.utility(value, config.fairness_exponent) / last_eta(config)
                for value in before[b]
            ]
            expected = naive.utility_growth(
                before[b].tolist(),
                network.average_rate[b].tolist(),
                config.fairness_exponent,
                last_eta(config),
            )
            assert reward[b] == pytest.approx(
                expected, rel=1e-4, abs=1e-6 * sum(map(abs, terms)) + 1e-6
            )


@given(
    configs(reward="utility", rate_ema=st.sampled_from([0.05, 0.25])), seeds, st.integers(0, 2**32)
)
def test_utility_rewards_telescope_to_the_utility_gained(
    config: RRMConfig, seed: int, noise: int
) -> None:
    network, generator = reset_network(config, seed), np.random.default_rng(noise)
    first, total = network.average_rate[0].astype(float), 0.0
    while not network.done:
        total += float(network.step(random_service(network, generator))[1][0])
    gained = naive.utility_growth(
        first.tolist(), network.average_rate[0].tolist(), config.fairness_exponent, last_eta(config)
    )
    size = sum(abs(naive.utility(value, config.fairness_exponent)) for value in first)
    size /= last_eta(config)
    assert total == pytest.approx(gained, rel=1e-3, abs=1e-5 * size + 1e-4)


@pytest.mark.parametrize("exponent", [0.5, 0.8, 1.0, 2.0])
def test_utility_reward_is_to_first_order_the_paper_s_less_the_drift(exponent: float) -> None:
    config = RRMConfig(fairness_exponent=exponent, rate_ema=1e-4, min_average_rate=1e-6)
    paper, utility = (
        reset_network(replace(config, reward=reward), 3) for reward in ("weighted_rate", "utility")
    )
    for step in range(5):
        average = paper.average_rate[0].astype(float)
        served = random_service(paper, np.random.default_rng(step))
        drift = float((average ** (1 - exponent)).sum())
        assert utility.step(served)[1][0] == pytest.approx(
            paper.step(served)[1][0] - drift, rel=2e-2, abs=2e-2
        )


def test_serving_nobody_costs_utility_but_nothing_in_eq_16() -> None:
    for reward, sign in (("weighted_rate", 0), ("utility", -1)):
        network = Network(RRMConfig(reward=reward))
        network.reset(0)
        assert np.sign(network.step(np.full((1, 4), SILENT))[1][0]) == sign
    assert math.isfinite(network.average_rate.min())
