"""Python blocks of README and docs run as printed, and the README's folder table names every top-level folder."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [block for page in PAGES for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_python_block_of_the_documents_runs(block: str, tmp_path: Path) -> None:
    if "from marl" in block and importlib.util.find_spec("torch") is None:
        pytest.skip("the learners need torch, which is not installed")
    result = subprocess.run([sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.search(r"\d", result.stdout)


def test_readme_has_an_environment_example_and_a_scheduler_example() -> None:
    assert any("parallel_env(" in block for block in BLOCKS)
    assert any("evaluate(" in block for block in BLOCKS)


def test_folder_table_names_every_top_level_folder() -> None:
    named = set(re.findall(r"^\| `(\w+)` ", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    packaged = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert packaged <= named
    assert all((ROOT / folder).is_dir() for folder in named)


def test_tables_in_the_docs_are_those_of_the_committed_results() -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("the learners need torch, which is not installed")
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import tables
    finally:
        sys.path.pop(0)
    for name, page in tables.PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(ROOT / "docs" / "results")
