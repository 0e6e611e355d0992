"""Checks that distributions hold the packages and nothing else: contents.py WHEEL SOURCE.

The wheel has every file of the packages, the source distribution what building them needs.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("rrm_env", "baselines", "marl")
BESIDE = {
    "CHANGELOG.md",
    "CITATION.cff",
    "LICENSE",
    "MANIFEST.in",
    "PKG-INFO",
    "README.md",
    "pyproject.toml",
    "setup.cfg",
}
"""What a source distribution holds beside the packages."""


def packaged(root: Path) -> set[str]:
    """The files of the packages in a checkout."""
    return {
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def problems(distribution: Path, files: set[str]) -> list[str]:
    """What a distribution lacks and what it should not hold."""
    if distribution.suffix == ".whl":
        with zipfile.ZipFile(distribution) as archive:
            names, beside = archive.namelist(), set[str]()
        held = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    else:
        with tarfile.open(distribution) as archive:
            names, beside = [item.name for item in archive if item.isfile()], BESIDE
        within = {name.partition("/")[2] for name in names}
        held = {name for name in within if not name.startswith("rrm_env.egg-info/")}
    lacks = [f"{distribution.name} lacks {name}" for name in sorted((files | beside) - held)]
    return lacks + [
        f"{distribution.name} holds {name}, which it should not"
        for name in sorted(held - files - beside)
    ]


if __name__ == "__main__":
    found = [line for path in sys.argv[1:] for line in problems(Path(path), packaged(ROOT))]
    sys.exit("\n".join(found) or 0)  # an empty text would be a failure too
