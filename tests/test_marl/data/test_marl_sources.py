"""Sources show learners any environment alike, restart episodes, and return their true ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, Space
from numpy.typing import NDArray
from replay import CONFIGS
from toys import SMALL, Match, UnequalAgents

from marl import Team
from marl.sources import NetworkSource, ParallelSource, UniformAgents
from marl.team import team_of
from rrm_env import Network, RRMConfig, metrics, parallel_env
from rrm_env.seeds import EVALUATION_SEEDS


def legal_actions(mask: NDArray[Any], generator: np.random.Generator) -> NDArray[np.int64]:
    """A random legal action of every agent."""
    chosen: NDArray[np.int64] = np.where(mask == 1, generator.random(mask.shape), -1).argmax(-1)
    return chosen


# --- The network ---


@pytest.mark.parametrize("name", ["paper", "empty_aps", "correlated"])
def test_network_source_goes_through_consecutive_episodes(name: str) -> None:
    config, generator = CONFIGS[name], np.random.default_rng(0)
    source, network = NetworkSource(config, 3), Network(config, 3)
    source.reset(7, 11)
    assert source.team == team_of(config)
    for episode in range(3):
        network.reset(7 * 2**32 + 11 + 3 * episode)
        for t in range(config.episode_length):
            np.testing.assert_array_equal(source.observation, network.observation)
            np.testing.assert_array_equal(source.mask, network.action_mask)
            assert source.mask.dtype == np.uint8
            actions = legal_actions(source.mask, generator)
            outcome = source.step(actions)
            _, reward = network.step_actions(actions)
            for left, right in zip(
                outcome[:3], (reward, network.observation, network.action_mask), strict=True
            ):
                np.testing.assert_array_equal(left, right)
            assert outcome.truncated.tolist() == [t == config.episode_length - 1] * 3
            assert not outcome.terminated.any()
        np.testing.assert_array_equal(
            source.finished_ue_rates, network.ue_rate_sum / config.episode_length
        )
    assert metrics.sum_rate(source.finished_ue_rates).shape == (3,)


@pytest.mark.parametrize("kind", ["network", "parallel"])
def test_what_a_source_gave_does_not_change_afterwards(kind: str) -> None:
    source = NetworkSource(SMALL, 2) if kind == "network" else ParallelSource(UnequalAgents, 2)
    source.reset(0, 0)
    generator, given = np.random.default_rng(0), []
    for _ in range(12):
        before = source.observation, source.mask
        arrays = (*before, *source.step(legal_actions(source.mask, generator)))
        given.append((arrays, tuple(array.copy() for array in arrays)))
    for arrays, copies in given:
        for array, copy in zip(arrays, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def test_network_source_restarts_where_it_is_told_and_stays_below_evaluations() -> None:
    source = NetworkSource(SMALL, 4)
    source.reset(2**30 - 1, 2**32 - 4)
    assert source.network.seeds.tolist() == [EVALUATION_SEEDS - 4 + k for k in range(4)]
    source.reset(3, 0)
    first = source.observation.copy()
    source.step(legal_actions(source.mask, np.random.default_rng(0)))
    source.reset(3, 0)
    np.testing.assert_array_equal(source.observation, first)


# --- Parallel environments ---


@pytest.mark.parametrize("masks", ["infos", "observations", "nowhere"])
def test_agents_are_made_alike(masks: str) -> None:
    env, bare = UniformAgents(UnequalAgents(masks)), UnequalAgents(masks)
    assert env.team == Team(2, 5, 4)
    assert env.action_space("short") == env.action_space("long") == Discrete(4)
    assert (
        env.observation_space("short")
        == env.observation_space("long")
        == Box(-np.inf, np.inf, (9,), np.float32)
    )
    rows, infos = env.reset(seed=5)
    expected, expected_infos = bare.reset(seed=5)
    generator = np.random.default_rng(1)
    while True:
        assert infos.keys() == expected_infos.keys()
        for agent, n_features, n_actions in (("short", 3, 2), ("long", 5, 4)):
            seen = expected[agent]["observation"] if masks == "observations" else expected[agent]
            mask = bare.legal[agent]
            padded = [*seen, *[0] * (5 - n_features), *mask, *[0] * (4 - n_actions)]
            np.testing.assert_array_equal(rows[agent], np.array(padded, np.float32), strict=True)
            assert env.observation_space(agent).contains(rows[agent])
        if not env.agents:
            break
        actions = {agent: int(legal_actions(bare.legal[agent], generator)) for agent in env.agents}
        rows, rewards, terminations, truncations, infos = env.step(actions)
        expected, *rest, expected_infos = bare.step(actions)
        assert [rewards, terminations, truncations] == rest
        assert env.agents == bare.agents


class OtherSpaces(Match):
    """A `Match` with other spaces."""

    def __init__(self, observation: Space[Any], action: Space[Any]) -> None:
        super().__init__()
        self._spaces = {"first": action, "second": action}
        self._observed = observation

    def observation_space(self, agent: str) -> Space[Any]:
        """As PettingZoo's."""
        return self._observed

    def action_space(self, agent: str) -> Space[Any]:
        """As PettingZoo's."""
        return self._spaces[agent]


@pytest.mark.parametrize("space", [Box(-1, 1, (2,)), Discrete(3, start=1), MultiBinary(3)])
def test_actions_that_are_not_discrete_from_zero_on_are_refused_with_the_agent(
    space: Space[Any],
) -> None:
    with pytest.raises(
        TypeError, match=r"agent 'first' must have a Discrete action space from 0 on, got "
    ):
        ParallelSource(lambda: OtherSpaces(Box(0, 1, (3,)), space), 2)


@pytest.mark.parametrize(
    ("space", "observation", "features"),
    [
        (Discrete(4), 2, [0, 0, 1, 0]),
        (Box(0, 9, (2, 2)), np.array([[1, 2], [3, 4]], np.float32), [1, 2, 3, 4]),
        (
            Dict({"a": Discrete(2), "b": Box(0, 9, (1,))}),
            {"a": 1, "b": np.array([7], np.float32)},
            [0, 1, 7],
        ),
        (MultiBinary(2), np.array([1, 0], np.int8), [1, 0]),
    ],
)
def test_observations_of_any_kind_are_flattened(
    space: Space[Any], observation: Any, features: list[float]
) -> None:
    env = UniformAgents(OtherSpaces(space, Discrete(2)))
    assert env.team == Team(2, len(features), 2)
    assert env.row("first", observation, {}).tolist() == [*features, 1, 1]
    assert env.row("first", observation, {"action_mask": np.array([0, 1], np.int8)}).tolist() == [
        *features,
        0,
        1,
    ]


def test_parallel_source_gives_the_last_observation_and_mask_of_an_ended_episode() -> None:
    source, generator = ParallelSource(UnequalAgents, 2), np.random.default_rng(3)
    source.reset(1, 0)
    envs = [UnequalAgents(), UnequalAgents()]
    for k, env in enumerate(envs):
        env.reset(seed=int(source.observation[k, 0, 0]))
    kinds = {"terminated": 0, "truncated": 0}
    for _ in range(40):
        actions = legal_actions(source.mask, generator)
        outcome = source.step(actions)
        for k, env in enumerate(envs):
            observations, rewards, terminations, truncations, _ = env.step(
                dict(zip(env.possible_agents, actions[k].tolist(), strict=True))
            )
            np.testing.assert_array_equal(outcome.next_observation[k, 0, :3], observations["short"])
            np.testing.assert_array_equal(outcome.next_observation[k, 1], observations["long"])
            np.testing.assert_array_equal(
                outcome.next_mask[k], [[*env.legal["short"], 0, 0], env.legal["long"]]
            )
            assert outcome.reward[k] == np.float32(np.mean(list(rewards.values())))
            assert (outcome.terminated[k], outcome.truncated[k]) == (
                terminations["long"],
                truncations["long"],
            )
            kinds["terminated"] += terminations["long"]
            kinds["truncated"] += truncations["long"]
            if not env.agents:
                observations, _ = env.reset()
            np.testing.assert_array_equal(source.observation[k, 1], observations["long"])
            np.testing.assert_array_equal(
                source.mask[k], [[*env.legal["short"], 0, 0], env.legal["long"]]
            )
    assert min(kinds.values()) > 5


def test_parallel_source_starts_other_episodes_for_other_seeds_and_places() -> None:
    source, met = ParallelSource(UnequalAgents, 4), []
    for seed, first in ((0, 0), (0, 4), (0, 800), (1, 0), (2, 0), (2, 4)):
        source.reset(seed, first)
        met += source.observation[:, 0, 0].tolist()
    assert len(set(met)) == len(met)
    again = source.observation.copy()
    source.reset(2, 4)
    np.testing.assert_array_equal(source.observation, again)


def test_the_network_as_a_parallel_environment_gives_what_its_own_source_gives() -> None:
    config = RRMConfig(n_aps=5, n_ues=4, n_candidates=2, episode_length=4)
    parallel, network = ParallelSource(lambda: parallel_env(config=config), 2), Network(config, 2)
    parallel.reset(0, 0)
    network.reset(0)
    assert parallel.team == team_of(config)
    generator = np.random.default_rng(0)
    for _ in range(4):
        np.testing.assert_array_equal(parallel.observation, network.observation)
        np.testing.assert_array_equal(parallel.mask, network.action_mask)
        actions = legal_actions(parallel.mask, generator)
        outcome = parallel.step(actions)
        _, reward = network.step_actions(actions)
        np.testing.assert_allclose(outcome.reward, reward, rtol=1e-6)
        np.testing.assert_array_equal(outcome.next_observation, network.observation)
        np.testing.assert_array_equal(outcome.next_mask, network.action_mask)
    assert outcome.truncated.tolist() == [1, 1]
    assert outcome.terminated.tolist() == [0, 0]
