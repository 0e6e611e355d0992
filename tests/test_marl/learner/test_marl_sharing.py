"""Agents that share one network, and a central network that each agent computes for itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import SMALL, random_policy, trained
from worlds import make_learner, random_batch

from baselines import RandomWalk
from marl import Heads, LearnerConfig, Policy, Team, collect
from marl.config import Paradigm
from rrm_env import RRMConfig, evaluate

TEAM, SEEDS = Team(3, 4, 2), (5, 8)


# --- Shared parameters ---


@pytest.mark.parametrize("paradigm", ["i", "ctde"])
@pytest.mark.parametrize("algorithm", ["sac", "dqn", "bc"])
def test_a_shared_network_s_gradient_is_the_sum_over_the_agents_of_equal_networks(
    paradigm: Paradigm, algorithm: Any
) -> None:
    shared = make_learner(paradigm, algorithm, TEAM, SEEDS, share_parameters=True)
    apart = make_learner(paradigm, algorithm, TEAM, SEEDS)
    for one, many in zip(shared.layers, apart.layers, strict=True):
        for single, several in zip(one, many, strict=True):
            assert single.shape[2] == 1
            several.copy_(single.expand_as(several))
    batch = random_batch(TEAM, len(SEEDS), shared.config.batch_size)
    for learner in (shared, apart):
        learner.update(batch)
    for one, many in zip(shared._trained.gradients, apart._trained.gradients, strict=True):
        for single, several in zip(one, many, strict=True):
            torch.testing.assert_close(single, several.sum(2, keepdim=True), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(shared.sums, apart.sums, rtol=1e-4, atol=1e-6)


def test_the_normaliser_of_shared_parameters_is_one_for_all_agents() -> None:
    learner = make_learner(
        "i", "dqn", TEAM, SEEDS, share_parameters=True, normalise_observations=True
    )
    observation = torch.randn(
        1, 50, 3, 4, generator=torch.Generator().manual_seed(0)
    ) + torch.arange(3.0).view(3, 1)
    learner.fit_normaliser(observation, torch.zeros(1, 50))
    assert learner.shift.shape == learner.scale.shape == (2, 1, 1, 4)
    spread, mean = torch.std_mean(
        learner.head_inputs(observation.expand(2, -1, -1, -1)), dim=(1, 2), correction=0
    )
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)
    torch.testing.assert_close(spread, torch.ones_like(spread))


def test_agents_that_share_parameters_act_alike_and_may_be_any_number() -> None:
    policy = random_policy(
        TEAM, LearnerConfig(paradigm="ctde", hidden_sizes=(16,), share_parameters=True)
    )
    generator = np.random.default_rng(0)
    for n_agents in (1, 3, 6, 2):
        observation, mask = (
            20 * generator.normal(size=(40, n_agents, 4)),
            np.ones((40, n_agents, 2), np.uint8),
        )
        actions = policy.actions(observation, mask)
        assert actions.shape == (40, n_agents)
        assert len(np.unique(actions)) == 2
        single = policy.actions(observation.reshape(-1, 1, 4), mask.reshape(-1, 1, 2))
        assert actions.reshape(-1, 1).tolist() == single.tolist()


def test_a_policy_trained_with_two_aps_is_evaluated_with_four(tmp_path: Path) -> None:
    shared = Policy.load(
        trained(tmp_path / "shared", {"paradigm": "i", "share_parameters": True}, {"updates": 2})
    )
    apart = Policy.load(trained(tmp_path / "apart", {"paradigm": "i"}, {"updates": 2}))
    larger = replace(SMALL, n_aps=4, n_ues=12)
    assert evaluate(shared, larger, episodes=2).ue_rates.shape == (2, 12)
    with pytest.raises(
        ValueError, match=r"trained for Team\(n_agents=2, .* the environment has Team\(n_agents=4"
    ):
        evaluate(apart, larger, episodes=2)
    with pytest.raises(
        ValueError, match=r"trained for .*n_features=4.* the environment has .*n_features=6"
    ):
        evaluate(shared, replace(SMALL, n_candidates=3), episodes=2)


# --- Common features ---


def test_a_head_of_common_features_sees_the_last_of_an_observation_alone() -> None:
    heads = Heads("c", TEAM, common_features=2)
    assert (heads.n_inputs, heads.n_actions) == (2, 8)
    observation = torch.randn(1, 5, 3, 4)
    assert torch.equal(heads.inputs(observation), observation[:, None, :, 0, 2:])


def test_every_agent_can_run_a_policy_of_common_features_on_its_own_observation() -> None:
    config = RRMConfig(messages="all", message_bits=3)
    data = collect(RandomWalk(), config, 400)
    common = config.n_aps * config.n_message_features
    policy = random_policy(data.team, LearnerConfig(common_features=common, hidden_sizes=(9,)))
    observation, mask = data.observation.numpy(), data.mask.numpy()
    chosen = policy.actions(observation, mask)
    assert len(np.unique(chosen, axis=0)) > 5
    for agent in range(config.n_aps):
        seen_by_one = np.repeat(observation[:, agent : agent + 1], config.n_aps, axis=1)
        assert policy.actions(seen_by_one, mask).tolist() == chosen.tolist()
    cost = policy.execution_cost(config.message_bits_per_step)
    assert cost["bits"] == 4 * 6 * 3
    assert cost["multiply_adds"] == config.n_aps * (common * 9 + 9 * 256)


def test_learning_from_common_features_runs_from_data_to_evaluation(tmp_path: Path) -> None:
    config = replace(SMALL, messages="best", message_bits=2)
    run = trained(
        tmp_path / "run",
        {"common_features": 4},
        {"updates": 2},
        dataset=collect(RandomWalk(), config, 60),
        environment=config,
    )
    assert evaluate(Policy.load(run), config, episodes=2).ue_rates.shape == (2, 6)


def test_messages_of_neighbours_are_no_common_features(tmp_path: Path) -> None:
    options: dict[str, Any] = {"messages": "best", "n_neighbours": 2}
    common, near = (
        replace(SMALL, message_range=senders, **options) for senders in ("all", "neighbours")
    )
    assert common.n_features == near.n_features  # so that sizes alone cannot tell them apart
    told = (
        "common_features = 4 must come with message_range = 'all', got 'neighbours': only messages "
        "of all access points are the same for all agents"
    )
    data, learner = collect(RandomWalk(), near, 60), {"common_features": 4}
    with pytest.raises(ValueError, match=told):
        trained(tmp_path / "near", learner, {"updates": 2}, dataset=data, environment=near)
    assert not (tmp_path / "near").exists()
    data = collect(RandomWalk(), common, 60)
    run = trained(tmp_path / "run", learner, {"updates": 2}, dataset=data, environment=common)
    with pytest.raises(ValueError, match=told):
        evaluate(Policy.load(run), near, episodes=2)


def test_a_policy_of_neighbours_runs_at_another_size(tmp_path: Path) -> None:
    seen: dict[str, Any] = {
        "measurements": "neighbours",
        "n_neighbours": 3,
        "clock": "elapsed",
        "messages": "best",
        "message_range": "neighbours",
    }
    config = replace(SMALL, **seen)
    run = trained(
        tmp_path / "run",
        {"paradigm": "ctde", "share_parameters": True},
        {"updates": 2},
        dataset=collect(RandomWalk(), config, 60),
        environment=config,
    )
    larger = replace(config, n_aps=5, n_ues=12)
    assert evaluate(Policy.load(run), larger, episodes=2).ue_rates.shape == (2, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"share_parameters": True},
            "share_parameters = True must come with paradigm = 'i' or 'ctde'",
        ),
        (
            {"paradigm": "ctde", "mixing": "monotone"},
            "mixing of paradigm 'ctde' and algorithm 'sac' must be one of sum, got 'monotone'",
        ),
        (
            {"paradigm": "ctde", "mixing": "monotone", "algorithm": "omiga"},
            "mixing of .* algorithm 'omiga' must be one of sum, weighted, got 'monotone'",
        ),
        (
            {"paradigm": "i", "mixing": "weighted", "algorithm": "dqn"},
            "mixing of paradigm 'i' and algorithm 'dqn' must be one of sum, got 'weighted'",
        ),
        ({"observes": "all"}, "observes = 'all' must come with paradigm = 'i' or 'ctde'"),
        (
            {"observes": "all", "paradigm": "ctde", "share_parameters": True},
            "observes = 'all' must come with .* and share_parameters = False",
        ),
        (
            {"observes": "sequence", "algorithm": "bc"},
            "observes = 'sequence' must come with paradigm = 'i' or 'ctde'",
        ),
        (
            {"observes": "sequence", "paradigm": "ctde", "algorithm": "dqn"},
            "observes = 'sequence' must come with algorithm = bc, got dqn",
        ),
        (
            {"paradigm": "i", "common_features": 2},
            "common_features = 2 must come with paradigm = 'c', got 'i'",
        ),
        (
            {"common_features": -1},
            "common_features must be an integer of at least 0 and at most 9007199254740992, got -1",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnerConfig(**options)


def test_more_common_features_than_there_are_are_refused() -> None:
    with pytest.raises(
        ValueError, match="common_features = 5 must be at most the 4 features of an observation"
    ):
        Heads("c", TEAM, common_features=5)
