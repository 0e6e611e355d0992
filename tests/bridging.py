"""What tests of examples/bridges share."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import EXAMPLES, examples

from rrm_env import Network
from rrm_env.trace import Trace

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module", name="scripts")
def imported() -> Iterator[SimpleNamespace]:
    """The scripts of examples/bridges."""
    with examples():
        import bridge
        import deepmimo
        import drive_test_csv
        import quadriga
        import sionna_rt
        import street_maps
        import street_walks
        import walks

        yield SimpleNamespace(
            bridge=bridge,
            deepmimo=deepmimo,
            drive_test_csv=drive_test_csv,
            quadriga=quadriga,
            sionna_rt=sionna_rt,
            street_maps=street_maps,
            street_walks=street_walks,
            walks=walks,
        )


@pytest.fixture(name="run")
def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """A function that runs a script with arguments: its status, and what it says.

    The script runs in an empty folder and writes gains.npz there.
    """

    def call(name: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with examples(), pytest.raises(SystemExit) as ended:
            runpy.run_path(str(EXAMPLES / "bridges" / f"{name}.py"), run_name="__main__")
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out + said.err

    return call


def play(path: Path) -> Network:
    """A network that has played an episode of the trace in a file."""
    trace = Trace.load(path)
    length = min(trace.shape[1] - 2, 5)
    network = Network(trace.config(episode_length=length, trace_split="none"), 2)
    network.reset(0)
    while not network.done:
        network.step(np.full((2, trace.shape[2]), -1))
    return network
