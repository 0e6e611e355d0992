"""``--watch``, ``--video`` and ``--info`` of the baselines' command.

The functions behind them are tested in test_rendering.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import baselines.__main__ as command
from baselines import TDM, ITLinQ
from baselines.optimum import optimum
from rrm_env import RRMConfig, __version__
from rrm_env.watching import record

pygame = pytest.importorskip("pygame")
SHORT = ["--set", "episode_length=4"]


def test_video_of_a_scheduler_is_that_of_the_library_with_the_optimum_of_the_episode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, expected = tmp_path / "episode.gif", tmp_path / "expected.gif"
    assert (
        command.main(
            [
                "--watch",
                "itlinq:tolerance_db=0",
                "--video",
                str(path),
                "--seed",
                "3",
                "--network",
                "wide",
                *SHORT,
            ]
        )
        == 0
    )
    assert capsys.readouterr().out == f"wrote {path}\n"
    config = RRMConfig.preset("wide", episode_length=4)
    record(
        expected,
        ITLinQ(tolerance_db=0),
        config,
        3,
        "itlinq:tolerance_db=0",
        optimum=optimum(config, 3, 1).score.value[0],
    )
    assert path.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("why", ["csi_delay=0", "n_aps=11", "scipy"])
def test_video_without_an_optimum_where_it_is_unknown(
    why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RRM_ENV_CACHE_DIR", str(tmp_path / "cache"))
    path, expected = tmp_path / "episode.gif", tmp_path / "expected.gif"
    changes: dict[str, Any] = {"episode_length": 4}
    if why == "scipy":
        monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    else:
        name, _, value = why.partition("=")
        changes[name] = int(value)
    arguments = [f"{name}={value}" for name, value in changes.items()]
    assert command.main(["--watch", "tdm", "--video", str(path), "--set", *arguments]) == 0
    record(expected, TDM(), RRMConfig(**changes), 0, "tdm")
    assert path.read_bytes() == expected.read_bytes()


def test_watching_opens_a_window_for_one_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    flips: list[str] = []
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(
        pygame.display, "flip", lambda: flips.append(pygame.display.get_caption()[0])
    )
    assert command.main(["--watch", "greedy", *SHORT]) == 0
    assert flips == ["greedy"] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--video", "episode.gif"], "--video needs --watch SCHEDULER"),
        (["--watch", "itlink"], "unknown scheduler 'itlink' (did you mean 'itlinq'?)"),
        (
            ["--watch", "itlinq", "--video", "episode.avi"],
            "--video = 'episode.avi' must end in .gif or .mp4",
        ),
        (
            ["--watch", "itlinq", "--video", "missing/episode.gif"],
            "--video = 'missing/episode.gif' must lie in an existing folder",
        ),
        (
            ["--watch", "itlinq", "--json", "out.json"],
            "--json belongs to the comparison and does not go with --watch",
        ),
        (["--watch", "itlinq", "--seed", "-1"], "seed must be an integer of at least 0"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str], message: str, refused: Callable[[list[str], str], None]
) -> None:
    refused(arguments, message)


def test_info_says_versions_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--info"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["rrm_env"] == __version__
    assert lines["numpy"] == numpy.__version__
    assert {
        "python",
        "numba",
        "pettingzoo",
        "gymnasium",
        "platform",
        "processor",
        "cores",
        "revision",
    } <= lines.keys()
    assert "imageio" in lines
