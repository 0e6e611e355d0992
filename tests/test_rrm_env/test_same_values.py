"""The same seeds and actions are accepted, and refused, by every API of the environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from baselines import RandomWalk
from rrm_env import Network, RRMConfig, RRMJointEnv, RRMVectorEnv, evaluate, parallel_env, rrm_v0

CONFIG = RRMConfig(n_aps=2, n_ues=9, n_candidates=2, episode_length=3)
SCALARS: dict[str, Callable[[int], Any]] = {
    "int": int,
    **{kind: np.dtype(kind).type for kind in ("int64", "int8", "uint8", "uint32", "uint64")},
    "0-d array": np.array,
    "0-d array of int8": lambda value: np.array(value, np.int8),
    "0-d array, big-endian": lambda value: np.array(value, ">i4"),
}
"""Forms of one integer."""

NOT_INTEGERS: list[Any] = [
    True,
    np.bool_(True),
    np.array(True),
    1.0,
    np.float32(1),
    np.array(1.0),
    "1",
    b"1",
    [[1]],
    {1},
]


def seeded(network: Network) -> list[int]:
    return [int(seed) for seed in network.seeds]


def reset_of(make: Callable[[], Any]) -> Callable[[Any], list[int]]:
    """The episode seeds of an environment after `reset` with this seed."""

    def reset(seed: Any) -> list[int]:
        env = make()
        env.reset(seed=seed)
        return seeded(env.unwrapped.network if hasattr(env, "unwrapped") else env.network)

    return reset


def reset_network(seed: Any) -> list[int]:
    network = Network(CONFIG)
    network.reset(seed)
    return seeded(network)


def made(**options: Any) -> Any:
    return gymnasium.make(rrm_v0.ENV_ID, config=CONFIG, **options)


def made_vector(num_envs: int = 2, **options: Any) -> Any:
    return gymnasium.make_vec(rrm_v0.ENV_ID, num_envs=num_envs, config=CONFIG, **options)


RESETS: dict[str, Callable[[Any], Any]] = {
    "Network": reset_network,
    "parallel_env": reset_of(lambda: parallel_env(config=CONFIG)),
    "raw_env": reset_of(lambda: rrm_v0.raw_env(config=CONFIG)),
    "env": reset_of(lambda: rrm_v0.env(config=CONFIG)),
    "RRMJointEnv": reset_of(lambda: RRMJointEnv(CONFIG)),
    "gymnasium.make": reset_of(made),
    "RRMVectorEnv": reset_of(lambda: RRMVectorEnv(2, CONFIG)),
    "gymnasium.make_vec": reset_of(made_vector),
    "evaluate": lambda seed: evaluate(RandomWalk(), CONFIG, 1, seed).ue_rates.tolist(),
    "RandomWalk": lambda seed: evaluate(RandomWalk(seed), CONFIG, 1).ue_rates.tolist(),
}


@pytest.mark.parametrize("form", SCALARS)
@pytest.mark.parametrize("api", RESETS)
def test_seeds_of_every_integer_type_are_the_same_seed(api: str, form: str) -> None:
    assert RESETS[api](SCALARS[form](3)) == RESETS[api](3)


@pytest.mark.parametrize("seed", [*NOT_INTEGERS, -1, np.int64(-1), 2**63, [1, 2, 3]], ids=repr)
@pytest.mark.parametrize("api", RESETS)
def test_what_is_no_seed_is_refused_by_name(api: str, seed: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^seed must be "):
        RESETS[api](seed)


def play_network(action: Any, num_envs: int = 1) -> list[list[int]]:
    network = Network(CONFIG, num_envs)
    network.reset(5)
    network.step_actions([[action] * CONFIG.n_aps] * num_envs)
    return network.served[:1].tolist()  # type: ignore[no-any-return]


def play_parallel(action: Any) -> list[list[int]]:
    env = parallel_env(config=CONFIG)
    env.reset(seed=5)
    env.step(dict.fromkeys(env.agents, action))
    return env.network.served.tolist()  # type: ignore[no-any-return]


def play_cycle(make: Callable[..., Any]) -> Callable[[Any], list[list[int]]]:
    def play(action: Any) -> list[list[int]]:
        env = make(config=CONFIG)
        env.reset(seed=5)
        for _ in range(CONFIG.n_aps):
            env.step(action)
        return env.unwrapped.network.served.tolist()  # type: ignore[no-any-return]

    return play


def play_gymnasium(env: Any, actions: Any) -> list[list[int]]:
    env.reset(seed=5)
    env.step(actions)
    return env.unwrapped.network.served[:1].tolist()  # type: ignore[no-any-return]


PLAYS: dict[str, Callable[[Any], list[list[int]]]] = {
    "Network": play_network,
    "parallel_env": play_parallel,
    "raw_env": play_cycle(rrm_v0.raw_env),
    "env": play_cycle(rrm_v0.env),
    "RRMJointEnv": lambda action: play_gymnasium(RRMJointEnv(CONFIG), [action] * 2),
    "gymnasium.make": lambda action: play_gymnasium(made(), (action, action)),
    "RRMVectorEnv": lambda action: play_gymnasium(RRMVectorEnv(2, CONFIG), [[action] * 2] * 2),
    "gymnasium.make_vec": lambda action: play_gymnasium(made_vector(), [(action, action)] * 2),
}

FLAT: dict[str, Callable[[Any], list[list[int]]]] = {
    "RRMJointEnv": lambda action: play_gymnasium(RRMJointEnv(CONFIG, flat_actions=True), action),
    "gymnasium.make": lambda action: play_gymnasium(made(flat_actions=True), action),
    "gymnasium.make_vec": lambda action: play_gymnasium(
        made_vector(flat_actions=True), [action] * 2
    ),
}


@pytest.mark.parametrize("form", SCALARS)
@pytest.mark.parametrize("api", PLAYS)
def test_actions_of_every_integer_type_are_the_same_action(api: str, form: str) -> None:
    assert PLAYS[api](SCALARS[form](1)) == play_network(1)


@pytest.mark.parametrize("form", SCALARS)
@pytest.mark.parametrize("api", FLAT)
def test_flat_actions_of_every_integer_type_are_the_same_action(api: str, form: str) -> None:
    assert FLAT[api](SCALARS[form](4)) == play_network(1)


@pytest.mark.parametrize(
    "action", [*NOT_INTEGERS, None, -1, 3, np.uint64(2**64 - 1), 2**70], ids=repr
)
@pytest.mark.parametrize("api", PLAYS)
def test_what_is_no_action_is_refused(api: str, action: Any) -> None:
    with pytest.raises((TypeError, ValueError, AssertionError), match="action"):
        PLAYS[api](action)


@pytest.mark.parametrize("action", [*NOT_INTEGERS, None, -1, 9, 2**70], ids=repr)
@pytest.mark.parametrize("api", FLAT)
def test_what_is_no_flat_action_is_refused(api: str, action: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="action"):
        FLAT[api](action)


@pytest.mark.parametrize("api", ["Network", "RRMVectorEnv", "gymnasium.make_vec"])
@pytest.mark.parametrize(
    "seeds", [[4, 9], (4, 9), np.array([4, 9], ">i8"), [np.uint8(4), np.array(9)]], ids=repr
)
def test_one_seed_per_episode_is_taken_from_any_sequence(api: str, seeds: Any) -> None:
    make: Callable[[], Any] = {
        "Network": lambda: Network(CONFIG, 2),
        "RRMVectorEnv": lambda: RRMVectorEnv(2, CONFIG),
        "gymnasium.make_vec": made_vector,
    }[api]
    env: Any = make()
    env.reset(seed=seeds)
    assert seeded(env if api == "Network" else env.network) == [4, 9]
