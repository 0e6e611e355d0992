"""What the baselines share: the array face that `evaluate` calls, and the dictionary face for PettingZoo."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import SILENT, Network

Served = NDArray[np.int64]


class Baseline:
    """A scheduler. Subclasses choose among eligible users; here are the two ways to ask them."""

    def reset(self, network: Network) -> None:
        """Forget the past; called after every `Network.reset`."""

    def choose(self, network: Network, eligible: NDArray[np.bool_]) -> Served:
        """(B, I) the UE each AP serves, of those (B, J) that are eligible."""
        raise TypeError(f"{type(self).__name__} does not say how it chooses")

    def schedule(self, network: Network) -> Served:
        """(B, I) the UE each AP serves, any of its own, or `SILENT`."""
        return self.choose(network, np.ones((network.num_envs, network.config.n_ues), np.bool_))

    def act(self, env: Any) -> dict[str, int]:
        """Actions for every agent of an `RRMParallelEnv` (wrapped or not), where only candidates can be served.

        At an episode's first step the past is forgotten, so one scheduler can play many episodes.
        """
        network: Network = env.unwrapped.network
        if network.t == 0:
            self.reset(network)
        candidates = network.candidates[0]
        eligible = np.zeros((1, network.config.n_ues), np.bool_)
        eligible[0, candidates[candidates >= 0]] = True
        served = self.choose(network, eligible)[0]
        return {
            agent: network.config.n_candidates if ue == SILENT else int(np.flatnonzero(candidates[i] == ue)[0])
            for i, (agent, ue) in enumerate(zip(env.unwrapped.possible_agents, served, strict=True))
        }
