"""How close searches come to exhaustive search.

``python examples/benchmarks/searches.py`` measures the share of exhaustive search's weighted rate
(Eq. 15) that other searches reach on the same candidates, decision by decision, in the states that
exhaustive search meets, on unseen episodes. Times are of the processor, which other programs
lengthen little.

Writes docs/results/searches.json; ``--quick`` does the same in miniature and writes a file only if
``--json`` names one.
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
from baselines.registry import parse_scheduler
from baselines.weighted_rate import CSI
from rrm_env import SILENT, Network, RRMConfig
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin
from rrm_env.seeds import EVALUATION_SEEDS

Row = dict[str, Any]

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
    episodes: int = 256
    """Unseen episodes of the preset ``paper``, and up to 32 of ``wide``."""
    json: Path | None = None
    """File of the results (default: docs/results/searches.json, or none with --quick)."""


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
    """Measure, print the table, and write the results."""
    path = options.json or (None if options.quick else Path("docs/results/searches.json"))
    path = check_writable("json", path) if path else None
    fields: dict[str, Any] = {"episode_length": 5} if options.quick else {}
    episodes = 2 if options.quick else options.episodes
    rows = []
    for preset, csi, some in (
        ("paper", "reported", episodes),
        ("paper", "large_scale", episodes),
        ("wide", "reported", min(episodes, 32)),
    ):
        rows += share_rows(preset, csi, some, **fields)
    if path:
        write_json(path, {**origin(), "shares": rows})
    Console(width=120).print(share_table(rows))


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
