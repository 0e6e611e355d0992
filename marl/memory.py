"""Memory that is free for this process."""

from __future__ import annotations

from pathlib import Path

import torch

MEMORY = Path("/proc/meminfo")


def free_bytes(device: torch.device) -> int | None:
    """Memory that is free on a device; None where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if not MEMORY.exists():
        return None
    (line,) = (line for line in MEMORY.read_text().splitlines() if line.startswith("MemAvailable:"))
    return int(line.split()[1]) * 1024
