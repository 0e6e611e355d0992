"""The order of imports: a module imports only from rooms before its own, without circles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import ROOT

PACKAGES = ("rrm_env", "baselines", "marl", "examples")

ORDER = (
    "_libraries",
    "engines",
    "checks",
    "torch_state",
    "config",
    "team",
    "sources",
    "environment",
    "data",
    "learner",
    "runs",
    "exchange",
    "policy",
    "graph",
    "training",
    "benchmark",
    "options",
    "sweep",
    "cli",
    "__init__",
    "__main__",
)
"""The rooms of `marl`; each may import from those before it and from itself."""


def imported(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "marl":
            yield from (f"marl.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def room(path: Path) -> str:
    """The room of `marl` that a file belongs to."""
    first = path.relative_to(ROOT / "marl").parts[0]
    return first.removesuffix(".py")


FILES = sorted((ROOT / "marl").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_room_imports_from_those_before_it(path: Path) -> None:
    own = ORDER.index(room(path))
    for name in imported(path):
        if name.startswith("marl."):
            target = name.split(".")[1]
            assert target in ORDER, f"{path} imports {name}, a name that only marl/__init__ gives"
            assert ORDER.index(target) <= own, f"{path} imports {name}, which stands after it"


def test_every_room_has_a_place_in_the_order() -> None:
    assert {room(path) for path in FILES} == set(ORDER)


@pytest.mark.parametrize("package", PACKAGES[:3])
def test_packages_import_only_what_they_build_on(package: str) -> None:
    allowed = PACKAGES[: PACKAGES.index(package) + 1]
    for path in (ROOT / package).rglob("*.py"):
        found = {name.split(".")[0] for name in imported(path)} & {*PACKAGES, "tests"}
        assert found <= set(allowed), f"{path} imports {found - set(allowed)}"


def test_modules_within_a_room_form_no_circle() -> None:
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES}
    graph = {name: {*imported(path)} & {*names.values()} for path, name in names.items()}
    done: set[str] = set()
    while ready := {name for name, needs in graph.items() if needs <= done} - done:
        done |= ready
    assert done == set(graph), f"circle among {sorted(set(graph) - done)}"
