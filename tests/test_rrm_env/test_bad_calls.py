"""A refused call names what is wrong and changes nothing: the episode goes on without it."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from replay import assert_identical, named, random_actions

from rrm_env import SILENT, Network, RRMConfig, RRMParallelEnv, RRMVectorEnv, parallel_env

CONFIG = RRMConfig(n_aps=3, n_ues=8, n_candidates=2, episode_length=4)

READABLE = [
    name for name, _ in inspect.getmembers(Network, lambda item: isinstance(item, property))
]
"""Everything that can be read from a network."""


def running(num_envs: int = 2) -> Network:
    """A network after the first step of an episode."""
    network = Network(CONFIG, num_envs)
    network.reset(3)
    network.step_actions(np.zeros((num_envs, CONFIG.n_aps), np.int64))
    return network


def shown(network: Network) -> dict[str, Any]:
    """Copies of all that can be read."""
    values = {name: getattr(network, name) for name in READABLE}
    return {
        name: value.copy() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def rest_of(network: Network) -> list[Any]:
    """What the rest of the episode and the next one give."""
    results: list[Any] = []
    for _ in range(2):
        for row in random_actions(CONFIG, network.num_envs)[network.t :]:
            results.append((network.step_actions(row), shown(network)))  # noqa: PERF401 (steps have an order)
        network.reset()
    return results


def own(network: Network, slot: int, ap: int) -> NDArray[Any]:
    """The UEs of an AP."""
    return np.flatnonzero(network.association[slot] == ap)


def foreign(network: Network) -> NDArray[np.int64]:
    """`served` whose slot 1 has AP 1 serve a UE of AP 0 and is fine otherwise."""
    served = np.full((network.num_envs, CONFIG.n_aps), SILENT, np.int64)
    served[1, 1] = own(network, 1, 0)[0]
    return served


SHAPE = r"must have shape \(num_envs, n_aps\) = \(2, 3\), got "
BAD_ARRAYS: list[tuple[Any, type[Exception], str]] = [
    (np.zeros((2, 4), np.int64), ValueError, SHAPE + r"\(2, 4\)"),
    (np.zeros((1, 3), np.int64), ValueError, SHAPE + r"\(1, 3\)"),
    (np.zeros(3, np.int64), ValueError, SHAPE + r"\(3,\)"),
    (0, ValueError, SHAPE + r"\(\)"),
    ([], ValueError, SHAPE + r"\(0,\)"),
    (None, ValueError, SHAPE + r"\(\)"),
    ([[0, 0, 0], [0]], ValueError, "must have shape"),
    (np.zeros((2, 3)), TypeError, "must be integers, got dtype float64"),
    (np.zeros((2, 3), np.bool_), TypeError, "must be integers, got dtype bool"),
    ([["0"] * 3] * 2, TypeError, "must be integers, got dtype <U1"),
    (np.full((2, 3), None), TypeError, "must be integers, got dtype object"),
]


@pytest.mark.parametrize("call", ["step", "step_actions"])
@pytest.mark.parametrize(("values", "error", "message"), BAD_ARRAYS)
def test_network_refuses_wrong_shapes_and_types(
    call: str, values: Any, error: type[Exception], message: str
) -> None:
    network, twin = running(), running()
    before = shown(network)
    with pytest.raises(error, match=f"^{'served' if call == 'step' else 'actions'} {message}"):
        getattr(network, call)(values)
    assert_identical(shown(network), before)
    assert_identical(rest_of(network), rest_of(twin))


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint64])
@pytest.mark.parametrize("end", ["just above", "lowest", "highest"])
def test_network_refuses_actions_out_of_range(end: str, kind: Any) -> None:
    limits = np.iinfo(kind)
    action = {"just above": 3, "lowest": limits.min or 3, "highest": limits.max}[end]
    network, twin = running(), running()
    before, actions = shown(network), np.zeros((2, 3), kind)
    actions[1, 2] = action
    with pytest.raises(
        ValueError, match=rf"actions\[1, 2\] = {action} is out of range; allowed: 0 to 2"
    ):
        network.step_actions(actions)
    assert_identical(shown(network), before)
    assert_identical(rest_of(network), rest_of(twin))


@pytest.mark.parametrize("ue", [8, 2**62, -2, -(2**62)])
def test_network_refuses_to_serve_ues_that_do_not_exist(ue: int) -> None:
    network, twin = running(), running()
    before, served = shown(network), np.full((2, 3), SILENT)
    served[1, 2] = ue
    users = own(network, 1, 2).tolist()
    with pytest.raises(
        ValueError,
        match=re.escape(f"served[1, 2] = {ue} is not a UE of AP 2; allowed: -1 (silent), {users}"),
    ):
        network.step(served)
    assert_identical(shown(network), before)
    assert_identical(rest_of(network), rest_of(twin))


def test_network_refuses_to_serve_a_ue_of_another_ap() -> None:
    network, twin = running(), running()
    before, served = shown(network), foreign(network)
    users = own(network, 1, 1).tolist()
    with pytest.raises(
        ValueError,
        match=re.escape(
            f"served[1, 1] = {served[1, 1]} is not a UE of AP 1; allowed: -1 (silent), {users}"
        ),
    ):
        network.step(served)
    assert_identical(shown(network), before)
    assert_identical(rest_of(network), rest_of(twin))


def test_unsigned_number_beyond_int64_is_not_taken_for_silence() -> None:
    network = running()
    served = np.full((2, 3), 2**64 - 1, np.uint64)
    with pytest.raises(ValueError, match="18446744073709551615"):
        network.step(served)
    assert network.t == 1


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (-1, ValueError, "from 0 to 2^63 - 1, got -1"),
        (
            2**63 - 1,
            ValueError,
            "from 0 to 2^63 - 1, got 9223372036854775808",
        ),  # slot 1 would get one more
        (2**63, ValueError, "got 9223372036854775809"),
        (2**80, ValueError, "from 0 to 2^63 - 1, got 1208925819614629174706177"),
        (1.0, TypeError, "an int, or 2 ints, from 0 to 2^63 - 1, got 1.0"),
        (True, TypeError, "got True"),
        ("1", TypeError, "got '1'"),
        ([1], ValueError, "2 ints, from 0 to 2^63 - 1, got an array of shape (1,)"),
        ([1, 2, 3], ValueError, "got an array of shape (3,)"),
        ([[1, 2]], ValueError, "got an array of shape (1, 2)"),
        ([1, -2], ValueError, "got -2"),
        ([1, 2**63], (TypeError, ValueError), "9223372036854775808"),
        ([1.0, 2.0], TypeError, "got [1.0, 2.0]"),
        ([True, False], TypeError, "got [True, False]"),
        (
            np.array([1, 2], np.float32),
            TypeError,
            "an int, or 2 ints, from 0 to 2^63 - 1, got array([1., 2.], dtype=float32)",
        ),
    ],
)
def test_bad_seeds_are_refused(seed: Any, error: Any, message: str) -> None:
    vector, expected = RRMVectorEnv(2, CONFIG), running()
    vector.reset(seed=3)
    vector.step(np.zeros((2, 3), np.int64))
    for network, reset in ((running(), None), (vector.network, vector.reset)):
        before = shown(network)
        with pytest.raises(error, match=r"^seed must be .*" + re.escape(message)):
            (reset or network.reset)(seed=seed)
        assert_identical(shown(network), before)
        assert_identical(before, shown(expected))
    assert_identical(rest_of(vector.network), rest_of(expected))


def test_stepping_before_reset_is_refused() -> None:
    network, vector, env = Network(CONFIG), RRMVectorEnv(1, CONFIG), parallel_env(config=CONFIG)
    silent = np.full((1, 3), SILENT)
    for call in (
        lambda: network.step(silent),
        lambda: network.step_actions(silent + 1),
        lambda: vector.step(silent + 1),
        lambda: env.step(dict.fromkeys(env.possible_agents, 0)),
        lambda: network.uniform(1),
        lambda: network.t,
        lambda: network.done,
        lambda: network.gain,
    ):
        with pytest.raises(RuntimeError, match=r"no episode: call reset\(\) first"):
            call()
    assert env.agents == []


def test_stepping_after_the_end_is_refused() -> None:
    network = running()
    for _ in range(CONFIG.episode_length - 1):
        network.step(np.full((2, 3), SILENT))
    assert network.done
    before = shown(network)
    for call in (network.step, network.step_actions):
        with pytest.raises(
            RuntimeError, match=r"episode is over after episode_length = 4 steps: call reset\(\)"
        ):
            call(np.zeros((2, 3), np.int64))
    assert_identical(shown(network), before)
    network.reset()
    assert network.t == 0


# --- The parallel environment ---


def started() -> RRMParallelEnv:
    """An environment after the first step of an episode."""
    env = parallel_env(config=CONFIG)
    env.reset(seed=3)
    env.step(dict.fromkeys(env.agents, 0))
    return env


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        ({"ap_0": 0, "ap_2": 0}, ValueError, "missing ['ap_1'], unknown []"),
        ({}, ValueError, "missing ['ap_0', 'ap_1', 'ap_2'], unknown []"),
        ({"ap_0": 0, "ap_1": 0, "ap_2": 0, "ap_3": 0}, ValueError, "missing [], unknown ['ap_3']"),
        ({"ap_0": 0, "ap_1": 0, "ap_02": 0}, ValueError, "missing ['ap_2'], unknown ['ap_02']"),
        (
            {"ap_0": 0, "ap_1": 3, "ap_2": 0},
            ValueError,
            "action of ap_1 must be an integer from 0 to 2, got 3",
        ),
        (
            {"ap_0": 0, "ap_1": 0, "ap_2": -1},
            ValueError,
            "action of ap_2 must be an integer from 0 to 2, got -1",
        ),
        (
            {"ap_0": 2**70, "ap_1": 0, "ap_2": 0},
            ValueError,
            f"action of ap_0 must be an integer from 0 to 2, got {2**70}",
        ),
        (
            {"ap_0": 1.0, "ap_1": 0, "ap_2": 0},
            TypeError,
            "action of ap_0 must be an integer from 0 to 2, got 1.0",
        ),
        (
            {"ap_0": 0, "ap_1": None, "ap_2": 0},
            TypeError,
            "action of ap_1 must be an integer from 0 to 2, got None",
        ),
        (
            {"ap_0": 0, "ap_1": "1", "ap_2": 0},
            TypeError,
            "action of ap_1 must be an integer from 0 to 2, got '1'",
        ),
        (
            {"ap_0": 0, "ap_1": np.ones(2, int), "ap_2": 0},
            TypeError,
            "action of ap_1 must be an integer from 0 to 2, got array(",
        ),
        (
            {"ap_0": 0, "ap_1": True, "ap_2": 0},
            TypeError,
            "action of ap_1 must be an integer from 0 to 2, got True",
        ),
        (
            {"ap_0": 0, "ap_1": np.True_, "ap_2": 0},
            TypeError,
            "action of ap_1 must be an integer from 0 to 2, got " + repr(np.True_),
        ),
        (None, TypeError, "actions must have one entry for each of ['ap_0', 'ap_1', 'ap_2']"),
        (
            [0, 0, 0],
            (TypeError, ValueError),
            "actions must have one entry for each of ['ap_0', 'ap_1', 'ap_2']",
        ),
    ],
)
def test_environment_refuses_bad_action_dictionaries(
    actions: Any, error: Any, message: str
) -> None:
    env, twin = started(), started()
    before = shown(env.network)
    with pytest.raises(error, match=re.escape(message)):
        env.step(actions)
    assert env.agents == env.possible_agents
    assert_identical(shown(env.network), before)
    assert_identical(rest_of(env.network), rest_of(twin.network))


@pytest.mark.parametrize("kind", [int, np.int64, np.int32, np.uint8, np.array])
def test_environment_takes_integers_of_any_kind(kind: Any) -> None:
    env, twin = started(), started()
    assert_identical(
        env.step({agent: kind(1) for agent in env.agents}), twin.step(dict.fromkeys(twin.agents, 1))
    )


def test_environment_refuses_a_finished_episode_and_bad_seeds() -> None:
    env = parallel_env(config=CONFIG)
    env.reset(seed=3)
    for row in random_actions(CONFIG, 1)[:, 0]:
        env.step(named(env, row))
    before = shown(env.network)
    with pytest.raises(RuntimeError, match="episode_length = 4"):
        env.step(dict.fromkeys(env.possible_agents, 0))
    bad_seeds: list[Any] = [-1, 1.5, 2**63, True]
    for seed in bad_seeds:
        with pytest.raises((TypeError, ValueError), match=f"^seed must be .*, got {seed}$"):
            env.reset(seed=seed)
    assert env.agents == []
    assert_identical(shown(env.network), before)


def test_masked_action_is_no_error_but_silence() -> None:
    config = RRMConfig(n_aps=6, n_ues=2, n_candidates=2, episode_length=3)
    env, silent = parallel_env(config=config), parallel_env(config=config)
    _, infos = env.reset(seed=0)
    silent.reset(seed=0)
    masked = 0
    while env.agents:
        actions = dict.fromkeys(env.agents, 1 if env.network.t else 0)
        legal = {
            agent: action if infos[agent]["action_mask"][action] else 2
            for agent, action in actions.items()
        }
        masked += sum(actions[agent] != legal[agent] for agent in actions)
        returned = env.step(actions)
        assert_identical(returned, silent.step(legal))
        infos = returned[-1]
    assert masked > config.episode_length
    assert env.network.silent_steps.tolist() == silent.network.silent_steps.tolist() == [masked]


# --- Read-only views ---


@pytest.mark.parametrize(
    "name", [name for name in READABLE if isinstance(getattr(running(), name), np.ndarray)]
)
def test_arrays_read_from_a_network_cannot_be_written(name: str) -> None:
    array = getattr(running(), name)
    with pytest.raises(ValueError, match="read-only"):
        array[...] = 0
    assert len(array) == 2


@pytest.mark.parametrize(
    "name",
    ["observation", "action_mask", "candidates", "gain", "ap_positions", "average_rate", "t"],
)
def test_reading_a_network_without_an_episode_is_refused(name: str) -> None:
    with pytest.raises(RuntimeError, match=r"no episode: call reset\(\) first"):
        getattr(Network(), name)


def test_unknown_autoreset_mode_is_refused_with_the_allowed_ones() -> None:
    with pytest.raises(ValueError, match=r"NextStep.*SameStep.*Disabled.*got 'Never'"):
        RRMVectorEnv(2, autoreset_mode="Never")
