"""Gains as a policy for networks of any size sees them: of each user, its AP and K neighbours."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm_env import Network, kernels
from rrm_env.compiling import compiled, plain


class Links(NamedTuple):
    """The links of B episodes that matter: those from a user's AP and from this AP's neighbours.

    Gains are received powers over noise without fading, linear. Padding may fill places of users,
    as where an observation has room for more candidates than an AP has users.
    """

    own: NDArray[np.float32]
    """(B, J) from the user's AP."""
    cross: NDArray[np.float32]
    """(B, J, K) from each neighbour of its AP; 0 where the AP has fewer."""
    rest: NDArray[np.float32]
    """(B, J) from all other APs, summed."""
    association: NDArray[np.int64]
    """(B, J) the user's AP."""
    neighbours: NDArray[np.int64]
    """(B, I, K) the neighbours of each AP, strongest first; -1 where it has fewer."""
    present: NDArray[np.bool_]
    """(B, J) whether there is such a user."""

    @classmethod
    def of_gains(
        cls,
        gain: NDArray[np.float32],
        association: NDArray[Any],
        n_neighbours: int,
        neighbours: NDArray[np.int64] | None = None,
    ) -> Links:
        """The links of B episodes.

        The neighbours of an AP are the K others that disturb its users the most, as in
        `rrm_env.Network.neighbours`, but at these gains.

        Args:
            gain: (B, I, J).
            association: (B, J).
            n_neighbours: K.
            neighbours: (B, I, K) where they are known already.
        """
        b, _, n_ues = gain.shape
        gain, association = plain(gain, np.float32), plain(association, np.int64)
        if neighbours is None:
            neighbours = _neighbours(gain, association, n_neighbours)
        neighbours = plain(neighbours, np.int64)
        own, rest = np.empty((b, n_ues), np.float32), np.empty((b, n_ues), np.float32)
        cross = np.zeros((b, n_ues, n_neighbours), np.float32)
        _gather(own, cross, rest, gain, association, neighbours)
        present = np.ones((b, n_ues), np.bool_)
        return cls(own, cross, rest, association, neighbours, present)

    @classmethod
    def of_network(
        cls, network: Network, n_neighbours: int, neighbours: NDArray[np.int64] | None = None
    ) -> Links:
        """The links of a network's episodes as they are now."""
        return cls.of_gains(network.large_scale_gain, network.association, n_neighbours, neighbours)

    def at(self, index: NDArray[Any] | slice) -> Links:
        """The links of some of the episodes."""
        return Links._make(array[index] for array in self)


def _neighbours(
    gain: NDArray[np.float32], association: NDArray[np.int64], n_neighbours: int
) -> NDArray[np.int64]:
    """(B, I, K) the neighbours of each AP, strongest first."""
    b, n_aps, _ = gain.shape
    found = np.empty((b, n_aps, n_neighbours), np.int32)
    workspace = np.empty(n_aps * (1 + n_neighbours))
    kernels.rank_neighbours(found, workspace, association.astype(np.int32), gain.reshape(b, -1))
    return found.astype(np.int64)


@compiled(nogil=True, error_model="numpy")
def _gather(own: Any, cross: Any, rest: Any, gain: Any, association: Any, neighbours: Any) -> None:
    """Write the gains of each user's links to `own` (B, J), `cross` (B, J, K) and `rest`."""
    n_envs, n_aps, n_ues = gain.shape
    far = np.empty((n_aps, n_aps), np.float32)
    for b in range(n_envs):
        far[:] = 1.0
        for i in range(n_aps):
            far[i, i] = 0.0
            for n in range(neighbours.shape[2]):
                if neighbours[b, i, n] >= 0:
                    far[i, neighbours[b, i, n]] = 0.0
        rest[b] = 0.0
        for k in range(n_aps):
            for j in range(n_ues):
                rest[b, j] += far[association[b, j], k] * gain[b, k, j]
        for j in range(n_ues):
            i = association[b, j]
            own[b, j] = gain[b, i, j]
            for n in range(neighbours.shape[2]):
                if neighbours[b, i, n] >= 0:
                    cross[b, j, n] = gain[b, neighbours[b, i, n], j]
