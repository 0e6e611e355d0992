"""examples/bridges: files of ray tracers and channel models, made here, become traces."""

from __future__ import annotations

import cmath
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bridging import Run, imported, play, running
from folders import examples
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rrm_env.trace import Trace

Array = NDArray[Any]
STEP = 0.05

__all__ = ["imported", "running"]  # fixtures


def paths_of(generator: np.random.Generator, *shape: int) -> Array:
    """Coefficients of some 80 dB path loss; some paths are absent."""
    values = generator.standard_normal((2, *shape)) @ np.diag(np.ones(shape[-1]))
    present = generator.random(shape) < 0.8
    return np.asarray(1e-4 * present * (values[0] + 1j * values[1]), np.complex64)


def naive_gains(a: Array, tau: Array, bandwidth: float, count: int) -> tuple[float, float]:
    """Gains of one link with fading and without: a, tau (receive, transmit antennas, paths)."""
    fast = slow = 0.0
    for r in range(a.shape[0]):
        for s in range(a.shape[1]):
            slow += sum(abs(complex(x)) ** 2 for x in a[r, s]) / a.shape[1]
            for k in range(count):
                f = (k - (count - 1) / 2) * bandwidth / count
                terms = [
                    complex(x) * cmath.exp(-2j * math.pi * f * float(t))
                    for x, t in zip(a[r, s], tau[r, s], strict=True)
                ]
                fast += abs(sum(terms)) ** 2 / count / a.shape[1]
    return fast, slow


# --- Powers of paths ---


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(0))
def test_gains_are_the_sums_of_the_definition(
    receive: int, transmit: int, paths: int, subcarriers: int, seed: int
) -> None:
    with examples():
        import bridge
    generator = np.random.default_rng(seed)
    a = paths_of(generator, receive, transmit, paths)
    tau = generator.uniform(0, 1e-6, a.shape)
    fast, slow = bridge.gains_of_paths(a[None], tau[None], 20e6, subcarriers)
    assert (fast[0], slow[0]) == pytest.approx(naive_gains(a, tau, 20e6, subcarriers), rel=1e-5)


def test_the_mean_over_phases_is_the_gain_without_fading(scripts: SimpleNamespace) -> None:
    generator = np.random.default_rng(0)
    a = paths_of(generator, 2, 2, 4)
    turned = a * np.exp(2j * np.pi * generator.random((20_000, *a.shape)))
    fast, slow = scripts.bridge.gains_of_paths(turned, np.zeros((1, 1, 4)), 10e6, 1)
    assert fast.mean() == pytest.approx(slow[0], rel=0.02)


# --- Sionna RT ---


def solved(
    seed: int, steps: int = 2, receivers: int = 3, transmitters: int = 2
) -> dict[str, Array]:
    """What a run of Sionna RT's path solver gives."""
    generator = np.random.default_rng(seed)
    a = paths_of(generator, receivers, 2, transmitters, 3, 4, steps)
    return {
        "a": a,
        "tau": generator.uniform(0, 1e-6, (receivers, transmitters, 4)).astype(np.float32),
        "tx_positions": np.array([[0.0, 0.0, 10.0], [50.0, 0.0, 10.0]])[:transmitters],
        "rx_positions": generator.uniform(0, 0.5, (receivers, 3)) + seed / 10,
    }


def test_sionna_files_follow_each_other_in_time(run: Run, tmp_path: Path) -> None:
    runs = [solved(seed) for seed in range(2)]
    for k, arrays in enumerate(runs):
        held: dict[str, Any] = {**arrays}
        np.savez(tmp_path / f"{k}.npz", **held)
    options = ("--step-duration-s", STEP, "--subcarriers", 3)
    status, said = run("sionna_rt", "0.npz", "1.npz", *options)
    assert (status, "wrote gains.npz" in said) == (0, True), said
    trace = Trace.load(tmp_path / "gains.npz")
    assert (trace.shape, trace.unit, trace.step_duration_s) == ((1, 4, 2, 3), "path_gain", STEP)
    assert trace.large_scale_gain is not None
    assert trace.ue_positions is not None
    for t, i, j in np.ndindex(4, 2, 3):
        of = runs[t // 2]
        tau = np.broadcast_to(of["tau"][j, i], (2, 3, 4))
        expected = naive_gains(of["a"][j, :, i, :, :, t % 2], tau, 10e6, 3)
        found = trace.gain[0, t, i, j], trace.large_scale_gain[0, t, i, j]
        assert found == pytest.approx(expected, rel=1e-5)
        assert trace.ue_positions[0, t, j] == pytest.approx(of["rx_positions"][j, :2])
    assert play(tmp_path / "gains.npz").config.fading == "trace"


def test_sionna_files_are_places(scripts: SimpleNamespace) -> None:
    runs = [solved(seed) for seed in range(3)]
    found = scripts.sionna_rt.trace_arguments(runs, step_duration_s=STEP, join="places")
    trace = Trace.from_arrays(**found)
    assert trace.shape == (3, 2, 2, 3)
    alone = scripts.sionna_rt.trace_arguments(runs[1:2], step_duration_s=STEP)
    assert trace.gain[1] == pytest.approx(alone["gain"])
    # Delays with a number for each pair of antennas are the same thing.
    for one in runs:
        each = np.broadcast_to(one["tau"][:, None, :, None, :], one["a"].shape[:5])
        one["tau"] = np.ascontiguousarray(each)
    again = scripts.sionna_rt.trace_arguments(runs, step_duration_s=STEP, join="places")
    assert np.array_equal(again["gain"], found["gain"])


def without(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    return {key: value for key, value in arrays.items() if key != name}


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([without(solved(0), "tau")], "tau is missing; the file holds a, tx_positions"),
        ([{**solved(0), "a": solved(0)["a"].real}], "a must be complex and have shape"),
        ([{**solved(0), "a": solved(0)["a"][..., 0]}], r"a must be complex .* \(3, 2, 2, 3, 4\)"),
        ([{**solved(0), "tau": solved(0)["tau"].T}], r"tau must have shape .* got \(4, 2, 3\)"),
        ([solved(0), solved(0, receivers=4)], "same numbers of transmitters and receivers"),
        ([solved(0), without(solved(1), "rx_positions")], "rx_positions must be in all files"),
        (
            [{**solved(0), "rx_positions": np.zeros((2, 3))}],
            r"rx_positions must have shape \(3, 2 or 3\), got \(2, 3\)",
        ),
        (
            [solved(0), {**solved(1), "tx_positions": np.ones((2, 3))}],
            "access points do not move",
        ),
    ],
)
def test_bad_sionna_files_are_refused(
    scripts: SimpleNamespace, runs: list[dict[str, Array]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scripts.sionna_rt.trace_arguments(runs, step_duration_s=STEP)


def test_the_step_has_to_be_said(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "cir.npz", a=solved(0)["a"], tau=solved(0)["tau"])
    status, said = run("sionna_rt", "cir.npz")
    assert (status, "--step-duration-s is missing" in said) == (2, True)


def test_a_band_is_refused_by_name(scripts: SimpleNamespace) -> None:
    for options, name in (
        ({"bandwidth_hz": 0.0}, "bandwidth"),
        ({"subcarriers": 0}, "subcarriers"),
    ):
        with pytest.raises(ValueError, match=f"--{name}.* must be"):
            scripts.sionna_rt.trace_arguments([solved(0)], step_duration_s=STEP, **options)


# --- QuaDRiGa ---


def quadriga_file(snapshots: int = 3) -> dict[str, Any]:
    """The variables that mat_save of qd_channel writes for 3 receivers and 2 transmitters."""
    generator = np.random.default_rng(0)
    file: dict[str, Any] = {"ChannelDims": np.array([[3, 2, 1, 1]], np.int64)}
    for k, (i, j) in enumerate([(i, j) for i in (1, 2) for j in (1, 2, 3)]):
        start = f"channel_{k + 1:05}_"
        paths = 2 + k  # links have different numbers of paths
        file |= {
            f"{start}Name": f"Tx{i:04}_Rx{j:04}",
            f"{start}Version": "2.8.1-0",
            f"{start}Coeffs": paths_of(generator, 1, 2, paths, snapshots),
            f"{start}Delays": generator.uniform(0, 1e-6, (1, 2, paths, snapshots)),
            f"{start}rx_position": np.array([[10.0 * j], [0.0], [1.5]])
            + 0.05 * np.arange(snapshots),
            f"{start}tx_position": np.array([[100.0 * i], [0.0], [25.0]]),
        }
    return file


def check_quadriga(path: Path, file: dict[str, Any]) -> None:
    trace = Trace.load(path)
    assert (trace.shape, trace.unit) == ((1, 3, 2, 3), "path_gain")
    assert trace.large_scale_gain is not None
    assert trace.ap_positions is not None
    assert trace.ue_positions is not None
    for t, i, j in np.ndindex(3, 2, 3):
        start = f"channel_{3 * i + j + 1:05}_"
        a, tau = (file[f"{start}{name}"][..., t] for name in ("Coeffs", "Delays"))
        found = trace.gain[0, t, i, j], trace.large_scale_gain[0, t, i, j]
        assert found == pytest.approx(naive_gains(a, tau, 10e6, 32), rel=1e-4)
        assert trace.ue_positions[0, t, j] == pytest.approx(file[f"{start}rx_position"][:2, t])
        assert trace.ap_positions[0, i].tolist() == [100.0 * (i + 1), 0.0]


def test_quadriga_channels_become_a_trace(run: Run, tmp_path: Path) -> None:
    scipy_io = pytest.importorskip("scipy.io")
    scipy_io.savemat(tmp_path / "channels.mat", quadriga_file())
    status, said = run("quadriga", "channels.mat", "--step-duration-s", STEP)
    assert status == 0, said
    check_quadriga(tmp_path / "gains.npz", quadriga_file())
    play(tmp_path / "gains.npz")


def matlab_array(value: Any) -> Array:
    """A text or an array as MATLAB 7.3 stores it: codes, and axes in reverse."""
    if isinstance(value, str):
        return np.array([[ord(letter)] for letter in value], np.uint16)
    return np.asarray(value).T


def test_quadriga_channels_in_matlab_7_3_files(run: Run, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "channels.mat"
    with h5py.File(path, "w", userblock_size=512) as held:
        for name, value in quadriga_file().items():
            array = matlab_array(value)
            if array.dtype.kind == "c":
                parts = np.empty(array.shape, [("real", "f4"), ("imag", "f4")])
                parts["real"], parts["imag"] = array.real, array.imag
                array = parts
            held[name] = array
        held.create_group("#refs#")
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")
    status, said = run("quadriga", "channels.mat", "--step-duration-s", STEP)
    assert status == 0, said
    check_quadriga(tmp_path / "gains.npz", quadriga_file())


def test_delays_of_all_antennas_and_missing_axes(scripts: SimpleNamespace) -> None:
    """One snapshot has no fourth axis, one path of one snapshot no third; delays may be shared."""
    a = paths_of(np.random.default_rng(1), 1, 2, 3)
    tau = np.array([0.0, 1e-7, 3e-7])
    link = {"Name": "A_B", "Coeffs": a, "Delays": tau[:, None]}
    found = scripts.quadriga.trace_arguments([link], step_duration_s=STEP, subcarriers=4)
    expected = naive_gains(a, np.broadcast_to(tau, a.shape), 10e6, 4)
    assert (found["gain"], found["large_scale_gain"]) == pytest.approx(expected, rel=1e-5)
    assert "ap_positions" not in found
    single = scripts.quadriga.trace_arguments(
        [{"Name": "A_B", "Coeffs": a[..., 0], "Delays": np.zeros((1, 1))}], step_duration_s=STEP
    )
    assert single["gain"].ravel() == pytest.approx((abs(a[..., 0]) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channel_00002_Name": "Tx0001_Rx0001"}, "there are two channels Tx0001_Rx0001"),
        ({"channel_00002_Name": "Tx0001_Rx0009"}, "channel Tx0001_Rx0002 is missing"),
        ({"channel_00002_Name": "UMi_Tx0001_Rx0002_seg0001"}, "join the segments"),
        ({"channel_00003_Coeffs": np.zeros((0, 0))}, "channel Tx0001_Rx0003 has no coefficients"),
        ({"channel_00003_Coeffs": np.ones((1, 2, 4, 2))}, "the delays of channel Tx0001_Rx0003"),
        ({"ChannelDims": np.array([[3, 2, 2, 1]])}, "the channels have 2 carriers"),
    ],
)
def test_bad_quadriga_files_are_refused(
    scripts: SimpleNamespace, changes: dict[str, Any], message: str
) -> None:

    def convert() -> None:
        links = scripts.quadriga.links_of({**quadriga_file(), **changes})
        scripts.quadriga.trace_arguments(links, step_duration_s=STEP)

    with pytest.raises(ValueError, match=message):
        convert()


def test_other_quadriga_files_are_refused(
    scripts: SimpleNamespace, run: Run, tmp_path: Path
) -> None:
    links = scripts.quadriga.links_of(quadriga_file())
    links[4] = scripts.quadriga.links_of(quadriga_file(4))[4]
    with pytest.raises(ValueError, match="channel Tx0002_Rx0002 has 4 snapshots, Tx0001_Rx0001"):
        scripts.quadriga.trace_arguments(links, step_duration_s=STEP)
    with pytest.raises(ValueError, match=r"no channels by QuaDRiGa's names.* it has c"):
        scripts.quadriga.links_of({"c": np.zeros(1)})
    (tmp_path / "text.mat").write_text("no such thing" * 100, encoding="utf-8")
    status, said = run("quadriga", "text.mat", "--step-duration-s", STEP)
    assert status == 2
    assert "text.mat is no MATLAB file" in said
    status, said = run("quadriga", "missing.mat", "--step-duration-s", STEP)
    assert status == 2
    assert "there is no file 'missing.mat'" in said
