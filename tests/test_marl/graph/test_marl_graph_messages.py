"""What access points exchange decides, and nothing else that they cannot know themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from gains import plan_of, played, random_rates, world
from numpy.typing import NDArray
from strategies import reset_network

from baselines.exchange import quantised_gains, quantised_rates
from marl import GraphPolicy
from rrm_env import SILENT, RRMConfig


@pytest.mark.parametrize("every", [0, 10])
def test_between_exchanges_nothing_of_gains_and_rates_is_known(graph_file: str, every: int) -> None:
    policy = GraphPolicy(graph_file, exchange_steps=every, own_rates=False, price_steps=5)
    rates, decisions = random_rates(0, world(0)), []
    for k in range(2):
        later = world(k + 1).large_scale_gain
        decisions.append(played(policy, world(0), rates * (1 + 9 * k), later))
    same = (decisions[0] == decisions[1]).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()


@pytest.mark.parametrize("every", [0, 10])
def test_who_transmits_is_known_to_all_between_exchanges(graph_file: str, every: int) -> None:
    policy = GraphPolicy(graph_file, exchange_steps=every, price_steps=5)
    rates, decisions = random_rates(0, world(0)), []
    for k in range(2):
        later = world(k + 1).large_scale_gain
        decisions.append(played(policy, world(0), rates * (1 + 9 * k), later))
    same = ((decisions[0] == SILENT) == (decisions[1] == SILENT)).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()
    assert (decisions[0] != decisions[1])[: every or 25].any()  # for rates of its own differ


def test_an_ap_chooses_by_its_own_users_rates_alone(graph_file: str) -> None:
    policy = GraphPolicy(graph_file, "everybody", exchange_steps=0, debt_weight=8.0)
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


def test_an_exchange_makes_known_what_every_step_would(graph_file: str) -> None:
    found = [
        played(
            GraphPolicy(graph_file, exchange_steps=every, own_rates=False), world(4), rates, later
        )
        for rates, later in [(random_rates(4, world(4)), world(5).large_scale_gain)]
        for every in (1, 6)
    ]
    same = (found[0] == found[1]).all(axis=(1, 2))
    assert same[::6].all()
    assert not same.all()


def test_the_plan_holds_quantised_gains_and_rates(graph_file: str) -> None:
    network = reset_network(RRMConfig(n_aps=6, n_ues=25, episode_length=9), 5, 2)
    policy, exact = (
        GraphPolicy(graph_file, bits=5, exchange_steps=4),
        GraphPolicy(graph_file, exchange_steps=4),
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


def test_neighbours_that_are_missing_send_no_gains(graph_file: str) -> None:
    network = reset_network(RRMConfig(n_aps=2, n_ues=9), 0)
    policy = GraphPolicy(graph_file, bits=4)
    policy.reset(network)
    cross = plan_of(policy, network).links.cross
    assert (cross[..., 0] > 0).all()
    assert (cross[..., 1:] == 0).all()


def test_more_bits_decide_more_like_exact_numbers(graph_file: str) -> None:
    config = RRMConfig(episode_length=12)

    def decisions(bits: int) -> NDArray[np.int64]:
        network, taken = reset_network(config, 0, 16), []
        policy = GraphPolicy(graph_file, bits=bits, exchange_steps=5, own_rates=False)
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
    graph_file: str, chosen: dict[str, Any], network: dict[str, Any], bits: float
) -> None:
    policy = GraphPolicy(graph_file, **chosen)
    assert math.isclose(policy.bits_per_decision(RRMConfig(**network)), bits)
