"""Observations whose size does not depend on the number of access points, and the clock."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import naive_observations as naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import OBSERVING, configs, random_actions, reset_network, seeds

from baselines import ProportionalFair
from rrm_env import Network, RRMConfig, RRMVectorEnv, evaluate, kernels, parallel_env
from rrm_env.state import parameters_of

N_NEIGHBOURS = OBSERVING["n_neighbours"]
NEAR_TIE = 1e-9
"""Strengths closer than this, relatively, may come in another order."""
local = configs(**{**OBSERVING, "measurements": "neighbours"})
noises = st.integers(0, 2**32)


def strengths(network: Network, b: int, ap: int, others: list[int]) -> list[float]:
    """The naive strengths of other access points at one."""
    gains, association = network.large_scale_gain[b].tolist(), network.association[b].tolist()
    return [naive.strength(gains, association, ap, m) for m in others]


# --- Neighbours ---


@given(configs(measurements="neighbours", n_neighbours=N_NEIGHBOURS), seeds)
def test_neighbours_are_the_strongest_others_at_the_start_and_stay(
    config: RRMConfig, seed: int
) -> None:
    network, k = reset_network(config, seed, num_envs=2), config.n_neighbours
    found = network.neighbours.copy()
    assert found.shape == (2, config.n_aps, k)
    assert found.dtype == np.int32
    assert not network.neighbours.flags.writeable
    for b, ap in np.ndindex(2, config.n_aps):
        gains, association = network.large_scale_gain[b].tolist(), network.association[b].tolist()
        expected, near = naive.neighbours(gains, association, ap, k), found[b, ap].tolist()
        ranked = strengths(network, b, ap, [m for m in range(config.n_aps) if m != ap])
        ranked.sort(reverse=True)
        gaps = [x - y for x, y in itertools.pairwise(ranked)]
        if all(gap == 0 or gap > NEAR_TIE * ranked[0] for gap in gaps):
            assert near == expected
        else:
            n = min(k, config.n_aps - 1)
            np.testing.assert_allclose(strengths(network, b, ap, near[:n]), ranked[:n], rtol=1e-6)
            assert near[n:] == expected[n:]
    for _ in range(min(config.episode_length, 3)):
        network.step_actions(np.zeros((2, config.n_aps), int))
        assert np.array_equal(network.neighbours, found)


def test_access_points_without_users_have_neighbours_of_the_lowest_indices() -> None:
    config = RRMConfig(n_aps=5, n_ues=1, measurements="neighbours", n_neighbours=6)
    network = reset_network(config, 0)
    (serving,) = network.association[0]
    for ap in range(5):
        if ap != serving:
            others = [m for m in range(5) if m != ap]
            assert network.neighbours[0, ap].tolist() == [*others, -1, -1]


def test_the_worst_interferer_is_first_even_if_another_is_louder_at_users_far_from_harm() -> None:
    """AP 1 doubles what two users hear of AP 0; AP 2 is loud where AP 0 is far louder."""
    gain = np.array([[1, 1, 1e6], [2, 2, 1e-3], [1e-3, 1e-3, 1e5]], np.float32)
    near = np.full((3, 2), 7, np.int32)
    kernels.find_neighbours(near, np.zeros(9), np.zeros(3, np.int32), gain.reshape(-1))
    assert near.tolist() == [[1, 2], [0, 2], [0, 1]]


@pytest.mark.parametrize("option", ["none", "large_scale"])
def test_neighbours_are_not_kept_where_no_option_needs_them(option: str) -> None:
    config = RRMConfig(measurements=option)
    assert reset_network(config, 0).neighbours.shape == (1, 4, 0)
    apart = replace(config, message_range="neighbours")
    assert reset_network(apart, 0).neighbours.shape == (1, 4, 8)


def relabelled(network: Network, order: NDArray[np.int64]) -> tuple[NDArray[Any], ...]:
    """Neighbours and what is seen of candidates where AP order[i] goes by the name i."""
    c, s, name_of = network.config, network._state, np.argsort(order).astype(np.int32)
    association = name_of[network.association[0]]
    gain = np.ascontiguousarray(network.large_scale_gain[0][order]).reshape(-1)
    near = np.empty((c.n_aps, c.n_neighbours), np.int32)
    kernels.find_neighbours(near, np.empty(c.n_aps * (1 + c.n_neighbours)), association, gain)
    seen = s.observation[0][order].copy()
    candidates = np.ascontiguousarray(s.candidates[0][order])
    kernels.observe_neighbours(seen, candidates, near, gain, parameters_of(c))
    return near, seen


@given(
    configs(
        measurements="neighbours",
        n_neighbours=N_NEIGHBOURS,
        n_aps=st.sampled_from([2, 3, 5, 6]),
        n_ues=st.sampled_from([9, 27, 40]),
    ),
    seeds,
    st.randoms(),
)
def test_relabelling_access_points_permutes_neighbours_and_what_is_seen(
    config: RRMConfig, seed: int, random: Any
) -> None:
    network = reset_network(config, seed)
    order = np.array(random.sample(range(config.n_aps), config.n_aps))
    name_of = np.append(np.argsort(order), -1)
    near, seen = relabelled(network, order)
    own, k = config.n_candidates * config.n_candidate_features, config.n_neighbours
    for i, ap in enumerate(order.tolist()):
        others = strengths(network, 0, ap, [m for m in range(config.n_aps) if m != ap])
        if len(set(others)) == len(others):
            assert near[i].tolist() == name_of[network.neighbours[0, ap]].tolist()
            before = network.observation[0, ap]
            np.testing.assert_allclose(seen[i, :own], before[:own], rtol=0, atol=1e-6)
            assert seen[i, own : own + k].tolist() == near[i].tolist()


# --- Observations ---


@given(local, seeds, noises)
def test_observations_are_those_of_the_definition(config: RRMConfig, seed: int, noise: int) -> None:
    network, generator = reset_network(config, seed), np.random.default_rng(noise)
    c, association = config, network.association[0].tolist()
    of_each, own = c.n_candidate_features, c.n_candidates * c.n_candidate_features
    for _ in range(min(c.episode_length, 4) + 1):
        gains, slots = network.large_scale_gain[0].tolist(), network.candidates[0].tolist()
        sinr, averages = network.reported_sinr[0].tolist(), network.average_rate[0].tolist()
        for ap in range(c.n_aps):
            near = network.neighbours[0, ap].tolist()
            known = sinr, averages, c.min_average_rate
            expected = naive.candidates_seen(slots[ap], ap, near, gains, *known)
            expected += near
            expected += naive.turn_seen(association, ap, c.n_aps, network.t, c.turns)
            expected += naive.clock_seen(network.t, c.episode_length, c.clock)
            seen = network.observation[0, ap, : own + c.n_neighbours]
            np.testing.assert_allclose(seen, expected[: own + c.n_neighbours], rtol=2e-6, atol=1e-5)
            later = network.observation[0, ap, own + c.n_neighbours : len(expected)]
            assert later.tolist() == np.array(expected[own + c.n_neighbours :], np.float32).tolist()
            sizes = {"none": 0, "best": of_each, "all": own}[c.messages] * c.n_messages
            assert c.n_features == len(network.observation[0, ap]) == len(expected) + sizes
        if not network.done:
            network.step_actions(random_actions(network, generator))


@given(
    configs(
        **{
            **OBSERVING,
            "messages": st.sampled_from(["best", "all"]),
            "message_range": "neighbours",
        }
    ),
    seeds,
)
def test_an_access_point_has_the_messages_of_its_neighbours_alone(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed)
    size, bits = config.n_message_features, config.message_bits
    n_candidates = {"best": 1, "all": config.n_candidates}[config.messages]
    n_gains = config.n_candidate_features - 2
    for ap in range(config.n_aps):
        received = network.observation[0, ap, config.n_features - config.n_messages * size :]
        for place, sender in enumerate(network.neighbours[0, ap].tolist()):
            block = received[place * size : (place + 1) * size]
            if sender == -1:
                assert block.tolist() == naive.missing_message(n_candidates, n_gains)
                continue
            sent = network.observation[0, sender, :size].astype(float)
            near = [naive.message((sent + off).tolist(), n_gains, bits) for off in (-1e-5, 1e-5)]
            assert (np.min(near, 0) - 2e-6 <= block).all()
            assert (block <= np.max(near, 0) + 2e-6).all()


@given(local, seeds)
def test_all_see_their_own_messages_as_their_neighbours_do(config: RRMConfig, seed: int) -> None:
    """With messages of all and of neighbours the same block travels, bit for bit."""
    all_of, near = (
        reset_network(replace(config, messages="best", message_range=senders), seed)
        for senders in ("all", "neighbours")
    )
    size, c = near.config.n_message_features, near.config
    for ap in range(c.n_aps):
        start = c.n_features - c.n_neighbours * size
        for place, sender in enumerate(near.neighbours[0, ap].tolist()):
            if sender >= 0:
                first = all_of.config.n_features - (c.n_aps - sender) * size
                there = all_of.observation[0, ap, first : first + size]
                here = near.observation[0, ap, start + place * size : start + (place + 1) * size]
                assert np.array_equal(here, there)


@given(
    configs(**{**OBSERVING, "measurements": "neighbours", "message_range": "neighbours"}),
    st.integers(1, 9),
)
def test_sizes_do_not_depend_on_the_number_of_access_points(config: RRMConfig, n_aps: int) -> None:
    other = replace(config, n_aps=n_aps, min_ap_distance_m=0.0)
    assert other.n_features == config.n_features
    shapes = [parallel_env(config=c).observation_space("ap_0").shape for c in (config, other)]
    assert shapes == [(config.n_features,)] * 2


@pytest.mark.parametrize(
    "options", [{"measurements": "large_scale"}, {"messages": "best"}], ids=str
)
def test_sizes_of_other_options_do_depend_on_it(options: dict[str, str]) -> None:
    sizes = {RRMConfig(n_aps=n_aps, **options).n_features for n_aps in (2, 3)}  # type: ignore[arg-type]
    assert len(sizes) == 2


def test_a_message_counts_once_however_many_read_it() -> None:
    near = RRMConfig(messages="best", message_bits=3, message_range="neighbours", n_neighbours=2)
    assert near.message_bits_per_step == 4 * 2 * 3
    assert near.message_bits_per_step == replace(near, message_range="all").message_bits_per_step
    silent = RRMConfig(measurements="neighbours", clock="elapsed", message_range="neighbours")
    assert silent.message_bits_per_step == 0


# --- As many candidates as users ---


@given(configs(**OBSERVING, n_ues=st.sampled_from([1, 5, 14])), seeds, noises)
def test_all_users_may_be_candidates(config: RRMConfig, seed: int, noise: int) -> None:
    whole = replace(config, n_candidates=config.n_ues)
    network, generator = reset_network(whole, seed, num_envs=2), np.random.default_rng(noise)
    while not network.done:
        for b, ap in np.ndindex(2, config.n_aps):
            own = np.flatnonzero(network.association[b] == ap)
            assert sorted(network.candidates[b, ap, : len(own)]) == own.tolist()
            assert network.action_mask[b, ap, :-1].sum() == len(own)
        network.step_actions(random_actions(network, generator))


def test_all_users_may_be_candidates_under_every_api() -> None:
    config = RRMConfig(n_ues=9, n_candidates=9, measurements="neighbours", episode_length=3)
    env, vector = parallel_env(config=config), RRMVectorEnv(2, config)
    observations, infos = env.reset(seed=4)
    batch, _ = vector.reset(seed=4)
    np.testing.assert_array_equal(batch[0], np.stack(list(observations.values())))
    while env.agents:
        best = {agent: int(infos[agent]["action_mask"].argmax()) for agent in env.agents}
        observations, _, _, _, infos = env.step(best)
        for agent, seen in observations.items():
            assert env.observation_space(agent).contains(seen)
    few, many = (
        evaluate(ProportionalFair(), replace(config, n_candidates=n), episodes=4).ue_rates
        for n in (1, 9)
    )
    assert np.array_equal(few, many)
