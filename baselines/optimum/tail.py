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
from baselines.optimum.restricted import Objective

MAX_CHOICES = 1000
"""So many choices are tried one by one: one user of 1000, or two of 45."""
STEPS = 200
"""Of mirror descent until a choice is ruled out."""
MARGIN = 1e-3
"""How far below the best value known its target lies, relative."""
SMALLEST = 0.01
"""Part of an equal share that each user's first multiplier has at least."""


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
    bound = program.solve(everybody._replace(left_out=n_users)).bound
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
    left_out, multiplier = np.empty(0, np.int64), base.multiplier
    while left_out.size < n_users:
        more = max(1, (n_users - left_out.size) // 3)
        costly = np.argsort(-multiplier, kind="stable")[:more]
        left_out = np.union1d(left_out, costly)
        objective = _without(everybody, left_out)
        _, multiplier = program.descend(objective, _start(objective, multiplier), STEPS)
    return Tail(program.solve(objective, _start(objective, multiplier)), left_out)
