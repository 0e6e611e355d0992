"""Map of the paper's claims: verdicts in settings that differ in what the paper leaves open.

``python examples/paper/claims_map.py`` trains the paper's online and offline learners in every
setting, compares final checkpoints and schedulers on 256 unseen episodes, judges the claims of
Figures 4 to 7, and writes docs/results/claims_map.json and .png. ``--quick`` runs two settings of
one network in miniature; ``--only SETTING`` recomputes single settings and prints them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import figure_4
import figure_5
import figure_6
import figure_7
import tyro
from optima import optimum_of
from pictures import PICTURE_DPI
from rich.console import Console
from rich.table import Table
from study import QUICK, SCHEDULERS, Scale, Study
from study_options import StudyOptions, origin

from baselines.comparison import summarise
from baselines.plots import require_drawing, write_figure
from rrm_env import Evaluation, RRMConfig, metrics
from rrm_env.exit_status import GOES_ON, status_of
from rrm_env.files import check_writable, write_json


@dataclass(frozen=True)
class Setting:
    """One choice of what the paper leaves open."""

    network: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the preset ``paper`` that change."""
    random_walk: str = "random_walk"
    """The scheduler that stands for the paper's random walk, with or without silence."""


NETWORKS: dict[str, dict[str, Any]] = {
    "paper": {},
    "noise +10 dB": {"noise_figure_db": 10.0},
    "noise +20 dB": {"noise_figure_db": 20.0},
    "csi_delay 0": {"csi_delay": 0},
    "csi_delay 4": {"csi_delay": 4},
}
"""What each network changes of the preset ``paper``.

The preset has noise of -104 dBm, csi_delay 1, iid fading, steps of 50 ms, eta 0.05 and shadowing of
7 dB.
"""

BOTH_WALKS = ("paper", "noise +10 dB", "csi_delay 0")
"""Networks that are judged with both readings of the paper's random walk."""

SETTINGS = {
    **{name: Setting(changes) for name, changes in NETWORKS.items()},
    **{
        f"{name}, RW with silence": Setting(NETWORKS[name], "random_walk:silence=true")
        for name in BOTH_WALKS
    },
}
"""All networks, and some again with the other reading of the paper's random walk."""

MINIATURE = ("paper", "paper, RW with silence")
"""Settings of ``--quick``: two columns of the map for the trainings of one network."""

DATA = figure_6.DATA
_FIGURES = {"Figure 4": figure_4, "Figure 5": figure_5, "Figure 6": figure_6, "Figure 7": figure_7}
CLAIMS = {
    figure: tuple(claim for claim in module.CLAIMS if "not in the paper" not in claim.words)
    for figure, module in _FIGURES.items()
}
"""The paper's claims, by figure."""

_JUDGED = {name for claims in CLAIMS.values() for claim in claims for name in claim.names}
LEARNERS = tuple(
    run
    for run in dict.fromkeys(run for module in _FIGURES.values() for run in module.FIGURE.runs)
    if run in _JUDGED
)
"""Runs that the claims are about, trained in every network.

The data of offline learners comes from the online learners of the same network.
"""

MAP = Scale(seeds=3, online_updates=3000, offline_updates=1500)
"""Fewer updates than in the figures; learning curves in ``paper`` have levelled off by then."""

LETTERS = {"holds": "Y", "holds in part": "P", "does not hold": "N"}
SHADES = {"holds": "#56B4E9", "holds in part": "#F0E442", "does not hold": "#D55E00"}


@dataclass(frozen=True)
class Options(StudyOptions):
    """How much of the map to draw, and where to put it."""

    seeds: int = MAP.seeds
    """Independent learners per row."""

    @property
    def scale(self) -> Scale:
        """Seeds, updates, episodes and sizes of datasets."""
        return QUICK if self.quick else replace(MAP, seeds=self.seeds)


def main(options: Options) -> None:
    """Train missing runs, evaluate, judge the claims, and write the results."""
    require_drawing("the picture")
    options.check_only(SETTINGS)
    paths = (options.results(f"claims_map.{ending}") for ending in ("json", "png"))
    json_path, plot_path = (check_writable("results", path) for path in paths)
    learned: dict[Path, dict[str, Evaluation]] = {}
    wanted = options.only or (MINIATURE if options.quick else tuple(SETTINGS))
    studies = {(study := study_of(SETTINGS[name], options)).out: study for name in wanted}
    options.train((study, LEARNERS) for study in studies.values())
    settings = {name: judged(name, options, learned) for name in wanted}
    if options.only:
        return
    result = {**origin(options.scale), "data": DATA, "settings": settings, **agreement(settings)}
    write_json(json_path, result)
    write_picture(plot_path, settings)
    print(f"wrote {json_path}\nwrote {plot_path}")


def study_of(setting: Setting, options: Options) -> Study:
    """The runs of a setting, which settings of one network share."""
    network = RRMConfig(**setting.network)
    return Study(folder_of(options.folder, setting), options.scale, network, options.device)


def judged(
    name: str, options: Options, learned: dict[Path, dict[str, Evaluation]]
) -> dict[str, Any]:
    """KPIs of all rows and verdicts on all claims in one setting.

    Args:
        name: of the setting.
        options: scale, folder and device.
        learned: evaluations of learners by folder, which settings of one network share; those of
            this setting are added.
    """
    setting = SETTINGS[name]
    study = study_of(setting, options)
    if study.out not in learned:
        learned[study.out] = {row: study.evaluation(row) for row in LEARNERS}
    evaluations = {
        **learned[study.out],
        **{
            row: study.scheduler(setting.random_walk if row == "random_walk" else row)
            for row in SCHEDULERS
        },
    }
    claims = {
        figure: [claim.judge(evaluations) for claim in claims] for figure, claims in CLAIMS.items()
    }
    _show(name, evaluations, claims)
    return {
        "network": dict(setting.network),
        "random_walk": setting.random_walk,
        "optimum": optimum_of(study.network, options.scale.episodes),
        "rows": {
            row: {kpi: summary[kpi] for kpi in metrics.LEARNERS_KPIS}
            for row, summary in summarise(evaluations).items()
        },
        "score_per_seed": {row: evaluations[row].score.mean(-1).tolist() for row in LEARNERS},
        "claims": claims,
        "learners": {row: study.description(row) for row in LEARNERS},
        "training_hours": {row: study.hours(row) for row in LEARNERS},
    }


def folder_of(out: Path, setting: Setting) -> Path:
    """Folder of a setting's runs; settings of one network share it."""
    changes = (
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in setting.network.items()
    )
    return out / "claims_map" / (",".join(changes) or "paper")


def agreement(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Count of verdicts in each setting, and the claims that hold in no and in every setting."""
    found = {name: _verdicts(setting) for name, setting in settings.items()}
    words = list(next(iter(found.values())))
    return {
        "count": {
            name: {verdict: [*verdicts.values()].count(verdict) for verdict in LETTERS}
            for name, verdicts in found.items()
        },
        "nowhere": [
            text
            for text in words
            if not any(verdicts[text] == "holds" for verdicts in found.values())
        ],
        "everywhere": [
            text for text in words if all(verdicts[text] == "holds" for verdicts in found.values())
        ],
    }


def _verdicts(setting: Mapping[str, Any]) -> dict[str, str]:
    return {
        claim["claim"]: claim["verdict"]
        for claims in setting["claims"].values()
        for claim in claims
    }


def _show(
    name: str, evaluations: Mapping[str, Evaluation], claims: Mapping[str, list[dict[str, Any]]]
) -> None:
    headings = (metrics.KPIS[kpi].heading for kpi in metrics.LEARNERS_KPIS)
    grid = Table("", *headings, title=name, title_justify="left")
    for row, summary in summarise(evaluations).items():
        grid.add_row(
            row,
            *(
                "{mean:.3f} ({low:.3f}…{high:.3f})".format(**summary[kpi])
                for kpi in metrics.LEARNERS_KPIS
            ),
        )
    verdicts = Table("claim", "verdict", title_justify="left")
    for claim in (claim for of_figure in claims.values() for claim in of_figure):
        verdicts.add_row(claim["claim"], claim["verdict"])
    console = Console(width=max(120, Console().width))
    console.print(grid)
    console.print(verdicts)
    for row in LEARNERS:
        scores = ", ".join(f"{value:.6f}" for value in evaluations[row].score.mean(-1))
        print(f"{row}: score of each seed {scores}", flush=True)


def write_picture(path: Path, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw every verdict as a colour and a letter: claims down, settings across.

    The number of claims that hold stands above each setting.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = [
        (figure, claim["claim"])
        for figure, claims in next(iter(settings.values()))["claims"].items()
        for claim in claims
    ]
    canvas = Figure(
        figsize=(5.5 + 0.62 * len(settings), 2.2 + 0.33 * len(rows)), layout="constrained"
    )
    axes = canvas.subplots()
    for x, setting in enumerate(settings.values()):
        verdicts = _verdicts(setting)
        for y, (_, claim) in enumerate(rows):
            axes.barh(y, 0.96, left=x - 0.48, height=0.92, color=SHADES[verdicts[claim]])
            axes.text(x, y, LETTERS[verdicts[claim]], ha="center", va="center")
        axes.text(
            x,
            -0.75,
            str([*verdicts.values()].count("holds")),
            ha="center",
            va="bottom",
            weight="bold",
        )
    for y in range(1, len(rows)):
        if rows[y][0] != rows[y - 1][0]:
            axes.axhline(y - 0.5, color="#000000", linewidth=1)
    axes.set_yticks(
        range(len(rows)), [f"{claim}  [{figure.removeprefix('Figure ')}]" for figure, claim in rows]
    )
    axes.set_xticks(
        range(len(settings)), list(settings), rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set(xlim=(-0.5, len(settings) - 0.5), ylim=(len(rows) - 0.5, -1.6))
    canvas.suptitle(
        "Which claims of the paper hold in which setting; bold: how many hold. "
        "In brackets: the figure.",
        fontsize="medium",
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    handles = [
        Patch(color=shade, label=f"{LETTERS[verdict]}: {verdict}")
        for verdict, shade in SHADES.items()
    ]
    canvas.legend(handles=handles, ncols=3, loc="outside lower center", frameon=False)
    write_figure(path, canvas, PICTURE_DPI)


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__)), interrupted=GOES_ON))
