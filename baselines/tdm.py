"""Time division: users take turns, at each access point or in the whole network."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.scheduler import Baseline, PerNetwork, Served
from rrm_env import SILENT, Network
from rrm_env.compiling import compiled


class TDM(Baseline):
    """Each AP serves all its UEs in turn: the one that has waited longest, ties to the lower index.

    This is round robin, the paper's TDM baseline. Where only candidates can be served, the rule
    applies to them.
    """

    @property
    def _last_served(self) -> PerNetwork[NDArray[np.int64]]:
        """The step in which each UE was served last.

        It is made on first use, since the constructor of a subclass need not call this class's.
        """
        past: PerNetwork[NDArray[np.int64]] = vars(self).setdefault(
            "_past", PerNetwork(type(self).__name__)
        )
        return past

    def reset(self, network: Network) -> None:
        """Forget who has been served."""
        self._last_served[network] = np.full((network.num_envs, network.config.n_ues), -1, np.int64)

    def schedule(self, network: Network) -> Served:
        """(B, I) the UE of each AP that has waited longest."""
        return self._take_turns(network, np.ones(network.association.shape, np.bool_))

    def schedule_candidates(self, network: Network) -> Served:
        """(B, I) the candidate of each AP that has waited longest."""
        ues = np.arange(network.config.n_ues)
        return self._take_turns(network, (network.candidates[..., None] == ues).any(axis=(1, 2)))

    def _take_turns(self, network: Network, eligible: NDArray[np.bool_]) -> Served:
        last_served, n_aps = self._last_served[network], network.config.n_aps
        served: Served = _longest_waiting(
            last_served, network.association, eligible, n_aps, network.t
        )
        return served


class NetworkTDM(TDM):
    """One UE at a time in the whole network, in turn, so that there is no interference.

    It is a point of reference that the paper does not have.
    """

    def _take_turns(self, network: Network, eligible: NDArray[np.bool_]) -> Served:
        """(B, I) `SILENT` except for the AP of the eligible UE that has waited longest."""
        one_group = np.zeros_like(network.association)
        # Read-only like `association`, so that both use the same compiled version.
        one_group.flags.writeable = False
        turn = _longest_waiting(self._last_served[network], one_group, eligible, 1, network.t)
        served = np.full((network.num_envs, network.config.n_aps), SILENT, np.int64)
        ap = np.take_along_axis(network.association, turn, axis=1).astype(np.int64)
        np.put_along_axis(served, ap, turn, axis=1)
        return served


@compiled(nogil=True)
def _longest_waiting(last_served: Any, group_of: Any, eligible: Any, n_groups: int, t: int) -> Any:
    """The eligible UE of each group that was served longest ago; it is marked as served at t."""
    n_envs, n_ues = last_served.shape
    served = np.full((n_envs, n_groups), SILENT, np.int64)
    for b in range(n_envs):
        for j in range(n_ues):
            group = group_of[b, j]
            held = served[b, group]
            if eligible[b, j] and (held == SILENT or last_served[b, j] < last_served[b, held]):
                served[b, group] = j
        for group in range(n_groups):
            if served[b, group] != SILENT:
                last_served[b, served[b, group]] = t
    return served
