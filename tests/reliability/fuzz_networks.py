"""Draws networks over the whole allowed range of every field and plays an episode of each; needs no learners."""

from __future__ import annotations

import math
from dataclasses import Field, fields
from random import Random
from typing import Any

import numpy as np
from network_checks import CheckError, check_arrays, require

from rrm_env import PRESETS, DeploymentError, Network, RRMConfig, metrics
from rrm_env.joint import joint_observation_space

MOST_LINKS = 200_000
"""Access points times users times reports kept: memory and time of one draw stay small. Each of these reaches its own extremes."""
MOST_FEATURES = 1_000_000
"""Numbers in the observations of all access points."""
MOST_STEPS = 12
_LINKED = ("n_ues", "csi_delay", "n_aps")


def draw_network(rng: Random) -> RRMConfig | str:
    """A configuration, some or all of whose fields are drawn over their whole range; the refusal where values contradict each other."""
    known = {item.name: item for item in fields(RRMConfig)}
    base = RRMConfig(**PRESETS[rng.choice([*PRESETS])]).as_dict()
    names = rng.sample([*known], rng.choice((1, 2, 4, 8, len(known))))
    values = _limited({**base, **{name: draw_value(rng, known[name]) for name in names}})
    if rng.random() < 0.9:  # else most would contradict each other
        values = _reconciled(rng, values)
    try:
        return RRMConfig(**values)
    except ValueError as error:
        return str(error)


def draw_value(rng: Random, item: Field[Any]) -> Any:
    """A value of a field: a word; or a bound, or a number between them, whatever its order of magnitude."""
    if "allowed" in item.metadata:
        return rng.choice(item.metadata["allowed"])
    if item.metadata["none"] and rng.random() < 0.2:
        return None
    low, high = item.metadata["low"], item.metadata["high"]
    smallest = math.nextafter(low, math.inf) if item.metadata["above"] else low
    drawn = rng.choice(
        (
            smallest,
            high,
            rng.uniform(low, high),
            _any_magnitude(rng, low, high),
            _any_magnitude(rng, low, high),
        )
    )
    drawn = min(max(drawn, smallest), high)
    return int(drawn) if item.type == "int" else drawn


def _any_magnitude(rng: Random, low: float, high: float) -> float:
    largest = max(abs(low), abs(high))
    smallest = low if low > 0 else largest * 1e-12
    size = math.exp(rng.uniform(math.log(smallest), math.log(largest)))
    return -size if low < 0 and (high <= 0 or rng.random() < 0.5) else size


def _limited(values: dict[str, Any]) -> dict[str, Any]:
    """With sizes that fit: of those that multiply, the largest gives way."""
    while values["n_aps"] * values["n_ues"] * (values["csi_delay"] + 1) > MOST_LINKS:
        largest = max(_LINKED, key=lambda name: values[name])
        values[largest] //= 2
    while _features(values) > MOST_FEATURES:
        largest = max(("n_aps", "n_candidates"), key=lambda name: values[name])
        values[largest] //= 2
    return values


def _features(values: dict[str, Any]) -> int:
    aps, candidates = values["n_aps"], values["n_candidates"]
    of_candidate = 2 + aps * (values["measurements"] != "none")
    told = {"none": 0, "best": 1, "all": candidates}[values["messages"]]
    return int(aps * of_candidate * (candidates + aps * told))


def _reconciled(rng: Random, values: dict[str, Any]) -> dict[str, Any]:
    """With distances that fit into the square, and with a link budget within what `RRMConfig` allows."""
    side = values["area_side_m"]
    spacing = side / math.sqrt(values["n_aps"])
    values["min_ap_distance_m"] = min(values["min_ap_distance_m"], rng.uniform(0, 0.6) * spacing)
    values["min_ue_distance_m"] = max(
        1e-3, min(values["min_ue_distance_m"], rng.uniform(0, 0.3) * spacing)
    )
    values["ue_speed_mps"] = min(values["ue_speed_mps"], 0.999 * side / values["step_duration_s"])
    if values["fading"] == "jakes":
        values["carrier_hz"] = min(
            values["carrier_hz"],
            2e14 / max(1e-9, values["ue_speed_mps"] * values["step_duration_s"]),
            1e13,
        )
    noise = (
        values["noise_psd_dbm_hz"]
        + 10 * math.log10(values["bandwidth_hz"])
        + values["noise_figure_db"]
    )
    budget = (
        values["tx_power_dbm"] - noise - values["path_loss_intercept_db"] - values["wall_loss_db"]
    )
    nearest = (
        -values["path_loss_slope_db"] * min(0.0, math.log10(values["min_ue_distance_m"]))
        + 7 * values["shadowing_std_db"]
    )
    wanted = min(max(budget, -150), 150, 330 - nearest)
    values["tx_power_dbm"] = min(max(values["tx_power_dbm"] + wanted - budget, -100), 100)
    return values


def play(config: RRMConfig, seed: int) -> None:
    """Play some steps of two episodes with random legal actions.

    Raises:
        CheckError: something is not as it must be.
        DeploymentError: no place was found for an access point or a user.
    """
    network, generator = Network(config, 2), np.random.default_rng(seed)
    space = joint_observation_space(network)
    network.reset(seed % 2**62)
    check_arrays(network)
    for _ in range(min(config.episode_length, MOST_STEPS)):
        keys = generator.random(network.action_mask.shape) * network.action_mask
        rates, reward = network.step_actions(keys.argmax(-1))
        require(
            np.isfinite(rates).all() and (rates >= 0).all(),
            f"rates from {rates.min():g} to {rates.max():g}",
        )
        require(
            np.isfinite(reward).all() and (config.reward == "utility" or (reward >= 0).all()),
            f"rewards {reward.tolist()}",
        )
        require(
            all(space.contains(observation) for observation in network.observation),
            "an observation is outside the space",
        )
        check_arrays(network)
    means = network.ue_rate_sum / network.t
    kpis = {
        "sum rate": metrics.sum_rate(means),
        "tail rate": metrics.tail_rate(means),
        "score": metrics.score(means, config.sum_weight, config.score_tail_weight),
        "fairness": metrics.fairness(means),
    }
    for name, values in kpis.items():
        require(np.isfinite(values).all() and (values >= 0).all(), f"{name} = {values}")


def judge_network(rng: Random) -> tuple[str, str]:
    """What came of a drawn network."""
    config = draw_network(rng)
    if isinstance(config, str):
        return (
            "refused" if any(item.name in config for item in fields(RRMConfig)) else "finding"
        ), config
    try:
        play(config, rng.getrandbits(62))
    except DeploymentError as error:
        return ("refused" if "distance" in str(error) else "finding"), str(error)
    except CheckError as error:
        return "finding", f"{error}: {config}"
    return "fine", ""
