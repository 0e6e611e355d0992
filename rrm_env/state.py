"""The arrays and parameters that the kernels work on.

`State` holds the arrays of B episodes, `PowerLevels` what networks with power levels have beside
it, `Parameters` the scalars of a configuration, and `allocate_scratch` makes the workspace of a
thread.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm_env import kernels
from rrm_env.config import (
    AVERAGES,
    CLOCKS,
    FADING_MODELS,
    MEASUREMENTS,
    REWARDS,
    SENDERS,
    TURNS,
    RRMConfig,
)


class Parameters(NamedTuple):
    """The scalars of a configuration that the kernels need; made once by `Network`."""

    n_aps: int
    n_ues: int
    n_candidates: int
    episode_length: int
    draw_width: int  # J rounded up: a vector of random numbers costs the same full or not
    side: float  # m
    min_ap_distance: float  # m
    min_ue_distance: float  # m
    step_length: float  # m
    link_budget_db: float  # received SNR at 1 m without shadowing
    shadowing_std_db: float
    half_slope: np.float32  # path loss exponent / 2: gain = (d^2) ** -half_slope
    fading: int
    doppler_turns: float  # f_D * step duration
    csi_delay: int
    rate_ema: np.float32
    average: int
    average_prior_steps: float
    min_average_rate: np.float32
    pf_exponent: np.float32
    fairness_exponent: np.float32
    lowest_log_weight: np.float32
    highest_log_weight: np.float32
    reward: int
    measurements: int
    n_neighbours: int  # 0 where no option needs them
    turns: int
    clock: int
    message_range: int
    candidate_features: int  # numbers per candidate
    message_features: int  # numbers per access point
    message_levels: np.float32  # 2^bits


class State(NamedTuple):
    """Arrays of B episodes.

    `gain_history` keeps the last `csi_delay + 1` channels: step t in slot t mod (csi_delay + 1).
    """

    key: NDArray[np.uint64]  # (B, 2) the two halves of the episode seed
    ap_positions: NDArray[np.float64]  # (B, I, 2) m
    ue_positions: NDArray[np.float64]  # (B, 2, J) m
    ue_velocity: NDArray[np.float64]  # (B, 2, J) m per step
    association: NDArray[np.int32]  # (B, J)
    neighbours: NDArray[np.int32]  # (B, I, k), -1 for none; k is 0 where no option needs them
    static_gain: NDArray[np.float32]  # (B, I * J) SNR at 1 m with shadowing, linear
    large_scale_gain: NDArray[np.float32]  # (B, I * J) SNR at step t without fading, linear
    wave_phase: NDArray[np.uint32]  # (B, waves, I * J) phase at t = 0 in 2^-32 turns
    wave_frequency: NDArray[np.uint32]  # (B, waves, I * J) phase per step in 2^-32 turns, mod 1
    wave_amplitude: NDArray[np.float32]  # (B, waves, I * J)
    gain_history: NDArray[np.float32]  # (csi_delay + 1, B, I * J) received power over noise, linear
    reported_sinr: NDArray[np.float32]  # (B, J) reference SINR of the report, linear
    reported_rate: NDArray[np.float32]  # (B, J) bit/s/Hz
    average_rate: NDArray[np.float32]  # (B, J) bit/s/Hz
    pf_ratio: NDArray[np.float32]  # (B, J)
    candidates: NDArray[np.int32]  # (B, I, N)
    action_mask: NDArray[np.int8]  # (B, I, N L + 1)
    observation: NDArray[np.float32]  # (B, I, `RRMConfig.n_features`)
    ue_rate_sum: NDArray[np.float64]  # (B, J) bit/s/Hz summed over the episode's steps
    silent_steps: NDArray[np.int64]  # (B,) AP-steps without a transmission
    served: NDArray[np.int64]  # (B, I) the UE that each AP served last


class PowerLevels(NamedTuple):
    """What only networks with power levels have beside their `State`."""

    power: NDArray[np.float32]  # (L,) of each level, relative to tx_power_dbm, linear
    chosen: NDArray[np.int64]  # (B, I) the level of each AP in the last step, -1 if silent
    power_sum: NDArray[np.float64]  # (B,) relative power summed over the episode's AP-steps


def parameters_of(c: RRMConfig) -> Parameters:
    """The parameters of a configuration."""
    highest_rate = math.log2(1 + 10 ** float(kernels.LOG10_SINR_MAX))
    return Parameters(
        n_aps=c.n_aps,
        n_ues=c.n_ues,
        n_candidates=c.n_candidates,
        episode_length=c.episode_length,
        draw_width=_up_to_fours(c.n_ues),
        side=c.area_side_m,
        min_ap_distance=c.min_ap_distance_m,
        min_ue_distance=c.min_ue_distance_m,
        step_length=c.step_length_m,
        link_budget_db=c.link_budget_db,
        shadowing_std_db=c.shadowing_std_db,
        half_slope=np.float32(c.path_loss_slope_db / 20),
        fading=FADING_MODELS.index(c.fading),
        doppler_turns=c.doppler_hz * c.step_duration_s,
        csi_delay=c.csi_delay,
        rate_ema=np.float32(c.rate_ema),
        average=AVERAGES.index(c.average),
        average_prior_steps=c.average_prior_steps,
        min_average_rate=np.float32(c.min_average_rate),
        pf_exponent=np.float32(c.pf_exponent),
        fairness_exponent=np.float32(c.fairness_exponent),
        lowest_log_weight=np.float32(-math.log10(highest_rate)),
        highest_log_weight=np.float32(-math.log10(c.min_average_rate)),
        reward=REWARDS.index(c.reward),
        measurements=MEASUREMENTS.index(c.measurements),
        n_neighbours=_neighbours_kept(c),
        turns=TURNS.index(c.turns),
        clock=CLOCKS.index(c.clock),
        message_range=SENDERS.index(c.message_range),
        candidate_features=c.n_candidate_features,
        message_features=c.n_message_features,
        message_levels=np.float32(2**c.message_bits),
    )


def allocate(c: RRMConfig, num_envs: int) -> State:
    """Zeroed arrays of `num_envs` episodes."""

    def zeros(kind: type, *shape: int) -> NDArray[Any]:
        return np.zeros((num_envs, *shape), kind)

    f32, f64, i32, n_links = np.float32, np.float64, np.int32, c.n_aps * c.n_ues
    waves = kernels.N_SINUSOIDS if c.fading == "jakes" else 0
    return State(
        key=zeros(np.uint64, 2),
        ap_positions=zeros(f64, c.n_aps, 2),
        ue_positions=zeros(f64, 2, c.n_ues),
        ue_velocity=zeros(f64, 2, c.n_ues),
        association=zeros(i32, c.n_ues),
        neighbours=zeros(i32, c.n_aps, _neighbours_kept(c)),
        static_gain=zeros(f32, n_links),
        large_scale_gain=zeros(f32, n_links),
        wave_phase=zeros(np.uint32, waves, n_links),
        wave_frequency=zeros(np.uint32, waves, n_links),
        wave_amplitude=zeros(f32, waves, n_links),
        gain_history=np.zeros((c.csi_delay + 1, num_envs, n_links), f32),
        reported_sinr=zeros(f32, c.n_ues),
        reported_rate=zeros(f32, c.n_ues),
        average_rate=zeros(f32, c.n_ues),
        pf_ratio=zeros(f32, c.n_ues),
        candidates=zeros(i32, c.n_aps, c.n_candidates),
        action_mask=zeros(np.int8, c.n_aps, c.n_actions),
        observation=zeros(f32, c.n_aps, c.n_features),
        ue_rate_sum=zeros(f64, c.n_ues),
        silent_steps=zeros(np.int64),
        served=zeros(np.int64, c.n_aps),
    )


def allocate_levels(c: RRMConfig, num_envs: int) -> PowerLevels | None:
    """The power levels of `num_envs` episodes; None where all transmissions have full power."""
    if c.full_power:
        return None
    return PowerLevels(
        power=np.array(c.relative_powers, np.float32),
        chosen=np.full((num_envs, c.n_aps), kernels.SILENT, np.int64),
        power_sum=np.zeros(num_envs),
    )


Scratch = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]


def allocate_scratch(c: RRMConfig) -> Scratch:
    """The workspace of a thread.

    It holds fading in whole generator blocks of four APs, two rows of one value per UE or one per
    link, the sort keys of all candidates, and for each AP one share of power and those of its
    neighbours.
    """
    return (
        _unshared(_up_to_fours(c.n_aps) * _up_to_fours(c.n_ues), np.float32),
        _unshared(max(c.n_aps, 2) * c.n_ues, np.float32),
        _unshared(c.n_aps * c.n_candidates, np.int64),
        _unshared(c.n_aps * (1 + _neighbours_kept(c)), np.float64),
    )


def _neighbours_kept(c: RRMConfig) -> int:
    """Neighbours of each AP that the state holds."""
    return c.n_neighbours if c.has_neighbours else 0


def _up_to_fours(count: int) -> int:
    return -(-count // 4) * 4


def _unshared(size: int, kind: type) -> NDArray[Any]:
    """An array with a cache line to spare at both ends.

    Two threads that write to one cache line slow each other by a tenth.
    """
    line = 64
    return np.zeros(size * np.dtype(kind).itemsize + 2 * line, np.uint8)[line:-line].view(kind)
