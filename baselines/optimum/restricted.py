"""The linear program over a given list of joint actions, solved by HiGHS."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.optimum.choice import Floats
from rrm_env.optional import required

SPARSE_ROWS = 100
"""Matrices with more rows are handed over as sparse ones."""
PENALTY = 10.0
"""Of a lowest rate below its limit in a relaxation, relative to its weight."""


class Objective(NamedTuple):
    """What a program maximises: mu1 times the sum of rates, and mu2 times the lowest one."""

    sum_weight: float
    tail_weight: float
    counted: NDArray[np.bool_]
    """(J,) the users among whom the lowest rate is sought, at least one."""


class Columns(NamedTuple):
    """Joint actions of the groups of time blocks."""

    rates: Floats
    """(C, J) what each contributes to the users' mean rates if it has all the time of its group."""
    group: NDArray[np.int64]
    """(C,) the group of each column."""
    n_groups: int


class LeavingOut(NamedTuple):
    """A relaxation: users may be left out of the lowest rate in part.

    A user left out by the part z may fall short of the lowest rate m by ``highest`` times z. The
    relaxation bounds all schedules that leave out ``users`` users and whose m lies between the two
    limits.
    """

    users: int
    """The sum of all z is at most this."""
    lowest: float
    """A smaller m costs `PENALTY` times mu2 times the difference, so that there is a solution."""
    highest: float
    """m is at most this."""

    def bound(self, objective: Objective, multiplier: Floats, dual: float) -> float:
        """The relaxation's bound from multipliers (J,) and the dual function there."""
        mu2, total = objective.tail_weight, multiplier.sum()
        of_lowest_rate = max(
            (mu2 - total) * m - PENALTY * mu2 * max(0.0, self.lowest - m)
            for m in (0.0, self.lowest, self.highest)
        )
        largest = np.sort(multiplier)[multiplier.size - self.users :].sum()
        return float(dual + of_lowest_rate + self.highest * largest)


class Solution(NamedTuple):
    """The optimum over the columns."""

    value: float
    multiplier: Floats
    """(J,) by how much the value would grow if a user were allowed to get less."""
    share: Floats
    """(C,) the share of its group's time that each column gets."""


def solve_restricted(columns: Columns, objective: Objective) -> Solution:
    """The best shares of time of the columns.

    Raises:
        ValueError: scipy is missing.
        RuntimeError: HiGHS found no solution.
    """
    counted = np.flatnonzero(objective.counted)
    # Variables: m, then the shares.
    cost = np.concatenate([[-objective.tail_weight], _cost(columns, objective)])
    above = np.column_stack([np.ones(counted.size), -columns.rates[:, counted].T])
    bounds = [(0, None)] * cost.size
    result = _highs(cost, above, np.zeros(counted.size), _whole(columns, 1), bounds)
    multiplier = np.zeros(columns.rates.shape[1])
    multiplier[counted] = np.maximum(-result.ineqlin.marginals, 0.0)
    multiplier *= objective.tail_weight / multiplier.sum()  # which it is, up to rounding
    return Solution(float(-result.fun), multiplier, np.maximum(result.x[1:], 0.0))


def solve_relaxed(columns: Columns, objective: Objective, rules: LeavingOut) -> Solution:
    """The best shares of time of the columns where users may be left out in part.

    Raises:
        ValueError: scipy is missing.
        RuntimeError: HiGHS found no solution.
    """
    n_columns, n_ues = columns.rates.shape
    mu2 = objective.tail_weight
    # Variables: m, what it lacks, z (J,), then the shares.
    cost = np.concatenate([[-mu2, PENALTY * mu2], np.zeros(n_ues), _cost(columns, objective)])
    above = np.zeros((n_ues + 2, cost.size))
    above[:n_ues, 0] = 1.0
    above[:n_ues, 2 : 2 + n_ues] = -rules.highest * np.eye(n_ues)
    above[:n_ues, 2 + n_ues :] = -columns.rates.T
    above[n_ues, 2 : 2 + n_ues] = 1.0
    above[n_ues + 1, :2] = -1.0
    limit = np.array([*np.zeros(n_ues), rules.users, -rules.lowest])
    bounds = [(0, rules.highest), (0, None), *[(0, 1)] * n_ues, *[(0, None)] * n_columns]
    result = _highs(cost, above, limit, _whole(columns, 2 + n_ues), bounds)
    multiplier = np.maximum(-result.ineqlin.marginals[:n_ues], 0.0)
    return Solution(float(-result.fun), multiplier, np.maximum(result.x[2 + n_ues :], 0.0))


def _cost(columns: Columns, objective: Objective) -> Floats:
    """(C,) what the sum of rates contributes to the objective, negative."""
    cost: Floats = -objective.sum_weight * columns.rates.sum(axis=1)
    return cost


def _whole(columns: Columns, before: int) -> Floats:
    """(G, variables) the sum of each group's shares; ``before`` variables precede them."""
    whole = np.zeros((columns.n_groups, before + columns.group.size))
    whole[columns.group, before + np.arange(columns.group.size)] = 1.0
    return whole


def _highs(cost: Floats, above: Floats, limit: Floats, whole: Floats, bounds: Any) -> Any:
    """Minimise cost x subject to above x <= limit and whole x = 1."""
    solver = required("the optimum needs", "scipy.optimize", "scipy.sparse", extra="optimum")
    matrices: Any = above, whole
    if len(above) > SPARSE_ROWS:
        sparse = importlib.import_module("scipy.sparse")
        matrices = sparse.csc_array(above), sparse.csc_array(whole)
    one = np.ones(len(whole))
    for presolve in (False, True):  # which takes longer than it saves, and is more robust
        result = solver.linprog(
            cost,
            matrices[0],
            limit,
            matrices[1],
            one,
            bounds,
            method="highs",
            options={"presolve": presolve},
        )
        if result.status == 0:
            return result
    raise RuntimeError(f"HiGHS found no solution: {result.message}")
