"""pygame's one window is shared by environments and libraries, and refused without a screen."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from folders import ROOT
from gymnasium.error import DependencyNotInstalled

from baselines import TDM
from rrm_env import RRMConfig, RRMParallelEnv, parallel_env
from rrm_env.provenance import facts
from rrm_env.watching import watch

pygame = pytest.importorskip("pygame")
CONFIG = RRMConfig(n_aps=2, n_ues=4, episode_length=20)


@pytest.fixture(autouse=True)
def shown(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No screen is needed; the captions of what was shown."""
    captions: list[str] = []
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(
        pygame.display, "flip", lambda: captions.append(pygame.display.get_caption()[0])
    )
    pygame.quit()
    yield captions
    pygame.quit()


def window(seed: int = 0) -> RRMParallelEnv:
    env = parallel_env(config=CONFIG, render_mode="human")
    env.reset(seed=seed)
    return env


def step(env: Any) -> None:
    env.step(dict.fromkeys(env.agents, 0))


@pytest.mark.parametrize("first", [0, 1])
def test_closing_one_window_leaves_the_other_and_the_last_one_closes(
    first: int, shown: list[str]
) -> None:
    envs = [window(0), window(1)]
    envs[first].close()
    envs[first].close()
    assert pygame.display.get_init()
    step(envs[1 - first])
    assert len(shown) == 3
    envs[1 - first].close()
    assert not pygame.display.get_init()
    step(envs[first])  # opens it again
    assert len(shown) == 4
    envs[first].close()
    assert not pygame.display.get_init()


def test_environments_that_were_forgotten_do_not_keep_the_window_open() -> None:
    kept = window()
    window(1)
    kept.close()
    assert not pygame.display.get_init()


def test_a_person_who_closes_the_window_closes_it_for_all(shown: list[str]) -> None:
    envs = [window(0), window(1)]
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    for env in envs:
        step(env)
    assert len(shown) == 2
    assert not pygame.display.get_init()


@pytest.mark.parametrize("quit_it", [pygame.quit, pygame.display.quit, pygame.font.quit])
@pytest.mark.parametrize("starts_again", [False, True])
def test_another_library_that_quits_pygame_does_not_break_pictures(
    quit_it: Any, starts_again: bool, shown: list[str]
) -> None:
    env, picture = window(), parallel_env(config=CONFIG, render_mode="rgb_array")
    picture.reset(seed=0)
    before = picture.render()
    quit_it()
    if starts_again:
        pygame.init()
    step(env)
    assert len(shown) == 2
    picture.reset(seed=0)
    after = picture.render()
    assert before is not None
    assert after is not None
    assert (before == after).all()
    env.close()


def test_a_window_that_another_library_opened_stays_open() -> None:
    pygame.display.init()
    pygame.display.set_mode((100, 100))
    window().close()
    assert pygame.display.get_init()


def test_a_copy_shows_and_closes_on_its_own(shown: list[str]) -> None:
    env = window()
    twin = copy.deepcopy(env)
    twin.close()
    step(env)
    step(twin)
    env.close()
    step(twin)
    assert len(shown) == 4
    twin.close()
    assert not pygame.display.get_init()


# --- No display ---


def without_display() -> dict[str, str]:
    hidden = (
        "SDL_VIDEODRIVER",
        "SDL_VIDEO_DRIVER",
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "XDG_RUNTIME_DIR",
    )
    return {name: value for name, value in os.environ.items() if name not in hidden}


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems have a screen, or none that can be hidden"
)
@pytest.mark.parametrize(
    ("driver", "reason"), [("", "SDL found none"), ("x11", "x11 not available")]
)
def test_watching_without_a_display_is_refused_by_name(driver: str, reason: str) -> None:
    environment = {**without_display(), **({"SDL_VIDEODRIVER": driver} if driver else {})}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "baselines", "--watch", "tdm", "--set", "episode_length=2"]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]  # the Wayland library may say something before
    assert (
        line
        == f"error: no display ({reason}): use --video, rrm_env.record or render_mode='rgb_array'"
    )


# --- Two distributions of one import name ---


@pytest.fixture
def twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both distributions of pygame are installed."""
    for name, version in (("pygame", "2.6.1"), ("pygame-ce", "2.5.9")):
        folder = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))


CONFLICT = (
    "pygame 2.6.1 and pygame-ce 2.5.9 are both installed as 'pygame' and overwrite each other's "
    "files: pip uninstall pygame pygame-ce"
)


@pytest.mark.usefixtures("twice")
def test_two_distributions_of_pygame_are_named_before_a_window_opens(shown: list[str]) -> None:
    expected = f"^{CONFLICT}, and windows crash; then pip install pygame-ce$"
    with pytest.raises(DependencyNotInstalled, match=expected):
        parallel_env(render_mode="human")
    with pytest.raises(DependencyNotInstalled, match=expected):
        watch(TDM(), CONFIG)
    assert shown == []
    assert not pygame.display.get_init()
    parallel_env(render_mode="rgb_array").reset(seed=0)


@pytest.mark.usefixtures("twice")
def test_bug_reports_name_the_conflict() -> None:
    assert facts()["conflict 1"] == CONFLICT
    assert "conflict 2" not in facts()


def test_one_distribution_is_no_conflict() -> None:
    assert not any(name.startswith("conflict") for name in facts())
