"""The line that is printed while kernels compile."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
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
