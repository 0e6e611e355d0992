"""Pictures of how training went, from the logs of runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.comparison import COLOURS, write_figure
from marl.checkpoint import read_log
from rrm_env.metrics import KPIS, axis_label, mean_interval

Curve = tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]
"""Updates (n,) at which a run was evaluated, and per KPI its values (n, seeds) on the held-out episodes."""


def learning_curve(run: Path) -> Curve:
    """What a run's log says of its evaluations."""
    records = [record for record in read_log(run) if "evaluation" in record]
    names = [name for name in (records[0]["evaluation"] if records else ()) if all(name in r["evaluation"] for r in records)]
    kpis = {name: np.array([record["evaluation"][name] for record in records]) for name in names}
    return np.array([record["update"] for record in records], np.int64), kpis


def write_curves(path: Path, runs: Mapping[str, Path], references: Mapping[str, Mapping[str, float]]) -> None:
    """A picture of `draw_curves` alone.

    Args:
        path: the picture to write; its ending says the format.
        runs: folders of runs by what to call them.
        references: KPIs of schedulers on the same episodes (`marl.training.curve_point`) by name.
    """
    from matplotlib.figure import Figure

    curves = {label: learning_curve(run) for label, run in runs.items()}
    figure = Figure(figsize=(4.5 * len(_drawn(curves)) + 2, 4), layout="constrained")
    draw_curves(figure, curves, references)
    write_figure(path, figure)


def draw_curves(
    figure: Any,
    curves: Mapping[str, Curve],
    references: Mapping[str, Mapping[str, float]],
    styles: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Each KPI over the updates: the mean over seeds as a line, its 95 % bootstrap interval over seeds as a band.

    Args:
        figure: of matplotlib, to draw into.
        curves: learning curves by what to call them.
        references: KPIs by name, drawn as horizontal lines.
        styles: colour and line of each; the palette in order, references dashed, where None.
    """
    names = (*curves, *references)
    styles = (
        {name: (COLOURS[k % len(COLOURS)], "-" if name in curves else "--") for k, name in enumerate(names)} if styles is None else styles
    )
    kpis, handles = _drawn(curves), dict[str, Any]()
    for axes, kpi in zip(figure.subplots(1, len(kpis), squeeze=False)[0], kpis, strict=True):
        for label, (updates, values) in curves.items():
            if kpi not in values:
                continue
            colour, line = styles[label]
            low, high = np.array([mean_interval(seeds) for seeds in values[kpi]]).T
            axes.plot(updates, values[kpi].mean(1), line, color=colour, label=label)
            axes.fill_between(updates, low, high, color=colour, alpha=0.2, linewidth=0)
        for name, levels in references.items():
            if kpi in levels:
                colour, line = styles[name]
                axes.axhline(levels[kpi], color=colour, linestyle=line, linewidth=1, label=name)
        axes.set(xlabel="updates", ylabel=axis_label(kpi))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = [name for name in names if name in handles]
    figure.legend([handles[name] for name in labels], labels, loc="outside right center", frameon=False, fontsize="small")


def _drawn(curves: Mapping[str, Curve]) -> list[str]:
    """The KPIs that any of the curves has, in the order of the table of KPIs; logs of earlier revisions lack the newer ones."""
    found = dict.fromkeys(kpi for _, values in curves.values() for kpi in values)
    return [*(kpi for kpi in KPIS if kpi in found), *(kpi for kpi in found if kpi not in KPIS)]
