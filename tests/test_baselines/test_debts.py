"""Prices that fall with what users got, and the decisions that follow from them."""

from __future__ import annotations

import math
from typing import Any

import naive_graph
import numpy as np
import pytest
from gains import permuted, plan_of, played, random_rates, world
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import World
from strategies import reset_network

from baselines import Debts, LongMemory
from baselines.debts import debts, user_weights
from baselines.exchange import quantised_gains
from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH, choose
from baselines.registry import parse_scheduler
from rrm_env import SILENT, RRMConfig, evaluate, metrics


def cells(length: int, own: float, other: float) -> World:
    """Two APs with two users each, whose gains from their AP are equal, and so are the others."""
    gain = np.array([[[own, own, other, other], [other, other, own, own]]])
    config = RRMConfig(n_aps=2, n_ues=4, episode_length=length)
    return World(config, gain, [[0, 0, 1, 1]])


def carried_out(scheduler: Debts, world: World, rate: float = 4.0) -> NDArray[np.int64]:
    """(T, I) decisions in one episode, in which whoever is served gets the same rate."""
    scheduler.reset(world)  # type: ignore[arg-type]
    decisions = []
    for _ in range(world.config.episode_length):
        served = scheduler.schedule(world)[0]  # type: ignore[arg-type]
        decisions.append(served)
        got = np.isin(np.arange(world.config.n_ues), served)[None].astype(np.float64)
        world.step(rate * got)
    return np.array(decisions)


# --- Networks in which it is known what to do ---


def test_far_cells_transmit_always_and_their_users_take_turns() -> None:
    decisions = carried_out(Debts("everybody"), cells(40, 100.0, 1e-4))
    assert (decisions != SILENT).all()
    assert np.bincount(decisions.ravel()).tolist() == [20] * 4
    assert (decisions[::2] != decisions[1::2]).all()


def test_coincident_cells_transmit_one_after_the_other() -> None:
    decisions = carried_out(Debts("everybody"), cells(40, 100.0, 100.0))
    assert ((decisions != SILENT).sum(axis=1) == 1).all()
    assert np.bincount(decisions[decisions != SILENT]).tolist() == [10] * 4
    assert decisions[0].tolist() == [0, SILENT]  # of equal prices, the first one


def test_without_debts_the_sum_rate_decides_alone() -> None:
    own = cells(10, 100.0, 1e-4)
    own.large_scale_gain[0, :, [1, 2]] *= 4
    decisions = carried_out(Debts("everybody", debt_weight=0), own)
    assert (decisions == [1, 2]).all()


def test_the_tail_leaves_out_those_whose_gain_is_lowest() -> None:
    config = RRMConfig(n_aps=1, n_ues=40, episode_length=30)
    gain = np.linspace(5.0, 50.0, 40)
    gain[[7, 23]] = 1.0, 2.0
    alone = World(config, gain[None, None], np.zeros((1, 40)))
    assert metrics.n_below_tail(40) == 2
    for counted, left_out in (("tail", [7, 23]), ("everybody", [])):
        scheduler = Debts(counted)
        scheduler.reset(alone)  # type: ignore[arg-type]
        assert np.flatnonzero(~plan_of(scheduler, alone).counted[0]).tolist() == left_out
        scheduler.schedule(alone)  # type: ignore[arg-type]
        weights = scheduler._weights(plan_of(scheduler, alone), alone, alone.ue_rate_sum)  # type: ignore[arg-type]
        expected = np.full(40, config.sum_weight + config.score_tail_weight / (40 - len(left_out)))
        expected[left_out] = config.sum_weight
        np.testing.assert_allclose(weights[0], expected)


# --- The formula ---


rates = st.floats(0, 100)


@given(
    st.lists(rates, min_size=1, max_size=5),
    st.floats(0.01, 10),
    st.integers(0, 199),
    st.floats(0, 50),
)
def test_debts_are_those_of_the_reference(
    got: list[float], level: float, steps: int, debt_weight: float
) -> None:
    found = debts(np.array([got]), np.array([[level]]), steps, 200, debt_weight)
    wanted = [naive_graph.debt(x, level, steps, 200, debt_weight) for x in got]
    np.testing.assert_allclose(found, [wanted])
    steps_of_each = np.array([[float(steps)]])
    np.testing.assert_array_equal(
        debts(np.array([got]), np.array([[level]]), steps_of_each, 200, debt_weight), found
    )


def test_what_users_got_weighs_more_in_the_last_steps() -> None:
    got, level = np.array([[3.0, 4.0]]), np.array([[0.5]])
    difference = [np.ptp(debts(got, level, t, 100, 0.7)) for t in range(100)]
    assert (np.diff(difference) > 0).all()
    # The square root of what remains, 110 steps at first and 11 after the last but one.
    assert difference[99] / difference[0] == pytest.approx(math.sqrt(110 / 11))


@pytest.mark.parametrize(
    ("counted", "debt_weight", "every"),
    [("tail", 0.7, 1), ("everybody", 3.0, 1), ("tail", 2.0, 0), ("everybody", 1.0, 4)],
)
def test_decisions_follow_the_equations(counted: str, debt_weight: float, every: int) -> None:
    length, n_ues, k = 9, 21, 2
    played_world = world(0, length, n_aps=4, n_ues=n_ues)
    config, got = played_world.config, random_rates(1, played_world)
    scheduler = Debts(counted, debt_weight, every, own_rates=False, n_neighbours=k)
    found = played(scheduler, played_world, got)
    links = Links.of_network(played_world, k)  # type: ignore[arg-type]
    known, total = np.zeros((2, n_ues)), np.zeros((2, n_ues))
    for t in range(length):
        if every and t % every == 0:
            known = total.copy()
        weight = np.array(
            [by_hand(links, b, counted, known[b], t, config, debt_weight) for b in range(2)]
        )
        served, rate = choose(links, weight)
        np.testing.assert_array_equal(found[t], served)
        for b, i in zip(*np.nonzero(served != SILENT), strict=True):
            known[b, served[b, i]] += rate[b, i]
        total += got[t]
    assert len(np.unique(found.reshape(length, -1), axis=0)) > 3


def by_hand(
    links: Links,
    b: int,
    counted: str,
    got: NDArray[np.float64],
    t: int,
    config: RRMConfig,
    debt_weight: float,
) -> list[float]:
    """The weights of an episode's users."""
    own, cross, rest, association = (x[b].tolist() for x in links[:4])
    round_robin = [
        math.log2(1 + RAYLEIGH * own[j] / (1 + RAYLEIGH * (sum(cross[j]) + rest[j])))
        / association.count(association[j])
        for j in range(config.n_ues)
    ]
    mean = naive_graph.mean_rate(got.tolist(), round_robin, t)
    log_price = [
        -naive_graph.debt(got[j], mean, t, config.episode_length, debt_weight)
        for j in range(config.n_ues)
    ]
    if counted == "tail":  # one of 21
        log_price[own.index(min(own))] = -1e9
    return naive_graph.weights(log_price, config.sum_weight, config.score_tail_weight)


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.floats(0, 5), st.floats(0, 5))
def test_prices_have_the_sum_of_the_tail_s_weight(
    log_price: list[float], sum_weight: float, tail_weight: float
) -> None:
    found = user_weights(np.array([log_price]), sum_weight, tail_weight)
    np.testing.assert_allclose(found[0], naive_graph.weights(log_price, sum_weight, tail_weight))
    assert (found - sum_weight).sum() == pytest.approx(tail_weight)


@pytest.mark.parametrize("seed", range(6))
def test_permuted_users_and_aps_have_permuted_decisions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    one = world(seed, n_aps=5, n_ues=40)
    aps, users = generator.permutation(5), generator.permutation(40)
    moved = permuted(one.large_scale_gain, one.association, aps, users)
    other, got = World(one.config, *moved), random_rates(seed, one)
    first = played(Debts(exchange_steps=2), one, got)
    second = played(Debts(exchange_steps=2), other, got[:, :, users])
    np.testing.assert_array_equal(np.where(second >= 0, users[second], SILENT), first[:, :, aps])


# --- Messages ---


@pytest.mark.parametrize("own_rates", [True, False])
@pytest.mark.parametrize("every", [0, 10])
def test_between_exchanges_an_ap_knows_its_own_users_rates_at_most(
    every: int, own_rates: bool
) -> None:
    got, decisions = random_rates(0, world(0)), []
    for n in range(2):
        later = world(n + 1).large_scale_gain
        scheduler = Debts(exchange_steps=every, own_rates=own_rates)
        decisions.append(played(scheduler, world(0), got * (1 + 9 * n), later))
    alike = (decisions[0] == decisions[1]).all(axis=(1, 2))
    on = [taken != SILENT for taken in decisions]
    known = (on[0] == on[1]).all(axis=(1, 2))
    assert known[: every or 25].all()
    assert alike[: every or 25].all() != own_rates
    assert every == 0 or not known[every:].all()


def test_numbers_are_exchanged_at_so_many_bits() -> None:
    network = reset_network(RRMConfig(n_aps=6, n_ues=25, episode_length=9), 5, 2)
    coarse, exact = Debts(bits=5), Debts()
    for scheduler in (coarse, exact):
        scheduler.reset(network)
        scheduler.schedule(network)
    for name in ("own", "cross", "rest"):
        found = getattr(plan_of(coarse, network).links, name)
        sent = getattr(plan_of(exact, network).links, name)
        present = sent > 0
        np.testing.assert_array_equal(found[present], quantised_gains(sent, 5)[present])
        assert len(np.unique(found[present])) <= 32


@pytest.mark.parametrize(
    ("chosen", "network", "bits"),
    [
        # 20 users send 4 gains each: from their AP and from the 3 others.
        ({"exchange_steps": 0, "bits": 8}, {}, 20 * 4 * 8 / (4 * 200)),
        ({"exchange_steps": 60, "bits": 8}, {}, 20 * (4 * 4 + 3) * 8 / (4 * 200)),
        ({}, {}, 20 * (200 * 4 + 199) * 32 / (4 * 200)),
        # All others are neighbours, so that there is no sum.
        ({"exchange_steps": 0, "n_neighbours": 3}, {}, 20 * 4 * 32 / (4 * 200)),
        # 6 APs: own gain, 2 neighbours and the sum of the 3 others.
        (
            {"exchange_steps": 9, "bits": 5, "n_neighbours": 2},
            {"n_aps": 6, "n_ues": 30, "episode_length": 20},
            30 * (3 * 4 + 2) * 5 / (6 * 20),
        ),
        ({"exchange_steps": 0}, {"n_aps": 1, "n_ues": 3}, 3 * 32 / 200),
    ],
)
def test_bits_per_decision(chosen: dict[str, Any], network: dict[str, Any], bits: float) -> None:
    assert math.isclose(Debts(**chosen).bits_per_decision(RRMConfig(**network)), bits)


# --- As a scheduler ---


def test_it_beats_long_memory_and_knowing_less_costs() -> None:
    best, everybody, once, free, memory = (
        evaluate(scheduler, episodes=16)
        for scheduler in (
            Debts(),
            Debts("everybody"),
            Debts(exchange_steps=0, own_rates=False),
            Debts(debt_weight=0),
            LongMemory(),
        )
    )
    assert (best.score - memory.score).mean() > 0.15
    assert (everybody.worst_rate - memory.worst_rate).mean() > 0
    assert (everybody.worst_rate - best.worst_rate).mean() > 0.3
    assert (best.score - once.score).mean() > 0.1
    assert free.score.mean() < memory.score.mean()


def test_candidates_alone_may_be_served_where_only_these_can_act() -> None:
    network = reset_network(RRMConfig(n_ues=30, episode_length=12), 0, 2)
    scheduler, outside = Debts(), 0
    scheduler.reset(network)
    while not network.done:
        served = scheduler.schedule_candidates(network)
        for b, i in np.ndindex(*served.shape):
            assert served[b, i] in [SILENT, *network.candidates[b, i]]
            outside += scheduler.schedule(network)[b, i] not in [SILENT, *network.candidates[b, i]]
        network.step(served)
    assert outside > 0


def test_names_choose_its_options() -> None:
    scheduler = parse_scheduler("debts:counted=everybody:debt_weight=2:n_neighbours=3:bits=8")
    assert isinstance(scheduler, Debts)
    assert (scheduler.counted, scheduler.debt_weight) == ("everybody", 2.0)
    assert (scheduler.n_neighbours, scheduler.bits) == (3, 8)


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ({"counted": "tial"}, ValueError, "unknown counted 'tial' .did you mean 'tail'"),
        ({"counted": None}, ValueError, "unknown counted 'None'"),
        ({"debt_weight": -0.1}, ValueError, "debt_weight must be from 0 to 1000, got -0.1"),
        ({"debt_weight": math.nan}, ValueError, "debt_weight must be from 0 .*, got nan"),
        ({"debt_weight": "much"}, TypeError, "debt_weight must be a number .*, got 'much'"),
        ({"exchange_steps": -1}, ValueError, "exchange_steps must be .* at least 0 .*, got -1"),
        ({"exchange_steps": True}, TypeError, "exchange_steps must be an integer .*, got True"),
        ({"own_rates": 1}, TypeError, "own_rates must be True or False, got 1"),
        ({"bits": 33}, ValueError, "bits must be .* at least 0 and at most 32, got 33"),
        ({"bits": 0.5}, TypeError, "bits must be an integer .*, got 0.5"),
        ({"n_neighbours": 0}, ValueError, "n_neighbours must be .* at least 1 .*1024, got 0"),
        ({"n_neighbours": 1025}, ValueError, "n_neighbours must be .*, got 1025"),
        ({"n_neighbours": "all"}, TypeError, "n_neighbours must be an integer .*, got 'all'"),
    ],
)
def test_bad_options_are_refused_by_name(
    chosen: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Debts(**chosen)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Debts does not know this network"):
        Debts().schedule(reset_network(RRMConfig(), 0))
