"""What the figure scripts share: options, evaluation, verdicts, results file, pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from claims import BEST_ITLINQ, PAPER_BASELINES, Above, Claim
from rich.console import Console
from rich.table import Table
from study import OFFLINE, ONLINE, QUICK, Scale, Study

from baselines.comparison import mean_with_interval, show, summarise
from baselines.plots import COLOURS, draw_bars, require_drawing, write_figure
from marl.training.curves import Curve, draw_curves, learning_curve
from rrm_env import Evaluation, RRMConfig, metrics, provenance
from rrm_env.exit_status import GOES_ON, status_of
from rrm_env.files import check_apart, check_results, check_writable, write_whole

SCHEDULERS = (
    *PAPER_BASELINES,
    BEST_ITLINQ,
    "network_tdm",
    "max_weight",
    "max_weight:csi=large_scale",
)
"""Beside every figure: the paper's, ITLinQ at the best tolerance of the sweep too, and reference points that the paper leaves out."""

_SCHEMES = (*ONLINE, *OFFLINE)
STYLES = {
    **{
        name: (COLOURS[k % len(COLOURS)], "-" if k < len(COLOURS) else "-.")
        for k, name in enumerate(_SCHEMES)
    },
    **{name: (COLOURS[k], ("--", ":")[k % 2]) for k, name in enumerate(SCHEDULERS)},
    "proportional_fair": (COLOURS[0], "-."),
}
"""Colour and line of every scheme and scheduler, the same in all figures; schemes are solid."""


PICTURE_DPI = 110
"""Of committed pictures: sharp at the width of a page, and small files."""


@dataclass(frozen=True)
class StudyOptions:
    """How much of a study to do and where to put it."""

    quick: bool = False
    """The same pipeline in miniature: two seeds and too few updates to learn anything; writes into the study's folder only."""
    seeds: int = Scale.seeds
    """Independent learners per row."""
    out: Path = Path("study")
    """Folder of runs and datasets, shared by all studies. What is finished there is not done again."""
    only: tuple[str, ...] = ()
    """Recompute these rows alone and print them; nothing else is written."""
    device: str = "cpu"
    """Where to train."""

    @property
    def scale(self) -> Scale:
        """How much to do."""
        return QUICK if self.quick else replace(Scale(), seeds=self.seeds)

    @property
    def folder(self) -> Path:
        """Where runs and datasets are; made where missing."""
        folder = self.out / "quick" if self.quick else self.out
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def results(self, name: str) -> Path:
        """Where a results file or picture goes."""
        return (self.folder if self.quick else Path("docs/results")) / name

    def check_only(self, known: Collection[str]) -> None:
        """Refuse rows that do not exist (ValueError)."""
        for name in self.only:
            if name not in known:
                raise ValueError(
                    f"only must name rows of the figure, {', '.join(known)}, got {name!r}"
                )


@dataclass(frozen=True)
class Options(StudyOptions):
    """How much of the figure to do and where to put it."""

    json: Path | None = None
    """Results; docs/results/NAME.json without."""
    plot: Path | None = None
    """The picture; docs/results/NAME.png without."""
    keep: bool = False
    """Take over rows of the committed results that no claim is about, instead of training what they need again."""


def origin(scale: Scale) -> dict[str, Any]:
    """What made a results file: command, revision, machine, versions, torch's vector instructions, scale."""
    return {
        **provenance.origin("torch"),
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
        "scale": vars(scale),
    }


@dataclass(frozen=True)
class Figure:
    """One of the paper's figures: who is in it, what the paper says about it, how to draw it."""

    name: str
    """Of its files, such as figure_4."""
    title: str
    runs: tuple[str, ...]
    """Runs of a `Study`, by name."""
    draw: Callable[[Any, Report], None]
    """Draws into a matplotlib figure."""
    claims: tuple[Claim, ...] = ()
    schedulers: tuple[str, ...] = SCHEDULERS
    curves: tuple[str, ...] = ()
    """Runs whose learning curves are reported."""
    extra: Callable[[Study], dict[str, Any]] | None = None
    """Adds to the results file."""


@dataclass(frozen=True)
class Report:
    """A figure's numbers."""

    evaluations: Mapping[str, Evaluation]
    """Of the rows that were made."""
    labels: Mapping[str, str]
    curves: Mapping[str, Curve]
    """Of the runs that the figure shows over updates."""
    levels: Mapping[str, Mapping[str, float]]
    """Mean KPIs of everyone else on the held-out episodes behind those curves."""
    kept: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Rows that were taken over from the committed results."""

    def row(self, name: str, kpi: str) -> Mapping[str, float]:
        """A row's KPI as `mean_with_interval` has it."""
        return (
            self.kept[name][kpi]
            if name in self.kept
            else mean_with_interval(getattr(self.evaluations[name], kpi))
        )

    def label(self, name: str) -> str:
        """What a row is called."""
        return self.labels.get(name, name)


def main(figure: Figure, description: str | None) -> None:
    """The figure's script: train what is missing, evaluate, judge, write."""
    if status := status_of(
        lambda: _main(figure, tyro.cli(Options, description=description)), interrupted=GOES_ON
    ):
        sys.exit(status)


def _main(figure: Figure, options: Options) -> None:
    require_drawing("the picture")
    options.check_only((*figure.runs, *figure.schedulers))
    if options.keep and options.only:
        raise ValueError(
            "keep takes over rows of the committed results, only recomputes rows: give one"
        )
    study = Study(options.folder, options.scale, device=options.device)
    json_path = check_results("--json", options.json or options.results(f"{figure.name}.json"))
    plot_path = check_writable("--plot", options.plot or options.results(f"{figure.name}.png"))
    check_apart(json=json_path, plot=plot_path)
    committed = _committed(figure)
    kept = _kept(figure, committed, study) if options.keep else []
    runs = [
        name
        for name in figure.runs
        if (not options.only or name in options.only) and name not in kept
    ]
    schedulers = [name for name in figure.schedulers if not options.only or name in options.only]
    _announce(study, committed, runs)
    evaluations = {
        **{name: study.evaluation(name) for name in runs},
        **{name: study.scheduler(name) for name in schedulers},
    }
    labels = {
        name: study.label(name) + (f", {data}" if (data := name.partition(".")[2]) else " online")
        for name in runs
    }
    curves = {name: learning_curve(study.folder(name)) for name in figure.curves if name in runs}
    levels = {
        **{name: study.final_level(name) for name in runs if name not in curves},
        **{name: study.level(name) for name in schedulers},
    }
    rows = {name: committed["rows"][name] for name in kept}
    labels |= {name: row["label"] for name, row in rows.items()}
    report = Report(evaluations, labels, curves, levels, rows)
    if options.only:
        _show_rows(figure, report)
        for name in runs:
            print(
                f"{name}: score of each seed {', '.join(f'{value:.6f}' for value in evaluations[name].score.mean(-1))}"
            )
        print(
            f"torch computed with {torch.backends.cpu.get_cpu_capability()}; other instructions round differently, and scores with them"
        )
        return
    verdicts = [claim.judge(evaluations) for claim in figure.claims]
    result = _result(figure, study, report, verdicts)
    if kept:
        _take_over(result, committed, kept)
    try:
        write_whole(json_path, lambda file: file.write(json.dumps(result, indent=1).encode()))
        _write_picture(plot_path, figure, report)
    finally:
        _show_rows(figure, report)
        if verdicts:
            _show_verdicts(verdicts)
    print(f"wrote {json_path}\nwrote {plot_path}")


def _show_rows(figure: Figure, report: Report) -> None:
    show(
        summarise({report.label(name): value for name, value in report.evaluations.items()}),
        figure.title,
    )


def _committed(figure: Figure) -> dict[str, Any]:
    """The committed results; empty where there are none."""
    path = Path("docs/results") / f"{figure.name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def _kept(figure: Figure, committed: Mapping[str, Any], study: Study) -> list[str]:
    """Runs of committed rows that no claim is about.

    Raises:
        ValueError: the committed results are of another scale or network, or there are none.
    """
    before = {
        "scale": committed.get("scale"),
        "network": RRMConfig(**committed.get("network", {})),
    }  # options younger than it: defaults
    for name, now in (("scale", vars(study.scale)), ("network", study.network)):
        if before[name] != now:
            raise ValueError(
                f"keep needs committed results of {figure.name} with the same {name}, {now}, found {before[name]}"
            )
    judged = {name for claim in figure.claims for name in claim.names} | set(figure.curves)
    return [
        name
        for name in figure.runs
        if name not in judged and name in committed["rows"] and study.missing([name])
    ]


def _take_over(result: dict[str, Any], committed: Mapping[str, Any], kept: Sequence[str]) -> None:
    """Put kept rows into a figure's result, each with the revision that made it."""
    result["rows"] |= {name: committed["rows"][name] for name in kept}
    result["learners"] |= {name: committed["learners"][name] for name in kept}
    result["training_hours"] |= {name: committed["training_hours"][name] for name in kept}
    result["kept"] = {
        name: committed.get("kept", {}).get(name, committed["revision"]) for name in kept
    }


def _announce(study: Study, committed: Mapping[str, Any], runs: Sequence[str]) -> None:
    """Say what is still to do, and how long it took when the committed results were made."""
    missing, hours = study.missing(runs), committed.get("training_hours", {})
    if missing:
        expected = sum(hours.get(name, 0.0) for name in missing)
        took = (
            f"; for the committed results that took {expected:.1f} hours of two cores"
            if expected and study.scale == Scale()
            else ""
        )
        print(
            f"to train: {', '.join(missing)}{took}. Interrupt at will: the same command goes on.",
            flush=True,
        )


def _result(
    figure: Figure, study: Study, report: Report, verdicts: list[dict[str, Any]]
) -> dict[str, Any]:
    made = [name for name in figure.runs if name not in report.kept]
    rows: dict[str, Any] = {}
    for name, summary in summarise(report.evaluations).items():
        evaluation = report.evaluations[name]
        row = {"label": report.label(name), **summary}
        for kpi in metrics.LEARNERS_KPIS:
            values = getattr(evaluation, kpi)
            low, high = metrics.interquartile_mean_interval(values)
            row[kpi] |= {
                "interquartile_mean": metrics.interquartile_mean(values),
                "interquartile_low": low,
                "interquartile_high": high,
            }
            row[kpi] |= {"per_seed": values.mean(-1).tolist()} if values.ndim == 2 else {}
        rows[name] = {key: value for key, value in row.items() if key != "steps_per_second"}
    return {
        "figure": figure.name,
        "title": figure.title,
        **origin(study.scale),
        "network": study.network.as_dict(),
        "rows": rows,
        "claims": verdicts,
        "improvement": _improvements(figure, report),
        "training_hours": {name: study.hours(name) for name in study.needed(made)},
        "learners": {name: study.description(name) for name in made},
        "curves": {name: curve.as_dict() for name, curve in report.curves.items()},
        **(figure.extra(study) if figure.extra else {}),
    }


def _improvements(figure: Figure, report: Report) -> list[dict[str, Any]]:
    """Probability of improvement for every pair that the claims rank."""
    ranked = dict.fromkeys(
        (item.kpi, item.first, item.second)
        for claim in figure.claims
        for item in claim.comparisons
        if isinstance(item, Above)
    )
    found = []
    for kpi, first, second in ranked:
        values = (getattr(report.evaluations[name], kpi) for name in (first, second))
        probability, low, high = metrics.probability_of_improvement(*values)
        found.append(
            {
                "kpi": kpi,
                "first": first,
                "second": second,
                "probability": probability,
                "low": low,
                "high": high,
            }
        )
    return found


def _show_verdicts(verdicts: Sequence[Mapping[str, Any]]) -> None:
    grid = Table(
        "Claim", "Verdict", "Measured (95 % interval)", title_justify="left", show_lines=True
    )
    for verdict in verdicts:
        lines = [
            f"{item['text']}: {item['mean']:.3f} ({item['low']:.3f}…{item['high']:.3f})"
            for item in verdict["evidence"]
        ]
        grid.add_row(verdict["claim"], verdict["verdict"], "\n".join(lines))
    Console(width=max(160, Console().width)).print(grid)


# --- Pictures ---


def _write_picture(path: Path, figure: Figure, report: Report) -> None:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(15, 4.6), layout="constrained")
    figure.draw(canvas, report)
    canvas.suptitle(figure.title, fontsize="medium")
    write_figure(path, canvas, PICTURE_DPI)


def curves_and_levels(canvas: Any, report: Report) -> None:
    """Learning curves; everyone else, on the same held-out episodes, is a horizontal line."""
    names = {
        report.label(name): name.partition(".")[0] for name in (*report.curves, *report.levels)
    }
    curves = {report.label(name): curve for name, curve in report.curves.items()}
    levels = {report.label(name): level for name, level in report.levels.items()}
    draw_curves(canvas, curves, levels, {label: STYLES[name] for label, name in names.items()})


def compare_sizes(axes: Any, kpi: str, sizes: Mapping[int, str], report: Report) -> None:
    """A KPI over the dataset's size, one point and interval per run; ``sizes`` says which run."""
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
    """A KPI of several rows as points with intervals, one under another; ``bars`` maps what each is called to its row."""
    draw_bars(
        axes,
        [
            (text, STYLES[name.partition(".")[0]][0], dict(report.row(name, kpi)))
            for text, name in bars.items()
        ],
    )
    axes.set(xlabel=metrics.axis_label(kpi))


def label_of(scheme: str, report: Report) -> str:
    """What the paper calls a scheme that occurs with several datasets."""
    return next(
        label for name, label in report.labels.items() if name.partition(".")[0] == scheme
    ).partition(",")[0]
