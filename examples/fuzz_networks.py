"""Draws networks over the whole allowed range of every field and plays an episode of each; needs no learners."""

from __future__ import annotations

import math
from dataclasses import Field, fields
from random import Random
from typing import Any

import numpy as np

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
    drawn = rng.choice((smallest, high, rng.uniform(low, high), _any_magnitude(rng, low, high), _any_magnitude(rng, low, high)))
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
    values["min_ue_distance_m"] = max(1e-3, min(values["min_ue_distance_m"], rng.uniform(0, 0.3) * spacing))
    values["ue_speed_mps"] = min(values["ue_speed_mps"], 0.999 * side / values["step_duration_s"])
    if values["fading"] == "jakes":
        values["carrier_hz"] = min(values["carrier_hz"], 2e14 / max(1e-9, values["ue_speed_mps"] * values["step_duration_s"]), 1e13)
    noise = values["noise_psd_dbm_hz"] + 10 * math.log10(values["bandwidth_hz"]) + values["noise_figure_db"]
    budget = values["tx_power_dbm"] - noise - values["path_loss_intercept_db"] - values["wall_loss_db"]
    nearest = -values["path_loss_slope_db"] * min(0.0, math.log10(values["min_ue_distance_m"])) + 7 * values["shadowing_std_db"]
    wanted = min(max(budget, -150), 150, 330 - nearest)
    values["tx_power_dbm"] = min(max(values["tx_power_dbm"] + wanted - budget, -100), 100)
    return values


def play(config: RRMConfig, seed: int) -> str:
    """Play some steps of an episode with random legal actions: what is wrong, or nothing where all is well.

    Raises:
        DeploymentError: no place was found for an access point or a user.
    """
    network, generator = Network(config), np.random.default_rng(seed)
    space = joint_observation_space(network)
    network.reset(seed % 2**62)
    for step in range(min(config.episode_length, MOST_STEPS)):
        if wrong := _wrong_decision(network, space):
            return f"step {step}: {wrong}"
        keys = generator.random(network.action_mask.shape) * network.action_mask
        rates, reward = network.step_actions(keys.argmax(-1))
        if not (np.isfinite(rates).all() and (rates >= 0).all() and np.isfinite(reward).all()):
            return f"step {step}: rates {rates.min():g} to {rates.max():g}, reward {reward[0]:g}"
    if wrong := _wrong_decision(network, space):
        return f"at the end: {wrong}"
    means = network.ue_rate_sum / network.t
    kpis = {
        "sum rate": metrics.sum_rate(means),
        "tail rate": metrics.tail_rate(means),
        "score": metrics.score(means, config.sum_weight, config.score_tail_weight),
        "fairness": metrics.fairness(means),
    }
    return "; ".join(f"{name} = {value}" for name, value in kpis.items() if not np.isfinite(value).all())


def _wrong_decision(network: Network, space: Any) -> str:
    """What an agent would be told that it must not be."""
    if not np.isfinite(network.observation).all() or not space.contains(network.observation[0]):
        return f"observations {network.observation.min():g} to {network.observation.max():g} outside the space"
    mask, candidates = network.action_mask[0], network.candidates[0]
    owners = np.where(candidates >= 0, network.association[0][candidates], np.arange(network.config.n_aps)[:, None])
    if (owners != np.arange(network.config.n_aps)[:, None]).any() or not np.array_equal(mask[:, :-1], candidates >= 0):
        return f"candidates {candidates.tolist()} with masks {mask.tolist()}"[:1000]
    return "" if (mask[:, -1] == 1).all() else "silence is not legal"


def judge_network(rng: Random) -> tuple[str, str]:
    """What came of a drawn network."""
    config = draw_network(rng)
    if isinstance(config, str):
        return "refused", config
    try:
        wrong = play(config, rng.getrandbits(62))
    except DeploymentError as error:
        return "refused", str(error)
    return ("finding", f"{wrong}: {config}") if wrong else ("fine", "")
