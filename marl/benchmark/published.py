"""What is published of the named datasets: their checksums, and what tables state of them."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

FILE = "checksums.json"


@dataclass(frozen=True)
class Published:
    """What is published of one dataset."""

    checksum: str
    """`Dataset.fingerprint`."""
    transitions: int
    bytes: int
    """Size of the file."""
    seconds: float
    """Time that recording took on one core of the machine that wrote the table."""
    score: float
    """Mean over the recorded episodes."""
    worst_rate: float
    """Mean of the lowest rate of a user, bit/s/Hz."""
    mean_return: float
    """Mean of the undiscounted return."""
    coverage: float
    """Joint state-action coverage (`marl.data.statistics.state_action_coverage`)."""


@functools.cache
def published() -> dict[str, Published]:
    """What is published, by the datasets' names; it is kept in ``checksums.json``."""
    text = resources.files("marl.benchmark").joinpath(FILE).read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = json.loads(text)["datasets"]
    return {name: Published(**entry) for name, entry in entries.items()}
