"""Recorded decisions of a dataset, as the graph policy sees them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from baselines.links import Links
from marl.data.dataset import Dataset
from rrm_env import SILENT, RRMConfig

NEEDED = {"measurements": "neighbours", "clock": "elapsed", "average": "episode"}
"""Fields of a network whose observations hold what the policy sees."""


class Recorded(NamedTuple):
    """Joint actions of B decisions and what was known to them."""

    links: Links
    """A place for each candidate of each AP."""
    rate_sum: NDArray[np.float64]
    """(B, J) each user's rates since the episode began, summed, bit/s/Hz."""
    level: NDArray[np.float64]
    """(B, 1) the mean average rate of all users, bit/s/Hz."""
    steps: NDArray[np.float64]
    """(B, 1) steps done."""
    served: NDArray[np.int64]
    """(B, I) the user of each AP, or `SILENT`."""

    def at(self, index: NDArray[Any] | slice) -> Recorded:
        """Some of the decisions."""
        links, *others = self
        return Recorded._make([links.at(index), *(array[index] for array in others)])

    @classmethod
    def of_dataset(cls, dataset: Dataset, n_neighbours: int) -> tuple[Recorded, RRMConfig]:
        """The decisions of a dataset and its network.

        A user's sum of rates is taken as its average times the steps done.

        Args:
            dataset: recorded in a network whose fields are those of `NEEDED`.
            n_neighbours: of the policy; the network's must be the same.

        Raises:
            ValueError: recorded elsewhere.
        """
        network = dataset.environment.network
        if network is None:
            raise ValueError(
                f"graph policies need a dataset of a network of rrm_env, this one is of "
                f"{dataset.environment.name!r}"
            )
        for name, value in {**NEEDED, "n_neighbours": n_neighbours}.items():
            if getattr(network, name) != value:
                raise ValueError(
                    f"the dataset's network must have {name} = {value!r}, "
                    f"it has {getattr(network, name)!r}"
                )
        observation, mask, action = (tensor.numpy() for tensor in dataset.transitions()[:3])
        return cls.of_observations(observation, mask, action, network), network

    @classmethod
    def of_observations(
        cls,
        observation: NDArray[np.float32],
        mask: NDArray[Any],
        action: NDArray[np.int64],
        network: RRMConfig,
    ) -> Recorded:
        """The decisions with observations (B, I, D), masks (B, I, A) and actions (B, I).

        Power levels are left out: the graph policy transmits at the highest one.
        """
        b, n_aps = action.shape
        n, k, width = network.n_candidates, network.n_neighbours, network.n_candidate_features
        candidates = observation[..., : n * width].reshape(b, n_aps * n, width)
        neighbours = observation[..., n * width : n * width + k].astype(np.int64)
        elapsed = observation[:, 0, n * width + k + (network.turns != "none")]
        association = np.repeat(np.arange(n_aps), n)
        known = neighbours[:, association] >= 0
        levels = network.n_power_levels
        present = mask[..., : n * levels : levels].reshape(b, -1) > 0
        gains = np.float32(10) ** candidates[..., 2:]
        links = Links(
            own=gains[..., 0],
            cross=gains[..., 1 : 1 + k] * known,
            rest=gains[..., 1 + k],
            association=np.broadcast_to(association, (b, n_aps * n)),
            neighbours=neighbours,
            present=present,
        )
        average = present * 10.0 ** -candidates[..., 1].astype(np.float64)
        level = average.sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True)
        steps = elapsed.astype(np.float64)[:, None] * network.episode_length
        slot = action // levels
        served = np.where(slot < n, slot + n * np.arange(n_aps), SILENT)
        return cls(links, average * steps, level, steps, served)
