"""The policy that comes with the package."""

from __future__ import annotations

import re

import numpy as np
import pytest
from folders import ROOT

from baselines import Debts, LongMemory
from marl import GraphConfig, GraphPolicy
from marl.graph.files import FOLDER, described_policy, shipped
from marl.graph.network import initialise
from rrm_env import RRMConfig, evaluate


def test_it_is_small_comes_with_the_package_and_says_how_it_was_made() -> None:
    assert "graph" in shipped()
    assert (FOLDER / "graph.safetensors").stat().st_size < 2_000_000
    data = (ROOT / "pyproject.toml").read_text().split("[tool.setuptools.package-data]")[1]
    assert re.search(r'^marl = .*"policies/\*\.safetensors"', data, re.MULTILINE)
    config, _, training = described_policy("graph")
    assert config == GraphPolicy().config
    assert training


@pytest.mark.parametrize("n_aps", [4, 16])
def test_it_plays_networks_of_several_sizes(n_aps: int) -> None:
    config = RRMConfig(
        n_aps=n_aps, n_ues=5 * n_aps, area_side_m=50.0 * n_aps**0.5, episode_length=10
    )
    found = evaluate(GraphPolicy(), config, episodes=2)  # users of other APs are refused
    assert (found.sum_rate > 0).all()


def test_it_scores_above_long_memory_and_above_equal_prices() -> None:
    learned, equal, memory = (
        evaluate(scheduler, episodes=8).score
        for scheduler in (GraphPolicy(), Debts(), LongMemory())
    )
    assert (learned - memory).mean() > 0.2
    assert learned.mean() > equal.mean() - 0.05


def test_equal_prices_decide_like_debts() -> None:
    sizes, config = GraphConfig(), RRMConfig(episode_length=15)
    network = GraphPolicy.of(sizes, initialise(sizes, [0]), counted="everybody")
    one, other = (evaluate(each, config, 2) for each in (network, Debts("everybody")))
    np.testing.assert_array_equal(one.ue_rates, other.ue_rates)
