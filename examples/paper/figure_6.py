"""Figure 6: conservative SAC, centralised, independent and CTDE, on the data of Figure 5.

``python examples/paper/figure_6.py`` trains what is missing (also what the data needs), compares
final checkpoints on 256 unseen episodes, judges the paper's claims, and writes
docs/results/figure_6.json and .png. ``--quick`` runs the same in miniature.
"""

from __future__ import annotations

from typing import Any

from claims import Above, Alike, Claim, gains, ordered
from figure import Figure, main
from pictures import curves_and_levels
from study import ONLINE, Study

from marl import Policy

DATA = "sac-16000"
SCHEMES = CENTRALISED, CTDE, INDEPENDENT = tuple(
    f"{scheme}.{DATA}" for scheme in ("c-cql-sac", "ctde-cql-sac", "i-cql-sac")
)

CLAIMS = (
    Claim(
        "The three schemes are about equal in sum rate",
        (Alike("sum_rate", CTDE, CENTRALISED), Alike("sum_rate", INDEPENDENT, CENTRALISED)),
    ),
    Claim(
        "All three are above online C-MARL (SAC) in sum rate",
        tuple(Above("sum_rate", name, "online-sac") for name in SCHEMES),
    ),
    Claim("5-percentile rates are ordered C, CTDE, I", ordered("tail_rate", *SCHEMES)),
    Claim(
        "CTDE's 5-percentile rate approaches C-CQL's (within 10 %)",
        (Alike("tail_rate", CTDE, CENTRALISED, 0.1),),
    ),
    Claim("CTDE scores above online C-MARL (SAC)", (Above("score", CTDE, "online-sac"),)),
    Claim("CTDE scores a tiny gap below C-CQL", (Alike("score", CTDE, CENTRALISED),)),
    *gains("C-CQL", CENTRALISED),
    *gains("CTDE", CTDE),
)


def execution_cost(study: Study) -> dict[str, Any]:
    """Bits and multiply-adds of a decision; observations and actions travel as 32-bit numbers."""
    return {
        "execution_cost": {name: Policy.load(study.run(name)).execution_cost() for name in SCHEMES}
    }


FIGURE = Figure(
    name="figure_6",
    title="Figure 6: C-, CTDE- and I-MARL-CQL (SAC) from the same 16,000 transitions",
    runs=(*SCHEMES, *ONLINE),
    draw=curves_and_levels,
    claims=CLAIMS,
    curves=SCHEMES,
    extra=execution_cost,
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
