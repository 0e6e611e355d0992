"""Example scripts as modules of tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def examples() -> Iterator[None]:
    """Within it example scripts can be imported by their names, also by processes that are started there."""
    folder = str(Path(__file__).parent.parent / "examples")
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
