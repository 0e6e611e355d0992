"""What the kernels work on: the arrays of B episodes, and the scalars a configuration boils down to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Parameters(NamedTuple):
    """What the kernels need of a configuration; built once by `Network`."""

    n_aps: int
    n_ues: int
    n_candidates: int
    draw_width: int  # UEs rounded up: the generator's last vector costs the same full or not
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
    min_average_rate: np.float32
    fairness_exponent: np.float32
    lowest_log_weight: np.float32
    highest_log_weight: np.float32
    reward: int
    turns: int
    message_features: int  # numbers per access point
    message_levels: np.float32  # 2^bits


class State(NamedTuple):
    """Arrays of B episodes. `gain_history` keeps the last `csi_delay + 1` channels, step t in slot t mod (csi_delay + 1)."""

    key: NDArray[np.uint64]  # (B, 2) the two halves of the episode seed
    ap_positions: NDArray[np.float64]  # (B, I, 2) m
    ue_positions: NDArray[np.float64]  # (B, 2, J) m
    ue_velocity: NDArray[np.float64]  # (B, 2, J) m per step
    association: NDArray[np.int32]  # (B, J)
    static_gain: NDArray[np.float32]  # (B, I * J) SNR at 1 m with shadowing, linear
    large_scale_gain: NDArray[np.float32]  # (B, I * J) SNR without fading at the present positions, linear
    wave_phase: NDArray[np.uint32]  # (B, waves, I * J) phase at t = 0 in 2^-32 turns
    wave_frequency: NDArray[np.uint32]  # (B, waves, I * J) phase advance per step in 2^-32 turns, modulo one turn
    wave_amplitude: NDArray[np.float32]  # (B, waves, I * J)
    gain_history: NDArray[np.float32]  # (csi_delay + 1, B, I * J) received power over noise, linear
    reported_sinr: NDArray[np.float32]  # (B, J) reference SINR of the report, linear
    reported_rate: NDArray[np.float32]  # (B, J) bit/s/Hz
    average_rate: NDArray[np.float32]  # (B, J) bit/s/Hz
    pf_ratio: NDArray[np.float32]  # (B, J)
    candidates: NDArray[np.int32]  # (B, I, N)
    action_mask: NDArray[np.int8]  # (B, I, N + 1)
    observation: NDArray[np.float32]  # (B, I, 2 N), with a turn and messages where configured
    ue_rate_sum: NDArray[np.float64]  # (B, J) bit/s/Hz summed over the episode's steps
    silent_steps: NDArray[np.int64]  # (B,) AP-steps without a transmission
