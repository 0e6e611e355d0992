"""The page on the design names every module of the packages, and no other."""

from __future__ import annotations

import re

import pytest
from folders import ROOT

PAGE = (ROOT / "docs" / "development" / "design.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["rrm_env", "baselines", "marl"])
def test_every_module_is_named(package: str) -> None:
    section = re.split(rf"^### {package}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    section = re.split(r"^### ", section, flags=re.MULTILINE)[0]
    named = set(re.findall(r"`(\w+)`", section))
    modules = {
        path.stem for path in (ROOT / package).rglob("*.py") if not path.stem.startswith("__")
    }
    assert modules - named == set()
