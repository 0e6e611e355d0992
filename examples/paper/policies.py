"""Policies that scale: score against bits, against size, against data, and what each part is worth.

``python examples/paper/policies.py`` trains graph policies (`marl.GraphPolicy`) and evaluates them
on unseen episodes beside schedulers:

- ``bits``: in the preset ``paper``, what access points exchange against the score;
- ``sizes``: trained with 4 to 8 access points, run with 4 to 64, in ``wide`` and in ``dense``;
- ``data``: trained offline on recordings of poor to nearly optimal schedulers, by cloning their
  decisions, or by the dual function at the gains recorded there;
- ``parts``: without the learned prices, without the debts, with other training.

A row of a learned policy is the mean over its training seeds of each episode's score; intervals are
over episodes, and ``seeds`` has each seed's mean. Writes docs/results/policies.json part by part,
and draws docs/results/policies.png. ``--quick`` does the same in miniature and writes a file only
if ``--json`` names one.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from study import of_size

from baselines import Debts, Fluid
from baselines.comparison import mean_with_interval
from baselines.plots import COLOURS, require_drawing, write_figure
from baselines.registry import parse_scheduler
from marl import GraphConfig, GraphPolicy, collect, train_prices, train_prices_on
from marl.graph.network import Parameters
from rrm_env import RRMConfig, Scheduler, evaluate
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

Row = dict[str, Any]

SCHEDULERS = Path("docs/results/schedulers.json")
"""Schedulers and optima on the same episodes."""
KPIS = ("score", "minimum_score", "sum_rate", "tail_rate", "worst_rate")
PICTURE_DPI = 110

TRAINED_IN = (of_size(4), of_size(6), of_size(8), RRMConfig.preset("wide"))
"""Networks that policies of all sizes are trained in."""
SIZES = {
    "paper": (RRMConfig(), 256),
    "wide": (RRMConfig.preset("wide"), 256),
    "dense": (RRMConfig.preset("dense"), 64),
    "8 access points": (of_size(8), 256),
    "16 access points": (of_size(16), 64),
    "32 access points": (of_size(32), 16),
    "64 access points": (of_size(64), 8),
}
"""Networks, named as in schedulers.json, and the episodes of each."""
EXCHANGES: tuple[dict[str, Any], ...] = (
    {"exchange_steps": 0, "bits": 2},
    {"exchange_steps": 0, "bits": 4},
    {"exchange_steps": 0, "bits": 8},
    {"exchange_steps": 50, "bits": 8},
    {"exchange_steps": 20, "bits": 8},
    {"exchange_steps": 10, "bits": 8},
    {"exchange_steps": 1, "bits": 8},
    {"exchange_steps": 1, "bits": 0},
)
"""What access points exchange, from little to everything."""


def recorded(network: RRMConfig, n_neighbours: int, n_candidates: int) -> RRMConfig:
    """A network with observations from which graph policies learn."""
    return replace(
        network,
        measurements="neighbours",
        clock="elapsed",
        average="episode",
        n_neighbours=n_neighbours,
        n_candidates=n_candidates,
    )


BEHAVIOURS = (
    "random_walk:silence=true",
    "itlinq",
    "itlinq:tolerance_db=-10",
    "long_memory",
    "fluid:counted=everybody",
    "fluid",
)
"""Schedulers whose recordings policies learn from, from poor to nearly optimal."""
OFFLINE_IN = {
    "paper": recorded(RRMConfig(), 3, 10),
    "16 access points": recorded(of_size(16), 8, 12),
    "64 access points": recorded(of_size(64), 8, 12),
}
"""Networks that are recorded."""


@dataclass(frozen=True)
class Options:
    """How much to compute, and where to put it."""

    quick: bool = False
    """Compute the same in miniature."""
    only: tuple[str, ...] = ("bits", "sizes", "data", "parts")
    """Parts to compute anew; the others are kept as they are in the file."""
    seeds: int = 5
    """Training seeds of each learned policy."""
    json: Path | None = None
    """File of the results (default: docs/results/policies.json, or none with --quick)."""


@dataclass(frozen=True)
class Scale:
    """How long everything takes."""

    seeds: tuple[int, ...]
    updates: int = 800
    gains: int = 4096
    episodes: int | None = None
    """Evaluated, where fewer than the network's own number."""
    offline: tuple[tuple[int, int, int], ...] = (
        (40_000, 400, 64),
        (8_000, 200, 16),
        (1_000, 200, 8),
    )
    """In each of `OFFLINE_IN`: transitions recorded, updates, and transitions in an update."""
    every: int = 1
    """Only every so many of `EXCHANGES`."""


def row_of(schedulers: Sequence[Scheduler], config: RRMConfig, episodes: int) -> Row:
    """KPIs of one policy, trained with several seeds, or of one scheduler."""
    evaluate(schedulers[0], config, 1)  # compiles
    began = time.process_time()
    found = [evaluate(scheduler, config, episodes) for scheduler in schedulers]
    decisions = len(schedulers) * episodes * config.episode_length
    microseconds = 1e6 * (time.process_time() - began) / decisions
    row: Row = {
        name: mean_with_interval(np.mean([each.kpi(name) for each in found], axis=0))
        for name in KPIS
    }
    if len(found) > 1:
        row["seeds"] = [float(each.kpi("score").mean()) for each in found]
    return {**row, "episodes": episodes, "microseconds_per_step": microseconds}


@functools.cache
def trained(scale: Scale, networks: tuple[RRMConfig, ...], config: GraphConfig) -> Parameters:
    """Parameters of as many policies as there are seeds."""
    return train_prices(networks, config, scale.seeds, updates=scale.updates, episodes=scale.gains)


def policies(
    config: GraphConfig, parameters: Parameters, scale: Scale, **options: Any
) -> list[Scheduler]:
    """The policy of each seed."""
    return [GraphPolicy.of(config, parameters, k, **options) for k in range(len(scale.seeds))]


def bits(scale: Scale) -> Row:
    """Score against bits in the preset ``paper``."""
    network, episodes = SIZES["paper"]
    episodes = scale.episodes or episodes
    config = GraphConfig()
    parameters = trained(scale, TRAINED_IN, config)
    rows: Row = {}
    for counted in ("tail", "everybody"):
        for exchange in EXCHANGES[:: scale.every]:
            made: dict[str, list[Scheduler]] = {
                "graph": policies(config, parameters, scale, counted=counted, **exchange),
                "debts": [Debts(counted=counted, **exchange)],
                "fluid": [Fluid(counted=counted, **exchange)],
            }
            for name, schedulers in made.items():
                per_ap = schedulers[0].bits_per_decision(network)  # type: ignore[attr-defined]
                told = ":".join(f"{key}={value}" for key, value in exchange.items())
                rows[f"{name}:counted={counted}:{told}"] = {
                    "bits_per_joint_decision": per_ap * network.n_aps,
                    **row_of(schedulers, network, episodes),
                }
    return rows


def sizes(scale: Scale) -> Row:
    """One policy in networks of all sizes."""
    config = GraphConfig()
    parameters = trained(scale, TRAINED_IN, config)
    rows: Row = {}
    for name, (network, episodes) in SIZES.items():
        rows[name] = {}
        for counted in ("tail", "everybody"):
            made: dict[str, list[Scheduler]] = {
                "graph": policies(config, parameters, scale, counted=counted),
                "debts": [Debts(counted=counted)],
            }
            for each, schedulers in made.items():
                rows[name][f"{each}:counted={counted}"] = row_of(
                    schedulers, network, scale.episodes or episodes
                )
    return rows


def data(scale: Scale) -> Row:
    """Offline training: how far past its behaviour a policy gets."""
    rows: Row = {}
    for (name, network), amounts in zip(OFFLINE_IN.items(), scale.offline, strict=True):
        transitions, updates, batch_size = amounts
        rows[name] = {}
        plain, episodes = SIZES[name]
        episodes = scale.episodes or episodes
        config = GraphConfig(
            n_neighbours=network.n_neighbours, n_interferers=min(6, network.n_neighbours)
        )
        for behaviour in BEHAVIOURS if name == "paper" else BEHAVIOURS[1:3]:
            dataset = collect(parse_scheduler(behaviour), network, transitions)
            found = {"behaviour": row_of([parse_scheduler(behaviour)], plain, episodes)}
            for method in ("clone", "dual"):
                parameters = train_prices_on(
                    dataset,
                    config,
                    scale.seeds,
                    clone=method == "clone",
                    updates=updates,
                    batch_size=batch_size,
                )
                for counted in ("tail", "everybody"):
                    found[f"{method}:counted={counted}"] = row_of(
                        policies(config, parameters, scale, counted=counted), plain, episodes
                    )
            rows[name][behaviour] = found
    return rows


def parts(scale: Scale) -> Row:
    """What each part of the policy is worth, with 4, 16 and 64 access points."""
    standard = GraphConfig()
    variants: dict[str, tuple[GraphConfig, tuple[RRMConfig, ...], int, dict[str, Any]]] = {
        "as it is": (standard, TRAINED_IN, scale.updates, {}),
        "no debts": (standard, TRAINED_IN, scale.updates, {"debt_weight": 0.0}),
        "no rounds of messages": (replace(standard, rounds=0), TRAINED_IN, scale.updates, {}),
        "two rounds of messages": (replace(standard, rounds=2), TRAINED_IN, scale.updates, {}),
        "8 neighbours": (replace(standard, n_neighbours=8), TRAINED_IN, scale.updates, {}),
        "trained with 4 access points": (standard, TRAINED_IN[:1], scale.updates, {}),
        "a quarter of the updates": (standard, TRAINED_IN, scale.updates // 4, {}),
        "four times the updates": (standard, TRAINED_IN, 4 * scale.updates, {}),
        "prices set once": (standard, TRAINED_IN, scale.updates, {"price_steps": 10**6}),
    }
    rows: Row = {name: {} for name in ("no learned prices", *variants)}
    for variant, (config, networks, updates, options) in variants.items():
        parameters = trained(replace(scale, updates=updates), networks, config)
        for name in ("paper", "16 access points", "64 access points"):
            network, episodes = SIZES[name]
            for counted in ("tail", "everybody"):
                made = policies(config, parameters, scale, counted=counted, **options)
                rows[variant][f"{name}:counted={counted}"] = row_of(
                    made, network, scale.episodes or episodes
                )
                rows["no learned prices"][f"{name}:counted={counted}"] = row_of(
                    [Debts(counted=counted)], network, scale.episodes or episodes
                )
    return rows


PARTS = {"bits": bits, "sizes": sizes, "data": data, "parts": parts}


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw score against bits, and share of the best known score against size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    committed = json.loads(SCHEDULERS.read_text(encoding="utf-8"))
    best = committed["paper"]["optimum"]
    for k, name in enumerate(("graph", "debts", "fluid")):
        for counted, style in (("tail", "-"), ("everybody", "--")):
            rows = [
                row
                for label, row in found["bits"].items()
                if label.startswith(f"{name}:counted={counted}:")
            ]
            rows.sort(key=lambda row: row["bits_per_joint_decision"])
            left.plot(
                [row["bits_per_joint_decision"] for row in rows],
                [row["score"]["mean"] for row in rows],
                style,
                marker="o",
                ms=3,
                color=COLOURS[k],
                label=f"{name}, {counted} counted",
            )
    left.axhline(best["score"]["mean"], color="0.5", lw=0.8)
    left.text(0.7, best["score"]["mean"], "optimum", va="bottom", color="0.4", fontsize=8)
    left.axhline(best["minimum_score"]["mean"], color="0.5", lw=0.8, ls="--")
    left.set_xscale("log")
    left.set_xlabel("bits per joint decision, preset paper")
    left.set_ylabel("score")
    left.legend(fontsize=7)
    order = ["paper", *(f"{n} access points" for n in (8, 16, 32, 64))]
    at = [4, 8, 16, 32, 64]
    lines = {
        "graph, tail counted": [found["sizes"][n]["graph:counted=tail"] for n in order],
        "debts, tail counted": [found["sizes"][n]["debts:counted=tail"] for n in order],
        **{
            label: [_row(committed[n], name) for n in order]
            for label, name in (("fluid", "fluid"), ("long memory", "long_memory"))
        },
        "ITLinQ, best tolerance": [
            max(
                (
                    row
                    for row in committed[n]["schedulers"]
                    if row["scheduler"].startswith("itlinq")
                ),
                key=lambda row: row["score"]["mean"],
            )
            for n in order
        ],
    }
    for k, (label, rows) in enumerate(lines.items()):
        shares = [
            100 * row["score"]["mean"] / committed[n]["optimum"]["score"]["mean"]
            for row, n in zip(rows, order, strict=True)
        ]
        right.plot(at, shares, marker="o", ms=3, color=COLOURS[k], label=label)
    right.set_xscale("log", base=2)
    right.set_xticks(at, [str(n) for n in at])
    right.set_xlabel("access points")
    right.set_ylabel("% of the best score known")
    right.legend(fontsize=7, loc="lower left", bbox_to_anchor=(0.02, 0.27))
    write_figure(path, figure, PICTURE_DPI)


def _row(network: Mapping[str, Any], name: str) -> Row:
    """The row of a scheduler in schedulers.json."""
    found: Row = next(row for row in network["schedulers"] if row["scheduler"] == name)
    return found


def main(options: Options) -> None:
    """Compute the parts, print their scores, and write results and picture."""
    for name in options.only:
        if name not in PARTS:
            raise ValueError(f"only must be of {', '.join(PARTS)}, got {name!r}")
    if not 1 <= options.seeds <= 100:
        raise ValueError(f"seeds must be from 1 to 100, got {options.seeds}")
    path = options.json or (None if options.quick else Path("docs/results/policies.json"))
    path = check_writable("json", path) if path else None
    if path and not options.quick:
        require_drawing("the picture of policies")
    scale = Scale(tuple(range(options.seeds)))
    if options.quick:
        scale = replace(scale, updates=8, gains=32, episodes=2, offline=((400, 4, 4),) * 3, every=4)
    found: Row = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
    for name in options.only:
        found[name] = PARTS[name](scale)
        _show(name, found[name])
        if path:
            write_json(path, {**found, **origin("torch")})
    if path and not options.quick and {"bits", "sizes"} <= found.keys():
        draw(found, path.with_suffix(".png"))


def _show(name: str, rows: Mapping[str, Any]) -> None:
    """Print the score of every row."""
    for label, row in rows.items():
        if "score" not in row:
            _show(f"{name}, {label}", row)
            continue
        score, worst = row["score"], row["worst_rate"]["mean"]
        print(
            f"{name}, {label}: score {score['mean']:.3f} "
            f"({score['low']:.3f}…{score['high']:.3f}), worst user {worst:.3f}"
        )


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
