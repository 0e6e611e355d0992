"""The ladder from the random walk to the optimum, and the frontier between sum and lowest rate.

``python examples/paper/ladder.py`` draws docs/results/ladder.png from results that other
scripts committed: schedulers and the optimum from schedulers.json, learners from the paper's
figures and past_the_paper.json, all on the same unseen episodes of the preset ``paper``. The
frontier is computed: the best sum rate beside every mean lowest rate, for different weights of the
two (`baselines.optimum`). It is kept in docs/results/frontier.json.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro

from baselines.optimum import optimum
from baselines.plots import COLOURS, require_drawing, write_figure
from rrm_env import RRMConfig, metrics
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

Row = Mapping[str, Any]

WEIGHTS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 8.0, 1000.0)
"""Weights of the lowest rate, mu2, along the frontier; Eq. 11's is 3."""
PICTURE_DPI = 110


KINDS = {
    "each access point for itself": COLOURS[2],
    "a centre, or by exchange": COLOURS[5],
    "learned": COLOURS[1],
    "oracle of the present fading": COLOURS[4],
}
ALONE, TOGETHER, LEARNED, ORACLE = KINDS
"""Kinds of schedulers and their colours: access points that decide from what each measures; a
centre, or access points that exchange what they measure; trained policies; and an oracle."""


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


_SINR = "its own candidates' SINR and weights, one step old"
RUNGS = (
    Rung("random walk", "random_walk", ALONE, "its candidates", "0", named=True),
    Rung("I-MARL-CQL", "i-cql-sac.sac-16000", LEARNED, _SINR, "0", "figure_6"),
    Rung("proportional fair", "proportional_fair", ALONE, _SINR, "0"),
    Rung("ITLinQ, 25 dB", "itlinq", TOGETHER, "all candidates' links, one step old", "1,920"),
    Rung("CTDE-MARL-CQL", "ctde-cql-sac.sac-16000", LEARNED, _SINR, "0", "figure_6"),
    Rung("ITLinQ, -10 dB", "itlinq:tolerance_db=-10", TOGETHER, "the same", "1,920"),
    Rung("network TDM", "network_tdm", ALONE, "a common clock", "0", named=True),
    Rung("turn taking", "turn_taking", ALONE, "a clock; once, who serves whom", "0", named=True),
    Rung(
        "C-MARL-CQL (SAC)",
        "c-cql-sac.sac-16000",
        LEARNED,
        "all candidates' SINR and weights",
        "896",
        "figure_5",
        named=True,
    ),
    Rung("max-weight", "max_weight", TOGETHER, "the same links, and weights", "1,920", named=True),
    Rung(
        "C with measurements",
        "C, with measurements",
        LEARNED,
        "the same, and candidates' gains",
        "2,432",
        "past_the_paper",
    ),
    Rung(
        "decentralised, 4-bit messages",
        "messages of all with measurements, 4 bit",
        LEARNED,
        "the same of everyone, 4 bits each",
        "288",
        "past_the_paper",
    ),
    Rung(
        "max-weight, exponent 2",
        "max_weight:csi=large_scale:exponent=2",
        TOGETHER,
        "candidates' gains without fading, and weights",
        "1,920",
        named=True,
    ),
    Rung(
        "long memory, candidates",
        "long_memory:users=candidates",
        TOGETHER,
        "candidates' gains, rates since the start",
        "1,920",
    ),
    Rung(
        "long memory",
        "long_memory",
        TOGETHER,
        "all users' gains and rates since the start",
        "3,200",
        named=True,
    ),
    Rung(
        "max-weight, oracle",
        "max_weight:csi=present",
        ORACLE,
        "candidates' links in this very step",
        "1,920",
        named=True,
    ),
    Rung(
        "fluid, gains once",
        "fluid:exchange_steps=0:bits=8",
        TOGETHER,
        "all gains at the start, 8 bits each; own rates",
        "3.2",
    ),
    Rung(
        "fluid, everybody counted",
        "fluid:counted=everybody",
        TOGETHER,
        "all users' gains and rates since the start",
        "3,200",
        named=True,
    ),
    Rung(
        "fluid, every 50 steps",
        "fluid:exchange_steps=50:bits=16",
        TOGETHER,
        "the same every 50 steps, 16 bits each",
        "30",
    ),
    Rung(
        "fluid",
        "fluid",
        TOGETHER,
        "all users' gains and rates since the start",
        "3,200",
        named=True,
    ),
)
"""From the bottom to the top."""


@dataclass(frozen=True)
class Options:
    """How much to compute, and where from and to."""

    results: Path = Path("docs/results")
    """Folder of the results files, in which the picture and the frontier are written."""
    episodes: int = 64
    """Episodes of the frontier."""


def frontier(config: RRMConfig, episodes: int) -> list[dict[str, float]]:
    """Mean sum rate and mean lowest rate of the best schedules, for each weight of the latter."""
    points = []
    for weight in WEIGHTS:
        best = optimum(replace(config, score_tail_weight=weight), 0, episodes)
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
    left, right = canvas.subplots(1, 2, width_ratios=(4, 5))
    _draw_frontier(left, rows, curve)
    _draw_ladder(right, rows, top)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)


def _draw_frontier(axes: Any, rows: Sequence[tuple[Rung, Row]], curve: Sequence[Row]) -> None:
    axes.plot(
        [point["worst_rate"] for point in curve],
        [point["sum_rate"] for point in curve],
        color=COLOURS[0],
        label="frontier without knowing the present fading",
    )
    named = 0
    for rung, row in rows:
        if "worst_rate" not in row:
            continue
        point = row["worst_rate"]["mean"], row["sum_rate"]["mean"]
        axes.plot(*point, "o", color=KINDS[rung.kind])
        if rung.named:
            above = named % 2 == 0
            named += 1
            axes.annotate(
                rung.label,
                point,
                xytext=(2, 5 if above else -6),
                textcoords="offset points",
                va="bottom" if above else "top",
                fontsize="x-small",
            )
    axes.set(
        title="Sum rate and worst user's rate, means over episodes",
        xlabel=metrics.axis_label("worst_rate"),
        ylabel=metrics.axis_label("sum_rate"),
    )
    axes.legend(frameon=False, fontsize="small")


def _draw_ladder(axes: Any, rows: Sequence[tuple[Rung, Row]], top: Row) -> None:
    best = top["score"]["mean"]
    for k, (rung, row) in enumerate(rows):
        score = row["score"]["mean"]
        axes.barh(k, score, color=KINDS[rung.kind], alpha=0.55)
        text = f" {rung.label}: {score:.2f}, {100 * score / best:.0f} %"
        axes.annotate(text, (0, k), va="center", fontsize="small")
    for name, text, side in (
        ("minimum_score", "optimum, everybody counted", "right"),
        ("score", "optimum", "left"),
    ):
        mean = top[name]["mean"]
        axes.axvline(mean, color=COLOURS[0], linewidth=1)
        axes.annotate(
            f" {text}: {mean:.2f} ", (mean, len(rows)), ha=side, va="center", fontsize="small"
        )
    handles = [axes.barh(0, 0, color=colour, alpha=0.55) for colour in KINDS.values()]
    axes.legend(handles, KINDS, loc="lower right", fontsize="small")
    axes.set_yticks([])
    axes.set(title="Score (Eq. 11), 256 unseen episodes", xlabel="score", xlim=(0, 1.13 * best))


def rows_of(results: Path) -> tuple[list[tuple[Rung, Row]], Row]:
    """Every rung with its row of the committed results, and the optimum.

    Args:
        results: folder of the results files.
    """
    found: dict[str, Mapping[str, Row]] = {}
    for source in {rung.source for rung in RUNGS}:
        content = json.loads((results / f"{source}.json").read_text(encoding="utf-8"))
        found[source] = (
            {row["scheduler"]: row for row in content["paper"]["schedulers"]}
            if source == "schedulers"
            else content["rows"]
        )
    rows = [(rung, found[rung.source][rung.row]) for rung in RUNGS]
    top: Row = json.loads((results / "schedulers.json").read_text(encoding="utf-8"))["paper"]
    return rows, top["optimum"]


def main(options: Options) -> None:
    """Compute the frontier and draw the picture."""
    require_drawing("the ladder")
    picture = check_writable("results", options.results / "ladder.png")
    rows, top = rows_of(options.results)
    curve = frontier(RRMConfig(), options.episodes)
    write_json(
        options.results / "frontier.json",
        {**origin(), "episodes": options.episodes, "frontier": curve},
    )
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(14, 6), layout="constrained")
    _draw(canvas, rows, top, curve)
    write_figure(picture, canvas, PICTURE_DPI)
    print(f"wrote {picture}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
