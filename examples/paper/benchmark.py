"""The benchmark's table: learners by tier of data, on the scale from random walk to optimum.

``python examples/paper/benchmark.py`` computes the cells that docs/results/benchmark.json lacks,
one after the other, and writes the file after each, so that it can be interrupted. A cell is
NETWORK/TIER:METHOD, such as ``paper/mixed:bc-i``, or NETWORK/online:METHOD; ``--cells`` with such
names or patterns (``'paper/*:bc-*'``) computes some anew. ``--engine ray`` or ``local`` computes
several at once. Training reads the named datasets of `marl.load_dataset`, which are made where they
are missing.

All learners of a network have the same budget of updates, and the last checkpoint counts. They were
tuned on other episodes than the 256 that they are judged on: docs/benchmark.md says how.
``--quick`` does the same in miniature and writes a file only if ``--json`` names one.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from benchmark_methods import METHODS, Clone, Dual, Offline, Online
from benchmark_pictures import draw
from study_options import origin

from baselines.comparison import mean_with_interval
from baselines.plots import require_drawing
from marl import (
    Dataset,
    GraphConfig,
    GraphPolicy,
    LearnerConfig,
    TrainingConfig,
    load_dataset,
    load_policies,
    train,
    train_prices_on,
)
from marl.benchmark.networks import NETWORKS
from marl.benchmark.recipes import TIERS, recipe_of
from marl.cli.shared import EngineOptions
from marl.data.collect import among_candidates
from marl.engines.base import Event, Task
from rrm_env import RRMConfig, Scheduler, evaluate, metrics, normalised_score
from rrm_env.checks import bounded_integer
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.network import Network
from rrm_env.power import Decision

Row = dict[str, Any]

ONLINE = "online"
"""Stands for the tier where a learner acts itself."""
BEHAVIOUR = "behaviour"
"""Stands for the method in the row of whoever acted in the data."""
RESULTS = Path("docs/results/benchmark.json")
KPIS = ("score", "minimum_score", "sum_rate", "tail_rate", "worst_rate")


class Cell(NamedTuple):
    """One entry of the table."""

    network: str
    tier: str
    method: str

    def __str__(self) -> str:
        return f"{self.network}/{self.tier}:{self.method}"


@dataclass(frozen=True)
class Scale:
    """How long everything takes."""

    seeds: int = 5
    updates: int = 3000
    """Of every learner from data, but graph policies."""
    steps: int = 250_000
    """Of the environment, in which every online learner acts."""
    graph_updates: int = 400
    episodes: int = 256
    transitions: int | None = None
    """Of each dataset, where not all."""


QUICK = Scale(seeds=2, updates=4, steps=2_000, graph_updates=2, episodes=4, transitions=600)


@dataclass(frozen=True)
class Options:
    """What to compute, and where."""

    cells: tuple[str, ...] = ()
    """Cells to compute anew, as patterns such as 'paper/*:bc-i' (default: the missing ones)."""
    seeds: int = Scale.seeds
    """Training seeds of each learner."""
    out: Path = Path("study/benchmark")
    """Folder of the runs that are not finished; a finished cell's run is removed."""
    json: Path | None = None
    """File of the results (default: docs/results/benchmark.json, or none with --quick)."""
    quick: bool = False
    """Compute the same in miniature."""
    where: Annotated[EngineOptions, tyro.conf.OmitArgPrefixes] = field(
        default_factory=EngineOptions
    )
    """Where cells are computed."""


def cells() -> list[Cell]:
    """All cells of the table, network by network."""
    found = []
    for network in NETWORKS:
        joint = NETWORKS[network].n_actions ** NETWORKS[network].n_aps
        found += [Cell(network, tier, BEHAVIOUR) for tier in TIERS]
        for name, method in METHODS.items():
            if method.fits(joint):
                tiers = (ONLINE,) if isinstance(method, Online) else tuple(TIERS)
                found += [Cell(network, tier, name) for tier in tiers]
    return found


def chosen(options: Options, known: Mapping[str, Any]) -> list[Cell]:
    """The cells to compute: those that patterns name, else those that are not known yet.

    Raises:
        ValueError: no cell fits a pattern.
    """
    everything = cells()
    for pattern in options.cells:
        if not any(fnmatchcase(str(cell), pattern) for cell in everything):
            raise ValueError(
                f"cells = {pattern!r} names no cell; networks are {', '.join(NETWORKS)}, tiers "
                f"{', '.join(TIERS)} and {ONLINE}, methods {BEHAVIOUR}, {', '.join(METHODS)}"
            )
    if not options.cells:
        return [cell for cell in everything if str(cell) not in known]
    return [
        cell
        for cell in everything
        if any(fnmatchcase(str(cell), pattern) for pattern in options.cells)
    ]


# --- One cell ---


def compute(cell: Cell, scale: Scale, out: Path) -> Row:
    """Train and evaluate a cell's learners; its row of the table."""
    began = time.process_time()
    network = NETWORKS[cell.network]
    if cell.method == BEHAVIOUR:
        scores = {kpi: values[None] for kpi, values in behaved(cell, scale).items()}
        return {**_row(scores, network), "cpu_seconds": round(time.process_time() - began, 1)}
    method = METHODS[cell.method]
    policies, how = (
        _graph(cell, method, scale)
        if isinstance(method, Clone | Dual)
        else _learned(cell, method, scale, out)
    )
    found = [evaluate(policy, network, scale.episodes) for policy in policies]
    scores = {kpi: np.stack([each.kpi(kpi) for each in found]) for kpi in KPIS}
    row = {**_row(scores, network), "seeds": scores["score"].mean(axis=1).tolist(), **how}
    if cell.tier != ONLINE:
        behaviour = behaved(cell, scale)["score"]
        low, high = metrics.difference_interval(scores["score"], behaviour)
        gain = float(scores["score"].mean() - behaviour.mean())
        row["above_behaviour"] = {"mean": gain, "low": low, "high": high}
    return {**row, "cpu_seconds": round(time.process_time() - began, 1)}


def _row(scores: Mapping[str, metrics.Floats], network: RRMConfig) -> Row:
    """KPIs with their intervals, from values (seeds, episodes)."""
    row: Row = {kpi: mean_with_interval(values) for kpi, values in scores.items()}
    row["normalised"] = {
        key: normalised_score(value, network) for key, value in row["score"].items()
    }
    return row


def behaved(cell: Cell, scale: Scale) -> dict[str, metrics.Floats]:
    """KPIs (episodes,) of a dataset's behaviours on the evaluation episodes, by their shares."""
    behaviours = TIERS[cell.tier].behaviours(cell.network)
    total = sum(behaviour.share for behaviour in behaviours)
    found = [
        evaluate(_AmongCandidates(behaviour.scheduler), NETWORKS[cell.network], scale.episodes)
        for behaviour in behaviours
    ]
    return {
        kpi: sum(  # type: ignore[misc]  # the sum of arrays is one
            each.kpi(kpi) * behaviour.share / total
            for each, behaviour in zip(found, behaviours, strict=True)
        )
        for kpi in KPIS
    }


class _AmongCandidates:
    """A scheduler as it was recorded: it chooses among candidates."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._choose = scheduler, among_candidates(scheduler)

    def reset(self, network: Network) -> None:
        self._scheduler.reset(network)

    def schedule(self, network: Network) -> Decision:
        return self._choose(network)


def _data(cell: Cell, scale: Scale) -> Dataset:
    name = f"{cell.network}/{cell.tier}"
    if scale.transitions is None:
        return load_dataset(name)
    return replace(recipe_of(name), transitions=scale.transitions).record()


def _learned(
    cell: Cell, method: Offline | Online, scale: Scale, out: Path
) -> tuple[Sequence[Scheduler], Row]:
    """The policies of a learner's seeds, and how they were trained."""
    more: Row = {}
    run = out / str(cell).replace("/", "-").replace(":", "-")
    network = NETWORKS[cell.network]
    if isinstance(method, Online):
        dataset, updates = None, method.updates(scale.steps)
        more = dict(method.training)
    else:
        dataset, updates = _data(cell, scale), scale.updates
    learner = LearnerConfig(**method.fields)
    training = TrainingConfig(
        updates=updates,
        log_every=updates,
        evaluate_every=updates,
        evaluation_episodes=1,
        checkpoint_every=updates,
        **more,
    )
    train(
        run,
        learner,
        training,
        seeds=range(scale.seeds),
        dataset=dataset,
        environment=network,
        resume=(run / "config.json").exists(),
    )
    draws = isinstance(method, Offline) and method.draws
    policies = load_policies(run, sample=draws)
    how = {"learner": learner.as_dict(), "updates": updates, "draws": draws}
    if dataset is not None:
        how["dataset"] = dataset.fingerprint()
    shutil.rmtree(run)
    return policies, how


def _graph(cell: Cell, method: Clone | Dual, scale: Scale) -> tuple[Sequence[Scheduler], Row]:
    """The graph policies of all seeds, and how they were trained."""
    dataset, network = _data(cell, scale), NETWORKS[cell.network]
    k = network.n_neighbours
    config = GraphConfig(n_neighbours=k, n_interferers=min(k, GraphConfig.n_interferers))
    parameters = train_prices_on(
        dataset,
        config,
        range(scale.seeds),
        clone=isinstance(method, Clone),
        updates=scale.graph_updates,
    )
    policies = [GraphPolicy.of(config, parameters, k) for k in range(scale.seeds)]
    how = {"graph": config.as_dict(), "updates": scale.graph_updates}
    return policies, {**how, "dataset": dataset.fingerprint()}


# --- The table ---


def main(options: Options) -> None:
    """Compute the missing cells, writing the results after each, and draw the picture."""
    bounded_integer("seeds", options.seeds, 100)
    path = options.json or (None if options.quick else RESULTS)
    path = check_writable("json", path) if path else None
    if path and not options.quick:
        require_drawing("the picture of the benchmark")
    scale = QUICK if options.quick else Scale(seeds=options.seeds)
    options.out.mkdir(parents=True, exist_ok=True)
    found: Row = {"cells": {}}
    if path and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    wanted = chosen(options, found["cells"])
    tasks = [Task(str(cell), compute, (cell, scale, options.out.absolute())) for cell in wanted]
    with options.where.open(_tell) as engine:
        for k, row in engine.values(tasks):
            found["cells"][str(wanted[k])] = row
            _show(wanted[k], row)
            if path:
                write_json(path, {**found, **origin(scale)})
    if path and not options.quick:
        draw(found["cells"], path.with_suffix(".png"))


def _tell(event: Event) -> None:
    if event.kind in ("lost", "failed"):
        print(f"{event.kind}: {event.task} ({event.detail})", flush=True)


def _show(cell: Cell, row: Row) -> None:
    """Print a cell's scores."""
    score, worst = row["score"], row["worst_rate"]["mean"]
    above = row.get("above_behaviour")
    text = f"; above its behaviour {above['low']:.3f}…{above['high']:.3f}" if above else ""
    print(
        f"{cell}: score {score['mean']:.3f} ({score['low']:.3f}…{score['high']:.3f}), "
        f"{row['normalised']['mean']:.1f} of 100, worst user {worst:.3f}{text}, "
        f"{row['cpu_seconds']:.0f} s",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
