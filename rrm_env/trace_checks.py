"""Checks of the arrays of a trace: shapes, values that no channel has, units that seem off."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.checks import nearest, shown

Arrays = dict[str, NDArray[Any]]

LARGEST = {
    "snr": 1e18,
    "snr_db": 180.0,
    "path_gain": 1.0,
    "path_gain_db": 0.0,
    "received_dbm": 80.0,
}
"""Units, and the largest gain in each that a radio link can have."""
HINTS = {
    "snr": "is it in milliwatts, or in dB (unit 'snr_db')?",
    "snr_db": "is it linear (unit 'snr')?",
    "path_gain": "no more power arrives than is sent; is it in dB (unit 'path_gain_db')?",
    "path_gain_db": "a loss of 100 dB is a gain of -100 dB",
    "received_dbm": "is it in microvolts, or a loss?",
}
LONGEST_STEP_S = 60.0
FASTEST_MPS = 500.0
"""A high-speed train runs at 140 m/s."""
WIDEST_M = 1e6
FARTHEST_DB = 30.0
"""Largest difference of a trace's mean gain and its mean large-scale gain."""
PART = 2**22
"""Numbers of an array that are read at once, so that a large trace is never held in memory."""


def is_db(unit: str) -> bool:
    """Whether gains in this unit are in decibels."""
    return unit not in ("snr", "path_gain")


def parts_of(array: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Parts of an array (E, T, ...) or (E, ...), in order, of about `PART` numbers each."""
    rows = array.reshape(-1, *array.shape[2:]) if array.ndim > 2 else array
    step = max(1, PART // max(1, math.prod(rows.shape[1:])))
    for first in range(0, len(rows), step):
        yield rows[first : first + step]


def with_places(arrays: Arrays) -> Arrays:
    """The arrays with the dimension of places in front, which one place needs not have."""
    gain = arrays["gain"]
    if gain.ndim == 4:
        return dict(arrays)
    if gain.ndim != 3:
        raise ValueError(
            "gain must have shape (T, I, J) or (E, T, I, J): E places, T steps, I access points, "
            f"J users; got {gain.shape}"
        )
    return {name: array[None] for name, array in arrays.items()}


def check(arrays: Arrays, described: dict[str, Any]) -> None:
    """Refuse arrays that are no trace.

    Raises:
        TypeError, ValueError: as `rrm_env.Trace.from_arrays`.
    """
    unit, seconds = described["unit"], described["step_duration_s"]
    if not isinstance(unit, str) or unit not in LARGEST:
        text = unit if isinstance(unit, str) else shown(unit)
        raise ValueError(f"unknown unit {nearest(text, LARGEST)}")
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real):
        raise TypeError(f"step_duration_s must be a number of seconds, got {shown(seconds)}")
    if not 0 < float(seconds) <= LONGEST_STEP_S:
        raise ValueError(
            f"step_duration_s must be above 0 and at most {LONGEST_STEP_S:g} s, got {seconds:g}; "
            "is it in milliseconds?"
        )
    gain = arrays["gain"]
    _check_shapes(arrays)
    _check_gains("gain", gain, unit)
    if "large_scale_gain" in arrays:
        _check_gains("large_scale_gain", arrays["large_scale_gain"], unit)
        _check_alike(gain, arrays["large_scale_gain"], unit)
    for name in ("ap_positions", "ue_positions"):
        if name in arrays:
            _check_positions(name, arrays[name])
    if "ue_positions" in arrays:
        _check_motion(arrays["ue_positions"], float(seconds))
    if "association" in arrays:
        _check_association(arrays["association"], gain.shape[2])


def _check_shapes(arrays: Arrays) -> None:
    e, t, i, j = arrays["gain"].shape
    if 0 in (e, t, i, j):
        raise ValueError(f"gain must not be empty, got shape {arrays['gain'].shape}")
    allowed = {
        "gain": [(e, t, i, j)],
        "large_scale_gain": [(e, t, i, j), (e, i, j)],
        "ap_positions": [(e, i, 2)],
        "ue_positions": [(e, t, j, 2), (e, j, 2)],
        "association": [(e, j)],
    }
    for name, array in arrays.items():
        if array.shape not in allowed[name]:
            shapes = " or ".join(map(str, allowed[name]))
            raise ValueError(
                f"{name} must have shape {shapes} beside gain of shape {(e, t, i, j)}, "
                f"got {array.shape}"
            )


def _check_gains(name: str, gain: NDArray[Any], unit: str) -> None:
    if gain.dtype.kind == "c":
        raise TypeError(f"{name} must hold powers, got complex amplitudes; give abs(h) ** 2")
    if gain.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold numbers, got dtype {gain.dtype}")
    in_db, highest, before = is_db(unit), -math.inf, 0
    for some in parts_of(gain):
        part = np.asarray(some, np.float64)
        wrong = np.isnan(part) | np.isposinf(part)
        if not in_db:
            wrong |= part < 0
        if wrong.any():
            k = int(np.flatnonzero(wrong)[0])
            place = np.unravel_index(before + k, gain.shape)
            index = ", ".join(str(int(n)) for n in place)
            hint = f"; is it in dB (unit '{unit}_db')?" if part.flat[k] < 0 else ""
            allowed = "a finite number or -inf" if in_db else "a finite number from 0 on"
            raise ValueError(f"{name}[{index}] must be {allowed}, got {part.flat[k]}{hint}")
        highest, before = max(highest, float(part.max())), before + part.size
    if highest > LARGEST[unit]:
        raise ValueError(
            f"{name} in unit {unit!r} must not exceed {LARGEST[unit]:g}, got {highest:g}; "
            f"{HINTS[unit]}"
        )
    if highest == (-math.inf if in_db else 0):
        raise ValueError(f"{name} must have a path in some step, got none: all gains are 0")
    if in_db and unit != "snr_db" and -1.0 < highest <= 0.0 and float(gain[0].min()) > -1.0:
        raise ValueError(
            f"{name} in unit {unit!r} lies within 1 dB of 0, got up to {highest:g}; is it linear?"
        )


def _check_alike(gain: NDArray[Any], slow: NDArray[Any], unit: str) -> None:
    """Refuse large-scale gains that are far from the gains on average: one has another unit."""

    def mean_db(array: NDArray[Any]) -> float:
        some = np.asarray(array.reshape(-1, array.shape[-1])[:: max(1, array.size // PART)])
        values = some.astype(np.float64)
        linear = 10 ** (values / 10) if is_db(unit) else values
        return 10 * math.log10(max(float(linear.mean()), 1e-300))

    difference = mean_db(gain) - mean_db(slow)
    if abs(difference) > FARTHEST_DB:
        raise ValueError(
            f"gain is {difference:+.0f} dB from large_scale_gain on average, allowed: up to "
            f"{FARTHEST_DB:g} dB; one of them has another unit than {unit!r}"
        )


def _check_positions(name: str, positions: NDArray[Any]) -> None:
    if positions.dtype.kind not in "fiu":
        raise TypeError(f"{name} must hold numbers, got dtype {positions.dtype}")
    if not np.isfinite(positions).all():
        raise ValueError(f"{name} must be finite metres, got {shown(_first_not_finite(positions))}")
    extent = float(positions.max()) - float(positions.min())
    if extent > WIDEST_M:
        raise ValueError(
            f"{name} must span at most {WIDEST_M:g} m, got {extent:g}; are they in millimetres?"
        )


def _first_not_finite(positions: NDArray[Any]) -> float:
    return float(positions[~np.isfinite(positions)][0])


def _check_motion(positions: NDArray[Any], seconds: float) -> None:
    if positions.ndim == 3 or positions.shape[1] < 2:
        return
    steps = np.linalg.norm(np.diff(positions, axis=1), axis=-1)
    moving = steps[steps > 0]
    # The median, since users who wrap round an area's border jump.
    speed = float(np.median(moving)) / seconds if moving.size else 0.0
    if speed > FASTEST_MPS:
        raise ValueError(
            f"ue_positions move at {speed:.4g} m/s in the median, allowed: up to {FASTEST_MPS:g}; "
            "are they in millimetres, or is step_duration_s off?"
        )


def _check_association(association: NDArray[Any], n_aps: int) -> None:
    if association.dtype.kind not in "iu":
        raise TypeError(f"association must hold integers, got dtype {association.dtype}")
    wrong = (association < 0) | (association >= n_aps)
    if wrong.any():
        e, j = np.argwhere(wrong)[0]
        raise ValueError(
            f"association[{e}, {j}] must be an access point from 0 to {n_aps - 1}, "
            f"got {association[e, j]}"
        )


def from_corner(arrays: Arrays) -> Arrays:
    """The arrays with positions measured from the lower left corner of all of them."""
    names = [name for name in ("ap_positions", "ue_positions") if name in arrays]
    if not names:
        return arrays
    corner = np.min([arrays[name].reshape(-1, 2).min(axis=0) for name in names], axis=0)
    moved: Arrays = {name: np.asarray(arrays[name], np.float64) for name in names}
    if (corner < 0).any():
        moved = {name: array - np.minimum(corner, 0) for name, array in moved.items()}
    return {**arrays, **moved}
