"""The optimum equals an independent program over all joint actions, with a bound that holds."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import naive_optimum
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs, seeds

from baselines.optimum import Optimum, Schedules, optimum
from baselines.optimum.listed import Listed
from baselines.optimum.motion import along_the_motion, edges
from baselines.optimum.program import Program
from baselines.optimum.restricted import Objective
from baselines.optimum.solve import OBJECTIVES, Arrays, solve_episode
from baselines.optimum.tail import leave_out
from rrm_env import Network, RRMConfig
from rrm_env.evaluation import first_episode

scipy_optimize: Any = pytest.importorskip("scipy.optimize")

Floats = NDArray[np.float64]

small: dict[str, Any] = {
    "n_aps": st.sampled_from([1, 2, 3]),
    "n_ues": st.sampled_from([1, 2, 4, 6]),
    "episode_length": st.sampled_from([1, 3, 7]),
    "fading": st.sampled_from(["iid", "none"]),
    "csi_delay": st.sampled_from([1, 2]),
    "tx_power_dbm": st.sampled_from([0.0, 10.0, 40.0]),
}


class Listing(NamedTuple):
    """All joint actions of an episode."""

    rates: Floats
    """(n, A, J) in each time block."""
    length: Floats
    """(n,) share of the episode of each block."""


def listing(gain: Floats, association: NDArray[np.int64], length: Floats, fading: str) -> Listing:
    """All joint actions with their rates, in plain Python."""
    actions = list(naive_optimum.joint_actions(gain.shape[1], association.tolist()))
    rates = [
        [naive_optimum.rates_of(action, block, fades=fading == "iid") for action in actions]
        for block in gain.tolist()
    ]
    return Listing(np.array(rates), length)


def best(
    of: Listing, sum_weight: float, tail_weight: float, counted: NDArray[np.bool_] | None = None
) -> float:
    """The highest value of the program over all joint actions."""
    n, n_actions, n_ues = of.rates.shape
    rates = (of.length[:, None, None] * of.rates).reshape(n * n_actions, n_ues)
    users = range(n_ues) if counted is None else np.flatnonzero(counted)
    result = scipy_optimize.linprog(
        -np.append(sum_weight * rates.sum(axis=1), tail_weight),
        A_ub=[np.append(-rates[:, user], 1.0) for user in users],
        b_ub=np.zeros(len(users)),
        A_eq=np.hstack([np.kron(np.eye(n), np.ones(n_actions)), np.zeros((n, 1))]),
        b_eq=np.ones(n),
    )
    assert result.status == 0
    return float(-result.fun)


def episode_of(config: RRMConfig, seed: int, blocks: int) -> tuple[Listing, Optimum]:
    """All joint actions of an episode, and what is said to be best."""
    found = optimum(config, seed, 1, blocks=blocks, cached=False)
    gain, association = along_the_motion(config, first_episode(seed), 1, blocks)
    length = np.diff(edges(config, blocks)) / config.episode_length
    return listing(gain[0], association[0], length, config.fading), found


def assert_equal(found: Schedules, value: float) -> None:
    """The value is the one found, and the bound is close above it."""
    assert found.value[0] == pytest.approx(value, rel=1e-6, abs=1e-7)
    assert found.bound[0] >= value * (1 - 1e-6) - 1e-7
    assert 0 <= found.gap[0] <= 2e-7 * abs(value) + 1e-9


@settings(max_examples=25)
@given(configs(**small), st.integers(0, 1000), st.data())
def test_equals_a_program_over_all_joint_actions(
    config: RRMConfig, seed: int, data: st.DataObject
) -> None:
    blocks = data.draw(st.integers(1, min(3, config.episode_length)))
    every, found = episode_of(config, seed, blocks)
    mu1, mu2 = config.sum_weight, config.score_tail_weight
    assert_equal(found.minimum_score, best(every, mu1, mu2))
    assert_equal(found.score, best(every, mu1, mu2))  # Eq. 10 leaves nobody out of so few
    assert_equal(found.sum_rate, best(every, 1.0, 0.0))
    assert_equal(found.max_min, best(every, 0.0, 1.0))
    assert (found.score.left_out.shape, found.is_bound) == ((1, 0), True)


@pytest.mark.parametrize(("n_aps", "seed"), [(2, 0), (3, 3)])
def test_the_user_left_out_is_the_best_of_all(n_aps: int, seed: int) -> None:
    config = RRMConfig(n_aps=n_aps, area_side_m=60.0, episode_length=20)
    every, found = episode_of(config, seed, 2)
    values = [
        best(every, config.sum_weight, config.score_tail_weight, np.arange(20) != user)
        for user in range(20)
    ]
    assert_equal(found.score, max(values))
    assert found.score.left_out.tolist() == [[int(np.argmax(values))]]
    assert found.score.value[0] > found.minimum_score.value[0]


@pytest.mark.parametrize("n_users", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_each_choice_of_users_left_out_is_tried(seed: int, n_users: int) -> None:
    config = RRMConfig(n_aps=3, n_ues=6, episode_length=2)
    gain, association = along_the_motion(config, seed, 1, 1)
    every = listing(gain[0], association[0], np.ones(1), "iid")
    listed = Listed(gain[0], association[0], fades=True)
    everybody = Objective(0.2, 3.0, np.ones(6, bool))
    program = Program(listed, listed, np.ones(1))
    tail = leave_out(program, everybody, n_users, program.solve(everybody))
    values = {}
    for users in itertools.combinations(range(6), n_users):
        counted = ~np.isin(np.arange(6), users)
        values[users] = best(every, 0.2, 3.0, counted)
    highest = max(values.values())
    assert tail.schedule.value == pytest.approx(highest, rel=1e-6)
    assert highest * (1 - 1e-6) <= tail.schedule.bound <= highest * (1 + 1e-6)
    assert values[tuple(tail.left_out)] == pytest.approx(highest, rel=1e-6)
    # The relaxation, in which users are left out in part, bounds every choice.
    relaxed = program.solve(everybody._replace(left_out=n_users))
    assert relaxed.bound >= highest * (1 - 1e-6)


@settings(max_examples=15)
@given(configs(**{**small, "episode_length": 6, "fading": "iid"}), seeds)
def test_the_bound_is_the_dual_function_at_the_multipliers(config: RRMConfig, seed: int) -> None:
    gain, association = along_the_motion(config, seed, 1, 2)
    listed = Listed(gain[0], association[0], fades=True)
    program = Program(listed, listed, np.full(2, 0.5))
    objective = Objective(config.sum_weight, 3.0, np.ones(config.n_ues, bool))
    schedule = program.solve(objective)
    every = listing(gain[0], association[0], np.full(2, 0.5), "iid")
    weight = objective.sum_weight + schedule.multiplier
    dual = naive_optimum.dual(every.rates.tolist(), [0.5, 0.5], weight.tolist())
    assert schedule.multiplier.min() >= 0
    assert objective.total(schedule.multiplier) == pytest.approx(3.0)
    assert schedule.bound == pytest.approx(dual, rel=1e-6)
    assert schedule.value <= schedule.bound * (1 + 1e-9)


@settings(max_examples=15)
@given(configs(**{**small, "n_ues": st.sampled_from([1, 4, 20])}), st.integers(0, 1000))
def test_rates_and_shares_of_time_belong_to_the_value(config: RRMConfig, seed: int) -> None:
    found = optimum(config, seed, 2, cached=False)
    mu1, mu2 = config.sum_weight, config.score_tail_weight
    weights = {"score": (mu1, mu2), "minimum_score": (mu1, mu2)}
    weights |= {"sum_rate": (1.0, 0.0), "max_min": (0.0, 1.0)}
    for name in OBJECTIVES:
        schedules: Schedules = getattr(found, name)
        for e in range(2):
            rates, left_out = schedules.ue_rates[e], schedules.left_out[e]
            lowest = np.delete(rates, left_out[left_out >= 0]).min()
            value = weights[name][0] * rates.sum() + weights[name][1] * lowest
            assert value == pytest.approx(schedules.value[e], rel=1e-6, abs=1e-6)
            sets, sets_of_aps = schedules.set_share[e], np.arange(2**config.n_aps)
            assert sets.sum() == pytest.approx(1)
            for ap in range(config.n_aps):
                transmits = sets[sets_of_aps >> ap & 1 == 1].sum()
                assert schedules.ap_share[e, ap] == pytest.approx(transmits, abs=1e-9)
            assert schedules.ue_share[e].sum() == pytest.approx(schedules.ap_share[e].sum())


def solved(gain: Floats, association: NDArray[np.int64], **fields: Any) -> Arrays:
    """The optimum of given gains (n, I, J)."""
    config = RRMConfig(n_aps=gain.shape[1], n_ues=gain.shape[2], min_ap_distance_m=0.0, **fields)
    listed = Listed(gain, association, fades=True)
    return solve_episode(config, Program(listed, listed, np.full(len(gain), 1 / len(gain))))


@pytest.mark.parametrize("seed", range(3))
def test_permuting_users_or_aps_permutes_results(seed: int) -> None:
    generator = np.random.default_rng(seed)
    gain, association = along_the_motion(RRMConfig(n_ues=20), seed, 1, 2)
    users, aps = generator.permutation(20), generator.permutation(4)
    one = solved(gain[0], association[0])
    other = solved(gain[0][:, aps][:, :, users], np.argsort(aps)[association[0][users]])
    for name in OBJECTIVES:
        assert other[f"{name}/value"] == pytest.approx(float(one[f"{name}/value"]), rel=3e-7)
    # Of the other two several schedules may be best.
    for name in ("score", "minimum_score"):
        np.testing.assert_allclose(
            other[f"{name}/ue_rates"], one[f"{name}/ue_rates"][users], atol=1e-3
        )
        np.testing.assert_allclose(
            other[f"{name}/ap_share"], one[f"{name}/ap_share"][aps], atol=1e-3
        )
    left_out = one["score/left_out"]
    assert (
        users[other["score/left_out"][left_out >= 0]].tolist() == left_out[left_out >= 0].tolist()
    )


def test_two_far_cells_are_always_on_and_share_their_own_time() -> None:
    """Each AP gives its users equal rates, whose inverse is the sum of the inverse rates alone."""
    powers = [[100.0, 10.0, 1e-9, 1e-9, 1e-9], [1e-9, 1e-9, 50.0, 50.0, 3.0]]
    found = solved(np.array([powers]), np.array([0, 0, 1, 1, 1]))
    alone = [naive_optimum.ergodic_rate(max(pair), []) for pair in zip(*powers, strict=True)]
    equal = [1 / sum(1 / rate for rate in alone[:2]), 1 / sum(1 / rate for rate in alone[2:])]
    assert found["max_min/value"] == pytest.approx(min(equal), rel=1e-5)
    assert found["sum_rate/value"] == pytest.approx(max(alone[:2]) + max(alone[2:]), rel=1e-5)
    # The lowest rate is that of the second cell, whose time goes to equal rates; the first cell
    # gives its weaker user as much, and its stronger one the rest.
    lowest = equal[1]
    rest = (1 - lowest / alone[1]) * alone[0]
    score = (3 * lowest + lowest + rest) / 5 + 3 * lowest
    assert found["score/value"] == pytest.approx(score, rel=1e-5)
    np.testing.assert_allclose(found["score/ue_rates"], [rest, *[lowest] * 4], rtol=1e-4)
    np.testing.assert_allclose(found["score/ap_share"], 1, atol=1e-6)
    np.testing.assert_allclose(found["score/set_share"], [0, 0, 0, 1], atol=1e-6)


def test_two_coincident_cells_are_on_one_at_a_time() -> None:
    powers = np.array([[[1e6, 3e5, 1e5, 2e5], [1e6, 3e5, 1e5, 2e5]]])
    found = solved(powers, np.array([0, 0, 1, 1]))
    alone = [naive_optimum.ergodic_rate(gain, []) for gain in powers[0, 0].tolist()]
    assert found["sum_rate/value"] == pytest.approx(max(alone), rel=1e-6)
    assert found["max_min/value"] == pytest.approx(1 / sum(1 / rate for rate in alone), rel=1e-6)
    for name in OBJECTIVES:
        assert found[f"{name}/set_share"][3] == pytest.approx(0, abs=1e-9)
        assert found[f"{name}/ap_share"].sum() == pytest.approx(1)


@pytest.mark.parametrize("weights", [(None, 0.0), (0.0, 3.0), (0.0, 0.0)])
def test_a_score_of_one_part_or_none(weights: tuple[float | None, float]) -> None:
    config = RRMConfig(
        n_ues=20, episode_length=4, score_sum_weight=weights[0], score_tail_weight=weights[1]
    )
    found = optimum(config, 0, 2, cached=False)
    expected = config.sum_weight * found.sum_rate.value + weights[1] * found.max_min.value
    np.testing.assert_allclose(found.minimum_score.value, expected, rtol=1e-6)
    assert (found.score.value >= expected * (1 - 1e-9)).all()
    assert (found.max_min.value > 0).all()


@given(configs(n_aps=2, n_ues=5, episode_length=st.sampled_from([1, 7, 12])), st.integers(0, 99))
def test_gains_are_those_of_each_block_s_middle_step(config: RRMConfig, seed: int) -> None:
    blocks = max(1, config.episode_length // 3)
    starts = [config.episode_length * b // blocks for b in range(blocks + 1)]
    for fading in (False, True):
        gain, association = along_the_motion(config, seed, 2, blocks, fading=fading)
        network = Network(config, 2)
        network.reset(seed)
        np.testing.assert_array_equal(association, network.association)
        served = network.candidates[:, :, 0].astype(np.int64)  # what is served changes no gains
        for b in range(blocks):
            while network.t < (starts[b] + starts[b + 1] - 1) // 2:
                network.step(served)
            expected = network.gain if fading else network.large_scale_gain
            np.testing.assert_array_equal(gain[:, b], expected)
