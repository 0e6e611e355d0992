"""The PettingZoo environment: its API, its whole episodes, and that it equals the network."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pettingzoo
import pytest
from folders import ROOT
from gymnasium.spaces import Box, Discrete
from pettingzoo.test import (
    api_test,
    max_cycles_test,
    parallel_api_test,
    parallel_seed_test,
    seed_test,
)
from replay import CONFIGS, assert_identical, named, play, random_actions

import rrm_env
from rrm_env import Network, RRMConfig, RRMParallelEnv, RRMVectorEnv, parallel_env, rrm_v0
from rrm_env.metrics import EPISODE_INFOS

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
needs_registry = pytest.mark.skipif(
    not hasattr(pettingzoo, "make"), reason="this PettingZoo has no registry"
)


# --- PettingZoo's own tests ---


@every_config
def test_parallel_api_test_of_pettingzoo_passes(config: RRMConfig) -> None:
    parallel_api_test(parallel_env(config=config), num_cycles=10)


@every_config
def test_aec_api_test_of_pettingzoo_passes(config: RRMConfig) -> None:
    api_test(rrm_v0.env(config=config), num_cycles=10)


def test_seed_tests_of_pettingzoo_pass() -> None:
    parallel_seed_test(parallel_env, num_cycles=10)
    seed_test(rrm_v0.env, num_cycles=10)


def test_max_cycles_test_of_pettingzoo_passes() -> None:
    max_cycles_test(rrm_v0)


# --- Episodes ---


@every_config
def test_same_seed_repeats_whole_episodes_and_the_unseeded_ones_that_follow(
    config: RRMConfig,
) -> None:
    one, other = parallel_env(config=config), parallel_env(config=config)
    play(other, random_actions(config, 1)[:, 0], seed=77)  # a past of its own must leave no trace
    episodes = []
    for episode, seed in enumerate([123, None, None]):
        actions = random_actions(config, 1, seed=episode)[:, 0]
        episodes.append(play(one, actions, seed))
        assert_identical(episodes[-1], play(other, actions, seed))
    firsts = [episode[0][2] for episode in episodes]
    assert not np.array_equal(firsts[0], firsts[1])
    assert not np.array_equal(firsts[1], firsts[2])


@every_config
def test_different_seeds_give_different_deployments_observations_and_rewards(
    config: RRMConfig,
) -> None:
    env, actions = parallel_env(config=config), np.zeros((1, config.n_aps), np.int64)
    frames, positions = [], []
    for seed in (1, 2):
        frames.append(play(env, actions, seed))
        positions.append(env.network.ue_positions.copy())
    assert not np.array_equal(positions[0], positions[1])
    assert not np.array_equal(frames[0][0][2], frames[1][0][2])
    assert frames[0][1][1] != frames[1][1][1]


def test_first_unseeded_resets_of_two_environments_differ() -> None:
    one, other = parallel_env(), parallel_env()
    one.reset()
    other.reset()
    assert one.network.seeds != other.network.seeds


@every_config
def test_every_observation_and_state_of_an_episode_lies_in_its_space(config: RRMConfig) -> None:
    env = parallel_env(config=config)
    for agent in env.possible_agents:
        env.action_space(agent).seed(5)
    for seed in range(3):
        observations, _ = env.reset(seed=seed)
        for step in range(config.episode_length + 1):
            assert list(observations) == env.possible_agents
            for agent, observation in observations.items():
                assert env.observation_space(agent).contains(observation)
            assert env.state_space.contains(env.state())
            np.testing.assert_array_equal(
                env.state(), np.stack(list(observations.values())), strict=True
            )
            if step < config.episode_length:
                observations = env.step(
                    {agent: env.action_space(agent).sample() for agent in env.agents}
                )[0]


@every_config
def test_episode_is_truncated_never_terminated_and_then_empty(config: RRMConfig) -> None:
    env = parallel_env(config=config)
    frames = play(env, random_actions(config, 1)[:, 0], seed=0)
    everyone = env.possible_agents
    for t, (observations, rewards, terminations, truncations, infos, _, agents) in enumerate(
        frames[1:], 1
    ):
        over = t == config.episode_length
        assert terminations == dict.fromkeys(everyone, False)
        assert truncations == dict.fromkeys(everyone, over)
        assert agents == ([] if over else everyone)
        assert list(observations) == list(rewards) == list(infos) == everyone
        assert len(set(rewards.values())) == 1
        assert all(type(reward) is float and np.isfinite(reward) for reward in rewards.values())
    assert env.num_agents == 0
    for _ in range(2):
        assert env.step({}) == ({}, {}, {}, {}, {})
    env.reset()
    assert env.agents == everyone
    assert env.agents is not env.possible_agents


@every_config
def test_infos_hold_mask_and_candidates_from_reset_on(config: RRMConfig) -> None:
    env = parallel_env(config=config)
    frames = play(env, random_actions(config, 1)[:, 0], seed=4)
    own = {
        agent: set(np.flatnonzero(env.network.association[0] == i))
        for i, agent in enumerate(env.possible_agents)
    }
    for t, infos in enumerate((frames[0][1], *(frame[4] for frame in frames[1:]))):
        kpis = {*EPISODE_INFOS, "ue_rates"} if t == config.episode_length else set()
        for agent, info in infos.items():
            assert set(info) == {"action_mask", "candidates"} | kpis
            mask, candidates = info["action_mask"], info["candidates"]
            assert mask.dtype == np.int8
            assert mask.shape == (config.n_actions,)
            assert candidates.shape == (config.n_candidates,)
            listed = min(len(own[agent]), config.n_candidates)
            np.testing.assert_array_equal(
                mask, [1] * listed + [0] * (config.n_candidates - listed) + [1]
            )
            assert set(candidates[:listed]) <= own[agent]
            assert (candidates[listed:] == -1).all()
            env.action_space(agent).sample(mask=mask)  # Gymnasium checks the mask's type and shape


def test_empty_aps_occur_in_the_configuration_meant_for_them() -> None:
    _, infos = parallel_env(config=CONFIGS["empty_aps"]).reset(seed=0)
    assert sum(info["action_mask"].sum() == 1 for info in infos.values()) >= 4


# --- Ownership ---


@every_config
def test_writing_into_returned_values_changes_nothing_later(config: RRMConfig) -> None:
    env, actions = parallel_env(config=config), random_actions(config, 1)[:, 0]
    untouched = play(parallel_env(config=config), actions, seed=9)

    def spoil(part: Any) -> None:
        if isinstance(part, dict):
            for value in part.values():
                spoil(value)
            part.clear()
        elif isinstance(part, np.ndarray):
            part.fill(77)

    def kept_and_spoiled(returned: tuple[Any, ...]) -> tuple[Any, ...]:
        kept = copy.deepcopy(returned)
        for part in returned:
            spoil(part)
        return kept

    frames = [kept_and_spoiled((*env.reset(seed=9), env.state()))]
    for row in actions:
        given = named(env, row)
        returned = env.step(given)
        assert given == named(env, row)
        frames.append((*kept_and_spoiled((*returned, env.state())), list(env.agents)))
    assert_identical(frames, untouched)


def test_later_steps_leave_earlier_results_alone() -> None:
    env = parallel_env(episode_length=5)
    results: list[Any] = [(*env.reset(seed=2), env.state())]
    copies = copy.deepcopy(results)
    for row in random_actions(env.config, 1)[:, 0]:
        results.append((*env.step(named(env, row)), env.state()))
        copies.append(copy.deepcopy(results[-1]))
    env.reset()
    assert_identical(results, copies)
    assert len({id(part) for result in results for part in result}) == sum(
        len(result) for result in results
    )


def test_spaces_are_the_same_objects_at_every_call_and_one_per_agent() -> None:
    env = parallel_env(episode_length=2)
    spaces = {
        agent: (env.observation_space(agent), env.action_space(agent))
        for agent in env.possible_agents
    }
    assert len({id(space) for pair in spaces.values() for space in pair}) == 2 * env.max_num_agents
    for seed in (0, 1):
        play(env, random_actions(env.config, 1)[:, 0], seed)
        for agent, (observation_space, action_space) in spaces.items():
            assert env.observation_space(agent) is observation_space
            assert env.action_space(agent) is action_space
            assert env.observation_spaces[agent] is observation_space
            assert env.action_spaces[agent] is action_space


@every_config
@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["deepcopy", "pickle"],
)
def test_copy_taken_in_mid_episode_continues_identically_and_apart(
    config: RRMConfig, duplicate: Any
) -> None:
    env, actions = parallel_env(config=config), random_actions(config, 1)[:, 0]
    env.reset(seed=31)
    for row in actions[:2]:
        env.step(named(env, row))
    twin = duplicate(env)
    rest = [copy.deepcopy(env.step(named(env, row))) for row in actions[2:]] + play(env, actions)
    assert twin.agents == twin.possible_agents
    assert_identical(
        [copy.deepcopy(twin.step(named(twin, row))) for row in actions[2:]] + play(twin, actions),
        rest,
    )


# --- One network, many faces ---


@every_config
def test_environment_equals_any_slot_of_network_and_vector_env_with_its_seed(
    config: RRMConfig,
) -> None:
    seeds, slot = [5, 2**61 + 3, 40], 1
    env, network, vector = (
        parallel_env(config=config),
        Network(config, 3),
        RRMVectorEnv(3, config, autoreset_mode="Disabled"),
    )
    for episode in range(2):
        actions = random_actions(config, 3, seed=episode)
        frames = play(env, actions[:, slot], seeds[slot] if episode == 0 else None)
        network.reset(seeds if episode == 0 else None)
        observations, vector_infos = vector.reset(seed=seeds if episode == 0 else None)
        for t in range(config.episode_length + 1):
            state, infos = (frames[0][2], frames[0][1]) if t == 0 else (frames[t][5], frames[t][4])
            assert_identical([network.observation[slot], observations[slot]], [state, state])
            for key, array in (
                ("action_mask", network.action_mask),
                ("candidates", network.candidates),
            ):
                expected = np.stack([info[key] for info in infos.values()])
                assert_identical([array[slot], vector_infos[key][slot]], [expected, expected])
            if t < config.episode_length:
                _, network_reward = network.step_actions(actions[t])
                observations, vector_reward, _, _, vector_infos = vector.step(actions[t])
                assert (
                    set(frames[t + 1][1].values())
                    == {float(network_reward[slot])}
                    == {float(vector_reward[slot])}
                )


def test_one_integer_seed_gives_slot_k_the_seed_plus_k() -> None:
    network, env = Network(num_envs=3), parallel_env()
    network.reset(10)
    assert network.seeds.tolist() == [10, 11, 12]
    for k in range(3):
        env.reset(seed=10 + k)
        np.testing.assert_array_equal(network.observation[k], env.state())


@every_config
def test_aec_episode_equals_the_parallel_one(config: RRMConfig) -> None:
    actions = random_actions(config, 1)[:, 0]
    frames = play(parallel_env(config=config), actions, seed=8)
    env = rrm_v0.env(config=config)
    env.reset(seed=8)
    returned, t = 0.0, 0
    for agent in env.agent_iter():
        i = env.possible_agents.index(agent)
        t = len(actions) if env.truncations[agent] else t
        observation, reward, terminated, truncated, info = env.last()
        np.testing.assert_array_equal(
            observation, frames[t][0][agent] if t else frames[0][0][agent]
        )
        np.testing.assert_array_equal(
            info["action_mask"],
            frames[t][4][agent]["action_mask"] if t else frames[0][1][agent]["action_mask"],
        )
        assert not terminated
        assert truncated == (t == len(actions))
        returned += reward
        env.step(None if truncated else int(actions[t, i]))
        t += i == config.n_aps - 1 and not truncated
    assert t == len(actions)
    assert returned == pytest.approx(config.n_aps * sum(frame[1]["ap_0"] for frame in frames[1:]))


@pytest.mark.parametrize("action", [4, -1, 1.5])
def test_aec_environment_refuses_actions_out_of_bounds(action: Any) -> None:
    env = rrm_v0.env()
    env.reset(seed=0)
    with pytest.raises(AssertionError, match="action is not in action space"):
        env.step(action)


def test_aec_environment_refuses_a_step_before_reset() -> None:
    with pytest.raises(AssertionError, match="reset\\(\\) needs to be called before step"):
        rrm_v0.env().step(0)


# --- Making it ---


def test_environment_declares_what_pettingzoo_expects() -> None:
    env = parallel_env()
    assert isinstance(env, RRMParallelEnv)
    assert isinstance(env, pettingzoo.ParallelEnv)
    assert env.unwrapped is env
    assert env.render_mode is None
    assert env.metadata["name"] == "rrm_v0"
    assert env.metadata["render_modes"] == ["human", "rgb_array"]
    assert env.metadata["render_fps"] == 20
    assert env.metadata["is_parallelizable"] is True
    assert env.agents == []
    assert env.possible_agents == [f"ap_{i}" for i in range(4)]
    assert env.action_space("ap_0") == Discrete(4)
    space = env.observation_space("ap_0")
    assert isinstance(space, Box)
    assert space.shape == (6,)
    assert space.dtype == np.float32
    assert np.isfinite([space.low, space.high]).all()
    assert env.state_space.shape == (4, 6)
    env.close()


def test_factories_take_fields_presets_and_whole_configurations() -> None:
    config = RRMConfig(n_aps=3, fading="jakes")
    factories: list[Any] = [parallel_env, rrm_v0.raw_env, rrm_v0.env]
    for make in factories:
        assert make(n_aps=3, fading="jakes").unwrapped.config == config
        assert make(config=config).unwrapped.config == config
        assert make(config=config, csi_delay=0).unwrapped.config == RRMConfig(
            n_aps=3, fading="jakes", csi_delay=0
        )
        assert make(preset="wide", csi_delay=2).unwrapped.config == RRMConfig.preset(
            "wide", csi_delay=2
        )
        assert make(max_cycles=7).unwrapped.config.episode_length == 7
    assert (rrm_env.parallel_env, rrm_env.env, rrm_env.raw_env) == (
        rrm_v0.parallel_env,
        rrm_v0.env,
        rrm_v0.raw_env,
    )


def test_max_cycles_is_another_name_for_episode_length() -> None:
    assert parallel_env(max_cycles=9, episode_length=9).config.episode_length == 9
    assert parallel_env(config=RRMConfig(episode_length=5), max_cycles=9).config.episode_length == 9
    with pytest.raises(ValueError, match="max_cycles = 9 contradicts episode_length = 8"):
        parallel_env(max_cycles=9, episode_length=8)


@needs_registry
def test_registry_makes_both_environments() -> None:
    parallel = pettingzoo.make("parallel", rrm_v0.ENV_ID, n_aps=3, max_cycles=4)
    aec = pettingzoo.make("aec", rrm_v0.ENV_ID, n_aps=3, max_cycles=4)
    assert rrm_v0.ENV_ID == "rrm/rrm-v0"
    assert isinstance(parallel, RRMParallelEnv)
    assert isinstance(aec, pettingzoo.AECEnv)
    assert parallel.config == aec.unwrapped.config == RRMConfig(n_aps=3, episode_length=4)
    aec.reset(seed=6)
    np.testing.assert_array_equal(aec.last()[0], parallel.reset(seed=6)[0]["ap_0"])
    with pytest.raises(AssertionError, match="action is not in action space"):
        aec.step(4)


def test_importing_environment_and_baselines_never_imports_torch() -> None:
    for block in (
        "",
        "sys.modules['torch'] = None; ",
    ):  # None makes an import fail even where torch is not installed
        program = (
            f"import sys; {block}import rrm_env, baselines; assert sys.modules.get('torch') is None"
        )
        subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT / "tests", timeout=120)
