"""What searches for a joint action of high weighted rate share: options, channel, links."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.scheduler import Baseline, Served
from rrm_env import SILENT, Network, PoweredDecision
from rrm_env.checks import bounded_number
from rrm_env.compiling import compiled
from rrm_env.power import Decision

CSI: dict[str, Callable[[Network], NDArray[np.float32]]] = {
    "reported": lambda network: network.reported_gain,
    "large_scale": lambda network: network.large_scale_gain,
    "present": lambda network: network.gain,
}
"""The channels on which a search can compute rates, by the value of its option ``csi``."""
MAX_EXPONENT = 10.0
MAX_ITERATIONS = 100_000
"""Most iterations of a search that repeats an update."""


class WeightedRate(Baseline):
    """A search for a joint action of candidates with a high sum_j w_j^lambda C_j (Eq. 15).

    It runs in a centre, to which each AP sends N (I + 1) numbers in every step, the weight of each
    candidate and its gains from all I APs, and from which it gets one back.

    Args:
        csi: the channel of the search: ``reported`` (`csi_delay` steps old), ``large_scale``
            (without fading, present) or ``present`` (the true channel of the step that is being
            decided). No AP knows the last one, so a scheduler with it is an oracle.
        exponent: lambda of the weights; None is the network's `fairness_exponent`. Larger ones
            favour the tail.
    """

    def __init__(self, csi: str = "reported", exponent: float | None = None) -> None:
        if csi not in tuple(CSI):  # a list has no hash
            raise ValueError(f"csi must be one of {', '.join(map(repr, CSI))}, got {csi!r}")
        self.csi = csi
        self.exponent = (
            None if exponent is None else bounded_number("exponent", exponent, 0, MAX_EXPONENT)
        )

    def schedule(self, network: Network) -> Decision:
        """(B, I) the candidate that the search chooses for each AP, or `SILENT`.

        A search over power levels returns a `PoweredDecision`. The others compute rates at
        `tx_power_dbm`, whatever the levels are.
        """
        known = self._known(network)
        powered = self._best_at_levels(*known, np.array(network.config.relative_powers))
        return self._best(*known) if powered is None else powered

    def _known(self, network: Network) -> tuple[Any, Any, Any, float]:
        """What a search knows: candidates, gains, average rates and the weights' exponent."""
        exponent = network.config.fairness_exponent if self.exponent is None else self.exponent
        return network.candidates, CSI[self.csi](network), network.average_rate, exponent

    def _best_at_levels(
        self,
        candidates: Any,  # noqa: ARG002 - of searches that choose powers
        gain: Any,  # noqa: ARG002
        average_rate: Any,  # noqa: ARG002
        exponent: float,  # noqa: ARG002
        powers: Any,  # noqa: ARG002
    ) -> PoweredDecision | None:
        """Like `_best`, with powers (L,) of the levels, relative to that of the gains.

        It is None where the search chooses no powers.
        """
        return None

    @abstractmethod
    def _best(self, candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Served:
        """(B, I) the users served, of candidates (B, I, N), gain (B, I, J), average (B, J)."""


@compiled(nogil=True, error_model="numpy")
def links(candidates: Any, gain: Any, average_rate: Any, exponent: float) -> Any:
    """Weights and gains of the links between APs and candidates.

    Returns:
        weight (B, I, N), w^lambda of each candidate, and received (B, I, I, N), where [b, k, i, s]
        is the gain from AP k at candidate s of AP i; both are 0 where the candidate is missing.
    """
    n_envs, n_aps, n = candidates.shape
    weight = np.zeros((n_envs, n_aps, n))
    received = np.zeros((n_envs, n_aps, n_aps, n))
    for b in range(n_envs):
        for i in range(n_aps):
            for s in range(n):
                ue = candidates[b, i, s]
                if ue != SILENT:
                    weight[b, i, s] = float(average_rate[b, ue]) ** -exponent
                    for k in range(n_aps):
                        received[b, k, i, s] = gain[b, k, ue]
    return weight, received
