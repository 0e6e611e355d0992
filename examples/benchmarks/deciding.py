"""How long schedulers take to decide, and the optimum to solve, warmed up and measured in one run.

``python examples/benchmarks/deciding.py`` plays whole episodes, some side by side, on one thread of
the network. Schedulers take turns. A scheduler's time is its share of the episode's time: what it
prepares when the episode begins, and all its decisions. The first round compiles and is left out;
figures are medians over the other rounds.

The optimum (`baselines.optimum`) is solved for some episodes of the same network, without its
cache, after one of the preset ``paper`` that compiles what it needs.

Writes docs/results/benchmark_deciding.json; ``--quick`` does the same in miniature, without the
preset ``dense``, and writes a file only if ``--json`` names one.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from baselines.optimum import optimum
from baselines.registry import parse_scheduler
from rrm_env import Network, RRMConfig, Scheduler
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin
from rrm_env.seeds import EVALUATION_SEEDS

Row = dict[str, Any]

SCHEDULERS = (
    "random_walk",
    "proportional_fair",
    "itlinq",
    "max_weight",
    "long_memory",
    "debts",
    "fluid",
    "graph",
)
"""One of each family; ``graph`` is the graph policy that ships with the package."""


@dataclass(frozen=True)
class Case:
    """A preset, and how much is measured in it."""

    episodes: int
    """Episodes side by side."""
    optimum_episodes: int
    """Episodes whose optimum is solved."""
    left_out: tuple[str, ...] = ()
    """Schedulers that refuse this network."""


CASES = {
    "paper": Case(256, 16),
    "wide": Case(64, 4),
    "dense": Case(16, 1, left_out=("max_weight",)),
}

QUICK = {"paper": Case(2, 1), "wide": Case(2, 1)}


@dataclass(frozen=True)
class Options:
    """How much to measure, and where to put it."""

    quick: bool = False
    """Measure the same in miniature, in seconds."""
    rounds: int = 3
    """Rounds over all schedulers, after one that is left out."""
    json: Path | None = None
    """File of the results (default: docs/results/benchmark_deciding.json, none with --quick)."""

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"--rounds must be at least 1, got {self.rounds}")


def episode_seconds(scheduler: Scheduler, network: Network) -> tuple[float, float]:
    """Play episodes side by side: the scheduler's seconds, and those of the network's steps."""
    network.reset(EVALUATION_SEEDS)
    began = time.perf_counter()
    scheduler.reset(network)
    deciding, stepping = time.perf_counter() - began, 0.0
    while not network.done:
        began = time.perf_counter()
        decision = scheduler.schedule(network)
        decided = time.perf_counter()
        network.step(decision)
        deciding += decided - began
        stepping += time.perf_counter() - decided
    return deciding, stepping


def scheduler_rows(
    names: tuple[str, ...], config: RRMConfig, episodes: int, rounds: int
) -> list[Row]:
    """Microseconds per env-step of each scheduler, and of the network with it, in turns."""
    schedulers = {name: parse_scheduler(name) for name in names}
    network = Network(config, episodes)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for round_ in range(rounds + 1):
        for name, scheduler in schedulers.items():
            seconds = episode_seconds(scheduler, network)
            if round_ > 0:
                taken[name].append(seconds)
    steps = episodes * config.episode_length
    return [
        {
            "scheduler": name,
            "us_per_decision": 1e6 * median(deciding for deciding, _ in seconds) / steps,
            "us_per_network_step": 1e6 * median(stepping for _, stepping in seconds) / steps,
            "env_steps_per_second": steps / median(map(sum, seconds)),
        }
        for name, seconds in taken.items()
    ]


def optimum_row(config: RRMConfig, episodes: int) -> Row:
    """Seconds per episode to solve the optimum, and the largest gap that is left."""
    began = time.perf_counter()
    best = optimum(config, 0, episodes, cached=False)
    seconds = time.perf_counter() - began
    return {
        "episodes": episodes,
        "is_bound": best.is_bound,
        "seconds_per_episode": seconds / episodes,
        "relative_gap": float((best.score.gap / best.score.value).max()) if best.is_bound else None,
    }


def measured(preset: str, case: Case, rounds: int, **fields: Any) -> Row:
    """All figures of a preset."""
    config = RRMConfig.preset(preset, **fields)
    names = tuple(name for name in SCHEDULERS if name not in case.left_out)
    return {
        "n_aps": config.n_aps,
        "n_ues": config.n_ues,
        "episodes": case.episodes,
        "schedulers": scheduler_rows(names, config, case.episodes, rounds),
        "optimum": optimum_row(config, case.optimum_episodes),
    }


def table(preset: str, found: Row) -> Table:
    """The figures of a preset for the terminal."""
    grid = Table(
        "scheduler",
        title=f"{preset}: {found['n_aps']} x {found['n_ues']}, {found['episodes']} side by side",
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    for heading in ("µs per decision", "µs per network step", "env-steps/s"):
        grid.add_column(heading, justify="right")
    for row in found["schedulers"]:
        grid.add_row(
            row["scheduler"],
            f"{row['us_per_decision']:,.2f}",
            f"{row['us_per_network_step']:,.2f}",
            f"{row['env_steps_per_second']:,.0f}",
        )
    return grid


def main(options: Options) -> None:
    """Measure, print the tables, and write the results."""
    path = options.json or (None if options.quick else Path("docs/results/benchmark_deciding.json"))
    path = check_writable("json", path) if path else None
    result: dict[str, Any] = {**origin("torch", "scipy"), "rounds": options.rounds, "presets": {}}
    console = Console(width=100)
    optimum(RRMConfig(episode_length=5), 0, 1, cached=False)  # compiles
    cases, fields = CASES, dict[str, Any]()
    if options.quick:
        cases, fields = QUICK, {"episode_length": 5}
    for preset, case in cases.items():
        found = measured(preset, case, options.rounds, **fields)
        result["presets"][preset] = found
        best = found["optimum"]
        console.print(
            table(preset, found), f"optimum: {best['seconds_per_episode']:.3g} s per episode\n"
        )
    if path:
        write_json(path, result)
        print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
