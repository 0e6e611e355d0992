"""Editors, `help` and type checkers know every keyword argument that describes a network.

mypy checks this file with ``warn_unused_ignores``: if it no longer saw the types, the comments that
expect an error would be errors themselves.
"""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest

from rrm_env import RRMConfig, env, parallel_env, raw_env
from rrm_env.arguments import NetworkArguments, config_of
from rrm_env.keywords import ConfigFields
from rrm_env.rrm_v0 import joint_env, vector_env

FACTORIES = [parallel_env, env, raw_env, joint_env, vector_env]


def test_type_checkers_accept_correct_calls() -> None:
    assert RRMConfig(n_aps=2, area_side_m=50, fading="none", score_sum_weight=None).n_aps == 2
    assert RRMConfig.preset("wide", csi_delay=0).csi_delay == 0
    assert parallel_env(preset="wide", n_aps=3, rate_ema=0.1).config.n_aps == 3
    assert parallel_env(None, config=RRMConfig(), max_cycles=5).config.episode_length == 5
    assert joint_env(n_aps=2, flat_actions=True).config.n_aps == 2
    assert vector_env(2, n_aps=2, num_threads=1).config.n_aps == 2
    assert env(n_ues=3).unwrapped.config.n_ues == raw_env(n_ues=3).unwrapped.config.n_ues == 3


def test_type_checkers_refuse_wrong_types() -> None:
    with pytest.raises(TypeError, match="n_aps must be an integer"):
        RRMConfig(n_aps="4")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="area_side_m must be a finite number"):
        RRMConfig.preset("wide", area_side_m="large")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="n_aps must be an integer"):
        parallel_env(n_aps="4")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="n_ues must be an integer"):
        env(n_ues="4")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="n_ues must be an integer"):
        raw_env(n_ues=4.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="n_ues must be an integer"):
        joint_env(n_ues=None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown fading"):
        vector_env(2, fading=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="config must be an RRMConfig"):
        parallel_env(config="wide")  # type: ignore[arg-type]


def test_type_checkers_refuse_unknown_names_and_errors_suggest_the_nearest() -> None:
    suggestion = r"unknown config field 'n_ap' \(did you mean 'n_aps'\?\); allowed: n_aps, n_ues, "
    with pytest.raises(TypeError, match=suggestion):
        RRMConfig(n_ap=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=suggestion):
        RRMConfig.preset("wide", n_ap=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=suggestion):
        parallel_env(n_ap=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=suggestion):
        env(n_ap=4)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=suggestion):
        replace(RRMConfig(), n_ap=4)  # type: ignore[call-arg]


def test_types_of_keyword_arguments_are_those_of_the_fields() -> None:
    expected = {item.name: get_type_hints(RRMConfig)[item.name] for item in fields(RRMConfig)}
    assert get_type_hints(ConfigFields) == expected
    assert [*get_type_hints(ConfigFields)] == [*expected]


def test_signature_of_the_configuration_shows_types_and_defaults() -> None:
    shown = inspect.signature(RRMConfig).parameters
    hints = get_type_hints(RRMConfig)
    assert {name: (p.annotation, p.default, p.kind) for name, p in shown.items()} == {
        item.name: (hints[item.name], item.default, inspect.Parameter.KEYWORD_ONLY)
        for item in fields(RRMConfig)
    }


@pytest.mark.parametrize("factory", FACTORIES)
def test_signature_of_factories_shows_all_fields_and_what_else_they_take(
    factory: Callable[..., Any],
) -> None:
    shown = inspect.signature(factory).parameters
    of_config = inspect.signature(RRMConfig).parameters
    assert {name: shown[name] for name in of_config} == of_config
    assert {*shown} - {*of_config} >= {"render_mode", "config", "preset", "max_cycles"}
    assert all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in shown.values())


@pytest.mark.parametrize("factory", [RRMConfig, *FACTORIES])
def test_help_shows_fields_with_types_and_defaults(factory: Callable[..., Any]) -> None:
    text = pydoc.plain(pydoc.render_doc(factory))
    assert "n_aps: int = 4" in text
    assert "fading: str = 'iid'" in text
    assert "score_sum_weight: float | None = None" in text


def test_keyword_arguments_of_a_call_are_those_of_config_of() -> None:
    own = {*inspect.signature(config_of).parameters} - {"overrides"}
    assert own == {*get_type_hints(NetworkArguments)} - {*get_type_hints(ConfigFields)}
