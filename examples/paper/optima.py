"""The optimum beside the scores of a study's networks.

``python examples/paper/optima.py`` states the optimum of the evaluation episodes in the committed
results of the sensitivity study and of the map of claims, and draws the pictures that show it. It
trains and evaluates nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tyro

from baselines.comparison import mean_with_interval
from baselines.optimum import optimum
from rrm_env import RRMConfig
from rrm_env.exit_status import status_of
from rrm_env.files import write_json
from rrm_env.provenance import origin

RESULTS = Path("docs/results")
STUDIES = {"sensitivity": "variants", "claims_map": "settings"}
"""Results files, and the entry of each that has the networks by name."""


def optimum_of(network: RRMConfig, episodes: int) -> dict[str, Any] | None:
    """The optimum of the first unseen episodes; None, with a line that says why, where unknown.

    Where schedulers can know the present fading, it is that of a scheduler that knows the channels
    of all steps beforehand.

    Args:
        network: the network.
        episodes: number of episodes of seed 0.

    Returns:
        ``information``, as for `baselines.optimum.optimum`; means and intervals over episodes of
        the ``score``, and of the ``minimum_score`` with everybody counted; command and revision.
    """
    present = network.fading == "iid" and network.csi_delay == 0
    foreseen = present or network.fading in ("jakes", "trace")
    information = "channel" if foreseen else "large_scale"
    try:
        best = optimum(network, 0, episodes, information=information)
    except ValueError as error:
        print(f"optimum left out: {error}", flush=True)
        return None
    made = origin()
    return {
        "information": information,
        "episodes": episodes,
        "score": mean_with_interval(best.score.value),
        "minimum_score": mean_with_interval(best.minimum_score.value),
        "command": made["command"],
        "revision": made["revision"],
    }


def share_of(row: Mapping[str, Any], best: Mapping[str, Any] | None) -> float | None:
    """The share of the optimum that a row's mean score reaches; None where the optimum is unknown.

    Args:
        row: intervals by KPI.
        best: what `optimum_of` returned for the same episodes.
    """
    return None if best is None else float(row["score"]["mean"] / best["score"]["mean"])


def state(results: Path) -> dict[str, dict[str, Any]]:
    """State the optimum of every network in the results files of `STUDIES`, and return these.

    Args:
        results: their folder.
    """
    known: dict[RRMConfig, dict[str, Any] | None] = {}
    found = {}
    for study, networks in STUDIES.items():
        path = results / f"{study}.json"
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for entry in content[networks].values():
            network = RRMConfig(**entry["network"])
            if network not in known:
                known[network] = optimum_of(network, content["scale"]["episodes"])
            entry["optimum"] = known[network]
        write_json(path, content)
        print(f"wrote {path}", flush=True)
        found[study] = content
    return found


def main() -> None:
    """State the optimum in the committed results, and draw their pictures."""
    import past_the_paper
    import sensitivity
    from markdown_tables import OPTIMUM, optimum_for

    found = state(RESULTS)
    sensitivity.write_picture(RESULTS / "sensitivity.png", found["sensitivity"]["variants"])
    beyond, best = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("past_the_paper", OPTIMUM)
    )
    past_the_paper.write_picture(
        RESULTS / "past_the_paper.png",
        beyond,
        optimum_for(best, RRMConfig(), beyond["scale"]["episodes"]),
    )
    print(f"wrote {RESULTS}/sensitivity.png\nwrote {RESULTS}/past_the_paper.png")


if __name__ == "__main__":
    sys.exit(status_of(lambda: tyro.cli(main, description=__doc__)))
