"""The networks of the benchmark.

They are presets of the package with richer observations, because with the paper's own no learned
policy is known above half of the way from the random walk to the optimum. Candidates are the users
that need rates most (``pf_exponent``), by averages over the whole episode. The reward stays the
paper's (Eq. 16).
"""

from __future__ import annotations

from typing import Any

from rrm_env import RRMConfig

COMMON: dict[str, Any] = {
    "pf_exponent": 4.0,
    "measurements": "neighbours",
    "clock": "elapsed",
    "average": "episode",
}
"""What an access point observes and chooses among, the same in all networks."""

POWER_LEVELS_DBM = (10.0, 0.0)

NETWORKS = {
    "paper": RRMConfig.preset("paper", n_neighbours=3, **COMMON),
    "wide": RRMConfig.preset("wide", n_neighbours=4, **COMMON),
    "power": RRMConfig.preset("paper", n_neighbours=3, power_levels_dbm=POWER_LEVELS_DBM, **COMMON),
}
"""The networks by name. All access points of ``paper`` and ``power`` are neighbours."""
