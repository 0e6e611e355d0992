"""A scenario of DeepMIMO 4 as a trace.

``python examples/bridges/deepmimo.py deepmimo_scenarios/asu_campus_3p5`` reads the folder of a
scenario as DeepMIMO 4 stores it: ``params.json``, and for each transmitter and set of receivers
``power_t000_tx000_r001.npz``, ``rx_pos_...`` and ``tx_pos_...``. The package itself is not needed.
Transmitters become access points. A gain is the sum of the powers of all paths, which DeepMIMO
states in dBW for 0 dBW sent, so it is a path gain. Phases are not used, since it depends on the
ray tracer whether they hold the carrier's; ``fading="iid"`` or ``"jakes"`` adds fading when the
trace is played.

A static scenario is a map: receivers on a grid. Users walk over it, where some transmitter is
heard, and gains between grid points are interpolated in dB. ``--places 10`` cuts the grid into ten
strips of which each has its own users, so that training and evaluation see different places. In a
dynamic scenario (a folder per snapshot) the receivers are the users, and a snapshot is a step.
"""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bridge import Arguments, Array, parser_of, write_trace
from numpy.typing import NDArray
from walks import gains_along, walk

from rrm_env.optional import required

FLOOR_DB = -150.0
"""Path gain of a point without paths, where gains between grid points are interpolated."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """What a folder holds of all transmitters and one set of receivers."""

    power_db: Array
    """(transmitters, receivers, paths) dBW for 0 dBW sent; NaN where there is no path."""
    tx_positions: Array
    """(transmitters, 3) metres."""
    rx_positions: Array
    """(receivers, 3) metres."""


def gains_db(power_db: Array) -> NDArray[np.float64]:
    """Sums over the paths (the last axis) of powers in dB; -inf where there is none."""
    with np.errstate(divide="ignore"):
        return np.asarray(10 * np.log10(np.nansum(10 ** (power_db.astype(float) / 10), axis=-1)))


def moving_arguments(snapshots: list[Snapshot], *, step_duration_s: float, name: str) -> Arguments:
    """Snapshots of a dynamic scenario, as the arguments of `Trace.from_arrays`.

    Raises:
        ValueError: snapshots of different sizes.
    """
    sizes = [one.power_db.shape[:2] for one in snapshots]
    if len(set(sizes)) > 1:
        raise ValueError(f"snapshots have other sizes (transmitters, receivers): {set(sizes)}")
    return {
        "gain": np.stack([gains_db(one.power_db) for one in snapshots]).astype(np.float32),
        "unit": "path_gain_db",
        "step_duration_s": step_duration_s,
        "ap_positions": snapshots[0].tx_positions[:, :2],
        "ue_positions": np.stack([one.rx_positions[:, :2] for one in snapshots]),
        "name": name,
    }


def walking_arguments(
    scene: Snapshot,
    *,
    n_users: int,
    n_steps: int,
    n_places: int,
    step_duration_s: float,
    speed_mps: float,
    seed: int,
    name: str,
) -> Arguments:
    """Users who walk over a static scenario, as the arguments of `Trace.from_arrays`.

    Args:
        scene: receivers on a grid along the axes, which need not be complete.
        n_users: users of a place.
        n_steps: steps of a place.
        n_places: strips of the grid, side by side along its longer side.
        step_duration_s: duration of a step.
        speed_mps: speed of the users.
        seed: of starts and headings.
        name: what the trace is of.

    Raises:
        ValueError: receivers are on no grid, or a strip has no point that is heard.
    """
    columns, spacing, corner = _grid(scene.rx_positions[:, :2])
    shape = tuple(columns.max(axis=0) + 1)
    gain_db = np.full((len(scene.power_db), *shape), FLOOR_DB)
    gain_db[:, columns[:, 0], columns[:, 1]] = np.maximum(gains_db(scene.power_db), FLOOR_DB)
    heard = gain_db.max(axis=0) > FLOOR_DB
    axis = int(np.argmax(shape))
    gains, places = [], []
    for p, rows in enumerate(np.array_split(np.arange(shape[axis]), n_places)):
        strip = np.zeros(shape, bool)
        strip[(slice(None), rows) if axis else rows] = True
        if not (heard & strip).any():
            raise ValueError(f"place {p} has no receiver with a path: take fewer --places")
        generator = np.random.default_rng([seed, p])
        step_m = speed_mps * step_duration_s
        positions = walk(heard & strip, spacing, n_users, n_steps, step_m, generator)
        gains.append(gains_along(gain_db, heard & strip, spacing, positions))
        places.append(positions + corner - spacing / 2)
    return {
        "gain": np.stack(gains).astype(np.float32),
        "unit": "path_gain_db",
        "step_duration_s": step_duration_s,
        "ap_positions": np.repeat(scene.tx_positions[None, :, :2], n_places, axis=0),
        "ue_positions": np.stack(places),
        "name": name,
    }


def _grid(positions: Array) -> tuple[NDArray[np.int64], float, NDArray[np.float64]]:
    """Column and row (R, 2) of each receiver, the grid's spacing, and its first point."""
    corner = positions.min(axis=0).astype(float)
    steps = [np.diff(np.unique(np.round(positions[:, k], 3))) for k in (0, 1)]
    found = np.concatenate(steps)
    spacing = float(found.min()) if found.size else 0.0
    if spacing <= 0:
        raise ValueError("the scenario has a single receiver; users need a grid to walk on")
    place = (positions - corner) / spacing
    if np.abs(place - np.round(place)).max() > 0.1 or np.round(place).max() > 1e5:
        raise ValueError(f"receivers must lie on a grid along the axes, of {spacing:g} m here")
    return np.round(place).astype(np.int64), spacing, corner


# --- Files ---


def read(folder: Path, receivers: int | None = None) -> list[Snapshot]:
    """The snapshots of a scenario, one if it is static.

    Args:
        folder: of the scenario.
        receivers: the set of receivers (default: the largest that does not transmit).

    Raises:
        ValueError: no scenario, an unknown set, or a file that is missing.
    """
    if not (folder / "params.json").is_file():
        raise ValueError(f"{folder} is no scenario of DeepMIMO 4: params.json is missing")
    params = json.loads((folder / "params.json").read_text(encoding="utf-8"))
    sets = list(params["txrx_sets"].values())
    among = {one["id"]: one for one in sets if one["is_rx"] and not one["is_tx"]}
    if receivers is None and among:
        receivers = max(among, key=lambda key: int(among[key]["num_points"]))
    if receivers is None or receivers not in among:
        raise ValueError(f"unknown set of receivers {receivers}, known: {sorted(among)}")
    senders = [(one["id"], k) for one in sets if one["is_tx"] for k in range(one["num_points"])]
    count = params["scene"].get("num_scenes", 1)
    folders = sorted(one for one in folder.iterdir() if one.is_dir()) if count > 1 else [folder]
    return [_snapshot(place, senders, receivers) for place in folders]


def _snapshot(folder: Path, senders: list[tuple[int, int]], receivers: int) -> Snapshot:
    names = [f"t{group:03}_tx{k:03}_r{receivers:03}" for group, k in senders]
    power, rx, tx = (
        [_array(folder, what, name) for name in names] for what in ("power", "rx_pos", "tx_pos")
    )
    most = max(array.shape[1] for array in power)
    padded = [
        np.pad(array, ((0, 0), (0, most - array.shape[1])), constant_values=np.nan)
        for array in power
    ]
    return Snapshot(np.stack(padded), np.stack([array.reshape(-1, 3)[0] for array in tx]), rx[0])


def _array(folder: Path, what: str, name: str) -> Array:
    """A matrix of the scenario, in a file of either kind that DeepMIMO writes."""
    path = folder / f"{what}_{name}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as held:
            return np.asarray(held[what])
    if (path := path.with_suffix(".mat")).is_file():
        scipy_io = required("MATLAB files need", "scipy.io", extra="traces")
        return np.asarray(scipy_io.loadmat(path)[what])
    raise ValueError(f"{folder / f'{what}_{name}'}.npz is missing")


def convert(given: Any) -> Arguments:
    """Read the scenario and convert it."""
    snapshots = read(given.folder, given.receivers)
    name = f"DeepMIMO, {given.folder.name}"
    if len(snapshots) > 1:
        return moving_arguments(snapshots, step_duration_s=given.step_duration_s, name=name)
    return walking_arguments(
        snapshots[0],
        n_users=given.users,
        n_steps=given.steps,
        n_places=given.places,
        step_duration_s=given.step_duration_s,
        speed_mps=given.speed_mps,
        seed=given.seed,
        name=name,
    )


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, help="folder of the scenario")
    parser.add_argument("--receivers", type=int, help="set of receivers (default: the largest)")
    parser.add_argument("--users", type=int, default=20, help="users of a place (default: 20)")
    parser.add_argument("--places", type=int, default=1, help="strips of the map (default: 1)")
    parser.add_argument(
        "--steps", type=int, default=2020, help="steps of a place (default: 2020, ten episodes)"
    )
    parser.add_argument("--step-duration-s", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--speed-mps", type=float, default=1.0, help="of users (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the walks (default: 0)")
    given = parser.parse_args()
    sys.exit(write_trace(functools.partial(convert, given), given.out))
