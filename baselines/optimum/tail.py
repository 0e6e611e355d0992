"""Eq. 11's score, whose tail leaves out the users of lowest rate: which ones should they be?

Let k users be left out, the floor of .05 J. For each choice of them the score is a linear program.
Where the choices are few, all are tried; one value of the dual function rules most of them out.
Elsewhere the users that cost the most, by their multipliers, are left out step by step, which need
not be the best choice, and a relaxation, in which users are left out in part, bounds all choices.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from baselines.optimum.choice import Floats, Integers
from baselines.optimum.program import Program, Schedule
from baselines.optimum.restricted import LeavingOut, Objective, solve_relaxed

MAX_CHOICES = 1000
"""So many choices are tried one by one: one user of 1000, or two of 45."""
STEPS = 200
"""Of mirror descent until a choice is ruled out."""
MARGIN = 1e-3
"""How far below the best value known its target lies, relative."""
SMALLEST = 0.01
"""Part of an equal share that each user's first multiplier has at least."""
INTERVALS = 12
"""Most intervals of the lowest rate that are bounded by a relaxation of their own."""
CLOSE = 1e-3
"""Relative difference of value and relaxation at which the intervals are small enough."""


class Tail(NamedTuple):
    """The best schedule found, and who is left out."""

    schedule: Schedule
    left_out: Integers
    """The users left out, sorted; none where that gains nothing."""


def leave_out(program: Program, everybody: Objective, n_users: int, base: Schedule) -> Tail:
    """The best schedule if the lowest rates of some users do not count.

    Args:
        program: of the episode.
        everybody: the objective in which all users count.
        n_users: so many are left out, fewer than all.
        base: the best schedule for ``everybody``.
    """
    if n_users == 0 or everybody.tail_weight == 0:
        return Tail(base, np.empty(0, np.int64))
    listed = program.proof is program.search
    if listed and math.comb(program.n_ues, n_users) <= MAX_CHOICES:
        return _each(program, everybody, n_users, base)
    found = _step_by_step(program, everybody, n_users, base)
    if not math.isfinite(base.bound):
        return found
    bound = _relaxed_bound(program, everybody, n_users, found)
    return Tail(found.schedule._replace(bound=bound), found.left_out)


def _without(objective: Objective, users: Integers) -> Objective:
    counted = objective.counted.copy()
    counted[users] = False
    return objective._replace(counted=counted)


def _start(objective: Objective, multiplier: Floats) -> Floats:
    """Multipliers of the users that count, scaled to their sum; none is 0, where it would stay."""
    smallest = SMALLEST * objective.tail_weight / multiplier.size
    kept: Floats = np.where(objective.counted, np.maximum(multiplier, smallest), 0.0)
    kept *= objective.tail_weight / kept.sum()
    return kept


def _each(program: Program, everybody: Objective, n_users: int, base: Schedule) -> Tail:
    """All choices of ``n_users``, those first that cost the most.

    The multipliers of `base`, without those of the users left out, rule most of them out.
    """
    best = Tail(base, np.empty(0, np.int64))
    bound = base.bound
    choices = np.array([*itertools.combinations(range(program.n_ues), n_users)])
    costs = base.multiplier[choices].sum(axis=1)
    for left_out in choices[np.argsort(-costs, kind="stable")]:
        objective = _without(everybody, left_out)
        value = best.schedule.value
        least, start = program.descend(
            objective,
            _start(objective, base.multiplier),
            STEPS,
            target=value * (1 - MARGIN),
            enough=value,
        )
        if least > value:
            schedule = program.solve(objective, start, enough=value)
            least = schedule.bound
            if schedule.value > value:
                best = Tail(schedule, left_out)
        bound = max(bound, least)
    return Tail(best.schedule._replace(bound=bound), best.left_out)


def _step_by_step(program: Program, everybody: Objective, n_users: int, base: Schedule) -> Tail:
    """Leave out those of the highest multipliers, a third of the missing ones at a time."""
    best, left_out, schedule = Tail(base, np.empty(0, np.int64)), np.empty(0, np.int64), base
    while left_out.size < n_users:
        more = max(1, (n_users - left_out.size) // 3)
        costly = np.argsort(-schedule.multiplier, kind="stable")[:more]
        left_out = np.union1d(left_out, costly)
        objective = _without(everybody, left_out)
        schedule = program.solve(objective, _start(objective, schedule.multiplier))
        if schedule.value > best.schedule.value:
            best = Tail(schedule, left_out)
    return best


def _relaxed_bound(program: Program, everybody: Objective, n_users: int, found: Tail) -> float:
    """A bound of all choices: the largest of those of intervals of the lowest counted rate."""
    value = found.schedule.value
    enough = value * (1 + CLOSE)
    lowest = np.sort(program.mean_rates(found.schedule))[n_users]
    ends = [0.0, lowest, 1.1 * lowest, _highest_rate(program)]
    bounds = {
        (low, high): _relaxed(program, everybody, LeavingOut(n_users, low, high), enough)
        for low, high in itertools.pairwise(ends)
    }
    while len(bounds) < INTERVALS and max(bounds.values()) > enough:
        low, high = max(bounds, key=lambda interval: bounds[interval])
        before = bounds.pop((low, high))
        for part in ((low, (low + high) / 2), ((low + high) / 2, high)):
            own = _relaxed(program, everybody, LeavingOut(n_users, *part), enough)
            bounds[part] = min(own, before)
    return max(value, *bounds.values())


def _highest_rate(program: Program) -> float:
    """What no user's mean rate exceeds: the best of its rates alone, were it always served."""
    n_ues, best = program.n_ues, 0.0
    for j in range(n_ues):
        choice = program.proof.best(np.eye(n_ues)[j])
        best = max(best, float(program.length @ choice.bound))
    return best


def _relaxed(program: Program, objective: Objective, rules: LeavingOut, enough: float) -> float:
    """The bound of a relaxation, to within the program's tolerance or until it is ``enough``."""
    bound = math.inf
    while True:
        solution = solve_relaxed(program.columns, objective, rules)
        choice = program.proof.best(objective.sum_weight + solution.multiplier)
        dual = float(program.length @ choice.bound)
        bound = min(bound, rules.bound(objective, solution.multiplier, dual))
        if bound <= max(enough, solution.value * (1 + program.tolerance)):
            return bound
        if not program.add(choice):
            return bound
