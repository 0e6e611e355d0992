"""Fluid solves the program of the rest of the episode, and plays it with what it may know."""

from __future__ import annotations

import math
from typing import Any

import naive_optimum
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import World
from strategies import configs, reset_network, seeds

from baselines import Fluid, LongMemory, joint_actions
from baselines.exchange import quantised_gains, quantised_rates
from baselines.fluid import _shift
from baselines.fluid_program import Program, leave_out, solve
from baselines.joint_actions import JointActions, Sets
from rrm_env import SILENT, RRMConfig, evaluate

Floats = NDArray[np.float64]

small = configs(
    n_aps=st.sampled_from([1, 2, 3]),
    n_ues=st.sampled_from([1, 4, 7]),
    n_candidates=st.sampled_from([1, 2]),
    episode_length=st.sampled_from([1, 3, 7]),
    fading="iid",
)
options = st.fixed_dictionaries(
    {
        "counted": st.sampled_from(["tail", "everybody"]),
        "resolve_steps": st.sampled_from([1, 2, 5]),
        "exchange_steps": st.sampled_from([0, 1, 3]),
        "own_rates": st.booleans(),
        "bits": st.sampled_from([0, 1, 8]),
        "objective": st.sampled_from(["score", "max_min", "sum_rate"]),
        "trend": st.booleans(),
        "descent_steps": st.sampled_from([1, 20]),
    }
)


def program_of(config: RRMConfig, gain: Any, association: Any, realised: Any, t: int) -> Program:
    return Program(
        JointActions(gain, association),
        config.sum_weight,
        config.score_tail_weight,
        np.array(realised),
        config.episode_length - t,
        config.episode_length,
        Sets.none_of(config, len(gain)),
    )


def drawn_program(config: RRMConfig, seed: int, num_envs: int = 1) -> Program:
    """The program at the gains of an episode, some of whose rates are drawn."""
    network = reset_network(config, seed, num_envs)
    drawn = np.random.default_rng(seed % 2**32)
    realised = drawn.uniform(0, 3, network.association.shape)
    t = config.episode_length // 2
    return program_of(config, network.large_scale_gain, network.association, realised, t)


def everybody(program: Program) -> NDArray[np.bool_]:
    return np.ones(program.realised.shape, np.bool_)


def equal(program: Program) -> Floats:
    """Multipliers to begin with."""
    return np.ones(program.realised.shape)


# --- The program ---


@settings(max_examples=20)
@given(small, seeds)
def test_the_bound_is_the_dual_function_at_the_multipliers(config: RRMConfig, seed: int) -> None:
    program = drawn_program(config, seed)
    found = solve(program, everybody(program), equal(program), 30)
    assert math.isclose(found.multiplier.sum(), config.score_tail_weight, rel_tol=1e-9)
    expected = naive_optimum.dual_value(
        program.actions.gain[0].tolist(),
        program.actions.association[0].tolist(),
        (program.sum_weight + found.multiplier[0]).tolist(),
        program.realised[0].tolist(),
        program.remaining,
        program.length,
    )
    assert math.isclose(found.bound[0], expected, rel_tol=3e-4)


@settings(max_examples=20)
@given(small, seeds, st.integers(0, 2**32 - 1))
def test_no_schedule_exceeds_the_bound(config: RRMConfig, seed: int, drawn: int) -> None:
    program = drawn_program(config, seed)
    found = solve(program, everybody(program), equal(program), 30)
    generator, rates = np.random.default_rng(drawn), program.realised[0].copy()
    for _ in range(program.remaining):
        weight = generator.exponential(size=(1, config.n_ues))
        served, rate = program.actions.best(weight)
        rates[served[served != SILENT]] += rate[served != SILENT]
    rates /= program.length
    value = program.sum_weight * rates.sum() + program.tail_weight * rates.min()
    assert value <= found.bound[0] * (1 + 1e-9)


def test_mirror_descent_comes_near_the_optimum() -> None:
    program = drawn_program(RRMConfig(), 0, num_envs=32)
    start = equal(program)
    near = solve(program, everybody(program), start, 500).bound
    nearest = solve(program, everybody(program), start, 5000).bound
    assert (nearest <= near).all()
    assert (near / nearest).max() < 1.02
    assert (near / nearest).mean() < 1.006


def test_users_that_cost_the_most_are_left_out() -> None:
    program = drawn_program(RRMConfig(n_ues=60), 0, num_envs=8)
    base = solve(program, everybody(program), equal(program), 200)
    counted, found = leave_out(program, 3, 200)
    assert (counted.sum(axis=1) == 57).all()
    assert (found.multiplier[~counted] == 0).all()
    assert (base.multiplier[~counted] > 3 / 60).all()  # above the mean
    assert (found.bound / base.bound).mean() > 1.01


@settings(max_examples=20)
@given(small, seeds, st.integers(0, 2**32 - 1))
def test_permuted_users_have_permuted_multipliers(config: RRMConfig, seed: int, drawn: int) -> None:
    program = drawn_program(config, seed)
    order = np.random.default_rng(drawn).permutation(config.n_ues)
    actions = JointActions(program.actions.gain[:, :, order], program.actions.association[:, order])
    permuted = program._replace(actions=actions, realised=program.realised[:, order])
    start = equal(program)
    one, other = (solve(p, everybody(p), start, 5) for p in (program, permuted))
    np.testing.assert_allclose(other.bound, one.bound, rtol=1e-6)
    np.testing.assert_allclose(other.multiplier, one.multiplier[:, order], rtol=1e-6)


def test_in_large_networks_remembered_sets_lower_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    config = RRMConfig(n_aps=6, n_ues=30)
    network = reset_network(config, 0, 16)
    weight = np.random.default_rng(0).exponential(size=network.association.shape)

    def value(found: Any) -> Floats:
        users = np.take_along_axis(weight, np.maximum(found.served, 0), axis=1)
        total: Floats = (users * found.rate).sum(axis=1)
        return total

    best = value(JointActions(network.large_scale_gain, network.association).best(weight))
    monkeypatch.setattr(joint_actions, "EXACT_APS", 0)
    actions = JointActions(network.large_scale_gain, network.association)
    known, before = Sets.none_of(config, 16), value(actions.best(weight))
    for turn in range(12):
        after = value(actions.best(weight, known, keep=True, turn=turn))
        assert (after >= before * (1 - 1e-9)).all() if turn else True
        before = after
    assert (before <= best * (1 + 1e-5)).all()
    assert (before > 0.999 * best).mean() > 0.9
    for b, n in np.ndindex(16, int(known.size.max())):
        if n < known.size[b]:
            beside = actions.rates_beside(known.transmits[:, n])[b]
            np.testing.assert_allclose(known.rates[b, n], beside, rtol=1e-4, atol=1e-9)


@settings(max_examples=50)
@given(st.integers(1, 9), st.floats(0, 5), st.integers(0, 2**32 - 1))
def test_projection_reaches_its_sum(n_ues: int, total: float, drawn: int) -> None:
    generator = np.random.default_rng(drawn)
    point, counted = generator.normal(size=(2, n_ues)), generator.random((2, n_ues)) < 0.7
    counted[:, 0] = True
    shift = _shift(point, counted, total)
    projected = np.where(counted, np.maximum(point - shift[:, None], 0), 0)
    np.testing.assert_allclose(projected.sum(axis=1), total, atol=1e-12)


# --- The schedule ---


@settings(max_examples=60)
@given(small, seeds, options, st.booleans())
def test_no_action_is_illegal_and_a_repeated_question_gets_the_same_answer(
    config: RRMConfig, seed: int, chosen: dict[str, Any], large: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_actions, "EXACT_APS", 0 if large else 10)
        network, scheduler = reset_network(config, seed, 2), Fluid(**chosen)
        scheduler.reset(network)
        while not network.done:
            candidates = scheduler.schedule_candidates(network)
            for b, i in np.ndindex(*candidates.shape):
                assert candidates[b, i] in [SILENT, *network.candidates[b, i]]
            served = scheduler.schedule(network)
            if not large:  # where the memory of good sets helps, the answer may improve
                np.testing.assert_array_equal(scheduler.schedule(network), served)
            network.step(served)  # which refuses users of other APs


@pytest.mark.parametrize("exact_aps", [0, 10])
def test_a_decision_does_not_depend_on_the_batch(
    exact_aps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_actions, "EXACT_APS", exact_aps)
    config = RRMConfig(episode_length=25)
    with monkeypatch.context() as patch:
        patch.setattr(joint_actions, "RATES_AT_ONCE", 500)  # parts of three episodes
        together = evaluate(Fluid(), config, episodes=8)
    apart = evaluate(Fluid(), config, episodes=8, batch_size=3)
    np.testing.assert_array_equal(together.ue_rates, apart.ue_rates)


def cells(distance_db: float) -> World:
    """Two APs with two users each at 20 dB, whose other link is weaker by a number of dB."""
    own, other = 100.0, 100.0 * 10 ** (-distance_db / 10)
    gain = np.array([[[own, own, other, other], [other, other, own, own]]])
    config = RRMConfig(n_aps=2, n_ues=4, episode_length=40, ue_speed_mps=0.0)
    return World(config, gain, [[0, 0, 1, 1]])


def played(world: World, scheduler: Fluid) -> NDArray[np.int64]:
    """(T, I) the decisions of an episode, with the ergodic rates realised."""
    scheduler.reset(world)  # type: ignore[arg-type]
    actions, decisions = JointActions(world.large_scale_gain, world.association), []
    while world.t < world.config.episode_length:
        served = scheduler.schedule(world)  # type: ignore[arg-type]
        decisions.append(served[0])
        rates, beside = np.zeros(world.ue_rate_sum.shape), actions.rates_beside(served != SILENT)
        users = served[0][served[0] != SILENT]
        rates[0, users] = beside[0, users]
        world.step(rates)
    return np.array(decisions)


def test_two_far_cells_are_always_on() -> None:
    decisions = played(cells(60.0), Fluid())
    assert (decisions != SILENT).all()
    assert (np.bincount(decisions.ravel()) == 20).all()


def test_two_coincident_cells_take_turns() -> None:
    world = cells(0.0)
    decisions = played(world, Fluid())
    assert ((decisions != SILENT).sum(axis=1) == 1).all()
    assert (np.bincount(decisions[decisions != SILENT]) == 10).all()


def test_the_sum_rate_serves_the_best_users_alone() -> None:
    world = cells(0.0)
    world.large_scale_gain[0, 1, 3] = 200.0
    assert (played(world, Fluid(objective="sum_rate")) == [SILENT, 3]).all()


@pytest.mark.parametrize("exact_aps", [0, 10])
@pytest.mark.parametrize("every", [0, 10])
def test_between_exchanges_nothing_of_gains_and_rates_is_known(
    every: int, exact_aps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_actions, "EXACT_APS", exact_aps)
    generator = np.random.default_rng(0)
    config = RRMConfig(n_aps=3, n_ues=9, episode_length=25)
    start = generator.exponential(size=(2, 3, 9)) * 100
    later = [generator.exponential(size=(2, 3, 9)) * 100 for _ in range(2)]
    rates = generator.exponential(size=(25, 2, 9))
    scheduler = Fluid(exchange_steps=every, own_rates=False, resolve_steps=5)
    differ = []
    for k in range(2):
        world = World(config, start.copy(), np.tile(np.arange(9) % 3, (2, 1)))
        scheduler.reset(world)  # type: ignore[arg-type]
        decisions = []
        for t in range(25):
            world.large_scale_gain = later[k] if t else start
            decisions.append(scheduler.schedule(world))  # type: ignore[arg-type]
            world.step(rates[t] * (1 + 9 * k))
        differ.append(np.array(decisions))
    same = (differ[0] == differ[1]).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()


def test_an_ap_chooses_by_its_own_users_rates_alone() -> None:
    generator = np.random.default_rng(1)
    config = RRMConfig(n_aps=3, n_ues=12, episode_length=60)
    gain = np.exp(generator.normal(size=(1, 3, 12)))
    gain[0, np.arange(12) % 3, np.arange(12)] += 300
    rates = generator.exponential(size=(60, 1, 12))
    decisions = []
    for factor in (1.0, 3.0):
        world, scheduler = World(config, gain, [np.arange(12) % 3]), Fluid(exchange_steps=0)
        scheduler.reset(world)  # type: ignore[arg-type]
        taken = []
        for t in range(60):
            taken.append(scheduler.schedule(world)[0])  # type: ignore[arg-type]
            changed = rates[t].copy()
            changed[0, 1] *= factor  # a user of the second AP
            world.step(changed)
        decisions.append(np.array(taken))
    assert ((decisions[0] != SILENT) == (decisions[1] != SILENT)).all()
    assert (decisions[0][:, [0, 2]] == decisions[1][:, [0, 2]]).all()
    assert (decisions[0][:, 1] == 1).sum() > (decisions[1][:, 1] == 1).sum()


# --- What it reaches, and its options ---


def test_it_beats_long_memory_and_knowing_less_costs() -> None:
    episodes = 24
    best, everyone, once, planned, memory = (
        evaluate(scheduler, episodes=episodes)
        for scheduler in (
            Fluid(),
            Fluid(counted="everybody"),
            Fluid(exchange_steps=0),
            Fluid(exchange_steps=0, own_rates=False),
            LongMemory(),
        )
    )
    assert (best.score - memory.score).mean() > 0.25
    assert (everyone.worst_rate - memory.worst_rate).mean() > 0.02
    assert (best.score - once.score).mean() > 0.1
    assert (once.score - planned.score).mean() > 0.05


def test_the_objectives_trade_the_sum_for_the_tail() -> None:
    config = RRMConfig(score_tail_weight=0.3)
    summed, scored, highest = (
        evaluate(Fluid(counted="everybody", objective=objective), config, episodes=8)
        for objective in ("sum_rate", "score", "max_min")
    )
    assert highest.worst_rate.mean() > summed.worst_rate.mean() + 0.3
    assert summed.sum_rate.mean() > scored.sum_rate.mean() > highest.sum_rate.mean() + 1


def test_the_trend_of_gains_raises_the_score() -> None:
    known, unknown = (evaluate(Fluid(trend=trend), episodes=64) for trend in (True, False))
    assert (known.score - unknown.score).mean() > 0.005


@given(st.integers(1, 24), st.floats(-300, 300))
def test_quantised_numbers_are_near_within_the_range(bits: int, value_db: float) -> None:
    quantised = 10 * np.log10(quantised_gains(np.array([10 ** (value_db / 10)]), bits))[0]
    clipped = min(max(value_db, -40), 100)
    assert abs(quantised - clipped) <= 70 / (2**bits - 1) + 1e-9


def test_a_rate_of_zero_is_the_lowest_level() -> None:
    np.testing.assert_allclose(quantised_rates(np.zeros(1), 8), 1e-3)


@pytest.mark.parametrize(
    ("chosen", "bits"),
    [
        ({"exchange_steps": 0, "bits": 8}, 80 * 8 / 800),
        ({"exchange_steps": 50, "bits": 16}, (4 * 80 + 3 * 20) * 16 / 800),
        ({}, (200 * 80 + 199 * 20) * 32 / 800),
    ],
)
def test_bits_per_decision(chosen: dict[str, Any], bits: float) -> None:
    assert math.isclose(Fluid(**chosen).bits_per_decision(RRMConfig()), bits)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"counted": "som"}, "unknown counted 'som'"),
        ({"objective": "fair"}, "unknown objective 'fair'"),
        ({"resolve_steps": 0}, "resolve_steps"),
        ({"exchange_steps": -1}, "exchange_steps"),
        ({"bits": 33}, "bits"),
        ({"descent_steps": 0}, "descent_steps"),
        ({"own_rates": 1}, "own_rates must be True or False, got 1"),
        ({"trend": None}, "trend must be True or False"),
    ],
)
def test_wrong_options_are_refused_by_name(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Fluid(**chosen)
