"""The linear program over a given list of joint actions, solved by HiGHS."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.optimum.choice import Floats, Integers
from rrm_env.optional import required

SPARSE_ROWS = 100
"""Matrices with more rows are handed over as sparse ones."""
TOLERANCE = 1e-10
"""By how much HiGHS may miss a constraint, bit/s/Hz; its smallest."""


class Objective(NamedTuple):
    """What a program maximises: mu1 times the sum of rates, and mu2 times the lowest one, m."""

    sum_weight: float
    tail_weight: float
    counted: NDArray[np.bool_]
    """(J,) the users among whom the lowest rate is sought, at least one."""
    left_out: int = 0
    """So many counted users are left out of it in part, fewer than are counted.

    A user may fall short of m by q_j, from 0 to m, and all q_j together by this many times m. It is
    a relaxation of every choice of so many users, whose q_j are m.
    """

    def total(self, multiplier: Floats) -> float:
        """The sum of the multipliers (J,) that has to be mu2, without the ``left_out`` largest.

        For if all users but ``left_out`` ones have rates of at least m, then sum_j lambda_j R_j is
        at least m times the sum of the other multipliers, however the users were chosen.
        """
        counted = np.sort(multiplier[self.counted])
        return float(counted[: counted.size - self.left_out].sum())


class Columns(NamedTuple):
    """Joint actions of the groups of time blocks."""

    rates: Floats
    """(C, J) what each contributes to the users' mean rates if it has all the time of its group."""
    group: Integers
    """(C,) the group of each column."""
    n_groups: int


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
    n, n_parts = counted.size, counted.size if objective.left_out else 0
    # Variables: m, q where users are left out in part, then the shares.
    gain = objective.sum_weight * columns.rates.sum(axis=1)
    cost = -np.concatenate([[objective.tail_weight], np.zeros(n_parts), gain])
    above = np.zeros((n + n_parts + (n_parts > 0), cost.size))
    above[:n, 0] = 1.0
    above[:n, 1 + n_parts :] = -columns.rates[:, counted].T
    if n_parts:
        parts = slice(1, 1 + n_parts)
        above[:n, parts] = -np.eye(n)
        above[n : 2 * n, 0], above[n : 2 * n, parts] = -1.0, np.eye(n)
        above[2 * n, 0], above[2 * n, parts] = -objective.left_out, 1.0
    whole = np.zeros((columns.n_groups, cost.size))
    whole[columns.group, 1 + n_parts + np.arange(columns.group.size)] = 1.0
    result = _highs(cost, above, whole)
    multiplier = np.zeros(columns.rates.shape[1])
    multiplier[counted] = np.maximum(-result.ineqlin.marginals[:n], 0.0)
    multiplier *= objective.tail_weight / objective.total(multiplier)  # 1, up to rounding
    return Solution(float(-result.fun), multiplier, np.maximum(result.x[1 + n_parts :], 0.0))


def _highs(cost: Floats, above: Floats, whole: Floats) -> Any:
    """Minimise cost x subject to above x <= 0, whole x = 1 and x >= 0."""
    solver = required("the optimum needs", "scipy.optimize", "scipy.sparse", extra="optimum")
    matrices: Any = above, whole
    if len(above) > SPARSE_ROWS:
        sparse = importlib.import_module("scipy.sparse")
        matrices = sparse.csc_array(above), sparse.csc_array(whole)
    # Rates can be small, so tolerances have to be. Presolve takes longer than it saves, and is more
    # robust, as looser tolerances are.
    for presolve, tolerance in ((False, TOLERANCE), (True, TOLERANCE), (True, None)):
        result = solver.linprog(
            cost,
            matrices[0],
            np.zeros(len(above)),
            matrices[1],
            np.ones(len(whole)),
            method="highs",
            options={
                "presolve": presolve,
                "primal_feasibility_tolerance": tolerance,
                "dual_feasibility_tolerance": tolerance,
            },
        )
        if result.status == 0:
            return result
    raise RuntimeError(f"HiGHS found no solution: {result.message}")
