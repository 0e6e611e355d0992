"""Every allowed layout and type of input reaches the one compiled version of each function."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from folders import ROOT


@pytest.fixture(scope="module")
def signatures() -> dict[str, list[str]]:
    """What `layouts_smoke` prints in a process where no other test has compiled anything."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    command = [sys.executable, "-W", "error", str(ROOT / "tests" / "layouts_smoke.py")]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result: dict[str, list[str]] = json.loads(done.stdout)
    return result


def test_no_layout_or_type_compiles_a_function_again(signatures: dict[str, list[str]]) -> None:
    assert {name: found for name, found in signatures.items() if len(found) > 1} == {}


def test_every_function_that_python_calls_was_called(signatures: dict[str, list[str]]) -> None:
    called_by_kernels = {
        *(f"baselines.greedy_max_weight.{name}" for name in ("_insert", "_sweep", "_best_reply")),
        "baselines.greedy_max_weight._add",
        *(f"baselines.power_control.{name}" for name in ("_choose", "_climb", "_value")),
        "baselines.fplinq._choose",
        "baselines.power_levels._value",
        *(f"baselines.optimum.moves.{name}" for name in ("_best_of_each", "_changed")),
        *(f"baselines.optimum.moves.{name}" for name in ("_follow", "_prepare")),
        *(f"baselines.joint_actions.{name}" for name in ("_choose", "_join", "_leave")),
        *(f"baselines.neighbour_search.{name}" for name in ("_group", "_listeners", "_evaluate")),
    }
    assert {name for name, found in signatures.items() if not found} <= called_by_kernels
    assert len(signatures) >= 18
