"""Configurations of learners: validation, presets, names and JSON."""

from __future__ import annotations

import json
import math
from dataclasses import FrozenInstanceError, fields
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marl import PRESETS, LearnerConfig
from marl.config import Algorithm

POSITIVE = [
    "discount",
    "critic_learning_rate",
    "actor_learning_rate",
    "temperature_learning_rate",
    "target_rate",
    "reward_scale",
    "initial_temperature",
    "expectile",
    "clip_range",
]
NOT_NEGATIVE = [
    "cql_alpha",
    "cloning_weight",
    "advantage_weight",
    "deviation_weight",
    "entropy_ratio",
    "epsilon_final",
    "gae_lambda",
    "entropy_weight",
]
SHARES = ["discount", "target_rate", "entropy_ratio", "epsilon_final", "gae_lambda"]
COUNTS = [
    "batch_size",
    "mixing_width",
    "n_critics",
    "target_period",
    "replay_capacity",
    "rollout_steps",
    "epochs",
]
COUNTS_FROM_ZERO = ["exploration_updates", "learning_starts", "common_features"]
SWITCHES = [
    "automatic_temperature",
    "soft_backup",
    "double_q",
    "normalise_observations",
    "normalise_rewards",
    "share_parameters",
]
CHOICES = {
    "paradigm": "c, i, ctde",
    "algorithm": "sac, dqn, bc, iql, omiga, ppo",
    "mixing": "sum, weighted, monotone",
    "observes": "own, all, sequence",
    "cql_reduction": "sum, mean, weighted",
    "td_loss": "half_squared, huber",
    "act_on": "actor, critic",
    "products": "float32, bfloat16",
}

NONSENSE: list[Any] = ["nonsense", None, "", 1, []]


def refusals() -> list[tuple[str, Any, type[Exception], str]]:
    """Field, value, error and the allowed values in the message."""
    listed: list[tuple[str, Any, type[Exception], str]] = []
    for name in POSITIVE:
        listed += [
            (name, value, ValueError, "of at least 1e-30")
            for value in (0, 0.0, -1e-9, 5e-324, math.nan, math.inf)
        ]
    for name in NOT_NEGATIVE:
        listed += [
            (name, value, ValueError, "of at least 0") for value in (-1, -1e-9, math.nan, -math.inf)
        ]
    for name in SHARES:
        listed += [(name, value, ValueError, "at most 1") for value in (1.0001, 2)]
    for name in POSITIVE + NOT_NEGATIVE:
        listed += [
            (name, value, TypeError, "a finite number") for value in ("0.5", None, True, [0.5])
        ]
    for name in COUNTS + COUNTS_FROM_ZERO:
        lowest = "an integer of at least " + ("1" if name in COUNTS else "0")
        listed += [(name, value, TypeError, lowest) for value in (2.0, "2", None, True)]
        listed.append((name, 0 if name in COUNTS else -1, ValueError, lowest))
    for name in SWITCHES:
        listed += [(name, value, TypeError, "True or False") for value in (1, "yes", None)]
    for name, allowed in CHOICES.items():
        listed += [(name, value, ValueError, allowed) for value in NONSENSE]
    listed += [
        ("hidden_sizes", value, TypeError, "of at least 1")
        for value in ((2.0,), ("a",), (None,), 256, None)
    ]
    listed += [("hidden_sizes", value, ValueError, "of at least 1") for value in ((0,), (256, -1))]
    listed += [("expectile", value, ValueError, "at most 0.999999") for value in (1, 2)]
    listed += [("largest_weight", value, ValueError, "of at least 1") for value in (0.9, -1)]
    return listed


def test_every_field_is_refused_somewhere() -> None:
    assert {name for name, *_ in refusals()} == {item.name for item in fields(LearnerConfig)}


@pytest.mark.parametrize(("name", "value", "error", "allowed"), refusals())
def test_bad_values_are_refused_with_field_value_and_what_is_allowed(
    name: str, value: Any, error: type[Exception], allowed: str
) -> None:
    with pytest.raises(error) as caught:
        LearnerConfig(**{name: value})
    shown = value[-1] if isinstance(value, tuple) else value
    assert name in str(caught.value)
    assert allowed in str(caught.value)
    assert repr(shown) in str(caught.value)


@pytest.mark.parametrize("name", POSITIVE + NOT_NEGATIVE)
def test_integers_beyond_any_float_are_refused_by_name(name: str) -> None:
    values: dict[str, Any] = {name: 10**400}
    with pytest.raises(ValueError, match=f"{name} must be a finite number"):
        LearnerConfig(**values)


def test_a_replay_too_small_to_start_learning_is_refused() -> None:
    with pytest.raises(
        ValueError, match="learning_starts = 11 must not exceed replay_capacity = 10"
    ):
        LearnerConfig(learning_starts=11, replay_capacity=10)
    assert LearnerConfig(learning_starts=10, replay_capacity=10).learning_starts == 10


def test_values_at_the_bounds_are_accepted() -> None:
    lowest: dict[str, Any] = {
        **dict.fromkeys(NOT_NEGATIVE + COUNTS_FROM_ZERO, 0),
        **dict.fromkeys(COUNTS, 1),
        "hidden_sizes": (),
    }
    highest: dict[str, Any] = dict.fromkeys(SHARES, 1)
    for values in (lowest, highest):
        config = LearnerConfig(**values)
        assert {name: getattr(config, name) for name in values} == values


def test_configs_cannot_change_and_take_no_unknown_field() -> None:
    with pytest.raises(FrozenInstanceError):
        LearnerConfig().discount = 0.5  # type: ignore[misc]
    with pytest.raises(TypeError, match="gamma"):
        LearnerConfig(gamma=0.9)  # type: ignore[call-arg]


# --- Presets ---


def test_the_paper_preset_holds_its_table() -> None:
    paper = LearnerConfig.preset("paper")
    assert (paper.critic_learning_rate, paper.actor_learning_rate) == (1e-4, 1e-5)
    assert (paper.discount, paper.batch_size, paper.hidden_sizes, paper.cql_alpha) == (
        0.99,
        256,
        (256, 256),
        1,
    )
    assert (paper.n_critics, paper.target_rate, paper.target_period) == (1, 1, 100)
    assert (paper.automatic_temperature, paper.initial_temperature, paper.soft_backup) == (
        False,
        1,
        False,
    )
    assert (paper.reward_scale, paper.normalise_observations, paper.epsilon_final) == (
        1,
        False,
        0.05,
    )


def test_presets_are_named_and_overridden() -> None:
    assert sorted(PRESETS) == ["paper", "tuned"]
    assert LearnerConfig.preset() == LearnerConfig.preset("tuned") == LearnerConfig()
    overridden = LearnerConfig.preset("paper", n_critics=2, paradigm="i")
    assert (overridden.n_critics, overridden.paradigm, overridden.target_period) == (2, "i", 100)
    with pytest.raises(
        ValueError,
        match=r"unknown preset 'papers' \(did you mean 'paper'\?\); allowed: tuned, paper",
    ):
        LearnerConfig.preset("papers")


# --- Through JSON ---

configs = st.builds(
    LearnerConfig,
    paradigm=st.sampled_from(["c", "i", "ctde"]),
    algorithm=st.sampled_from(get_args(Algorithm)),
    hidden_sizes=st.lists(st.integers(1, 300), max_size=3).map(tuple)
    | st.lists(st.integers(1, 300), max_size=3),
    cql_alpha=st.floats(0, 100),
    discount=st.floats(1e-30, 1),
    n_critics=st.integers(1, 5),
    double_q=st.booleans(),
    td_loss=st.sampled_from(["half_squared", "huber"]),
)


@given(configs)
def test_configs_survive_json(config: LearnerConfig) -> None:
    assert LearnerConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert isinstance(config.hidden_sizes, tuple)


def test_numbers_of_numpy_survive_json_too() -> None:
    config = LearnerConfig(
        batch_size=np.int64(8),  # type: ignore[arg-type]
        hidden_sizes=(np.int32(4),),  # type: ignore[arg-type]
        discount=np.float64(0.5),
    )
    assert config == LearnerConfig(batch_size=8, hidden_sizes=(4,), discount=0.5)
    assert LearnerConfig.from_dict(json.loads(json.dumps(config.as_dict()))) == config


def test_a_dict_of_some_fields_leaves_the_others_at_their_defaults() -> None:
    assert LearnerConfig.from_dict({}) == LearnerConfig()
    assert LearnerConfig.from_dict({"paradigm": "i", "hidden_sizes": [3]}) == LearnerConfig(
        paradigm="i", hidden_sizes=(3,)
    )
    with pytest.raises(
        ValueError,
        match=r"unknown learner field 'batchsize' \(did you mean 'batch_size'\?\); "
        r"allowed: paradigm, ",
    ):
        LearnerConfig.from_dict({"batchsize": 3})


# --- Names ---


@pytest.mark.parametrize(
    ("changes", "offline", "name"),
    [
        ({"paradigm": "ctde"}, True, "CTDE-MARL-CQL (SAC)"),
        ({"paradigm": "i", "algorithm": "dqn"}, True, "I-MARL-CQL (DQN)"),
        ({"algorithm": "dqn", "cql_alpha": 0}, True, "C-MARL (DQN) offline"),
        ({"algorithm": "dqn", "cql_alpha": 0}, False, "C-MARL (DQN)"),
        ({"algorithm": "dqn"}, False, "C-MARL (DQN)"),
        ({"paradigm": "ctde"}, False, "CTDE-MARL (SAC)"),
        ({"algorithm": "bc"}, True, "C-MARL (BC)"),
        ({"algorithm": "iql", "paradigm": "ctde"}, True, "CTDE-MARL (IQL)"),
        ({"algorithm": "omiga", "paradigm": "i"}, True, "I-MARL (OMIGA)"),
        ({"cloning_weight": 1.0, "cql_alpha": 0}, True, "C-MARL (SAC+BC) offline"),
        ({"cloning_weight": 1.0}, False, "C-MARL (SAC)"),
        ({"cql_reduction": "weighted", "paradigm": "i"}, True, "I-MARL-CFCQL (SAC)"),
        (
            {"algorithm": "dqn", "paradigm": "ctde", "mixing": "monotone"},
            False,
            "CTDE-MARL (QMIX)",
        ),
        ({"algorithm": "bc", "cql_alpha": 0}, True, "C-MARL (BC)"),
    ],
)
def test_schemes_bear_the_papers_names(changes: dict[str, Any], offline: bool, name: str) -> None:
    assert LearnerConfig(**changes).scheme(offline=offline) == name
