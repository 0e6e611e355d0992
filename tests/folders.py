"""Folders of the repository, and example scripts as modules of tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SCRIPTS = [EXAMPLES, *(EXAMPLES / name for name in ("paper", "trainers", "benchmarks"))]
"""Folders whose scripts import each other by name."""


@contextmanager
def examples() -> Iterator[None]:
    """Within it example scripts can be imported by name, also by processes that are started there."""
    before = sys.path[:]
    sys.path[:0] = map(str, SCRIPTS)
    try:
        yield
    finally:
        sys.path[:] = before
