"""The networks of the benchmark.

They are presets of the package with richer observations, so that offline learners can come near
the optimum: with the paper's own observations no policy is known above half of the way from the
random walk to it.
"""

from __future__ import annotations

from typing import Any

from rrm_env import RRMConfig

COMMON: dict[str, Any] = {
    "n_candidates": 8,
    "measurements": "neighbours",
    "clock": "elapsed",
    "average": "episode",
    "reward": "utility",
}
"""What an access point observes, chooses among and is paid for, the same in all networks."""

POWER_LEVELS_DBM = (10.0, 4.0, -2.0, -8.0)

NETWORKS = {
    "paper": RRMConfig.preset("paper", n_neighbours=3, **COMMON),
    "wide": RRMConfig.preset("wide", n_neighbours=4, **COMMON),
    "power": RRMConfig.preset("paper", n_neighbours=3, power_levels_dbm=POWER_LEVELS_DBM, **COMMON),
}
"""The networks by name. All access points of ``paper`` and ``power`` are neighbours."""
