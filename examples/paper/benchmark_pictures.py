"""The picture of the benchmark's table, and the numbers that compare its methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_methods import METHODS, Online

from baselines.plots import COLOURS, write_figure
from marl.benchmark.networks import NETWORKS
from marl.benchmark.recipes import TIERS
from rrm_env import metrics

Cells = Mapping[str, Mapping[str, Any]]

PICTURE_DPI = 110
RESAMPLES = 2_000

STYLES = {
    name: (COLOURS[k % len(COLOURS)], "os^"[k // len(COLOURS)]) for k, name in enumerate(METHODS)
}
"""Each method's colour and marker."""


def compared(cells: Cells, networks: Sequence[str]) -> tuple[list[str], list[str], metrics.Floats]:
    """The datasets of networks, the methods trained on all of them, and their scores per seed.

    Args:
        cells: the table.
        networks: of which networks. Datasets that no method was trained on are left out.

    Returns:
        datasets, methods, and scores (methods, seeds, datasets), whose order within a dataset alone
        is used.
    """
    names = [name for name, method in METHODS.items() if not isinstance(method, Online)]
    data = [f"{network}/{tier}" for network in networks for tier in TIERS]
    data = [d for d in data if any(f"{d}:{name}" in cells for name in names)]
    methods = [name for name in names if data and all(f"{d}:{name}" in cells for d in data)]
    scores = [_scores(cells, name, data) for name in methods]
    return data, methods, np.array(scores) if methods else np.empty(0)


def _scores(cells: Cells, method: str, data: Sequence[str]) -> metrics.Floats:
    """Scores (seeds, datasets) of a method."""
    return np.array([cells[f"{d}:{method}"]["seeds"] for d in data], float).T


def ranks(scores: metrics.Floats) -> metrics.Floats:
    """Ranks (methods, ...), 1 the best, of scores (methods, ...); equal scores share their mean."""
    above = (scores[None] > scores[:, None]).sum(axis=1)
    equal = (scores[None] == scores[:, None]).sum(axis=1)
    found: metrics.Floats = 1 + above + (equal - 1) / 2
    return found


def mean_ranks(scores: metrics.Floats) -> list[tuple[float, float, float]]:
    """Each method's mean rank over datasets, with its 95 % bootstrap interval over seeds.

    Args:
        scores: (methods, seeds, datasets). Seeds are resampled for each method and dataset apart.
    """
    methods, seeds, data = scores.shape
    generator = np.random.default_rng(0)
    at = generator.integers(seeds, size=(RESAMPLES, methods, seeds, data))
    drawn = np.take_along_axis(scores[None], at, axis=2).mean(axis=2)
    found = ranks(drawn.transpose(1, 0, 2)).mean(axis=2)
    mean = ranks(scores.mean(axis=1)).mean(axis=1)
    low, high = np.percentile(found, [2.5, 97.5], axis=1)
    return [(float(mean[m]), float(low[m]), float(high[m])) for m in range(methods)]


def ranked(cells: Cells) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Methods' `mean_ranks` in ``paper``, which has them all, and in ``all networks``."""
    found = {}
    for where, networks in (("paper", ["paper"]), ("all networks", [*NETWORKS])):
        _, methods, scores = compared(cells, networks)
        found[where] = dict(zip(methods, mean_ranks(scores), strict=True)) if methods else {}
    return found


REFERENCE = "bc-i"
"""The method that all others are compared with, the plainest of them."""


def improvements(cells: Cells) -> dict[str, tuple[float, float, float]]:
    """Probability that a seed of each method beats one of `REFERENCE` on a dataset of both.

    `rrm_env.metrics.probability_of_improvement`, with datasets as tasks.
    """
    found = {}
    everything = [d for d in compared(cells, [*NETWORKS])[0] if f"{d}:{REFERENCE}" in cells]
    for name in METHODS:
        data = [d for d in everything if f"{d}:{name}" in cells]
        if name != REFERENCE and data:
            pair = _scores(cells, name, data), _scores(cells, REFERENCE, data)
            found[name] = metrics.probability_of_improvement(*pair, RESAMPLES)
    return found


def draw(cells: Cells, path: Path) -> None:
    """Draw normalised scores by tier in each network, mean ranks, and who beats cloning."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 9), layout="constrained")
    grid = figure.add_gridspec(2, 6)
    for k, network in enumerate(NETWORKS):
        _by_tier(figure.add_subplot(grid[0, 2 * k : 2 * k + 2]), cells, network)
    handles = {
        label: handle
        for axes in reversed(figure.axes)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if handles:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=5, fontsize=9)
    for k, (where, found) in enumerate(ranked(cells).items()):
        _points(figure.add_subplot(grid[1, 2 * k : 2 * k + 2]), found, f"mean rank in {where}")
    _points(
        figure.add_subplot(grid[1, 4:]),
        improvements(cells),
        f"probability to beat {METHODS[REFERENCE].label}",
    )
    write_figure(path, figure, PICTURE_DPI)


def _by_tier(axes: Any, cells: Cells, network: str) -> None:
    """Draw a network's normalised scores, a line for each method over the tiers of data."""
    tiers = list(TIERS)
    for name in ("behaviour", *METHODS):
        found = {
            t: cells[f"{network}/{tier}:{name}"]["normalised"]
            for t, tier in enumerate(tiers)
            if f"{network}/{tier}:{name}" in cells
        }
        if not found:
            continue
        of_behaviour = name == "behaviour"
        axes.plot(
            list(found),
            [row["mean"] for row in found.values()],
            "--" if of_behaviour else f"{STYLES[name][1]}-",
            color="black" if of_behaviour else STYLES[name][0],
            ms=3,
            lw=1.4 if of_behaviour else 1,
            label="the behaviour itself" if of_behaviour else METHODS[name].label,
        )
    axes.set_xticks(range(len(tiers)), tiers, rotation=30)
    axes.set_title(network)
    axes.set_ylabel("normalised score")


def _points(axes: Any, values: Mapping[str, tuple[float, float, float]], label: str) -> None:
    """Draw methods' means with their intervals, one below the other."""
    for k, (name, (mean, low, high)) in enumerate(values.items()):
        colour, marker = STYLES[name]
        axes.errorbar(
            mean, -k, xerr=[[mean - low], [high - mean]], fmt=marker, color=colour, capsize=3
        )
    axes.set_yticks([-k for k in range(len(values))], [METHODS[name].label for name in values])
    axes.set_xlabel(label)
