"""RSRP of drive tests, a table in CSV, as a trace.

``python examples/bridges/drive_test_csv.py rsrp.csv --out gains.npz`` reads columns ``time``
(seconds, or ISO 8601), ``user``, ``cell`` and ``rsrp_dbm``, and perhaps ``x`` and ``y`` in metres.
Each row is what a user's device measured of a cell. ``--sites sites.csv`` adds the positions of the
cells: columns ``cell``, ``x`` and ``y``. Cells become access points, in the order of their names.

Measurements are put onto steps of equal length, from the time when the last user begins until the
first ends, by linear interpolation in dB. Where a user has not measured a cell for longer than
``--longest-gap-s``, ``--gaps`` says what happens: ``refuse`` stops with an error that names user,
cell and time; ``interpolate`` draws the line across the gap, and holds the first and last value
beyond the ends; ``unheard`` takes the cell as absent there, as scanners leave out weak cells.
``--align start`` lets each user's time begin at 0, for drives made one after the other.

RSRP is the power of one subcarrier. The trace holds the power over the band, so 10 log10 of the
number of ``--subcarriers`` is added: 600 in 10 MHz of LTE, or 1 if the column holds power over the
band already.
"""

from __future__ import annotations

import csv
import functools
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from bridge import Arguments, check_step, existing, parser_of, write_trace
from numpy.typing import NDArray

from rrm_env.checks import nearest

COLUMNS = ("time", "user", "cell", "rsrp_dbm")
GAPS = ("refuse", "interpolate", "unheard")
ALIGNMENTS = ("clock", "start")
RANGE_DBM = -200.0, 30.0
"""Values that an RSRP in dBm can have."""
MOST_STEPS = 10_000_000


@dataclass(frozen=True)
class Row:
    """A measurement."""

    line: int
    time: float
    user: str
    cell: str
    rsrp_dbm: float
    place: tuple[float, float] | None


def trace_arguments(
    rows: list[Row],
    *,
    step_duration_s: float = 0.05,
    gaps: str = "refuse",
    longest_gap_s: float = 2.0,
    align: str = "clock",
    subcarriers: int = 600,
    cells: Iterable[str] = (),
    sites: dict[str, tuple[float, float]] | None = None,
    name: str = "",
) -> Arguments:
    """Measurements, as the arguments of `Trace.from_arrays`.

    Args:
        rows: in any order.
        step_duration_s: duration of a step.
        gaps: "refuse", "interpolate" or "unheard".
        longest_gap_s: time between two measurements of a link that is no gap.
        align: whether times are of one "clock", or each user's begin at the "start".
        subcarriers: of the band, whose power RSRP is the mean of.
        cells: the access points, in order (default: all, by name); others are left out.
        sites: positions of cells.
        name: what the trace is of.

    Raises:
        ValueError: no rows, an unknown cell, two values at once, users who never measure at the
            same time, or a gap that is refused.
    """
    check_step(step_duration_s)
    if not rows:
        raise ValueError("the file has no measurements")
    chosen = _chosen(rows, cells, sites)
    users = sorted({row.user for row in rows})
    begins = {user: min(row.time for row in rows if row.user == user) for user in users}
    if align == "clock":
        begins = dict.fromkeys(users, min(begins.values()))
    series = _series(rows, begins)
    steps = _steps(series, users, step_duration_s)
    gain = np.empty((len(steps), len(chosen), len(users)), np.float32)
    for i, cell in enumerate(chosen):
        for j, user in enumerate(users):
            gain[:, i, j] = _resampled(series, user, cell, steps, gaps, longest_gap_s)
    known: Arguments = {}
    if sites is not None:
        known["ap_positions"] = np.array([sites[cell] for cell in chosen])
    if all(row.place is not None for row in rows):
        known["ue_positions"] = np.stack([_way(rows, user, begins, steps) for user in users], 1)
    return {
        "gain": gain + np.float32(10 * math.log10(subcarriers)),
        "unit": "received_dbm",
        "step_duration_s": step_duration_s,
        "name": name,
        **known,
    }


def _chosen(
    rows: list[Row], cells: Iterable[str], sites: dict[str, tuple[float, float]] | None
) -> list[str]:
    """The cells of the trace, which are measured and have sites if there are any."""
    measured = sorted({row.cell for row in rows})
    chosen = list(dict.fromkeys(cells)) or measured
    for cell in chosen:
        if cell not in measured:
            raise ValueError(f"unknown cell {nearest(cell, measured)}")
        if sites is not None and cell not in sites:
            raise ValueError(f"the sites lack cell {nearest(cell, sites)}")
    return chosen


Series = dict[tuple[str, str], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Times and values of a user and a cell, in order of time."""


def _series(rows: list[Row], begins: dict[str, float]) -> Series:
    found: dict[tuple[str, str], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.time):
        earlier = found.setdefault((row.user, row.cell), [])
        if earlier and earlier[-1].time == row.time:
            raise ValueError(
                f"lines {earlier[-1].line} and {row.line}: two values of user {row.user} and cell "
                f"{row.cell} at the same time {row.time:.10g}"
            )
        earlier.append(row)
    return {
        key: (
            np.array([row.time - begins[row.user] for row in several]),
            np.array([row.rsrp_dbm for row in several]),
        )
        for key, several in found.items()
    }


def _steps(series: Series, users: list[str], seconds: float) -> NDArray[np.float64]:
    """Times of the steps: while every user measures something."""
    ends = {
        user: (
            min(float(times[0]) for (one, _), (times, _) in series.items() if one == user),
            max(float(times[-1]) for (one, _), (times, _) in series.items() if one == user),
        )
        for user in users
    }
    last = max(users, key=lambda user: ends[user][0])
    first = min(users, key=lambda user: ends[user][1])
    begin, end = ends[last][0], ends[first][1]
    if begin > end:
        raise ValueError(
            f"user {last} begins at {begin:g} s, after user {first} ends at {end:g} s (from the "
            "first row on): users must measure at the same time; --align start lets each user's "
            "time begin at 0"
        )
    count = math.floor((end - begin) / seconds + 1e-9) + 1
    if count > MOST_STEPS:
        raise ValueError(
            f"{end - begin:g} s in steps of {seconds:g} s are {count} steps, allowed: up to "
            f"{MOST_STEPS}; is time in milliseconds? (--time-unit ms)"
        )
    return np.asarray(begin + seconds * np.arange(count), np.float64)


def _resampled(
    series: Series,
    user: str,
    cell: str,
    steps: NDArray[np.float64],
    gaps: str,
    longest_gap_s: float,
) -> NDArray[np.float64]:
    """RSRP of a link at the steps; -inf where it is unheard."""
    if (user, cell) not in series:
        if gaps != "unheard":
            raise ValueError(
                f"user {user} never measured cell {cell}; --gaps unheard takes it as absent"
            )
        return np.full(len(steps), -np.inf)
    times, values = series[user, cell]
    after = np.searchsorted(times, steps)
    to_next = np.append(times, np.inf)[after] - steps
    since_last = steps - np.concatenate([[-np.inf], times])[after]
    closest = np.minimum(to_next, since_last)
    width = np.where(np.isinf(to_next + since_last), closest, to_next + since_last)
    # Steps are computed, so that they may miss a measurement by a rounding.
    in_gap = (width > longest_gap_s) & (closest > 1e-6)
    resampled = np.interp(steps, times, values)
    if gaps == "refuse" and in_gap.any():
        at = float(steps[in_gap.argmax()])
        raise ValueError(
            f"user {user} did not measure cell {cell} around {at:g} s (from the first row on) for "
            f"longer than {longest_gap_s:g} s; --gaps interpolate or --gaps unheard allows it, or "
            "raise --longest-gap-s"
        )
    return np.where(in_gap, -np.inf, resampled) if gaps == "unheard" else resampled


def _way(
    rows: list[Row], user: str, begins: dict[str, float], steps: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Positions (T, 2) of a user, between measurements on straight lines."""
    places = {row.time - begins[user]: row.place for row in rows if row.user == user}
    times = np.array(sorted(places))
    points = np.array([places[time] for time in times.tolist()], float)
    return np.stack([np.interp(steps, times, points[:, k]) for k in (0, 1)], axis=1)


# --- Files ---


def read(path: Path, seconds: float = 1.0) -> list[Row]:
    """The measurements of a file.

    Args:
        path: of the table.
        seconds: that one unit of ``time`` lasts, where it is a number.

    Raises:
        ValueError: a missing column or value, or one that is no RSRP; the error names the line.
    """
    rows = []
    lines, known = _table(path, COLUMNS)
    if ("x" in known) != ("y" in known):
        raise ValueError(f"{path}: columns x and y belong together, got {', '.join(known)}")
    for line, values in lines:
        place = None
        if "x" in known:
            place = (_number(path, line, "x", values), _number(path, line, "y", values))
        rsrp = _number(path, line, "rsrp_dbm", values)
        if not RANGE_DBM[0] <= rsrp <= RANGE_DBM[1]:
            raise ValueError(
                f"{path}, line {line}: rsrp_dbm must be from {RANGE_DBM[0]:g} to {RANGE_DBM[1]:g} "
                f"dBm, got {rsrp:g}; is a sign missing, or another unit meant?"
            )
        for name in ("user", "cell"):
            if not values[name]:
                raise ValueError(f"{path}, line {line}: {name} is empty")
        time = _time(path, line, values, seconds)
        rows.append(Row(line, time, values["user"], values["cell"], rsrp, place))
    return rows


def read_sites(path: Path) -> dict[str, tuple[float, float]]:
    """Positions of cells in metres."""
    lines, _ = _table(path, ("cell", "x", "y"))
    return {
        values["cell"]: (_number(path, line, "x", values), _number(path, line, "y", values))
        for line, values in lines
    }


def _table(
    path: Path, columns: tuple[str, ...]
) -> tuple[list[tuple[int, dict[str, str]]], list[str]]:
    """Lines with their number, and the names of the columns."""
    with existing(path).open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        known = [name.strip() for name in reader.fieldnames or []]
        reader.fieldnames = known
        for column in columns:
            if column not in known:
                raise ValueError(
                    f"{path}: column {column} is missing; the file has {', '.join(known) or 'none'}"
                )
        lines = []
        for row in reader:
            if None in row or None in row.values():
                raise ValueError(f"{path}, line {reader.line_num}: {len(known)} values are needed")
            lines.append((reader.line_num, {key: text.strip() for key, text in row.items()}))
    return lines, known


def _number(path: Path, line: int, name: str, values: dict[str, str]) -> float:
    try:
        number = float(values[name])
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{path}, line {line}: {name} must be a number, got {values[name]!r}")
    return number


def _time(path: Path, line: int, values: dict[str, str], seconds: float) -> float:
    """Seconds, from a number or a date."""
    text = values["time"]
    try:
        return _number(path, line, "time", values) * seconds
    except ValueError:
        try:
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        except ValueError:
            raise ValueError(
                f"{path}, line {line}: time must be seconds or a date such as "
                f"2026-01-31T12:00:00.500, got {text!r}"
            ) from None


def convert(given: Any) -> Arguments:
    """Read the files and convert them."""
    return trace_arguments(
        read(given.file, {"s": 1.0, "ms": 1e-3}[given.time_unit]),
        step_duration_s=given.step_duration_s,
        gaps=given.gaps,
        longest_gap_s=given.longest_gap_s,
        align=given.align,
        subcarriers=given.subcarriers,
        cells=given.cells,
        sites=None if given.sites is None else read_sites(given.sites),
        name=f"drive test {given.file.name}",
    )


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("file", type=Path, help="measurements (.csv)")
    parser.add_argument("--sites", type=Path, help="positions of the cells (.csv)")
    parser.add_argument("--cells", nargs="+", default=(), help="take these cells only, in order")
    parser.add_argument("--step-duration-s", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--time-unit", choices=("s", "ms"), default="s", help="default: s")
    parser.add_argument("--align", choices=ALIGNMENTS, default="clock", help="default: clock")
    parser.add_argument("--gaps", choices=GAPS, default="refuse", help="default: refuse")
    parser.add_argument(
        "--longest-gap-s", type=float, default=2.0, help="longer is a gap (default: 2)"
    )
    parser.add_argument("--subcarriers", type=int, default=600, help="of the band (default: 600)")
    given = parser.parse_args()
    sys.exit(write_trace(functools.partial(convert, given), given.out))
