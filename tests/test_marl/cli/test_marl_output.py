"""Commands of ``python -m marl`` keep their files when standard output fails."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from streams import closed_pipe, full_device
from toys import furnished, run

SWEEP = """
seeds = 1
[train]
updates = 2
hidden_sizes = [4]
batch_size = 4
replay_capacity = 60
learning_starts = 8
set = { episode_length = 5 }
[evaluate]
episodes = 2
schedulers = "tdm"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = furnished(tmp_path_factory.mktemp("commands"))
    (made / "sweep.toml").write_text(SWEEP)
    return made


COMMANDS = {
    "collect": ("--transitions", 20, "--set", "episode_length=5", "--out"),
    "evaluate": ("sac", "--episodes", 2, "--json"),
    "sweep": ("sweep.toml", "--engine", "local", "--workers", 1, "--out"),
    "export": ("data.safetensors", "--arrays", "data.npz", "--card"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["latin-1", "closed", "full"])
def test_files_are_written_whatever_the_output_takes(
    command: str,
    kind: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder)
    out = tmp_path / f"{command}.out"
    with closed_pipe() as closed, full_device() as full:
        latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        monkeypatch.setattr(sys, "stdout", {"latin-1": latin, "closed": closed, "full": full}[kind])
        assert run(command, *COMMANDS[command], out) == (1 if kind == "full" else 0)
    assert out.exists()
