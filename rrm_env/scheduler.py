"""The `Scheduler` protocol of baselines and learned policies, which `evaluate` accepts."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from rrm_env.network import Network
from rrm_env.power import Decision


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
