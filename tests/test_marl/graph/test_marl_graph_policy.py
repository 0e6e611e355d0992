"""The graph policy decides in networks of any size, from what access points exchange."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from graphs import TINY, policy_file, random_parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import (
    World,
    decided_by_hand,
    knows_only_what_was_exchanged,
    permuted,
    plan_of,
    played,
    random_rates,
    world,
)
from strategies import configs, reset_network, seeds

from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH, choose
from marl import GraphConfig, GraphPolicy
from marl.graph.network import Inputs, log_prices
from rrm_env import PRESETS, SILENT, RRMConfig, Scheduler, evaluate, parallel_env

options = st.fixed_dictionaries(
    {
        "counted": st.sampled_from(["tail", "everybody"]),
        "price_steps": st.sampled_from([1, 2, 20]),
        "debt_weight": st.sampled_from([0.0, 1.6, 50.0]),
        "exchange_steps": st.sampled_from([0, 1, 3]),
        "own_rates": st.booleans(),
        "bits": st.sampled_from([0, 1, 8]),
    }
)


# --- What it decides ---


@settings(max_examples=40)
@given(
    configs(
        n_aps=st.sampled_from([1, 2, 3, 5, 8, 12]),
        n_ues=st.sampled_from([1, 4, 13, 27]),
        episode_length=st.sampled_from([1, 4]),
        shadowing_std_db=7.0,
    ),
    seeds,
    options,
)
def test_random_policies_serve_only_users_of_the_ap(
    graph_file: str, config: RRMConfig, seed: int, chosen: dict[str, Any]
) -> None:
    network, policy = reset_network(config, seed, 2), GraphPolicy(graph_file, **chosen)
    assert isinstance(policy, Scheduler)
    policy.reset(network)
    while not network.done:
        candidates = policy.schedule_candidates(network)
        for b, i in np.ndindex(*candidates.shape):
            assert candidates[b, i] in [SILENT, *network.candidates[b, i]]
        served = policy.schedule(network)
        np.testing.assert_array_equal(policy.schedule(network), served)
        network.step(served)  # which refuses users of other APs


@pytest.mark.parametrize("preset", PRESETS)
def test_one_policy_plays_every_preset(graph_file: str, preset: str) -> None:
    config = RRMConfig.preset(preset, episode_length=6)
    found = evaluate(GraphPolicy(graph_file), config, episodes=2)
    assert (found.sum_rate > 0).all()


@pytest.mark.parametrize("exchange_steps", [0, 1, 4])
def test_decisions_follow_the_equations(graph_file: str, exchange_steps: int) -> None:
    """Prices, debts of rate and the search, put together by hand."""
    length = 12
    own, rates = world(0, length), random_rates(1, world(0, length))
    policy = GraphPolicy(
        graph_file, "everybody", 3, 2.5, exchange_steps=exchange_steps, own_rates=False
    )
    found = played(policy, own, rates)
    inputs = Inputs.of(Links.of_network(own, 3), TINY)  # type: ignore[arg-type]
    log_price = log_prices(policy.parameters, TINY, inputs, inputs.present)[0].numpy()
    expected = decided_by_hand(world(0, length), log_price, 2.5, exchange_steps, rates)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found.reshape(length, -1), axis=0)) > 3


@pytest.mark.parametrize("seed", range(12))
def test_permuted_users_and_aps_have_permuted_decisions(graph_file: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = world(seed, n_aps=5, n_ues=40)
    aps, users = generator.permutation(5), generator.permutation(40)
    moved = permuted(one.large_scale_gain, one.association, aps, users)
    other, rates = World(one.config, *moved), random_rates(seed, one)
    first = played(GraphPolicy(graph_file), one, rates)
    second = played(GraphPolicy(graph_file), other, rates[:, :, users])
    np.testing.assert_array_equal(np.where(second >= 0, users[second], SILENT), first[:, :, aps])


def test_prices_are_set_at_exchanged_gains_every_price_steps(graph_file: str) -> None:
    policy, own = GraphPolicy(graph_file, price_steps=4, exchange_steps=1), world(0, 10)
    rates, prices = random_rates(0, own), []
    policy.reset(own)  # type: ignore[arg-type]
    for t in range(10):
        own.large_scale_gain = own.large_scale_gain * 1.5
        policy.schedule(own)  # type: ignore[arg-type]
        prices.append(plan_of(policy, own).log_price.copy())
        own.step(rates[t])
    assert [t for t in range(1, 10) if (prices[t] != prices[t - 1]).any()] == [4, 8]


def test_debts_of_rate_let_users_take_turns(graph_file: str) -> None:
    own = world(3, 60, n_aps=1, n_ues=4, b=1)
    own.large_scale_gain[:] = 30.0
    served = {}
    for debt_weight in (0.0, 5.0):
        policy = GraphPolicy(graph_file, "everybody", debt_weight=debt_weight)
        own.t, own.ue_rate_sum = 0, np.zeros((1, 4))
        policy.reset(own)  # type: ignore[arg-type]
        counts = np.zeros(4, np.int64)
        for _ in range(60):
            user = policy.schedule(own)[0, 0]  # type: ignore[arg-type]
            counts[user] += 1
            own.step(4.0 * (np.arange(4) == user)[None])
        served[debt_weight] = counts
    assert served[0.0].max() == 60
    assert served[5.0].min() >= 13


def test_the_tail_leaves_out_the_dearest_and_everybody_nobody(graph_file: str) -> None:
    network = reset_network(RRMConfig(n_ues=45), 0, 3)
    for counted, n_counted in (("tail", 43), ("everybody", 45)):
        policy = GraphPolicy(graph_file, counted)
        policy.reset(network)
        policy.schedule(network)
        assert (plan_of(policy, network).counted.sum(axis=1) == n_counted).all()


@pytest.mark.parametrize(("fading", "factor"), [("none", 1.0), ("iid", RAYLEIGH)])
def test_prices_and_search_know_whether_channels_fade(
    graph_file: str, fading: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, original = set(), choose

    def recorded(links: Any, weight: Any, fading: float) -> Any:
        seen.add(fading)
        return original(links, weight, fading)

    monkeypatch.setattr("baselines.debts.choose", recorded)
    network, policy = reset_network(RRMConfig(fading=fading), 0), GraphPolicy(graph_file)
    policy.reset(network)
    policy.schedule(network)
    assert seen == {factor}
    plan = plan_of(policy, network)
    inputs = Inputs.of(plan.links, TINY, factor)
    counted = torch.from_numpy(plan.counted).float()
    expected = log_prices(policy.parameters, TINY, inputs, counted)[0].numpy()
    np.testing.assert_array_equal(plan.log_price, expected)


@pytest.mark.parametrize("every", [0, 10])
def test_prices_know_only_what_was_exchanged(graph_file: str, every: int) -> None:
    policy = GraphPolicy(graph_file, exchange_steps=every, own_rates=False, price_steps=5)
    knows_only_what_was_exchanged(policy, every)


def test_bits_of_a_policy_are_those_of_its_neighbours(graph_file: str) -> None:
    # 6 APs: own gain, 3 neighbours and the sum of the 2 others, and rates from the second on.
    policy = GraphPolicy(graph_file, exchange_steps=9, bits=5)
    config = RRMConfig(n_aps=6, n_ues=30, episode_length=20)
    assert math.isclose(policy.bits_per_decision(config), 30 * (3 * 5 + 2) * 5 / (6 * 20))


# --- As a scheduler ---


@pytest.mark.parametrize("exchange_steps", [1, 4])
def test_rates_do_not_depend_on_the_batch(tmp_path: Path, exchange_steps: int) -> None:
    path = policy_file(tmp_path / "p.safetensors", GraphConfig())
    policy, config = GraphPolicy(path, exchange_steps=exchange_steps), RRMConfig(episode_length=25)
    rates = [evaluate(policy, config, 7, batch_size=size).ue_rates for size in (7, 3, 1)]
    np.testing.assert_array_equal(rates[0], rates[1])
    np.testing.assert_array_equal(rates[0], rates[2])


def test_networks_are_served_alternately_as_each_alone(graph_file: str) -> None:
    policy = GraphPolicy(graph_file, price_steps=3, exchange_steps=2)
    sizes_of = [(2, 7), (5, 12), (2, 7)]
    networks = [
        reset_network(RRMConfig(n_aps=n_aps, n_ues=n_ues, episode_length=8), seed)
        for seed, (n_aps, n_ues) in enumerate(sizes_of)
    ]
    for network in networks:
        policy.reset(network)
    while not networks[0].done:
        for network in networks:
            network.step(policy.schedule(network))
    for seed, network in enumerate(networks):
        alone, fresh = (
            reset_network(network.config, seed),
            GraphPolicy(graph_file, price_steps=3, exchange_steps=2),
        )
        fresh.reset(alone)
        while not alone.done:
            alone.step(fresh.schedule(alone))
        np.testing.assert_array_equal(alone.ue_rate_sum, network.ue_rate_sum)


def test_an_unknown_network_is_refused(graph_file: str) -> None:
    with pytest.raises(RuntimeError, match="GraphPolicy does not know this network"):
        GraphPolicy(graph_file).schedule(reset_network(RRMConfig(), 0))


def test_copies_decide_alike_and_begin_anew(graph_file: str) -> None:
    network = reset_network(RRMConfig(episode_length=5), 0, 2)
    policy = GraphPolicy(graph_file, bits=7)
    policy.reset(network)
    copy = pickle.loads(pickle.dumps(policy))
    with pytest.raises(RuntimeError, match="call reset"):
        copy.schedule(network)
    copy.reset(network)
    while not network.done:
        served = policy.schedule(network)
        np.testing.assert_array_equal(copy.schedule(network), served)
        network.step(served)


def test_it_acts_in_a_parallel_environment(graph_file: str) -> None:
    env, policy = parallel_env(n_aps=3, n_ues=11, episode_length=8), GraphPolicy(graph_file)
    totals = []
    for _ in range(2):
        _, infos = env.reset(seed=3)
        total = 0.0
        while env.agents:
            actions = policy.act(env)
            assert all(infos[agent]["action_mask"][action] for agent, action in actions.items())
            _, rewards, _, _, infos = env.step(actions)
            total += rewards[env.possible_agents[0]]
        totals.append(total)
    assert totals[0] == totals[1]


def test_a_policy_that_was_just_trained_needs_no_file() -> None:
    parameters = random_parameters(TINY, [1, 2])
    policy = GraphPolicy.of(TINY, parameters, seed=1, bits=6)
    assert policy.bits == 6
    for name, tensor in policy.parameters.items():
        np.testing.assert_array_equal(tensor, parameters[name][1:])
    parameters["price.weights"].zero_()
    assert (policy.parameters["price.weights"] != 0).any()  # it owns what it decides with


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"counted": "all"}, ValueError, "unknown counted 'all'.*allowed: tail, everybody"),
        ({"counted": "tial"}, ValueError, "unknown counted 'tial' .did you mean 'tail'"),
        ({"price_steps": 0}, ValueError, "price_steps must be an integer of at least 1 .*, got 0"),
        ({"price_steps": 1.5}, TypeError, "price_steps must be an integer .*, got 1.5"),
        ({"debt_weight": -0.1}, ValueError, "debt_weight must be from 0 to 1000, got -0.1"),
        ({"debt_weight": math.nan}, ValueError, "debt_weight must be from 0 .*, got nan"),
        ({"debt_weight": "much"}, TypeError, "debt_weight must be a number .*, got 'much'"),
        ({"exchange_steps": -1}, ValueError, "exchange_steps must be .* at least 0 .*, got -1"),
        ({"exchange_steps": True}, TypeError, "exchange_steps must be an integer .*, got True"),
        ({"own_rates": 1}, TypeError, "own_rates must be True or False, got 1"),
        ({"bits": 33}, ValueError, "bits must be .* at least 0 and at most 32, got 33"),
        ({"bits": None}, TypeError, "bits must be an integer .*, got None"),
        ({"policy": "grahp"}, ValueError, r"unknown policy 'grahp'.*ends in \.safetensors"),
        ({"policy": "no.safetensors"}, ValueError, r"no\.safetensors': No such file"),
    ],
)
def test_bad_options_are_refused_by_name(
    graph_file: str, chosen: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GraphPolicy(**{"policy": graph_file, **chosen})
