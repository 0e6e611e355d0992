"""A little of everything numba compiles, at sizes that pure Python manages in seconds.

``python modes_smoke.py FILE`` saves the results; `test_numba_modes` runs it in numba's debug modes.
"""

from __future__ import annotations

import itertools
import sys
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from baselines import REGISTRY, ergodic_rate
from baselines.ergodic import rates_of_set, rates_of_sets
from baselines.registry import parse_scheduler
from rrm_env import SILENT, Network, RRMConfig, evaluate

SIZES: dict[str, dict[str, Any]] = {
    "crowded": {"n_aps": 2, "n_ues": 5, "n_candidates": 2},
    "empty_aps": {"n_aps": 5, "n_ues": 2, "n_candidates": 3},
}

PLACES: dict[str, dict[str, Any]] = {
    "office": {"propagation": "inh_office", "ue_deployment": "hot_spots", "n_aps": 3},
    "wrapped square": {"propagation": "umi", "wrap_around": "torus", "n_aps": 3},
    "wrapped grid": {
        "propagation": "uma",
        "wrap_around": "torus",
        "ap_deployment": "hexagonal",
        "n_aps": 7,
    },
}


def results() -> dict[str, NDArray[Any]]:
    """Rates, observations, candidates and more of short episodes, by name."""
    found: dict[str, NDArray[Any]] = {}
    for (size, fields), fading, csi_delay in itertools.product(
        SIZES.items(), ("iid", "jakes", "none"), (0, 2)
    ):
        config = RRMConfig.preset(
            "correlated", **fields, fading=fading, csi_delay=csi_delay, episode_length=3
        )
        for name, array in _episodes(config).items():
            found[f"{size}/{fading}/{csi_delay}/{name}"] = array
    for place, fields in PLACES.items():
        config = RRMConfig(**fields, n_ues=4, episode_length=3, ue_speed_mps=50.0)
        for name, array in _episodes(config).items():
            found[f"{place}/{name}"] = array
    levels = RRMConfig(n_aps=3, n_ues=6, episode_length=3, power_levels_dbm=(0.0, 10.0))
    for name, array in _episodes(levels).items():
        found[f"levels/{name}"] = array
    for name in ("max_weight", "wmmse:power=levels", "fplinq:power=levels"):
        found[f"levels/{name}"] = evaluate(parse_scheduler(name), levels, episodes=2).ue_rates
    for size, fields in SIZES.items():
        config = RRMConfig(**fields, episode_length=4)
        for name, baseline in REGISTRY.items():
            found[f"{size}/{name}"] = evaluate(
                baseline(), config, episodes=3, batch_size=2
            ).ue_rates
        network = Network(config, num_envs=2)
        network.reset(0)
        gain, association = network.large_scale_gain, network.association
        found[f"{size}/ergodic_rate"] = ergodic_rate(gain, gain[..., None])
        found[f"{size}/rates_of_sets"] = rates_of_sets(gain, association)
        found[f"{size}/rates_of_set"] = rates_of_set(gain, association, gain[:, :, 0] > 1)
    return found


def _episodes(config: RRMConfig) -> dict[str, NDArray[Any]]:
    """Two episodes in two slots, by `step_actions` and `step`, then the next first channel."""
    network = Network(config, num_envs=2)
    rates: list[tuple[NDArray[Any], NDArray[Any]]] = []
    network.reset([7, 2**62])
    while not network.done:
        if network.t == 1:
            served = np.array(
                [[row[0] if len(row) else SILENT for row in _own(network, b)] for b in range(2)]
            )
            rates.append(network.step(served))
        else:
            rates.append(
                network.step_actions(np.full((2, config.n_aps), network.t % config.n_actions))
            )
    found: dict[str, NDArray[Any]] = {
        "rates": np.stack([rate for rate, _ in rates]),
        "rewards": np.stack([reward for _, reward in rates]),
        "observation": network.observation.copy(),
        "candidates": network.candidates.copy(),
        "action_mask": network.action_mask.copy(),
        "ue_positions": network.ue_positions.copy(),
        "ue_rate_sum": network.ue_rate_sum.copy(),
        "silent_steps": network.silent_steps.copy(),
        "uniform": network.uniform(3, stream=1),
    }
    network.reset()
    return {**found, "next_gain": network.gain.copy(), "next_seeds": network.seeds.copy()}


def _own(network: Network, b: int) -> list[NDArray[Any]]:
    return [np.flatnonzero(network.association[b] == i) for i in range(network.config.n_aps)]


@numba.njit
def _element(array: NDArray[Any], index: int) -> Any:
    return array[index]


def bounds_are_checked() -> bool:
    """Whether compiled code notices an index out of bounds, or reads what lies behind the array."""
    try:
        _element(np.zeros(8)[:4], 5)
    except IndexError:
        return True
    return False


if __name__ == "__main__":
    modes: dict[str, Any] = {
        "jit_disabled": np.array(isinstance(_element, FunctionType)),
        "bounds_checked": np.array(bounds_are_checked()),
    }
    np.savez(sys.argv[1], **{**modes, **results()})
