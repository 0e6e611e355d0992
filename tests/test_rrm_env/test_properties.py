"""What holds of every network, whatever the configuration, the seed and the policy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fuzz_networks import judge_network, networks
from hypothesis import event, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import (
    BATCH,
    OBSERVING,
    configs,
    random_actions,
    random_service,
    reset_network,
    seeds,
)

from rrm_env import EVALUATION_SEEDS, SILENT, Network, RRMConfig

ULPS = 1e-6
"""Room for a few float32 roundings."""
READABLE = [
    "seeds",
    "ap_positions",
    "ue_positions",
    "association",
    "neighbours",
    "gain",
    "reported_gain",
    "large_scale_gain",
    "reported_sinr",
    "reported_rate",
    "average_rate",
    "pf_ratio",
    "candidates",
    "action_mask",
    "observation",
    "ue_rate_sum",
    "silent_steps",
    "served",
    "power_level",
    "power_sum",
]
PER_USER = [
    "ue_positions",
    "association",
    "average_rate",
    "reported_sinr",
    "reported_rate",
    "pf_ratio",
    "ue_rate_sum",
]
Policy = Callable[[Network, np.random.Generator], NDArray[np.int64]]
policies = st.sampled_from([random_service, lambda network, _: network.candidates[:, :, 0].copy()])
batches = st.integers(1, 4)


def snapshot(network: Network, slots: slice | int = slice(None)) -> list[NDArray[Any]]:
    """Copies of all that can be read of some slots."""
    return [getattr(network, name)[slots].copy() for name in READABLE]


def assert_same(left: list[NDArray[Any]], right: list[NDArray[Any]]) -> None:
    """Equal to the last bit."""
    for name, one, other in zip(READABLE, left, right, strict=True):
        assert np.array_equal(one, other), name


def steps(
    network: Network, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]]:
    """Play the episode with random service: what was served, rates and reward of each step."""
    generator = np.random.default_rng(seed)
    while not network.done:
        served = random_service(network, generator)
        yield served, *network.step(served)


# --- Geometry ---


@given(configs(), seeds, batches)
def test_distances_hold_at_reset(config: RRMConfig, seed: int, num_envs: int) -> None:
    network = reset_network(config, seed, num_envs)
    aps, ues = network.ap_positions[:, :, None], network.ue_positions[:, None]
    between_aps = np.linalg.norm(aps - aps.swapaxes(1, 2), axis=-1)[
        :, ~np.eye(config.n_aps, dtype=bool)
    ]
    assert (between_aps > config.min_ap_distance_m * (1 - 1e-12)).all()
    assert (np.linalg.norm(aps - ues, axis=-1) > config.min_ue_distance_m * (1 - 1e-12)).all()
    assert (aps >= 0).all()
    assert (aps <= config.area_side_m).all()


@given(configs(), seeds)
def test_users_stay_in_the_square_and_walk_a_step_length_unless_reflected(
    config: RRMConfig, seed: int
) -> None:
    network, side, step = reset_network(config, seed, 2), config.area_side_m, config.step_length_m
    before = network.ue_positions.copy()
    for _ in steps(network, seed):
        after = network.ue_positions.copy()
        assert (after >= 0).all()
        assert (after <= side).all()
        walked = np.linalg.norm(after - before, axis=-1)
        inside = np.minimum(before, side - before).min(axis=-1) > step
        np.testing.assert_allclose(walked[inside], step, rtol=0, atol=1e-12 * side)
        assert (walked <= step + 1e-12 * side).all()
        before = after


@given(configs(), seeds)
def test_users_keep_their_heading_away_from_the_border(config: RRMConfig, seed: int) -> None:
    network, side = reset_network(config, seed, 2), config.area_side_m
    path = [
        network.ue_positions.copy(),
        *(network.ue_positions.copy() for _ in steps(network, seed)),
    ]
    for first, second, third in zip(path, path[1:], path[2:], strict=False):
        inside = np.minimum(first, side - first).min(axis=-1) > 2 * config.step_length_m
        np.testing.assert_allclose(
            (third - second)[inside], (second - first)[inside], rtol=0, atol=1e-12 * side
        )


@given(configs(), seeds)
def test_users_belong_to_the_ap_they_receive_best_at_reset_all_episode(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed, 2)
    association, strongest = network.association.copy(), network.large_scale_gain.max(axis=1)
    assert np.array_equal(
        np.take_along_axis(network.large_scale_gain, association[:, None], 1)[:, 0], strongest
    )
    for _ in steps(network, seed):
        assert np.array_equal(network.association, association)


# --- Rates ---


@given(configs(), seeds)
def test_rates_rewards_and_weights_are_finite_and_bounded(config: RRMConfig, seed: int) -> None:
    network, floor = reset_network(config, seed, 2), np.float32(config.min_average_rate)
    ceiling = network.average_rate.max(initial=floor)
    for served, rates, reward in steps(network, seed):
        is_served = (served[..., None] == np.arange(config.n_ues)).any(axis=1)
        assert (rates[~is_served] == 0).all()
        assert (rates >= 0).all()
        assert np.isfinite(rates).all()
        assert (reward >= 0).all()
        assert np.isfinite(reward).all()
        ceiling = max(ceiling, rates.max())
        assert (network.average_rate >= floor).all()
        assert (network.average_rate <= ceiling * (1 + config.episode_length * ULPS)).all()


@given(configs(n_aps=st.sampled_from([2, 3, 6])), seeds, st.data())
def test_a_silent_ap_interferes_with_no_one(
    config: RRMConfig, seed: int, data: st.DataObject
) -> None:
    network = reset_network(config, seed)
    served = random_service(network, np.random.default_rng(seed))
    silent = data.draw(st.integers(0, config.n_aps - 1))
    served[:, silent] = SILENT
    louder = copy.deepcopy(network)
    louder._state.gain_history.reshape(-1, config.n_aps, config.n_ues)[:, silent] *= 1000
    (rates, reward), (louder_rates, louder_reward) = network.step(served), louder.step(served)
    assert np.array_equal(rates, louder_rates)
    assert np.array_equal(reward, louder_reward)


@given(
    configs(n_aps=st.sampled_from([2, 3, 6]), n_ues=st.sampled_from([6, 20, 40])), seeds, st.data()
)
def test_silencing_an_ap_lowers_no_other_users_rate(
    config: RRMConfig, seed: int, data: st.DataObject
) -> None:
    network = reset_network(config, seed)
    served = random_service(network, np.random.default_rng(seed))
    fewer, silent = served.copy(), data.draw(st.integers(0, config.n_aps - 1))
    fewer[:, silent] = SILENT
    rates, new_rates = (copy.deepcopy(network).step(choice)[0][0] for choice in (served, fewer))
    others = [ue for ue in fewer[0] if ue != SILENT]
    assert (new_rates[others] >= rates[others] * (1 - ULPS)).all()
    assert new_rates[others].size == np.count_nonzero(new_rates)


def relabelled(network: Network, order: NDArray[np.int64]) -> Network:
    """A copy in which UE order[j] goes by the name j."""
    c, twin = network.config, copy.deepcopy(network)
    pairs = [
        (getattr(twin._state, name), getattr(network._state, name))
        for name in ("static_gain", "large_scale_gain", "gain_history")
    ]
    pairs += zip(twin._waves or (), network._waves or (), strict=True)
    for name in [*PER_USER, "ue_velocity"]:
        getattr(twin._state, name)[...] = getattr(network._state, name)[..., order]
    for copied, array in pairs:
        by_user = array.reshape(*array.shape[:-1], c.n_aps, c.n_ues)
        copied[...] = by_user[..., order].reshape(array.shape)
    return twin


@given(
    configs(fading=st.sampled_from(["jakes", "none"]))
    | configs(fading="iid", csi_delay=st.integers(1, 3)),
    seeds,
    st.randoms(),
)
def test_relabelling_users_permutes_everything(config: RRMConfig, seed: int, random: Any) -> None:
    network = reset_network(config, seed)
    order = np.array(random.sample(range(config.n_ues), config.n_ues))
    name_of = np.append(np.argsort(order), SILENT)
    twin, served = relabelled(network, order), random_service(network, np.random.default_rng(seed))
    (rates, reward), (twin_rates, twin_reward) = network.step(served), twin.step(name_of[served])
    assert np.array_equal(rates[:, order], twin_rates)
    assert np.array_equal(reward, twin_reward)
    for name in PER_USER:
        before, after = np.asarray(getattr(network, name)), np.asarray(getattr(twin, name))
        assert np.array_equal(before[:, order], after), name
    assert np.array_equal(network.action_mask, twin.action_mask)
    if len(np.unique(network.pf_ratio)) == config.n_ues:
        assert np.array_equal(name_of[network.candidates], twin.candidates)
        assert np.array_equal(network.observation, twin.observation)


# --- Decisions ---


@given(configs(), seeds)
def test_candidates_are_the_best_own_users_and_observations_stay_in_bounds(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed, 2)
    low, high = network.observation_bounds

    def check() -> None:
        assert (network.observation >= low).all()
        assert (network.observation <= high).all()
        for b, i in np.ndindex(2, config.n_aps):
            own = np.flatnonzero(network.association[b] == i)
            slots, n = network.candidates[b, i], min(len(own), config.n_candidates)
            assert set(slots[:n]) <= set(own)
            assert len(set(slots[:n])) == n
            assert np.array_equal(
                network.pf_ratio[b, slots[:n]], np.sort(network.pf_ratio[b, own])[::-1][:n]
            )
            assert (slots[n:] == -1).all()
            assert network.action_mask[b, i].tolist() == [1] * n + [0] * (
                config.n_candidates - n
            ) + [1]
            assert np.array_equal(network.observation[b, i, 2 * n :], low[2 * n :])

    check()
    for _ in steps(network, seed):
        check()


@given(configs(), seeds, batches)
def test_actions_serve_their_candidate_and_masked_ones_mean_silence(
    config: RRMConfig, seed: int, num_envs: int
) -> None:
    network, generator = reset_network(config, seed, num_envs), np.random.default_rng(seed)
    by_mask, by_user = copy.deepcopy(network), copy.deepcopy(network)
    while not network.done:
        actions = random_actions(network, generator)
        legal = np.take_along_axis(network.action_mask, actions[..., None], 2)[..., 0] == 1
        slots = np.append(network.candidates, np.full((num_envs, config.n_aps, 1), SILENT), axis=2)
        served = np.take_along_axis(slots, actions[..., None], 2)[..., 0]
        outcomes = [
            network.step_actions(actions),
            by_mask.step_actions(np.where(legal, actions, config.n_candidates)),
            by_user.step(served),
        ]
        for rates, reward in outcomes[1:]:
            assert np.array_equal(rates, outcomes[0][0])
            assert np.array_equal(reward, outcomes[0][1])
    assert_same(snapshot(network), snapshot(by_mask))
    assert_same(snapshot(network), snapshot(by_user))


# --- Randomness ---


@settings(max_examples=40)
@given(
    configs(episode_length=st.sampled_from([1, 5, 12]), **OBSERVING),
    seeds,
    st.integers(2, BATCH),
    st.integers(1, 4),
    policies,
    st.data(),
)
def test_a_slot_equals_the_single_network_of_its_seed(
    config: RRMConfig,
    seed: int,
    num_envs: int,
    num_threads: int,
    policy: Policy,
    data: st.DataObject,
) -> None:
    network, slot = (
        reset_network(config, seed, num_envs, num_threads),
        data.draw(st.integers(0, num_envs - 1)),
    )
    single, generator = reset_network(config, seed + slot), np.random.default_rng(seed)
    for _ in range(2):
        while not network.done:
            assert_same(snapshot(network, slice(slot, slot + 1)), snapshot(single))
            served = policy(network, generator)
            rates, reward = network.step(served)
            single_rates, single_reward = single.step(served[slot : slot + 1])
            assert np.array_equal(rates[slot], single_rates[0])
            assert reward[slot] == single_reward[0]
        assert_same(snapshot(network, slice(slot, slot + 1)), snapshot(single))
        network.reset()
        single.reset()


@given(configs(), seeds)
def test_unseeded_resets_follow_a_chain_of_training_seeds(config: RRMConfig, seed: int) -> None:
    network, again = reset_network(config, seed, 2), reset_network(config, seed, 2)
    chain = [network.seeds.tolist()]
    for _ in range(4):
        network.reset()
        again.step(np.full((2, config.n_aps), SILENT))
        again.reset()
        assert_same(snapshot(network), snapshot(again))
        assert_same(snapshot(network), snapshot(_given(config, network.seeds)))
        chain.append(network.seeds.tolist())
    assert len(np.unique(chain)) == 10
    assert np.max(chain[1:]) < EVALUATION_SEEDS


def _given(config: RRMConfig, episode_seeds: NDArray[np.uint64]) -> Network:
    network = Network(config, len(episode_seeds))
    network.reset(episode_seeds)
    return network


@given(
    configs(episode_length=st.sampled_from([2, 9, 20]), **OBSERVING),
    seeds,
    st.integers(1, 3),
    st.data(),
)
def test_copies_taken_in_mid_episode_continue_alike(
    config: RRMConfig, seed: int, num_threads: int, data: st.DataObject
) -> None:
    network, generator = reset_network(config, seed, 3, num_threads), np.random.default_rng(seed)
    for _ in range(data.draw(st.integers(0, config.episode_length - 1))):
        network.step(random_service(network, generator))
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    while not network.done:
        served = random_service(network, generator)
        rates, reward = network.step(served)
        for other in copies:
            other_rates, other_reward = other.step(served)
            assert np.array_equal(rates, other_rates)
            assert np.array_equal(reward, other_reward)
    for other in copies:
        assert_same(snapshot(network), snapshot(other))
    network.reset()
    for other in copies:
        other.reset()
        assert_same(snapshot(network), snapshot(other))


@given(configs(), seeds)
def test_the_channel_does_not_depend_on_what_is_served(config: RRMConfig, seed: int) -> None:
    network, silent = reset_network(config, seed), reset_network(config, seed)
    for _ in steps(network, seed):
        silent.step(np.full((1, config.n_aps), SILENT))
        for name in (
            "gain",
            "reported_gain",
            "large_scale_gain",
            "ue_positions",
            "association",
            "reported_sinr",
        ):
            assert np.array_equal(getattr(network, name), getattr(silent, name)), name


# --- Whole ranges ---


@given(networks())
def test_whole_ranges_of_all_fields_are_played_or_refused_by_name(
    case: tuple[dict[str, Any], int],
) -> None:
    event(judge_network(case))


# --- Extremes ---

EXTREMES: dict[str, dict[str, Any]] = {
    "deafening": {"tx_power_dbm": 71, "shadowing_std_db": 20},
    "deafening and close": {
        "tx_power_dbm": 71,
        "area_side_m": 0.1,
        "min_ap_distance_m": 0,
        "min_ue_distance_m": 0.001,
    },
    "drowned in noise": {"tx_power_dbm": -100, "noise_psd_dbm_hz": -46, "shadowing_std_db": 20},
    "out of reach": {
        "tx_power_dbm": -100,
        "noise_psd_dbm_hz": -46,
        "area_side_m": 1e6,
        "path_loss_slope_db": 100,
        "shadowing_std_db": 20,
    },
    "all alike": {"shadowing_std_db": 0, "path_loss_slope_db": 0, "fading": "none"},
    "at rest": {"ue_speed_mps": 0, "fading": "jakes"},
    "one AP": {"n_aps": 1},
    "one UE": {"n_ues": 1},
    "one of each": {"n_aps": 1, "n_ues": 1, "n_candidates": 1},
    "more candidates than users": {"n_ues": 3, "n_candidates": 50},
    "hardly a floor": {"min_average_rate": 1e-6, "rate_ema": 1.0, "fairness_exponent": 2},
    "no fairness": {"fairness_exponent": 0},
    "old reports": {"csi_delay": 1000},
    "crossing the square each step": {"ue_speed_mps": 2000, "fading": "jakes"},
}


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_networks_stay_finite(name: str) -> None:
    config = RRMConfig(**{"episode_length": 30, "ue_speed_mps": 0.05, **EXTREMES[name]})
    network, generator = reset_network(config, 0, BATCH), np.random.default_rng(0)
    low, high = network.observation_bounds
    while not network.done:
        rates, reward = network.step_actions(random_actions(network, generator))
        for values in (rates, reward, *snapshot(network)):
            assert np.isfinite(values).all()
        assert (network.observation >= low).all()
        assert (network.observation <= high).all()
        assert (network.gain >= 0).all()
        assert (network.ue_positions <= config.area_side_m).all()
