"""Maps of path gain in a city, traced with Sionna RT, for studies in many places.

``python examples/bridges/street_maps.py maps.npz`` cuts a scene of Sionna into square tiles, puts
access points on lamp posts of each tile's streets, and computes their path gain in every cell of
the streets: the sum of the powers of all paths, with reflections and diffraction. Streets are all
ground that is connected with the border of the scene, so that closed courtyards do not count.
Lamp posts depend on the seed alone, gains also on the rays that Sionna draws.
`street_walks.py` makes a trace of the maps.

Needs ``pip install sionna-rt scipy`` and either a GPU or an LLVM library of version 16 or newer,
which the environment variable DRJIT_LIBLLVM_PATH names.
"""

from __future__ import annotations

import argparse
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.checks import nearest
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_whole
from rrm_env.optional import attempt

FLOOR_DB = -140.0
"""Path gain of a link without paths: 26 dB below the noise of the preset ``paper``."""
USER_HEIGHT_M, LAMP_HEIGHT_M = 1.5, 10.0
"""Heights of users and access points; the second is that of TR 38.901's UMi."""
STREET_SHARES = 0.2, 0.9
"""Least and greatest share of streets in a tile: below there is no room, above there is no city."""


def spread_out(
    cells: NDArray[np.int64], count: int, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Cells (count, 2) far from each other: the first at random, each next one farthest away."""
    chosen = [cells[generator.integers(len(cells))]]
    while len(chosen) < count:
        gaps = [np.linalg.norm(cells - one, axis=1) for one in chosen]
        chosen.append(cells[np.argmax(np.min(gaps, axis=0))])
    return np.array(chosen)


class City:
    """A scene of Sionna RT, and its streets.

    Args:
        name: of the scene, such as ``munich``.
        cell_m: side of the cells of all maps.
    """

    def __init__(self, name: str, cell_m: float) -> None:
        if (why := attempt("sionna.rt")[1]) is not None:
            raise ValueError(f"this script needs sionna-rt and LLVM ({why}); see --help")
        import drjit
        import mitsuba
        import sionna.rt as rt

        drjit.set_thread_count(1)  # the order in which powers are added stays the same
        self._rt, self._mitsuba = rt, mitsuba
        files = {key: value for key, value in vars(rt.scene).items() if isinstance(value, str)}
        known = {key: value for key, value in files.items() if value.endswith(".xml")}
        if name not in known:
            raise ValueError(f"unknown scene {nearest(name, known)}")
        self.scene = rt.load_scene(known[name])
        isotropic = rt.PlanarArray(num_rows=1, num_cols=1, pattern="iso", polarization="V")
        self.scene.tx_array = self.scene.rx_array = isotropic
        self.scene.frequency = 2.4e9
        box = self.scene.mi_scene.bbox()
        self.corner = np.ceil(np.array(box.min).ravel()[:2])
        size = np.floor(np.array(box.max).ravel()[:2]) - self.corner
        self.cell_m = cell_m
        self.streets = self._streets((size // cell_m).astype(int))

    def _streets(self, shape: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Cells (X, Y) whose four quarters see the sky, connected with the border."""
        from scipy.ndimage import label

        ends = [
            self.corner[k] + (np.arange(2 * n) + 0.5) * self.cell_m / 2
            for k, n in ((0, shape[0]), (1, shape[1]))
        ]
        x, y = (grid.ravel().astype(np.float32) for grid in np.meshgrid(*ends, indexing="ij"))
        mi = self._mitsuba
        rays = mi.Ray3f(mi.Point3f(x, y, np.full_like(x, 1000.0)), mi.Vector3f(0, 0, -1))
        height = np.array(self.scene.mi_scene.ray_intersect(rays).p.z)
        open_sky = (height < 0.3).reshape(shape[0], 2, shape[1], 2).all(axis=(1, 3))
        parts, _ = label(open_sky)
        rim = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
        sizes = np.bincount(rim[rim > 0])
        found: NDArray[np.bool_] = parts == sizes.argmax()
        return found

    def map_of(
        self, corner: NDArray[np.float64], side_m: float, lamps: NDArray[np.float64], rays: int
    ) -> NDArray[np.float64]:
        """Path gain in dB (I, X, Y) of the cells of a tile, for lamp posts (I, 2)."""
        for name in list(self.scene.transmitters):
            self.scene.remove(name)
        for k, (x, y) in enumerate(lamps):
            position = [float(x), float(y), LAMP_HEIGHT_M]
            self.scene.add(self._rt.Transmitter(f"lamp {k}", position))
        solved = self._rt.RadioMapSolver()(
            self.scene,
            center=[*(corner + side_m / 2).tolist(), USER_HEIGHT_M],
            orientation=[0, 0, 0],
            size=[side_m, side_m],
            cell_size=[self.cell_m, self.cell_m],
            samples_per_tx=rays,
            max_depth=5,
            refraction=False,
            diffraction=True,
            seed=1,
        )
        linear = np.array(solved.path_gain).swapaxes(1, 2)
        gain_db: NDArray[np.float64] = 10 * np.log10(np.maximum(linear, 10 ** (FLOOR_DB / 10)))
        return gain_db


def trace_city(given: argparse.Namespace) -> None:
    """Cut the scene into tiles, compute the maps of those with streets, and write them."""
    path = check_writable("maps", given.maps)
    city = City(given.scene, given.cell_m)
    cells = round(given.side_m / given.cell_m)
    generator = np.random.default_rng(given.seed)
    found: dict[str, list[Any]] = {"gain_db": [], "street": [], "ap_positions": [], "corner": []}
    begun = time.perf_counter()
    for x in range(0, city.streets.shape[0] - cells + 1, cells):
        for y in range(0, city.streets.shape[1] - cells + 1, cells):
            street = city.streets[x : x + cells, y : y + cells]
            is_city = STREET_SHARES[0] <= street.mean() <= STREET_SHARES[1]
            if not is_city or len(found["street"]) == given.tiles:
                continue
            margin = max(1, cells // 10)
            inner = np.argwhere(street[margin:-margin, margin:-margin]) + margin
            posts = (spread_out(inner, given.aps, generator) + 0.5) * given.cell_m
            corner = city.corner + np.array([x, y]) * given.cell_m
            gain_db = city.map_of(corner, given.side_m, corner + posts, given.rays)
            # A quarter of a decibel is far below what the tracing itself is uncertain of.
            gain_db = np.where(street, np.round(gain_db * 4) / 4, FLOOR_DB).astype(np.float16)
            for name, value in zip(found, (gain_db, street, posts, corner), strict=True):
                found[name].append(value)
            print(
                f"{len(found['street'])} places, {time.perf_counter() - begun:.0f} s: corner "
                f"{corner.tolist()}, {street.mean():.0%} streets, best path gain above -105 dB in "
                f"{(gain_db.max(axis=0) >= -105)[street].mean():.0%} of them",
                flush=True,
            )
    order = generator.permutation(len(found["street"]))  # neighbours are not always one part's
    arrays: dict[str, Any] = {name: np.stack(values)[order] for name, values in found.items()}
    named = f"{given.scene}, Sionna RT {version('sionna-rt')}, tiles of {given.side_m:g} m"
    write_whole(
        path, lambda file: np.savez_compressed(file, **arrays, cell_m=given.cell_m, name=named)
    )
    print(f"wrote {path}: {len(order)} places")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("maps", type=Path, help="file of the maps (.npz)")
    parser.add_argument("--scene", default="munich", help="scene of Sionna RT (default: munich)")
    parser.add_argument("--side-m", type=float, default=150.0, help="side of a tile (default: 150)")
    parser.add_argument("--cell-m", type=float, default=2.0, help="side of a cell (default: 2)")
    parser.add_argument("--aps", type=int, default=4, help="access points of a tile (default: 4)")
    parser.add_argument(
        "--rays", type=int, default=2_000_000, help="rays per access point (default: 2,000,000)"
    )
    parser.add_argument("--tiles", type=int, default=1000, help="at most so many (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the lamp posts (default: 0)")
    return parser.parse_args()


if __name__ == "__main__":
    given = parse()
    sys.exit(status_of(lambda: trace_city(given)))
