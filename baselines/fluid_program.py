"""The fluid program of the rest of an episode, solved for many episodes at once by its dual.

A joint action is a set S of APs that transmit and the user that each of them serves. Shares of the
remaining time for joint actions are wanted that maximise

    mu1 sum_j R_j + mu2 m   subject to   R_j >= m for all counted users j,

where R_j = (realised_j + remaining steps * rate_j) / T is user j's mean rate over the episode if
gains stay as they are. For multipliers lambda >= 0 of the counted users with the sum mu2, no
schedule exceeds the dual function

    D(lambda) = sum_j (mu1 + lambda_j) realised_j / T
              + remaining steps / T * max over joint actions of sum_j (mu1 + lambda_j) rho(S, j),

and its least value is the optimum. `baselines.mirror_descent` approaches it; the slope of D is the
mean rate under the best joint action. `baselines.optimum` solves the program exactly.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.joint_actions import Floats, JointActions, Sets
from baselines.mirror_descent import GAP, LONGEST_PATH, move
from rrm_env import SILENT
from rrm_env.compiling import compiled

SMALLEST = 0.01
"""Part of an equal share that each counted user's first multiplier has at least."""


class Program(NamedTuple):
    """The programs of b episodes."""

    actions: JointActions
    """At the gains that are taken as constant."""
    sum_weight: float
    """mu1."""
    tail_weight: float
    """mu2."""
    realised: Floats
    """(b, J) each user's rates so far, summed, bit/s/Hz."""
    remaining: int
    """Steps that remain."""
    length: int
    """T."""
    known: Sets
    """Good sets of APs, with rates at the same gains; new ones are added."""


class Solution(NamedTuple):
    """What mirror descent found in b episodes."""

    bound: Floats
    """(b,) the least value of D found."""
    multiplier: Floats
    """(b, J) lambda there."""


class _State(NamedTuple):
    """Where mirror descent stands, (b,) or (b, J) each."""

    point: Floats
    bound: Floats
    multiplier: Floats
    level: Floats
    gap: Floats
    path: Floats


def solve(
    program: Program,
    counted: NDArray[np.bool_],
    start: Floats,
    steps: int,
) -> Solution:
    """Minimise D by mirror descent.

    Args:
        program: of b episodes.
        counted: (b, J) the users whose rates must reach m, one at least in each episode.
        start: (b, J) the multipliers of a similar program, or equal ones, of any sum.
        steps: of mirror descent.
    """
    b = len(start)
    if program.tail_weight == 0:
        start, steps = np.ones(start.shape), 1
    point = np.where(counted, np.maximum(start, SMALLEST * start.mean(axis=1, keepdims=True)), 0.0)
    point *= program.tail_weight / point.sum(axis=1, keepdims=True)
    state = _State(
        point, np.full(b, np.inf), point.copy(), np.full(b, np.inf), np.zeros(b), np.zeros(b)
    )
    for k in range(steps):
        chosen = program.actions.best(
            program.sum_weight + state.point, program.known, keep=True, turn=k
        )
        slope, excess = _note(
            *state,
            *chosen,
            program.realised / program.length,
            program.remaining / program.length,
            program.sum_weight,
            GAP,
            LONGEST_PATH,
        )
        move(state.point, slope, counted, excess, state.path)
    return Solution(state.bound, state.multiplier)


def leave_out(program: Program, n_users: int, steps: int) -> tuple[NDArray[np.bool_], Solution]:
    """Choose who is not counted: those whose rates cost the most, by their multipliers.

    They are left out a third of the missing ones at a time.

    Args:
        program: of b episodes.
        n_users: so many are left out, fewer than all.
        steps: of mirror descent each time.

    Returns:
        who is counted (b, J), and a solution in which they are.
    """
    counted = np.ones(program.realised.shape, np.bool_)
    found = solve(program, counted, np.ones(counted.shape), steps)
    missing = n_users
    while missing:
        more = max(1, missing // 3)
        missing -= more
        costly = np.argsort(-found.multiplier, axis=1, kind="stable")[:, :more]
        np.put_along_axis(counted, costly, False, axis=1)
        found = solve(program, counted, found.multiplier, steps if not missing else steps // 4)
    return counted, found


@compiled(nogil=True, error_model="numpy")
def _note(
    point: Any,
    bound: Any,
    multiplier: Any,
    level: Any,
    gap: Any,
    path: Any,
    served: Any,
    rate: Any,
    realised: Any,
    remaining: float,
    sum_weight: float,
    first_gap: float,
    longest_path: float,
) -> Any:
    """Note D at the points (B, J), of which the best joint actions are given.

    Returns:
        the slope of D (B, J), and by how much it exceeds the target of the next step (B,).
    """
    n_envs, n_ues = point.shape
    slope, excess = realised.copy(), np.empty(n_envs)
    for b in range(n_envs):
        for i in range(served.shape[1]):
            if served[b, i] != SILENT:
                slope[b, served[b, i]] += remaining * rate[b, i]
        value = 0.0
        for j in range(n_ues):
            value += (sum_weight + point[b, j]) * slope[b, j]
        if value < bound[b]:
            bound[b], multiplier[b] = value, point[b]
        if level[b] == np.inf:
            level[b], gap[b] = value, first_gap * value
        elif value <= level[b] - gap[b] / 2:
            level[b], path[b] = value, 0.0
        elif path[b] > longest_path:
            gap[b], path[b] = gap[b] / 2, 0.0
        level[b] = min(level[b], bound[b])
        excess[b] = value - level[b] + gap[b]
    return slope, excess
