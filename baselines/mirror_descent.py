"""Mirror descent on the multipliers of a fluid program, with the entropy as its distance.

Multipliers are at least 0 and have a given sum. A step multiplies each by exp(-step * slope) and
scales all to that sum; it is as long as if a target of the dual function were reached (B. T.
Polyak). The target lies below the least value found, by a gap that is halved when the path since
the last success is long.

A. Beck, M. Teboulle, "Mirror descent and nonlinear projected subgradient methods for convex
optimization", Oper. Res. Lett. 31 (2003).
"""

from __future__ import annotations

import math
from typing import Any

from rrm_env.compiling import compiled

GAP, LONGEST_PATH = 0.05, 2.0
"""Of the target: its first distance, relative to the first value, and the path that halves it."""


@compiled(nogil=True, error_model="numpy")
def move(point: Any, slope: Any, counted: Any, excess: Any, path: Any) -> None:
    """One step in each of b programs.

    Nothing moves where the slope vanishes or no user counts.

    Args:
        point: (b, J) the multipliers, changed; 0 where a user does not count.
        slope: (b, J) of the dual function there; changed too.
        counted: (b, J) which users count.
        excess: (b,) by how much the step would reduce the function if it were linear.
        path: (b,) the length of the step in the metric of the entropy is added to it.
    """
    n_envs, n_ues = point.shape
    for b in range(n_envs):
        total, mean = 0.0, 0.0
        for j in range(n_ues):
            total += point[b, j]
            mean += point[b, j] * slope[b, j]
        if total == 0.0:
            continue
        mean /= total
        square, steepest = 0.0, 0.0
        for j in range(n_ues):
            if counted[b, j]:
                slope[b, j] -= mean
                square += point[b, j] * slope[b, j] ** 2
                steepest = max(steepest, abs(slope[b, j]))
        if square <= 1e-20 * total:
            continue
        step, after = min(excess[b] / square, 1.0 / steepest), 0.0
        for j in range(n_ues):
            if counted[b, j]:  # a multiplier of 0 would stay there for ever
                point[b, j] = max(point[b, j], 1e-9 * total) * math.exp(-step * slope[b, j])
                after += point[b, j]
        for j in range(n_ues):
            point[b, j] *= total / after
        path[b] += step * math.sqrt(square)
