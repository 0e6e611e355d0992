"""The best shares of the remaining time, computed again and again, and played."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.exchange import (
    MAX_STEPS,
    Exchanging,
    expect,
    quantised_gains,
    quantised_rates,
)
from baselines.fluid_program import Program, leave_out, solve
from baselines.joint_actions import Floats, JointActions, Sets, parts
from baselines.scheduler import PerNetwork, Served
from rrm_env import SILENT, Network, RRMConfig, metrics
from rrm_env.checks import bounded_integer, nearest, shown
from rrm_env.compiling import compiled

OBJECTIVES = ("score", "max_min", "sum_rate")
FIRST_DESCENT = 2.5
"""Times as many steps of mirror descent at the start of an episode, without known multipliers."""
LARGEST_TREND = 2.0
"""Largest change of the log of a gain that is extrapolated."""
DEBT_WEIGHT = 0.7
"""Part of a mean multiplier per bit/s/Hz of debt, times the root of the episode's length."""


@dataclass
class _Plan:
    """What is common knowledge in the B episodes of a network."""

    first_gain: Floats
    """(B, I, J) large-scale gains at the first exchange."""
    gain: Floats
    """(B, I, J) large-scale gains at the last exchange."""
    realised: Floats
    """(B, J) sums of rates: those of the last exchange and what is expected since."""
    counted: NDArray[np.bool_]
    """(B, J) users whose rates the tail counts."""
    multiplier: Floats
    """(B, J) lambda at the last solution."""
    realised_then: Floats
    """(B, J) `realised` at the last solution."""
    known: Sets
    """Good sets of APs in large networks."""
    expected: Floats
    """(B, J) rates that the last decision is expected to give."""
    exchanged: int = 0
    """Step of the last exchange."""
    decided: int = -1
    """Step of the last decision."""
    solved: int = -1
    """Step of the last solution."""
    actions: tuple[slice, JointActions] | None = None
    """The joint actions at these gains of the part of the episodes that was decided last."""

    def actions_of(self, part: slice, association: NDArray[Any]) -> JointActions:
        """The joint actions of a part of the episodes, made anew where they are another's."""
        if self.actions is None or self.actions[0] != part:
            self.actions = part, JointActions(self.gain[part], association[part])
        return self.actions[1]


class Fluid(Exchanging):
    """Max-weight on ergodic rates, with the multipliers of the fluid program as weights.

    At the start and then every `resolve_steps` steps the program of `baselines.fluid_program` is
    solved: what shares of the remaining time for which sets of APs and users would be best, given
    the rates so far? Gains are taken as constant, at what their trend in dB since the start of the
    episode makes of them by the middle of the remaining time. The multiplier lambda_j is what user
    j's mean rate is worth to the tail. The APs and users are served that maximise
    sum_j (mu1 + lambda_j) rho(S, j), and between solutions a user's multiplier falls with what it
    got and rises with what the others got: it is lambda + c debt, projected on multipliers of the
    sum mu2, where the debt of a user is how far it is behind the path on which all counted users
    end with the same rate.

    Up to 10 APs all sets are compared; in larger networks sets grow as in `LongMemory`, from good
    sets that were found before.

    L. Tassiulas, A. Ephremides (1992), cited at `MaxWeight`, for queues as weights; M. J. Neely,
    "Stochastic network optimization with application to communication and queueing systems",
    Morgan & Claypool (2010), for multipliers that are updated by what was served.

    All APs can compute the plan themselves, from gains and rates that they exchange every
    `exchange_steps` steps, and from what it expects in between. Nothing else is known to it.

    Args:
        counted: ``tail``, the users that the 5-percentile rate counts: of 20 the one of highest
            multiplier is left out; or ``everybody``.
        resolve_steps: steps between solutions, at least 1.
        exchange_steps: steps between exchanges of gains and rates; 0 exchanges gains alone, once
            per episode.
        own_rates: whether an AP that transmits between exchanges chooses among its users by what
            they really got, which it knows itself. What the others do does not depend on it.
        bits: of each exchanged number, in steps of equal dB: gains over noise from -40 to 100 dB,
            mean rates from 0.001 to 100 bit/s/Hz; 0 exchanges them as they are.
        objective: ``score``, the network's; ``max_min``, the tail alone; or ``sum_rate`` alone.
        trend: whether gains are extrapolated.
        descent_steps: of mirror descent in a solution, at least 1; 2.5 times as many in the first.

    Raises:
        TypeError, ValueError: another value of an option.
    """

    def __init__(
        self,
        counted: str = "tail",
        resolve_steps: int = 10,
        exchange_steps: int = 1,
        own_rates: bool = True,
        bits: int = 0,
        objective: str = "score",
        trend: bool = True,
        descent_steps: int = 200,
    ) -> None:
        super().__init__(counted, exchange_steps, own_rates, bits)
        if objective not in OBJECTIVES:
            raise ValueError(f"unknown objective {nearest(str(objective), OBJECTIVES)}")
        if not isinstance(trend, bool):
            raise TypeError(f"trend must be True or False, got {shown(trend)}")
        self.objective, self.trend = objective, trend
        self.resolve_steps = bounded_integer("resolve_steps", resolve_steps, MAX_STEPS)
        self.descent_steps = bounded_integer("descent_steps", descent_steps, 1_000_000)
        self._plans: PerNetwork[_Plan] = PerNetwork(type(self).__name__)

    def _gains_per_user(self, config: RRMConfig) -> int:
        """Those from all APs."""
        return config.n_aps

    def reset(self, network: Network) -> None:
        """Begin the network's episodes without a plan."""
        config, num_envs = network.config, network.num_envs
        users, links = (num_envs, config.n_ues), (num_envs, config.n_aps, config.n_ues)
        self._plans[network] = _Plan(
            first_gain=np.ones(links),
            gain=np.ones(links),
            realised=np.zeros(users),
            counted=np.ones(users, np.bool_),
            multiplier=np.ones(users),
            realised_then=np.zeros(users),
            known=Sets.none_of(config, num_envs),
            expected=np.zeros(users),
        )

    def _decide(self, network: Network, allowed: NDArray[np.bool_]) -> Served:
        plan, t = self._plans[network], network.t
        if plan.decided != t:
            plan.realised += plan.expected
        plan.decided = t
        if plan.solved < 0 or (self.exchange_steps and t % self.exchange_steps == 0):
            self._exchange(plan, network)
        first = plan.solved < 0
        solves = first or (t % self.resolve_steps == 0 and plan.solved != t)
        if solves:
            plan.solved = t
        plan.expected[:] = 0.0
        served = np.empty((network.num_envs, network.config.n_aps), np.int64)
        for part in parts(network.config, network.num_envs):
            actions = plan.actions_of(part, network.association)
            if solves:
                self._solve(plan, actions, network, part, first)
            served[part] = self._play(plan, actions, network, part, allowed[part])
        return served

    def _weights(self, config: RRMConfig) -> tuple[float, float]:
        """mu1 and mu2."""
        if self.objective == "score":
            return config.sum_weight, config.score_tail_weight
        return (0.0, 1.0) if self.objective == "max_min" else (1.0, 0.0)

    def _exchange(self, plan: _Plan, network: Network) -> None:
        """Let gains and rates become common knowledge."""
        t = network.t
        plan.actions = None
        plan.gain[:] = network.large_scale_gain
        plan.realised[:] = network.ue_rate_sum
        if self.bits:
            plan.gain = quantised_gains(plan.gain, self.bits)
            if t > 0:
                plan.realised = t * quantised_rates(plan.realised / t, self.bits)
        if plan.solved < 0:
            plan.first_gain[:] = plan.gain
        plan.exchanged = t

    def _solve(
        self, plan: _Plan, actions: JointActions, network: Network, part: slice, first: bool
    ) -> None:
        """Solve the programs of a part of the episodes."""
        config, known = network.config, plan.known.of(part)
        length, realised = config.episode_length, plan.realised[part]
        if self.trend and plan.exchanged > 0:
            actions = JointActions(self._extrapolated(plan, network, part), actions.association)
        actions.refresh(known)
        mu1, mu2 = self._weights(config)
        program = Program(actions, mu1, mu2, realised, length - network.t, length, known)
        if first:
            n_users = metrics.n_below_tail(config.n_ues) if self.counted == "tail" else 0
            plan.counted[part], found = leave_out(
                program, n_users, int(FIRST_DESCENT * self.descent_steps)
            )
        else:
            found = solve(program, plan.counted[part], plan.multiplier[part], self.descent_steps)
        plan.multiplier[part], plan.realised_then[part] = found.multiplier, realised

    def _extrapolated(self, plan: _Plan, network: Network, part: slice) -> Floats:
        """(b, I, J) the gains expected for the middle of the remaining time."""
        middle = (network.t + network.config.episode_length) / 2
        ahead = (middle - plan.exchanged) / plan.exchanged
        smallest = np.finfo(np.float64).tiny
        gain, first = (np.maximum(g[part], smallest) for g in (plan.gain, plan.first_gain))
        trend = np.clip(ahead * np.log(gain / first), -LARGEST_TREND, LARGEST_TREND)
        extrapolated: Floats = gain * np.exp(trend)
        return extrapolated

    def _play(
        self,
        plan: _Plan,
        actions: JointActions,
        network: Network,
        part: slice,
        allowed: NDArray[np.bool_],
    ) -> Served:
        """(b, I) the users served in a part of the episodes, whose rates the plan expects."""
        config, realised = network.config, plan.realised[part]
        mu1, mu2 = self._weights(config)
        ascended = self._ascended(plan, network, part, realised)
        shift = _shift(ascended, plan.counted[part], mu2)
        weight = allowed * _weighted(ascended, shift, plan.counted[part], mu1)
        served, rate = actions.best(weight, plan.known.of(part), turn=network.t)
        expect(plan.expected[part], served, rate)
        if not self.own_rates or self.exchange_steps == 1:
            return served
        ascended = self._ascended(plan, network, part, network.ue_rate_sum[part])
        weight = allowed * _weighted(ascended, shift, plan.counted[part], mu1)
        beside = actions.rates_beside(served != SILENT)
        return np.asarray(_best_own(served, actions.association, weight * beside))

    def _ascended(self, plan: _Plan, network: Network, part: slice, realised: Floats) -> Floats:
        """(b, J) multipliers after the rates since the last solution, without projection."""
        config, length = network.config, network.config.episode_length
        left = (length - network.t) / (length - plan.solved)
        ahead = realised - plan.realised_then[part] * left
        factor = DEBT_WEIGHT / math.sqrt(length) * self._weights(config)[1] / config.n_ues
        ascended: Floats = plan.multiplier[part] - factor * ahead
        return ascended


def _weighted(
    ascended: Floats, shift: Floats, counted: NDArray[np.bool_], sum_weight: float
) -> Floats:
    """(b, J) mu1 + lambda_j, with the multipliers projected by a shift."""
    multiplier: Floats = np.maximum(ascended - shift[:, None], 0.0) * counted
    return sum_weight + multiplier


@compiled(nogil=True, error_model="numpy")
def _shift(point: Any, counted: Any, total: float) -> Any:
    """(B,) the s for which max(point - s, 0), summed over the counted users, is `total`.

    J. Duchi et al., "Efficient projections onto the l1-ball for learning in high dimensions",
    ICML 2008.
    """
    n_envs = point.shape[0]
    shift = np.zeros(n_envs)
    for b in range(n_envs):
        some = np.sort(point[b][counted[b]])[::-1]
        above = -total
        for n in range(some.size):
            if n > 0 and some[n] <= above / n:
                break
            above += some[n]
            shift[b] = above / (n + 1)
    return shift


@compiled(nogil=True, error_model="numpy")
def _best_own(served: Any, association: Any, value: Any) -> Any:
    """(B, I) the user of highest value of each AP that transmits, of values (B, J)."""
    chosen = served.copy()
    top = np.empty(served.shape[1])
    for b in range(served.shape[0]):
        top[:] = 0.0
        for j in range(association.shape[1]):
            i = association[b, j]
            if served[b, i] != SILENT and value[b, j] > top[i]:
                chosen[b, i], top[i] = j, value[b, j]
    return chosen
