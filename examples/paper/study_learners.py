"""Every kind of learner on the paper's network.

They are online SAC and DQN, offline learners with and without the penalty, and behaviour cloning.
``python examples/paper/study_learners.py`` trains five seeds of each, the offline ones on the same
transitions of max_weight, compares final checkpoints on 256 unseen episodes, and writes
docs/results/study_learners.json and .png. ``--quick`` runs the same in miniature.
"""

from __future__ import annotations

from figure import Figure, main
from pictures import curves_and_levels
from study import ONLINE

DATA = "max_weight-100000"
OFFLINE = tuple(
    f"{scheme}.{DATA}" for scheme in ("bc", "c-cql-sac", "c-sac", "ctde-cql-sac", "i-cql-sac")
)

FIGURE = Figure(
    name="study_learners",
    title="All learners; the offline ones from 100,000 transitions of max_weight",
    runs=(*OFFLINE, *ONLINE),
    draw=curves_and_levels,
    curves=(*OFFLINE, *ONLINE),
)

if __name__ == "__main__":
    main(FIGURE, __doc__)
