"""What result files say of the code and the machine they come from."""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rrm_env import provenance
from rrm_env.limits import usable_cores

SOURCE = Path(provenance.__file__)

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    identity = (
        "-c",
        "user.name=someone",
        "-c",
        "user.email=someone@example.org",
        "-c",
        "commit.gpgsign=false",
    )
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def revision_in(root: Path) -> Callable[[], str | None]:
    """`revision` of a copy of the package in a folder."""
    (root / "rrm_env").mkdir(parents=True, exist_ok=True)
    copy = shutil.copy(SOURCE, root / "rrm_env" / "provenance.py")
    spec = importlib.util.spec_from_file_location("version_elsewhere", copy)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[], str | None] = module.revision
    return found


@needs_git
def test_revision_is_the_checkouts_and_says_whether_the_code_differs(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    revision = revision_in(root)
    (root / "README.md").write_text("words")
    git(tmp_path, "init", "--quiet", str(root))
    assert revision() is None  # nothing is committed yet
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    first = git(root, "rev-parse", "HEAD")
    assert revision() == first[:12]
    (root / "README.md").write_text("other words")
    (root / "results.json").write_text("{}")
    assert revision() == first[:12]  # neither is code
    (root / "rrm_env" / "provenance.py").write_text("changed = True")
    assert revision() == first[:12] + "-dirty"
    git(root, "add", ".")
    assert revision() == first[:12] + "-dirty"
    git(root, "commit", "--quiet", "-m", "second")
    second = git(root, "rev-parse", "HEAD")
    assert second != first
    assert revision() == second[:12]


@needs_git
@pytest.mark.parametrize("folder", ["baselines", "marl", "examples"])
def test_revision_is_dirty_where_any_of_the_code_differs(folder: str, tmp_path: Path) -> None:
    revision = revision_in(tmp_path)
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "code.py").write_text("old = True")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    head = git(tmp_path, "rev-parse", "HEAD")[:12]
    assert revision() == head
    (tmp_path / folder / "code.py").write_text("old = False")
    assert revision() == head + "-dirty"


@needs_git
def test_installed_package_has_no_revision_even_within_somebodys_checkout(tmp_path: Path) -> None:
    assert revision_in(tmp_path / "alone")() is None
    root = tmp_path / "theirs"
    revision = revision_in(root / "lib" / "site-packages")
    git(tmp_path, "init", "--quiet", str(root))
    git(root, "add", ".")
    git(root, "commit", "--quiet", "-m", "first")
    assert revision() is None


@needs_git
def test_revision_is_unknown_where_git_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = revision_in(tmp_path)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "first")
    assert revision() is not None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert revision() is None


@needs_git
def test_revision_of_this_package_is_that_of_its_checkout_if_it_lies_in_one() -> None:
    root, found = SOURCE.resolve().parent.parent, provenance.revision()
    expected = git(root, "rev-parse", "HEAD")[:12] if (root / ".git").exists() else None
    assert (found and found.removesuffix("-dirty")) == expected


def test_machine_has_a_processor_and_cores() -> None:
    machine = provenance.machine()
    assert json.loads(json.dumps(machine)) == machine
    assert set(machine) == {"processor", "cores"}
    assert machine["cores"] == usable_cores()
    information = Path("/proc/cpuinfo")
    lines = (
        [line.split(":", 1) for line in information.read_text().splitlines() if ":" in line]
        if information.exists()
        else []
    )
    models = [value.strip() for name, value in lines if name.strip() == "model name"]
    assert machine["processor"] == (models[0] if models else platform.processor())
