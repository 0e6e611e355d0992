"""Figure 5: conservative SAC and DQN, centralised, offline, from 16,000 transitions of online SAC.

The transitions are those of Figure 4's SAC. ``python examples/paper/figure_5.py`` trains what is
missing (Figure 4's learners too), compares final checkpoints on 256 unseen episodes, judges the
paper's claims, and writes docs/results/figure_5.json and .png. ``--quick`` runs the same in
miniature.
"""

from __future__ import annotations

from claims import Above, Claim, over
from figure import Figure, main
from pictures import curves_and_levels
from study import ONLINE

DATA = "sac-16000"
SAC, DQN, WITHOUT_PENALTY = (f"{scheme}.{DATA}" for scheme in ("c-cql-sac", "c-cql-dqn", "c-sac"))

CLAIMS = (
    Claim("C-CQL (SAC) scores above C-CQL (DQN)", (Above("score", SAC, DQN),)),
    Claim("C-CQL (DQN) is ahead in sum rate", (Above("sum_rate", DQN, SAC),)),
    Claim("C-CQL (SAC) is ahead of C-CQL (DQN) in tail", (Above("tail_rate", SAC, DQN),)),
    Claim(
        "C-CQL scores above the online agents",
        (Above("score", SAC, "online-sac"), Above("score", DQN, "online-dqn")),
    ),
    Claim("C-CQL (SAC) scores above all online agents", over("score", (SAC,), ONLINE)),
    Claim(
        "Plain SAC without the penalty fails offline",
        (Above("score", SAC, WITHOUT_PENALTY), Above("score", "online-sac", WITHOUT_PENALTY)),
    ),
)

FIGURE = Figure(
    name="figure_5",
    title="Figure 5: offline C-MARL-CQL from 16,000 transitions of online SAC",
    runs=(SAC, DQN, WITHOUT_PENALTY, *ONLINE),
    draw=curves_and_levels,
    claims=CLAIMS,
    curves=(SAC, DQN, WITHOUT_PENALTY),
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
