"""Pictures of how training went, from the logs of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.plots import COLOURS, write_figure
from marl.runs.checkpoint import read_log
from marl.runs.description import describe, is_online, steps_taken
from rrm_env.metrics import KPIS, axis_label, mean_interval

_BETWEEN_AXES = 0.2
"""Of the picture's height, between axes above it."""
_TICKS = 4
"""Intervals between ticks, at most: numbers of environment steps are long."""


@dataclass(frozen=True, eq=False)
class Curve:
    """How well a run did on the held-out episodes while it trained, at n evaluations."""

    updates: NDArray[np.int64]
    """(n,) updates done."""
    kpis: Mapping[str, NDArray[np.float64]]
    """(n, seeds) values by KPI."""
    steps_at: Callable[[int], int] | None = None
    """Environment steps that each seed had taken after so many updates; None of an offline run."""

    def as_dict(self) -> dict[str, Any]:
        """The curve as plain values that JSON can hold."""
        updates = self.updates.tolist()
        steps = {"environment_steps": [*map(self.steps_at, updates)]} if self.steps_at else {}
        return {
            "updates": updates,
            **steps,
            **{kpi: values.tolist() for kpi, values in self.kpis.items()},
        }


def learning_curve(run: Path) -> Curve:
    """The evaluations in a run's log; their environment steps follow from the run's description, also of logs that lack them."""
    description = describe(run)
    records = [record for record in read_log(run) if "evaluation" in record]
    names = [
        name
        for name in (records[0]["evaluation"] if records else ())
        if all(name in r["evaluation"] for r in records)
    ]
    kpis = {name: np.array([record["evaluation"][name] for record in records]) for name in names}
    updates = np.array([record["update"] for record in records], np.int64)
    return Curve(
        updates, kpis, partial(steps_taken, description) if is_online(description) else None
    )


def write_curves(
    path: Path, runs: Mapping[str, Path], references: Mapping[str, Mapping[str, float]]
) -> None:
    """A picture of `draw_curves` alone.

    Args:
        path: the picture to write; its ending says the format.
        runs: folders of runs by what to call them.
        references: KPIs of schedulers on the same episodes (`marl.training.train.curve_point`) by name.
    """
    from matplotlib.figure import Figure

    curves = {label: learning_curve(run) for label, run in runs.items()}
    figure = Figure(layout="constrained")
    draw_curves(figure, curves, references)
    write_figure(path, figure)


def draw_curves(
    figure: Any,
    curves: Mapping[str, Curve],
    references: Mapping[str, Mapping[str, float]],
    styles: Mapping[str, tuple[str, str]] | None = None,
) -> None:
    """Each KPI over the updates, two pictures in a row: the mean over seeds as a line, its 95 % bootstrap interval over seeds as a band.

    Args:
        figure: of matplotlib, to draw into.
        curves: learning curves by what to call them.
        references: KPIs by name, drawn as horizontal lines.
        styles: colour and line of each; the palette in order, references dashed, where None.
    """
    names = (*curves, *references)
    styles = (
        {
            name: (COLOURS[k % len(COLOURS)], "-" if name in curves else "--")
            for k, name in enumerate(names)
        }
        if styles is None
        else styles
    )
    kpis, handles = _drawn(curves), dict[str, Any]()
    across = min(len(kpis), 2)
    down = -(-len(kpis) // across)
    figure.set_size_inches(5.5 * across, 4 * down + 0.25 * len(names) / across)
    places = figure.subplots(down, across, squeeze=False).flat
    for axes in list(places)[len(kpis) :]:
        axes.remove()
    for axes, kpi in zip(figure.axes, kpis, strict=True):
        for label, curve in curves.items():
            if kpi not in curve.kpis:
                continue
            colour, line = styles[label]
            low, high = np.array([mean_interval(seeds) for seeds in curve.kpis[kpi]]).T
            axes.plot(curve.updates, curve.kpis[kpi].mean(1), line, color=colour, label=label)
            axes.fill_between(curve.updates, low, high, color=colour, alpha=0.2, linewidth=0)
        for name, levels in references.items():
            if kpi in levels:
                colour, line = styles[name]
                axes.axhline(levels[kpi], color=colour, linestyle=line, linewidth=1, label=name)
        axes.set(xlabel="updates", ylabel=axis_label(kpi))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        _state_environment_steps(axes, curves)
        handles |= {
            label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
    labels = [name for name in names if name in handles]
    figure.legend(
        [handles[name] for name in labels],
        labels,
        loc="outside lower center",
        ncols=across,
        frameon=False,
    )


def _state_environment_steps(axes: Any, curves: Mapping[str, Curve]) -> None:
    """Axes above: environment steps at the ticks of the updates, once for all runs that agree in them."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True))
    last = max((int(curve.updates.max(initial=0)) for curve in curves.values()), default=0)
    agreeing: dict[tuple[int, int], list[str]] = {}
    for label, curve in curves.items():
        if curve.steps_at is not None:
            agreeing.setdefault((curve.steps_at(0), curve.steps_at(last)), []).append(label)
    for k, labels in enumerate(agreeing.values()):
        steps_at = curves[labels[0]].steps_at
        above = axes.secondary_xaxis(1 + _BETWEEN_AXES * k)
        above.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True))
        above.xaxis.set_major_formatter(
            lambda updates, _, steps_at=steps_at: f"{steps_at(round(updates)):,}"
        )
        above.tick_params(labelsize="x-small")
        above.spines[:].set_visible(False)
        whose = "" if len(agreeing) == 1 else f", {', '.join(labels)}"
        above.set_xlabel(f"environment steps per seed{whose}", fontsize="small")


def _drawn(curves: Mapping[str, Curve]) -> list[str]:
    """The KPIs that any of the curves has, in the order of the table of KPIs; logs of earlier revisions lack the newer ones."""
    found = dict.fromkeys(kpi for curve in curves.values() for kpi in curve.kpis)
    return [*(kpi for kpi in KPIS if kpi in found), *(kpi for kpi in found if kpi not in KPIS)]
