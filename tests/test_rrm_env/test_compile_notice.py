"""The line that is printed while kernels compile."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from folders import ROOT
from numba import njit
from numba.core import event

from baselines.greedy import Greedy, _best
from rrm_env import RRMConfig, evaluate
from rrm_env.compile_notice import LINE, Announcer


def compiled_by(module: str) -> Any:
    """What numba says of a function of this module."""
    return SimpleNamespace(
        data={"dispatcher": SimpleNamespace(py_func=SimpleNamespace(__module__=module))}
    )


def test_a_long_compilation_is_announced_once(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(Greedy(), RRMConfig(episode_length=1), 1)
    with event.install_listener("numba:compile", Announcer(0.01)):
        for _ in range(2):
            njit(_best.py_func).compile(_best.nopython_signatures[0])
    captured = capsys.readouterr()
    assert captured.err == LINE + "\n"
    assert captured.out == ""


def test_short_compilations_add_up_and_other_packages_do_not_count(
    capsys: pytest.CaptureFixture[str],
) -> None:
    announcer = Announcer(0.3)
    for module, seconds, said in [
        ("users.own", 0.5, False),
        ("rrm_env_of_others", 0.5, False),
        ("rrm_env.kernels", 0.2, False),
        ("baselines.itlinq", 0.2, True),
        ("rrm_env.kernels", 0.5, True),
    ]:
        announcer.on_start(compiled_by(module))
        announcer.on_start(compiled_by(module))  # a function that it calls
        time.sleep(seconds)
        announcer.on_end(compiled_by(module))
        announcer.on_end(compiled_by(module))
        told = capsys.readouterr().err
        assert told in ("", LINE + "\n")
        assert bool(told) == (said and module == "baselines.itlinq")


def test_a_process_that_loads_kernels_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    evaluate(Greedy(), RRMConfig(episode_length=2), 2)
    assert capfd.readouterr().err == ""


FIRST_STEP = """
from rrm_env import compile_notice, kernels, parallel_env
compile_notice.ANNOUNCER._patience_s = 0.1
env = parallel_env()
env.reset(seed=0)
env.step(dict.fromkeys(env.agents, 0))
print(*(name for name, value in vars(kernels).items()
        if getattr(value, "signatures", ()) and value.stats.cache_path))
"""


@pytest.mark.skipif(bool(os.environ.get("NUMBA_DISABLE_JIT")), reason="nothing is compiled")
def test_the_first_step_compiles_what_the_configuration_needs_and_says_so(tmp_path: Path) -> None:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST_STEP],
        env={**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["reset_episodes", "step_episodes"]
    assert done.stderr == LINE + "\n"
