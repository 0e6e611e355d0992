"""Folders of the repository, and example scripts as modules of tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
RELIABILITY = ROOT / "tests" / "reliability"
SCRIPTS = [EXAMPLES, *(EXAMPLES / name for name in ("paper", "trainers", "benchmarks", "bridges"))]
"""Folders whose scripts import each other by name."""


@contextmanager
def examples(*folders: Path) -> Iterator[None]:
    """Import example scripts by name, also in processes that are started meanwhile.

    Args:
        folders: where to look (default: `SCRIPTS`).
    """
    before = sys.path[:]
    sys.path[:0] = map(str, folders or SCRIPTS)
    try:
        yield
    finally:
        sys.path[:] = before
