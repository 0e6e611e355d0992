"""Users who walk over maps of path gain, as a trace of many places for studies.

``python examples/bridges/street_walks.py maps.npz --out city.npz`` reads the maps that
`street_maps.py` traced, lets users walk in the streets where some access point is heard, and
writes the gains along their ways as a trace: a place per tile. Gains are without small-scale
fading; ``fading="iid"`` or ``"jakes"`` adds it when the trace is played. The trace depends on the
maps and the seed alone.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bridge import Arguments, check_step, existing, parser_of, write_trace
from walks import gains_along, walk


def trace_arguments(
    maps: dict[str, Any], n_users: int, n_steps: int, step_s: float, lowest_db: float, seed: int
) -> Arguments:
    """Walks over maps, as the arguments of `Trace.from_arrays`.

    Args:
        maps: ``gain_db`` (P, I, X, Y) of the places, ``street`` (P, X, Y) their cells that are
            streets, ``ap_positions`` (P, I, 2) in metres from the tile's corner, ``cell_m``, and
            ``name``.
        n_users: users of a place, who walk at 1 m/s.
        n_steps: steps of a place.
        step_s: duration of a step.
        lowest_db: users walk where the best path gain is at least this.
        seed: of starts and headings.

    Raises:
        ValueError: an array is missing or has another shape, or no cell of a place is heard.
    """
    check_step(step_s)
    gain_db, street = (np.asarray(_held(maps, name)) for name in ("gain_db", "street"))
    if gain_db.ndim != 4 or street.shape != (len(gain_db), *gain_db.shape[2:]):
        raise ValueError(
            "gain_db must have shape (P, I, X, Y) and street (P, X, Y), "
            f"got {gain_db.shape} and {street.shape}"
        )
    cell_m = float(_held(maps, "cell_m"))
    gains, places = [], []
    for p, (gain, is_street) in enumerate(zip(gain_db.astype(float), street, strict=True)):
        heard = is_street & (gain.max(axis=0) >= lowest_db)
        if not heard.any():
            raise ValueError(f"place {p} has no cell with a path gain of {lowest_db:g} dB")
        generator = np.random.default_rng([seed, p])
        positions = walk(heard, cell_m, n_users, n_steps, step_s, generator)
        gains.append(gains_along(gain, is_street, cell_m, positions))
        places.append(positions)
    return {
        "gain": np.stack(gains).astype(np.float32),
        "unit": "path_gain_db",
        "step_duration_s": step_s,
        "ap_positions": np.asarray(_held(maps, "ap_positions")),
        "ue_positions": np.stack(places).astype(np.float32),
        "name": str(_held(maps, "name")),
    }


def _held(maps: dict[str, Any], name: str) -> Any:
    """An array of the maps' file."""
    if name not in maps:
        raise ValueError(f"the maps lack {name}; they hold {', '.join(maps) or 'nothing'}")
    return maps[name]


def convert(given: Any) -> Arguments:
    """Read the maps and walk over them."""
    with np.load(existing(given.maps), allow_pickle=False) as held:
        maps = {name: held[name] for name in held.files}
    return trace_arguments(
        maps, given.users, given.steps, given.step_duration_s, given.lowest_db, given.seed
    )


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("maps", type=Path, help="file of the maps (.npz)")
    parser.add_argument("--users", type=int, default=20, help="users of a place (default: 20)")
    parser.add_argument(
        "--steps", type=int, default=2020, help="steps of a place (default: 2020, ten episodes)"
    )
    parser.add_argument("--step-duration-s", type=float, default=0.05, help="default: 0.05")
    parser.add_argument(
        "--lowest-db",
        type=float,
        default=-105.0,
        help="users walk where the best path gain is at least this (default: -105)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the walks (default: 0)")
    given = parser.parse_args()
    sys.exit(write_trace(functools.partial(convert, given), given.out))
