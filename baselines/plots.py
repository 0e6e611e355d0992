"""Plots of evaluations, drawn with matplotlib where it is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from rrm_env import Evaluation, metrics
from rrm_env.files import write_whole
from rrm_env.optional import required

if TYPE_CHECKING:
    from baselines.comparison import Interval

DRAWING = "matplotlib.backend_bases", "matplotlib.figure", "matplotlib.backends.backend_agg"
"""The modules of matplotlib that plots need."""

# Okabe and Ito's palette, distinguishable with any colour vision. From the ninth scheduler on, line
# styles tell curves of one colour apart.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#999999")
_STYLES = ("-", "--", ":")


def write_rates_plot(path: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """Write a plot of the cumulative distribution of all users' rates, and of its lowest tenth.

    Raises:
        WriteError: the system refuses to store the file.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    whole, tail = figure.subplots(1, 2)
    label = f"rate ({metrics.RATE_UNIT})"
    tenth = 0.0
    for k, (name, evaluation) in enumerate(evaluations.items()):
        rates = np.sort(evaluation.ue_rates, axis=None)
        share = np.arange(1, rates.size + 1) / rates.size
        style = {
            "color": COLOURS[k % len(COLOURS)],
            "linestyle": _STYLES[k // len(COLOURS) % len(_STYLES)],
            "label": name,
        }
        for axes in (whole, tail):
            axes.step(rates, share, where="post", **style)
        tenth = max(tenth, float(np.percentile(rates, 10)))
    whole.set(
        title="Rates of all UEs",
        xlabel=label,
        ylabel="share of UEs at or below",
        ylim=(0, 1),
    )
    whole.set_xlim(
        0, max(float(np.percentile(evaluation.ue_rates, 99)) for evaluation in evaluations.values())
    )
    tail.set(title="The lowest tenth", xlabel=label, xlim=(0, tenth), ylim=(0, 0.1))
    tail.axhline(0.05, color="#999999", linewidth=0.8)
    tail.annotate("5 %", (tenth, 0.05), ha="right", va="bottom", color="#666666")
    whole.legend(loc="lower right", frameon=False)
    for axes in (whole, tail):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)

    write_figure(path, figure)


def draw_bars(axes: Any, bars: Sequence[tuple[str, str, Interval]]) -> None:
    """Draw horizontal bars with intervals, one below the other.

    Args:
        axes: matplotlib's axes.
        bars: text, colour and interval of each bar.
    """
    for row, (text, colour, interval) in enumerate(bars):
        mean = interval["mean"]
        errors = [[mean - interval["low"]], [interval["high"] - mean]]
        axes.barh(row, mean, color=colour, alpha=0.55)
        axes.errorbar(mean, row, xerr=errors, color="#000000", capsize=4)
        axes.annotate(f" {text}", (0, row), va="center", fontsize="small")
    axes.set_yticks([])
    axes.invert_yaxis()


def write_figure(path: Path, figure: Any, dpi: int = 150) -> None:
    """Write a figure of matplotlib, whole or not at all, in the format of the path's suffix.

    Raises:
        WriteError: the system refuses to store the file.
    """

    def save(file: BinaryIO) -> None:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:].lower())

    write_whole(path, save)


def require_drawing(what: str) -> Any:
    """Matplotlib's `backend_bases`, to be asked for before any work that ends with a plot.

    Args:
        what: what needs it, for the error.

    Raises:
        ValueError: matplotlib is missing or cannot be imported.
    """
    return required(f"{what} needs", *DRAWING, extra="plot")


def check_picture(path: Path) -> None:
    """Refuse a plot that could not be drawn.

    Raises:
        ValueError: matplotlib is missing, or does not know the format of the path's suffix.
    """
    formats = require_drawing("--plot").FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        allowed = ", ".join(f".{name}" for name in sorted(formats))
        raise ValueError(f"--plot = {str(path)!r} must end in one of {allowed}")
