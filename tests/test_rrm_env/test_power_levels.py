"""Power levels: actions, masks, rates and refusals; one level is the environment without levels."""

from __future__ import annotations

import pickle
from typing import Any

import naive_power
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs, random_actions, random_service, reset_network, seeds

from rrm_env import (
    EVALUATION_SEEDS,
    SILENT,
    Evaluation,
    Network,
    PoweredDecision,
    RRMConfig,
    RRMJointEnv,
    RRMVectorEnv,
    evaluate,
    from_actions,
    parallel_env,
)
from rrm_env.power import actions_of, decision_of

READABLE = (
    "association",
    "gain",
    "reported_gain",
    "average_rate",
    "candidates",
    "action_mask",
    "observation",
    "ue_rate_sum",
    "silent_steps",
    "served",
    "power_level",
    "power_sum",
)
BELOW = st.sampled_from(
    [(0.0,), (-3.0,), (0.0, -3.0), (-30.0, -3.0, 0.0), (-1.0, -7.0, -90.0, -2.0)]
)
"""Levels in dB relative to full power."""


@st.composite
def leveled(draw: st.DrawFn, below: st.SearchStrategy[tuple[float, ...]] = BELOW) -> RRMConfig:
    """A random configuration with power levels."""
    power = draw(st.sampled_from([-40.0, 0.0, 10.0, 40.0]))
    levels = tuple(power + db for db in draw(below))
    return draw(configs(tx_power_dbm=power, power_levels_dbm=levels))


def snapshot(network: Network, slots: slice = slice(None)) -> dict[str, NDArray[Any]]:
    return {name: getattr(network, name)[slots].copy() for name in READABLE}


def assert_same(left: dict[str, NDArray[Any]], right: dict[str, NDArray[Any]]) -> None:
    for name in READABLE:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def random_decision(network: Network, generator: np.random.Generator) -> PoweredDecision:
    """Users and levels at random; where nobody is served, a level that does not exist."""
    served = random_service(network, generator)
    level = generator.integers(network.config.n_power_levels, size=served.shape)
    return PoweredDecision(served, np.where(served == SILENT, 99, level))


# --- Rates ---


@given(leveled(), seeds, st.integers(0, 1000))
def test_rates_and_powers_are_those_of_the_reference(
    config: RRMConfig, seed: int, drawn: int
) -> None:
    network, generator = reset_network(config, seed), np.random.default_rng(drawn)
    assert config.power_levels_dbm is not None
    relative = [naive_power.relative(x, config.tx_power_dbm) for x in config.power_levels_dbm]
    total = 0.0
    while not network.done and network.t < 6:
        gain = network.gain[0].tolist()
        decision = random_decision(network, generator)
        served, level = decision.served[0].tolist(), decision.level[0].tolist()
        powers = [
            0.0 if ue == SILENT else relative[at] for ue, at in zip(served, level, strict=True)
        ]
        found, _ = network.step(decision)
        expected = naive_power.rates(gain, served, powers)
        np.testing.assert_allclose(found[0], expected, rtol=3e-5, atol=1e-7)
        total += sum(powers)
        assert network.power_sum[0] == pytest.approx(total, rel=1e-6)
        assert network.served[0].tolist() == served
        at = [SILENT if ue == SILENT else lv for ue, lv in zip(served, level, strict=True)]
        assert network.power_level[0].tolist() == at


@given(leveled(), seeds, st.integers(0, 1000))
def test_an_action_is_a_candidate_at_a_level(config: RRMConfig, seed: int, drawn: int) -> None:
    network, twin = reset_network(config, seed, 2), reset_network(config, seed, 2)
    generator = np.random.default_rng(drawn)
    n_levels = config.n_power_levels
    assert config.n_actions == config.n_candidates * n_levels + 1
    assert network.action_mask.shape == (2, config.n_aps, config.n_actions)
    while not network.done and network.t < 5:
        slots = network.candidates.tolist()
        masks = [[naive_power.mask(own, n_levels) for own in each] for each in slots]
        assert network.action_mask.tolist() == masks
        actions = random_actions(network, generator)
        pairs = [
            [naive_power.decided(action, own, n_levels) for action, own in zip(*both, strict=True)]
            for both in zip(actions.tolist(), slots, strict=True)
        ]
        served, level = np.array(pairs).transpose(2, 0, 1)
        found, reward = network.step_actions(actions)
        again, reward_again = twin.step(PoweredDecision(served, level))
        np.testing.assert_array_equal(found, again)
        np.testing.assert_array_equal(reward, reward_again)
        assert (network.served.tolist(), network.power_level.tolist()) == (
            served.tolist(),
            level.tolist(),
        )
        assert_same(snapshot(network), snapshot(twin))


@given(leveled(), seeds, st.integers(0, 1000))
def test_actions_and_decisions_map_to_each_other(config: RRMConfig, seed: int, drawn: int) -> None:
    network = reset_network(config, seed, 3)
    actions = random_actions(network, np.random.default_rng(drawn))
    legal = np.take_along_axis(network.action_mask, actions[..., None], 2)[..., 0] == 1
    expected = np.where(legal, actions, config.n_actions - 1)
    np.testing.assert_array_equal(actions_of(network, decision_of(network, actions)), expected)


# --- One level ---


@given(configs(), seeds, st.integers(0, 1000))
def test_one_level_of_full_power_is_the_environment_without_levels(
    config: RRMConfig, seed: int, drawn: int
) -> None:
    same = RRMConfig(**{**config.as_dict(), "power_levels_dbm": [config.tx_power_dbm]})
    networks = [reset_network(each, seed, 2) for each in (config, same)]
    generator = np.random.default_rng(drawn)
    while not networks[0].done and networks[0].t < 6:
        actions = random_actions(networks[0], generator)
        results = [network.step_actions(actions) for network in networks]
        for one, other in zip(*results, strict=True):
            np.testing.assert_array_equal(one, other)
        assert_same(*map(snapshot, networks))


@given(leveled(st.just((-20.0, 0.0, -1.0))), seeds, st.integers(0, 1000))
def test_users_alone_are_served_at_the_highest_level(
    config: RRMConfig, seed: int, drawn: int
) -> None:
    """Full power is in the levels, so rates are those of the network without levels, to the bit."""
    without = RRMConfig(**{**config.as_dict(), "power_levels_dbm": None})
    network, plain = reset_network(config, seed), reset_network(without, seed)
    generator = np.random.default_rng(drawn)
    while not network.done and network.t < 5:
        served = random_service(network, generator)
        for one, other in zip(network.step(served), plain.step(served), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(network.power_level, np.where(served == SILENT, SILENT, 1))
        np.testing.assert_array_equal(network.observation, plain.observation)
        np.testing.assert_allclose(network.power_sum, plain.power_sum)


def test_a_single_lower_level_lowers_the_power() -> None:
    """Without interference the rate is that of the gain at the lower power."""
    config = RRMConfig(n_aps=1, n_ues=3, power_levels_dbm=(4.0,), fading="none")
    network = reset_network(config, 0)
    gain = float(network.gain[0, 0, 1])
    found, _ = network.step([[1]])
    assert found[0, 1] == pytest.approx(np.log2(1 + gain * 10**-0.6), rel=1e-5)
    assert network.power_sum[0] == pytest.approx(10**-0.6, rel=1e-6)


# --- Batches, threads, copies ---


@given(leveled(), seeds, st.integers(1, 4), st.integers(0, 1000))
def test_slots_do_not_depend_on_batch_and_threads(
    config: RRMConfig, seed: int, num_envs: int, drawn: int
) -> None:
    together = reset_network(config, seed, num_envs, 2)
    alone = [reset_network(config, seed + k) for k in range(num_envs)]
    generator = np.random.default_rng(drawn)
    while not together.done and together.t < 4:
        decision = random_decision(together, generator)
        together.step(decision)
        for k, network in enumerate(alone):
            network.step(PoweredDecision(*(part[k : k + 1] for part in decision)))
    for k, network in enumerate(alone):
        assert_same(snapshot(together, slice(k, k + 1)), snapshot(network))


def test_a_reset_forgets_levels_and_powers_and_copies_keep_them() -> None:
    network = reset_network(RRMConfig(power_levels_dbm=(10, 0)), 0, 2)
    network.step_actions(np.ones((2, 4), np.int64))
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(network, protocol=5, buffer_callback=buffers.append)
    copied = pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers])
    for each in (network, copied):
        each.step_actions(np.zeros((2, 4), np.int64))
    assert_same(snapshot(network), snapshot(copied))
    network.reset(0)
    assert (network.power_level == SILENT).all()
    assert not network.power_sum.any()


def test_powers_of_a_network_without_levels_follow_from_who_transmits() -> None:
    network = reset_network(RRMConfig(), 0, 2)
    assert (network.power_level == SILENT).all()
    network.step_actions(np.array([[0, 3, 0, 3], [3, 3, 3, 3]]))
    assert network.power_level.tolist() == [[0, SILENT, 0, SILENT], [SILENT] * 4]
    assert network.power_sum.tolist() == [2, 0]


# --- Environments ---


def test_every_environment_has_the_actions_of_levels() -> None:
    options: dict[str, Any] = {
        "n_aps": 2,
        "n_candidates": 2,
        "power_levels_dbm": (10.0, 0.0, -10.0),
    }
    config = RRMConfig(**options)
    parallel = parallel_env(**options)
    _, infos = parallel.reset(seed=5)
    assert parallel.action_space("ap_0").n == 7
    assert infos["ap_0"]["action_mask"].shape == (7,)
    parallel.step({"ap_0": 4, "ap_1": 6})
    assert parallel.network.power_level.tolist() == [[1, SILENT]]
    with pytest.raises(ValueError, match="action of ap_1 must be an integer from 0 to 6, got 7"):
        parallel.step({"ap_0": 0, "ap_1": 7})
    flat = RRMJointEnv(config, flat_actions=True)
    _, info = flat.reset(seed=5)
    assert (flat.action_space.n, info["action_mask"].shape) == (49, (49,))  # type: ignore[attr-defined]
    flat.step(4 * 7 + 6)
    assert flat.network.power_level.tolist() == [[1, SILENT]]
    vector = RRMVectorEnv(2, config)
    vector.reset(seed=5)
    vector.step([[4, 6], [6, 0]])
    assert vector.network.power_level.tolist() == [[1, SILENT], [SILENT, 0]]


# --- Refusals ---


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((), "power_levels_dbm must"),
        ((10.0, 10.5), r"power_levels_dbm\[1\] = 10.5 must not exceed tx_power_dbm = 10"),
        ((3.0, 0.0, 3), "power_levels_dbm must hold different levels, got 3 at 0 and 2"),
        (tuple(range(-60, 5)), "power_levels_dbm must hold 1 to 64 levels, got 65"),
        ((float("nan"),), "power_levels_dbm"),
        ((-float("inf"), 0.0), "power_levels_dbm"),
    ],
)
def test_levels_that_are_none_are_refused_by_name(levels: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RRMConfig(power_levels_dbm=levels)


@pytest.mark.parametrize("levels", [10.0, "10", (None,), ("10",), (True,)])
def test_levels_of_another_type_are_refused_by_name(levels: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="power_levels_dbm"):
        RRMConfig(power_levels_dbm=levels)


@pytest.mark.parametrize(
    ("level", "error", "message"),
    [
        ([[0, 3, 0, 0]], ValueError, r"level\[0, 1\] = 3 is no power level; allowed: 0 to 2"),
        ([[-1, 0, 0, 0]], ValueError, r"level\[0, 0\] = -1 is no power level; allowed: 0 to 2"),
        ([[0, 0, 0]], ValueError, "level must have shape"),
        ([[0.0, 0, 0, 0]], TypeError, "level must be integers"),
        (
            np.array([[2**63, 0, 0, 0]], np.uint64),
            ValueError,
            r"level\[0, 0\] = 9223372036854775808",
        ),
    ],
)
def test_levels_of_a_decision_that_do_not_exist_are_refused(
    level: Any, error: type[Exception], message: str
) -> None:
    network = reset_network(RRMConfig(power_levels_dbm=(10, 0, -10)), 0)
    served = network.candidates[:, :, 0]
    assert (served >= 0).all()
    with pytest.raises(error, match=message):
        network.step(PoweredDecision(served, level))
    assert network.t == 0


def test_actions_beyond_silence_are_refused() -> None:
    network = reset_network(RRMConfig(power_levels_dbm=(10, 0, -10)), 0)
    with pytest.raises(ValueError, match=r"actions\[0, 2\] = 10 is out of range; allowed: 0 to 9"):
        network.step_actions([[0, 9, 10, 0]])


def test_a_decision_with_levels_is_played_without_levels_too() -> None:
    network = reset_network(RRMConfig(), 0)
    served = network.candidates[:, :, 0].astype(np.int64)
    network.step(PoweredDecision(served, np.zeros((1, 4), np.int64)))
    with pytest.raises(ValueError, match=r"level\[0, 0\] = 1 is no power level; allowed: 0 to 0"):
        network.step(PoweredDecision(served, np.ones((1, 4), np.int64)))


def test_a_scheduler_may_return_levels() -> None:
    class AtTheLowestLevel:
        def reset(self, network: Network) -> None:
            pass

        def schedule(self, network: Network) -> PoweredDecision:
            served = network.candidates[:, :, 0]
            return PoweredDecision(served, np.ones(served.shape, np.int64))

    class AtTheHighest(AtTheLowestLevel):
        def schedule(self, network: Network) -> Any:
            return super().schedule(network).served

    config = RRMConfig(power_levels_dbm=(10.0, -30.0), episode_length=20)
    low, high = (evaluate(kind(), config, 8) for kind in (AtTheLowestLevel, AtTheHighest))
    np.testing.assert_allclose(low.power_share, 1e-4 * (1 - low.silent_share), rtol=1e-5)
    np.testing.assert_allclose(high.power_share, 1 - high.silent_share)
    both = Evaluation.stack([low, high])
    np.testing.assert_array_equal(both.power_share, [low.power_share, high.power_share])
    assert evaluate(AtTheHighest(), RRMConfig(episode_length=2), 2).relative_power is None
    assert low.sum_rate.mean() != high.sum_rate.mean()
    assert (
        high.sum_rate.mean()
        == evaluate(AtTheHighest(), RRMConfig(episode_length=20), 8).sum_rate.mean()
    )


def test_a_policy_of_actions_is_a_scheduler_with_levels() -> None:
    config = RRMConfig(power_levels_dbm=(10.0, 0.0, -10.0), n_ues=9, episode_length=8)
    network, generator = reset_network(config, EVALUATION_SEEDS), np.random.default_rng(0)
    played = generator.integers(config.n_actions, size=(8, 1, config.n_aps))
    for actions in played:
        network.step_actions(actions)
    course = iter(played)
    found = evaluate(from_actions(lambda _observation, _mask: next(course)), config, 1)
    np.testing.assert_array_equal(found.ue_rates, network.ue_rate_sum / 8)
    np.testing.assert_array_equal(found.power_share, network.power_sum / (8 * config.n_aps))
