"""The README's Python blocks run as printed, and its folder table names every top-level folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_python_block_of_the_readme_runs(block: str) -> None:
    result = subprocess.run([sys.executable, "-W", "error", "-c", block], capture_output=True, text=True, check=False)
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
