"""ITLinQ: links transmit together where treating interference as noise is near-optimal."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.scheduler import Baseline, Served
from rrm_env import SILENT, Network
from rrm_env.checks import bounded_number
from rrm_env.compiling import compiled


class ITLinQ(Baseline):
    """Information-theoretic link scheduling, in the order of PF ratios.

    APs join one after the other, in descending order of their best PF ratio, and each proposes its
    candidates in PF order. A candidate passes if the largest interference-to-noise ratio, both at
    this candidate from APs already active and from its AP at the UEs that they serve, is at most
    M * SNR^exponent on the reported channel. The first AP always transmits; an AP without a passing
    candidate is silent.

    N. Naderializadeh, A. S. Avestimehr, "ITLinQ: A new approach for spectrum sharing in
    device-to-device communication systems", IEEE J. Sel. Areas Commun. 32 (2014); with PF order as
    in the paper's reference [24].

    Args:
        tolerance_db: M in dB, -1000 ... 1000.
        exponent: exponent of the SNR, 0 ... 1.
    """

    def __init__(self, tolerance_db: float = 25.0, exponent: float = 0.5) -> None:
        self.tolerance_db = bounded_number("tolerance_db", tolerance_db, -1000, 1000)
        self.exponent = bounded_number("exponent", exponent, 0, 1)

    def schedule(self, network: Network) -> Served:
        """(B, I) the UE of each AP's link that may coexist with the others, or `SILENT`."""
        tolerance = 10 ** (self.tolerance_db / 10)
        served: Served = _coexisting(
            network.candidates, network.pf_ratio, network.reported_gain, tolerance, self.exponent
        )
        return served


@compiled(nogil=True)
def _coexisting(
    candidates: Any, pf_ratio: Any, gain: Any, tolerance: float, exponent: float
) -> Any:
    n_envs, n_aps, n = candidates.shape
    served = np.full((n_envs, n_aps), SILENT, np.int64)
    for b in range(n_envs):
        best_ratio = np.full(n_aps, -1.0)
        for i in range(n_aps):
            if candidates[b, i, 0] != SILENT:
                best_ratio[i] = pf_ratio[b, candidates[b, i, 0]]
        for i in np.argsort(-best_ratio, kind="mergesort"):  # stable: ties to lower APs
            for slot in range(n):
                ue = candidates[b, i, slot]
                if ue == SILENT:
                    break
                strongest = 0.0
                for k in range(n_aps):
                    if served[b, k] != SILENT:
                        strongest = max(strongest, gain[b, k, ue], gain[b, i, served[b, k]])
                if strongest <= tolerance * gain[b, i, ue] ** exponent:
                    served[b, i] = ue
                    break
    return served
