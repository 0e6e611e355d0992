"""examples/bridges/drive_test_csv.py: tables of RSRP become traces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bridging import Run, imported, play, running
from folders import examples
from hypothesis import given
from hypothesis import strategies as st

from rrm_env.trace import Trace

__all__ = ["imported", "running"]  # fixtures

HEADER = "time,user,cell,rsrp_dbm"
OVER_BAND = 10 * math.log10(600)


def table(*lines: str, header: str = HEADER) -> str:
    return "\n".join([header, *lines]) + "\n"


def rows_of(scripts: SimpleNamespace, values: Sequence[tuple[float, str, str, float]]) -> list[Any]:
    row = scripts.drive_test_csv.Row
    return [row(k + 2, *value, None) for k, value in enumerate(values)]


def drive() -> list[tuple[float, str, str, float]]:
    """Two users who measure two cells each second for 10 s, the second a bit later."""
    return [
        (t + late, user, cell, -90 - t * slope - 5 * (cell == "b"))
        for t in range(11)
        for user, late, slope in (("u", 0.0, 1.0), ("v", 0.25, 0.5))
        for cell in ("a", "b")
    ]


def test_a_drive_test_becomes_a_trace(run: Run, tmp_path: Path) -> None:
    lines = [
        f"{t:g}, {user}, {cell}, {rsrp:g}, {10 * t:g}, {len(user):g}"
        for t, user, cell, rsrp in reversed(drive())
    ]
    text = table(*lines, header="time, user, cell, rsrp_dbm, x, y")
    (tmp_path / "rsrp.csv").write_text("\ufeff" + text, encoding="utf-8")
    sites = table("b,100,7", "a,0,5", "other,1,1", header="cell,x,y")
    (tmp_path / "sites.csv").write_text(sites, encoding="utf-8")
    options = ("--sites", "sites.csv", "--step-duration-s", 0.5, "--out", "gains.npz")
    status, said = run("drive_test_csv", "rsrp.csv", *options)
    assert status == 0, said
    trace = Trace.load(tmp_path / "gains.npz")
    assert (trace.shape, trace.unit) == ((1, 20, 2, 2), "received_dbm")
    assert trace.ap_positions is not None
    assert trace.ue_positions is not None
    assert trace.ap_positions[0].tolist() == [[0.0, 5.0], [100.0, 7.0]]
    for k in range(20):  # from 0.25 s, when the second user begins
        time = 0.25 + k / 2
        for i in range(2):
            slopes = time, 0.5 * (time - 0.25)
            expected = [-90 - slope - 5 * i + OVER_BAND for slope in slopes]
            assert trace.gain[0, k, i] == pytest.approx(expected, abs=1e-4)
        assert trace.ue_positions[0, k] == pytest.approx(np.array([[10 * time, 1.0]] * 2), abs=1e-4)
    play(tmp_path / "gains.npz")


@given(st.data())
def test_steps_are_interpolated_between_the_nearest_measurements(data: st.DataObject) -> None:
    with examples():
        from drive_test_csv import Row, trace_arguments
    times = sorted(data.draw(st.sets(st.integers(0, 300), min_size=2, max_size=12)))
    values = [data.draw(st.floats(-140, -60)) for _ in times]
    gap = data.draw(st.floats(0.05, 6))
    kind = data.draw(st.sampled_from(("interpolate", "unheard")))
    rows = [Row(2, t / 10, "u", "c", v, None) for t, v in zip(times, values, strict=True)]
    found = trace_arguments(
        rows, step_duration_s=0.07, gaps=kind, longest_gap_s=gap, subcarriers=1
    )["gain"][:, 0, 0]
    assert len(found) == math.floor((times[-1] - times[0]) / 10 / 0.07 + 1e-6) + 1
    for k, gain in enumerate(found):
        t = times[0] / 10 + 0.07 * k
        later = next((n for n, time in enumerate(times) if time / 10 > t + 1e-9), len(times) - 1)
        before, after = times[later - 1] / 10, times[later] / 10
        share = (t - before) / (after - before)
        expected = values[later - 1] * (1 - share) + values[later] * share
        is_apart = min(abs(t - before), abs(after - t)) > 1e-6
        if kind == "unheard" and abs(after - before - gap) < 1e-6:
            continue
        if kind == "unheard" and after - before > gap and is_apart:
            assert gain == -np.inf
        else:
            assert gain == pytest.approx(expected, abs=1e-3)


def test_gaps_are_refused_or_filled_as_said(scripts: SimpleNamespace) -> None:
    script = scripts.drive_test_csv
    values = [one for one in drive() if not (one[1:3] == ("u", "b") and 3 < one[0] < 7)]
    rows = rows_of(scripts, values)
    with pytest.raises(ValueError, match=r"user u did not measure cell b around 3\.25 s .* 2 s;"):
        script.trace_arguments(rows, step_duration_s=0.5)
    assert np.isfinite(script.trace_arguments(rows, longest_gap_s=4.0)["gain"]).all()
    unheard = script.trace_arguments(rows, step_duration_s=0.5, gaps="unheard")["gain"]
    gone = np.isneginf(unheard)
    assert gone[6:14, 1, 0].all()  # 3.25 s to 6.75 s
    assert gone.sum() == 8
    filled = script.trace_arguments(rows, step_duration_s=0.5, gaps="interpolate")["gain"]
    assert np.isfinite(filled).all()
    assert np.array_equal(filled[~gone], unheard[~gone])
    never = [one for one in drive() if one[1:3] != ("u", "b")]
    with pytest.raises(ValueError, match="user u never measured cell b; --gaps unheard"):
        script.trace_arguments(rows_of(scripts, never), gaps="interpolate")
    gain = script.trace_arguments(rows_of(scripts, never), gaps="unheard")["gain"]
    assert np.isneginf(gain[:, 1, 0]).all()
    assert np.isfinite(np.delete(gain.reshape(len(gain), 4), 2, axis=1)).all()


def test_a_cell_that_is_measured_a_little_later_is_no_gap(scripts: SimpleNamespace) -> None:
    values = [(t + 0.3 * (cell == "b"), user, cell, rsrp) for t, user, cell, rsrp in drive()]
    gain = scripts.drive_test_csv.trace_arguments(rows_of(scripts, values))["gain"]
    assert gain[0, 1, 1] == pytest.approx(-95 + OVER_BAND)


def test_drives_made_one_after_the_other(scripts: SimpleNamespace) -> None:
    values = [(t + 100 * (user == "v"), user, cell, rsrp) for t, user, cell, rsrp in drive()]
    rows = rows_of(scripts, values)
    message = r"user v begins at 100\.25 s, after user u ends at 10 s .* --align start"
    with pytest.raises(ValueError, match=message):
        scripts.drive_test_csv.trace_arguments(rows)
    found = scripts.drive_test_csv.trace_arguments(rows, align="start", step_duration_s=1.0)
    assert found["gain"].shape == (11, 2, 2)
    assert found["gain"][:, 0, 1] == pytest.approx(-90 - 0.5 * np.arange(11) + OVER_BAND)


def test_cells_are_chosen_and_ordered(scripts: SimpleNamespace) -> None:
    rows = rows_of(scripts, drive())
    both = scripts.drive_test_csv.trace_arguments(rows)["gain"]
    swapped = scripts.drive_test_csv.trace_arguments(rows, cells=("b", "a"))["gain"]
    assert np.array_equal(swapped, both[:, ::-1])
    assert scripts.drive_test_csv.trace_arguments(rows, cells=("b",))["gain"].shape[1] == 1
    with pytest.raises(ValueError, match="unknown cell 'c'"):
        scripts.drive_test_csv.trace_arguments(rows, cells=("c",))
    with pytest.raises(ValueError, match="the sites lack cell 'b'"):
        scripts.drive_test_csv.trace_arguments(rows, sites={"a": (0.0, 0.0)})


@pytest.mark.parametrize(
    ("times", "options"),
    [
        (("2026-01-31T12:00:00", "2026-01-31T12:00:01.500"), ()),
        (("2026-01-31T12:00:00Z", "2026-01-31T12:00:01.500+00:00"), ()),
        (("1000", "2500"), ("--time-unit", "ms")),
        (("7", "8.5"), ("--step-duration-s", "0.05")),
    ],
)
def test_times_are_seconds_or_dates(
    run: Run, tmp_path: Path, times: tuple[str, str], options: tuple[str, ...]
) -> None:
    lines = [f"{time},u,c,{-90 - k}" for k, time in enumerate(times)]
    (tmp_path / "rsrp.csv").write_text(table(*lines), encoding="utf-8")
    status, said = run("drive_test_csv", "rsrp.csv", "--subcarriers", 1, *options)
    assert status == 0, said
    gain = Trace.load(tmp_path / "gains.npz").gain[0, :, 0, 0]
    assert gain == pytest.approx(-90 - np.arange(31) / 30, abs=1e-4)


GOOD = "0,u,c,-90"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rsrp.csv: column time is missing; the file has none"),
        (table(header=HEADER), "the file has no measurements"),
        (
            table(GOOD, header="time,user,cell,rssi"),
            "column rsrp_dbm is missing; the file has time",
        ),
        (table("0,u,c,-90,1", header=f"{HEADER},x"), "columns x and y belong together"),
        (table(GOOD, "1,u,c"), "line 3: 4 values are needed"),
        (table(GOOD, "1,u,c,-90,5"), "line 3: 4 values are needed"),
        (table(GOOD, "1,u,c,loud"), "line 3: rsrp_dbm must be a number, got 'loud'"),
        (table(GOOD, "1,u,c,nan"), "line 3: rsrp_dbm must be a number, got 'nan'"),
        (
            table(GOOD, "1,u,c,90"),
            "line 3: rsrp_dbm must be from -200 to 30 dBm, got 90; is a sign",
        ),
        (table(GOOD, "1,,c,-90"), "line 3: user is empty"),
        (table(GOOD, "1,u,,-90"), "line 3: cell is empty"),
        (table(GOOD, "noon,u,c,-90"), "line 3: time must be seconds or a date"),
        (table(GOOD, "0,u,c,-91"), "lines 2 and 3: two values of user u and cell c"),
        (table(GOOD, "1e9,u,c,-91"), "is time in milliseconds? (--time-unit ms)"),
    ],
)
def test_bad_tables_are_refused(run: Run, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rsrp.csv").write_text(text, encoding="utf-8")
    status, said = run("drive_test_csv", "rsrp.csv")
    assert (status, message in said) == (2, True), said
    assert not (tmp_path / "gains.npz").exists()


def test_steps_without_duration_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rsrp.csv").write_text(table(GOOD, "1,u,c,-91"), encoding="utf-8")
    status, said = run("drive_test_csv", "rsrp.csv", "--step-duration-s", 0)
    assert (status, "--step-duration-s must be above 0" in said) == (2, True)
