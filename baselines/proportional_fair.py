"""Proportional fair with full reuse."""

from __future__ import annotations

import numpy as np

from baselines.scheduler import Baseline, Served
from rrm_env import Network


class ProportionalFair(Baseline):
    """Each AP serves its UE of highest PF ratio, its first candidate; all APs transmit (Eqs. 13, 14).

    F. P. Kelly, A. K. Maulloo, D. K. H. Tan, "Rate control for communication networks", J. Oper. Res. Soc. 49 (1998).
    """

    def schedule(self, network: Network) -> Served:
        """(B, I) the first candidates; -1, an empty slot, is also `SILENT`."""
        return network.candidates[:, :, 0].astype(np.int64)
