"""The version of the distribution, and of what a result depends on. The build reads `__version__` without importing this file."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from rrm_env.files import readable
from rrm_env.limits import available_memory, usable_cores

__version__ = "0.1.0"


def install_hint(extra: str) -> str:
    """The command that installs an extra. There is no release yet, so it is run in a checkout of the repository."""
    return f'pip install -e ".[{extra}]"'


def versions(*distributions: str) -> dict[str, str]:
    """Versions of this package, Python, the core dependencies and further ``distributions``, for result files."""
    named = ("numpy", "numba", "llvmlite", "pettingzoo", "gymnasium", *distributions)
    return {
        "rrm_env": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in named},
    }


def revision() -> str | None:
    """The git revision this code runs from, with ``-dirty`` if the code differs from it; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    code = [
        folder
        for folder in ("rrm_env", "baselines", "marl", "examples")
        if (root / folder).exists()
    ]
    try:
        head = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"], cwd=root, capture_output=True, text=True
        )
        differs = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", *code], cwd=root, capture_output=True
        )
    except OSError:
        return None
    return (
        head.stdout.strip() + ("-dirty" if differs.returncode else "")
        if head.returncode == 0
        else None
    )


def machine() -> dict[str, str | int | None]:
    """The processor in words, and the cores that this process may use."""
    information = (
        Path("/proc/cpuinfo").read_text("utf-8", "replace")
        if Path("/proc/cpuinfo").exists()
        else ""
    )
    models = [
        line.partition(":")[2].strip()
        for line in information.splitlines()
        if line.startswith("model name")
    ]
    return {"processor": (models or [platform.processor()])[0], "cores": usable_cores()}


def origin(*distributions: str) -> dict[str, Any]:
    """What made a results file: command, revision, machine, versions (of further ``distributions`` too)."""
    return {
        "command": shlex.join(["python", *map(readable, sys.argv)]),
        "revision": revision(),
        "machine": machine(),
        "versions": versions(*distributions),
    }


OPTIONAL = (
    "torch",
    "supersuit",
    "safetensors",
    "filelock",
    "matplotlib",
    "pygame-ce",
    "pygame",
    "imageio",
    "minari",
    "tensorboard",
)
"""Distributions that parts of the package use where they are installed."""


def facts() -> dict[str, str]:
    """What a bug report should say: versions of all that matters here, and the machine."""
    installed = [name for name in OPTIONAL if _is_installed(name)]
    computer, memory = machine(), available_memory()
    conflicts = filter(None, map(shared_import_name, OWNERS))
    return {
        **versions(*installed),
        **{f"conflict {k}": conflict for k, conflict in enumerate(conflicts, 1)},
        "revision": revision() or "no checkout",
        "platform": platform.platform(),
        "processor": str(computer["processor"]),
        "cores": str(computer["cores"]),
        "memory": "unknown"
        if memory is None
        else f"{memory / 2**30:.1f} GiB free for this process",
    }


OWNERS = {
    "pygame": ("pygame", "pygame-ce"),
    "tensorboard": ("tensorboard", "tb-nightly"),
    "PIL": ("pillow", "pillow-simd"),
}
"""Import names that several distributions install: two of them overwrite each other's files."""


def shared_import_name(name: str) -> str:
    """What to do if two distributions own an import name; empty if one or none does."""
    owners = [owner for owner in OWNERS[name] if _is_installed(owner)]
    if len(owners) < 2:
        return ""
    listed = " and ".join(f"{owner} {metadata.version(owner)}" for owner in owners)
    remedy = f"pip uninstall {' '.join(owners)}"
    return f"{listed} are both installed as {name!r} and overwrite each other's files: {remedy}"


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
