"""Figure 7: what quality (a) and quantity (b) of the data do to C-MARL-CQL (SAC).

``python examples/figure_7.py`` trains what is missing (what the data needs too), compares final checkpoints on 256 unseen episodes,
judges the paper's claims and writes docs/results/figure_7.json and .png. ``--quick`` runs the same in miniature.
"""

from __future__ import annotations

from typing import Any

from marl.claims import Above, Alike, Claim, ordered
from marl.figures import Figure, Report, compare_bars, compare_sizes, main

SIZES = {size: f"c-cql-sac.sac-{size}" for size in (5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000)}
SAC, MIXTURE, DQN, BASELINES = (f"c-cql-sac.{behaviour}-320000" for behaviour in ("sac", "mixture", "dqn", "baselines"))

CLAIMS = (
    Claim("Data quality ranks SAC, mixture of SAC and DQN, DQN, baselines", ordered("score", SAC, MIXTURE, DQN, BASELINES)),
    Claim("With 20,000 transitions the score falls to TDM's", (Alike("score", SIZES[20_000], "tdm", 0.1),)),
    Claim(
        "The score grows with the data and saturates past 320,000 transitions",
        (Above("score", SIZES[320_000], SIZES[20_000]), Alike("score", SIZES[640_000], SIZES[320_000], 0.02)),
    ),
)


def draw(canvas: Any, report: Report) -> None:
    """Left: one bar per dataset. Right: the score over the size."""
    quality, quantity = canvas.subplots(1, 2)
    bars = {"online SAC's": SAC, "SAC's and DQN's, half each": MIXTURE, "online DQN's": DQN, "RW, Greedy, TDM, ITLinQ": BASELINES}
    compare_bars(quality, "score", bars, report)
    quality.set_title("a: whose 320,000 transitions", fontsize="medium")
    compare_sizes(quantity, "score", SIZES, report)
    quantity.set_title("b: how many transitions of online SAC", fontsize="medium")


FIGURE = Figure(
    name="figure_7",
    title="Figure 7: data for C-MARL-CQL (SAC)",
    runs=(*SIZES.values(), MIXTURE, DQN, BASELINES, "online-sac", "online-dqn"),
    draw=draw,
    claims=CLAIMS,
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
