"""Comparison of schedulers: KPIs with intervals, paired differences, the table and the results."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.segment import Segment, Segments
from rich.table import Table

from baselines.plots import write_rates_plot
from baselines.scale import ScoreScale
from rrm_env import Evaluation, RRMConfig, Scheduler, evaluate, metrics
from rrm_env.evaluation import BATCH_SIZE
from rrm_env.files import write_json
from rrm_env.provenance import versions
from rrm_env.references import Reference, known_reference
from rrm_env.trace_source import evaluation_notes

Interval = dict[str, float]
"""A mean as ``mean`` with its 95 % bootstrap interval as ``low`` and ``high``."""


def warm_up(scheduler: Scheduler, config: RRMConfig, episodes: int, num_threads: int = 1) -> None:
    """Run two steps of the evaluation, so that compilation counts in no scheduler's steps/s.

    Batch size and number of threads are those of the evaluation. What cannot run is refused here.

    Raises:
        TypeError, ValueError: what `evaluate` or the scheduler refuses.
    """
    short = replace(config, episode_length=min(2, config.episode_length))
    evaluate(scheduler, short, min(episodes, BATCH_SIZE), num_threads=num_threads)


def summarise(
    evaluations: Mapping[str, Evaluation], scale: ScoreScale | None = None
) -> dict[str, dict[str, Any]]:
    """Every KPI's mean with its interval, and the score's paired difference to the best scheduler.

    Args:
        evaluations: by scheduler, all of the same episodes. With several training seeds, means are
            over seeds and episodes.
        scale: the optimum and the random walk of the same episodes.

    Returns:
        by scheduler, an `Interval` for each KPI and for ``pooled_tail_rate`` and
        ``score_minus_best``; ``silent_share``; with power levels ``power_share``;
        ``steps_per_second``; and whether it is ``best``.
        With a scale also the interval ``share_of_optimum``, and ``normalised_score`` on it; without
        one ``normalised_score`` on that of `rrm_env.normalised_score`, if the network has one.
    """
    best = max(evaluations, key=lambda name: float(evaluations[name].score.mean()))
    summary: dict[str, dict[str, Any]] = {}
    for name, evaluation in evaluations.items():
        summary[name] = {
            **_of_rates(evaluation.ue_rates, evaluation.config),
            "silent_share": float(evaluation.silent_share.mean()),
            **_power(evaluation),
            "steps_per_second": evaluation.steps_per_second,
            "best": name == best,
            "score_minus_best": _difference(evaluation.score, evaluations[best].score),
            **(_on_scale(evaluation.score, scale) if scale else _on_references(evaluation)),
        }
    return summary


def _power(evaluation: Evaluation) -> dict[str, float]:
    """The share of full power that was transmitted, in networks with power levels."""
    if evaluation.relative_power is None:
        return {}
    return {"power_share": float(evaluation.relative_power.mean())}


def _optimum_rows(scale: ScoreScale, best: Evaluation) -> dict[str, dict[str, Any]]:
    """The rows of a table about the optimum, as those of `summarise`, without steps per second."""
    config = scale.optimum.config
    rows = {}
    for name, schedules in scale.schedules.items():
        score = metrics.KPIS["score"].value(schedules.ue_rates, config)
        rows[name] = {
            **_of_rates(schedules.ue_rates, config),
            "silent_share": 1 - float(schedules.ap_share.mean()),
            "best": False,
            "score_minus_best": _difference(score, best.score),
            **_on_scale(score, scale),
        }
    return rows


def _of_rates(ue_rates: metrics.Floats, config: RRMConfig) -> dict[str, Interval]:
    low, high = metrics.pooled_tail_interval(ue_rates)
    return {
        **{
            name: mean_with_interval(kpi.value(ue_rates, config))
            for name, kpi in metrics.KPIS.items()
        },
        "pooled_tail_rate": {"mean": metrics.pooled_tail_rate(ue_rates), "low": low, "high": high},
    }


def _on_references(evaluation: Evaluation) -> dict[str, Any]:
    known = known_reference(evaluation.config)
    return {} if known is None else {"normalised_score": known.normalised(evaluation.score.mean())}


def _on_scale(score: metrics.Floats, scale: ScoreScale) -> dict[str, Any]:
    return {"share_of_optimum": scale.share(score), "normalised_score": scale.normalised(score)}


def mean_with_interval(values: metrics.Floats) -> Interval:
    """The mean of values (episodes,) or (seeds, episodes) with its 95 % bootstrap interval."""
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
    """Columns of rank 0 are always shown, others where the width allows it, low ranks first."""


_RANKS_WITH_OPTIMUM = {"sum_rate": 1, "minimum_score": 2}
"""Ranks of KPIs in tables with a share of the optimum, which takes the sum rate's place in narrow
ones."""


def _columns(*, optimum: bool, normalised: bool = False, power: bool = False) -> list[_Column]:
    """All columns, from left to right."""
    tail = metrics.KPIS["tail_rate"]
    pooled = _interval_cell("pooled_tail_rate", tail.digits)
    on_scale = [
        *([_Column("Share of\noptimum %", _share_cell)] if optimum else []),
        *([_Column("Normalised\nscore", _normalised_cell, rank=3)] if normalised else []),
    ]
    difference = _Column("Score minus\nbest (paired)", _difference_cell, rank=4)
    beside = {
        "tail_rate": [_Column(f"Pooled\n{tail.unit}", pooled, rank=6)],
        "score": [*on_scale, difference],
    }
    columns = []
    for name, kpi in metrics.KPIS.items():
        rank = 0 if kpi.learners else 5
        rank = _RANKS_WITH_OPTIMUM.get(name, rank) if optimum else rank
        columns.append(_Column(column_heading(name), _interval_cell(name, kpi.digits), rank))
        columns += beside.get(name, [])
    columns.append(_Column("Silent\n%", lambda row: f"{100 * row['silent_share']:.0f}", rank=7))
    if power:
        columns.append(_Column("Power\n%", _power_cell, rank=7))
    columns.append(_Column("Steps/s", _speed_cell, rank=8))
    return columns


def _interval_cell(name: str, digits: int) -> Callable[[_Row], str]:
    return lambda row: shown_with_interval(row[name], digits)


def _difference_cell(row: _Row) -> str:
    digits = metrics.KPIS["score"].digits
    return "best" if row["best"] else shown_with_interval(row["score_minus_best"], digits)


def _share_cell(row: _Row) -> str:
    percent = {key: 100 * value for key, value in row["share_of_optimum"].items()}
    of_itself = percent["high"] - percent["low"] < 1e-6
    return f"{percent['mean']:.1f}" if of_itself else shown_with_interval(percent, 1)


def _normalised_cell(row: _Row) -> str:
    value = row["normalised_score"]
    return "" if value is None else f"{value:.1f}"


def _power_cell(row: _Row) -> str:
    return f"{100 * row['power_share']:.0f}" if "power_share" in row else ""


def _speed_cell(row: _Row) -> str:
    return f"{row['steps_per_second']:,.0f}" if "steps_per_second" in row else ""


def column_heading(name: str) -> str:
    """A KPI's heading with its unit under it, for a table in a terminal."""
    kpi = metrics.KPIS[name]
    words, _, last = kpi.heading.rpartition(" ")
    heading = f"{words}\n{last}" if words else last
    return "\n".join(filter(None, (heading[:1].upper() + heading[1:], kpi.unit)))


def table(
    summary: Mapping[str, _Row], title: str, notes: Sequence[str] = (), width: int | None = None
) -> Table:
    """The table of a summary for a terminal, with intervals under their means.

    Args:
        summary: of `summarise`.
        title: text above the table.
        notes: lines under the table.
        width: characters in a line. Columns that do not fit are left out and named under the
            table; where None, all are shown.
    """
    columns = _columns_of(summary)
    kept = columns if width is None else _fitting(columns, summary, width)
    caption = ["Under each mean its 95 % bootstrap interval over episodes."]
    if any(column.heading.startswith("Silent") for column in kept):
        caption.append("Silent: share of AP-steps without a transmission.")
    if any(column.heading.startswith("Power") for column in kept):
        caption.append("Power: mean of all APs and steps over full power.")
    if left_out := [column.heading.replace("\n", " ") for column in columns if column not in kept]:
        caption.append(
            f"More columns in a wider terminal, or with COLUMNS=200: {', '.join(left_out)}."
        )
    grid = _grid(kept, summary, broken=width is not None and _width(_grid(kept, summary)) > width)
    grid.title, grid.caption = escape(title), "\n".join(("", *caption, *map(escape, notes)))
    return grid


def _columns_of(summary: Mapping[str, _Row]) -> list[_Column]:
    rows = summary.values()
    return _columns(
        optimum=any("share_of_optimum" in row for row in rows),
        normalised=any("normalised_score" in row for row in rows),
        power=any("power_share" in row for row in rows),
    )


def _fitting(columns: Sequence[_Column], summary: Mapping[str, _Row], width: int) -> list[_Column]:
    """The columns that fit into the width, in their order, and in any case those of rank 0."""
    kept = [column for column in columns if column.rank == 0]
    for column in sorted(columns, key=lambda column: column.rank)[len(kept) :]:
        tried = [other for other in columns if other in (*kept, column)]
        if _narrowest(_grid(tried, summary, broken=True)) <= width:
            kept = tried
    return kept


def _grid(
    columns: Sequence[_Column], summary: Mapping[str, _Row], *, broken: bool = False
) -> Table:
    """The table without texts; where ``broken``, a scheduler's options stand under its name."""
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
"""Names longer than this are broken into lines before a column is left out."""


def _width(grid: Table) -> int:
    """The width of the whole table, with unbroken names."""
    return Console(width=1000).measure(grid).maximum


def _narrowest(grid: Table) -> int:
    """The width of the table with its names broken as far as allowed; numbers are never broken."""
    grid.columns[0].max_width = _NAME_WIDTH
    return _width(grid)


def shown_with_interval(interval: Interval, digits: int) -> str:
    """The cell of a table: the mean, and under it the interval."""
    return f"{interval['mean']:.{digits}f}\n[dim]{_range(interval, digits)}[/]"


def show(summary: Mapping[str, _Row], title: str, notes: Sequence[str] = ()) -> None:
    """Print the table of a summary, as many columns as fit, with ``notes`` under it."""
    width = output_width()
    core = [column for column in _columns_of(summary) if column.rank == 0]
    needed = _narrowest(_grid(core, summary, broken=True))
    print_stripped(table(summary, title, notes, width), max(width, needed))


def output_width() -> int:
    """Characters in a line of output: the terminal's width; elsewhere what COLUMNS says, or 80.

    Files and pipes thus get the same table from every terminal.
    """
    console = Console()
    return console.width if console.is_terminal or os.environ.get("COLUMNS", "").isdigit() else 80


def publish(
    evaluations: Mapping[str, Evaluation],
    title: str,
    json_path: Path | None = None,
    plot_path: Path | None = None,
    notes: Sequence[str] = (),
    scale: ScoreScale | None = None,
) -> None:
    """Write results and plot where a path is given, then print the table and the paths.

    The table is printed even if a file cannot be written. With a scale, its last rows are the
    optimum, and the scores have their shares of it.

    Raises:
        WriteError: the system refuses to store a file.
    """
    summary = summarise(evaluations, scale)
    best = next(evaluations[name] for name, row in summary.items() if row["best"])
    rows = {} if scale is None else _optimum_rows(scale, best)
    optimum = None if scale is None else {**scale.as_dict(), "schedules": rows}
    reference = known_reference(best.config) if scale is None else None
    written = []
    try:
        if json_path:
            write_results(json_path, evaluations, summary, optimum, reference)
            written.append(json_path)
        if plot_path:
            write_rates_plot(plot_path, evaluations)
            written.append(plot_path)
    finally:
        of_references = [] if reference is None else [reference.note]
        of_scale = of_references if scale is None else scale.notes
        of_trace = evaluation_notes(best.config, best.score.shape[-1])
        show({**summary, **rows}, title, [*of_scale, *of_trace, *notes])
        for path in written:
            print(f"wrote {path}")


def print_whole(grid: Table) -> None:
    """Print a table in full width; a narrower terminal folds lines, and no digits are lost."""
    print_stripped(grid, max(output_width(), _width(grid)))


def print_stripped(grid: Table, width: int) -> None:
    """Print a table without the blanks with which `rich` fills its lines."""
    console = Console(width=width)
    for line in console.render_lines(grid, pad=False):
        while line and not line[-1].text.strip():
            line.pop()
        line[-1:] = [Segment(last.text.rstrip(), last.style) for last in line[-1:]]
        console.print(Segments([*line, Segment.line()]), end="")


def _range(interval: Interval, digits: int) -> str:
    return f"{interval['low']:.{digits}f}…{interval['high']:.{digits}f}"


def write_results(
    path: Path,
    evaluations: Mapping[str, Evaluation],
    summary: Mapping[str, Mapping[str, Any]],
    optimum: Mapping[str, Any] | None = None,
    reference: Reference | None = None,
) -> None:
    """Write config, seed and versions, and for each scheduler its summary and values per episode.

    Args:
        path: the file.
        evaluations: by scheduler.
        summary: of them, from `summarise`.
        optimum: what is known of the optimum, for an entry of that name.
        reference: what the normalised scores refer to, for an entry ``references``.

    Raises:
        WriteError: the system refuses to store the file.
    """
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
                    **{kpi: evaluation.kpi(kpi).tolist() for kpi in metrics.KPIS},
                    "silent_share": evaluation.silent_share.tolist(),
                },
            }
            for name, evaluation in evaluations.items()
        },
    }
    if optimum is not None:
        result["optimum"] = optimum
    if reference is not None:
        result["references"] = reference.as_dict()
    write_json(path, result)
