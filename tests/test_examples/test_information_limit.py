"""The search for the score itself: policies side by side, and what the search finds."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import numpy as np
import pytest
from folders import examples

from rrm_env import Network, RRMConfig, evaluate

CONFIG = RRMConfig(n_aps=2, n_ues=5, n_candidates=2, episode_length=20, turns="by_load")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """examples/paper/information_limit.py, imported."""
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the studies' options need torch, which is not installed")
    with examples():
        import information_limit
    return information_limit


def test_policies_side_by_side_do_what_each_does_alone(script: ModuleType) -> None:
    count, n_policies, seeds = script.LocalPolicies.count(CONFIG, 4), 3, np.arange(5)
    parameters = np.random.default_rng(0).normal(size=(n_policies, count))
    normaliser = np.zeros(CONFIG.n_features), np.ones(CONFIG.n_features)

    def rates(chosen: np.ndarray) -> np.ndarray:
        network = Network(CONFIG, len(chosen) * len(seeds))
        network.reset(np.tile(seeds, len(chosen)))
        policies = script.LocalPolicies(chosen, CONFIG, 4, *normaliser)
        while not network.done:
            network.step(policies.schedule(network))
        return network.ue_rate_sum.copy()

    alone = np.concatenate([rates(parameters[[p]]) for p in range(n_policies)])
    np.testing.assert_allclose(rates(parameters), alone, rtol=1e-6)
    assert len(np.unique(alone.sum(-1))) == n_policies * len(seeds)


def test_search_finds_more_than_it_starts_with(script: ModuleType) -> None:
    effort = script.Effort(generations=25, population=32, elite=8, episodes=8, hidden=4)
    found = evaluate(script.search(CONFIG, effort, seed=0), CONFIG, 64).score.mean()
    start = evaluate(
        script.LocalPolicies(
            np.zeros((1, script.LocalPolicies.count(CONFIG, 4))), CONFIG, 4, np.zeros(5), np.ones(5)
        ),
        CONFIG,
        64,
    ).score.mean()
    assert found > 1.1 * start
