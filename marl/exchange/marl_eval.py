"""Results in the format of marl-eval, whose tools compare learners over tasks and seeds.

R. Gorsane et al., "Towards a standardised performance evaluation protocol for cooperative MARL",
NeurIPS 2022, arXiv 2209.10485; https://github.com/instadeepai/marl-eval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENVIRONMENT = "rrm"
"""Name of the environment in the files."""
OWN_TASK = "own network"
"""Name of the task where the network has none."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What the seeds of one learner reached, at n evaluations while training and at the end."""

    seeds: Sequence[int]
    steps: NDArray[np.int64]
    """(n,) environment steps, or updates of an offline learner, before each evaluation."""
    kpis: Mapping[str, NDArray[np.float64]]
    """(n, seeds) means over the episodes of an evaluation, by KPI."""
    final: Mapping[str, NDArray[np.float64]]
    """(seeds, episodes) values of the final evaluation, by KPI."""


def marl_eval_content(task: str, learners: Mapping[str, Learned]) -> dict[str, Any]:
    """The content of a file for marl-eval.

    environment -> task -> algorithm -> seed -> step -> ``step_count`` and a list for each metric;
    the last step of a seed is ``absolute_metrics``, with a value for each episode of the final
    evaluation. Metrics are the KPIs that all learners have, also while training. Names of
    algorithms lose their commas, which marl-eval does not take.

    Args:
        task: name of the network.
        learners: by algorithm.

    Raises:
        ValueError: no learners, or learners without evaluations while training, with different
            numbers of seeds or evaluations, without a common KPI, or with equal names.
    """
    if not learners:
        raise ValueError("learners must hold at least one, got none")
    sizes = {name: (len(entry.seeds), len(entry.steps)) for name, entry in learners.items()}
    first, size = next(iter(sizes.items()))
    for name, (_, evaluations) in sizes.items():
        if evaluations == 0:
            raise ValueError(
                f"{name} must have at least one evaluation in its log, got none: training records "
                "them every evaluate_every updates"
            )
        if sizes[name] != size:
            raise ValueError(
                "marl-eval needs as many seeds and evaluations of every learner: "
                f"{first} has {size[0]} and {size[1]}, {name} has {sizes[name][0]} and "
                f"{evaluations}"
            )
    metrics = [
        name
        for name in next(iter(learners.values())).final
        if all(name in entry.kpis and name in entry.final for entry in learners.values())
    ]
    if not metrics:
        raise ValueError("learners must have a KPI in common, while training and at the end")
    algorithms = {name.replace(",", ""): _runs(entry, metrics) for name, entry in learners.items()}
    if len(algorithms) < len(learners):
        raise ValueError(f"names must differ without commas, got {', '.join(learners)}")
    return {ENVIRONMENT: {task: algorithms}}


def _runs(entry: Learned, metrics: Sequence[str]) -> dict[str, Any]:
    """The seeds of a learner by name, with their steps."""
    return {
        f"seed_{seed}": {
            **{
                f"step_{step + 1}": {
                    "step_count": int(count),
                    **{name: [float(entry.kpis[name][step, k])] for name in metrics},
                }
                for step, count in enumerate(entry.steps)
            },
            "absolute_metrics": {name: entry.final[name][k].tolist() for name in metrics},
        }
        for k, seed in enumerate(entry.seeds)
    }
