"""The results of a sweep, as a table for a terminal and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from baselines.comparison import column_heading, shown_with_interval
from baselines.plots import COLOURS, draw_bars, write_figure
from rrm_env import metrics

_COLUMNS = {
    **{name: (column_heading(name), metrics.KPIS[name].digits) for name in metrics.LEARNERS_KPIS},
    "return": ("Return\n", 3),
}
"""Heading and number of digits of each KPI's column."""

MAX_BARS = 100
"""Most rows that the picture shows."""


def table(results: Mapping[str, Any]) -> Table:
    """A table of the merged results, each mean above its interval."""
    rows, varied = results["rows"], results["varied"]
    kpis = [kpi for kpi in _COLUMNS if any(kpi in row["kpis"] for row in rows)]
    grid = Table(box=box.SIMPLE_HEAD, caption_justify="left")
    grid.caption = (
        "Under each mean its 95 % bootstrap interval over training seeds and episodes. "
        "Under the updates of each seed its environment steps, where it learned online."
    )
    for heading in ("Who", *varied):
        grid.add_column(heading, no_wrap=True)
    for heading in ("Seeds", "Updates\nenv. steps", *(_COLUMNS[kpi][0] for kpi in kpis)):
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        values = [
            escape(shown(row["varied"][name])) if name in row["varied"] else "" for name in varied
        ]
        cells = [
            shown_with_interval(row["kpis"][kpi], _COLUMNS[kpi][1]) if kpi in row["kpis"] else ""
            for kpi in kpis
        ]
        experience = "\n".join(
            f"{row[name]:,}" for name in ("updates", "environment_steps") if name in row
        )
        grid.add_row(
            escape(row["name"]),
            *values,
            "" if row["seeds"] is None else str(row["seeds"]),
            experience,
            *cells,
        )
    return grid


def shown(value: Any) -> str:
    """An option's value as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={shown(item)}" for name, item in value.items()) or "as it is"
    if isinstance(value, (list, tuple)):
        return " ".join(shown(item) for item in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def write_results(path: Path, results: Mapping[str, Any]) -> None:
    """Draw the score of each row, or its return, with its interval.

    Schedulers are grey. Of more than `MAX_BARS` rows the best are drawn.

    Args:
        path: the picture to write; its ending says the format.
        results: content of the results file, with at least one row.
    """
    from matplotlib.figure import Figure

    rows = results["rows"]
    kpi = "score" if "score" in rows[0]["kpis"] else "return"
    label = metrics.axis_label(kpi)
    if len(rows) > MAX_BARS:
        rows = sorted(rows, key=lambda row: -row["kpis"][kpi]["mean"])[:MAX_BARS]
        label = f"{label}: the best {MAX_BARS} of {len(results['rows']):,}"
    names = list(dict.fromkeys(row["name"] for row in rows if row["seeds"] is not None))
    figure = Figure(figsize=(9, 1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    bars, texts = [], []
    for row in rows:
        colour = "#999999"
        if row["seeds"] is not None:
            colour = COLOURS[1 + names.index(row["name"]) % (len(COLOURS) - 2)]
        bars.append(("", colour, row["kpis"][kpi]))
        varied = [f"{name} {shown(value)}" for name, value in row["varied"].items()]
        texts.append(", ".join([row["name"], *varied]))
    draw_bars(axes, bars)
    axes.set_yticks(range(len(rows)), texts, fontsize="small")
    axes.set(xlabel=label)
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)
