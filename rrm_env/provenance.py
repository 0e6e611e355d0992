"""The versions, revision and machine that a result depends on.

The build reads `__version__` without importing this file.
"""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from numba import config as numba_config

from rrm_env.files import readable
from rrm_env.limits import available_memory, usable_cores

__version__ = "0.1.0"


def install_hint(extra: str) -> str:
    """The command that installs an extra, run in a checkout since there is no release."""
    return f'pip install -e ".[{extra}]"'


def versions(*distributions: str) -> dict[str, str]:
    """Versions of this package, Python, the core dependencies and further ``distributions``."""
    named = ("numpy", "numba", "llvmlite", "pettingzoo", "gymnasium", *distributions)
    return {
        "rrm_env": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in named},
    }


def revision() -> str | None:
    """The git revision of this code, with ``-dirty`` if files differ; None outside a checkout."""
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
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=root,
            capture_output=True,
            encoding="utf-8",
        )
        differs = subprocess.run(
            ["git", "diff", "--quiet", "HEAD", "--", *code], cwd=root, capture_output=True
        )
    except OSError:
        return None
    if head.returncode != 0:
        return None
    return head.stdout.strip() + ("-dirty" if differs.returncode else "")


def machine() -> dict[str, str | int | None]:
    """The name of the processor, and the number of cores that this process may use."""
    file = Path("/proc/cpuinfo")
    information = file.read_text("utf-8", "replace") if file.exists() else ""
    models = [
        line.partition(":")[2].strip()
        for line in information.splitlines()
        if line.startswith("model name")
    ]
    return {"processor": (models or [platform.processor()])[0], "cores": usable_cores()}


SAME_BITS = ("numpy", "numba", "llvmlite")
"""Libraries whose versions may change the last bits of a result."""


def gives_same_bits(made_by: Mapping[str, Any]) -> bool:
    """Whether results of this process must have the bits of those that a file states.

    The last bits depend on the instructions that numba chooses for a processor and on the versions
    of a few libraries. Where the answer is no, results may still have the same bits.

    Args:
        made_by: what the file says of its origin: ``processor``, the name that `machine` gives, and
            ``versions``, those of the libraries by name.
    """
    here, there = versions(), made_by["versions"]
    processor = str(machine()["processor"])
    # Where the system gives no name, the word that stands for it, such as arm, is an architecture.
    is_named = len(processor.split()) > 1
    for_others = numba_config.CPU_NAME or numba_config.CPU_FEATURES or numba_config.DISABLE_JIT
    return (
        is_named
        and not for_others
        and made_by["processor"] == processor
        and all(here[name] == there.get(name) for name in SAME_BITS)
    )


def origin(*distributions: str) -> dict[str, Any]:
    """What made a results file: command, revision, machine and `versions`."""
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
"""Optional distributions that parts of the package use."""


def facts() -> dict[str, str]:
    """Versions and machine for a bug report."""
    installed = [name for name in OPTIONAL if _is_installed(name)]
    computer, free = machine(), available_memory()
    memory = "unknown" if free is None else f"{free / 2**30:.1f} GiB free for this process"
    conflicts = filter(None, map(shared_import_name, OWNERS))
    return {
        **versions(*installed),
        **{f"conflict {k}": conflict for k, conflict in enumerate(conflicts, 1)},
        "revision": revision() or "no checkout",
        "platform": platform.platform(),
        "processor": str(computer["processor"]),
        "cores": str(computer["cores"]),
        "memory": memory,
    }


OWNERS = {
    "pygame": ("pygame", "pygame-ce"),
    "tensorboard": ("tensorboard", "tb-nightly"),
    "PIL": ("pillow", "pillow-simd"),
}
"""Import names that several distributions install, whose files then overwrite each other."""


def shared_import_name(name: str) -> str:
    """What to do where two distributions own an import name; empty where at most one does."""
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
