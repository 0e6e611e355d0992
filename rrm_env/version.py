"""The version of the distribution, and of what a result depends on. Standard library only, so that the build can read it."""

from __future__ import annotations

import platform
from importlib import metadata

__version__ = "0.1.0"


def versions(*distributions: str) -> dict[str, str]:
    """Versions of this package, Python, the core dependencies and further ``distributions``, for result files."""
    named = ("numpy", "numba", "llvmlite", "pettingzoo", "gymnasium", *distributions)
    return {"rrm_env": __version__, "python": platform.python_version(), **{name: metadata.version(name) for name in named}}
