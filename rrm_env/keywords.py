"""The fields of `RRMConfig` as keyword arguments that editors and type checkers know."""

from __future__ import annotations

import sys
from typing import Any, TypedDict

from rrm_env.fields import Numbers, Positions

if sys.version_info >= (3, 11):
    from typing import Unpack
else:
    from typing_extensions import Unpack  # which gymnasium brings

__all__ = ["ConfigFields", "Unpack"]


class ConfigFields(TypedDict, total=False):
    """Some fields of `RRMConfig`, for functions that take ``**fields: Unpack[ConfigFields]``.

    A static type cannot be derived from the dataclass, so a test compares the two.
    """

    n_aps: int
    n_ues: int
    n_candidates: int
    episode_length: int
    area_side_m: float
    min_ap_distance_m: float
    min_ue_distance_m: float
    ue_speed_mps: float
    step_duration_s: float
    carrier_hz: float
    tx_power_dbm: float
    noise_psd_dbm_hz: float
    bandwidth_hz: float
    noise_figure_db: float
    path_loss_intercept_db: float
    path_loss_slope_db: float
    wall_loss_db: float
    shadowing_std_db: float
    fading: str
    csi_delay: int
    rate_ema: float
    average: str
    average_prior_steps: float
    min_average_rate: float
    pf_exponent: float
    fairness_exponent: float
    reward: str
    measurements: str
    n_neighbours: int
    turns: str
    clock: str
    messages: str
    message_range: str
    message_bits: int
    score_sum_weight: float | None
    score_tail_weight: float
    power_levels_dbm: Numbers | None
    propagation: str
    los: str
    ap_height_m: float | None
    ue_height_m: float | None
    ap_deployment: str
    inter_site_distance_m: float | None
    wrap_around: str
    ue_deployment: str
    n_hot_spots: int
    hot_spot_radius_m: float
    hot_spot_share: float
    ap_positions: Positions | None
    ue_positions: Positions | None
    association: str
    given_association: tuple[Any, ...] | None
    association_bias_db: Numbers | None
    trace: str | None
    trace_checksum: str | None
    trace_split: str
