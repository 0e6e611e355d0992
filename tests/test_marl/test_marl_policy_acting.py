"""Trained policies act as schedulers and in parallel environments."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from replay import CONFIGS
from toys import (
    EVALUATION,
    PARADIGMS,
    SMALL,
    Match,
    UnequalAgents,
    random_policy,
)

from marl import (
    LearnerConfig,
    Policy,
    Team,
    episode_returns,
)
from marl.sources import make_env
from marl.team import team_of
from rrm_env import SILENT, Network, RRMConfig, Scheduler, evaluate, parallel_env

TEAM = team_of(SMALL)


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("sample", [False, True])
@pytest.mark.parametrize("name", ["empty_aps", "more_candidates_than_users", "one_candidate"])
def test_schedule_serves_the_action_s_candidate_and_nothing_else(
    paradigm: Any, sample: bool, name: str
) -> None:
    config = CONFIGS[name]
    policy = random_policy(
        team_of(config), LearnerConfig(paradigm=paradigm, hidden_sizes=(16,)), sample=sample
    )
    assert isinstance(policy, Scheduler)
    network = Network(config, 16)
    network.reset(3)
    policy.reset(network)
    silent = 0
    while not network.done:
        uniform = network.uniform(policy.n_uniform) if sample else None
        actions, served = (
            policy.actions(network.observation, network.action_mask, uniform),
            policy.schedule(network),
        )
        for (b, i), ue in np.ndenumerate(served):
            assert network.action_mask[b, i, actions[b, i]] == 1
            assert ue == [*network.candidates[b, i], SILENT][actions[b, i]]
        silent += int((served == SILENT).sum())
        network.step(served)
    assert silent > 0


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("sample", [False, True])
def test_evaluation_does_not_depend_on_the_batch(paradigm: Any, sample: bool) -> None:
    policy = random_policy(
        TEAM, LearnerConfig(paradigm=paradigm, hidden_sizes=(16,)), sample=sample
    )
    results = [
        evaluate(policy, SMALL, episodes=7, seed=2, batch_size=batch).ue_rates
        for batch in (7, 1, 3)
    ]
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("changes", [{"n_aps": 3}, {"n_candidates": 3}])
def test_networks_of_other_sizes_are_refused(changes: dict[str, int]) -> None:
    config = RRMConfig(**{**SMALL.as_dict(), **changes})
    with pytest.raises(
        ValueError,
        match=re.escape(
            f"the policy was trained for {TEAM}, the environment has {team_of(config)}"
        ),
    ):
        evaluate(random_policy(TEAM), config, episodes=1)


def test_networks_with_other_users_are_welcome() -> None:
    config = RRMConfig(**{**SMALL.as_dict(), "n_ues": 9, "episode_length": 3})
    assert evaluate(random_policy(TEAM), config, episodes=2).ue_rates.shape == (2, 9)


# --- In parallel environments ---


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_acting_in_the_parallel_environment_is_what_the_schedule_does(paradigm: Any) -> None:
    config = CONFIGS["empty_aps"]
    policy = random_policy(team_of(config), LearnerConfig(paradigm=paradigm, hidden_sizes=(16,)))
    env, network = parallel_env(config=config), Network(config)
    observations, infos = env.reset(seed=8)
    network.reset(8)
    while env.agents:
        actions = policy.act(observations, infos)
        assert list(actions) == env.possible_agents
        served = policy.schedule(network)
        for i, (agent, action) in enumerate(actions.items()):
            assert type(action) is int
            assert [*infos[agent]["candidates"], SILENT][action] == served[0, i]
        observations, rewards, _, _, infos = env.step(actions)
        _, reward = network.step(served)
        assert rewards["ap_0"] == reward[0]


@pytest.mark.parametrize("sample", [False, True])
def test_acting_in_simple_spread_gives_legal_actions(sample: bool) -> None:
    policy = random_policy(
        Team(3, 18, 5), LearnerConfig(paradigm="i", hidden_sizes=(16,)), sample=sample
    )
    env: Any = make_env("mpe2.simple_spread_v3:max_cycles=5")()
    observations, infos = env.reset(seed=1)
    taken = []
    while env.agents:
        actions = policy.act(observations, infos)
        assert list(actions) == env.agents
        assert all(env.action_space(agent).contains(action) for agent, action in actions.items())
        taken.append(tuple(actions.values()))
        observations, _, _, _, infos = env.step(actions)
    assert len(taken) == 5


class Zeros:
    """A generator that only draws 0, as numpy's do once in 2^24 draws."""

    def random(self, shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
        """As numpy's."""
        return np.zeros(shape, kind)


def test_sampling_is_legal_whatever_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = random_policy(
        Team(2, 3, 3), LearnerConfig(paradigm="i", hidden_sizes=(16,)), sample=True
    )
    observations = dict.fromkeys(("first", "second"), np.zeros(3, np.float32))
    infos = {
        "first": {"action_mask": np.array([0, 1, 0])},
        "second": {"action_mask": np.array([0, 0, 1])},
    }
    assert policy.act(observations, infos) == {"first": 1, "second": 2}
    monkeypatch.setattr(np.random, "default_rng", Zeros)
    assert policy.act(observations, infos) == {"first": 1, "second": 2}


class Recorder(Policy):
    """A policy that records its observations and actions."""

    def actions(
        self,
        observation: NDArray[Any],
        mask: NDArray[Any],
        uniform: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int64]:
        """As `Policy`'s."""
        chosen = super().actions(observation, mask, uniform)
        self.steps = [*getattr(self, "steps", []), (observation.copy(), chosen)]
        return chosen


def test_episode_returns_are_those_of_the_first_episode_of_each_environment() -> None:
    policy = random_policy(Team(2, 5, 4))
    policy.__class__ = Recorder
    returns = episode_returns(policy, UnequalAgents, episodes=6, seed=1)
    for k, value in enumerate(returns):
        env, total = UnequalAgents(), 0.0
        env.reset(seed=EVALUATION + int(policy.steps[0][0][k, 0, 0]))  # type: ignore[attr-defined]
        for _, actions in policy.steps:  # type: ignore[attr-defined]
            _, rewards, _, _, _ = env.step(
                dict(zip(env.possible_agents, actions[k].tolist(), strict=True))
            )
            total += sum(rewards.values()) / 2
            if not env.agents:
                break
        assert value == pytest.approx(total)
    assert len({float(row[0, 0]) for row in policy.steps[0][0]}) == 6  # type: ignore[attr-defined]


def test_sampled_episode_returns_repeat_with_their_seed() -> None:
    policy = random_policy(Team(2, 3, 3), sample=True)
    first, again, other = (
        episode_returns(policy, Match, episodes=64, seed=seed) for seed in (3, 3, 4)
    )
    assert first == again != other
    assert set(first) == {0.0, 1.0}
