"""Prices that fall with what users got, and the decisions that follow from them."""

from __future__ import annotations

import math

import naive_graph
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import World
from strategies import reset_network

from baselines import Debts, LongMemory
from baselines.debts import debts, user_weights
from baselines.registry import parse_scheduler
from rrm_env import SILENT, RRMConfig, evaluate


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


# --- The formula ---


rates = st.floats(0, 100)


def test_what_users_got_weighs_more_in_the_last_steps() -> None:
    got, level = np.array([[3.0, 4.0]]), np.array([[0.5]])
    difference = [np.ptp(debts(got, level, t, 100, 0.7)) for t in range(100)]
    assert (np.diff(difference) > 0).all()
    # The square root of what remains, 110 steps at first and 11 after the last but one.
    assert difference[99] / difference[0] == pytest.approx(math.sqrt(110 / 11))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=8), st.floats(0, 5), st.floats(0, 5))
def test_prices_have_the_sum_of_the_tail_s_weight(
    log_price: list[float], sum_weight: float, tail_weight: float
) -> None:
    found = user_weights(np.array([log_price]), sum_weight, tail_weight)
    np.testing.assert_allclose(found[0], naive_graph.weights(log_price, sum_weight, tail_weight))
    assert (found - sum_weight).sum() == pytest.approx(tail_weight)


# --- Messages ---


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


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Debts does not know this network"):
        Debts().schedule(reset_network(RRMConfig(), 0))
