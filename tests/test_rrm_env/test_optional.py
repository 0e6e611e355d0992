"""Missing or broken optional libraries: refused with the reason where they were asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from broken import REASONS, break_library, remove_library
from gymnasium.error import DependencyNotInstalled

from baselines.__main__ import main
from baselines.plots import check_picture
from rrm_env import optional, parallel_env
from rrm_env.watching import check_video


def draw() -> None:
    """Ask for pictures of an environment."""
    env = parallel_env(render_mode="rgb_array")
    env.reset(seed=0)
    env.render()


ASKED: dict[str, tuple[str, Callable[[Path], object], type[Exception], str]] = {
    "plot": (
        "matplotlib",
        lambda folder: check_picture(folder / "a.png"),
        ValueError,
        r"--plot needs matplotlib",
    ),
    "render": ("pygame", lambda _: draw(), DependencyNotInstalled, r"rendering needs pygame"),
    "gif": (
        "imageio",
        lambda folder: check_video(folder / "a.gif"),
        DependencyNotInstalled,
        r"videos need imageio",
    ),
    "mp4": (
        "imageio_ffmpeg",
        lambda folder: check_video(folder / "a.mp4"),
        DependencyNotInstalled,
        r"videos need imageio_ffmpeg",
    ),
}


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("asked", ASKED)
def test_what_needs_a_broken_library_is_refused_with_the_reason(
    asked: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, ask, error, refusal = ASKED[asked]
    break_library(library, kind, tmp_path / "broken", monkeypatch)
    with pytest.raises(
        error, match=rf"^{refusal}, which is installed but cannot be imported \({kind}: \w[^\n]*\)$"
    ):
        ask(tmp_path)


@pytest.mark.parametrize("asked", ASKED)
def test_what_needs_a_missing_library_says_how_to_install_it(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, ask, error, refusal = ASKED[asked]
    remove_library(library, monkeypatch)
    with pytest.raises(error, match=rf'^{refusal}: pip install -e "\.\[\w+\]"$'):
        ask(tmp_path)


def test_a_gif_needs_no_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_library("imageio_ffmpeg", "OSError", tmp_path / "broken", monkeypatch)
    assert check_video(tmp_path / "a.gif") == tmp_path / "a.gif"


@pytest.mark.parametrize("kind", REASONS)
def test_the_command_refuses_before_any_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    break_library("matplotlib", kind, tmp_path / "broken", monkeypatch)
    assert main(["--plot", str(tmp_path / "a.png"), "--json", str(tmp_path / "a.json")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(
        f"error: --plot needs matplotlib, which is installed but cannot be imported ({kind}: "
    )
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.glob("a.*"))


def test_what_is_only_welcome_is_left_out_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(optional, "_said", set())
    break_library("decoration", "RuntimeError", tmp_path, monkeypatch)
    for _ in range(3):
        assert optional.welcome("decoration", "decoration", "the room stays bare") is None
        assert (
            optional.welcome("not_installed_anywhere", "not_installed_anywhere", "nothing") is None
        )
    reason = "RuntimeError: built for another version of numpy"
    assert caplog.messages == [f"decoration is left out ({reason}): the room stays bare"]


def test_an_interruption_while_importing_is_none_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        optional.attempt("slow")


def test_a_required_module_is_the_library() -> None:
    assert optional.required("this needs", "json", "sys", extra="none") is importlib.import_module(
        "json"
    )
    assert optional.lacking("json", "sys", extra="none") is None
    assert sys.modules["json"]
