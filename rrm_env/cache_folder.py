"""The platform's folder for caches, where results and datasets are kept that can be made again."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cache_folder(variable: str, name: str = "rrm_env") -> Path:
    """The folder that an environment variable names, otherwise ``name`` in the platform's.

    The platform's folder for caches is ``$XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on
    macOS; ``%LOCALAPPDATA%`` on Windows. The folder need not exist.

    Args:
        variable: the name of the environment variable.
        name: the folder's name, or its path with slashes.
    """
    if chosen := os.environ.get(variable):
        return Path(chosen)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / name
