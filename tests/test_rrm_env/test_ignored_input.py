"""Options of `reset`, settings changed later and arguments of commands are never ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test

import baselines.__main__ as command
from rrm_env import RRMConfig, RRMVectorEnv, parallel_env, parse_settings, rrm_v0

CONFIG = RRMConfig(n_aps=2, n_ues=5, n_candidates=2, episode_length=3)
APIS: dict[str, Callable[[], Any]] = {
    "parallel_env": lambda: parallel_env(config=CONFIG),
    "raw_env": lambda: rrm_v0.raw_env(config=CONFIG),
    "env": lambda: rrm_v0.env(config=CONFIG),
    "gymnasium.make": lambda: gymnasium.make(rrm_v0.ENV_ID, config=CONFIG),
    "gymnasium.make_vec": lambda: gymnasium.make_vec(rrm_v0.ENV_ID, num_envs=2, config=CONFIG),
}
PETTINGZOO = ("parallel_env", "raw_env", "env")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ap_position": [[1, 1], [2, 2]]}, ValueError, "unknown option of reset 'ap_position'"),
        ({"ap_positions": [[1, 1]]}, ValueError, r"ap_positions must have shape .*, got \(1, 2\)"),
        ({"association": [0, 1, 2, 0, 1]}, ValueError, r"association\[2\] = 2 is no access point"),
        ({"options": 2}, ValueError, "unknown option of reset 'options'"),
        ({"options": np.ones(2)}, ValueError, "unknown option of reset 'options'"),
        ({"options": 1, "seed": 3}, ValueError, "unknown option of reset '(options|seed)'"),
        ({7: 1}, ValueError, "unknown option of reset '7'"),
        (["options"], TypeError, r"options must be a dict or None, got \['options'\]"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("api", APIS)
def test_unknown_options_of_reset_are_refused_by_name(
    api: str, options: Any, error: type[Exception], message: str
) -> None:
    env = APIS[api]()
    with pytest.raises(error, match=message):
        env.reset(seed=1, options=options)


@pytest.mark.parametrize("api", APIS)
def test_no_options_are_fine(api: str) -> None:
    choices: list[Any] = [None, {}]
    for options in choices:
        APIS[api]().reset(seed=1, options=options)


@pytest.mark.parametrize("api", APIS)
def test_places_are_options_of_reset_for_one_episode(api: str) -> None:
    env = APIS[api]()
    aps, ues = [[10.0, 20.0], [90.0, 80.0]], np.full((5, 2), 30.0)
    association = np.array([0, 1, 0, 1, 1])
    env.reset(
        seed=1, options={"ap_positions": aps, "ue_positions": ues, "association": association}
    )
    network = env.unwrapped.network
    assert (network.ap_positions == aps).all()
    assert (network.ue_positions == ues).all()
    assert (network.association == association).all()
    env.reset(seed=1)
    drawn = APIS[api]()
    drawn.reset(seed=1)
    assert np.array_equal(network.gain, drawn.unwrapped.network.gain)


def test_an_automatic_reset_starts_from_the_configuration_again() -> None:
    env = RRMVectorEnv(2, CONFIG)
    env.reset(seed=1, options={"ue_positions": np.full((5, 2), 30.0)})
    for _ in range(CONFIG.episode_length):
        assert np.ptp(env.network.ue_positions, axis=1).max() < 1
        env.step(np.zeros((2, 2), int))
    assert np.ptp(env.network.ue_positions, axis=1).max() > 1


@pytest.mark.parametrize("api", PETTINGZOO)
def test_what_pettingzoo_s_tests_pass_is_let_through(api: str) -> None:
    APIS[api]().reset(seed=1, options={"options": 1})
    if api == "parallel_env":
        parallel_api_test(APIS[api](), num_cycles=5)
    else:
        api_test(APIS[api](), num_cycles=5)


@pytest.mark.parametrize("api", ["gymnasium.make", "gymnasium.make_vec"])
def test_what_pettingzoo_s_tests_pass_is_unknown_to_gymnasium_s_apis(api: str) -> None:
    with pytest.raises(ValueError, match="unknown option of reset 'options'"):
        APIS[api]().reset(options={"options": 1})


def test_a_misspelt_reset_mask_and_one_of_another_size_are_refused() -> None:
    env = RRMVectorEnv(2, CONFIG)
    with pytest.raises(ValueError, match=r"'reset_masks' \(did you mean 'reset_mask'"):
        env.reset(options={"reset_masks": [True, True]})
    with pytest.raises(
        ValueError, match=r"reset_mask.* must have one entry per episode, \(2,\), got \(3,\)"
    ):
        env.reset(options={"reset_mask": [True, True, True]})


@pytest.mark.parametrize("name", ["n_aps", "episode_length", "config", "render_mode", "preset"])
@pytest.mark.parametrize("api", ["parallel_env", "gymnasium.make", "gymnasium.make_vec"])
def test_settings_of_an_environment_that_was_made_cannot_be_changed(api: str, name: str) -> None:
    env = APIS[api]().unwrapped
    with pytest.raises(AttributeError, match=f"{name} cannot be changed to 8: settings are fixed"):
        setattr(env, name, 8)
    assert env.config == CONFIG


def test_a_preset_beside_a_config_is_refused_also_if_it_is_the_default_one() -> None:
    with pytest.raises(ValueError, match="preset = 'paper' contradicts config"):
        parallel_env(config=CONFIG, preset="paper")


# --- The command ---


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--watch", "tdm", "--episodes", "5"],
            "--episodes belongs to the comparison and does not go with --watch",
        ),
        (
            ["--watch", "tdm", "--threads", "2"],
            "--threads belongs to the comparison and does not go with --watch",
        ),
        (["--watch", ""], "unknown scheduler ''"),
        (["--schedulers", ""], "unknown scheduler ''"),
        (["--schedulers", "tdm,greedy,tdm"], "--schedulers names tdm twice"),
        (["--schedulers", "itlinq:exponent=0:exponent=1"], "exponent of itlinq is given twice"),
        (["--set", "n_aps=2", "n_aps=3"], "n_aps is given twice"),
        (["--set", "n_aps=2", "--set", "n_aps=3"], "n_aps is given twice"),
        (["--json", ""], "--json must be a file"),
        (["--plot", ""], "--plot must be a file"),
        (["--info", "--json", "a.json"], "--json does not go with --info"),
        (["--info", "--watch", "tdm"], "--watch does not go with --info"),
    ],
)
def test_arguments_without_an_effect_are_refused(
    arguments: list[str], message: str, refused: Callable[[list[str], str], None]
) -> None:
    refused(arguments, message)


def test_fields_of_several_set_arguments_all_count(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    sets = ["--set", "n_aps=2", "--set", "n_ues=6", "--set", "episode_length=2"]
    assert command.main(["--schedulers", "tdm", "--episodes", "1", "--json", str(path), *sets]) == 0
    assert '"n_aps": 2' in path.read_text()
    assert '"n_ues": 6' in path.read_text()


def test_a_field_that_is_set_twice_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="n_ues is given twice"):
        parse_settings(["n_ues=6", "n_aps=1", "n_ues=6"])
