"""Learning curves: evaluations during training, read from the logs of runs and drawn."""

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

_AXIS_DISTANCE = 0.2
"""Distance between axes above a plot, as a share of the plot's height."""
_TICKS = 4
"""Most intervals between ticks: numbers of environment steps are long."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A run's KPIs on held-out episodes, at n evaluations during training."""

    updates: NDArray[np.int64]
    """(n,) number of updates before each evaluation."""
    kpis: Mapping[str, NDArray[np.float64]]
    """(n, seeds) means over the episodes, by KPI."""
    steps_at: Callable[[int], int] | None = None
    """Environment steps of each seed as a function of its updates; None of an offline run."""

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
    """The evaluations in a run's log, with the KPIs that all of them have.

    Environment steps follow from the run's description, not from the log.
    """
    description = describe(run)
    entries = [entry for entry in read_log(run) if "evaluation" in entry]
    evaluations = [entry["evaluation"] for entry in entries]
    names = [
        name
        for name in (evaluations[0] if evaluations else ())
        if all(name in evaluation for evaluation in evaluations)
    ]
    kpis = {name: np.array([evaluation[name] for evaluation in evaluations]) for name in names}
    updates = np.array([entry["update"] for entry in entries], np.int64)
    steps_at = partial(steps_taken, description) if is_online(description) else None
    return Curve(updates, kpis, steps_at)


def write_curves(
    path: Path, runs: Mapping[str, Path], references: Mapping[str, Mapping[str, float]]
) -> None:
    """Draw the learning curves of runs into a picture of their own.

    Args:
        path: the picture to write; its ending says the format.
        runs: folders of runs by label.
        references: KPIs of schedulers on the same episodes, by label
            (`marl.training.rollout.curve_point`).
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
    """Draw each KPI over the updates, in two columns of plots.

    A line is the mean over seeds, a band its 95 % bootstrap interval over seeds.

    Args:
        figure: the matplotlib figure to draw into.
        curves: learning curves by label.
        references: KPIs of schedulers by label, drawn as horizontal lines.
        styles: colour and line style by label; where None, the palette in order, and references
            dashed.
    """
    names = (*curves, *references)
    if styles is None:
        styles = {
            name: (COLOURS[k % len(COLOURS)], "-" if name in curves else "--")
            for k, name in enumerate(names)
        }
    kpis = _all_kpis(curves)
    handles: dict[str, Any] = {}
    across = min(len(kpis), 2)
    down = -(-len(kpis) // across)
    figure.set_size_inches(5.5 * across, 4 * down + 0.25 * len(names) / across)
    plots = list(figure.subplots(down, across, squeeze=False).flat)
    for axes in plots[len(kpis) :]:
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
        _add_step_axes(axes, curves)
        drawn, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, drawn, strict=True))
    labels = [name for name in names if name in handles]
    figure.legend(
        [handles[name] for name in labels],
        labels,
        loc="outside lower center",
        ncols=across,
        frameon=False,
    )


def _add_step_axes(axes: Any, curves: Mapping[str, Curve]) -> None:
    """Add axes of environment steps above a plot, one for all runs with the same step counts."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True))
    last = max((int(curve.updates.max(initial=0)) for curve in curves.values()), default=0)
    groups: dict[tuple[int, int], list[str]] = {}
    for label, curve in curves.items():
        if curve.steps_at is not None:
            groups.setdefault((curve.steps_at(0), curve.steps_at(last)), []).append(label)
    for k, labels in enumerate(groups.values()):
        steps_at = curves[labels[0]].steps_at
        above = axes.secondary_xaxis(1 + _AXIS_DISTANCE * k)
        above.xaxis.set_major_locator(MaxNLocator(_TICKS, integer=True))
        above.xaxis.set_major_formatter(
            lambda updates, _, steps_at=steps_at: f"{steps_at(round(updates)):,}"
        )
        above.tick_params(labelsize="x-small")
        above.spines[:].set_visible(False)
        whose = "" if len(groups) == 1 else f", {', '.join(labels)}"
        above.set_xlabel(f"environment steps per seed{whose}", fontsize="small")


def _all_kpis(curves: Mapping[str, Curve]) -> list[str]:
    """The KPIs of all curves together: those of the table `KPIS` in its order, then others."""
    found = dict.fromkeys(kpi for curve in curves.values() for kpi in curve.kpis)
    return [*(kpi for kpi in KPIS if kpi in found), *(kpi for kpi in found if kpi not in KPIS)]
