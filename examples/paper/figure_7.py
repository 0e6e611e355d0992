"""Figure 7: quality (a) and quantity (b) of the data, for CTDE- and C-MARL-CQL (SAC).

``python examples/paper/figure_7.py`` trains what is missing (also what the data needs), compares
final checkpoints on 256 unseen episodes, judges the paper's claims, and writes
docs/results/figure_7.json and .png. ``--quick`` runs the same in miniature.
"""

from __future__ import annotations

from typing import Any

from claims import Above, Alike, Claim, ordered
from figure import Figure, main
from pictures import STYLES, Report, compare_bars, compare_sizes

PAPER, BESIDE = "ctde-cql-sac", "c-cql-sac"
"""The scheme of the paper's figure and claims, and the one shown beside it."""

SIZES = (5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000)
SOURCES = {
    "online SAC's": "sac",
    "SAC's and DQN's, half each": "mixture",
    "online DQN's": "dqn",
    "RW, Greedy, TDM, ITLinQ": "baselines",
}
"""Sources of the transitions that panel a compares, by their names in the picture."""


def by_size(scheme: str) -> dict[int, str]:
    """Runs of panel b, by number of transitions."""
    return {size: f"{scheme}.sac-{size}" for size in SIZES}


def by_source(scheme: str) -> dict[str, str]:
    """Runs of panel a, by the source's name in the picture."""
    return {words: f"{scheme}.{source}-320000" for words, source in SOURCES.items()}


OF_SIZE = by_size(PAPER)
CLAIMS = (
    Claim(
        "Data quality ranks SAC, mixture of SAC and DQN, DQN, baselines",
        ordered("score", *by_source(PAPER).values()),
    ),
    Claim(
        "With 20,000 transitions the score falls to TDM's",
        (Alike("score", OF_SIZE[20_000], "tdm", 0.1),),
    ),
    Claim(
        "The score grows with the data and saturates past 320,000 transitions",
        (
            Above("score", OF_SIZE[320_000], OF_SIZE[20_000]),
            Alike("score", OF_SIZE[640_000], OF_SIZE[320_000], 0.02),
        ),
    ),
)


def draw(canvas: Any, report: Report) -> None:
    """Draw the score by source of the data on the left, and by its size on the right."""
    quality, quantity = canvas.subplots(1, 2)
    sources = {scheme: by_source(scheme) for scheme in (PAPER, BESIDE)}
    bars = {
        f"{scheme.partition('-')[0].upper()}: {words}": run
        for scheme, runs in sources.items()
        for words, run in runs.items()
    }
    compare_bars(quality, "score", bars, report)
    quality.set_title("a: whose 320,000 transitions", fontsize="medium")
    for scheme in (PAPER, BESIDE):
        compare_sizes(quantity, "score", by_size(scheme), report)
    tdm = report.row("tdm", "score")["mean"]
    quantity.axhline(tdm, color="#666666", linestyle=":", label="tdm")
    if report.scale is not None:
        best, (colour, line) = report.scale.optimum.score.value.mean(), STYLES["optimum"]
        quantity.axhline(best, color=colour, linestyle=line, label=report.scale.name)
        quality.axvline(best, color=colour, linestyle=line)
    quantity.legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.93))
    quantity.set_title("b: how many transitions of online SAC", fontsize="medium")


FIGURE = Figure(
    name="figure_7",
    title="Figure 7: data for CTDE-MARL-CQL (SAC), and for C-MARL-CQL (SAC)",
    runs=(
        *dict.fromkeys(
            run
            for scheme in (PAPER, BESIDE)
            for run in (*by_size(scheme).values(), *by_source(scheme).values())
        ),
        "online-sac",
        "online-dqn",
    ),
    draw=draw,
    claims=CLAIMS,
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
