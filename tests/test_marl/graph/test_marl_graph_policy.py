"""The graph policy decides in networks of any size, from what access points exchange."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import naive_graph
import numpy as np
import pytest
from graphs import TINY, drawn, permuted, policy_file, random_gains, random_parameters
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import World
from strategies import configs, reset_network, seeds

from baselines.exchange import quantised_gains, quantised_rates
from marl import GraphConfig, GraphPolicy
from marl.graph import policy as module
from marl.graph.links import Links
from marl.graph.network import Inputs, log_prices, user_weights
from marl.graph.search import choose
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


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy of random parameters."""
    return policy_file(tmp_path_factory.mktemp("policies") / "random.safetensors")


def plan_of(policy: GraphPolicy, network: Any) -> Any:
    return policy._plans[network]


def world(seed: int, length: int = 25, n_aps: int = 3, n_ues: int = 9, b: int = 2) -> World:
    """Episodes with random gains, in which every AP has users."""
    generator = np.random.default_rng(seed)
    config = RRMConfig(n_aps=n_aps, n_ues=n_ues, episode_length=length)
    gain = random_gains(generator, b, n_aps, n_ues, spread_db=8.0)[0]
    return World(config, gain.astype(np.float64), np.tile(np.arange(n_ues) % n_aps, (b, 1)))


def played(policy: GraphPolicy, world: World, rates: Any, later: Any = None) -> NDArray[np.int64]:
    """(T, B, I) decisions under rates (T, B, J), with other gains after the first step."""
    policy.reset(world)  # type: ignore[arg-type]
    decisions = []
    for t in range(world.config.episode_length):
        if later is not None and t == 1:
            world.large_scale_gain = later
        decisions.append(policy.schedule(world))  # type: ignore[arg-type]
        world.step(rates[t])
    return np.array(decisions)


def random_rates(seed: int, world: World) -> NDArray[np.float64]:
    shape = world.config.episode_length, *world.association.shape
    return np.random.default_rng(seed).exponential(size=shape)


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
    file: str, config: RRMConfig, seed: int, chosen: dict[str, Any]
) -> None:
    network, policy = reset_network(config, seed, 2), GraphPolicy(file, **chosen)
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
def test_one_policy_plays_every_preset(file: str, preset: str) -> None:
    config = RRMConfig.preset(preset, episode_length=6)
    found = evaluate(GraphPolicy(file), config, episodes=2)
    assert (found.sum_rate > 0).all()


@pytest.mark.parametrize("exchange_steps", [0, 1, 4])
def test_decisions_follow_the_equations(file: str, exchange_steps: int) -> None:
    """Prices, debts of rate and the search, put together by hand."""
    length, played_world = 9, world(0, 9)
    config, rates = played_world.config, random_rates(1, played_world)
    policy = GraphPolicy(file, "everybody", 3, 2.5, exchange_steps=exchange_steps, own_rates=False)
    found = played(policy, played_world, rates)
    links = Links.of_network(played_world, 3)  # type: ignore[arg-type]
    inputs = Inputs.of(links, TINY)
    log_price = log_prices(policy.parameters, TINY, inputs, inputs.present)[0].numpy()
    known, total = np.zeros((2, 9)), np.zeros((2, 9))
    for t in range(length):
        if exchange_steps and t % exchange_steps == 0:
            known = total.copy()
        weight = np.array(
            [
                naive_graph.weights(
                    (log_price[b] - 2.5 / math.sqrt(length) * known[b]).tolist(),
                    config.sum_weight,
                    config.score_tail_weight,
                )
                for b in range(2)
            ]
        )
        served, rate = choose(links, weight)
        np.testing.assert_array_equal(found[t], served)
        for b, i in zip(*np.nonzero(served != SILENT), strict=True):
            known[b, served[b, i]] += rate[b, i]
        total += rates[t]
    assert len(np.unique(found.reshape(length, -1), axis=0)) > 3


@pytest.mark.parametrize("seed", range(12))
def test_permuted_users_and_aps_have_permuted_decisions(file: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = world(seed, n_aps=5, n_ues=40)
    aps, users = generator.permutation(5), generator.permutation(40)
    moved = permuted(one.large_scale_gain, one.association, aps, users)
    other, rates = World(one.config, *moved), random_rates(seed, one)
    first = played(GraphPolicy(file), one, rates)
    second = played(GraphPolicy(file), other, rates[:, :, users])
    np.testing.assert_array_equal(np.where(second >= 0, users[second], SILENT), first[:, :, aps])


def test_prices_are_set_at_exchanged_gains_every_price_steps(file: str) -> None:
    policy, own = GraphPolicy(file, price_steps=4, exchange_steps=1), world(0, 10)
    rates, prices = random_rates(0, own), []
    policy.reset(own)  # type: ignore[arg-type]
    for t in range(10):
        own.large_scale_gain = own.large_scale_gain * 1.5
        policy.schedule(own)  # type: ignore[arg-type]
        prices.append(plan_of(policy, own).log_price.copy())
        own.step(rates[t])
    assert [t for t in range(1, 10) if (prices[t] != prices[t - 1]).any()] == [4, 8]


def test_debts_of_rate_let_users_take_turns(file: str) -> None:
    own = world(3, 60, n_aps=1, n_ues=4, b=1)
    own.large_scale_gain[:] = 30.0
    served = {}
    for debt_weight in (0.0, 5.0):
        policy = GraphPolicy(file, "everybody", debt_weight=debt_weight)
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


def test_the_tail_leaves_out_the_dearest_and_everybody_nobody(file: str) -> None:
    network = reset_network(RRMConfig(n_ues=45), 0, 3)
    for counted, n_counted in (("tail", 43), ("everybody", 45)):
        policy = GraphPolicy(file, counted)
        policy.reset(network)
        policy.schedule(network)
        assert (plan_of(policy, network).counted.sum(1) == n_counted).all()


def test_without_fading_the_rates_are_those_of_the_gains(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, original = set(), choose

    def recorded(links: Any, weight: Any, fading: float) -> Any:
        seen.add(fading)
        return original(links, weight, fading)

    monkeypatch.setattr(module, "choose", recorded)
    evaluate(GraphPolicy(file), RRMConfig(fading="none", episode_length=2), episodes=1)
    assert seen == {1.0}
    evaluate(GraphPolicy(file), RRMConfig(episode_length=2), episodes=1)
    assert seen == {1.0, math.exp(-np.euler_gamma)}


# --- Messages ---


@pytest.mark.parametrize("every", [0, 10])
def test_between_exchanges_nothing_of_gains_and_rates_is_known(file: str, every: int) -> None:
    policy = GraphPolicy(file, exchange_steps=every, own_rates=False, price_steps=5)
    rates, decisions = random_rates(0, world(0)), []
    for k in range(2):
        later = world(k + 1).large_scale_gain
        decisions.append(played(policy, world(0), rates * (1 + 9 * k), later))
    same = (decisions[0] == decisions[1]).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()


@pytest.mark.parametrize("every", [0, 10])
def test_who_transmits_is_known_to_all_between_exchanges(file: str, every: int) -> None:
    policy = GraphPolicy(file, exchange_steps=every, price_steps=5)
    rates, decisions = random_rates(0, world(0)), []
    for k in range(2):
        later = world(k + 1).large_scale_gain
        decisions.append(played(policy, world(0), rates * (1 + 9 * k), later))
    same = ((decisions[0] == SILENT) == (decisions[1] == SILENT)).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()
    assert (decisions[0] != decisions[1])[: every or 25].any()  # for rates of its own differ


def test_an_ap_chooses_by_its_own_users_rates_alone(file: str) -> None:
    policy = GraphPolicy(file, "everybody", exchange_steps=0, debt_weight=8.0)
    length, decisions = 60, []
    rates = np.random.default_rng(1).exponential(size=(length, 1, 12))
    for factor in (1.0, 30.0):
        own = world(1, length, n_aps=3, n_ues=12, b=1)
        own.large_scale_gain[0, np.arange(12) % 3, np.arange(12)] += 300
        changed = rates.copy()
        changed[:, 0, 1] *= factor  # a user of the second AP
        decisions.append(played(policy, own, changed)[:, 0])
    assert ((decisions[0] != SILENT) == (decisions[1] != SILENT)).all()
    assert (decisions[0][:, [0, 2]] == decisions[1][:, [0, 2]]).all()
    assert (decisions[0][:, 1] == 1).sum() > (decisions[1][:, 1] == 1).sum()


def test_an_exchange_makes_known_what_every_step_would(file: str) -> None:
    found = [
        played(GraphPolicy(file, exchange_steps=every, own_rates=False), world(4), rates, later)
        for rates, later in [(random_rates(4, world(4)), world(5).large_scale_gain)]
        for every in (1, 6)
    ]
    same = (found[0] == found[1]).all(axis=(1, 2))
    assert same[::6].all()
    assert not same.all()


def test_the_plan_holds_quantised_gains_and_rates(file: str) -> None:
    network = reset_network(RRMConfig(n_aps=6, n_ues=25, episode_length=9), 5, 2)
    policy, exact = GraphPolicy(file, bits=5, exchange_steps=4), GraphPolicy(file, exchange_steps=4)
    for scheduler in (policy, exact):
        scheduler.reset(network)
    for t in range(5):
        served = policy.schedule(network)
        exact.schedule(network)
        if t % 4 == 0:
            for found, wanted in zip(
                plan_of(policy, network).links[:3], plan_of(exact, network).links[:3], strict=True
            ):
                np.testing.assert_array_equal(found, quantised_gains(wanted, 5))
                assert len(np.unique(found)) <= 32
        if t == 4:
            mean = network.ue_rate_sum / 4
            np.testing.assert_allclose(
                plan_of(policy, network).realised, 4 * quantised_rates(mean, 5)
            )
            np.testing.assert_array_equal(plan_of(exact, network).realised, network.ue_rate_sum)
        network.step(served)


def test_neighbours_that_are_missing_send_no_gains(file: str) -> None:
    network = reset_network(RRMConfig(n_aps=2, n_ues=9), 0)
    policy = GraphPolicy(file, bits=4)
    policy.reset(network)
    cross = plan_of(policy, network).links.cross
    assert (cross[..., 0] > 0).all()
    assert (cross[..., 1:] == 0).all()


def test_more_bits_decide_more_like_exact_numbers(file: str) -> None:
    config = RRMConfig(episode_length=12)

    def decisions(bits: int) -> NDArray[np.int64]:
        network, taken = reset_network(config, 0, 16), []
        policy = GraphPolicy(file, bits=bits, exchange_steps=5, own_rates=False)
        policy.reset(network)
        while not network.done:
            taken.append(policy.schedule(network))
            network.step(np.full((16, 4), SILENT))  # so that all see the same rates
        return np.array(taken)

    exact = decisions(0)
    agreement = [float((decisions(bits) == exact).mean()) for bits in (1, 4, 8, 24)]
    assert agreement == sorted(agreement)
    assert agreement[0] < 0.8
    assert agreement[-1] > 0.999


@pytest.mark.parametrize(
    ("chosen", "network", "bits"),
    [
        # 20 users send 4 gains each: from their AP and from the 3 others.
        ({"exchange_steps": 0, "bits": 8}, {}, 20 * 4 * 8 / (4 * 200)),
        ({"exchange_steps": 50, "bits": 16}, {}, 20 * (4 * 4 + 3) * 16 / (4 * 200)),
        ({}, {}, 20 * (200 * 4 + 199) * 32 / (4 * 200)),
        # 6 APs: own gain, 3 neighbours and the sum of the 2 others.
        (
            {"exchange_steps": 9, "bits": 5},
            {"n_aps": 6, "n_ues": 30, "episode_length": 20},
            30 * (3 * 5 + 2) * 5 / (6 * 20),
        ),
        ({"exchange_steps": 0}, {"n_aps": 1, "n_ues": 3}, 3 * 1 * 32 / (1 * 200)),
    ],
)
def test_bits_per_decision(
    file: str, chosen: dict[str, Any], network: dict[str, Any], bits: float
) -> None:
    policy = GraphPolicy(file, **chosen)
    assert math.isclose(policy.bits_per_decision(RRMConfig(**network)), bits)


# --- As a scheduler ---


@pytest.mark.parametrize("exchange_steps", [1, 4])
def test_rates_do_not_depend_on_the_batch(tmp_path: Path, exchange_steps: int) -> None:
    path = policy_file(tmp_path / "p.safetensors", GraphConfig())
    policy, config = GraphPolicy(path, exchange_steps=exchange_steps), RRMConfig(episode_length=25)
    rates = [evaluate(policy, config, 7, batch_size=size).ue_rates for size in (7, 3, 1)]
    np.testing.assert_array_equal(rates[0], rates[1])
    np.testing.assert_array_equal(rates[0], rates[2])


def test_networks_are_served_alternately_as_each_alone(file: str) -> None:
    policy = GraphPolicy(file, price_steps=3, exchange_steps=2)
    settings_of = [{"n_aps": 2, "n_ues": 7}, {"n_aps": 5, "n_ues": 12}, {"n_aps": 2, "n_ues": 7}]
    networks = [
        reset_network(RRMConfig(**sizes, episode_length=8), seed)
        for seed, sizes in enumerate(settings_of)
    ]
    for network in networks:
        policy.reset(network)
    while not networks[0].done:
        for network in networks:
            network.step(policy.schedule(network))
    for seed, network in enumerate(networks):
        alone, fresh = (
            reset_network(network.config, seed),
            GraphPolicy(file, price_steps=3, exchange_steps=2),
        )
        fresh.reset(alone)
        while not alone.done:
            alone.step(fresh.schedule(alone))
        np.testing.assert_array_equal(alone.ue_rate_sum, network.ue_rate_sum)


def test_an_unknown_network_is_refused(file: str) -> None:
    with pytest.raises(RuntimeError, match="GraphPolicy does not know this network"):
        GraphPolicy(file).schedule(reset_network(RRMConfig(), 0))


def test_copies_decide_alike_and_begin_anew(file: str) -> None:
    network = reset_network(RRMConfig(episode_length=5), 0, 2)
    policy = GraphPolicy(file, bits=7)
    policy.reset(network)
    copy = pickle.loads(pickle.dumps(policy))
    with pytest.raises(RuntimeError, match="call reset"):
        copy.schedule(network)
    copy.reset(network)
    while not network.done:
        served = policy.schedule(network)
        np.testing.assert_array_equal(copy.schedule(network), served)
        network.step(served)


def test_it_acts_in_a_parallel_environment(file: str) -> None:
    env, policy = parallel_env(n_aps=3, n_ues=11, episode_length=8), GraphPolicy(file)
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


def test_a_policy_that_was_just_trained_needs_no_file_of_its_own(file: str) -> None:
    parameters = random_parameters(TINY, [1, 2])
    policy = GraphPolicy.of(TINY, parameters, seed=1, policy=file, bits=6)
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
        ({"debt_weight": -0.1}, ValueError, "debt_weight must be from 0 to 1000.0, got -0.1"),
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
    file: str, chosen: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GraphPolicy(**{"policy": file, **chosen})


@given(drawn)
def test_weights_of_a_plan_favour_users_that_got_less(file: str, seed: int) -> None:
    policy, own = GraphPolicy(file, "everybody"), world(seed % 97, b=1)
    policy.reset(own)  # type: ignore[arg-type]
    policy.schedule(own)  # type: ignore[arg-type]
    plan, generator = plan_of(policy, own), np.random.default_rng(seed)
    before = policy._weights(plan, own.config, np.zeros((1, 9)))
    np.testing.assert_allclose(
        before, user_weights(plan.log_price, own.config.sum_weight, own.config.score_tail_weight)
    )
    got = np.zeros((1, 9))
    user = generator.integers(9)
    got[0, user] = generator.exponential() + 0.01
    after = policy._weights(plan, own.config, got)
    assert after[0, user] < before[0, user]
    assert (np.delete(after, user) >= np.delete(before, user)).all()
