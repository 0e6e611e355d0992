"""The kernels as plain Python and with checked array bounds give the results of compiled ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import ROOT
from numpy.typing import NDArray

MODES = {"jit_disabled": {"NUMBA_DISABLE_JIT": "1"}, "bounds_checked": {"NUMBA_BOUNDSCHECK": "1"}}


def smoke_run(folder: Path, settings: dict[str, str]) -> dict[str, NDArray[Any]]:
    """The results of `modes_smoke` in a process of its own, which may crash out of bounds."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {key for mode in MODES.values() for key in mode}
    }
    command = [
        sys.executable,
        "-W",
        "error",
        str(ROOT / "tests" / "modes_smoke.py"),
        str(folder / "results.npz"),
    ]
    environment = {**inherited, **settings, "PYTHONPATH": path}
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "results.npz") as saved:
        return dict(saved)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    """The results of an ordinary run."""
    results = smoke_run(tmp_path_factory.mktemp("compiled"), {})
    assert not any(results.pop(mode) for mode in MODES)
    return results


@pytest.mark.parametrize("mode", MODES)
def test_results_equal_the_compiled_ones(
    mode: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Compiled code cached by ordinary runs has no checks, so these get a cache of their own.
    found = smoke_run(tmp_path, {**MODES[mode], "NUMBA_CACHE_DIR": str(tmp_path / "cache")})
    in_force = {name for name in MODES if found.pop(name)}
    assert mode in in_force
    compiled = request.getfixturevalue(
        "compiled"
    )  # only now: a crash there must not keep a check from naming its cause
    assert set(found) == set(compiled)
    for name, array in found.items():
        np.testing.assert_allclose(array, compiled[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_smoke_run_covers_transmission_silence_and_empty_slots(
    compiled: dict[str, NDArray[Any]],
) -> None:
    for name, array in compiled.items():
        assert np.isfinite(array).all(), name
        if name.endswith("/rates"):
            assert (array > 0).any(axis=(0, 2)).all(), name
        if name.endswith("/silent_steps"):
            assert (array > 0).all(), name
    masks = [
        array
        for name, array in compiled.items()
        if name.startswith("empty_aps") and name.endswith("action_mask")
    ]
    assert masks
    assert all((mask == 0).any() for mask in masks)
