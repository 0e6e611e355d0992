"""Hypothesis strategies for configurations and seeds, and the random policies that drive them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from rrm_env import Network, RRMConfig
from rrm_env.config import (
    CLOCKS,
    LINE_OF_SIGHT,
    MEASUREMENTS,
    MESSAGES,
    PROPAGATION_MODELS,
    SENDERS,
    TURNS,
    WRAP_AROUND,
)

BATCH = 8
"""The largest batch that may start from one of `seeds`."""
OBSERVING: dict[str, st.SearchStrategy[Any]] = {
    "measurements": st.sampled_from(MEASUREMENTS),
    "n_neighbours": st.sampled_from([1, 2, 3, 8]),
    "turns": st.sampled_from(TURNS),
    "clock": st.sampled_from(CLOCKS),
    "messages": st.sampled_from(MESSAGES),
    "message_range": st.sampled_from(SENDERS),
    "message_bits": st.sampled_from([1, 2, 5, 16]),
}
"""The options of observations, all of which `configs` leaves off unless it is given these."""
seeds = st.sampled_from([0, 2**63 - BATCH]) | st.integers(0, 2**63 - BATCH)


@st.composite
def configs(draw: st.DrawFn, /, **fixed: Any) -> RRMConfig:
    """Random configurations, single fields `fixed`, to a value or to a strategy.

    Most fields take one of a few telling values: ranges would be explored mostly at their ends.

    Distances are such that rejection sampling is quick: discs of diameter d0 around the APs cover
    under 30 % of the square, and so do discs of radius d1. Users move up to 5 m a step, which is
    the side of the smallest square.
    """

    def choose(name: str, strategy: st.SearchStrategy[Any]) -> Any:
        given_value = fixed.get(name, strategy)
        return draw(given_value) if isinstance(given_value, st.SearchStrategy) else given_value

    values: dict[str, Any] = {
        "n_aps": choose("n_aps", st.sampled_from([1, 2, 3, 4, 5, 6])),
        "n_ues": choose("n_ues", st.sampled_from([1, 2, 5, 9, 14, 20, 27, 40])),
        "n_candidates": choose("n_candidates", st.sampled_from([1, 2, 3, 4, 5])),
        "episode_length": choose("episode_length", st.sampled_from([1, 2, 7, 12, 25, 50])),
        "area_side_m": choose("area_side_m", st.sampled_from([5.0, 30.0, 100.0, 500.0])),
        "step_duration_s": choose("step_duration_s", st.sampled_from([0.001, 0.01, 0.05, 0.1])),
        "ue_speed_mps": choose("ue_speed_mps", st.sampled_from([0.0, 0.3, 1.0, 9.0, 50.0])),
        "tx_power_dbm": choose("tx_power_dbm", st.sampled_from([-40.0, 0.0, 10.0, 40.0])),
        "shadowing_std_db": choose("shadowing_std_db", st.sampled_from([0.0, 4.0, 7.0, 12.0])),
        "path_loss_slope_db": choose("path_loss_slope_db", st.sampled_from([20.0, 37.6, 50.0])),
        "fading": choose("fading", st.sampled_from(["iid", "jakes", "none"])),
        "csi_delay": choose("csi_delay", st.sampled_from([0, 1, 2, 3])),
        "rate_ema": choose("rate_ema", st.sampled_from([0.001, 0.05, 0.25, 1.0])),
        "average": choose("average", st.sampled_from(["ema", "episode"])),
        "average_prior_steps": choose("average_prior_steps", st.sampled_from([0.1, 1.0, 20.0])),
        "min_average_rate": choose("min_average_rate", st.sampled_from([1e-4, 0.01, 0.1])),
        "pf_exponent": choose("pf_exponent", st.sampled_from([0.0, 1.0, 4.0])),
        "fairness_exponent": choose("fairness_exponent", st.sampled_from([0.0, 0.8, 1.0, 2.0])),
        "measurements": choose("measurements", st.just("none")),
        "n_neighbours": choose("n_neighbours", st.just(8)),
        "turns": choose("turns", st.just("none")),
        "clock": choose("clock", st.just("none")),
        "messages": choose("messages", st.just("none")),
        "message_range": choose("message_range", st.just("all")),
        "message_bits": choose("message_bits", st.just(16)),
    }
    spacing = values["area_side_m"] / math.sqrt(values["n_aps"])
    values["min_ap_distance_m"] = choose(
        "min_ap_distance_m", st.sampled_from([0.0, 0.2 * spacing, 0.6 * spacing])
    )
    values["min_ue_distance_m"] = choose(
        "min_ue_distance_m", st.sampled_from([0.01, 0.1 * spacing, 0.3 * spacing])
    )
    return RRMConfig(
        **{**values, **{name: value for name, value in fixed.items() if name not in values}}
    )


@st.composite
def placed_configs(draw: st.DrawFn, /, **fixed: Any) -> RRMConfig:
    """Random configurations whose places or gains are others than the kernels' own."""
    propagation = draw(fixed.pop("propagation", st.sampled_from(PROPAGATION_MODELS)))
    wrap_around = draw(fixed.pop("wrap_around", st.sampled_from(WRAP_AROUND)))
    hexagonal = draw(fixed.pop("hexagonal", st.booleans()))
    has_spots = draw(st.booleans())
    side = draw(st.sampled_from([30.0, 100.0, 500.0, 2000.0]))
    fields: dict[str, Any] = {
        "propagation": propagation,
        "wrap_around": wrap_around,
        "ap_deployment": "hexagonal" if hexagonal else "uniform",
        "ue_deployment": "hot_spots" if has_spots else "uniform",
        "area_side_m": side,
        "n_hot_spots": draw(st.sampled_from([1, 2, 3])),
        "hot_spot_radius_m": side * draw(st.sampled_from([0.03, 0.2])),
        "hot_spot_share": draw(st.sampled_from([0.0, 0.5, 1.0])),
        "n_aps": st.sampled_from([1, 7] if hexagonal and wrap_around == "torus" else [1, 2, 4, 7]),
    }
    if hexagonal:
        fields["min_ap_distance_m"] = 0.0
    if propagation != "log_distance":
        fields |= {
            "path_loss_slope_db": 37.6,
            "shadowing_std_db": st.sampled_from([0.0, 7.0]),
            "carrier_hz": draw(st.sampled_from([0.7e9, 2.4e9, 28e9])),
            "los": draw(st.sampled_from(LINE_OF_SIGHT)),
            "ap_height_m": draw(st.sampled_from([None, 6.0])),
            "ue_height_m": draw(st.sampled_from([None, 2.0])),
        }
    return draw(configs(**{**fields, **fixed}))


def replaced(config: RRMConfig, **fields: Any) -> RRMConfig:
    """A configuration with other values of some fields."""
    return RRMConfig(**{**config.as_dict(), **fields})


def random_service(network: Network, generator: np.random.Generator) -> NDArray[np.int64]:
    """(B, I) for each AP silence or one of its UEs, candidate or not."""
    served = np.full((network.num_envs, network.config.n_aps), -1, np.int64)
    for b, i in np.ndindex(*served.shape):
        served[b, i] = generator.choice([-1, *np.flatnonzero(network.association[b] == i)])
    return served


def random_actions(network: Network, generator: np.random.Generator) -> NDArray[np.int64]:
    """(B, I) actions, legal or masked."""
    return generator.integers(
        network.config.n_actions, size=(network.num_envs, network.config.n_aps)
    )


def reset_network(config: RRMConfig, seed: int, num_envs: int = 1, num_threads: int = 1) -> Network:
    """A network at the start of the episodes `seed`, `seed` + 1, ..."""
    network = Network(config, num_envs, num_threads)
    network.reset(seed)
    return network
