"""The references of normalised scores, for the table that the package ships.

``python examples/paper/references.py`` evaluates a random walk on the evaluation episodes of seed 0
of every preset and of the benchmark's network with power levels, computes the optimum of the same
episodes (`baselines.optimum`), of fewer in presets whose episodes take from seconds to minutes
each, and writes rrm_env/references.json. The version of the table rises if a value changes. What
docs/results/schedulers.json has solved is taken from there, and what was solved before is read from
the disk, so that an interrupted run goes on.
"""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from baselines import RandomWalk
from baselines.optimum import optimum
from rrm_env import RRMConfig, evaluate
from rrm_env.checks import nearest
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin
from rrm_env.references import KPIS, network_of

TABLE = Path("rrm_env/references.json")
SCHEDULERS = Path("docs/results/schedulers.json")
"""Committed results, from which the optimum is taken where the same episodes were solved."""
POWER_LEVELS_DBM = (10.0, 0.0)
"""Levels of the benchmark's network ``power``."""


@dataclass(frozen=True)
class Case:
    """A network, and what its optimum is computed of."""

    episodes: int = 256
    """Episodes of the optimum; a random walk always plays `EPISODES`."""
    information: str = "large_scale"
    power_levels_dbm: tuple[float, ...] | None = None


EPISODES = 256
CASES = {
    "paper": Case(),
    "correlated": Case(information="channel"),
    "wide": Case(episodes=64),
    "dense": Case(episodes=4),
    "resilient": Case(episodes=128, information="channel"),
    "power": Case(power_levels_dbm=POWER_LEVELS_DBM),
}


@dataclass(frozen=True)
class Options:
    """Which references to compute, and where to put them."""

    networks: tuple[str, ...] = tuple(CASES)
    """Networks to compute anew; the others stay as they are in the table."""
    table: Path = TABLE
    """File to write."""
    episodes: int = EPISODES
    """Most episodes, for trying the script out."""


def main(options: Options) -> None:
    """Compute the references and write the table."""
    for name in options.networks:
        if name not in CASES:
            raise ValueError(f"unknown network {nearest(name, CASES)}")
    path = check_writable("--table", options.table)
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known = old.get("networks", {})
    networks = {}
    for name, case in CASES.items():
        if name in options.networks:
            networks[name] = entry_of(name, case, options.episodes)
        elif name in known:
            networks[name] = known[name]
    version = old.get("version", 0)
    changed = not _same(_values(networks), _values(known))
    made = origin()
    table = {
        "version": version + changed,
        "seed": 0,
        "command": made["command"],
        "versions": made["versions"],
        "networks": networks,
    }
    write_json(path, table)
    print(f"wrote {path}, version {table['version']}")


def entry_of(name: str, case: Case, most: int = EPISODES) -> dict[str, Any]:
    """The references of a network, as the table holds them."""
    network = network_of(name, case.power_levels_dbm)
    episodes = min(most, EPISODES)
    walk = evaluate(RandomWalk(), network, episodes)
    wanted = min(case.episodes, episodes)
    reached = committed(network, wanted, case.information)
    if reached is None:
        best = optimum(network, 0, wanted, information=case.information)
        reached = {
            "is_bound": best.is_bound,
            **{kpi: getattr(best, kpi).value for kpi in KPIS},
        }
    entry = {
        "power_levels_dbm": case.power_levels_dbm,
        "random_walk": {kpi: float(walk.kpi(kpi).mean()) for kpi in KPIS},
        "random_walk_episodes": walk.episodes,
        "optimum": {kpi: float(np.mean(reached[kpi])) for kpi in KPIS},
        "optimum_episodes": wanted,
        "is_bound": reached["is_bound"],
        "information": case.information,
    }
    print(f"{name}: {entry['random_walk']} to {entry['optimum']}", flush=True)
    return entry


def committed(network: RRMConfig, episodes: int, information: str) -> dict[str, Any] | None:
    """The optimum of so many episodes in the committed results on schedulers; None if not there."""
    content = json.loads(SCHEDULERS.read_text(encoding="utf-8"))
    for row in content.values():
        if isinstance(row, dict) and "optimum" in row and RRMConfig(**row["config"]) == network:
            solved = row["optimum"]
            if solved["information"] == information and solved["episodes"] >= episodes:
                values = {kpi: solved["per_episode"][kpi][:episodes] for kpi in KPIS}
                return {"is_bound": solved["is_bound"], **values}
    return None


def _values(networks: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a table that scores are normalised with."""
    return {
        f"{name}/{end}/{kpi}": value
        for name, entry in networks.items()
        for end in ("random_walk", "optimum")
        for kpi, value in entry[end].items()
    }


def _same(one: dict[str, float], other: dict[str, float]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(one[key], other[key], rel_tol=1e-6) for key in one
    )


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
