"""Proportional fair scheduling with full reuse."""

from __future__ import annotations

import numpy as np

from baselines.scheduler import Baseline, Served
from rrm_env import Network


class ProportionalFair(Baseline):
    """Each AP serves its UE of highest PF ratio, so that all APs transmit (Eqs. 13, 14).

    F. P. Kelly, A. K. Maulloo, D. K. H. Tan, "Rate control for communication networks", J. Oper.
    Res. Soc. 49 (1998).
    """

    def schedule(self, network: Network) -> Served:
        """(B, I) the first candidate of each AP; an empty slot is -1, which is `SILENT`."""
        return network.candidates[:, :, 0].astype(np.int64)
