"""``python -m marl watch``, and ``info`` without a path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toys import SMALL, run

from baselines.optimum import optimum
from marl import Policy
from rrm_env.watching import record

pytest.importorskip("pygame")


def test_video_of_a_run_is_that_of_its_policy(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = [tmp_path / f"{seed}.gif" for seed in range(2)]
    for seed, video in enumerate(videos):
        options = [
            "--video",
            video,
            "--policy-seed",
            seed,
            "--seed",
            4,
            "--set",
            "episode_length=9",
        ]
        assert run("watch", home / "sac", *options) == 0
        assert capsys.readouterr().out == f"wrote {video}\n"
    expected = tmp_path / "expected.gif"
    config = replace(SMALL, episode_length=9)
    record(
        expected,
        Policy.load(home / "sac", 1),
        config,
        4,
        "C-MARL-CQL (SAC)",
        optimum=optimum(config, 4, 1).score.value[0],
    )
    assert videos[1].read_bytes() == expected.read_bytes()


def test_run_of_another_environment_is_refused(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("watch", home / "match", "--video", tmp_path / "episode.gif") == 2
    assert "was trained in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_info_without_a_path_says_what_a_bug_report_needs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("info") == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["torch"] == torch.__version__
    assert lines["torch threads"] == str(torch.get_num_threads())
    assert {"rrm_env", "platform", "processor", "CUDA devices"} <= lines.keys()
