"""Normalised scores: 0 is a random walk, 100 the optimum or the best that is known.

The references of a network are mean scores over its evaluation episodes of seed 0, kept in
``references.json``, which ``examples/paper/references.py`` writes. They have a version, which rises
when a value changes, so state it with normalised scores. Where the optimum of the very episodes
that were evaluated is wanted, `baselines.scale.ScoreScale` computes it (``--optimum``).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.checks import nearest, shown
from rrm_env.config import PRESETS, RRMConfig

OF_THE_PHYSICS = (
    "n_aps",
    "n_ues",
    "episode_length",
    "area_side_m",
    "min_ap_distance_m",
    "min_ue_distance_m",
    "ue_speed_mps",
    "step_duration_s",
    "carrier_hz",
    "tx_power_dbm",
    "noise_psd_dbm_hz",
    "bandwidth_hz",
    "noise_figure_db",
    "path_loss_intercept_db",
    "path_loss_slope_db",
    "wall_loss_db",
    "shadowing_std_db",
    "fading",
    "csi_delay",
    "score_sum_weight",
    "score_tail_weight",
    "power_levels_dbm",
    "propagation",
    "los",
    "ap_height_m",
    "ue_height_m",
    "ap_deployment",
    "inter_site_distance_m",
    "wrap_around",
    "ue_deployment",
    "n_hot_spots",
    "hot_spot_radius_m",
    "hot_spot_share",
    "ap_positions",
    "ue_positions",
    "association",
    "given_association",
    "association_bias_db",
    "trace",
    "trace_checksum",
    "trace_split",
)
"""Fields that change the channel, the powers, the age of reports or the score: they identify the
network to which references belong."""

OF_THE_VIEW = (
    "n_candidates",
    "rate_ema",
    "average",
    "average_prior_steps",
    "min_average_rate",
    "pf_exponent",
    "fairness_exponent",
    "reward",
    "measurements",
    "n_neighbours",
    "turns",
    "clock",
    "messages",
    "message_range",
    "message_bits",
)
"""Fields that change only what is observed, chosen among or paid: references do not depend on
them, so that scores under different views of one network share a scale."""

KPIS = ("score", "minimum_score")
"""The scores that references are known of: Eq. 11, and the same with everybody counted."""


@dataclass(frozen=True)
class Reference:
    """The two ends of the scale of one network."""

    name: str
    """The network: a preset, or a network of the benchmark."""
    network: RRMConfig
    """The network in which the random walk was evaluated."""
    version: int
    """Of the table of references; it rises when a value changes."""
    random_walk: Mapping[str, float]
    """Mean of each of `KPIS` that a random walk reaches: 0 of the scale."""
    random_walk_episodes: int
    """Number of evaluation episodes of seed 0 in that mean."""
    optimum: Mapping[str, float]
    """Mean of each of `KPIS` that can be reached at best: 100 of the scale."""
    optimum_episodes: int
    """Number of evaluation episodes of seed 0 in that mean."""
    is_bound: bool
    """Whether no scheduler exceeds the optimum but by luck; otherwise it is the best known."""
    information: str
    """What the scheduler behind the optimum knows, as for `baselines.optimum.optimum`."""

    @property
    def optimum_name(self) -> str:
        """What tables call the upper end: optimum, or best known where it is not proven."""
        return "optimum" if self.is_bound else "best known"

    @property
    def origin(self) -> str:
        """The network, the version of the table, and the number of episodes, as a text."""
        episodes = f"{self.random_walk_episodes} evaluation episodes"
        if self.optimum_episodes != self.random_walk_episodes:
            episodes += f", of the {self.optimum_name} over {self.optimum_episodes}"
        return (
            f"network {self.name} in version {self.version} of the references, "
            f"means over {episodes}"
        )

    @property
    def note(self) -> str:
        """A sentence under a table that says what its normalised scores refer to."""
        return f"Normalised: random walk = 0, {self.optimum_name} = 100 ({self.origin})."

    def normalised(self, score: Any, kpi: str = "score") -> Any:
        """100 (score - random walk) / (optimum - random walk), as `normalised_score`."""
        if kpi not in KPIS:
            raise ValueError(f"unknown kpi {nearest(str(kpi), KPIS)}")
        values = _numbers(score)
        zero, best = self.random_walk[kpi], self.optimum[kpi]
        found = 100 * (values - zero) / (best - zero)
        return float(found) if found.ndim == 0 else found

    def as_dict(self) -> dict[str, Any]:
        """What results files state of the references, in JSON's types."""
        return {
            "network": self.name,
            "version": self.version,
            "random_walk": dict(self.random_walk),
            "random_walk_episodes": self.random_walk_episodes,
            "optimum": dict(self.optimum),
            "optimum_episodes": self.optimum_episodes,
            "is_bound": self.is_bound,
        }


def normalised_score(score: Any, network: str | RRMConfig, kpi: str = "score") -> Any:
    """A score on the scale of its network: 0 is a random walk, 100 the optimum or the best known.

    100 (score - random walk) / (optimum - random walk), with means over evaluation episodes of
    seed 0 (`reference` says of how many, and whether the optimum is proven). Below 0 and above 100
    are possible: the optimum is one in expectation, and single episodes differ from the mean.

    Args:
        score: a number, or an array of any shape.
        network: the name of a preset or ``"power"``, or a configuration. Fields of the
            configuration that change only what is observed, chosen among or paid have no effect.
        kpi: which score it is: ``"score"`` (Eq. 11), or ``"minimum_score"``, in which everybody
            counts.

    Returns:
        a float, or an array of the shape of ``score``.

    Raises:
        TypeError: ``score`` holds no real numbers, or ``network`` is neither name nor `RRMConfig`.
        ValueError: no references of this network or KPI are known.
    """
    return reference(network).normalised(score, kpi)


def reference(network: str | RRMConfig) -> Reference:
    """The references of a network.

    Raises:
        TypeError: ``network`` is neither a name nor an `RRMConfig`.
        ValueError: none are known; the message names what differs from the most similar network.
    """
    known = references()
    if isinstance(network, str):
        if network not in known:
            raise ValueError(f"no references are known for network {nearest(network, known)}")
        return known[network]
    if not isinstance(network, RRMConfig):
        raise TypeError(f"network must be a name or an RRMConfig, got {shown(network)}")
    differences = {name: _differing(entry.network, network) for name, entry in known.items()}
    closest = min(differences, key=lambda name: len(differences[name]))
    if not differences[closest]:
        return known[closest]
    values = ", ".join(f"{name} = {shown(getattr(network, name))}" for name in differences[closest])
    raise ValueError(
        f"no references are known for this network, which differs from {closest} in {values}; "
        f"known: {', '.join(known)}. For its own scale compute the optimum: --optimum, or "
        "baselines.scale.ScoreScale"
    )


def known_reference(network: RRMConfig) -> Reference | None:
    """The references of a network; None where none are known."""
    try:
        return reference(network)
    except ValueError:
        return None


@functools.cache
def references() -> dict[str, Reference]:
    """All references by the name of their network."""
    text = resources.files("rrm_env").joinpath("references.json").read_text(encoding="utf-8")
    table = json.loads(text)
    return {
        name: Reference(
            name=name,
            network=network_of(name, entry["power_levels_dbm"]),
            version=table["version"],
            random_walk=entry["random_walk"],
            random_walk_episodes=entry["random_walk_episodes"],
            optimum=entry["optimum"],
            optimum_episodes=entry["optimum_episodes"],
            is_bound=entry["is_bound"],
            information=entry["information"],
        )
        for name, entry in table["networks"].items()
    }


def network_of(name: str, power_levels_dbm: Any = None) -> RRMConfig:
    """The network of a preset's name; of any other name ``paper`` with these power levels."""
    if name in PRESETS:
        return RRMConfig.preset(name)
    return RRMConfig(power_levels_dbm=tuple(power_levels_dbm))


def _differing(one: RRMConfig, other: RRMConfig) -> list[str]:
    """The fields of the physics in which two networks differ."""
    first, second = _physics(one), _physics(other)
    return [name for name, value in first.items() if value != second[name]]


def _physics(network: RRMConfig) -> dict[str, Any]:
    """The fields of the physics, in a form that is equal where their meaning is."""
    values = {name: getattr(network, name) for name in OF_THE_PHYSICS}
    if network.sum_weight == 1 / network.n_ues:
        values["score_sum_weight"] = None
    if network.full_power:
        values["power_levels_dbm"] = None
    return values


def _numbers(score: Any) -> NDArray[np.float64]:
    values = np.asarray(score)
    if values.dtype.kind not in "fiu":
        raise TypeError(f"score must be a real number or an array of them, got {shown(score)}")
    return values.astype(np.float64)
