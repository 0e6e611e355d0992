"""Networks, environments and evaluations that cannot be made are refused by name."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from baselines import TDM, ProportionalFair
from rrm_env import (
    EVALUATION_SEEDS,
    SILENT,
    DeploymentError,
    Network,
    RRMConfig,
    RRMVectorEnv,
    evaluate,
    parallel_env,
    rrm_v0,
)


@pytest.mark.parametrize(
    "make",
    [
        lambda **given: Network(RRMConfig(), **given),
        lambda **given: RRMVectorEnv(**{"num_envs": 2, **given}),
    ],
)
@pytest.mark.parametrize("name", ["num_envs", "num_threads"])
@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (True, TypeError),
        (2.0, TypeError),
        ("2", TypeError),
        (None, TypeError),
    ],
)
def test_bad_sizes_are_refused(make: Any, name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(
        error, match=f"^{name} must be an integer of at least 1, got {re.escape(repr(value))}"
    ):
        make(**{name: value})


@pytest.mark.parametrize("config", [{}, "paper", 3])
@pytest.mark.parametrize(
    "make",
    [
        Network,
        lambda config: RRMVectorEnv(2, config),
        lambda config: parallel_env(config=config),
        lambda c: evaluate(TDM(), c),
    ],
)
def test_something_else_than_a_configuration_is_refused(make: Any, config: Any) -> None:
    with pytest.raises(
        TypeError, match=f"config must be an RRMConfig, got {re.escape(repr(config))}"
    ):
        make(config)


def test_configuration_together_with_a_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset = 'wide' contradicts config"):
        parallel_env(config=RRMConfig(), preset="wide")


@pytest.mark.parametrize("make", [parallel_env, rrm_v0.raw_env, rrm_v0.env, rrm_v0.joint_env])
@pytest.mark.parametrize(
    ("mode", "hint"),
    [("ansi", ""), ("rgb-array", " (did you mean 'rgb_array'?)"), ("", ""), (0, "")],
)
def test_unknown_render_modes_are_refused(make: Any, mode: Any, hint: str) -> None:
    with pytest.raises(
        ValueError,
        match=re.escape(
            f"unknown render_mode {str(mode)!r}{hint}; allowed: human, rgb_array, or None"
        ),
    ):
        make(render_mode=mode)


@pytest.mark.parametrize("mode", ["human", "ansi"])
def test_vector_environments_have_no_window(mode: str) -> None:
    with pytest.raises(
        ValueError,
        match=f"render_mode of a vector environment must be 'rgb_array' or None, got {mode!r}",
    ):
        rrm_v0.vector_env(2, render_mode=mode)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        (
            {"n_aps": 3, "min_ap_distance_m": 120},
            r"AP [12] farther than min_ap_distance_m = 120 from the [12] before it",
        ),
        (
            {"n_aps": 1, "min_ue_distance_m": 141},
            "UE 0 farther than min_ue_distance_m = 141 from all n_aps = 1 APs",
        ),
    ],
)
def test_deployment_without_a_place_is_given_up_and_leaves_no_episode(
    fields: dict[str, Any], what: str
) -> None:
    config = RRMConfig(**fields)
    message = (
        rf"^no place found for {what} in 10000 draws \(seed SEED, area_side_m = 100\); "
        "allow a smaller distance, fewer APs or a larger"
    )
    for num_envs in (1, 3):
        network = Network(config, num_envs)
        with pytest.raises(DeploymentError, match=message.replace("SEED", "5")):
            network.reset(5)
        with pytest.raises(RuntimeError, match=r"no episode: call reset\(\) first"):
            network.step(np.full((num_envs, config.n_aps), SILENT))
    with pytest.raises(DeploymentError, match=message.replace("SEED", "0")):
        parallel_env(config=config).reset(seed=0)
    with pytest.raises(DeploymentError, match=message.replace("SEED", str(EVALUATION_SEEDS))):
        evaluate(TDM(), config, episodes=1)
    assert issubclass(DeploymentError, ValueError)


def deploys(config: RRMConfig, seed: int) -> bool:
    """Whether this seed finds a deployment."""
    try:
        Network(config).reset(seed)
    except DeploymentError:
        return False
    return True


def test_deployment_error_of_a_later_slot_names_its_seed() -> None:
    config = RRMConfig(n_aps=2, min_ap_distance_m=110, episode_length=1)
    seeds = {deploys(config, seed): seed for seed in range(50)}
    network = Network(config, 2, num_threads=2)
    with pytest.raises(DeploymentError, match=rf"AP 1 .*\(seed {seeds[False]}, "):
        network.reset([seeds[True], seeds[False]])
    network.reset([seeds[True], seeds[True]])
    assert network.t == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"scheduler": 3},
            TypeError,
            r"scheduler must .*reset\(network\).*schedule\(network\), got 3",
        ),
        ({"scheduler": TDM}, TypeError, r"scheduler must .*, got <class"),
        ({"scheduler": "tdm"}, TypeError, "scheduler must .*, got 'tdm'"),
        (
            {"episodes": 0},
            ValueError,
            "episodes must be an integer of at least 1 and at most 4294967296, got 0",
        ),
        ({"episodes": 2.0}, TypeError, "episodes must be .*, got 2.0"),
        ({"episodes": 2**32 + 1}, ValueError, "episodes must be .*, got 4294967297"),
        (
            {"seed": -1},
            ValueError,
            "seed must be an integer of at least 0 and at most 1073741823, got -1",
        ),
        ({"seed": 2**30}, ValueError, "seed must be .*, got 1073741824"),
        ({"seed": None}, TypeError, "seed must be .*, got None"),
        ({"seed": True}, TypeError, "seed must be .*, got True"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ({"num_threads": 0}, ValueError, "num_threads must be an integer of at least 1, got 0"),
    ],
)
def test_bad_arguments_of_evaluate_are_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        evaluate(
            **{
                "scheduler": ProportionalFair(),
                "config": RRMConfig(episode_length=1),
                "episodes": 1,
                **arguments,
            }
        )
