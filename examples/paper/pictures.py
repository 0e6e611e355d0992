"""Pictures of the figures, and the numbers that they show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from study import OFFLINE, ONLINE, SCHEDULERS

from baselines.comparison import mean_with_interval
from baselines.plots import COLOURS, draw_bars, write_figure
from baselines.scale import ScoreScale
from marl.training.curves import Curve, draw_curves
from rrm_env import Evaluation, metrics

_SCHEMES = (*ONLINE, *OFFLINE)
STYLES = {
    **{
        name: (COLOURS[k % len(COLOURS)], "-" if k < len(COLOURS) else "-.")
        for k, name in enumerate(_SCHEMES)
    },
    **{name: (COLOURS[k], ("--", ":")[k % 2]) for k, name in enumerate(SCHEDULERS)},
    "proportional_fair": (COLOURS[0], "-."),
    "optimum": (COLOURS[0], ":"),
}
"""Colour and line style of every scheme and scheduler, the same in all figures."""

PICTURE_DPI = 110
"""Resolution of committed pictures: sharp at the width of a page, and small files."""


@dataclass(frozen=True)
class Report:
    """The numbers of a figure."""

    evaluations: Mapping[str, Evaluation]
    """Evaluations of the rows that were computed."""
    labels: Mapping[str, str]
    """Names that readers see, by row; the others are shown as they are."""
    curves: Mapping[str, Curve]
    """Learning curves of the runs that the figure shows over updates."""
    levels: Mapping[str, Mapping[str, float]]
    """Mean KPIs of all other rows on the held-out episodes of those curves."""
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows that were taken from the committed results."""
    scale: ScoreScale | None = None
    """The optimum and the random walk of the rows' episodes, where they are known."""

    def row(self, name: str, kpi: str) -> Mapping[str, float]:
        """Mean and interval of a row's KPI, in the form of `mean_with_interval`."""
        return (
            self.kept[name][kpi]
            if name in self.kept
            else mean_with_interval(getattr(self.evaluations[name], kpi))
        )

    def label(self, name: str) -> str:
        """The row's name that readers see."""
        return self.labels.get(name, name)


Draw = Callable[[Any, Report], None]
"""A function that draws a report into a matplotlib figure."""


def write_picture(path: Path, title: str, draw: Draw, report: Report) -> None:
    """Write a figure's picture; its suffix names the format."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(15, 4.6), layout="constrained")
    draw(canvas, report)
    canvas.suptitle(title, fontsize="medium")
    write_figure(path, canvas, PICTURE_DPI)


def curves_and_levels(canvas: Any, report: Report) -> None:
    """Draw learning curves, and every other row's mean on their episodes as a horizontal line."""
    names = {
        report.label(name): name.partition(".")[0] for name in (*report.curves, *report.levels)
    }
    curves = {report.label(name): curve for name, curve in report.curves.items()}
    levels = {report.label(name): level for name, level in report.levels.items()}
    draw_curves(canvas, curves, levels, {label: STYLES[name] for label, name in names.items()})


def compare_sizes(axes: Any, kpi: str, sizes: Mapping[int, str], report: Report) -> None:
    """Draw a KPI against the size of the dataset, with one point and interval per run.

    Args:
        axes: matplotlib axes.
        kpi: name in `metrics.KPIS`.
        sizes: run by number of transitions; all runs are of one scheme.
        report: the numbers.
    """
    rows = [report.row(name, kpi) for name in sizes.values()]
    means = np.array([row["mean"] for row in rows])
    intervals = np.array([(row["low"], row["high"]) for row in rows])
    scheme = next(iter(sizes.values())).partition(".")[0]
    colour, line = STYLES[scheme]
    axes.errorbar(
        list(sizes),
        means,
        abs(intervals.T - means),
        fmt="o" + line,
        color=colour,
        capsize=3,
        label=label_of(scheme, report),
    )
    axes.set_xscale("log")
    axes.set_xticks(list(sizes), [f"{size // 1000}k" for size in sizes], minor=False)
    axes.minorticks_off()
    axes.set(xlabel="transitions", ylabel=metrics.axis_label(kpi))


def compare_bars(axes: Any, kpi: str, bars: Mapping[str, str], report: Report) -> None:
    """Draw a KPI of several rows as points with intervals, one below the other.

    Args:
        axes: matplotlib axes.
        kpi: name in `metrics.KPIS`.
        bars: row by the text that stands beside its point.
        report: the numbers.
    """
    draw_bars(
        axes,
        [
            (text, STYLES[name.partition(".")[0]][0], dict(report.row(name, kpi)))
            for text, name in bars.items()
        ],
    )
    axes.set(xlabel=metrics.axis_label(kpi))


def label_of(scheme: str, report: Report) -> str:
    """The paper's name of a scheme that occurs with several datasets."""
    return next(
        label for name, label in report.labels.items() if name.partition(".")[0] == scheme
    ).partition(",")[0]
