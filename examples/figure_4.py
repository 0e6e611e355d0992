"""Figure 4: centralised SAC and DQN, trained online, against the classical schedulers.

``python examples/figure_4.py`` trains five seeds of each for 12,000 updates, compares final checkpoints with the schedulers on 256 unseen
episodes, judges the paper's claims and writes docs/results/figure_4.json and .png. ``--quick`` runs the same in miniature.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from marl.claims import About, Above, Claim
from marl.figures import ITLINQ_SWEEP, PAPER_BASELINES, SCHEDULERS, Figure, curves_and_levels, main
from marl.study import ONLINE, Study

BEST_ITLINQ = "itlinq:tolerance_db=-10"
KPIS = ("sum_rate", "tail_rate", "score")


def over(kpi: str, firsts: tuple[str, ...], seconds: tuple[str, ...]) -> tuple[Above, ...]:
    """Each of the first above each of the second."""
    return tuple(Above(kpi, first, second) for first, second in product(firsts, seconds) if first != second)


CLAIMS = (
    Claim(
        "Greedy has the highest sum rate, at the tail's expense",
        over("sum_rate", ("greedy",), (*PAPER_BASELINES, *ONLINE)) + over("tail_rate", PAPER_BASELINES, ("greedy",)),
    ),
    Claim("TDM favours the tail over the sum", (*over("tail_rate", ("tdm",), PAPER_BASELINES), Above("sum_rate", "greedy", "tdm"))),
    Claim("RW is worst in all three", tuple(item for kpi in KPIS for item in over(kpi, PAPER_BASELINES, ("random_walk",)))),
    Claim("ITLinQ, at its 25 dB, has the best score of the four baselines", over("score", ("itlinq",), PAPER_BASELINES)),
    Claim(
        "The same of ITLinQ at the best tolerance of a sweep",
        over("score", (BEST_ITLINQ,), tuple(name for name in PAPER_BASELINES if name != "itlinq")),
    ),
    Claim("Both online learners score above all four baselines", over("score", tuple(ONLINE), PAPER_BASELINES)),
    Claim("(not in the paper) ... and above ITLinQ at its best tolerance", over("score", tuple(ONLINE), (BEST_ITLINQ,))),
    Claim("(not in the paper) ... and above network-wide TDM", over("score", tuple(ONLINE), ("network_tdm",))),
    Claim("DQN is ahead in sum rate", over("sum_rate", ("online-dqn",), ("online-sac",))),
    Claim("SAC is ahead in tail and score", tuple(Above(kpi, "online-sac", "online-dqn") for kpi in KPIS[1:])),
    Claim("SAC's 5-percentile rate is about 0.28 bit/s/Hz", (About("tail_rate", "online-sac", 0.28),)),
)


def sweep(study: Study) -> dict[str, Any]:
    """ITLinQ's tolerances on held-out episodes, others than those of the table."""
    return {"itlinq_sweep": {name: study.level(name) for name in ITLINQ_SWEEP}}


FIGURE = Figure(
    number=4,
    title="online C-MARL against the classical schedulers",
    runs=tuple(ONLINE),
    draw=curves_and_levels,
    claims=CLAIMS,
    schedulers=(*SCHEDULERS, "proportional_fair"),
    curves=tuple(ONLINE),
    extra=sweep,
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
