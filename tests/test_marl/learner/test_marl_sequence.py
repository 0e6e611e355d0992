"""Heads that choose one after the other: what they see, and what they can clone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_marl_offline_worlds import after
from toys import random_policy
from worlds import World

from marl import Heads, LearnerConfig, Policy, Team

TEAM = Team(3, 2, 4)
IN_SEQUENCE = LearnerConfig(
    paradigm="i", algorithm="bc", observes="sequence", hidden_sizes=(16,), act_on="actor"
)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4))
def test_a_head_sees_all_observations_and_the_actions_before_its_own(
    n_agents: int, n_features: int, n_actions: int
) -> None:
    team = Team(n_agents, n_features, n_actions)
    heads = Heads("i", team, observes="sequence")
    observation = torch.randn(2, 3, n_agents, n_features)
    action = torch.randint(n_actions, (2, 3, n_agents))
    inputs = heads.inputs(observation, action)
    assert inputs.shape == (2, n_agents, 3, heads.n_inputs)
    for s, k, b in np.ndindex(2, n_agents, 3):
        expected = observation[s, b].flatten().tolist()
        for agent in range(n_agents - 1):
            for a in range(n_actions):
                expected.append(float(agent < k and action[s, b, agent] == a))
        assert inputs[s, k, b].tolist() == expected


@pytest.mark.parametrize("sample", [False, True])
def test_a_policy_chooses_agent_after_agent(sample: bool) -> None:
    policy = random_policy(TEAM, IN_SEQUENCE, sample=sample)
    generator = np.random.default_rng(0)
    observation = generator.normal(size=(5, 3, 2)).astype(np.float32)
    mask = np.ones((5, 3, 4), np.uint8)
    mask[:, 1, 2] = 0
    uniform = generator.uniform(0.01, 0.99, (5, policy.n_uniform)).astype(np.float32)
    found = policy.actions(observation, mask, uniform if sample else None)
    for b in range(5):
        action: list[int] = []
        for k in range(3):
            seen = [*observation[b].flatten(), *np.zeros(8)]
            for agent, a in enumerate(action):
                seen[6 + 4 * agent + a] = 1.0
            values = np.array(seen)
            for depth, (weights, biases) in enumerate(policy._layers):
                values = np.maximum(values, 0) if depth else values
                values = values @ weights[0, 0, k].numpy() + biases[0, 0, k, 0].numpy()
            if sample:
                values = values - np.log(-np.log(uniform[b].reshape(3, 4)[k]))
            values[mask[b, k] == 0] = -np.inf
            action.append(int(values.argmax()))
        assert found[b].tolist() == action


def test_recorded_coordination_is_cloned_in_sequence_and_not_otherwise() -> None:
    """One of two agents acts, drawn at random; both acting or none never occurs."""
    world = World(
        reward=np.zeros((1, 4)),
        successors=np.zeros((1, 4, 2), np.int64),
        terminates=np.ones((1, 4), bool),
        legal=np.ones((1, 2, 2), bool),
        features=np.ones((1, 2, 1)),
    )
    rows = world.recorded({(0, (0, 1)): 9, (0, (1, 0)): 11})
    drawn = {}
    for observes in ("all", "sequence"):
        learner = after("i", "bc", world, rows, observes=observes)
        policy = Policy.of_learner(learner, 0)
        policy.sample = True
        uniform = np.random.default_rng(0).uniform(0.001, 0.999, (400, policy.n_uniform))
        actions = policy.actions(
            world.features.repeat(400, 0), world.legal.repeat(400, 0), uniform.astype(np.float32)
        )
        pairs, counts = np.unique(actions, axis=0, return_counts=True)
        drawn[observes] = {tuple(pair): int(n) for pair, n in zip(pairs, counts, strict=True)}
    assert set(drawn["all"]) == set(itertools.product((0, 1), repeat=2))
    found = drawn["sequence"]
    assert found.get((0, 1), 0) + found.get((1, 0), 0) >= 390
    assert 130 <= found[0, 1] <= 230
