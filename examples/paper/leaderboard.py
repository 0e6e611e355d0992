"""Submissions of the package's own schedulers to the leaderboard, docs/leaderboard/*.json.

``python examples/paper/leaderboard.py`` writes all of them, each as ``python -m baselines
--submission`` writes it; ``--networks`` and ``--schedulers`` choose some. Rates of dense's fluid
take a minute, all others seconds.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from baselines.registry import parse_scheduler
from baselines.submission import (
    About,
    demanded_episodes,
    scheduler_policy,
    submission_of,
    write_submission,
)
from rrm_env import RRMConfig, evaluate
from rrm_env.exit_status import status_of

FOLDER = Path("docs/leaderboard")

AUTHOR = "rrm_env"
_LINKS = "the links of all candidates, one step old, and their weights"
_GAINS = "gains of all users without fading, and their rates since the start"

ENTRIES = {
    "random_walk": About(
        name="random walk",
        author=AUTHOR,
        description="Every access point serves one of its candidates, drawn at random.",
        information="its own candidates",
        bits=0,
    ),
    "itlinq": About(
        name="ITLinQ, 25 dB",
        author=AUTHOR,
        description="Access points in the order of their PF ratios, each if the interference is "
        "tolerable; arXiv 1301.7355 with the tolerance of arXiv 2501.12991.",
        information=_LINKS,
    ),
    "itlinq:tolerance_db=-10": About(
        name="ITLinQ, -10 dB",
        author=AUTHOR,
        description="ITLinQ with the tolerance that is best in the preset paper.",
        information=_LINKS,
    ),
    "long_memory": About(
        name="long memory",
        author=AUTHOR,
        description="Max-weight over all users with mean rates since the episode began, to the "
        "power of -4, on mean rates over the fading.",
        information=_GAINS,
    ),
    "debts": About(
        name="debts",
        author=AUTHOR,
        description="Prices that fall exponentially with what users got, and a search among "
        "neighbours (multiplicative weights).",
        information=_GAINS,
    ),
    "graph": About(
        name="graph policy",
        author=AUTHOR,
        description="Debts with prices from a graph network, one policy for networks of any size, "
        "which comes with the package.",
        information=_GAINS,
    ),
    "fluid": About(
        name="fluid",
        author=AUTHOR,
        description="The program of the optimum, solved again and again for the rest of the "
        "episode with the rates so far.",
        information=_GAINS,
    ),
}
"""What is said of each scheduler."""

NETWORKS = ("paper", "wide", "correlated", "dense", "resilient")


@dataclass(frozen=True)
class Options:
    """Which submissions to make."""

    networks: tuple[str, ...] = NETWORKS
    """Presets."""
    schedulers: tuple[str, ...] = tuple(ENTRIES)
    """Schedulers, as python -m baselines names them."""
    folder: Path = FOLDER
    """Where to write them."""


def file_name(network: str, scheduler: str) -> str:
    """The name of a submission's file."""
    plain = scheduler.replace(":", "_").replace("=", "_").replace("tolerance_db_", "")
    return f"{network}_{plain}.json"


def about(scheduler: str, network: RRMConfig) -> About:
    """What is said of a scheduler, with the bits of the numbers that access points exchange."""
    entry = ENTRIES[scheduler]
    users = {_GAINS: network.n_ues, _LINKS: network.n_aps * network.n_candidates}
    if entry.information not in users:
        return entry
    told = min(users[entry.information], network.n_ues)
    # Of each user the link from every access point, and a rate or weight: 32 bits each.
    return replace(entry, bits=32 * told * (network.n_aps + 1))


def main(options: Options) -> None:
    """Evaluate the schedulers, and write their submissions."""
    for network in options.networks:
        config = RRMConfig.preset(network)
        for name in options.schedulers:
            evaluation = evaluate(parse_scheduler(name), config, demanded_episodes(config))
            content = submission_of(evaluation, about(name, config), scheduler_policy(name))
            path = options.folder / file_name(network, name)
            write_submission(path, content)
            print(f"wrote {path}: score {evaluation.score.mean():.3f}", flush=True)


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
