"""SuperSuit's wrappers transform what the bare parallel environment gives, and change no more."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import supersuit
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from replay import CONFIGS, named, play, random_actions

from rrm_env import RRMConfig, parallel_env

CHOSEN = ("paper", "correlated", "empty_aps", "one_ap")
chosen_configs = pytest.mark.parametrize("config", [CONFIGS[name] for name in CHOSEN], ids=CHOSEN)


def side_by_side(
    env: Any, config: RRMConfig
) -> Iterator[tuple[bool, dict[str, Any], dict[str, Any]]]:
    """Steps a wrapped and a bare environment through an episode and into the next.

    Rewards, ends and infos must agree.

    Yields whether the observations are an episode's first, the wrapped ones and the bare ones.
    """
    bare = parallel_env(config=config)
    for episode in range(2):
        seed = 21 if episode == 0 else None
        observations, infos = env.reset(seed=seed)
        expected, expected_infos = bare.reset(seed=seed)
        yield True, copy.deepcopy(observations), expected
        for row in random_actions(config, 1, seed=episode)[:, 0]:
            observations, rewards, terminations, truncations, infos = env.step(named(bare, row))
            (
                expected,
                expected_rewards,
                expected_terminations,
                expected_truncations,
                expected_infos,
            ) = bare.step(named(bare, row))
            assert rewards == expected_rewards
            assert terminations == expected_terminations
            assert truncations == expected_truncations
            assert env.agents == bare.agents
            for agent, info in expected_infos.items():
                np.testing.assert_array_equal(
                    infos[agent]["action_mask"], info["action_mask"], strict=True
                )
                np.testing.assert_array_equal(
                    infos[agent]["candidates"], info["candidates"], strict=True
                )
            yield False, copy.deepcopy(observations), expected
        assert env.agents == []


@chosen_configs
@pytest.mark.parametrize(
    "wrap", [supersuit.flatten_v0, supersuit.pad_observations_v0, supersuit.pad_action_space_v0]
)
def test_flatten_and_padding_leave_an_environment_of_equal_agents_as_it_is(
    wrap: Any, config: RRMConfig
) -> None:
    env = wrap(parallel_env(config=config))
    for _, observations, expected in side_by_side(env, config):
        for agent, observation in observations.items():
            np.testing.assert_array_equal(observation, expected[agent], strict=True)
            assert env.observation_space(agent).contains(observation)
            assert env.action_space(agent) == Discrete(config.n_actions)


@chosen_configs
def test_normalize_obs_maps_the_bounds_to_zero_and_one(config: RRMConfig) -> None:
    env = supersuit.normalize_obs_v0(parallel_env(config=config), env_min=0, env_max=1)
    low, high = parallel_env(config=config).network.observation_bounds
    largest = 0.0
    for _, observations, expected in side_by_side(env, config):
        for agent, observation in observations.items():
            assert env.observation_space(agent).contains(observation)
            assert (observation >= 0).all()
            assert (observation <= 1).all()
            np.testing.assert_allclose(
                observation, (expected[agent] - low) / (high - low), rtol=1e-6
            )
            largest = max(largest, observation.max())
    assert largest > 0.1


@chosen_configs
def test_frame_stack_ends_with_the_newest_observation_after_the_older_ones(
    config: RRMConfig,
) -> None:
    env, size = (
        supersuit.frame_stack_v1(parallel_env(config=config), stack_size=3),
        2 * config.n_candidates,
    )
    history: list[dict[str, Any]] = []
    for first, observations, expected in side_by_side(env, config):
        nothing = {agent: np.zeros(size, np.float32) for agent in expected}
        history = [nothing, nothing] if first else history
        history = [*history[-2:], expected]
        for agent, observation in observations.items():
            assert env.observation_space(agent).shape == (3 * size,)
            stacked = np.concatenate([frame[agent] for frame in history])
            np.testing.assert_array_equal(observation, stacked, strict=True)


@chosen_configs
def test_agent_indicator_appends_who_the_agent_is(config: RRMConfig) -> None:
    env = supersuit.agent_indicator_v0(parallel_env(config=config))
    high = parallel_env(config=config).network.observation_bounds[1].max()
    for _, observations, expected in side_by_side(env, config):
        for i, (agent, observation) in enumerate(observations.items()):
            assert env.observation_space(agent).shape == observation.shape
            # The mark is the highest bound, 12. SuperSuit's own space ends at the lowest one, so
            # the mark is not in the space.
            mark = high * np.eye(config.n_aps, dtype=np.float32)[i]
            np.testing.assert_array_equal(
                observation, np.concatenate([expected[agent], mark]), strict=True
            )


@chosen_configs
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_dtype_converts_observations_and_their_space(dtype: type, config: RRMConfig) -> None:
    env = supersuit.dtype_v0(parallel_env(config=config), dtype)
    for _, observations, expected in side_by_side(env, config):
        for agent, observation in observations.items():
            np.testing.assert_array_equal(observation, expected[agent].astype(dtype), strict=True)
            assert env.observation_space(agent).contains(observation)


# --- Vector environments ---


def stacked(dictionaries: Any) -> NDArray[Any]:
    """One row per agent of each environment."""
    return np.array([value for dictionary in dictionaries for value in dictionary.values()])


def check_vector_env(env: Any, config: RRMConfig, seeds: list[int]) -> None:
    """A vector environment of agents equals bare environments of its seeds for over an episode."""
    bare = [parallel_env(config=config) for _ in seeds]
    n_envs, n = len(seeds), config.n_aps
    observations, _ = env.reset(seed=seeds[0])
    assert env.num_envs == n_envs * n
    for episode in range(2):
        actions = random_actions(config, n_envs, seed=episode)
        played = [
            play(one, actions[:, b], seeds[b] if episode == 0 else None)
            for b, one in enumerate(bare)
        ]
        np.testing.assert_array_equal(
            observations, stacked(frames[0][0] for frames in played), strict=True
        )
        for t, row in enumerate(actions, 1):
            observations, rewards, terminations, truncations, infos = env.step(row.reshape(-1))
            over = t == config.episode_length
            np.testing.assert_array_equal(
                rewards, stacked(frames[t][1] for frames in played).astype(np.float32)
            )
            assert not np.any(terminations)
            assert np.all(truncations) if over else not np.any(truncations)
            expected = stacked(frames[t][0] for frames in played)
            if over:
                np.testing.assert_array_equal(
                    [info["terminal_observation"] for info in infos], expected
                )
            else:
                np.testing.assert_array_equal(observations, expected, strict=True)
                masks = [info["action_mask"] for frames in played for info in frames[t][4].values()]
                np.testing.assert_array_equal([info["action_mask"] for info in infos], masks)
    following = [one.reset()[0] for one in bare]
    np.testing.assert_array_equal(observations, stacked(following), strict=True)


@chosen_configs
def test_vec_env_of_agents_equals_the_bare_environment(config: RRMConfig) -> None:
    check_vector_env(
        supersuit.pettingzoo_env_to_vec_env_v1(parallel_env(config=config)), config, [40]
    )


# From Python 3.12 on, forking warns where other tests have left threads behind, and SuperSuit forks
# its workers.
@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)
@pytest.mark.parametrize("num_cpus", [0, 2])
@chosen_configs
def test_concatenated_vec_envs_equal_bare_environments_with_consecutive_seeds(
    config: RRMConfig, num_cpus: int
) -> None:
    agents = supersuit.pettingzoo_env_to_vec_env_v1(parallel_env(config=config))
    env = supersuit.concat_vec_envs_v1(agents, 2, num_cpus=num_cpus, base_class="gymnasium")
    try:
        check_vector_env(env, config, [40, 41])
    finally:
        env.close()


def test_wrappers_stack_up() -> None:
    config, env = CONFIGS["paper"], parallel_env(config=CONFIGS["paper"])
    low, high = env.network.observation_bounds
    wrapped = supersuit.frame_stack_v1(supersuit.normalize_obs_v0(env), stack_size=2)
    agents = supersuit.concat_vec_envs_v1(
        supersuit.pettingzoo_env_to_vec_env_v1(wrapped), 2, base_class="gymnasium"
    )
    observations, _ = agents.reset(seed=11)
    expected = [parallel_env(config=config).reset(seed=seed)[0] for seed in (11, 12)]
    np.testing.assert_allclose(
        observations[:, 2 * config.n_candidates :],
        (stacked(expected) - low) / (high - low),
        rtol=1e-6,
    )
