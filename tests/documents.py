"""The pages of the documentation, and the code blocks in them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from folders import ROOT

DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts),
]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page."""
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def shrunk(code: str, sizes: Iterable[tuple[str, str]]) -> str:
    """The code with smaller sizes, so that it runs in seconds.

    Args:
        code: a command, or a notebook's code.
        sizes: regular expressions and what replaces each.
    """
    for pattern, smaller in sizes:
        code = re.sub(pattern, smaller, code)
    return code
