"""Episodes whose gains and rates a test writes down."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import RRMConfig

Floats = NDArray[np.float64]


class World:
    """Episodes whose gains and rates a test writes, read as a scheduler reads a `Network`."""

    def __init__(self, config: RRMConfig, gain: Floats, association: Any) -> None:
        self.config, self.large_scale_gain, self.t = config, gain, 0
        self.num_envs = len(gain)
        self.association = np.array(association, np.int32)
        self.ue_rate_sum = np.zeros(self.association.shape)

    def step(self, rates: Floats) -> None:
        """Add rates (B, J), and go to the next step."""
        self.ue_rate_sum = self.ue_rate_sum + rates
        self.t += 1
