"""Pictures of how training went, from the logs of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from baselines.comparison import COLOURS
from marl.checkpoint import read_log
from rrm_env.files import write_whole

LABELS = {
    "sum_rate": "sum rate (bit/s/Hz)",
    "tail_rate": "5-percentile rate (bit/s/Hz)",
    "score": "score",
    "return": "return",
}


def learning_curve(run: Path) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
    """Updates (n,) at which a run was evaluated, and per KPI its values (n, seeds) on the held-out episodes."""
    records = [record for record in read_log(run) if "evaluation" in record]
    names = records[0]["evaluation"] if records else ()
    kpis = {name: np.array([record["evaluation"][name] for record in records]) for name in names}
    return np.array([record["update"] for record in records], np.int64), kpis


def write_curves(path: Path, runs: Mapping[str, Path], references: Mapping[str, Mapping[str, float]]) -> None:
    """Each KPI over the updates: the mean over seeds as a line, lowest and highest seed as a band.

    Args:
        path: the picture to write; its ending says the format.
        runs: folders of runs by what to call them.
        references: KPIs of schedulers on the same episodes (`marl.training.curve_point`) by name, drawn as horizontal lines.
    """
    from matplotlib.figure import Figure

    curves = {label: learning_curve(run) for label, run in runs.items()}
    kpis = list(next(iter(curves.values()))[1])
    figure = Figure(figsize=(4.5 * len(kpis) + 2, 4), layout="constrained")
    for axes, kpi in zip(figure.subplots(1, len(kpis), squeeze=False)[0], kpis, strict=True):
        for k, (label, (updates, values)) in enumerate(curves.items()):
            colour = COLOURS[k % len(COLOURS)]
            axes.plot(updates, values[kpi].mean(1), color=colour, label=label)
            axes.fill_between(updates, values[kpi].min(1), values[kpi].max(1), color=colour, alpha=0.2, linewidth=0)
        for k, (name, levels) in enumerate(references.items(), len(curves)):
            if kpi in levels:
                axes.axhline(levels[kpi], color=COLOURS[k % len(COLOURS)], linestyle="--", linewidth=1, label=name)
        axes.set(xlabel="updates", ylabel=LABELS.get(kpi, kpi))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize="small")

    def save(file: BinaryIO) -> None:
        figure.savefig(file, dpi=150, format=path.suffix[1:].lower())

    write_whole(path, save)
