"""Schedulers side by side: KPIs with intervals, paired differences, the table, the result file and the picture."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment, Segments
from rich.table import Table

from baselines.scheduler import Baseline
from rrm_env import Evaluation, RRMConfig, Scheduler, evaluate, metrics
from rrm_env.checks import nearest
from rrm_env.evaluation import BATCH_SIZE
from rrm_env.files import write_whole
from rrm_env.optional import required
from rrm_env.provenance import versions

Interval = dict[str, float]


def parse_scheduler(text: str, registry: Mapping[str, type[Baseline]]) -> Baseline:
    """A scheduler from its name and options, such as ``itlinq`` or ``itlinq:tolerance_db=0:exponent=0.5``.

    Raises:
        ValueError: an unknown scheduler or option (with the nearest valid name), a value it does not
            take, or an option given twice.
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
        if key in arguments:
            raise ValueError(f"{key} of {name} is given twice")
        default = parameters[key].default
        kind = float if default is None else type(default)
        try:
            arguments[key] = (
                {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
            )
        except (KeyError, ValueError):
            raise ValueError(f"{key} of {name} must be {kind.__name__}, got {value!r}") from None
    return registry[name](**arguments)


def warm_up(scheduler: Scheduler, config: RRMConfig, episodes: int, num_threads: int = 1) -> None:
    """Run what `evaluate` will run for two steps, so that compiling counts in nobody's steps/s.

    Batch size and number of threads are those of the evaluation. What cannot run is refused here.
    """
    short = replace(config, episode_length=min(2, config.episode_length))
    evaluate(scheduler, short, min(episodes, BATCH_SIZE), num_threads=num_threads)


def summarise(evaluations: Mapping[str, Evaluation]) -> dict[str, dict[str, Any]]:
    """Per scheduler: each KPI's mean with its 95 % bootstrap interval, and the paired difference of scores to the best one.

    All evaluations must be of the same episodes. Of several training seeds the mean is over seeds and episodes.
    """
    best = max(evaluations, key=lambda name: float(evaluations[name].score.mean()))
    summary: dict[str, dict[str, Any]] = {}
    for name, evaluation in evaluations.items():
        low, high = metrics.pooled_tail_interval(evaluation.ue_rates)
        summary[name] = {
            **{kpi: mean_with_interval(getattr(evaluation, kpi)) for kpi in metrics.KPIS},
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


_Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Column:
    """A column of the comparison."""

    heading: str
    cell: Callable[[_Row], str]
    rank: int = 0
    """0 is always shown; the rest where the width allows it, low ranks first."""


def _columns() -> list[_Column]:
    """All columns, from left to right."""
    beside = {
        "tail_rate": _Column("Pooled\nbit/s/Hz", _interval_cell("pooled_tail_rate", 3), rank=3),
        "score": _Column("Score minus\nbest (paired)", _difference_cell, rank=1),
    }
    columns = []
    for name, kpi in metrics.KPIS.items():
        rank = 0 if kpi.learners else 2
        columns.append(_Column(column_heading(name), _interval_cell(name, kpi.digits), rank))
        columns += [beside[name]] if name in beside else []
    columns.append(_Column("Silent\n%", lambda row: f"{100 * row['silent_share']:.0f}", rank=4))
    columns.append(_Column("Steps/s", lambda row: f"{row['steps_per_second']:,.0f}", rank=5))
    return columns


def _interval_cell(name: str, digits: int) -> Callable[[_Row], str]:
    return lambda row: shown_with_interval(row[name], digits)


def _difference_cell(row: _Row) -> str:
    return "best" if row["best"] else shown_with_interval(row["score_minus_best"], 3)


def column_heading(name: str) -> str:
    """A KPI's heading with its unit under it, for a table in a terminal."""
    kpi = metrics.KPIS[name]
    words, _, last = kpi.heading.rpartition(" ")
    heading = f"{words}\n{last}" if words else last
    return "\n".join(filter(None, (heading[:1].upper() + heading[1:], kpi.unit)))


def table(
    summary: Mapping[str, _Row], title: str, notes: Sequence[str] = (), width: int | None = None
) -> Table:
    """The summary for a terminal; intervals stand under their means, ``notes`` under the table.

    Args:
        summary: of `summarise`.
        title: above the table.
        notes: one a line.
        width: columns of characters; those of the table that do not fit are left out and named
            under it. All are shown where None.
    """
    columns = _columns()
    kept = columns if width is None else _fitting(columns, summary, width)
    caption = ["Under each mean its 95 % bootstrap interval over episodes."]
    if any(column.heading.startswith("Silent") for column in kept):
        caption.append("Silent: share of AP-steps without a transmission.")
    if left_out := [column.heading.replace("\n", " ") for column in columns if column not in kept]:
        caption.append(
            f"More columns in a wider terminal, or with COLUMNS=160: {', '.join(left_out)}."
        )
    grid = _grid(kept, summary, broken=width is not None and _width(_grid(kept, summary)) > width)
    grid.title, grid.caption = escape(title), "\n".join(("", *caption, *map(escape, notes)))
    return grid


def _fitting(columns: Sequence[_Column], summary: Mapping[str, _Row], width: int) -> list[_Column]:
    """The columns that fit, in their order; those of rank 0 in any case."""
    kept = [column for column in columns if column.rank == 0]
    for column in sorted(columns, key=lambda column: column.rank)[len(kept) :]:
        tried = [other for other in columns if other in (*kept, column)]
        if _narrowest(_grid(tried, summary, broken=True)) <= width:
            kept = tried
    return kept


def _grid(
    columns: Sequence[_Column], summary: Mapping[str, _Row], *, broken: bool = False
) -> Table:
    """The table alone; where ``broken``, the options of a scheduler stand under its name."""
    grid = Table(
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    grid.add_column("Scheduler", overflow="fold", vertical="top")
    for column in columns:
        grid.add_column(column.heading, justify="right", no_wrap=True)
    for name, row in summary.items():
        shown = name.replace(":", "\n  :") if broken else name
        grid.add_row(escape(shown), *(column.cell(row) for column in columns))
    return grid


_NAME_WIDTH = 18
"""Names longer than this are broken before a column is left out."""


def _width(grid: Table) -> int:
    """Of the whole table, with names unbroken."""
    return Console(width=1000).measure(grid).maximum


def _narrowest(grid: Table) -> int:
    """Of the table with its names broken as far as they may be; no number is ever broken."""
    grid.columns[0].max_width = _NAME_WIDTH
    return _width(grid)


def shown_with_interval(interval: Interval, digits: int) -> str:
    """A table's cell: the mean, under it the interval."""
    return f"{interval['mean']:.{digits}f}\n[dim]{_range(interval, digits)}[/]"


def show(summary: Mapping[str, _Row], title: str, notes: Sequence[str] = ()) -> None:
    """Print the table of a summary, as many columns as fit, with ``notes`` under it."""
    width = output_width()
    core = [column for column in _columns() if column.rank == 0]
    needed = _narrowest(_grid(core, summary, broken=True))
    print_stripped(table(summary, title, notes, width), max(width, needed))


def output_width() -> int:
    """Columns of characters to print into: the terminal's; elsewhere what COLUMNS says, or 80.

    A file or a pipe gets the same table from every terminal.
    """
    console = Console()
    return console.width if console.is_terminal or os.environ.get("COLUMNS", "").isdigit() else 80


def publish(
    evaluations: Mapping[str, Evaluation],
    title: str,
    json_path: Path | None = None,
    plot_path: Path | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write results and picture where asked for, then print the table and what was written.

    The table is printed even if a file cannot be written.
    """
    summary = summarise(evaluations)
    written = []
    try:
        if json_path:
            write_json(json_path, evaluations, summary)
            written.append(json_path)
        if plot_path:
            write_picture(plot_path, evaluations)
            written.append(plot_path)
    finally:
        show(summary, title, notes)
        for path in written:
            print(f"wrote {path}")


def print_whole(grid: Table) -> None:
    """Print a table; a terminal narrower than it folds whole lines instead of losing digits."""
    print_stripped(grid, max(output_width(), _width(grid)))


def print_stripped(grid: Table, width: int) -> None:
    """Print a table without the blanks that `rich` fills its lines with."""
    console = Console(width=width)
    for line in console.render_lines(grid, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        line[-1:] = [Segment(last.text.rstrip(), last.style) for last in line[-1:]]
        console.print(Segments([*line, Segment.line()]), end="")


def _range(interval: Interval, digits: int) -> str:
    return f"{interval['low']:.{digits}f}…{interval['high']:.{digits}f}"


def write_json(
    path: Path, evaluations: Mapping[str, Evaluation], summary: Mapping[str, Mapping[str, Any]]
) -> None:
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
                "per_episode": {
                    kpi: getattr(evaluation, kpi).tolist()
                    for kpi in (*metrics.KPIS, "silent_share")
                },
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
        xlabel="rate (bit/s/Hz)",
        ylabel="share of UEs at or below",
        ylim=(0, 1),
    )
    whole.set_xlim(
        0, max(float(np.percentile(evaluation.ue_rates, 99)) for evaluation in evaluations.values())
    )
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
        mean, below, above = (
            interval["mean"],
            interval["mean"] - interval["low"],
            interval["high"] - interval["mean"],
        )
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
        raise ValueError(
            f"--plot = {str(path)!r} must end in one of {', '.join('.' + name for name in sorted(formats))}"
        )
