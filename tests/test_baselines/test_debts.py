"""Debts serves whom debts of rate favour, by what access points exchange."""

from __future__ import annotations

import math
from typing import Any

import naive_graph
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import (
    World,
    decided_by_hand,
    drawn,
    knows_only_what_was_exchanged,
    permuted,
    plan_of,
    played,
    random_rates,
    world,
)
from strategies import reset_network

from baselines.debts import NOT_COUNTED, Debts, debts, own_weights, user_weights
from baselines.exchange import quantised_gains, quantised_rates
from rrm_env import SILENT, RRMConfig, evaluate


@pytest.mark.parametrize("every", [0, 10])
def test_between_exchanges_nothing_of_gains_and_rates_is_known(every: int) -> None:
    policy = Debts(n_neighbours=3, exchange_steps=every, own_rates=False)
    knows_only_what_was_exchanged(policy, every)


@pytest.mark.parametrize("every", [0, 10])
def test_who_transmits_is_known_to_all_between_exchanges(every: int) -> None:
    policy = Debts(n_neighbours=3, exchange_steps=every)
    rates, decisions = random_rates(0, world(0)), []
    for k in range(2):
        later = world(k + 1).large_scale_gain
        decisions.append(played(policy, world(0), rates * (1 + 9 * k), later))
    same = ((decisions[0] == SILENT) == (decisions[1] == SILENT)).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()
    assert (decisions[0] != decisions[1])[: every or 25].any()  # for rates of its own differ


def test_an_ap_chooses_by_its_own_users_rates_alone() -> None:
    policy = Debts("everybody", 8.0, exchange_steps=0, n_neighbours=3)
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


def test_an_ap_that_chooses_knows_no_rates_of_others() -> None:
    """Rates of the first AP's users change from nothing to more than all others' together."""
    generator = np.random.default_rng(0)
    rates = generator.exponential(size=(60, 16, 12))
    decisions = []
    for factor in (0.0, 20.0):
        own = world(1, 60, n_aps=3, n_ues=12, b=16)
        changed = rates.copy()
        changed[:, :, ::3] *= factor
        decisions.append(played(Debts("everybody", exchange_steps=0), own, changed))
    assert (decisions[0][..., 0] != decisions[1][..., 0]).any()
    np.testing.assert_array_equal(decisions[0][..., 1:], decisions[1][..., 1:])


def test_an_exchange_makes_known_what_every_step_would() -> None:
    found = [
        played(Debts(n_neighbours=3, exchange_steps=every, own_rates=False), world(4), rates, later)
        for rates, later in [(random_rates(4, world(4)), world(5).large_scale_gain)]
        for every in (1, 6)
    ]
    same = (found[0] == found[1]).all(axis=(1, 2))
    assert same[::6].all()
    assert not same.all()


def test_the_plan_holds_quantised_gains_and_rates() -> None:
    network = reset_network(RRMConfig(n_aps=6, n_ues=25, episode_length=9), 5, 2)
    policy, exact = (
        Debts(n_neighbours=3, bits=5, exchange_steps=4),
        Debts(n_neighbours=3, exchange_steps=4),
    )
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


def test_neighbours_that_are_missing_send_no_gains() -> None:
    network = reset_network(RRMConfig(n_aps=2, n_ues=9), 0)
    policy = Debts(n_neighbours=3, bits=4)
    policy.reset(network)
    cross = plan_of(policy, network).links.cross
    assert (cross[..., 0] > 0).all()
    assert (cross[..., 1:] == 0).all()


def test_more_bits_decide_more_like_exact_numbers() -> None:
    config = RRMConfig(episode_length=12)

    def decisions(bits: int) -> NDArray[np.int64]:
        network, taken = reset_network(config, 0, 16), []
        policy = Debts(n_neighbours=3, bits=bits, exchange_steps=5, own_rates=False)
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
def test_bits_per_decision(chosen: dict[str, Any], network: dict[str, Any], bits: float) -> None:
    policy = Debts(n_neighbours=3, **chosen)
    assert math.isclose(policy.bits_per_decision(RRMConfig(**network)), bits)


# --- What it decides ---


@pytest.mark.parametrize("exchange_steps", [0, 1, 4])
def test_decisions_follow_the_equations(exchange_steps: int) -> None:
    rates = random_rates(1, world(0))
    policy = Debts("everybody", 2.5, exchange_steps, own_rates=False, n_neighbours=3)
    found = played(policy, world(0), rates)
    expected = decided_by_hand(world(0), np.zeros((2, 9)), 2.5, exchange_steps, rates)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(found.reshape(25, -1), axis=0)) > 3


@given(drawn, st.integers(0, 199), st.floats(0, 9))
def test_debts_agree_with_the_reference(seed: int, steps: int, debt_weight: float) -> None:
    generator = np.random.default_rng(seed)
    rate_sum, level = generator.exponential(size=(2, 5)), generator.exponential(size=(2, 1)) + 0.01
    found = debts(rate_sum, level, steps, 200, debt_weight)
    for b in range(2):
        expected = naive_graph.debts(rate_sum[b].tolist(), level[b, 0], steps, 200, debt_weight)
        np.testing.assert_allclose(found[b], expected)


@pytest.mark.parametrize("seed", range(12))
def test_permuted_users_and_aps_have_permuted_decisions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = world(seed, n_aps=5, n_ues=40)
    aps, users = generator.permutation(5), generator.permutation(40)
    moved = permuted(one.large_scale_gain, one.association, aps, users)
    other, rates = World(one.config, *moved), random_rates(seed, one)
    first, second = played(Debts(), one, rates), played(Debts(), other, rates[:, :, users])
    np.testing.assert_array_equal(np.where(second >= 0, users[second], SILENT), first[:, :, aps])


def test_the_tail_leaves_out_the_users_of_lowest_gain() -> None:
    network = reset_network(RRMConfig(n_ues=45), 0, 3)
    policy = Debts()
    policy.reset(network)
    counted, own = plan_of(policy, network).counted, plan_of(policy, network).links.own
    assert (counted.sum(axis=1) == 43).all()
    for b in range(3):
        assert own[b][~counted[b]].max() < own[b][counted[b]].min()
    everybody = Debts("everybody")
    everybody.reset(network)
    assert plan_of(everybody, network).counted.all()


@pytest.mark.parametrize("exchange_steps", [0, 1, 4])
def test_rates_do_not_depend_on_the_batch(exchange_steps: int) -> None:
    config = RRMConfig(episode_length=25)
    rates = [
        evaluate(Debts(exchange_steps=exchange_steps), config, 7, batch_size=size).ue_rates
        for size in (7, 3, 1)
    ]
    np.testing.assert_array_equal(rates[0], rates[1])
    np.testing.assert_array_equal(rates[0], rates[2])


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"counted": "all"}, ValueError, "unknown counted 'all'.*allowed: tail, everybody"),
        ({"debt_weight": -1}, ValueError, "debt_weight must be from 0 to 1000, got -1"),
        ({"exchange_steps": 0.5}, TypeError, "exchange_steps must be an integer .*, got 0.5"),
        ({"own_rates": None}, TypeError, "own_rates must be True or False, got None"),
        ({"bits": 33}, ValueError, "bits must be .* at most 32, got 33"),
        ({"n_neighbours": 0}, ValueError, "n_neighbours must be .* at least 1 .*, got 0"),
    ],
)
def test_bad_options_are_refused_by_name(
    chosen: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Debts(**chosen)


# --- Weights ---


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=9), st.floats(0, 2), st.floats(0, 3))
def test_weights_are_those_of_the_reference(
    log_price: list[float], sum_weight: float, tail_weight: float
) -> None:
    found = user_weights(np.array([log_price]), sum_weight, tail_weight)[0]
    np.testing.assert_allclose(found, naive_graph.weights(log_price, sum_weight, tail_weight))
    np.testing.assert_allclose((found - sum_weight).sum(), tail_weight, atol=1e-12)


def test_users_that_are_not_counted_have_no_price() -> None:
    log_price = np.array([[0.0, NOT_COUNTED, 0.0]], np.float32)
    np.testing.assert_allclose(user_weights(log_price, 0.25, 2.0), [[1.25, 0.25, 1.25]])


@given(drawn, st.sampled_from([0.1, 5.0, 800.0]))
def test_own_weights_are_those_of_what_each_ap_knows(seed: int, spread: float) -> None:
    generator = np.random.default_rng(seed)
    known, own = generator.normal(scale=spread, size=(2, 3, 8))
    association = generator.integers(0, 4, (3, 8))
    own[0, 3] = known[0, 3] = NOT_COUNTED
    found = own_weights(known, own, association, 0.2, 1.5)
    for b, j in np.ndindex(3, 8):
        seen = np.where(association[b] == association[b, j], own[b], known[b])
        expected = naive_graph.weights(seen.tolist(), 0.2, 1.5)[j]
        np.testing.assert_allclose(found[b, j], expected, rtol=1e-9)
    np.testing.assert_allclose(
        own_weights(own, own, association, 0.2, 1.5), user_weights(own, 0.2, 1.5), rtol=1e-9
    )
