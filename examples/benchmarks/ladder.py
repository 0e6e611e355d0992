"""The ladder from the random walk to the optimum, and the frontier between sum and lowest rate.

``python examples/benchmarks/ladder.py`` draws docs/results/ladder.png from results that other
scripts committed: schedulers and the optimum from schedulers.json, learners from the paper's
figures and past_the_paper.json, all on the same unseen episodes of the preset ``paper``. The
frontier is computed: the best sum rate beside every mean lowest rate, for different weights of the
two (`baselines.optimum`). It is kept in docs/results/frontier.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from baselines.optimum import optimum
from baselines.plots import COLOURS
from rrm_env import RRMConfig, metrics

Row = Mapping[str, Any]

WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 1000.0)
"""Weights of the lowest rate, mu2, along the frontier; Eq. 11's is 3."""
PICTURE_DPI = 110


KINDS = {
    "alone": COLOURS[2],
    "together": COLOURS[5],
    "learner": COLOURS[1],
    "oracle": COLOURS[4],
}
"""Colours: access points decide from what they measure; they, or a centre, from what all measure;
the same of trained policies; and a scheduler that knows the present fading."""


@dataclass(frozen=True)
class Rung:
    """A row of the ladder."""

    label: str
    """Its name in the picture and the table."""
    row: str
    """The row in its results file."""
    kind: str
    """One of `KINDS`."""
    knows: str
    """What its decisions depend on."""
    bits: str
    """What all access points send and receive for one joint decision, in bits, 32 per number."""
    source: str = "schedulers"
    """The results file, without its suffix."""
    named: bool = False
    """Whether the picture of the frontier names it."""


@dataclass(frozen=True)
class Options:
    """How much to compute, and where from and to."""

    results: Path = Path("docs/results")
    """Folder of the results files, in which the picture and the frontier are written."""
    episodes: int = 64
    """Episodes of the frontier."""


def frontier(config: RRMConfig, episodes: int) -> list[dict[str, float]]:
    """Mean sum rate and mean lowest rate of the best schedules, by the weight of the latter."""
    points = []
    for weight in WEIGHTS:
        best = optimum(replace(config, score_tail_weight=weight), 0, episodes, cached=False)
        rates = best.minimum_score.ue_rates
        points.append(
            {
                "tail_weight": weight,
                "sum_rate": float(metrics.sum_rate(rates).mean()),
                "worst_rate": float(metrics.worst_rate(rates).mean()),
            }
        )
    return points


def _draw(canvas: Any, rows: Sequence[tuple[Rung, Row]], top: Row, curve: Sequence[Row]) -> None:
    """The frontier with the schedulers under it, and the ladder beside it."""
    left, right = canvas.subplots(1, 2, width_ratios=(2, 3))
    left.plot(
        [point["worst_rate"] for point in curve],
        [point["sum_rate"] for point in curve],
        color=COLOURS[0],
        label="frontier: no scheduler gets above it",
    )
    for rung, row in rows:
        if "worst_rate" in row and "sum_rate" in row:
            colour = KINDS[rung.kind]
            left.plot(row["worst_rate"]["mean"], row["sum_rate"]["mean"], "o", color=colour)
            if rung.named:
                left.annotate(
                    rung.label,
                    (row["worst_rate"]["mean"], row["sum_rate"]["mean"]),
                    xytext=(4, 3),
                    textcoords="offset points",
                    fontsize="x-small",
                )
    left.set(
        title="Sum rate against the worst user's rate, means over episodes",
        xlabel=metrics.axis_label("worst_rate"),
        ylabel=metrics.axis_label("sum_rate"),
    )
    best = top["score"]["mean"]
    for k, (rung, row) in enumerate(rows):
        score = row["score"]["mean"]
        right.barh(k, score, color=KINDS[rung.kind], alpha=0.55)
        right.annotate(f" {rung.label}", (0, k), va="center", fontsize="x-small")
        right.annotate(
            f"{score:.2f}, {100 * score / best:.0f} % ",
            (score, k),
            va="center",
            fontsize="x-small",
            annotation_clip=False,
        )
    for name, text in (("score", "optimum"), ("minimum_score", "optimum,\neverybody counted")):
        right.axvline(top[name]["mean"], color=COLOURS[0], linewidth=1)
        right.annotate(
            f"{text} {top[name]['mean']:.2f}",
            (top[name]["mean"], len(rows) - 0.4),
            ha="right" if name != "score" else "left",
            va="top",
            fontsize="x-small",
        )
    right.set_yticks([])
    right.set(title="Score (Eq. 11), 256 unseen episodes", xlabel="score", xlim=(0, 1.12 * best))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize="small")
