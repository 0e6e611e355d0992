"""examples/bridges: scenes that are known at fixed positions, over which users walk."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bridging import Run, imported, play, running
from documents import DOCS
from folders import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rrm_env.trace import Trace

Array = NDArray[Any]
STEP = 0.05

__all__ = ["imported", "running"]  # fixtures


# --- DeepMIMO ---


def deepmimo_scenario(folder: Path, snapshots: int = 1) -> Array:
    """A scenario as DeepMIMO 4 stores it: 2 transmitters, receivers on 12 x 4 points 2 m apart.

    Returns:
        (snapshots, 2, 48, 3) powers in dBW, NaN where there is no path.
    """
    generator = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(12) * 2.0 - 7, np.arange(4) * 2.0 + 3, indexing="ij")
    rx = np.stack([x.ravel(), y.ravel(), np.full(48, 1.5)], 1).astype(np.float32)
    power = generator.uniform(-110, -70, (snapshots, 2, 48, 3)).astype(np.float32)
    power[generator.random(power.shape) < 0.3] = np.nan
    power[:, :, 5] = np.nan  # a point in a building
    folder.mkdir()
    names = ("is_tx", "is_rx", "num_points")
    sets = {"txrx_set_0": (True, False, 2), "txrx_set_1": (False, True, 48)}
    params = {
        "version": "4.0.5",
        "txrx_sets": {
            key: {"id": k, **dict(zip(names, values, strict=True))}
            for k, (key, values) in enumerate(sets.items())
        },
        "scene": {"num_scenes": snapshots},
    }
    (folder / "params.json").write_text(json.dumps(params), encoding="utf-8")
    for n in range(snapshots):
        place = folder / f"scene_{n:04}" if snapshots > 1 else folder
        place.mkdir(exist_ok=True)
        for i in range(2):
            arrays: dict[str, Any] = {
                "power": power[n, i, :, : 3 - i],  # files hold as many paths as there are
                "rx_pos": rx + np.float32(0.1 * n),
                "tx_pos": np.array([[10.0 * i, 0, 10]], np.float32),
            }
            for name, array in arrays.items():
                np.savez_compressed(place / f"{name}_t000_tx{i:03}_r001.npz", **{name: array})
    power[:, 1, :, 2] = np.nan
    return power


def naive_sum_db(powers: Array) -> float:
    total = sum(10 ** (float(p) / 10) for p in powers if not math.isnan(p))
    return 10 * math.log10(total) if total else -math.inf


def test_users_walk_over_a_static_scenario(run: Run, tmp_path: Path) -> None:
    power = deepmimo_scenario(tmp_path / "city")[0]
    options = ("--users", 5, "--places", 3, "--steps", 300, "--seed", 1)
    status, said = run("deepmimo", "city", *options)
    assert status == 0, said
    trace = Trace.load(tmp_path / "gains.npz")
    assert (trace.shape, trace.unit) == ((3, 300, 2, 5), "path_gain_db")
    assert trace.ap_positions is not None
    assert trace.ue_positions is not None
    moved = np.linalg.norm(np.diff(trace.ue_positions, axis=1), axis=-1)
    assert moved.max() == pytest.approx(0.05, rel=1e-3)
    assert (moved > 0.04).mean() > 0.95
    # Positions are measured from the transmitter at (0, 0) in the file; see Trace.
    places = trace.ue_positions - trace.ap_positions[:, None, :1]
    for p in range(3):  # strips of 4 columns
        assert (np.floor((places[p, ..., 0] + 8) / 8) == p).all()
    low = [naive_sum_db(one) for one in power.reshape(-1, 3)]
    heard = [value for value in low if value > -math.inf]
    assert trace.gain.max() <= max(heard) + 1e-3
    # At a user that stands close to a grid point the gain is that of the point.
    offset = (places + np.array([7, -3])) / 2
    close = np.argwhere(np.abs(offset - np.round(offset)).max(axis=-1) < 0.02)
    assert len(close)
    for p, t, j in close:
        column, row = np.round(offset[p, t, j]).astype(int)
        for i in range(2):
            expected = max(naive_sum_db(power[i, column * 4 + row]), -150.0)
            assert trace.gain[p, t, i, j] == pytest.approx(expected, abs=4.0)
    play(tmp_path / "gains.npz")


def test_receivers_of_a_dynamic_scenario_are_users(run: Run, tmp_path: Path) -> None:
    power = deepmimo_scenario(tmp_path / "moving", 4)
    status, said = run("deepmimo", "moving", "--step-duration-s", 0.1)
    assert status == 0, said
    trace = Trace.load(tmp_path / "gains.npz")
    assert trace.shape == (1, 4, 2, 48)
    assert trace.ue_positions is not None
    for n, i, j in np.ndindex(4, 2, 48):
        assert trace.gain[0, n, i, j] == pytest.approx(naive_sum_db(power[n, i, j]), abs=1e-3)
    assert np.diff(trace.ue_positions, axis=1) == pytest.approx(0.1, abs=1e-4)
    play(tmp_path / "gains.npz")


def test_bad_scenarios_are_refused(run: Run, tmp_path: Path) -> None:
    deepmimo_scenario(tmp_path / "city")
    for options, message in (
        (("nowhere",), "nowhere is no scenario of DeepMIMO 4: params.json is missing"),
        (("city", "--receivers", 7), "unknown set of receivers 7, known: [1]"),
        (("city", "--places", 13, "--steps", 2), "place 12 has no receiver with a path"),
    ):
        status, said = run("deepmimo", *options)
        assert (status, message in said) == (2, True), said
    (tmp_path / "city" / "power_t000_tx001_r001.npz").unlink()
    status, said = run("deepmimo", "city")
    assert (status, "power_t000_tx001_r001.npz is missing" in said) == (2, True)


def test_receivers_that_are_on_no_grid_are_refused(scripts: SimpleNamespace) -> None:
    places = np.random.default_rng(0).uniform(0, 10, (20, 3))
    scene = scripts.deepmimo.Snapshot(np.full((1, 20, 1), -90.0), np.zeros((1, 3)), places)
    options = {"n_users": 1, "n_steps": 2, "n_places": 1, "step_duration_s": STEP}
    with pytest.raises(ValueError, match="receivers must lie on a grid"):
        scripts.deepmimo.walking_arguments(scene, **options, speed_mps=1.0, seed=0, name="")


# --- Walks and the traced city ---


@given(st.integers(0, 2**32), st.floats(0.5, 4), st.integers(1, 5), st.floats(0.01, 3))
def test_walkers_stay_where_they_may_be(
    seed: int, cell_m: float, n_users: int, step_m: float
) -> None:
    with examples():
        import walks
    allowed = np.random.default_rng(seed).random((9, 7)) < 0.6
    allowed[4, 3] = True
    generator = np.random.default_rng(seed + 1)
    ways = walks.walk(allowed, cell_m, n_users, 40, step_m, generator)
    cells = np.floor(ways / cell_m).astype(int)
    assert allowed[cells[..., 0], cells[..., 1]].all()
    moved = np.linalg.norm(np.diff(ways, axis=0), axis=-1)
    assert (np.isclose(moved, step_m) | (moved == 0)).all()


def test_walkers_go_straight_on_in_the_open(scripts: SimpleNamespace) -> None:
    ways = scripts.walks.walk(np.ones((99, 99), bool), 100.0, 9, 50, 1.0, np.random.default_rng(3))
    assert np.diff(ways, 2, axis=0) == pytest.approx(0, abs=1e-6)


@given(st.integers(0, 2**32))
def test_gains_between_cells_are_bilinear_in_db(seed: int) -> None:
    with examples():
        import walks
    generator = np.random.default_rng(seed)
    gain, known = generator.uniform(-120, -60, (2, 5, 6)), generator.random((5, 6)) < 0.7
    known[2, 2] = True
    cells = np.argwhere(known)[generator.integers(known.sum(), size=8)]
    places = (cells + generator.random((8, 2))) * 2.0
    found = walks.gains_along(np.where(known, gain, np.nan), known, 2.0, places[None])
    for k, (x, y) in enumerate(places / 2.0 - 0.5):
        weights = {
            (m, n): (1 - abs(x - m)) * (1 - abs(y - n))
            for m in (math.floor(x), math.floor(x) + 1)
            for n in (math.floor(y), math.floor(y) + 1)
            if 0 <= m < 5 and 0 <= n < 6 and known[m, n]
        }
        for i in range(2):
            total = sum(weight * gain[i, m, n] for (m, n), weight in weights.items())
            assert found[0, i, k] == pytest.approx(total / sum(weights.values()))


def city_maps(places: int = 3) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    gain = np.round(generator.uniform(-140, -70, (places, 2, 20, 20)) * 4) / 4
    street = generator.random((places, 20, 20)) < 0.8
    return {
        "gain_db": np.where(street[:, None], gain, -140).astype(np.float16),
        "street": street,
        "ap_positions": generator.uniform(0, 40, (places, 2, 2)),
        "cell_m": np.float64(2.0),
        "name": np.str_("made up"),
    }


def test_walks_through_a_traced_city(run: Run, tmp_path: Path) -> None:
    maps = city_maps()
    np.savez_compressed(tmp_path / "maps.npz", **maps)
    options = ("--users", 6, "--steps", 30, "--lowest-db", -100)
    status, said = run("street_walks", "maps.npz", *options)
    assert status == 0, said
    trace = Trace.load(tmp_path / "gains.npz")
    assert (trace.shape, trace.name) == ((3, 30, 2, 6), "made up")
    assert trace.ue_positions is not None
    cells = np.floor(trace.ue_positions / 2).astype(int)
    for p in range(3):
        best = np.where(maps["street"][p], maps["gain_db"][p].max(axis=0), -140)
        assert (best[cells[p, ..., 0], cells[p, ..., 1]] >= -100).all()
    network = play(tmp_path / "gains.npz")
    assert not np.isnan(network.ue_positions).any()


def test_walks_are_functions_of_seed_and_place(scripts: SimpleNamespace) -> None:
    def gains(seed: int, places: int) -> Array:
        maps = {
            name: value[:places] if np.ndim(value) else value for name, value in city_maps().items()
        }
        found = scripts.street_walks.trace_arguments(maps, 4, 9, STEP, -105.0, seed)
        return np.asarray(found["gain"])

    assert np.array_equal(gains(0, 3)[:2], gains(0, 2))
    assert not np.array_equal(gains(0, 2), gains(1, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain_db": None}, "the maps lack gain_db; they hold street, ap_positions, cell_m, name"),
        ({"street": np.ones((3, 20, 19), bool)}, r"street \(P, X, Y\), got .*\(3, 20, 19\)"),
        ({"street": np.zeros((3, 20, 20), bool)}, "place 0 has no cell with a path gain of -105"),
    ],
)
def test_bad_maps_are_refused(
    scripts: SimpleNamespace, changes: dict[str, Any], message: str
) -> None:
    maps = {name: value for name, value in {**city_maps(), **changes}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        scripts.street_walks.trace_arguments(maps, 4, 9, STEP, -105.0, 0)


def test_lamp_posts_are_far_apart(scripts: SimpleNamespace) -> None:
    cells = np.argwhere(np.ones((30, 30), bool))
    posts = scripts.street_maps.spread_out(cells, 4, np.random.default_rng(5))
    gaps = [np.linalg.norm(a - b) for k, a in enumerate(posts) for b in posts[:k]]
    assert min(gaps) > 12


def test_the_committed_maps_are_a_city(scripts: SimpleNamespace) -> None:
    with np.load(DOCS / "results" / "munich_maps.npz", allow_pickle=False) as held:
        maps = {name: held[name] for name in held.files}
    corners = {tuple(corner) for corner in maps["corner"].tolist()}
    assert len(corners) == len(maps["gain_db"]) == 48  # so that no two places overlap
    assert all(x % 150 == 95 and y % 150 == 62 for x, y in corners)
    gain, street = maps["gain_db"].astype(float), maps["street"]
    assert ((gain == scripts.street_maps.FLOOR_DB) | street[:, None]).all()
    # Nowhere is more power received than in free space at 2.4 GHz from a lamp post 8.5 m above,
    # but for reflections; and streets are heard.
    free_db = -20 * math.log10(4 * math.pi * 8.5 * 2.4e9 / 299792458)
    assert gain.max() < free_db + 3
    assert (gain.max(axis=1)[street] > -105).mean() > 0.9
    found = scripts.street_walks.trace_arguments(maps, 20, 10, STEP, -105.0, 0)
    trace = Trace.from_arrays(**found)
    assert trace.shape == (48, 10, 4, 20)
