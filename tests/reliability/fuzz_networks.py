"""Hypothesis strategy for networks over the whole range of every field, and episodes of them.

Needs no learners.
"""

from __future__ import annotations

import math
from dataclasses import Field, fields
from typing import Any

import numpy as np
from hypothesis import strategies as st
from network_checks import check_arrays, require

from rrm_env import PRESETS, DeploymentError, Network, RRMConfig, metrics
from rrm_env.joint import joint_observation_space

MOST_LINKS = 200_000
"""Access points times users times reports kept, so that memory and time of one network stay small.

Each of these numbers still reaches its own extremes.
"""
MOST_FEATURES = 1_000_000
"""Numbers in the observations of all access points."""
MOST_STEPS = 12
_FIELDS = {item.name: item for item in fields(RRMConfig)}


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[str, Any], int]:
    """Fields of a configuration, some or all of them from their whole range, and a seed."""
    values = RRMConfig.preset(draw(st.sampled_from([*PRESETS]))).as_dict()
    size = draw(st.sampled_from([1, 2, 4, 8, len(_FIELDS)]))
    names = st.lists(st.sampled_from([*_FIELDS]), min_size=size, max_size=size, unique=True)
    values |= {name: draw(_RANGES[name]) for name in draw(names)}
    _limit(values)
    if draw(st.integers(0, 9)):  # otherwise most values would contradict each other
        _reconcile(values, draw(st.floats(0, 0.6)), draw(st.floats(0, 0.3)))
        below = draw(st.sampled_from([None, (0.0,), (-1.0, 0.0), (-90.0, -3.0, -0.1)]))
        full = values["tx_power_dbm"]
        values["power_levels_dbm"] = below and tuple(full + db for db in below)
    return values, draw(st.integers(0, 2**62 - 1))


def _range(item: Field[Any]) -> st.SearchStrategy[Any]:
    """A word; or a bound, or a number between the bounds, of any order of magnitude."""
    if "allowed" in item.metadata:
        return st.sampled_from(item.metadata["allowed"])
    if "text" in item.metadata or "dimensions" in item.metadata:
        return st.none()  # files, and arrays whose shapes depend on other fields
    low, high = item.metadata["low"], item.metadata["high"]
    smallest = math.nextafter(low, math.inf) if item.metadata["above"] else low
    largest = max(abs(low), abs(high))
    sizes = st.floats(math.log(low if low > 0 else largest * 1e-12), math.log(largest))
    magnitudes = sizes.map(math.exp)
    if low < 0:
        magnitudes = magnitudes.map(lambda size: -size) | magnitudes
    numbers = st.one_of(
        st.sampled_from([smallest, high]), st.floats(float(low), float(high)), magnitudes
    ).map(lambda number: min(max(number, smallest), high))
    if item.type == "int":
        numbers = numbers.map(int)
    return st.none() | numbers if item.metadata["none"] else numbers


_RANGES = {name: _range(item) for name, item in _FIELDS.items()}


def _limit(values: dict[str, Any]) -> None:
    """Halve the largest of the sizes that multiply until they fit."""
    while values["n_aps"] * values["n_ues"] * (values["csi_delay"] + 1) > MOST_LINKS:
        values[max(("n_ues", "csi_delay", "n_aps"), key=values.__getitem__)] //= 2
    while _features(values) > MOST_FEATURES:
        values[max(("n_aps", "n_candidates"), key=values.__getitem__)] //= 2


def _features(values: dict[str, Any]) -> int:
    aps, candidates, near = values["n_aps"], values["n_candidates"], values["n_neighbours"]
    gains = {"none": 0, "large_scale": aps, "neighbours": near + 2}[values["measurements"]]
    received = {"none": 0, "best": 1, "all": candidates}[values["messages"]]
    senders = {"all": aps, "neighbours": near}[values["message_range"]]
    return int(aps * (2 + gains) * (candidates + senders * received))


def _reconcile(values: dict[str, Any], ap_share: float, ue_share: float) -> None:
    """Make distances fit into the square, and the link budget into what `RRMConfig` allows."""
    side = values["area_side_m"]
    spacing = side / math.sqrt(values["n_aps"])
    values["min_ap_distance_m"] = min(values["min_ap_distance_m"], ap_share * spacing)
    values["min_ue_distance_m"] = max(1e-3, min(values["min_ue_distance_m"], ue_share * spacing))
    values["ue_speed_mps"] = min(values["ue_speed_mps"], 0.999 * side / values["step_duration_s"])
    if values["fading"] == "jakes":
        walked = max(1e-9, values["ue_speed_mps"] * values["step_duration_s"])
        values["carrier_hz"] = min(values["carrier_hz"], 2e14 / walked, 1e13)
    _reconcile_places(values)
    bandwidth_db = 10 * math.log10(values["bandwidth_hz"])
    noise = values["noise_psd_dbm_hz"] + bandwidth_db + values["noise_figure_db"]
    losses = values["path_loss_intercept_db"] + values["wall_loss_db"]
    budget = values["tx_power_dbm"] - noise - losses
    slope = values["path_loss_slope_db"] * min(0.0, math.log10(values["min_ue_distance_m"]))
    nearest = 7 * values["shadowing_std_db"] - slope
    wanted = min(max(budget, -150), 150, 330 - nearest)
    values["tx_power_dbm"] = min(max(values["tx_power_dbm"] + wanted - budget, -100), 100)


def _reconcile_places(values: dict[str, Any]) -> None:
    """Make fields of propagation, deployment and association fit each other."""
    values |= {"association": "rsrp", "inter_site_distance_m": None}
    values |= {"ap_height_m": None, "ue_height_m": None}
    if values["fading"] == "trace":
        values["fading"] = "none"
    if values["propagation"] == "log_distance":
        values["los"] = "drawn"
    else:
        law = ("path_loss_intercept_db", "path_loss_slope_db", "wall_loss_db", "shadowing_std_db")
        values |= {name: _FIELDS[name].default for name in law}
        values["carrier_hz"] = min(max(values["carrier_hz"], 0.5e9), 100e9)
    if values["ap_deployment"] == "hexagonal":
        rings = 0
        while 3 * (rings + 1) * (rings + 2) + 1 <= values["n_aps"]:
            rings += 1
        values["n_aps"] = 3 * rings * (rings + 1) + 1
        distance = values["area_side_m"] / (2 * rings + 2)
        values["min_ap_distance_m"] = min(values["min_ap_distance_m"], 0.9 * distance)
        values["min_ue_distance_m"] = max(1e-3, min(values["min_ue_distance_m"], distance / 3))
        slowest = 0.9 * distance / values["step_duration_s"]
        values["ue_speed_mps"] = min(values["ue_speed_mps"], slowest)


def judge_network(case: tuple[dict[str, Any], int]) -> str:
    """Play some steps of two episodes with random legal actions.

    Returns:
        "fine", or "refused" where an error names the values that contradict each other.

    Raises:
        AssertionError: something is not as it must be.
    """
    values, seed = case
    try:
        config = RRMConfig(**values)
    except ValueError as error:
        require(any(name in str(error) for name in _FIELDS), f"no field is named: {error}")
        return "refused"
    try:
        _play(config, seed)
    except DeploymentError as error:
        require("distance" in str(error), f"no distance is named: {error}")
        return "refused"
    return "fine"


def _play(config: RRMConfig, seed: int) -> None:
    network, generator = Network(config, 2), np.random.default_rng(seed)
    space = joint_observation_space(network)
    network.reset(seed)
    check_arrays(network)
    for _ in range(min(config.episode_length, MOST_STEPS)):
        keys = generator.random(network.action_mask.shape) * network.action_mask
        rates, reward = network.step_actions(keys.argmax(-1))
        possible = np.isfinite(rates).all() and (rates >= 0).all()
        require(possible, f"rates from {rates.min():g} to {rates.max():g}")
        lowest = -np.inf if config.reward == "utility" else 0
        possible = np.isfinite(reward).all() and (reward >= lowest).all()
        require(possible, f"rewards {reward.tolist()}")
        contained = all(space.contains(observation) for observation in network.observation)
        require(contained, "an observation is outside the space")
        check_arrays(network)
    means = network.ue_rate_sum / network.t
    kpis = {
        "sum rate": metrics.sum_rate(means),
        "tail rate": metrics.tail_rate(means),
        "score": metrics.score(means, config.sum_weight, config.score_tail_weight),
        "fairness": metrics.fairness(means),
    }
    for name, kpi in kpis.items():
        require(np.isfinite(kpi).all() and (kpi >= 0).all(), f"{name} = {kpi}")
