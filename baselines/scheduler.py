"""What the baselines share: the array face that `evaluate` calls, and the dictionary face for PettingZoo."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import SILENT, Network

Served = NDArray[np.int64]


class Baseline(ABC):
    """A classical scheduler."""

    def reset(self, network: Network) -> None:  # noqa: B027 - most have no past to forget
        """Forget the past; called after every `Network.reset`."""

    @abstractmethod
    def schedule(self, network: Network) -> Served:
        """The UE each AP serves in this step: (B, I), one of the AP's own or `SILENT`."""

    def schedule_candidates(self, network: Network) -> Served:
        """Like `schedule`, for faces under which only candidates can be served."""
        return self.schedule(network)

    def act(self, env: Any) -> dict[str, int]:
        """Actions for every agent of an `RRMParallelEnv`, wrapped or not.

        At an episode's first step the past is forgotten, so one scheduler can play many episodes.
        """
        network: Network = env.unwrapped.network
        if network.t == 0:
            self.reset(network)
        candidates, served = network.candidates[0], self.schedule_candidates(network)[0]
        return {
            agent: network.config.n_candidates if ue == SILENT else int(np.flatnonzero(candidates[i] == ue)[0])
            for i, (agent, ue) in enumerate(zip(env.unwrapped.possible_agents, served, strict=True))
        }
