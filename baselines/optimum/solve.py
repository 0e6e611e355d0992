"""The programs of an episode for all four objectives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.joint_actions import EXACT_APS
from baselines.optimum.choice import Integers
from baselines.optimum.program import Program, Schedule
from baselines.optimum.restricted import Objective
from baselines.optimum.tail import leave_out
from rrm_env import SILENT, RRMConfig, metrics

OBJECTIVES = ("score", "minimum_score", "sum_rate", "max_min")
"""Names of the objectives, as `Optimum` has them."""

Arrays = dict[str, NDArray[Any]]


def shapes(config: RRMConfig) -> dict[str, tuple[int, ...]]:
    """The shape of each array that `solve_episode` returns, by its name."""
    of_one: dict[str, tuple[int, ...]] = {
        "value": (),
        "bound": (),
        "ue_rates": (config.n_ues,),
        "ue_share": (config.n_ues,),
        "ap_share": (config.n_aps,),
        "set_share": (_n_sets(config),),
        "left_out": (metrics.n_below_tail(config.n_ues),),
    }
    return {f"{name}/{part}": shape for name in OBJECTIVES for part, shape in of_one.items()}


def _n_sets(config: RRMConfig) -> int:
    """Sets of APs whose shares of time are stated; 0 where they are too many."""
    return 2**config.n_aps if config.n_aps <= EXACT_APS else 0


def solve_episode(config: RRMConfig, program: Program) -> Arrays:
    """The best schedules of an episode of this network for all objectives."""
    mu1, mu2 = config.sum_weight, config.score_tail_weight
    everybody = np.ones(config.n_ues, bool)
    minimum, highest = Objective(mu1, mu2, everybody), Objective(0.0, 1.0, everybody)
    base = program.solve(minimum)
    tail = leave_out(program, minimum, metrics.n_below_tail(config.n_ues), base)
    start = base.multiplier / mu2 if mu2 > 0 else None
    nobody = np.empty(0, np.int64)
    solved: dict[str, tuple[Schedule, Integers]] = {
        "score": (tail.schedule, tail.left_out),
        "minimum_score": (base, nobody),
        "sum_rate": (program.solve(Objective(1.0, 0.0, everybody)), nobody),
        "max_min": (program.solve(highest, start), nobody),
    }
    found: Arrays = {}
    for name, (schedule, left_out) in solved.items():
        for part, array in _described(config, program, schedule).items():
            found[f"{name}/{part}"] = array
        users = np.full(metrics.n_below_tail(config.n_ues), SILENT)
        users[: left_out.size] = left_out
        found[f"{name}/left_out"] = users
    return found


def _described(config: RRMConfig, program: Program, schedule: Schedule) -> Arrays:
    """Value, bound, rates and shares of time of a schedule."""
    ue_share, ap_share = np.zeros(config.n_ues), np.zeros(config.n_aps)
    set_share = np.zeros(_n_sets(config))
    for column in np.flatnonzero(schedule.share):
        group = program.group[column]
        blocks = slice(*program.first[group : group + 2])
        served = program.actions[column]
        time = program.length[blocks] * schedule.share[column]
        active = served != SILENT
        np.add.at(ue_share, served[active], np.repeat(time, active.sum(axis=1)))
        ap_share += time @ active
        if set_share.size:
            np.add.at(set_share, active @ (1 << np.arange(config.n_aps)), time)
    return {
        "value": np.array(schedule.value),
        "bound": np.array(schedule.bound),
        "ue_rates": program.mean_rates(schedule),
        "ue_share": ue_share,
        "ap_share": ap_share,
        "set_share": set_share,
    }
