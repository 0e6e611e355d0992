"""``python -m marl sweep``: its table, its files and its errors."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toys import run
from workers import wait_until

from marl.cli.shared import EngineOptions
from marl.engines.base import Serial
from marl.runs.checkpoint import updates_done
from rrm_env.exit_status import GOES_ON

TOML = """
seeds = 2
[collect]
scheduler = "random_walk:silence=true"
transitions = 100
set = { n_aps = 2, n_ues = 6, n_candidates = 2, episode_length = 10 }
[train]
hidden_sizes = [16]
batch_size = 8
updates = UPDATES
log_every = 5
evaluate_every = 10
checkpoint_every = 5
evaluation_episodes = 2
paradigm = ["c", "i"]
[evaluate]
episodes = 4
schedulers = "tdm"
"""


@pytest.fixture(name="here")
def in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The command without workers, in a folder with study.toml."""
    monkeypatch.setattr(EngineOptions, "open", lambda _, listen: Serial(listen))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text(TOML.replace("UPDATES", "20"))
    return tmp_path


def test_the_command_prints_the_merged_table_and_writes_it_and_its_picture(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep", "study.toml") == 0
    captured = capsys.readouterr()
    results = json.loads((here / "study" / "results.json").read_text())
    lines = [" ".join(line.split()) for line in captured.out.splitlines()]
    for row in results["rows"]:
        kpis = row["kpis"]
        digits = {"sum_rate": 2, "tail_rate": 3, "worst_rate": 3, "score": 3}
        means = " ".join(f"{kpis[name]['mean']:.{n}f}" for name, n in digits.items())
        who = (
            f"{row['name']} {row['varied']['paradigm']} 2 {row['updates']}"
            if row["varied"]
            else row["name"]
        )
        assert f"{who} {means}" in lines
        assert any(
            line.endswith(f"{kpis['score']['low']:.3f}…{kpis['score']['high']:.3f}")
            for line in lines
        )
    assert len(results["rows"]) == 3
    assert lines[-2:] == ["wrote study/results.json", "wrote study/results.png"]
    assert (here / "study" / "results.png").read_bytes().startswith(b"\x89PNG")
    assert "2 cells: 0 done, 0 begun, 2 to begin" in captured.err
    assert re.search(r"^done 3/3: scheduler tdm \(\S+, \d\.\d s\)$", captured.err, re.MULTILINE)


def test_the_command_fails_when_cells_did(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "study.toml").write_text(
        TOML.replace("UPDATES", "20").replace(
            "batch_size", "critic_learning_rate = [1e30]\nbatch_size"
        )
    )
    assert run("sweep", "study.toml", "--out", "out") == 1
    captured = capsys.readouterr()
    assert re.search(
        r"^error: 2 of 3 failed; the same command tries again: "
        r"c-marl-cql-sac-\w+/evaluation-\w+\.json: Div",
        captured.err,
        re.M,
    )
    assert "tdm" in captured.out
    assert "wrote out/results.json" in captured.out.replace(os.sep, "/")


def test_a_file_where_the_folder_should_be_is_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep", "study.toml", "--out", "study.toml") == 2
    assert "--out must be a folder, got the file 'study.toml'" in capsys.readouterr().err
    assert run("sweep", "study.toml", "--out", "study.toml/x") == 2
    assert re.search(
        r"^error: out = '\S+study\.toml/x' cannot be made: Not a directory$",
        capsys.readouterr().err,
        re.MULTILINE,
    )


def test_nothing_is_made_where_no_cluster_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray")
    (tmp_path / "study.toml").write_text(TOML.replace("UPDATES", "20"))
    address = "--engine", "ray", "--address", "127.0.0.1:1"
    assert run("sweep", tmp_path / "study.toml", "--out", tmp_path / "out", *address) == 2
    assert "no Ray cluster answers there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_interrupted_command_says_so_and_goes_on_later(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(TOML.replace("UPDATES", "2000"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "marl", "sweep", "study.toml", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: list(tmp_path.glob("study/runs/*/checkpoint.safetensors")))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told.splitlines()[-1] == f"interrupted by SIGINT: {GOES_ON}"
    assert "Traceback" not in told
    (checkpoint,) = tmp_path.glob("study/runs/*/checkpoint.safetensors")
    updates = updates_done(checkpoint.parent)
    assert 0 < updates < 2000
