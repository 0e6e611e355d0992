"""The `Scheduler` protocol of baselines and learned policies, which `evaluate` accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env.checks import shown
from rrm_env.network import Network
from rrm_env.power import Decision, decision_of


@runtime_checkable
class Scheduler(Protocol):
    """Decides which user each access point serves, and at which power level."""

    def reset(self, network: Network) -> None:
        """Forget all past episodes; called after every `Network.reset`."""

    def schedule(self, network: Network) -> Decision:
        """(B, I) integers: the UE that each AP serves in this step, one of its own, or `SILENT`.

        Or a `PoweredDecision`, which names the power levels too; otherwise the highest is played.
        """


def require_scheduler(scheduler: Any) -> None:
    """Refuse an object that is no scheduler, or is a class of schedulers (TypeError)."""
    if isinstance(scheduler, type) or not isinstance(scheduler, Scheduler):
        raise TypeError(
            f"scheduler must have reset(network) and schedule(network), got {scheduler!r}"
        )


Acts = Callable[[NDArray[np.float32], NDArray[np.int8]], ArrayLike]
"""Maps observations (B, I, F) and action masks (B, I, A) to actions (B, I)."""


def from_actions(function: Acts) -> Scheduler:
    """A scheduler from a policy that emits actions, for `evaluate`, comparisons and pictures.

    Args:
        function: called in every step as ``function(observation, mask)`` with observations
            (B, I, F) and action masks (B, I, A) of `Network`; returns integers (B, I) as for
            `Network.step_actions`. A masked action means silence.

    Raises:
        TypeError: ``function`` cannot be called. A decision of another type or shape, or out of
            range, is refused when it is made (TypeError, ValueError).
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {shown(function)}")
    return _FromActions(function)


class _FromActions:
    def __init__(self, function: Acts) -> None:
        self._function = function

    def reset(self, network: Network) -> None:
        """Nothing is remembered."""

    def schedule(self, network: Network) -> Decision:
        """The users and levels that the function's actions stand for."""
        chosen = self._function(network.observation, network.action_mask)
        return decision_of(network, network.checked_actions(chosen))
