"""Where access points and users may be: rules about fields, grids of hexagons, given positions.

`RRMConfig` calls `check_places`, and `Network.reset` calls `given_at_reset`.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env.checks import shown
from rrm_env.kernels import MAX_DRAWS
from rrm_env.propagation import CARRIERS_HZ, MODELS

if TYPE_CHECKING:
    from rrm_env.config import RRMConfig

Floats = NDArray[np.float64]


class DeploymentError(ValueError):
    """No position could be found for an access point, a hot spot or a user."""


class Given(NamedTuple):
    """Positions and associations that are given; None is drawn.

    They are those of K deployments, of which the seed draws one, or of B episodes where `by_slot`.
    A first dimension of 1 holds for all episodes.
    """

    ap_positions: Floats | None  # (K, I, 2) m
    ue_positions: Floats | None  # (K, J, 2) m
    association: NDArray[np.int32] | None  # (K, J)
    by_slot: tuple[bool, bool, bool] = (False, False, False)

    def or_else(self, other: Given) -> Given:
        """What is given here, and otherwise what the other gives."""
        own = [array is not None for array in self[:3]]
        mine, others = self.by_slot, other.by_slot
        slots = [mine[k] if own[k] else others[k] for k in range(3)]
        return Given(
            self.ap_positions if own[0] else other.ap_positions,
            self.ue_positions if own[1] else other.ue_positions,
            self.association if own[2] else other.association,
            (slots[0], slots[1], slots[2]),
        )


# --- Hexagons ---


def rings_of(n_aps: int) -> int:
    """The rings around the middle that n_aps sites need; 1, 7, 19, 37 sites fill 0 to 3 rings."""
    rings = 0
    while 3 * rings * (rings + 1) + 1 < n_aps:
        rings += 1
    return rings


def extent_of(rings: int) -> float:
    """The side of the smallest square around a cluster of hexagons, over their distance."""
    return max(2 * rings + 1, math.sqrt(3) * rings + 2 / math.sqrt(3))


def site_distance_of(config: RRMConfig) -> float:
    """The distance of neighbouring sites, m: given, or the largest with which all cells fit."""
    largest = config.area_side_m / extent_of(rings_of(config.n_aps))
    return largest if config.inter_site_distance_m is None else config.inter_site_distance_m


def sites(n_aps: int, distance: float) -> Floats:
    """(I, 2) sites of a hexagonal grid around the origin: the middle, then ring by ring, m."""
    angles = np.arange(6) * math.pi / 3
    corners = distance * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = [np.zeros((1, 2))]
    for ring in range(1, rings_of(n_aps) + 1):
        steps = np.arange(ring)[:, None]
        places += [ring * corners[k] + steps * corners[(k + 2) % 6] for k in range(6)]
    return np.concatenate(places)[:n_aps]


def copies_of(rings: int, distance: float) -> Floats:
    """(7, 2) where a cluster of whole rings is, and its six copies around it, m."""
    first = complex(rings + 1 + rings / 2, rings * math.sqrt(3) / 2)
    around = first * np.exp(1j * math.pi / 3 * np.arange(6))
    return distance * np.concatenate([np.zeros((1, 2)), np.stack([around.real, around.imag], 1)])


# --- Rules ---


def is_placed(config: RRMConfig) -> bool:
    """Whether places or gains are others than those that the kernels generate themselves."""
    return (
        config.propagation != "log_distance"
        or config.ap_deployment != "uniform"
        or config.ue_deployment != "uniform"
        or config.wrap_around != "none"
        or config.association == "given"
        or config.ap_positions is not None
        or config.ue_positions is not None
    )


def check_places(config: RRMConfig) -> None:
    """Refuse fields of deployment, propagation and association that contradict each other.

    Raises:
        ValueError: the error names the fields, their values and what is allowed.
    """
    if config.trace is None:
        _check_propagation(config)
        _check_grid(config)
        _check_given(config)
    bias = config.association_bias_db
    if bias is not None and len(bias) != config.n_aps:
        raise ValueError(
            f"association_bias_db must hold one number for each of n_aps = {config.n_aps} access "
            f"points, got {len(bias)}"
        )
    if bias is not None and config.association == "given":
        raise ValueError(
            "association_bias_db has no effect with association = 'given'; leave it None"
        )


def _check_propagation(config: RRMConfig) -> None:
    if config.propagation == "log_distance":
        for name in ("los", "ap_height_m", "ue_height_m"):
            _refuse_changed(config, name, "propagation = 'log_distance', which has no heights")
        return
    model = MODELS[config.propagation]
    for name in ("path_loss_intercept_db", "path_loss_slope_db", "wall_loss_db"):
        _refuse_changed(config, name, f"propagation = {config.propagation!r}")
    if config.shadowing_std_db != 0:
        _refuse_changed(
            config,
            "shadowing_std_db",
            f"propagation = {config.propagation!r}, which has standard deviations of its own; "
            "0 turns shadowing off",
        )
    low, high = CARRIERS_HZ
    if not low <= config.carrier_hz <= high:
        raise ValueError(
            f"carrier_hz = {config.carrier_hz:g} is outside the range of propagation = "
            f"{config.propagation!r}; allowed: {low:g} to {high:g}"
        )
    for name, (lowest, highest) in (
        ("ap_height_m", model.ap_heights_m),
        ("ue_height_m", model.ue_heights_m),
    ):
        height = getattr(config, name)
        if height is not None and not lowest <= height <= highest:
            raise ValueError(
                f"{name} = {height:g} is outside the range of propagation = "
                f"{config.propagation!r}; allowed: {lowest:g} to {highest:g}, or None"
            )


def _refuse_changed(config: RRMConfig, name: str, because: str) -> None:
    """Refuse a field that has no effect and differs from its default."""
    default = next(item.default for item in fields(config) if item.name == name)
    value = getattr(config, name)
    if value != default:
        raise ValueError(f"{name} = {value!r} has no effect with {because}; leave it {default!r}")


def _check_grid(config: RRMConfig) -> None:
    if config.ap_deployment != "hexagonal":
        _refuse_changed(config, "inter_site_distance_m", "ap_deployment = 'uniform'")
        return
    if config.ap_positions is not None:
        raise ValueError(
            "ap_positions and ap_deployment = 'hexagonal' both place the access points; give one"
        )
    n_aps, side, rings = config.n_aps, config.area_side_m, rings_of(config.n_aps)
    distance = site_distance_of(config)
    whole = 3 * rings * (rings + 1) + 1
    if config.wrap_around == "torus" and n_aps != whole:
        raise ValueError(
            f"wrap_around = 'torus' with ap_deployment = 'hexagonal' needs whole rings of sites, "
            f"n_aps = 1, 7, 19, 37, 61, ...; got n_aps = {n_aps}"
        )
    # What wraps round has no place outside the cells; otherwise the sites alone must be inside.
    needed = extent_of(rings) if config.wrap_around == "torus" else 2 * rings
    if needed * distance > side * (1 + 1e-12):
        raise ValueError(
            f"inter_site_distance_m = {distance:g} is too large for n_aps = {n_aps} in a square of "
            f"area_side_m = {side:g}; allowed: up to {side / needed:g}, or None for the largest "
            "with which all cells fit"
        )
    if distance <= config.min_ap_distance_m and n_aps > 1:
        raise ValueError(
            f"inter_site_distance_m = {distance:g} must be above min_ap_distance_m = "
            f"{config.min_ap_distance_m:g}"
        )
    if config.wrap_around == "torus" and config.step_length_m > distance:
        raise ValueError(
            f"ue_speed_mps * step_duration_s = {config.step_length_m:g} m must not exceed "
            f"inter_site_distance_m = {distance:g} m with wrap_around = 'torus'"
        )


def _check_given(config: RRMConfig) -> None:
    given = given_by(config)
    if config.given_association is not None and config.association == "rsrp":
        raise ValueError("given_association has no effect with association = 'rsrp'")
    if config.association == "given" and config.given_association is None:
        raise ValueError(
            "association = 'given' needs given_association; with 'rsrp', one can be given at a "
            "reset too"
        )
    counts = {
        name: len(array)
        for name, array in zip(
            ("ap_positions", "ue_positions", "given_association"), given[:3], strict=True
        )
        if array is not None and len(array) > 1
    }
    if len(set(counts.values())) > 1:
        text = ", ".join(f"{name} has {count}" for name, count in counts.items())
        raise ValueError(f"lists of deployments must have the same length K; {text}")


# --- Given positions ---


def given_by(config: RRMConfig) -> Given:
    """What a configuration gives (ValueError: shapes or values that do not fit it)."""
    c, words = config, "a list of K deployments"
    return Given(
        _positions(c, "ap_positions", c.ap_positions, c.n_aps, "n_aps", None, words),
        _positions(c, "ue_positions", c.ue_positions, c.n_ues, "n_ues", None, words),
        _association(c, "given_association", c.given_association, None, words),
    )


def given_at_reset(
    config: RRMConfig,
    num_envs: int,
    ap_positions: ArrayLike | None,
    ue_positions: ArrayLike | None,
    association: ArrayLike | None,
) -> Given | None:
    """What a reset gives, each for all episodes or one for each of them; None for nothing.

    Raises:
        TypeError, ValueError: another type or shape, numbers that are not finite or outside the
            square, an access point that does not exist, or a trace, which has places of its own.
    """
    if ap_positions is None and ue_positions is None and association is None:
        return None
    if config.trace is not None:
        raise ValueError(
            "ap_positions, ue_positions and association cannot be given at a reset with a trace, "
            f"which has its own; trace = {shown(config.trace)}"
        )
    if ap_positions is not None and config.ap_deployment == "hexagonal":
        raise ValueError("ap_positions cannot be given at a reset with ap_deployment = 'hexagonal'")
    c, words = config, "one for each episode"
    return Given(
        _positions(c, "ap_positions", ap_positions, c.n_aps, "n_aps", num_envs, words),
        _positions(c, "ue_positions", ue_positions, c.n_ues, "n_ues", num_envs, words),
        _association(c, "association", association, num_envs, words),
        by_slot=(True, True, True),
    )


def _array(name: str, values: Any, kinds: str, wanted: str) -> NDArray[Any]:
    """Values as an array of numbers."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        raise ValueError(f"{name} must have {wanted}, got {shown(values)}") from None
    if array.dtype.kind not in kinds:
        words = "integers" if "f" not in kinds else "numbers"
        raise TypeError(f"{name} must be {words} of {wanted}, got {shown(values)}")
    return array


def _rows(
    name: str, array: NDArray[Any], shape: tuple[int, ...], count: int | None, wanted: str
) -> NDArray[Any]:
    """The array with a dimension of deployments or episodes in front, or an error."""
    single = array.shape == shape
    several = array.ndim == len(shape) + 1 and array.shape[1:] == shape and len(array) > 0
    if not single and not (several and count in (None, len(array))):
        raise ValueError(f"{name} must have {wanted}, got {array.shape}")
    return array[None] if single else array


def _positions(
    config: RRMConfig,
    name: str,
    values: Any,
    count: int,
    field: str,
    num_envs: int | None,
    several: str,
) -> Floats | None:
    if values is None:
        return None
    first = "K" if num_envs is None else num_envs
    wanted = f"shape ({field}, 2) = ({count}, 2), or ({first}, {count}, 2), {several}"
    array = _array(name, values, "iuf", wanted).astype(np.float64)
    array = np.array(_rows(name, array, (count, 2), num_envs, wanted), order="C")
    outside = ~((array >= 0) & (array <= config.area_side_m))  # also what is no number
    if outside.any():
        row, item, axis = np.argwhere(outside)[0]
        place = f"{name}[{item}, {axis}]" if len(array) == 1 else f"{name}[{row}, {item}, {axis}]"
        raise ValueError(
            f"{place} = {array[row, item, axis]:g} is outside the square; allowed: 0 to "
            f"area_side_m = {config.area_side_m:g}"
        )
    return array


def _association(
    config: RRMConfig, name: str, values: Any, num_envs: int | None, several: str
) -> NDArray[np.int32] | None:
    if values is None:
        return None
    first = "K" if num_envs is None else num_envs
    wanted = f"shape (n_ues,) = ({config.n_ues},), or ({first}, {config.n_ues}), {several}"
    # A configuration holds floats; a reset gives integers.
    array = _array(name, values, "iu" if num_envs is not None else "iuf", wanted)
    array = _rows(name, array, (config.n_ues,), num_envs, wanted)
    wrong = ~((array >= 0) & (array < config.n_aps)) | (array != np.floor(array))
    if wrong.any():
        row, j = np.argwhere(wrong)[0]
        place = f"{name}[{j}]" if len(array) == 1 else f"{name}[{row}, {j}]"
        raise ValueError(
            f"{place} = {array[row, j]:g} is no access point; allowed: integers from 0 to "
            f"{config.n_aps - 1}"
        )
    return np.array(array, np.int32, order="C")


# --- Errors of drawn places ---


def refuse_deployment(config: RRMConfig, seed: int, ap: int, spot: int, ue: int) -> None:
    """Raise the error for an access point, a hot spot or a user without a place, unless all are -1.

    Raises:
        DeploymentError: the error names what found no place, and the fields that decide.
    """
    c = config
    from_aps = f"min_ue_distance_m = {c.min_ue_distance_m:g} from all n_aps = {c.n_aps} APs"
    if ap >= 0:
        distance = f"min_ap_distance_m = {c.min_ap_distance_m:g} from the {ap} before it"
        what = f"AP {ap} farther than {distance}"
    elif spot >= 0:
        what = f"hot spot {spot} farther than {from_aps}"
    elif ue >= 0:
        what = f"UE {ue} farther than {from_aps}"
    else:
        return
    raise DeploymentError(
        f"no place found for {what} in {MAX_DRAWS} draws (seed {seed}, "
        f"area_side_m = {c.area_side_m:g}); "
        "allow a smaller distance, fewer APs or a larger area"
    )
