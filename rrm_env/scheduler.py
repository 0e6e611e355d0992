"""What `evaluate` accepts: every baseline and every learned policy is a `Scheduler`."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from rrm_env.network import Network


@runtime_checkable
class Scheduler(Protocol):
    """Decides which user each access point serves."""

    def reset(self, network: Network) -> None:
        """Forget the past; called after every `Network.reset`."""

    def schedule(self, network: Network) -> NDArray[Any]:
        """The UE each AP serves in this step: (B, I) integers, one of the AP's own or `SILENT`."""


def require_scheduler(scheduler: Any) -> None:
    """Refuse what is no scheduler, or is a class of them (TypeError)."""
    if isinstance(scheduler, type) or not isinstance(scheduler, Scheduler):
        raise TypeError(
            f"scheduler must have reset(network) and schedule(network), got {scheduler!r}"
        )
