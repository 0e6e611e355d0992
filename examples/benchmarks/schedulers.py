"""What schedulers reach beside the optimum, in every preset and from 4 to 64 access points.

``python examples/benchmarks/schedulers.py`` evaluates schedulers on unseen episodes and solves the
fluid optimum of the same episodes (`baselines.optimum`), of fewer where that takes long. Shares of
the optimum are over the episodes in which it is known. Where the search for it proves nothing, it
is the best schedule known, and the file says so.

Speeds are simulated steps, network included, per second of the processor, which other programs
lengthen little.

Writes docs/results/schedulers.json, network by network; ``--networks`` measures some of them anew
and keeps the others as they are in that file, and ``--schedulers`` measures some rows of them and
keeps the other rows and the optimum. ``--quick`` does the same in miniature and writes a
file only if ``--json`` names one.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import tyro
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from baselines.comparison import mean_with_interval, summarise
from baselines.optimum import Optimum, optimum
from baselines.registry import parse_scheduler
from baselines.scale import share_of_optimum
from rrm_env import RRMConfig, evaluate, metrics
from rrm_env.checks import nearest
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

Row = dict[str, Any]

SIDE_PER_ROOT_AP_M = 50.0
"""Side of the square over the root of the number of access points.

It gives the density of the preset ``paper``, 4 access points in 100 m x 100 m.
"""


def network_of(n_aps: int, n_ues: int, **fields: Any) -> RRMConfig:
    """A network as dense in access points as the preset ``paper``."""
    return RRMConfig(
        n_aps=n_aps, n_ues=n_ues, area_side_m=SIDE_PER_ROOT_AP_M * n_aps**0.5, **fields
    )


EXHAUSTIVE = (
    "max_weight",
    "max_weight:csi=large_scale",
    "max_weight:csi=large_scale:exponent=2",
    "max_weight:csi=present",
)
"""Searches through all joint actions, for networks in which these are few."""
SCHEDULERS = (
    "random_walk",
    "greedy",
    "tdm",
    "network_tdm",
    "proportional_fair",
    "itlinq",
    "itlinq:tolerance_db=-10",
    "itlinq:tolerance_db=0",
    "itlinq:tolerance_db=10",
    "turn_taking",
    "turn_taking:turns=equal",
    "reuse",
    "reuse:turns=equal",
    "reuse:groups=1",
    "reuse:groups=2",
    "reuse:groups=4",
    "power_control",
    "power_control:users=alone",
    "power_control:csi=large_scale:exponent=2",
    "fplinq",
    "fplinq:users=all_on",
    "fplinq:csi=large_scale:exponent=2",
    "wmmse",
    "wmmse:csi=large_scale:exponent=2",
    *EXHAUSTIVE,
    "greedy_max_weight",
    "greedy_max_weight:starts=1",
    *(name.replace("max_weight", "greedy_max_weight") for name in EXHAUSTIVE[1:]),
    "long_memory",
    "long_memory:exponent=1",
    "long_memory:exponent=8",
    "long_memory:users=candidates",
    "debts",
    "debts:counted=everybody",
    "debts:exchange_steps=0:bits=8",
    "fluid",
    "fluid:counted=everybody",
    "fluid:exchange_steps=0:bits=8",
    "fluid:exchange_steps=50:bits=16",
)
"""Schedulers evaluated in each preset."""
ONLY_IN_PAPER = (
    "fluid:exchange_steps=0",
    "fluid:exchange_steps=0:bits=8:counted=everybody",
    "fluid:exchange_steps=0:bits=8:own_rates=false",
    "fluid:objective=max_min:counted=everybody",
    "fluid:objective=sum_rate",
)
"""More members of the best family, evaluated in the preset ``paper``."""
SOME = (
    "random_walk",
    "tdm",
    "network_tdm",
    "itlinq",
    "itlinq:tolerance_db=-10",
    "itlinq:tolerance_db=0",
    "itlinq:tolerance_db=10",
    "reuse",
    "fplinq:csi=large_scale:exponent=2",
    "greedy_max_weight:csi=large_scale:exponent=2:starts=1",
    "long_memory",
    "debts",
    "debts:counted=everybody",
    "fluid",
    "fluid:counted=everybody",
)
"""Schedulers evaluated in networks of other sizes."""


@dataclass(frozen=True)
class Case:
    """A network, and how much is measured in it."""

    config: RRMConfig
    schedulers: tuple[str, ...] = SCHEDULERS
    episodes: int = 256
    optimum_episodes: int = 256
    information: str = "large_scale"
    """What the optimum's scheduler knows (`baselines.optimum.optimum`)."""


def _of_size(n_aps: int, episodes: int, optimum_episodes: int) -> Case:
    return Case(network_of(n_aps, 5 * n_aps), SOME, episodes, optimum_episodes)


NETWORKS = {
    "paper": Case(RRMConfig(), (*SCHEDULERS, *ONLY_IN_PAPER)),
    "wide": Case(RRMConfig.preset("wide"), optimum_episodes=64),
    "dense": Case(
        RRMConfig.preset("dense"),
        tuple(name for name in SCHEDULERS if name not in EXHAUSTIVE and "bits=" not in name),
        episodes=64,
        optimum_episodes=4,
    ),
    "correlated": Case(RRMConfig.preset("correlated"), optimum_episodes=16, information="channel"),
    "8 access points": _of_size(8, 256, 64),
    "16 access points": _of_size(16, 64, 8),
    "32 access points": _of_size(32, 16, 2),
    "64 access points": _of_size(64, 8, 1),
}
"""The networks by name; those named after a number have 5 users per access point."""


@dataclass(frozen=True)
class Options:
    """How much to measure, and where to put it."""

    quick: bool = False
    """Measure the same in miniature, in seconds."""
    networks: tuple[str, ...] = field(default_factory=lambda: tuple(NETWORKS))
    """Networks to measure, by name."""
    schedulers: tuple[str, ...] = ()
    """Rows to measure where the file has the rest, by scheduler; all where none is named."""
    json: Path | None = None
    """File of the results (default: docs/results/schedulers.json, or none with --quick)."""


def scheduler_row(
    name: str, config: RRMConfig, episodes: int, best: Optimum | SimpleNamespace | None = None
) -> Row:
    """KPIs and speed of a scheduler on the first unseen episodes, network included.

    Args:
        name: the scheduler, with its options.
        config: the network.
        episodes: number of episodes.
        best: the optimum of the first of them, whose share is stated.
    """
    scheduler = parse_scheduler(name)
    evaluate(scheduler, config, 1)  # compiles
    began = time.process_time()
    evaluation = evaluate(scheduler, config, episodes)
    processor_s = time.process_time() - began
    summary = summarise({name: evaluation})[name]
    row = {
        "scheduler": name,
        "episodes": episodes,
        **{kpi: summary[kpi] for kpi in (*metrics.LEARNERS_KPIS, "minimum_score")},
        "silent_share": summary["silent_share"],
        "seconds": evaluation.seconds,
        "steps_per_second": evaluation.steps_per_second,
        "steps_per_processor_second": episodes * config.episode_length / processor_s,
    }
    if best is not None:
        row |= {
            f"{name}_share": share_of_optimum(
                evaluation.kpi(name)[: best.episodes], getattr(best, name).value
            )
            for name in ("score", "minimum_score")
        }
    return row


def optimum_row(best: Optimum, seconds: float) -> Row:
    """The optimum of a network's first episodes, and what solving it took.

    Args:
        best: the optimum.
        seconds: of the processor, for all episodes.
    """
    rates, config = best.score.ue_rates, best.config
    bounds = {
        name: getattr(best, name) for name in ("score", "minimum_score", "sum_rate", "max_min")
    }
    return {
        "episodes": best.episodes,
        "information": best.information,
        "blocks": best.blocks,
        "is_bound": best.is_bound,
        "seconds_per_episode": seconds / best.episodes,
        **{name: mean_with_interval(each.value) for name, each in bounds.items()},
        "relative_gap": {
            name: float((each.gap / each.value).max()) if best.is_bound else None
            for name, each in bounds.items()
        },
        "kpis_at_best_score": {
            name: mean_with_interval(metrics.KPIS[name].value(rates, config))
            for name in metrics.LEARNERS_KPIS
        },
        "per_episode": {name: bounds[name].value.tolist() for name in ("score", "minimum_score")},
    }


def measured(case: Case, console: Console, name: str) -> Row:
    """All rows of a network, and its optimum."""
    began = time.process_time()
    best = optimum(
        case.config, 0, case.optimum_episodes, information=case.information, cached=False
    )
    top = optimum_row(best, time.process_time() - began)
    rows = [scheduler_row(each, case.config, case.episodes, best) for each in case.schedulers]
    console.print(kpi_table(name, rows, top))
    return {"config": case.config.as_dict(), "optimum": top, "schedulers": rows, **origin()}


class _Known(NamedTuple):
    """An optimum that a file states."""

    value: NDArray[np.float64]
    """(E,) of each episode."""


def measured_rows(case: Case, found: Row, names: tuple[str, ...]) -> Row:
    """The results of a network with some rows measured anew, where it has them by `Case`.

    Args:
        case: the network.
        found: its results so far.
        names: the schedulers of these rows.
    """
    stated = found["optimum"]["per_episode"]
    best = SimpleNamespace(
        episodes=found["optimum"]["episodes"],
        **{name: _Known(np.array(values)) for name, values in stated.items()},
    )
    rows = {row["scheduler"]: row for row in found["schedulers"]}
    for name in names:
        if name in case.schedulers:
            rows[name] = scheduler_row(name, case.config, case.episodes, best)
    return {**found, "schedulers": [rows[name] for name in case.schedulers if name in rows]}


def kpi_table(name: str, rows: list[Row], top: Row) -> Table:
    """KPIs of a network for the terminal."""
    best = "optimum" if top["is_bound"] else "best known"
    grid = Table(title=f"Network {name}", box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("scheduler")
    for heading in (
        "sum",
        "5-percentile",
        "worst user",
        "score",
        f"% of {best}",
        f"% of {best}, everybody counted",
        "silent %",
        "steps/s",
    ):
        grid.add_column(heading, justify="right")
    for row in [*rows, {"scheduler": best, **top["kpis_at_best_score"]}]:
        shares = [
            f"{100 * row[f'{kpi}_share']['mean']:.1f}"
            for kpi in ("score", "minimum_score")
            if f"{kpi}_share" in row
        ]
        grid.add_row(
            row["scheduler"],
            f"{row['sum_rate']['mean']:.2f}",
            f"{row['tail_rate']['mean']:.3f}",
            f"{row['worst_rate']['mean']:.3f}",
            "{mean:.3f} ({low:.3f}…{high:.3f})".format(**row["score"]),
            *shares,
            *(
                [f"{100 * row['silent_share']:.0f}", f"{row['steps_per_processor_second']:,.0f}"]
                if shares
                else []
            ),
        )
    return grid


def main(options: Options) -> None:
    """Measure, print the tables, and write the results."""
    for name in options.networks:
        if name not in NETWORKS:
            raise ValueError(f"unknown network {nearest(name, NETWORKS)}")
    path = options.json or (None if options.quick else Path("docs/results/schedulers.json"))
    path = check_writable("json", path) if path else None
    found: dict[str, Any] = {}
    partly = set(options.networks) != set(NETWORKS) or options.schedulers
    if path and path.exists() and partly:
        found = json.loads(path.read_text(encoding="utf-8"))
    console = Console(width=130)
    for name in options.networks:
        case = _short(NETWORKS[name]) if options.quick else NETWORKS[name]
        if options.schedulers and name in found:
            found[name] = measured_rows(case, found[name], options.schedulers)
        else:
            found[name] = measured(case, console, name)
        if path:
            write_json(path, {each: found[each] for each in NETWORKS if each in found})


def _short(case: Case) -> Case:
    config = replace(case.config, episode_length=5)
    return replace(case, config=config, episodes=2, optimum_episodes=1)


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
