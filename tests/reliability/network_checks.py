"""Checks of what must hold for a network in every step."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from rrm_env import Network

PUBLIC_ARRAYS = tuple(
    name
    for name, _ in inspect.getmembers(Network, lambda item: isinstance(item, property))
    if name[0] != "_"
)
"""Public properties of a network; `check_arrays` looks at those that are arrays."""


class CheckError(AssertionError):
    """A network is in a state that it must not be in."""


def require(holds: Any, what: str) -> None:
    """Raise `CheckError` with this message unless the condition holds."""
    if not holds:
        raise CheckError(what)


def check_arrays(network: Network) -> int:
    """Check that all arrays of a network are finite, within their bounds, and agree.

    Returns:
        number of arrays that were checked.

    Raises:
        CheckError: an array is wrong.
    """
    config, looked_at = network.config, 0
    where = f"in step {network.t} of the episodes from seed {network.seeds[0]}"
    for name in PUBLIC_ARRAYS:
        array = getattr(network, name)
        if isinstance(array, np.ndarray):
            looked_at += 1
            require(
                array.dtype.kind != "f" or np.isfinite(array).all(), f"{name} is not finite {where}"
            )
    low, high = network.observation_bounds
    require(
        ((network.observation >= low) & (network.observation <= high)).all(),
        f"observation leaves its space {where}",
    )
    for name in ("ap_positions", "ue_positions"):
        position = getattr(network, name)
        require(
            ((position >= 0) & (position <= config.area_side_m)).all(),
            f"{name} leaves the square {where}",
        )
    positive = (
        "gain",
        "large_scale_gain",
        "reported_sinr",
        "reported_rate",
        "pf_ratio",
        "ue_rate_sum",
    )
    for name in positive:
        require((getattr(network, name) >= 0).all(), f"{name} is negative {where}")
    require(
        (network.average_rate >= np.float32(config.min_average_rate)).all(),
        f"average_rate is below its floor {where}",
    )
    candidates, mask = network.candidates, network.action_mask
    legal = np.repeat(candidates >= 0, config.n_power_levels, axis=2)
    require(
        np.array_equal(mask[..., :-1] == 1, legal) and (mask[..., -1] == 1).all(),
        f"masks and candidates differ {where}",
    )
    others = network.neighbours - np.arange(config.n_aps)[:, None]
    near = np.sort(network.neighbours)
    repeated = (near[..., 1:] == near[..., :-1]) & (near[..., 1:] >= 0)
    require(
        (others != 0).all() and not repeated.any() and (near < config.n_aps).all(),
        f"neighbours are not different other access points {where}",
    )
    serving = np.take_along_axis(network.association[:, None, :], np.maximum(candidates, 0), -1)
    foreign = (candidates >= 0) & (serving != np.arange(config.n_aps)[:, None])
    require(not foreign.any(), f"a candidate belongs to another access point {where}")
    return looked_at
