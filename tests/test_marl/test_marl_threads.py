"""One trained policy serves several threads, and networks of several sizes."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from toys import SMALL, random_policy

from marl import LearnerConfig, Policy
from marl.environment import acting
from marl.team import team_of
from rrm_env import Network, evaluate

SHARED = LearnerConfig(paradigm="i", hidden_sizes=(16,), share_parameters=True)
LARGER = replace(SMALL, n_aps=4, n_ues=12)
TEAM = team_of(SMALL)


@pytest.fixture
def _frequent_switches() -> Iterator[None]:
    """Switch threads as often as possible, so that shared buffers would show."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_frequent_switches")
@pytest.mark.parametrize("sizes", ["equal", "different"])
@pytest.mark.parametrize("sample", [False, True])
def test_one_policy_evaluated_in_four_threads_scores_as_alone(sizes: str, sample: bool) -> None:
    policy = random_policy(TEAM, replace(SHARED, hidden_sizes=(256, 256)), sample=sample)
    configs = [SMALL if sizes == "equal" or k % 2 else LARGER for k in range(4)]
    configs = [replace(config, episode_length=100) for config in configs]
    expected = [
        evaluate(copy.deepcopy(policy), config, 20, seed=k).ue_rates.tolist()
        for k, config in enumerate(configs)
    ]
    found, together = dict[int, Any](), threading.Barrier(4)

    def work(k: int) -> None:
        together.wait()
        found[k] = evaluate(policy, configs[k], 20, seed=k).ue_rates.tolist()

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict(enumerate(expected))


def test_checking_a_policy_does_not_change_it() -> None:
    policy = random_policy(TEAM, SHARED)
    draws, cost = policy.n_uniform, policy.execution_cost()
    policy.require(team_of(LARGER))
    (network := Network(LARGER)).reset(0)
    policy.reset(network)
    policy.schedule(network)
    assert (policy.team, policy.n_uniform, policy.execution_cost()) == (TEAM, draws, cost)


def test_a_sampling_policy_serves_networks_of_two_sizes_alternately() -> None:
    shared = random_policy(TEAM, SHARED, sample=True)
    apart = [copy.deepcopy(shared), copy.deepcopy(shared)]
    networks = [[Network(config, 3) for config in (SMALL, LARGER)] for _ in range(2)]
    for pair in networks:
        for network in pair:
            network.reset(7)
    for k in range(2):
        shared.reset(networks[0][k])
        apart[k].reset(networks[1][k])
    for _ in range(SMALL.episode_length):
        for k in range(2):
            chosen, expected = shared.schedule(networks[0][k]), apart[k].schedule(networks[1][k])
            np.testing.assert_array_equal(chosen, expected)
            networks[0][k].step(chosen)
            networks[1][k].step(expected)


def test_a_sampling_policy_draws_for_as_many_agents_as_it_sees() -> None:
    policy = random_policy(TEAM, SHARED, sample=True)
    generator = np.random.default_rng(0)
    for n_agents in (5, 1, 2):
        observation = generator.normal(size=(3, n_agents, TEAM.n_features)).astype(np.float32)
        mask = np.ones((3, n_agents, TEAM.n_actions), np.uint8)
        assert acting(policy)(observation, mask).shape == (3, n_agents)
        assert len(policy.act(dict(enumerate(observation[0])), {})) == n_agents


def test_observations_of_another_number_of_agents_are_refused_where_each_has_its_own_network() -> (
    None
):
    policy = random_policy(TEAM, LearnerConfig(paradigm="i", hidden_sizes=(16,)))
    with pytest.raises(
        ValueError,
        match=r"the policy was trained for Team\(n_agents=2, .*, "
        r"the environment has Team\(n_agents=3",
    ):
        policy.actions(np.zeros((4, 3, TEAM.n_features)), np.ones((4, 3, TEAM.n_actions)))


@pytest.mark.parametrize(
    "twin_of",
    [copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))],
    ids=["deepcopy", "pickle"],
)
def test_a_policy_that_has_acted_travels(twin_of: Callable[[Policy], Policy]) -> None:
    policy = random_policy(TEAM, SHARED)
    expected = evaluate(policy, SMALL, 3).ue_rates
    np.testing.assert_array_equal(evaluate(twin_of(policy), SMALL, 3).ue_rates, expected)
