"""The linear program of an episode, solved from its primal and its dual side.

Wanted are shares of time for joint actions in each time block that maximise

    mu1 sum_j R_j + mu2 m   subject to   R_j >= m for all counted users j,

where R_j is the mean over the blocks of what user j gets. For multipliers lambda >= 0 of the
counted users with the sum mu2 (`Objective.total`), no schedule exceeds the dual function

    D(lambda) = mean over blocks of max over joint actions of sum_j (mu1 + lambda_j) rate_j,

and the least D is the optimum (Lagrangian duality). `baselines.mirror_descent` finds a good
lambda fast, and joint actions on its way. HiGHS solves the program over the joint actions found,
which yields a schedule and a new lambda, at which D has new joint actions to add. The end is where
schedule and D agree.

G. B. Dantzig, P. Wolfe, "Decomposition principle for linear programs", Oper. Res. 8 (1960).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from baselines.mirror_descent import GAP, LONGEST_PATH, move
from baselines.optimum.choice import Choice, Floats, Integers, Search
from baselines.optimum.restricted import Columns, Objective, solve_restricted
from rrm_env import SILENT
from rrm_env.compiling import compiled

GROUPS = 20
"""Kinds of columns: a column holds joint actions for one of so many parts of the episode."""
STEPS = 1000
"""Steps of the first mirror descent."""
WARM_STEPS = 300
"""The same where the multipliers of a similar program are known."""
KEPT = 40
"""Joint actions of the last steps that become columns."""
MORE_STEPS, MORE_KEPT = 60, 40
"""Likewise between two solutions of the program."""
PATIENCE = 10
"""Solutions in which a program's value must grow, if they also bring a column for each user."""
PER_USER = 4
"""Columns for each user that a program of a large network has, besides those in use."""
MAX_ROUNDS = 300
"""Most solutions of the program for one objective."""


class Schedule(NamedTuple):
    """A solution of a program."""

    value: float
    """What the schedule reaches."""
    bound: float
    """What no schedule exceeds; infinite where that was not proven."""
    multiplier: Floats
    """(J,) lambda."""
    share: Floats
    """(C,) the share of its group's time that each of the columns known by then gets."""


class Program:
    """The programs of one episode, for several objectives, and the joint actions found so far.

    Args:
        search: finds joint actions fast.
        proof: finds better ones, in the end the best, with a bound if it proves that; the same
            object as `search` if that does it fast.
        length: (n,) share of the episode of each time block.
        tolerance: relative difference of value and bound at which a schedule is good enough.
        progress: the search also ends when the value has grown by less than this share of it; see
            `PATIENCE`. 0 is never.
    """

    def __init__(
        self,
        search: Search,
        proof: Search,
        length: Floats,
        tolerance: float = 1e-7,
        progress: float = 0.0,
    ) -> None:
        self.search, self.proof, self.length = search, proof, length
        self.tolerance, self.progress = tolerance, progress
        n, _, self.n_ues = search.shape
        self.n_groups = min(GROUPS, n)
        self._group = np.arange(n) * self.n_groups // n
        self._together = np.zeros(n, np.int64)
        self.first = np.searchsorted(self._group, np.arange(self.n_groups + 1))
        """(G + 1,) the first block of each group of blocks, and n."""
        self._known: dict[tuple[int, bytes], int] = {}
        self._rates: list[Floats] = []
        self.group: list[int] = []
        """The group of each column."""
        self.actions: list[Integers] = []
        """(blocks of the group, I) the joint actions of each column."""

    def add(self, choice: Choice) -> bool:
        """Make columns of joint actions, and return whether one of them is new."""
        before = len(self.group)
        self._columns_of(choice)
        return len(self.group) > before

    def _columns_of(self, choice: Choice) -> list[int]:
        """The columns of joint actions, one for each group of blocks."""
        rates, columns = self.rates(choice), []
        for g in range(self.n_groups):
            part = slice(*self.first[g : g + 2])
            actions = choice.served[part]
            levels = b"" if choice.level is None else choice.level[part].tobytes()
            column = self._known.setdefault((g, actions.tobytes() + levels), len(self.group))
            if column == len(self.group):
                self._rates.append(rates[g])
                self.group.append(g)
                self.actions.append(actions)
            columns.append(column)
        return columns

    def rates(self, choice: Choice) -> Floats:
        """(G, J) what each group of blocks contributes to the users' mean rates."""
        rates = np.zeros((self.n_groups, self.n_ues))
        _gather(rates, choice.served, choice.rate, self.length, self._group)
        return rates

    @property
    def columns(self) -> Columns:
        """The joint actions found so far, as columns of a program."""
        return Columns(np.array(self._rates), np.array(self.group), self.n_groups)

    def restricted(self, objective: Objective, last: Schedule | None = None) -> Schedule:
        """The best schedule of the joint actions found so far; no bound is known of it.

        Args:
            objective: what it maximises.
            last: a schedule for the same objective; only its columns and the best under its
                multipliers are tried, `PER_USER` for each user.
        """
        columns = self.columns
        tried = np.arange(columns.group.size)
        if last is not None and tried.size > PER_USER * self.n_ues:
            value = columns.rates @ (objective.sum_weight + last.multiplier)
            best = np.full(self.n_groups, -math.inf)
            np.maximum.at(best, columns.group, value)
            promising = np.argsort(best[columns.group] - value)[: PER_USER * self.n_ues]
            tried = np.union1d(promising, np.flatnonzero(last.share))
        part = columns._replace(rates=columns.rates[tried], group=columns.group[tried])
        found, share = solve_restricted(part, objective), np.zeros(columns.group.size)
        share[tried] = found.share
        return Schedule(found.value, math.inf, found.multiplier, share)

    def mean_rates(self, schedule: Schedule) -> Floats:
        """(J,) the users' mean rates under a schedule."""
        return schedule.share @ np.array(self._rates[: schedule.share.size])

    def best_known(self, weight: Floats) -> Integers:
        """(n, I) in each group of blocks the best of the joint actions found so far."""
        value, group = np.array(self._rates) @ weight, np.array(self.group)
        columns = [np.flatnonzero(group == g) for g in range(self.n_groups)]
        return np.concatenate([self.actions[c[np.argmax(value[c])]] for c in columns])

    def solve(
        self, objective: Objective, start: Floats | None = None, enough: float = -math.inf
    ) -> Schedule:
        """The best schedule.

        Args:
            objective: what it maximises.
            start: (J,) multipliers to begin with; where users are left out in part, the columns
                found so far are the beginning.
            enough: a bound at which to end, since a better schedule than that is known.
        """
        if objective.tail_weight == 0:
            return self._solve_without_tail(objective)
        if self.progress and not self.group:
            self._add_each_alone()
        least, multiplier = math.inf, np.zeros(self.n_ues)
        if not objective.left_out:
            steps = STEPS if start is None else WARM_STEPS
            if start is None:
                start = objective.counted * (objective.tail_weight / objective.counted.sum())
            least, multiplier = self.descend(objective, start, steps, KEPT, enough=enough)
        bound = least if self.proof is self.search else math.inf
        search, values = self.search, []
        last = None
        for _ in range(MAX_ROUNDS):
            schedule = self.restricted(objective, last)
            last = schedule if self.progress else None
            values.append((len(self.group), schedule.value))
            if self._stalls(values):
                if search is self.proof:
                    break
                search = self.proof
                values.clear()
            reached = schedule.value + self.tolerance * abs(schedule.value)
            if bound <= max(reached, enough):
                break
            weight = objective.sum_weight + schedule.multiplier
            known = None if self.proof is self.search else self.best_known(weight)
            choice = search.best(weight, known)
            new, found = self.add(choice), float(self.length @ choice.value)
            if self.progress:
                self._add_shifted(choice, weight)
            if found < least or least <= schedule.value:  # below that it is no bound
                least, multiplier = found, schedule.multiplier
            if self.proof is self.search:
                bound = min(bound, least)
            if self.progress and not new and found > reached:
                continue  # it is known, but was not tried
            if found <= reached or not new:  # the search finds nothing more
                if self.proof is self.search:
                    break
                choice = self.proof.best(weight, known)
                proven = float(self.length @ choice.bound)
                if proven < bound:
                    bound, multiplier = proven, schedule.multiplier
                afresh = self.progress > 0 and self.add(self.proof.best(weight))
                if not self.add(choice) and not afresh:
                    break
            elif least > schedule.value and not objective.left_out:
                middle = (least + schedule.value) / 2
                better = self.descend(
                    objective, multiplier, MORE_STEPS, MORE_KEPT, middle, enough, choice.served
                )
                if better[0] < least:
                    least, multiplier = better
        value = min(schedule.value, bound)  # HiGHS may exceed it by its tolerance
        return schedule._replace(value=value, bound=bound, multiplier=multiplier)

    def _add_each_alone(self) -> None:
        """Add each user alone, so that no program begins with users who get nothing."""
        silence = np.full((self.search.shape[0], self.search.shape[1]), SILENT)
        for weight in np.eye(self.n_ues):
            self.add(self.search.best(weight, silence))

    def _add_shifted(self, choice: Choice, weight: Floats) -> None:
        """Try the sets of each block in the others too, where gains are much the same."""
        for shift in range(1, self.search.shape[0]):
            self.add(self.search.best(weight, np.roll(choice.served, shift, axis=0)))

    def _stalls(self, values: list[tuple[int, float]]) -> bool:
        """Whether the last values of a program, each with its number of columns, hardly grew."""
        columns, value = values[-1]
        before = [v for known, v in values[:-PATIENCE] if known <= columns - self.n_ues]
        if self.progress == 0 or not before:
            return False
        return before[-1] < value <= before[-1] * (1 + self.progress)  # equal on a plateau

    def _solve_without_tail(self, objective: Objective) -> Schedule:
        """The schedule of highest sum rate, which needs no linear program."""
        nothing = np.zeros(self.n_ues)
        choice = self.proof.best(objective.sum_weight + nothing)
        columns = self._columns_of(choice)
        share = np.zeros(len(self.group))
        share[columns] = 1.0
        value, bound = float(self.length @ choice.value), float(self.length @ choice.bound)
        return Schedule(value, bound, nothing, share)

    def descend(
        self,
        objective: Objective,
        start: Floats,
        steps: int,
        kept: int = 0,
        target: float | None = None,
        enough: float = -math.inf,
        known: Integers | None = None,
    ) -> tuple[float, Floats]:
        """Mirror descent on D (`baselines.mirror_descent`).

        Args:
            objective: whose D.
            start: (J,) first multipliers.
            steps: at most so many.
            kept: the joint actions of so many last steps become columns.
            target: of the step length; where None, it lies below the least D found, by a gap that
                is halved when the path since the last success is long.
            enough: a value of D at which to end.
            known: as for `Search.best`, for the first step.

        Returns:
            the least D found, and its multipliers (J,).
        """
        points, counted = start[None].copy(), objective.counted[None]
        slope, excess = np.empty_like(points), np.empty(1)
        point, best, multiplier = points[0], math.inf, start
        level, gap, path = math.inf, 0.0, np.zeros(1)
        # Local search may lose its way, and then D would be far too small. So from time to time it
        # begins with what the thorough one finds, and the least D is sought anew.
        renewed = steps // kept if kept and self.progress else 0
        renewed = renewed if renewed > 1 else 0
        for k in range(steps):
            weight = objective.sum_weight + point
            if renewed and k % renewed == 0:
                known, best, level = self.proof.best(weight).served, math.inf, math.inf
            choice = self.search.best(weight, known)
            known = None
            value = float(self.length @ choice.value)
            if k >= steps - kept or (renewed and k % renewed == 0):
                self.add(choice)
            if value < best:
                best, multiplier = value, point.copy()
            if best <= enough:
                break
            if k == 0:
                level, gap = value, GAP * value
            elif value <= level - gap / 2:
                level, path[0] = value, 0.0
            elif path[0] > LONGEST_PATH:
                gap, path[0] = gap / 2, 0.0
            level = min(level, best)
            wanted = level - gap if target is None else target
            slope[:], excess[0] = 0.0, value - wanted
            _gather(slope, choice.served, choice.rate, self.length, self._together)
            move(points, slope, counted, excess, path)
        return best, multiplier


_compile: Any = compiled(nogil=True, error_model="numpy", fastmath={"contract"})


@_compile
def _gather(rates: Any, served: Any, rate: Any, length: Any, group: Any) -> None:
    """Add to rates (G, J) what the users served in each block get, times its length."""
    for b in range(served.shape[0]):
        for i in range(served.shape[1]):
            if served[b, i] != SILENT:
                rates[group[b], served[b, i]] += length[b] * rate[b, i]
