"""Figure 4: centralised SAC and DQN, trained online, against the classical schedulers.

``python examples/paper/figure_4.py`` trains five seeds of each for 12,000 updates, compares final
checkpoints with the schedulers on 256 unseen episodes, judges the paper's claims, and writes
docs/results/figure_4.json and .png. ``--quick`` runs the same in miniature.
"""

from __future__ import annotations

from typing import Any

from claims import BEST_ITLINQ, CLASSICAL, PAPER_BASELINES, About, Above, Claim, over
from figure import Figure, main
from pictures import curves_and_levels
from study import ONLINE, SCHEDULERS, Study

ITLINQ_SWEEP = tuple(f"itlinq:tolerance_db={tolerance}" for tolerance in range(-30, 31, 5))

CLAIMS = (
    *CLASSICAL,
    Claim(
        "Greedy's sum rate is above the online learners' too", over("sum_rate", ("greedy",), ONLINE)
    ),
    Claim(
        "Both online learners score above all four baselines",
        over("score", ONLINE, PAPER_BASELINES),
    ),
    Claim(
        "Both online learners are above all four baselines in both sum and tail",
        tuple(
            item for kpi in ("sum_rate", "tail_rate") for item in over(kpi, ONLINE, PAPER_BASELINES)
        ),
    ),
    Claim(
        "(not in the paper) ... and above ITLinQ at its best tolerance",
        over("score", ONLINE, (BEST_ITLINQ,)),
    ),
    Claim(
        "(not in the paper) ... and above network-wide TDM", over("score", ONLINE, ("network_tdm",))
    ),
    Claim("DQN is ahead in sum rate", (Above("sum_rate", "online-dqn", "online-sac"),)),
    Claim(
        "SAC is ahead in tail and score",
        tuple(Above(kpi, "online-sac", "online-dqn") for kpi in ("tail_rate", "score")),
    ),
    Claim(
        "SAC's 5-percentile rate is about 0.28 bit/s/Hz", (About("tail_rate", "online-sac", 0.28),)
    ),
)


def sweep(study: Study) -> dict[str, Any]:
    """Mean KPIs of ITLinQ at every tolerance, on held-out episodes that the table does not use."""
    return {"itlinq_sweep": {name: study.level(name) for name in ITLINQ_SWEEP}}


FIGURE = Figure(
    name="figure_4",
    title="Figure 4: online C-MARL against the classical schedulers",
    runs=tuple(ONLINE),
    draw=curves_and_levels,
    claims=CLAIMS,
    schedulers=(*SCHEDULERS, "proportional_fair"),
    curves=tuple(ONLINE),
    extra=sweep,
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
