"""Memory that is free for this process, on any device."""

from __future__ import annotations

import torch

from rrm_env.limits import available_memory


def free_bytes(device: torch.device) -> int | None:
    """Memory on a device that this process can still take; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_memory()
