"""Files and arrays that are no trace are refused before anything plays them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded import APS, PLACES, STEPS, UES, arrays, trace_file

from rrm_env import Network, RRMConfig, Trace

SHAPE = PLACES, STEPS, APS, UES
GOOD = arrays()


def altered(name: str, value: float) -> dict[str, Any]:
    """One entry of an array replaced."""
    array = np.array(GOOD[name], float)
    array[1, 2, 0] = value
    return {name: array}


ARRAYS: list[tuple[str, dict[str, Any], type[Exception], str]] = [
    ("unit unknown", {"unit": "dB"}, ValueError, r"unknown unit 'dB'.*allowed: snr, snr_db, path_"),
    ("unit no text", {"unit": 3}, ValueError, "unknown unit '3'"),
    ("too few dimensions", {"gain": np.ones((4, 4))}, ValueError, r"must have shape \(T, I, J"),
    ("empty", {"gain": np.ones((0, 3, 7))}, ValueError, "gain must not be empty"),
    ("complex", {"gain": np.ones(SHAPE) * 1j}, TypeError, r"must hold powers.*abs\(h\) \*\* 2"),
    ("texts", {"gain": np.full(SHAPE, "1")}, TypeError, "gain must hold numbers, got dtype"),
    ("truth values", {"gain": np.ones(SHAPE, bool)}, TypeError, "gain must hold numbers"),
    ("NaN", altered("gain", np.nan), ValueError, r"gain\[1, 2, 0, 0\] must be .*, got nan"),
    ("infinite", altered("gain", np.inf), ValueError, r"gain\[1, 2, 0, 0\] must be .*, got inf"),
    ("negative", altered("gain", -3.0), ValueError, r"got -3\.0; is it in dB \(unit 'snr_db'\)"),
    (
        "infinite decibels",
        {**altered("gain", np.inf), "unit": "snr_db", "large_scale_gain": None},
        ValueError,
        r"gain\[1, 2, 0, 0\] must be a finite number or -inf, got inf",
    ),
    ("no path at all", {"gain": np.zeros(SHAPE)}, ValueError, "must have a path in some step"),
    ("far too strong", altered("gain", 1e20), ValueError, r"must not exceed 1e\+18, got 1e\+20"),
    (
        "more than was sent",
        {"unit": "path_gain"},
        ValueError,
        "unit 'path_gain' must not exceed 1, .*no more power arrives than is sent",
    ),
    (
        "loss instead of gain",
        {"unit": "path_gain_db", "gain": np.full(SHAPE, 97.0)},
        ValueError,
        "must not exceed 0, got 97; a loss of 100 dB is a gain of -100 dB",
    ),
    (
        "linear instead of decibels",
        {"unit": "path_gain_db", "gain": np.full(SHAPE, -1e-9), "large_scale_gain": None},
        ValueError,
        "lies within 1 dB of 0, .*is it linear",
    ),
    (
        "volts",
        {"unit": "received_dbm", "gain": np.full(SHAPE, 90.0), "large_scale_gain": None},
        ValueError,
        "unit 'received_dbm' must not exceed 80, got 90",
    ),
    (
        "large-scale of another unit",
        {"large_scale_gain": GOOD["large_scale_gain"] / 1e4},
        ValueError,
        r"gain is \+40 dB from large_scale_gain on average, allowed: up to 30",
    ),
    (
        "large-scale of another shape",
        {"large_scale_gain": GOOD["large_scale_gain"][:, :, :, :5]},
        ValueError,
        rf"large_scale_gain must have shape \({PLACES}, {STEPS}, {APS}, {UES}\) or "
        rf"\({PLACES}, {APS}, {UES}\) beside gain .*, got",
    ),
    (
        "negative large-scale",
        altered("large_scale_gain", -1.0),
        ValueError,
        r"large_scale_gain\[1, 2, 0, 0\] must be",
    ),
    ("no time", {"step_duration_s": 0.0}, ValueError, "step_duration_s must be above 0"),
    ("milliseconds", {"step_duration_s": 100.0}, ValueError, "at most 60 s, got 100; is it in m"),
    ("time as text", {"step_duration_s": "50 ms"}, TypeError, "must be a number of seconds, got"),
    ("NaN time", {"step_duration_s": np.nan}, ValueError, "step_duration_s must be above 0"),
    (
        "positions of other access points",
        {"ap_positions": GOOD["ap_positions"][:, :2]},
        ValueError,
        r"ap_positions must have shape \(4, 3, 2\)",
    ),
    (
        "positions in space",
        {"ue_positions": np.zeros((*SHAPE[:2], UES, 3))},
        ValueError,
        r"ue_positions must have shape \(4, 40, 7, 2\) or \(4, 7, 2\)",
    ),
    ("NaN position", altered("ap_positions", np.nan), ValueError, "ap_positions must be finite"),
    (
        "millimetres",
        {"ue_positions": 1000 * GOOD["ue_positions"]},
        ValueError,
        "ue_positions move at .* m/s in the median, allowed: up to 500; are they in millimetres",
    ),
    (
        "positions as text",
        {"ap_positions": np.full((PLACES, APS, 2), "0")},
        TypeError,
        "ap_positions must hold numbers",
    ),
    (
        "wide",
        {"ap_positions": 1e5 * GOOD["ap_positions"]},
        ValueError,
        r"ap_positions must span at most 1e\+06 m",
    ),
    ("association out of range", {"association": np.full((PLACES, UES), 3)}, ValueError,
     r"association\[0, 0\] must be an access point from 0 to 2, got 3"),
    ("association of floats", {"association": np.zeros((PLACES, UES))}, TypeError,
     "association must hold integers, got dtype float64"),
    ("association of one user", {"association": np.zeros((PLACES, 1), int)}, ValueError,
     r"association must have shape \(4, 7\)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [case[1:] for case in ARRAYS],
    ids=[case[0] for case in ARRAYS],
)
def test_arrays_that_are_no_trace_are_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    if changes.get("unit", "snr") != "snr" and "large_scale_gain" not in changes:
        changes = {**changes, "large_scale_gain": None}
    with pytest.raises(error, match=message):
        Trace.from_arrays(**arrays(**changes))
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays(**changes))
    with pytest.raises(error, match=f"^{re.escape(str(path))}: .*{message}"):
        Trace.load(path)


def _no_archive(path: Path) -> None:
    path.write_text("time,user,rsrp\n")


def _cut(path: Path) -> None:
    trace_file(path.parent, path.name)
    path.write_bytes(path.read_bytes()[:-9000])


def _objects(path: Path) -> None:
    np.savez(path, gain=np.array([None, "a"], object), unit="snr", step_duration_s=0.05)


def _other_values(path: Path) -> None:
    trace = trace_file(path.parent, path.name)
    described = {"unit": "snr", "step_duration_s": 0.05, "name": "", "checksum": trace.checksum}
    doubled: dict[str, Any] = {**trace.arrays, **described, "gain": 2 * np.asarray(trace.gain)}
    np.savez(path, **doubled)


FILES: list[tuple[str, str, Callable[[Path], object], str]] = [
    ("missing", "gains.npz", Path.exists, "there is no trace"),
    ("other ending", "gains.csv", _no_archive, r"a trace is a file \.npz, \.h5, .*; got '\.csv'"),
    ("no archive", "gains.npz", _no_archive, r"gains\.npz is no \.npz file, or damaged"),
    ("empty file", "gains.npz", lambda path: path.touch(), r"is no \.npz file, or damaged"),
    ("cut short", "gains.npz", _cut, r"is no \.npz file, or damaged"),
    ("objects", "gains.npz", _objects, "Object arrays cannot be loaded|Python objects"),
    ("other values", "gains.npz", _other_values, "is damaged: its checksum is"),
    ("misspelt", "gains.npz", lambda path: np.savez(path, gains=GOOD["gain"]),
     r"unknown array 'gains' \(did you mean 'gain'\?\)"),
    ("without gains", "gains.npz", lambda path: np.savez(path, unit="snr"),
     "gain is missing; the file holds unit"),
    ("without unit", "gains.npz",
     lambda path: np.savez(path, gain=GOOD["gain"], step_duration_s=0.05),
     r"unit is missing; .*Trace\.load\(path, unit=\.\.\.\)\.save"),
    ("without time", "gains.npz", lambda path: np.savez(path, gain=GOOD["gain"], unit="snr"),
     "step_duration_s is missing"),
    ("two units", "gains.npz",
     lambda path: np.savez(path, gain=GOOD["gain"], unit=["snr", "snr"], step_duration_s=0.05),
     "unit, step_duration_s and name must be single values"),
    ("no HDF5", "gains.h5", _no_archive, r"is no \.h5 file, or damaged"),
    ("no MATLAB file", "gains.mat", _no_archive, r"is no \.mat file, or damaged|Unknown mat"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "make", "message"), [case[1:] for case in FILES], ids=[case[0] for case in FILES]
)
def test_files_that_are_no_trace_are_refused(
    tmp_path: Path, file: str, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / file)
    with pytest.raises(ValueError, match=message):
        Trace.load(tmp_path / file)


def test_unit_and_step_duration_can_be_given_where_the_file_does_not_say_them(
    tmp_path: Path,
) -> None:
    path = tmp_path / "bare.npz"
    np.savez(path, gain=GOOD["gain"])
    trace = Trace.load(path, unit="snr", step_duration_s=0.05)
    with pytest.raises(ValueError, match="the trace is in no file"):
        trace.config()
    assert trace.save(tmp_path / "whole.npz").config().n_aps == APS
    with pytest.raises(ValueError, match=r"unit = 'snr_db' contradicts .*, which says 'snr'"):
        Trace.load(tmp_path / "whole.npz", unit="snr_db")
    for bad in ("trace.csv", "trace.mat", "missing/trace.npz"):
        with pytest.raises(ValueError, match=r"written as \.npz|existing folder"):
            trace.save(tmp_path / bad)
    with pytest.raises(ValueError, match="steps must be an integer of at least 2"):
        trace.with_large_scale(1)
    with pytest.raises(ValueError, match="large_scale_gain is known already"):
        Trace.from_arrays(**GOOD).with_large_scale(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_aps": 4}, "n_aps = 4, but trace .* has 3"),
        ({"n_ues": 20}, "n_ues = 20, but trace .* has 7"),
        ({"step_duration_s": 0.1}, r"step_duration_s = 0\.1, but trace .* has steps of 0\.05 s"),
        (
            {"episode_length": 200},
            r"has 40 steps in each place.* needs .* = 202: lower episode_len",
        ),
        ({"trace_checksum": "abc"}, r"made for abc\.\.\.: it is another trace"),
        ({"propagation": "umi"}, "propagation = 'umi' does not go with a trace"),
        ({"ap_positions": [[1, 2]] * 3}, "ap_positions = .* does not go with a trace"),
    ],
)
def test_configurations_that_do_not_fit_their_trace_are_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    config = trace_file(tmp_path).config(episode_length=5)
    with pytest.raises(ValueError, match=message):
        Network(dataclasses.replace(config, **changes))


def test_parts_of_a_trace_that_it_does_not_have_are_refused(tmp_path: Path) -> None:
    two: dict[str, Any] = {
        name: value[:2] for name, value in GOOD.items() if isinstance(value, np.ndarray)
    }
    few = trace_file(tmp_path, **two)
    with pytest.raises(ValueError, match=r"needs a trace of at least 3 places, .* has 2"):
        Network(few.config(episode_length=5, trace_split="place"))
    with pytest.raises(ValueError, match=r"8 in its shortest part .* = 12"):
        Network(few.config(episode_length=10))
    plain = trace_file(tmp_path, "plain.npz", large_scale_gain=None, association=None)
    with pytest.raises(ValueError, match="fading = 'trace' needs large_scale_gain"):
        Network(plain.config(episode_length=5, fading="trace"))
    with pytest.raises(ValueError, match=r"association = 'given', but trace .* has none"):
        Network(plain.config(episode_length=5, association="given"))
    with pytest.raises(ValueError, match="fading = 'trace' needs a trace, got trace = None"):
        RRMConfig(fading="trace")
    with pytest.raises(ValueError, match="trace_checksum = 'a' needs a trace"):
        RRMConfig(trace_checksum="a")
