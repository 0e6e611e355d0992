"""The script behind each figure: its options, evaluations, verdicts on claims and results file."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from claims import Above, Claim
from pictures import Draw, Report, write_picture
from rich.console import Console
from rich.table import Table
from study import SCHEDULERS, Scale, Study
from study_options import StudyOptions, origin

from baselines.comparison import show, summarise
from baselines.optimum import Optimum, optimum
from baselines.plots import require_drawing
from baselines.scale import ScoreScale
from marl.training.curves import learning_curve
from marl.training.rollout import CURVE_SEED
from rrm_env import RRMConfig, metrics
from rrm_env.exit_status import GOES_ON, status_of
from rrm_env.files import check_apart, check_results, check_writable, write_json


@dataclass(frozen=True)
class Options(StudyOptions):
    """How much of the figure to run, and where to put it."""

    json: Path | None = None
    """File of the results (default: docs/results/NAME.json)."""
    plot: Path | None = None
    """File of the picture (default: docs/results/NAME.png)."""
    keep: bool = False
    """Keep rows of the committed results that no claim is about, instead of training again for
    them."""


@dataclass(frozen=True)
class Figure:
    """One of the paper's figures: its rows, the claims that the paper makes of it, its picture."""

    name: str
    """Stem of its files, such as figure_4."""
    title: str
    runs: tuple[str, ...]
    """Learners, by the names of runs of a `Study`."""
    draw: Draw
    claims: tuple[Claim, ...] = ()
    schedulers: tuple[str, ...] = SCHEDULERS
    curves: tuple[str, ...] = ()
    """Runs whose learning curves are reported."""
    extra: Callable[[Study], dict[str, Any]] | None = None
    """Function of further entries of the results file."""


def main(figure: Figure, description: str | None) -> None:
    """Run the figure's script: train missing runs, evaluate, judge the claims, write results."""
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
    options.train([(study, runs)])
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
    best, of_curves = (
        _optimum(study, seed, episodes)
        for seed, episodes in (
            (0, options.scale.episodes),
            (CURVE_SEED, options.scale.curve_episodes),
        )
    )
    scale = None if best is None else ScoreScale.of(best, evaluations)
    if of_curves is not None:
        levels["optimum"] = {"score": float(of_curves.score.value.mean())}
    rows = {name: committed["rows"][name] for name in kept}
    labels |= {name: row["label"] for name, row in rows.items()}
    report = Report(evaluations, labels, curves, levels, rows, scale)
    if options.only:
        _show_rows(figure, report)
        for name in runs:
            scores = ", ".join(f"{value:.6f}" for value in evaluations[name].score.mean(-1))
            print(f"{name}: score of each seed {scores}")
        instructions = torch.backends.cpu.get_cpu_capability()
        print(
            f"torch computed with {instructions}; "
            "other instructions round differently, and scores with them"
        )
        return
    verdicts = [claim.judge(evaluations) for claim in figure.claims]
    result = _result(figure, study, report, verdicts)
    if kept:
        _take_over(result, committed, kept)
    try:
        write_json(json_path, result)
        write_picture(plot_path, figure.title, figure.draw, report)
    finally:
        _show_rows(figure, report)
        if verdicts:
            _show_verdicts(verdicts)
    print(f"wrote {json_path}\nwrote {plot_path}")


def _show_rows(figure: Figure, report: Report) -> None:
    evaluations = {report.label(name): value for name, value in report.evaluations.items()}
    notes = () if report.scale is None else report.scale.notes
    show(summarise(evaluations, report.scale), figure.title, notes)


def _optimum(study: Study, seed: int, episodes: int) -> Optimum | None:
    """The optimum of evaluation episodes; None, with a line that says why, where it is unknown."""
    try:
        return optimum(study.network, seed, episodes)
    except ValueError as error:
        print(f"left out: {error}", flush=True)
        return None


def _committed(figure: Figure) -> dict[str, Any]:
    """The figure's committed results; empty if there are none."""
    path = Path("docs/results") / f"{figure.name}.json"
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return content


def _kept(figure: Figure, committed: Mapping[str, Any], study: Study) -> list[str]:
    """Runs that no claim is about, that are not trained here and that have a committed row.

    Raises:
        ValueError: there are no committed results, or they are of another scale or network.
    """
    before = {
        "scale": committed.get("scale"),
        "network": RRMConfig(**committed.get("network", {})),  # newer fields: their defaults
    }
    for name, now in (("scale", vars(study.scale)), ("network", study.network)):
        if before[name] != now:
            raise ValueError(
                f"keep needs committed results of {figure.name} with the same {name}, {now}, "
                f"found {before[name]}"
            )
    judged = {name for claim in figure.claims for name in claim.names} | set(figure.curves)
    return [
        name
        for name in figure.runs
        if name not in judged and name in committed["rows"] and study.missing([name])
    ]


def _take_over(result: dict[str, Any], committed: Mapping[str, Any], kept: Sequence[str]) -> None:
    """Add kept rows to a figure's result, each with the revision that computed it."""
    result["rows"] |= {name: committed["rows"][name] for name in kept}
    result["learners"] |= {name: committed["learners"][name] for name in kept}
    result["training_hours"] |= {name: committed["training_hours"][name] for name in kept}
    result["kept"] = {
        name: committed.get("kept", {}).get(name, committed["revision"]) for name in kept
    }


def _announce(study: Study, committed: Mapping[str, Any], runs: Sequence[str]) -> None:
    """Print which runs will be trained, and how long that took for the committed results."""
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
    """The content of the results file, without kept rows."""
    made = [name for name in figure.runs if name not in report.kept]
    rows: dict[str, Any] = {}
    for name, summary in summarise(report.evaluations, report.scale).items():
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
    """Probability of improvement (Agarwal et al., 2021) for every pair that the claims rank."""
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
