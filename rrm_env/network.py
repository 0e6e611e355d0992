"""The network as arrays, B episodes at once.

`Network` checks its input, owns the state and is the only caller of the kernels.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env import kernels, metrics
from rrm_env.checks import as_integer, bounded_integer
from rrm_env.config import TURNS, RRMConfig
from rrm_env.places import Given, given_at_reset, refuse_deployment
from rrm_env.power import PoweredDecision
from rrm_env.propagation_source import PropagationSource
from rrm_env.source import Source, source_of
from rrm_env.state import (
    PowerLevels,
    State,
    allocate,
    allocate_levels,
    allocate_scratch,
    association_bias_of,
    parameters_of,
)
from rrm_env.threads import Threads

SILENT = kernels.SILENT
"""The entry of ``served`` for an access point that does not transmit."""

EVALUATION_SEEDS = 2**62
"""First episode seed of `rrm_env.evaluate`, whose seeds reach to 2^63 - 1.

Training uses 0 ... 2^62 - 1 and never meets them.
"""

_INT64 = np.dtype(np.int64)
_OWN: tuple[Literal["WRITEABLE", "ALIGNED"], ...] = ("WRITEABLE", "ALIGNED")


class Network:
    """Downlink of I access points and J users on one channel, B episodes side by side.

    Args:
        config: the network; the preset ``paper`` where None.
        num_envs: B, episodes simulated at once. They share the step counter `t`.
        num_threads: threads that share the B episodes; results do not depend on it.

    The channel of an episode (deployment, motion, fading) is a function of configuration and
    episode seed alone: not of what is served, nor of B, the slot or the number of threads. Arrays
    read from a network are read-only views that the next step overwrites; copy what you keep. A
    network belongs to one thread at a time: while one thread is in a step or reset, those of others
    are refused (RuntimeError).

    Raises:
        TypeError, ValueError: an argument of another type or out of range.
    """

    def __init__(
        self, config: RRMConfig | None = None, num_envs: int = 1, num_threads: int = 1
    ) -> None:
        self.config = RRMConfig() if config is None else config
        if not isinstance(self.config, RRMConfig):
            raise TypeError(f"config must be an RRMConfig, got {config!r}")
        self.num_envs = bounded_integer("num_envs", num_envs)
        self.num_threads = min(bounded_integer("num_threads", num_threads), self.num_envs)
        self._parameters = parameters_of(self.config)
        self._association_bias = association_bias_of(self.config)
        self._highest_action = self.config.n_actions - 1
        self._state = allocate(self.config, self.num_envs)
        self._levels = allocate_levels(self.config, self.num_envs)
        self._seeds = np.zeros(self.num_envs, np.uint64)
        self._scratch = [allocate_scratch(self.config) for _ in range(self.num_threads)]
        self._threads = Threads(self.num_threads)
        self._configured = source_of(self.config, self.num_envs)
        self._placed = self._configured if isinstance(self._configured, PropagationSource) else None
        self._source = self._configured
        self._t: int | None = None
        self._seeded = False

    # --- Episodes ---

    def reset(
        self,
        seed: int | Sequence[int] | NDArray[Any] | None = None,
        *,
        ap_positions: ArrayLike | None = None,
        ue_positions: ArrayLike | None = None,
        association: ArrayLike | None = None,
    ) -> None:
        """Start B episodes.

        Args:
            seed: an int s gives slot k the seed s + k; B ints give each slot its own. None
                continues each slot's chain, in which the next seed is drawn from the present one;
                at the first reset it is drawn from the operating system.
            ap_positions: (I, 2) or (B, I, 2) metres, where the access points of these episodes are.
            ue_positions: (J, 2) or (B, J, 2) metres, where users start; they walk as always.
            association: (J,) or (B, J) integers, the access point of each user.

        What is given holds for these episodes; the next reset starts from the configuration again.
        What is not given is drawn as the configuration says, with the same numbers as without it.
        Given positions must lie in the square; they may be closer than the least distances.

        Raises:
            TypeError, ValueError: no integers, not B of them, or outside 0 ... 2^63 - 1; positions
                or associations of another type or shape, outside the square, or of no access point.
            DeploymentError: no position was found that obeys `min_ap_distance_m` and
                `min_ue_distance_m`.
        """
        given = given_at_reset(self.config, self.num_envs, ap_positions, ue_positions, association)
        source = self._source_with(given)
        if seed is None and self._seeded:
            kernels.successor_seeds(self._seeds, self._state.key)
        else:
            self._seeds[:] = self._random_seeds() if seed is None else self._given_seeds(seed)
        self._state.key[:, 0] = self._seeds & np.uint64(0xFFFFFFFF)
        self._state.key[:, 1] = self._seeds >> np.uint64(32)
        self._seeded, self._t, self._source = True, None, source

        def job(thread: int, start: int, stop: int) -> tuple[int, int, int]:
            if source is not None:
                source.reset(self._state, self._seeds, start, stop)
            failed: tuple[int, int, int] = kernels.reset_episodes(
                self._state,
                self._parameters,
                self._association_bias,
                self._scratch[thread],
                start,
                stop,
            )
            return failed

        if self._levels is not None:
            self._levels.chosen[:], self._levels.power_sum[:] = SILENT, 0.0
        for slot, ap, ue in self._threads.run(job, self.num_envs):
            refuse_deployment(self.config, int(self._seeds[slot]), ap, -1, ue)
        if self._levels is not None:
            self._mask_levels(self._levels)
        self._t = 0

    def step(
        self, served: ArrayLike | PoweredDecision
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Transmit for one step, then move on to the next channel and its reports.

        Args:
            served: (B, I) integers, the UE each AP serves, one of its own, or `SILENT`, at the
                level of highest power; or a `PoweredDecision`, which names the levels too.

        Returns:
            rates (B, J) of this step in bit/s/Hz, 0 for UEs not served, and the shared reward (B,),
            by default sum_j w_j^lambda C_j (Eq. 16); see `RRMConfig.reward`.

        Raises:
            RuntimeError: before `reset`, or after the episode's last step.
            TypeError, ValueError: another type or shape, a UE of another AP, or no such level.
        """
        self._require_running()
        levels = None
        if isinstance(served, PoweredDecision):
            served, levels = served
        chosen = self._integers("served", served)
        flat = kernels.first_foreign(chosen, self._state.association)
        if flat >= 0:
            slot, ap = divmod(flat, self.config.n_aps)
            own = np.flatnonzero(self._state.association[slot] == ap).tolist()
            raise ValueError(
                f"served[{slot}, {ap}] = {chosen[slot, ap]} is not a UE of AP {ap}; "
                f"allowed: {SILENT} (silent), {own}. Actions go to step_actions, and "
                "rrm_env.from_actions makes a scheduler of a policy that emits them"
            )
        if levels is not None:
            levels = self._checked_levels(levels, chosen)
        return self._advance(chosen, kernels.USERS, levels)

    def step_actions(self, actions: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Like `step`, from (B, I) actions: a < N L is candidate a // L at level a % L.

        L is the number of power levels, 1 by default. N L is silence, and so is a missing
        candidate.
        """
        self._require_running()
        return self._advance(self.checked_actions(actions), kernels.ACTIONS)

    def checked_actions(self, actions: ArrayLike) -> NDArray[np.int64]:
        """(B, I) actions as int64, as `step_actions` takes them.

        Raises:
            TypeError, ValueError: another type or shape, or out of range.
        """
        chosen = self._integers("actions", actions)
        highest = self._highest_action
        flat = kernels.first_out_of_range(chosen, highest)
        if flat >= 0:
            slot, ap = divmod(flat, self.config.n_aps)
            raise ValueError(
                f"actions[{slot}, {ap}] = {chosen[slot, ap]} is out of range; "
                f"allowed: 0 to {highest}"
            )
        return chosen

    def uniform(self, n: int, stream: int = 0) -> NDArray[np.float32]:
        """(B, n) uniform numbers on (0, 1) for policies that randomise.

        They are a function of episode seed, step and `stream` alone.

        Raises:
            TypeError, ValueError: ``n`` is no integer of at least 0, or ``stream`` is none from 0
                to 2^32 - 1.
        """
        self._require_reset()
        n = bounded_integer("n", n, lowest=0)
        stream = bounded_integer("stream", stream, 2**32 - 1, lowest=0)
        out = np.empty((self.num_envs, n), np.float32)
        kernels.policy_uniforms(out, self._state.key, self.t, stream)
        return out

    # --- What can be read ---

    @property
    def t(self) -> int:
        """Steps done in the present episodes."""
        return self._require_reset()

    @property
    def done(self) -> bool:
        """Whether the episodes have run all their `episode_length` steps."""
        return self.t >= self.config.episode_length

    @property
    def seeds(self) -> NDArray[np.uint64]:
        """(B,) the seed of each episode."""
        return _read_only(self._seeds)

    @property
    def ap_positions(self) -> NDArray[np.float64]:
        """(B, I, 2) positions of the APs, metres; NaN where a trace has none."""
        return _read_only(self._episodes.ap_positions)

    @property
    def ue_positions(self) -> NDArray[np.float64]:
        """(B, J, 2) positions of the UEs at step t, metres; NaN where a trace has none."""
        return _read_only(self._episodes.ue_positions.swapaxes(1, 2))

    @property
    def association(self) -> NDArray[np.int32]:
        """(B, J) the AP of each UE, fixed for the episode (Eq. 5)."""
        return _read_only(self._episodes.association)

    @property
    def neighbours(self) -> NDArray[np.int32]:
        """(B, I, k) the APs that disturb each AP's UEs most, strongest first, -1 for none.

        Fixed for the episode. The strength of k at i is the sum over the UEs j of i of
        g_kj / (g_ij + g_kj + 1) with large-scale gains at t = 0; ties go to the lower index. k is
        `n_neighbours`, or 0 where no option needs neighbours (`RRMConfig.has_neighbours`).
        """
        return _read_only(self._episodes.neighbours)

    @property
    def gain(self) -> NDArray[np.float32]:
        """(B, I, J) received power over noise on the true channel of step t, linear."""
        return self._links(self._episodes.gain_history[self.t % (self.config.csi_delay + 1)])

    @property
    def reported_gain(self) -> NDArray[np.float32]:
        """(B, I, J) the channel of step t - `csi_delay`, which decisions at step t know, linear."""
        delay = self.config.csi_delay
        return self._links(self._episodes.gain_history[(self.t - delay) % (delay + 1)])

    @property
    def recent_gains(self) -> NDArray[np.float32]:
        """(csi_delay + 1, B, I, J) a copy of the channels of the steps t - `csi_delay` to t."""
        kept = self.config.csi_delay + 1
        rows = [(self.t - age) % kept for age in range(kept - 1, -1, -1)]
        recent = self._episodes.gain_history[rows]
        shape = kept, self.num_envs, self.config.n_aps, self.config.n_ues
        return _read_only(recent.reshape(shape))

    @property
    def large_scale_gain(self) -> NDArray[np.float32]:
        """(B, I, J) received power over noise at step t without fading, linear (Eq. 4)."""
        return self._links(self._episodes.large_scale_gain)

    @property
    def reported_sinr(self) -> NDArray[np.float32]:
        """(B, J) reference SINR of the report, all APs transmitting, linear."""
        return _read_only(self._episodes.reported_sinr)

    @property
    def reported_rate(self) -> NDArray[np.float32]:
        """(B, J) log2(1 + `reported_sinr`), bit/s/Hz."""
        return _read_only(self._episodes.reported_rate)

    @property
    def average_rate(self) -> NDArray[np.float32]:
        """(B, J) long-term average C~ before step t, bit/s/Hz; the weight is 1 / C~ (Eq. 13)."""
        return _read_only(self._episodes.average_rate)

    @property
    def pf_ratio(self) -> NDArray[np.float32]:
        """(B, J) w^`pf_exponent` times reported rate; w times it by default (Eq. 14)."""
        return _read_only(self._episodes.pf_ratio)

    @property
    def candidates(self) -> NDArray[np.int32]:
        """(B, I, N) each AP's UEs of highest PF ratio, best first, -1 where it has fewer."""
        return _read_only(self._episodes.candidates)

    @property
    def action_mask(self) -> NDArray[np.int8]:
        """(B, I, N L + 1) 1 where the action is legal; silence always is."""
        return _read_only(self._episodes.action_mask)

    @property
    def observation(self) -> NDArray[np.float32]:
        """(B, I, F) log10 SINR, log10 weight and measurements of each candidate; then the rest.

        The rest are the neighbours' indices, the turn, the clock and messages, as far as options
        ask for them. F is `RRMConfig.n_features`.
        """
        return _read_only(self._episodes.observation)

    def turn(self, turns: str) -> NDArray[np.int64]:
        """(B,) the AP whose turn step t is.

        Args:
            turns: the rotation, ``equal`` or ``by_load`` (`RRMConfig.turns`).

        Raises:
            ValueError: another rotation.
        """
        if turns not in TURNS[1:]:
            raise ValueError(f"turns must be one of {', '.join(TURNS[1:])}, got {turns!r}")
        holders = np.empty(self.num_envs, np.int64)
        kernels.turn_holders(
            holders, self._episodes.association, self.config.n_aps, self.t, TURNS.index(turns)
        )
        return holders

    @property
    def ue_rate_sum(self) -> NDArray[np.float64]:
        """(B, J) rates summed over the steps done, bit/s/Hz."""
        return _read_only(self._episodes.ue_rate_sum)

    @property
    def episode_infos(self) -> dict[str, NDArray[np.float64]]:
        """Copies of `metrics.episode_infos` (B, ...) once the episodes are over; empty before."""
        if not self.done:
            return {}
        return metrics.episode_infos(self.ue_rate_sum / self.config.episode_length, self.config)

    @property
    def silent_steps(self) -> NDArray[np.int64]:
        """(B,) AP-steps of the episode without a transmission."""
        return _read_only(self._episodes.silent_steps)

    @property
    def served(self) -> NDArray[np.int64]:
        """(B, I) the UE that each AP served in the last step, or `SILENT`.

        Before the first step it is `SILENT`.
        """
        return _read_only(self._episodes.served)

    @property
    def power_level(self) -> NDArray[np.int64]:
        """(B, I) the index of the power level of each AP in the last step, or `SILENT`.

        Before the first step it is `SILENT`.
        """
        if self._levels is None:
            return _read_only(np.where(self.served == SILENT, SILENT, 0))
        self._require_reset()
        return _read_only(self._levels.chosen)

    @property
    def power_sum(self) -> NDArray[np.float64]:
        """(B,) power over `tx_power_dbm`, linear, summed over the AP-steps of the episode."""
        if self._levels is None:
            return _read_only(float(self.config.n_aps * self.t) - self.silent_steps)
        self._require_reset()
        return _read_only(self._levels.power_sum)

    @property
    def observation_bounds(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The lowest and the highest value of each feature of an observation, both (F,)."""
        c, ranges = self.config, kernels.MESSAGE_RANGES
        candidate = (
            (kernels.LOG10_SINR_MIN, kernels.LOG10_SINR_MAX),
            (self._parameters.lowest_log_weight, self._parameters.highest_log_weight),
            *((kernels.LOG10_SINR_MIN, kernels.LOG10_SINR_MAX),) * (c.n_candidate_features - 2),
        )
        message = *ranges[:2], *ranges[2:] * (c.n_candidate_features - 2)
        messages = message * (c.n_messages * c.n_message_features // c.n_candidate_features)
        indices = ((-1, c.n_aps - 1),) * (c.n_neighbours * (c.measurements == "neighbours"))
        shares = ((0, 1),) * ((c.turns != "none") + (c.clock != "none"))
        bounds = [*candidate * c.n_candidates, *indices, *shares, *messages]
        low, high = np.array(bounds, np.float32).T.copy()
        return low, high

    @property
    def bytes_per_episode(self) -> int:
        """Bytes of state held per episode slot."""
        arrays = [*self._state, *(self._levels or ())]
        of_source = 0 if self._placed is None else self._placed.nbytes
        return (of_source + sum(int(array.nbytes) for array in arrays)) // self.num_envs

    @property
    def line_of_sight(self) -> NDArray[np.bool_] | None:
        """(B, I, J) which links have line of sight at step t; None with ``log_distance``."""
        self._require_reset()
        if self.config.propagation == "log_distance" or self._placed is None:
            return None
        return self._placed.line_of_sight.astype(np.bool_)

    # --- Private ---

    def __setstate__(self, values: dict[str, Any]) -> None:
        """Copy arrays that unpickling leaves in read-only memory, as Ray's does."""
        vars(self).update(values)
        self._state = State._make(np.require(array, None, _OWN) for array in self._state)
        self._association_bias = np.require(self._association_bias, None, _OWN)
        self._seeds = np.require(self._seeds, None, _OWN)
        if self._levels is not None:
            self._levels = PowerLevels._make(
                np.require(array, None, _OWN) for array in self._levels
            )
        self._scratch = [allocate_scratch(self.config) for _ in range(self.num_threads)]

    @property
    def _episodes(self) -> State:
        self._require_reset()
        return self._state

    def _advance(
        self, chosen: NDArray[np.int64], decision: int, levels: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        state, parameters, t = self._state, self._parameters, self.t
        rates = np.empty((self.num_envs, self.config.n_ues), np.float32)
        reward = np.empty(self.num_envs, np.float32)

        def job(thread: int, start: int, stop: int) -> None:
            scratch = self._scratch[thread]
            if self._source is not None:
                self._source.advance(state, t + 1, start, stop)
            kernels.step_episodes(
                state, parameters, scratch, chosen, decision, rates, reward, t, start, stop
            )

        self._t = None  # an interrupted step leaves no episode that could go on
        if self._levels is not None:
            self._transmit_at_levels(self._levels, chosen, decision, levels, rates, t)
            decision = kernels.TRANSMITTED
        self._threads.run(job, self.num_envs)
        if self._levels is not None:
            self._mask_levels(self._levels)
        self._t = t + 1
        return rates, reward

    def _transmit_at_levels(
        self,
        powers: PowerLevels,
        chosen: NDArray[np.int64],
        decision: int,
        levels: NDArray[np.int64] | None,
        rates: NDArray[np.float32],
        t: int,
    ) -> None:
        """Write who is served at which level, and the rates, of step t."""
        state = self._state
        gain = state.gain_history[t % (self.config.csi_delay + 1)]
        if decision == kernels.USERS:
            powers.chosen[:] = self.config.highest_level if levels is None else levels

        def job(thread: int, start: int, stop: int) -> None:  # noqa: ARG001 - as all jobs have it
            kernels.transmit_at_levels(
                state.served,
                state.candidates,
                gain,
                *powers,
                chosen,
                decision,
                rates,
                start,
                stop,
            )

        self._threads.run(job, self.num_envs)

    def _mask_levels(self, powers: PowerLevels) -> None:
        """Write the masks of a network whose actions have levels."""
        action_mask, candidates, n_levels = (
            self._state.action_mask,
            self._state.candidates,
            powers.power.size,
        )

        def job(thread: int, start: int, stop: int) -> None:  # noqa: ARG001 - as all jobs have it
            kernels.mask_levels(action_mask, candidates, n_levels, start, stop)

        self._threads.run(job, self.num_envs)

    def _source_with(self, given: Given | None) -> Source | None:
        """The source of the next episodes; the parameters are made to fit it."""
        source, has_association = self._configured, self.config.association == "given"
        if given is not None and self._placed is None:
            self._placed = PropagationSource(self.config, self.num_envs)
        if self._placed is not None:
            self._placed.give(given)
            source = self._configured if given is None else self._placed
        if isinstance(source, PropagationSource):
            has_association = source.gives_association
        channel = kernels.GENERATED if source is None else kernels.GIVEN
        if (channel, has_association) != (self._parameters.channel, self._parameters.association):
            self._parameters = self._parameters._replace(
                channel=channel, association=int(has_association)
            )
        return source

    def _require_reset(self) -> int:
        if self._t is None:
            raise RuntimeError("the network has no episode: call reset() first")
        return self._t

    def _require_running(self) -> None:
        if self._require_reset() >= self.config.episode_length:
            raise RuntimeError(
                f"the episode is over after episode_length = {self.config.episode_length} steps: "
                "call reset()"
            )

    def _links(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        return _read_only(flat.reshape(self.num_envs, self.config.n_aps, self.config.n_ues))

    def _integers(self, name: str, values: ArrayLike) -> NDArray[np.int64]:
        shape = self.num_envs, self.config.n_aps
        try:
            array = np.asarray(values)
        except ValueError:  # rows of unequal length
            raise _wrong_shape(name, shape, repr(values)) from None
        if array.shape != shape:
            raise _wrong_shape(name, shape, str(array.shape))
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
        # As int64, larger numbers would wrap round to negative ones.
        if array.dtype.kind == "u" and array.max() >= 2**63:
            slot, ap = np.argwhere(array >= 2**63)[0]
            highest = {"actions": self.config.n_actions, "level": self.config.n_power_levels}.get(
                name, self.config.n_ues
            ) - 1
            raise ValueError(
                f"{name}[{slot}, {ap}] = {array[slot, ap]} is out of range; allowed: 0 to {highest}"
            )
        # numba compiles a kernel again for read-only or unaligned memory, which
        # `np.ascontiguousarray` would keep.
        ready = array.flags.carray and array.dtype == _INT64
        return array if ready else np.array(array, _INT64, order="C")

    def _checked_levels(self, level: ArrayLike, served: NDArray[np.int64]) -> NDArray[np.int64]:
        """The levels of a decision, checked where an AP transmits; 0 elsewhere."""
        levels = np.where(served == SILENT, 0, self._integers("level", level))
        flat = kernels.first_out_of_range(levels, self.config.n_power_levels - 1)
        if flat >= 0:
            slot, ap = divmod(flat, self.config.n_aps)
            raise ValueError(
                f"level[{slot}, {ap}] = {levels[slot, ap]} is no power level; "
                f"allowed: 0 to {self.config.n_power_levels - 1}"
            )
        return levels

    def _random_seeds(self) -> NDArray[np.uint64]:
        first = secrets.randbelow(EVALUATION_SEEDS - self.num_envs)
        return np.arange(first, first + self.num_envs, dtype=np.uint64)

    def _given_seeds(self, seed: int | Sequence[int] | NDArray[Any]) -> NDArray[np.uint64]:
        allowed = f"an int, or {self.num_envs} ints, from 0 to 2^63 - 1"
        first = as_integer(seed)
        if first is not None:
            seeds = [first + k for k in range(self.num_envs)]
        else:
            array = np.asarray(seed)
            if array.dtype.kind not in "iu":
                raise TypeError(f"seed must be {allowed}, got {seed!r}")
            if array.shape != (self.num_envs,):
                raise ValueError(f"seed must be {allowed}, got an array of shape {array.shape}")
            seeds = [int(s) for s in array]
        if min(seeds) < 0 or max(seeds) >= 2**63:
            wrong = min(seeds) if min(seeds) < 0 else max(seeds)
            raise ValueError(f"seed must be {allowed}, got {wrong}")
        return np.array(seeds, np.uint64)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _wrong_shape(name: str, shape: tuple[int, int], found: str) -> ValueError:
    return ValueError(f"{name} must have shape (num_envs, n_aps) = {shape}, got {found}")
