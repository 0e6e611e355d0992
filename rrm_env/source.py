"""Channels that the kernels do not generate themselves."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rrm_env.config import RRMConfig


class Source(Protocol):
    """Writes the large-scale channel of the episodes into the state of a network.

    What it writes is a function of configuration and episode seed alone. Threads call it at the
    same time for slots that do not overlap.
    """

    def reset(self, state: Any, seeds: NDArray[np.uint64], start: int, stop: int) -> None:
        """Write step 0 of the episodes start ... stop - 1 with these seeds (B,).

        It writes ``ap_positions``, ``ue_positions``, ``large_scale_gain`` and, where it is given,
        ``association``; with ``fading="trace"`` also ``gain_history`` of the steps -csi_delay to 0.
        """

    def advance(self, state: Any, t: int, start: int, stop: int) -> None:
        """Write step t, before the network runs step t - 1.

        It writes ``ue_positions``, ``large_scale_gain`` and, with ``fading="trace"``,
        the gain into ``static_gain``.
        """


def source_of(config: RRMConfig, num_envs: int) -> Source | None:
    """The source of B = num_envs episodes' channels; None where the kernels generate them."""
    if config.trace is not None:
        from rrm_env.trace_source import TraceSource  # most networks need no files

        return TraceSource(config, num_envs)
    if config.channel_is_given:
        from rrm_env.propagation_source import PropagationSource  # most networks need no models

        return PropagationSource(config, num_envs)
    return None
