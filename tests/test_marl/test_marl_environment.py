"""`Environment`: how a network or another environment is made, described, pickled and used."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pytest
import toys
from toys import SMALL, Match, UnequalAgents, random_policy

from baselines import TDM
from marl import Policy, episode_returns
from marl.environment import Environment, environment_of
from marl.sources import NetworkSource, ParallelSource
from marl.team import Team, team_of
from rrm_env import RRMConfig, evaluate, metrics

KNOWN_BY_NAME = Environment.from_dict({"kind": "parallel", "name": "match_v0"})


@pytest.fixture(autouse=True)
def toy_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the module `toys` an environment's module."""
    monkeypatch.setattr(toys, "parallel_env", Match, raising=False)


# --- Making one ---


def test_a_network_has_the_sizes_of_its_configuration_and_no_name() -> None:
    environment = Environment.of_network(SMALL)
    assert environment.network == SMALL
    assert environment.team == team_of(SMALL)
    assert environment.name is None
    assert environment.make is None
    assert environment.can_be_made
    assert environment == environment_of(SMALL) == environment_of(environment)


def test_a_module_and_a_factory_give_the_same_environment() -> None:
    for environment in (Environment.of_module("toys"), Environment.of_factory(Match)):
        assert environment.network is None
        assert environment.team == Team(2, 3, 3)
        assert environment.name == "match_v0"
        assert environment.make is not None
        assert isinstance(environment.make(), Match)
        assert environment.can_be_made


def test_a_module_takes_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toys, "parallel_env", UnequalAgents)
    make = Environment.of_module("toys:masks=nowhere").make
    assert make is not None
    assert make()._masks == "nowhere"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no_such_module", "env = 'no_such_module' cannot be imported"),
        ("rrm_env.metrics", "env = 'rrm_env.metrics' must be a module with parallel_env()"),
        ("toys:size", "expected FIELD=VALUE after a colon, got 'size'"),
    ],
)
def test_a_module_that_makes_no_environment_is_refused_at_once(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Environment.of_module(text)


# --- Describing one ---


@pytest.mark.parametrize(
    "environment", [Environment.of_network(SMALL), KNOWN_BY_NAME, Environment()]
)
def test_a_description_is_read_back(environment: Environment) -> None:
    assert Environment.from_dict(environment.as_dict()) == environment


@pytest.mark.parametrize(
    "environment", [Environment.of_module("rrm_env"), Environment.of_factory(Match)]
)
def test_a_description_keeps_only_the_name_of_another_environment(environment: Environment) -> None:
    assert environment.as_dict() == {"kind": "parallel", "name": environment.name}
    read = Environment.from_dict(environment.as_dict())
    assert read.name == environment.name
    assert not read.can_be_made


def test_network_options_that_a_description_lacks_are_defaults() -> None:
    described = {"kind": "network", "config": {"n_ues": 9}}
    assert Environment.from_dict(described).network == RRMConfig(n_ues=9)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ("network", TypeError, "environment must be a mapping of names, got 'network'"),
        (
            {"kind": "sea"},
            ValueError,
            "environment: kind must be 'network' or 'parallel', got 'sea'",
        ),
        ({"name": "match_v0"}, ValueError, "kind must be 'network' or 'parallel', got None"),
        ({"kind": "parallel"}, TypeError, "environment: name must be a text, got None"),
        ({"kind": "network"}, TypeError, "environment: config must be a mapping of names"),
        (
            {"kind": "network", "config": {"n_aps": -1}},
            ValueError,
            "environment: n_aps must be",
        ),
        (
            {"kind": "network", "config": {"n_apps": 1}},
            TypeError,
            "did you mean 'n_aps'?",
        ),
    ],
)
def test_descriptions_of_no_environment_are_refused_by_name(
    values: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        Environment.from_dict(values)


# --- Pickling one ---


@pytest.mark.parametrize(
    "environment",
    [
        Environment.of_network(SMALL),
        Environment.of_factory(Match),
        KNOWN_BY_NAME,
    ],
)
def test_an_environment_is_pickled(environment: Environment) -> None:
    assert pickle.loads(pickle.dumps(environment)) == environment


def test_an_environment_of_a_module_is_pickled_after_it_was_made() -> None:
    environment = Environment.of_module("toys")
    assert environment.team == Team(2, 3, 3)  # what was made cannot be pickled itself
    copy = pickle.loads(pickle.dumps(environment))
    assert copy == environment
    assert copy.make is not None
    assert isinstance(copy.make(), Match)
    assert copy.team == environment.team


# --- Acting in one ---


def test_sources_are_of_the_environment() -> None:
    network = Environment.of_network(SMALL).source(3)
    assert isinstance(network, NetworkSource)
    other = Environment.of_factory(UnequalAgents).source(3)
    assert isinstance(other, ParallelSource)
    for source, team in ((network, team_of(SMALL)), (other, Team(2, 5, 4))):
        assert source.team == team
        source.reset(0, 0)
        assert source.observation.shape == (3, team.n_agents, team.n_features)


def test_evaluation_in_a_network_is_that_of_the_network() -> None:
    for policy in (random_policy(team_of(SMALL)), TDM()):
        found = Environment.of_network(SMALL).evaluate(policy, 4, seed=3)
        expected = evaluate(policy, SMALL, 4, 3)
        assert list(found) == list(metrics.LEARNERS_KPIS)
        for kpi, values in found.items():
            np.testing.assert_array_equal(values, getattr(expected, kpi))


def test_evaluation_elsewhere_gives_the_returns_of_episodes() -> None:
    policy = random_policy(Team(2, 3, 3))
    expected = {"return": episode_returns(policy, Match, 5, seed=2)}
    for environment in (Environment.of_module("toys"), Environment.of_factory(Match)):
        assert environment.evaluate(policy, 5, seed=2) == expected


def test_a_scheduler_cannot_act_in_another_environment() -> None:
    with pytest.raises(TypeError, match=r"policy must choose actions, .* got .*TDM"):
        Environment.of_factory(Match).evaluate(TDM(), 2)


@pytest.mark.parametrize(
    "environment", [Environment.of_network(SMALL), Environment.of_factory(Match)]
)
def test_a_policy_of_other_sizes_is_refused(environment: Environment) -> None:
    with pytest.raises(ValueError, match=r"the policy was trained for Team\(n_agents=5"):
        environment.evaluate(random_policy(Team(5, 4, 3)), 2)


def test_an_environment_known_by_name_alone_refuses_to_act_by_name() -> None:
    assert KNOWN_BY_NAME.team is None
    assert not KNOWN_BY_NAME.can_be_made
    policy: Policy = random_policy(Team(2, 3, 3))
    for call in (lambda: KNOWN_BY_NAME.source(2), lambda: KNOWN_BY_NAME.evaluate(policy, 2)):
        with pytest.raises(ValueError, match="'match_v0' is known by name alone"):
            call()


def test_arrays_of_other_sizes_than_a_network_s_are_refused() -> None:
    Environment.of_network(SMALL).require(team_of(SMALL))
    Environment.of_factory(Match).require(Team(9, 9, 9))  # another environment has no config
    with pytest.raises(ValueError, match=r"its config is of Team\(n_agents=2, .*n_agents=9"):
        Environment.of_network(SMALL).require(Team(9, 9, 9))
