"""Examples with other libraries' trainers: each learns something and prints what it reached.

Tests are skipped where a library is missing.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from folders import EXAMPLES

PEER_VENV = os.environ.get("RRM_D3RLPY_VENV", "")
"""Virtual environment that holds d3rlpy, which cannot be installed beside this package."""

TRAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sb3": ("sb3_contrib", ()),
    "sb3 ppo": ("sb3_contrib", ("--algorithm", "ppo")),
    "tianshou": ("tianshou", ()),
    "d3rlpy": ("safetensors", ("--peer-venv", PEER_VENV)),
    "rllib": ("ray.rllib.algorithms.ppo", ()),
    "torchrl": ("torchrl", ()),
    "benchmarl": ("benchmarl", ()),
    "benchmarl qmix": ("benchmarl", ("--algorithm", "qmix")),
    "agilerl": ("agilerl", ()),
}
"""Per trainer the module its example needs, and further options; the first word names it."""

NUMBER = r"-?\d+(?:\.\d+)?"
KPIS = rf"sum rate ({NUMBER}), 5-percentile rate ({NUMBER}), score ({NUMBER})"


@pytest.mark.parametrize("trainer", TRAINERS)
def test_example_learns_and_says_what_it_reached(trainer: str, tmp_path: Path) -> None:
    module, options = TRAINERS[trainer]
    script = EXAMPLES / "trainers" / f"with_{trainer.split()[0]}.py"
    if not imports(module):
        pytest.skip(f"{script.name} needs {module}, which is not installed")
    if trainer == "d3rlpy" and not PEER_VENV:
        pytest.skip("RRM_D3RLPY_VENV names no environment with d3rlpy")
    result = subprocess.run(
        [sys.executable, script, "--quick", *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert re.search(r"^versions: rrm_env \S+, python ", result.stdout, re.MULTILINE)
    before, after = (line_of(stage, result.stdout) for stage in ("untrained", "trained"))
    assert after["return"] > before["return"], "training raised no return"
    closing = result.stdout.strip().splitlines()[-1]
    found = re.search(
        r"^16 unseen episodes, \d+ s of training \| "
        rf".+: {KPIS}; random_walk: {KPIS}; itlinq: {KPIS}$",
        closing,
    )
    assert found, closing
    assert found.groups()[:3] == after["kpis"]


def imports(module: str) -> bool:
    """Whether it is installed with all it needs: ray comes without what its rllib asks for."""
    if importlib.util.find_spec(module.split(".")[0]) is None:
        return False
    return (
        "." not in module
        or subprocess.run(
            [sys.executable, "-c", f"import {module}"], capture_output=True
        ).returncode
        == 0
    )


def line_of(stage: str, output: str) -> dict[str, Any]:
    """What `print_policy` said of a policy."""
    found = re.search(
        rf"^{stage}: {KPIS}, return ({NUMBER});.* ({NUMBER}) % of choices illegal$",
        output,
        re.MULTILINE,
    )
    assert found, output
    sum_rate, tail_rate, score, earned, illegal = found.groups()
    assert 0 <= float(illegal) < 50
    return {"kpis": (sum_rate, tail_rate, score), "return": float(earned)}
