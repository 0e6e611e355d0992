"""Schedulers side by side: KPIs with intervals, paired differences, the table, the result file and the picture."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from baselines.scheduler import Baseline
from rrm_env import Evaluation, metrics
from rrm_env.config import nearest
from rrm_env.files import write_whole
from rrm_env.optional import required
from rrm_env.version import versions

KPIS = ("sum_rate", "tail_rate", "score", "fairness")
"""KPIs with a value per episode: attributes of `Evaluation`."""

UNITS = {"sum_rate": "sum rate (bit/s/Hz)", "tail_rate": "5-percentile rate (bit/s/Hz)", "score": "score"}
"""The paper's KPIs, as axes and texts call them."""

Interval = dict[str, float]


def parse_scheduler(text: str, registry: Mapping[str, type[Baseline]]) -> Baseline:
    """A scheduler from its name and options, such as ``itlinq`` or ``itlinq:tolerance_db=0:exponent=0.5``.

    Raises:
        ValueError: an unknown scheduler or option (with the nearest valid name), or a value it does not take.
    """
    name, *options = text.split(":")
    if name not in registry:
        raise ValueError(f"unknown scheduler {nearest(name, registry)}")
    parameters = inspect.signature(registry[name]).parameters
    arguments: dict[str, Any] = {}
    for option in options:
        key, _, value = option.partition("=")
        if key not in parameters:
            raise ValueError(f"unknown option of {name}: {nearest(key, parameters)}")
        default = parameters[key].default
        kind = float if default is None else type(default)
        try:
            arguments[key] = {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
        except (KeyError, ValueError):
            raise ValueError(f"{key} of {name} must be {kind.__name__}, got {value!r}") from None
    return registry[name](**arguments)


def summarise(evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, Any]]:
    """Per scheduler: each KPI's mean with its 95 % bootstrap interval, and the paired difference of scores to the best one.

    All evaluations must be of the same episodes. Of several training seeds the mean is over seeds and episodes.
    """
    best = max(evaluations, key=lambda name: float(evaluations[name].score.mean()))
    summary: dict[str, dict[str, Any]] = {}
    for name, evaluation in evaluations.items():
        low, high = metrics.pooled_tail_interval(evaluation.ue_rates)
        summary[name] = {
            **{kpi: mean_with_interval(getattr(evaluation, kpi)) for kpi in KPIS},
            "pooled_tail_rate": {"mean": evaluation.pooled_tail_rate, "low": low, "high": high},
            "silent_share": float(evaluation.silent_share.mean()),
            "steps_per_second": evaluation.steps_per_second,
            "best": name == best,
            "score_minus_best": _difference(evaluation.score, evaluations[best].score),
        }
    return summary


def mean_with_interval(values: metrics.Floats) -> Interval:
    """The mean of values (episodes,) or (seeds, episodes) as ``mean``, with its 95 % bootstrap interval as ``low`` and ``high``."""
    low, high = metrics.mean_interval(values)
    return {"mean": float(values.mean()), "low": low, "high": high}


def _difference(first: metrics.Floats, second: metrics.Floats) -> Interval:
    low, high = metrics.difference_interval(first, second)
    return {"mean": float(first.mean() - second.mean()), "low": low, "high": high}


def table(summary: Mapping[str, Mapping[str, Any]], title: str) -> Table:
    """The summary for a terminal; intervals stand under their means."""
    columns = (
        ("Sum rate\nbit/s/Hz", "sum_rate", 2),
        ("5-percentile\nbit/s/Hz", "tail_rate", 3),
        ("pooled\nbit/s/Hz", "pooled_tail_rate", 3),
        ("Score\n", "score", 3),
        ("Score minus\nbest (paired)", "score_minus_best", 3),
        ("Jain's\nindex", "fairness", 2),
    )
    grid = Table(title=escape(title), box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    grid.caption = "Under each mean its 95 % bootstrap interval over episodes. Silent: share of AP-steps without a transmission."
    grid.add_column("Scheduler", no_wrap=True)
    for heading in (*(heading for heading, _, _ in columns), "Silent\n%", "Steps/s\n"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for name, row in summary.items():
        cells = [
            "best" if key == "score_minus_best" and row["best"] else shown_with_interval(row[key], digits) for _, key, digits in columns
        ]
        grid.add_row(escape(name), *cells, f"{100 * row['silent_share']:.0f}", f"{row['steps_per_second']:,.0f}")
    return grid


def shown_with_interval(interval: Interval, digits: int) -> str:
    """A table's cell: the mean, under it the interval."""
    return f"{interval['mean']:.{digits}f}\n[dim]{_range(interval, digits)}[/]"


def show(summary: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Print the table of a summary."""
    print_whole(table(summary, title))


def print_whole(grid: Table) -> None:
    """Print a table; a terminal narrower than it folds whole lines instead of losing digits."""
    needed = Console(width=1000).measure(grid).maximum
    Console(width=max(Console().width, needed)).print(grid)


def _range(interval: Interval, digits: int) -> str:
    return f"{interval['low']:.{digits}f}…{interval['high']:.{digits}f}"


def write_json(path: Path, evaluations: Mapping[str, Evaluation], summary: Mapping[str, Mapping[str, Any]]) -> None:
    """Config, seed, versions, and per scheduler the summary and every per-episode value."""
    first = next(iter(evaluations.values()))
    result = {
        "config": first.config.as_dict(),
        "seed": first.seed,
        "episodes": first.episodes,
        "versions": versions(),
        "schedulers": {
            name: {
                **summary[name],
                "per_episode": {kpi: getattr(evaluation, kpi).tolist() for kpi in (*KPIS, "silent_share")},
            }
            for name, evaluation in evaluations.items()
        },
    }
    write_whole(path, lambda file: file.write(json.dumps(result, indent=1).encode()))


DRAWING = "matplotlib.backend_bases", "matplotlib.figure", "matplotlib.backends.backend_agg"
"""What pictures need of matplotlib."""

# Okabe and Ito's palette, distinguishable with any colour vision; line styles tell more than eight schedulers apart.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#0072B2", "#D55E00", "#999999")
_STYLES = ("-", "--", ":")


def write_picture(path: Path, evaluations: Mapping[str, Evaluation]) -> None:
    """The cumulative distribution of per-UE rates over all episodes, and its lowest tenth magnified."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    whole, tail = figure.subplots(1, 2)
    tenth = 0.0
    for k, (name, evaluation) in enumerate(evaluations.items()):
        rates = np.sort(evaluation.ue_rates, axis=None)
        share = np.arange(1, rates.size + 1) / rates.size
        style = {"color": COLOURS[k % len(COLOURS)], "linestyle": _STYLES[k // len(COLOURS) % len(_STYLES)], "label": name}
        for axes in (whole, tail):
            axes.step(rates, share, where="post", **style)
        tenth = max(tenth, float(np.percentile(rates, 10)))
    whole.set(title="Rates of all UEs", xlabel="rate (bit/s/Hz)", ylabel="share of UEs at or below", ylim=(0, 1))
    whole.set_xlim(0, max(float(np.percentile(evaluation.ue_rates, 99)) for evaluation in evaluations.values()))
    tail.set(title="The lowest tenth", xlabel="rate (bit/s/Hz)", xlim=(0, tenth), ylim=(0, 0.1))
    tail.axhline(0.05, color="#999999", linewidth=0.8)
    tail.annotate("5 %", (tenth, 0.05), ha="right", va="bottom", color="#666666")
    whole.legend(loc="lower right", frameon=False)
    for axes in (whole, tail):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)

    write_figure(path, figure)


def draw_bars(axes: Any, bars: Sequence[tuple[str, str, Interval]]) -> None:
    """Text, colour and `mean_with_interval` of each as bars with their intervals, one under another; ``axes`` are matplotlib's."""
    for place, (text, colour, interval) in enumerate(bars):
        mean, below, above = interval["mean"], interval["mean"] - interval["low"], interval["high"] - interval["mean"]
        axes.barh(place, mean, color=colour, alpha=0.55)
        axes.errorbar(mean, place, xerr=[[below], [above]], color="#000000", capsize=4)
        axes.annotate(f" {text}", (0, place), va="center", fontsize="small")
    axes.set_yticks([])
    axes.invert_yaxis()


def write_figure(path: Path, figure: Any, dpi: int = 150) -> None:
    """A figure of matplotlib as a file, whole or not at all; the ending says the format."""

    def save(file: BinaryIO) -> None:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:].lower())

    write_whole(path, save)


def require_drawing(what: str) -> Any:
    """Matplotlib's backends, for ``what``, before any work that is to end with a picture.

    Raises:
        ValueError: matplotlib is missing or cannot be imported.
    """
    return required(f"{what} needs", *DRAWING, extra="plot")


def check_picture(path: Path) -> None:
    """Refuse a picture that could not be drawn (ValueError): matplotlib missing, or a format it does not know."""
    formats = require_drawing("--plot").FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in formats:
        raise ValueError(f"--plot = {str(path)!r} must end in one of {', '.join('.' + name for name in sorted(formats))}")
