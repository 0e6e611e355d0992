"""What can be read from a network in an episode."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import kernels, metrics
from rrm_env.config import TURNS, RRMConfig
from rrm_env.propagation_source import PropagationSource
from rrm_env.state import Parameters, PowerLevels, State, Waves


class Readings:
    """The part of `rrm_env.Network` that is read; arrays are read-only views."""

    config: RRMConfig
    num_envs: int
    _state: State
    _views: State
    _parameters: Parameters
    _waves: Waves | None
    _levels: PowerLevels | None
    _placed: PropagationSource | None
    _seeds: NDArray[np.uint64]
    _t: int | None

    @property
    def t(self) -> int:
        """Steps done in the present episodes."""
        return self._require_reset()

    @property
    def done(self) -> bool:
        """Whether the episodes have run all their `episode_length` steps."""
        return self._require_reset() >= self.config.episode_length

    @property
    def seeds(self) -> NDArray[np.uint64]:
        """(B,) the seed of each episode."""
        return _read_only(self._seeds)

    @property
    def ap_positions(self) -> NDArray[np.float64]:
        """(B, I, 2) positions of the APs, metres; NaN where a trace has none."""
        return self._episodes.ap_positions

    @property
    def ue_positions(self) -> NDArray[np.float64]:
        """(B, J, 2) positions of the UEs at step t, metres; NaN where a trace has none."""
        return self._episodes.ue_positions.swapaxes(1, 2)

    @property
    def association(self) -> NDArray[np.int32]:
        """(B, J) the AP of each UE, fixed for the episode (Eq. 5)."""
        return self._episodes.association

    @property
    def neighbours(self) -> NDArray[np.int32]:
        """(B, I, k) the APs that disturb each AP's UEs most, strongest first, -1 for none.

        Fixed for the episode. The strength of k at i is the sum over the UEs j of i of
        g_kj / (g_ij + g_kj + 1) with large-scale gains at t = 0; ties go to the lower index. k is
        `n_neighbours`, or 0 where no option needs neighbours (`RRMConfig.has_neighbours`).
        """
        return self._episodes.neighbours

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
        return self._episodes.reported_sinr

    @property
    def reported_rate(self) -> NDArray[np.float32]:
        """(B, J) log2(1 + `reported_sinr`), bit/s/Hz."""
        return self._episodes.reported_rate

    @property
    def average_rate(self) -> NDArray[np.float32]:
        """(B, J) long-term average C~ before step t, bit/s/Hz; the weight is 1 / C~ (Eq. 13)."""
        return self._episodes.average_rate

    @property
    def pf_ratio(self) -> NDArray[np.float32]:
        """(B, J) w^`pf_exponent` times reported rate; w times it by default (Eq. 14)."""
        return self._episodes.pf_ratio

    @property
    def candidates(self) -> NDArray[np.int32]:
        """(B, I, N) each AP's UEs of highest PF ratio, best first, -1 where it has fewer."""
        return self._episodes.candidates

    @property
    def action_mask(self) -> NDArray[np.int8]:
        """(B, I, N L + 1) 1 where the action is legal; silence always is."""
        return self._episodes.action_mask

    @property
    def observation(self) -> NDArray[np.float32]:
        """(B, I, F) log10 SINR, log10 weight and measurements of each candidate; then the rest.

        The rest are the neighbours' indices, the turn, the clock and messages, as far as options
        ask for them. F is `RRMConfig.n_features`.
        """
        return self._episodes.observation

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
        return self._episodes.ue_rate_sum

    @property
    def episode_infos(self) -> dict[str, NDArray[np.float64]]:
        """Copies of `metrics.episode_infos` (B, ...) once the episodes are over; empty before."""
        if not self.done:
            return {}
        return metrics.episode_infos(self.ue_rate_sum / self.config.episode_length, self.config)

    @property
    def silent_steps(self) -> NDArray[np.int64]:
        """(B,) AP-steps of the episode without a transmission."""
        return self._episodes.silent_steps

    @property
    def served(self) -> NDArray[np.int64]:
        """(B, I) the UE that each AP served in the last step, or `SILENT`.

        Before the first step it is `SILENT`.
        """
        return self._episodes.served

    @property
    def power_level(self) -> NDArray[np.int64]:
        """(B, I) the index of the power level of each AP in the last step, or `SILENT`.

        Before the first step it is `SILENT`.
        """
        if self._levels is None:
            return _read_only(np.where(self.served == kernels.SILENT, kernels.SILENT, 0))
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
        arrays = [*self._state, *(self._waves or ()), *(self._levels or ())]
        of_source = 0 if self._placed is None else self._placed.nbytes
        return (of_source + sum(int(array.nbytes) for array in arrays)) // self.num_envs

    @property
    def line_of_sight(self) -> NDArray[np.bool_] | None:
        """(B, I, J) which links have line of sight at step t; None with ``log_distance``."""
        self._require_reset()
        if self.config.propagation == "log_distance" or self._placed is None:
            return None
        return self._placed.line_of_sight.astype(np.bool_)

    @property
    def _episodes(self) -> State:
        """The read-only views, while there is an episode."""
        if self._t is None:
            self._require_reset()
        return self._views

    def _require_reset(self) -> int:
        if self._t is None:
            raise RuntimeError("the network has no episode: call reset() first")
        return self._t

    def _links(self, flat: NDArray[np.float32]) -> NDArray[np.float32]:
        return flat.reshape(self.num_envs, self.config.n_aps, self.config.n_ues)


def views_of(state: State) -> State:
    """Read-only views of the arrays of a state; making one takes as long as a kernel's call."""
    return State._make(_read_only(array) for array in state)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
