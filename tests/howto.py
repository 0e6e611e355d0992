"""Apply the changes that a how-to page prints to a copy of a package."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from folders import ROOT

PAGES = ROOT / "docs" / "development"


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in the folder on development."""
    return re.findall(
        rf"^```{language}\n(.*?)^```",
        (PAGES / page).read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )


def copy_of(package: str, folder: Path) -> Path:
    """A copy of one package, without caches; the others are imported from the repository."""
    shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def apply_changes(page: str, folder: Path) -> list[str]:
    """Apply all diffs of a page, and return the names of the changed files.

    The old text of every hunk must occur exactly once in its file.
    """
    changed = []
    for block in blocks(page, "diff"):
        header, _, body = block.partition("\n")
        name = header.removeprefix("--- ")
        path = folder / name
        text = path.read_text(encoding="utf-8")
        for hunk in re.split(r"^---\n", body, flags=re.MULTILINE):
            lines = hunk.splitlines(keepends=True)
            assert all(line[0] in " +-\n" for line in lines), hunk
            old = "".join(line[1:] or "\n" for line in lines if line[0] != "+")
            new = "".join(line[1:] or "\n" for line in lines if line[0] != "-")
            assert text.count(old) == 1, (
                f"{page}: the text before this change stands {text.count(old)} times "
                f"in {name}:\n{old}"
            )
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
        changed.append(name)
    return changed


def run(folder: Path, *arguments: str, own_cache: bool = False) -> str:
    """The output of Python, in a wide terminal, when imports find the copy first.

    Args:
        folder: where the copy is.
        arguments: of the Python command.
        own_cache: use a separate cache of kernels, since kernels have changed.
    """
    path = os.pathsep.join(
        str(part) for part in (folder, ROOT, os.environ.get("PYTHONPATH")) if part
    )
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "160",
    }
    if own_cache:
        environment["NUMBA_CACHE_DIR"] = str(folder / "cache")
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout
