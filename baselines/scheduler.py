"""What the baselines share: the array face that `evaluate` calls, and the dictionary face for PettingZoo."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rrm_env import SILENT, Network

Served = NDArray[np.int64]
Past = TypeVar("Past")


class PastOf(Generic[Past]):
    """What a scheduler remembers of each network, so that it may serve several, also from threads.

    It goes with the network, and it does not travel: a copy of the scheduler, or one sent to
    another process, begins anew.

    Args:
        scheduler: the scheduler's name, for errors.
    """

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler
        self._of: weakref.WeakKeyDictionary[Network, Past] = weakref.WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._of)

    def __setitem__(self, network: Network, past: Past) -> None:
        self._of[network] = past

    def __getitem__(self, network: Network) -> Past:
        """Raises: RuntimeError: nothing has been remembered of the network yet."""
        try:
            return self._of[network]
        except KeyError:
            raise RuntimeError(
                f"{self._scheduler} does not know this network: call reset(network) after Network.reset"
            ) from None

    def __reduce__(self) -> tuple[type[PastOf[Past]], tuple[str]]:
        return type(self), (self._scheduler,)


class Baseline(ABC):
    """A classical scheduler. One may serve several networks at once, alternately or from several threads."""

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
            agent: network.config.n_candidates
            if ue == SILENT
            else int(np.flatnonzero(candidates[i] == ue)[0])
            for i, (agent, ue) in enumerate(zip(env.unwrapped.possible_agents, served, strict=True))
        }
