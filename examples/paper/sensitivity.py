"""Which claims depend on what the paper leaves open: variants of the network, one change each.

``python examples/paper/sensitivity.py`` records max_weight in each variant, trains five seeds of
C-MARL-CQL (SAC) from it, compares them with the schedulers on 256 unseen episodes, judges the
paper's claims, and writes docs/results/sensitivity.json and .png. ``--quick`` runs the same in
miniature.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from claims import CLASSICAL, Claim, gains, over
from optima import optimum_of, share_of
from pictures import PICTURE_DPI
from rich.console import Console
from rich.table import Table
from study import SCHEDULERS, Scale, Study
from study_options import StudyOptions, origin

from baselines.comparison import summarise
from baselines.plots import require_drawing, write_figure
from rrm_env import RRMConfig, metrics
from rrm_env.exit_status import GOES_ON, status_of
from rrm_env.files import check_writable, write_json

LEARNER = "c-cql-sac.max_weight-100000"
VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {},
    "csi_delay 0": {"csi_delay": 0},
    "csi_delay 4": {"csi_delay": 4},
    "Jakes, 50 ms": {"fading": "jakes"},
    "Jakes, 1 ms": {"fading": "jakes", "step_duration_s": 0.001},
    "eta 0.01": {"rate_ema": 0.01},
    "shadowing 0 dB": {"shadowing_std_db": 0.0},
    "shadowing 10 dB": {"shadowing_std_db": 10.0},
    "J = 10": {"n_ues": 10},
    "J = 40": {"n_ues": 40},
}
"""What each variant changes of the preset ``paper``.

The preset has csi_delay 1, iid fading, eta 0.05, shadowing of 7 dB and 20 users.
"""

CLAIMS = (
    *CLASSICAL,
    *gains("C-CQL", LEARNER),
    Claim(
        "(not in the paper) C-CQL scores above network-wide TDM",
        over("score", (LEARNER,), ("network_tdm",)),
    ),
    Claim(
        "(not in the paper) C-CQL scores above max-weight, its data",
        over("score", (LEARNER,), ("max_weight",)),
    ),
)
WORDS = {"holds": "yes", "holds in part": "part", "does not hold": "no"}
SHADES = {"holds": "#56B4E9", "holds in part": "#F0E442", "does not hold": "#D55E00"}


def main(options: StudyOptions) -> None:
    """Train missing runs, evaluate, judge the claims, and write the results."""
    require_drawing("the picture")
    options.check_only(VARIANTS)
    scale = options.scale
    json_path, plot_path = (
        check_writable("results", options.results(f"sensitivity.{ending}"))
        for ending in ("json", "png")
    )
    wanted = options.only or tuple(VARIANTS)
    options.train((_study_of(name, options, scale), (LEARNER,)) for name in wanted)
    variants = {name: _variant(name, options, scale) for name in wanted}
    if options.only:
        return
    result = {
        **origin(scale),
        "variants": variants,
    }
    write_json(json_path, result)
    write_picture(plot_path, variants)
    print(f"wrote {json_path}\nwrote {plot_path}")


def _study_of(name: str, options: StudyOptions, scale: Scale) -> Study:
    """The runs of a variant."""
    folder = options.folder / "sensitivity" / name.replace(" ", "_")
    return Study(folder, scale, RRMConfig(**VARIANTS[name]), options.device)


def _variant(name: str, options: StudyOptions, scale: Scale) -> dict[str, Any]:
    """KPIs of all rows and verdicts on all claims in one variant."""
    study = _study_of(name, options, scale)
    evaluations = {
        LEARNER: study.evaluation(LEARNER),
        **{scheduler: study.scheduler(scheduler) for scheduler in SCHEDULERS},
    }
    rows = {
        row: {kpi: summary[kpi] for kpi in metrics.LEARNERS_KPIS}
        for row, summary in summarise(evaluations).items()
    }
    claims = [claim.judge(evaluations) for claim in CLAIMS]
    grid = Table(
        "",
        *(metrics.KPIS[kpi].heading for kpi in metrics.LEARNERS_KPIS),
        title=name,
        title_justify="left",
    )
    for row, kpis in rows.items():
        grid.add_row(
            row,
            *(f"{kpi['mean']:.3f} ({kpi['low']:.3f}…{kpi['high']:.3f})" for kpi in kpis.values()),
        )
    Console(width=max(120, Console().width)).print(grid)
    per_seed = evaluations[LEARNER].score.mean(-1)
    print(f"score of each seed {', '.join(f'{value:.6f}' for value in per_seed)}", flush=True)
    return {
        "network": VARIANTS[name],
        "optimum": optimum_of(study.network, scale.episodes),
        "rows": rows,
        "score_per_seed": per_seed.tolist(),
        "claims": claims,
        "learner": study.description(LEARNER),
        "training_hours": study.hours(LEARNER),
    }


def write_picture(path: Path, variants: dict[str, dict[str, Any]]) -> None:
    """Draw all scores, with their shares of the optimum, above all verdicts."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(14, 12), layout="constrained")
    scores, verdicts = figure.subplots(2, 1, height_ratios=(6, 5))
    _draw_scores(scores, [*variants.values()])
    for x, variant in enumerate(variants.values()):
        for y, claim in enumerate(variant["claims"]):
            verdicts.barh(y, 0.96, left=x - 0.48, height=0.9, color=SHADES[claim["verdict"]])
            verdicts.annotate(WORDS[claim["verdict"]], (x, y), ha="center", va="center")
    verdicts.set_yticks(range(len(CLAIMS)), [claim.words for claim in CLAIMS], fontsize="small")
    verdicts.set_ylim(len(CLAIMS) - 0.5, -0.5)
    verdicts.set_xlim(-0.5, len(variants) - 0.5)
    verdicts.set_title("Does the claim hold?", fontsize="medium")
    for axes in (scores, verdicts):
        axes.set_xticks(range(len(variants)), list(variants), rotation=20)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    handles = [Patch(color=shade, label=verdict) for verdict, shade in SHADES.items()]
    verdicts.legend(
        handles=handles, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15), frameon=False
    )
    write_figure(path, figure, PICTURE_DPI)


def _draw_scores(axes: Any, variants: list[dict[str, Any]]) -> None:
    """Draw a field per row and variant, shaded by its share of the variant's best row."""
    rows = list(variants[0]["rows"])
    means = np.array(
        [[variant["rows"][row]["score"]["mean"] for variant in variants] for row in rows]
    )
    below = ["optimum"] if any(variant.get("optimum") for variant in variants) else []
    shades = np.concatenate([means / means.max(0), np.full((len(below), len(variants)), np.nan)])
    axes.imshow(shades, cmap="Blues", vmin=0, vmax=1.3, aspect="auto")
    for x, variant in enumerate(variants):
        best = variant.get("optimum")
        for y, row in enumerate(rows):
            share = share_of(variant["rows"][row], best)
            reached = "" if share is None else f"\n{100 * share:.0f} %"
            weight = "bold" if means[y, x] == means[:, x].max() else "normal"
            text = f"{means[y, x]:.2f}{reached}"
            axes.annotate(text, (x, y), ha="center", va="center", weight=weight)
        if best is not None:
            text = f"{best['score']['mean']:.2f}{' †' if best['information'] == 'channel' else ''}"
            axes.annotate(text, (x, len(rows)), ha="center", va="center")
    labels = ["C-MARL-CQL (SAC) from max_weight's data", *rows[1:], *below]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_title(
        "Score, and share of the optimum. Darker: nearer to the best row of the column. "
        "†: knows the channels of all steps beforehand.",
        fontsize="medium",
    )


if __name__ == "__main__":
    sys.exit(
        status_of(lambda: main(tyro.cli(StudyOptions, description=__doc__)), interrupted=GOES_ON)
    )
