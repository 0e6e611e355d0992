"""The joint view under Gymnasium's API: its checks, the registry, and the same episodes."""

from __future__ import annotations

import copy
import itertools
import pickle
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from folders import ROOT
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.utils.env_checker import check_env
from replay import CONFIGS, assert_identical, random_actions

from rrm_env import Network, RRMConfig, RRMJointEnv, RRMVectorEnv, rrm_v0
from rrm_env.metrics import EPISODE_INFOS

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
SMALL = RRMConfig(n_aps=3, n_ues=5, n_candidates=2, episode_length=4)
"""27 joint actions, and access points that are short of users."""


def flat_number(config: RRMConfig, actions: Any) -> int:
    """A joint action's number, digit by digit."""
    number = 0
    for action in actions:
        number = number * config.n_actions + int(action)
    return number


def joint_episode(env: RRMJointEnv, actions: Any, seed: int) -> list[Any]:
    """Everything one episode returns, `reset` first."""
    return [copy.deepcopy(env.reset(seed=seed))] + [
        copy.deepcopy(env.step(action)) for action in actions
    ]


@pytest.mark.parametrize("flat", [False, True])
def test_gymnasium_finds_nothing_to_complain_about(
    flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pytest.importorskip("pygame")
    env = gymnasium.make(rrm_v0.ENV_ID, flat_actions=flat, n_aps=3, episode_length=5)
    assert isinstance(env.unwrapped, RRMJointEnv)
    check_env(env.unwrapped)


def test_registry_finds_the_environment_by_module_without_an_import() -> None:
    program = (
        "import gymnasium; env = gymnasium.make('rrm_env:rrm/rrm-v0', n_aps=2); "
        "print(env.reset(seed=1)[0].shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT / "tests",
    )
    assert done.stdout.strip() == "(2, 6)"


@pytest.mark.parametrize("flat", [False, True])
def test_vectorised_by_gymnasium_it_is_our_vector_environment(flat: bool) -> None:
    env = gymnasium.make_vec(
        rrm_v0.ENV_ID,
        num_envs=3,
        vectorization_mode="vector_entry_point",
        flat_actions=flat,
        n_aps=3,
        max_cycles=4,
        num_threads=2,
    )
    single = gymnasium.make(rrm_v0.ENV_ID, flat_actions=flat, n_aps=3, max_cycles=4)
    assert isinstance(env, RRMVectorEnv)
    assert env.config == RRMConfig(n_aps=3, episode_length=4)
    assert env.single_observation_space == single.observation_space
    assert env.single_action_space == single.action_space
    assert gymnasium.make_vec(rrm_v0.ENV_ID, num_envs=2).unwrapped.__class__ is RRMVectorEnv


@every_config
def test_episode_is_that_of_the_network(config: RRMConfig) -> None:
    actions, network = random_actions(config, 1)[:, 0], Network(config)
    played, reward = joint_episode(RRMJointEnv(config), actions, seed=7), 0.0
    network.reset(7)
    for t, returned in enumerate(played):
        observation, info = returned[0], returned[-1]
        expected = {"action_mask": network.action_mask[0], "candidates": network.candidates[0]}
        kpis = {"ue_rates", *EPISODE_INFOS} if t == config.episode_length else set()
        assert set(info) == {*expected, *kpis}
        assert_identical(
            [observation, {key: info[key] for key in expected}],
            [network.observation[0].copy(), {key: value.copy() for key, value in expected.items()}],
        )
        if t > 0:
            assert (returned[1], returned[2], returned[3]) == (
                reward,
                False,
                t == config.episode_length,
            )
        if t < config.episode_length:
            reward = float(network.step_actions(actions[t][None])[1][0])


def test_flat_actions_number_joint_actions_digit_by_digit_the_first_access_point_first() -> None:
    one, flat = RRMJointEnv(SMALL), RRMJointEnv(SMALL, flat_actions=True)
    assert flat.action_space == Discrete(27)
    assert one.action_space == MultiDiscrete([3, 3, 3])
    for actions in itertools.product(range(3), repeat=3):
        one.reset(seed=4)
        flat.reset(seed=4)
        left, right = one.step(np.array(actions)), flat.step(flat_number(SMALL, actions))
        assert_identical(list(left[:4]), list(right[:4]))
        np.testing.assert_array_equal(one.network.served, flat.network.served)


def test_flat_mask_allows_the_joint_actions_all_of_whose_parts_are_legal() -> None:
    env = RRMJointEnv(SMALL, flat_actions=True)
    short_of_users = 0
    for seed in range(5):
        _, info = env.reset(seed=seed)
        per_access_point = env.network.action_mask[0]
        short_of_users += int((per_access_point == 0).any())
        for actions in itertools.product(range(3), repeat=3):
            legal = all(per_access_point[i, action] for i, action in enumerate(actions))
            assert info["action_mask"][flat_number(SMALL, actions)] == legal
        assert env.action_space.contains(env.action_space.sample(info["action_mask"]))
    assert short_of_users > 0


@pytest.mark.parametrize(("flat", "shape"), [(False, (9,)), (True, (27,))])
def test_action_masks_are_those_of_the_info_in_one_row(flat: bool, shape: tuple[int, ...]) -> None:
    env = RRMJointEnv(SMALL, flat_actions=flat)
    _, info = env.reset(seed=2)
    masks = env.action_masks()
    assert masks.dtype == np.bool_
    assert masks.shape == shape
    np.testing.assert_array_equal(masks, info["action_mask"].ravel() == 1)


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_vector_environment_with_flat_actions_equals_the_one_without(mode: str) -> None:
    one, flat = (
        RRMVectorEnv(2, SMALL, autoreset_mode=mode, flat_actions=flat) for flat in (False, True)
    )
    np.testing.assert_array_equal(one.reset(seed=3)[0], flat.reset(seed=3)[0])
    for row in random_actions(SMALL, 2):
        left = one.step(row)
        right = flat.step(np.array([flat_number(SMALL, actions) for actions in row]))
        assert_identical(list(left[:4]), list(right[:4]))
        mask = right[4]["action_mask"]
        assert mask.shape == (2, 27)
        np.testing.assert_array_equal(mask.sum(1), left[4]["action_mask"].sum(-1).prod(-1))


@pytest.mark.parametrize("action", [27, -1])
def test_flat_actions_out_of_range_are_refused(action: int) -> None:
    env = RRMJointEnv(SMALL, flat_actions=True)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"a joint action must be from 0 to 26, got {action}"):
        env.step(action)


@pytest.mark.parametrize("flat", [False, True])
def test_actions_that_are_no_integers_are_refused(flat: bool) -> None:
    env = RRMJointEnv(SMALL, flat_actions=flat)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="actions must be integers"):
        env.step(1.0 if flat else np.array([0.0, 1.0, 2.0]))


def test_numbering_too_many_joint_actions_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"flat_actions = True would number 4\^9 = 262,144 joint actions; "
        "allowed: up to 65,536",
    ):
        RRMJointEnv(RRMConfig(n_aps=9), flat_actions=True)
    with pytest.raises(TypeError, match="flat_actions must be True or False, got 1"):
        RRMVectorEnv(2, flat_actions=1)  # type: ignore[arg-type]


def test_spaces_are_those_of_the_parallel_environment_stacked() -> None:
    env, parallel = RRMJointEnv(SMALL), rrm_v0.parallel_env(config=SMALL)
    assert isinstance(env.observation_space, Box)
    assert env.observation_space == parallel.state_space


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["deepcopy", "pickle"],
)
def test_copy_continues_identically(duplicate: Any) -> None:
    env, actions = RRMJointEnv(SMALL), random_actions(SMALL, 1)[:, 0]
    env.reset(seed=1)
    env.step(actions[0])
    twin = duplicate(env)
    assert_identical(
        [twin.step(row) for row in actions[1:]], [env.step(row) for row in actions[1:]]
    )
