"""The base class of the baselines, with an API for arrays and one for PettingZoo."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rrm_env import SILENT, Network
from rrm_env.power import Decision, action_of, parted

Served = NDArray[np.int64]
Memory = TypeVar("Memory")


class PerNetwork(Generic[Memory]):
    """A scheduler's memory of each network, so that it can serve several, also from threads.

    The memory of a network ends with the network. Copies of a scheduler, also in other processes,
    begin with an empty memory.

    Args:
        scheduler: the name of the scheduler, for errors.
    """

    def __init__(self, scheduler: str) -> None:
        self._scheduler = scheduler
        self._of: weakref.WeakKeyDictionary[Network, Memory] = weakref.WeakKeyDictionary()

    def __len__(self) -> int:
        return len(self._of)

    def __setitem__(self, network: Network, memory: Memory) -> None:
        self._of[network] = memory

    def __getitem__(self, network: Network) -> Memory:
        """The memory of a network (RuntimeError: there is none yet)."""
        try:
            return self._of[network]
        except KeyError:
            raise RuntimeError(
                f"{self._scheduler} does not know this network: "
                "call reset(network) after Network.reset"
            ) from None

    def __reduce__(self) -> tuple[type[PerNetwork[Memory]], tuple[str]]:
        return type(self), (self._scheduler,)


class Baseline(ABC):
    """A classical scheduler, which may serve several networks alternately or from threads."""

    def reset(self, network: Network) -> None:  # noqa: B027 - most have no memory
        """Forget the past episodes of a network; called after every `Network.reset`."""

    @abstractmethod
    def schedule(self, network: Network) -> Decision:
        """(B, I) the UE that each AP serves in this step, one of its own, or `SILENT`.

        A scheduler with power control returns a `PoweredDecision`.
        """

    def schedule_candidates(self, network: Network) -> Decision:
        """Like `schedule`, for APIs under which only candidates can be served.

        A scheduler that also serves other UEs overrides it; `act` refuses them.
        """
        return self.schedule(network)

    def act(self, env: Any) -> dict[str, int]:
        """An action for every agent of an `RRMParallelEnv`, wrapped or not.

        At an episode's first step `reset` is called, so one scheduler can play many episodes.

        Raises:
            ValueError: the scheduler serves a UE that is no candidate.
        """
        network: Network = env.unwrapped.network
        if network.t == 0:
            self.reset(network)
        candidates = network.candidates[0]
        served, level = parted(self.schedule_candidates(network), network.config)
        slots = [_slot_of(int(ue), candidates[ap]) for ap, ue in enumerate(served[0])]
        actions = action_of(np.array(slots), level[0], network.config).tolist()
        return dict(zip(env.unwrapped.possible_agents, actions, strict=True))


def _slot_of(ue: int, candidates: NDArray[Any]) -> int:
    """The index of a UE among an AP's candidates (N,), or N for silence."""
    if ue == SILENT:
        return len(candidates)
    found = np.flatnonzero(candidates == ue)
    if not len(found):
        raise ValueError(
            f"schedule_candidates must serve candidates, {candidates.tolist()}, or {SILENT} for"
            f" silence, got UE {ue}"
        )
    return int(found[0])


def candidates_alone(network: Network) -> NDArray[np.bool_]:
    """(B, J) whether each user is a candidate of its AP."""
    slots = network.candidates.reshape(network.num_envs, -1)
    found = np.zeros((network.num_envs, network.config.n_ues + 1), np.bool_)
    np.put_along_axis(found, slots, True, axis=1)  # SILENT is the last column
    return np.ascontiguousarray(found[:, :-1])
