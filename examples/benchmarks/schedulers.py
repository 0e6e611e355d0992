"""What schedulers reach in every preset, and how close searches come to exhaustive search.

``python examples/benchmarks/schedulers.py`` measures the following on unseen episodes.

- KPIs of schedulers in the presets ``paper``, ``wide`` and ``dense``, with intervals over episodes.
- The share of exhaustive search's weighted rate (Eq. 15) that other searches reach on the same
  candidates, decision by decision, in the states that exhaustive search meets.

Speeds are simulated steps, network included, per second of the processor, which other programs
lengthen little.

Writes docs/results/schedulers.json; ``--quick`` does the same in miniature and writes a file only
if ``--json`` names one.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from baselines import MaxWeight
from baselines.comparison import summarise
from baselines.registry import parse_scheduler
from baselines.weighted_rate import CSI
from rrm_env import SILENT, Network, RRMConfig, evaluate, metrics
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.network import EVALUATION_SEEDS
from rrm_env.provenance import origin

Row = dict[str, Any]

EXHAUSTIVE = ("max_weight", "max_weight:csi=large_scale:exponent=2", "max_weight:csi=present")
SCHEDULERS = (
    "itlinq:tolerance_db=-10",
    "turn_taking",
    *EXHAUSTIVE,
    *(name.replace("max_weight", "greedy_max_weight") for name in EXHAUSTIVE),
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
)
"""Schedulers evaluated in each preset; `EXHAUSTIVE` not where they have too much to search."""
PRESETS = ("paper", "wide", "dense")
SEARCHES = (
    "greedy_max_weight",
    "power_control",
    "power_control:users=alone",
    "fplinq",
    "fplinq:users=all_on",
    "fplinq:iterations=1000",
    "wmmse",
    "wmmse:iterations=1000",
)
"""Searches compared with exhaustive search."""


@dataclass(frozen=True)
class Options:
    """How much to measure, and where to put it."""

    quick: bool = False
    """Measure the same in miniature, in seconds."""
    presets: tuple[str, ...] = PRESETS
    """Presets to evaluate schedulers in."""
    episodes: int = 256
    """Unseen episodes per scheduler; searches are compared in as many of ``paper``."""
    json: Path | None = None
    """File of the results (default: docs/results/schedulers.json, or none with --quick)."""


def scheduler_row(name: str, config: RRMConfig, episodes: int) -> Row:
    """KPIs and speed of a scheduler on the first unseen episodes, network included."""
    scheduler = parse_scheduler(name)
    evaluate(scheduler, config, 1)  # compiles
    began = time.process_time()
    evaluation = evaluate(scheduler, config, episodes)
    processor_s = time.process_time() - began
    summary = summarise({name: evaluation})[name]
    return {
        "scheduler": name,
        "episodes": episodes,
        **{kpi: summary[kpi] for kpi in metrics.LEARNERS_KPIS},
        "silent_share": summary["silent_share"],
        "seconds": evaluation.seconds,
        "steps_per_second": evaluation.steps_per_second,
        "steps_per_processor_second": episodes * config.episode_length / processor_s,
    }


def weighted_rates(
    network: Network, gain: NDArray[np.float32], served: NDArray[np.int64], exponent: float
) -> NDArray[np.float64]:
    """(B,) objective of joint actions (Eq. 15)."""
    transmits, ues = served != SILENT, np.maximum(served, 0)
    received = (
        np.take_along_axis(gain.astype(np.float64), ues[:, None, :].repeat(served.shape[1], 1), 2)
        * transmits[:, :, None]
    )
    own = np.einsum("bii->bi", received).copy()
    np.einsum("bii->bi", received)[:] = 0
    weight = np.take_along_axis(network.average_rate.astype(np.float64), ues, 1) ** -exponent
    total: NDArray[np.float64] = (
        transmits * weight * np.log2(1 + own / (1 + received.sum(1)))
    ).sum(1)
    return total


def shares_of_exact(
    names: tuple[str, ...], config: RRMConfig, csi: str, episodes: int, seed: int
) -> dict[str, Row]:
    """How much of exhaustive search's objective other searches reach on the same channel.

    Args:
        names: searches without their option ``csi``.
        config: the network.
        csi: the channel of all searches.
        episodes: number of episodes.
        seed: seed of the first one.

    Returns:
        by name the ``ratio`` (decisions,) of the objectives, and ``seconds`` of the processor for
        all decisions; also of exhaustive search itself, under ``exact``.
    """
    searches = {"exact": MaxWeight(csi)} | {
        name: parse_scheduler(f"{name}:csi={csi}") for name in names
    }
    network = Network(config, episodes)
    network.reset(seed)
    for search in searches.values():
        search.schedule(network)  # compiles
    found: dict[str, Row] = {name: {"ratio": [], "seconds": 0.0} for name in searches}
    while not network.done:
        gain, served, best = CSI[csi](network), network.served, np.empty(0)
        for name, search in searches.items():
            began = time.process_time()
            chosen = search.schedule(network)
            found[name]["seconds"] += time.process_time() - began
            value = weighted_rates(network, gain, chosen, config.fairness_exponent)
            if name == "exact":
                served, best = chosen, value
            found[name]["ratio"].append(value / best)
        network.step(served)
    return {name: {**each, "ratio": np.concatenate(each["ratio"])} for name, each in found.items()}


def share_rows(preset: str, csi: str, episodes: int, **fields: Any) -> list[Row]:
    """A row for each of `SEARCHES`, on unseen episodes."""
    config = RRMConfig.preset(preset, **fields)
    found = shares_of_exact(SEARCHES, config, csi, episodes, EVALUATION_SEEDS)
    return [
        {
            "preset": preset,
            "csi": csi,
            "scheduler": name,
            "episodes": episodes,
            "decisions": each["ratio"].size,
            "ratio_mean": float(each["ratio"].mean()),
            "ratio_5th_percentile": float(np.percentile(each["ratio"], 5)),
            "ratio_lowest": float(each["ratio"].min()),
            "optimal_share": float((each["ratio"] > 1 - 1e-6).mean()),
            "us_per_decision": 1e6 * each["seconds"] / each["ratio"].size,
        }
        for name, each in found.items()
    ]


def kpi_table(preset: str, rows: list[Row]) -> Table:
    """KPIs of a preset for the terminal."""
    grid = Table(title=f"Preset {preset}", box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("scheduler")
    for heading in ("sum", "5-percentile", "worst user", "score", "silent %", "steps/s"):
        grid.add_column(heading, justify="right")
    for row in rows:
        grid.add_row(
            row["scheduler"],
            f"{row['sum_rate']['mean']:.2f}",
            f"{row['tail_rate']['mean']:.3f}",
            f"{row['worst_rate']['mean']:.3f}",
            "{mean:.3f} ({low:.3f}…{high:.3f})".format(**row["score"]),
            f"{100 * row['silent_share']:.0f}",
            f"{row['steps_per_processor_second']:,.0f}",
        )
    return grid


def share_table(rows: list[Row]) -> Table:
    """Shares of exhaustive search's objective for the terminal."""
    grid = Table(title="Share of exhaustive search's weighted rate", box=box.SIMPLE_HEAD)
    grid.add_column("preset, channel")
    grid.add_column("search")
    for heading in ("mean", "5th percentile", "lowest", "optimal %", "µs per decision"):
        grid.add_column(heading, justify="right")
    for row in rows:
        grid.add_row(
            f"{row['preset']}, {row['csi']}",
            row["scheduler"],
            f"{row['ratio_mean']:.4f}",
            f"{row['ratio_5th_percentile']:.3f}",
            f"{row['ratio_lowest']:.3f}",
            f"{100 * row['optimal_share']:.1f}",
            f"{row['us_per_decision']:.1f}",
        )
    return grid


def main(options: Options) -> None:
    """Measure, print the tables, and write the results."""
    for preset in options.presets:
        RRMConfig.preset(preset)
    path = options.json or (None if options.quick else Path("docs/results/schedulers.json"))
    path = check_writable("json", path) if path else None
    fields: dict[str, Any] = {"episode_length": 5} if options.quick else {}
    episodes = 2 if options.quick else options.episodes
    console, found = Console(width=120), {**origin(), "presets": {}, "shares": []}
    for preset in options.presets:
        config = RRMConfig.preset(preset, **fields)
        names = [name for name in SCHEDULERS if name not in EXHAUSTIVE or preset != "dense"]
        rows = [scheduler_row(name, config, episodes) for name in names]
        found["presets"][preset] = rows
        if path:
            write_json(path, found)
        console.print(kpi_table(preset, rows))
    for preset, csi, some in (
        ("paper", "reported", episodes),
        ("paper", "large_scale", episodes),
        ("wide", "reported", min(episodes, 32)),
    ):
        found["shares"] += share_rows(preset, csi, some, **fields)
    if path:
        write_json(path, found)
    console.print(share_table(found["shares"]))


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
