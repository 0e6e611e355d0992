"""Pictures of episodes: what is drawn where, in every face, in windows and in files."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray
from pettingzoo.test import render_test

from baselines import Greedy, ITLinQ, TurnTaking
from rrm_env import (
    SILENT,
    Network,
    PoweredDecision,
    RRMConfig,
    RRMJointEnv,
    RRMVectorEnv,
    metrics,
    parallel_env,
    rrm_v0,
)
from rrm_env.canvas import HEIGHT, WIDTH, Canvas, user_colours
from rrm_env.evaluation import first_episode
from rrm_env.rendering import Renderer
from rrm_env.watching import record, watch

pygame = pytest.importorskip("pygame")
imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")

VERMILION, GREEN, INK = (213, 94, 0), (0, 158, 115), (40, 40, 40)
SPARSE = RRMConfig(n_aps=2, n_ues=4, area_side_m=1000, min_ap_distance_m=300, episode_length=6)
"""Few things far apart, so that a pixel shows one of them."""


@pytest.fixture(autouse=True)
def _no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def drawn(
    config: RRMConfig, served: Any, seed: int = 0, steps: int = 1
) -> tuple[Network, NDArray[np.uint8]]:
    """A network after some steps of the same service, and its picture."""
    network, renderer = Network(config), Renderer(config, "rgb_array")
    network.reset(seed)
    renderer.observe(network)
    for _ in range(steps):
        network.step(served(network))
        renderer.observe(network)
    frame = renderer.render()
    assert frame is not None
    return network, frame


def pixel(
    frame: NDArray[np.uint8],
    config: RRMConfig,
    position: NDArray[np.float64],
    shift: tuple[float, float] = (0, 0),
) -> Any:
    """The colour at a position in metres, `shift` pixels to the right and down."""
    x = 28 + position[0] * 640 / config.area_side_m + shift[0]
    y = 28 + (config.area_side_m - position[1]) * 640 / config.area_side_m + shift[1]
    return tuple(frame[round(y), round(x)].tolist())


def first_of_ap_0(network: Network) -> NDArray[np.int64]:
    """Access point 0 serves its best candidate, all others are silent."""
    served = np.full((1, network.config.n_aps), SILENT)
    served[0, 0] = network.candidates[0, 0, 0]
    return served


def test_pettingzoo_s_render_test_passes() -> None:
    render_test(rrm_v0.env)


@pytest.mark.parametrize("preset", ["paper", "dense"])
def test_frames_have_one_size_and_type(preset: str) -> None:
    env = parallel_env(render_mode="rgb_array", preset=preset, episode_length=3)
    env.reset(seed=0)
    for t in range(4):
        frame = env.render()
        assert frame is not None
        assert frame.shape == (HEIGHT, WIDTH, 3)
        assert frame.dtype == np.uint8
        assert frame.flags.writeable
        if t < 3:
            env.step(dict.fromkeys(env.agents, 0))


def test_users_and_access_points_stand_where_they_are() -> None:
    network, frame = drawn(SPARSE, first_of_ap_0)
    rates = network.ue_rate_sum[0] / network.t
    colours = user_colours(rates, float(metrics.tail_rate(rates)))
    for j, position in enumerate(network.ue_positions[0]):
        assert pixel(frame, SPARSE, position) == tuple(colours[j])
    for i, position in enumerate(network.ap_positions[0]):
        transmits = network.served[0, i] != SILENT
        assert (pixel(frame, SPARSE, position, (0, -7)) == INK) == transmits


def test_access_points_are_the_paler_the_less_power_they_have_and_interfere_with_it() -> None:
    config = replace(SPARSE, power_levels_dbm=(10.0, 0.0, -30.0))
    seen, dashes = [], []
    for level in range(3):

        def served(network: Network, level: int = level) -> PoweredDecision:
            candidates = network.candidates[:, :, 0].astype(np.int64)
            return PoweredDecision(candidates, np.array([[level, 0]]))

        network, frame = drawn(config, served)
        assert (network.served >= 0).all()
        seen.append(pixel(frame, config, network.ap_positions[0, 0], (0, -7)))
        dashes.append(int((frame[:, :680] == (204, 121, 167)).all(axis=2).sum()))
    assert seen[0] == INK
    assert INK < seen[1] < seen[2]
    assert dashes[0] < dashes[2]  # the signal of AP 0 has become too weak beside AP 1
    assert drawn(replace(SPARSE, power_levels_dbm=(10.0,)), served_first)[1].tobytes() == (
        drawn(SPARSE, served_first)[1].tobytes()
    )


def served_first(network: Network) -> NDArray[np.int64]:
    return network.candidates[:, :, 0].astype(np.int64)


def test_served_users_have_a_ring_and_a_line_in_green_and_others_have_not() -> None:
    network, frame = drawn(SPARSE, first_of_ap_0)
    served = int(network.served[0, 0])
    for j, position in enumerate(network.ue_positions[0]):
        ring = [
            pixel(frame, SPARSE, position, shift)
            for shift in ((11, 0), (-11, 0), (0, 11), (0, -11))
        ]
        assert (ring.count(GREEN) == 4) == (j == served)
    middle = (network.ap_positions[0, 0] + network.ue_positions[0, served]) / 2
    assert pixel(frame, SPARSE, middle) == GREEN


def test_lines_of_service_are_as_thick_as_the_rate_of_the_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    widths: list[float] = []
    original = Canvas._line

    def noted(self: Any, start: Any, end: Any, colour: Any, width: float) -> None:
        widths.extend([width] * (colour == GREEN))
        original(self, start, end, colour, width)

    network, renderer = Network(SPARSE), Renderer(SPARSE, "rgb_array")
    network.reset(0)
    renderer.observe(network)
    renderer.render()  # its legend has such lines too
    monkeypatch.setattr(Canvas, "_line", noted)
    for _ in range(3):
        rates, _ = network.step(first_of_ap_0(network))
        renderer.observe(network)
        renderer.render()
        assert widths.pop() == pytest.approx(2 + min(rates.max(), 8))
    assert not widths


def test_interference_is_drawn_within_10_db_only() -> None:
    """Of two access points that serve, each is joined by dashes to a user it disturbs.

    That is a user whose signal is less than ten times the interference.
    """
    purple, kinds = np.array((204, 121, 167)), set()
    for seed in range(12):
        network, renderer = Network(SPARSE), Renderer(SPARSE, "rgb_array")
        network.reset(seed)
        if (network.candidates[0, :, 0] == SILENT).any():
            continue
        renderer.observe(network)
        served, gain = network.candidates[:, :, 0].copy(), network.gain[0].copy()
        network.step(served)
        renderer.observe(network)
        frame = renderer.render()
        assert frame is not None
        strong = any(gain[1 - i, j] > 0.1 * gain[i, j] for i, j in enumerate(served[0]))
        square = frame[28:668, 28:668]
        assert (np.abs(square.astype(int) - purple).sum(-1) == 0).any() == strong
        kinds.add(strong)
    assert kinds == {False, True}


def test_colours_part_the_tail_from_the_rest_and_darken_with_every_doubling() -> None:
    colours = user_colours(np.array([0.0, 0.1, 0.1001, 0.2, 0.4, 0.8, 3.0]), 0.1)
    assert [tuple(row) for row in colours[:2].tolist()] == [VERMILION, VERMILION]
    brightness = colours[2:].sum(1)
    assert (np.diff(brightness)[:3] < 0).all()
    assert brightness[-1] == brightness[-2]  # the scale ends at eight times the tail
    np.testing.assert_array_equal(
        user_colours(np.array([0.0, 0.5]), 0.0), [VERMILION, (8, 40, 105)]
    )


def test_kpis_on_the_picture_are_those_of_the_episode_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[str] = []
    original = Canvas._text

    def noted(self: Any, text: str, size: int, colour: Any) -> Any:
        written.append(text)
        return original(self, text, size, colour)

    monkeypatch.setattr(Canvas, "_text", noted)
    network, _ = drawn(
        RRMConfig(episode_length=30), lambda network: network.candidates[:, :, 0].copy(), steps=30
    )
    rates, c = network.ue_rate_sum / 30, network.config
    expected = [
        f"{metrics.sum_rate(rates)[0]:.2f}",
        f"{metrics.tail_rate(rates)[0]:.3f}",
        f"{metrics.score(rates, c.sum_weight, c.score_tail_weight)[0]:.3f}",
        "step 30 of 30, 1.5 s",
    ]
    assert set(expected) <= set(written)


@pytest.mark.parametrize("steps", [29, 30])
def test_picture_of_an_episode_whose_optimum_is_given_states_it_and_at_the_end_the_share(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    original = Canvas._text

    def noted(self: Any, text: str, size: int, colour: Any) -> Any:
        written.append(text)
        return original(self, text, size, colour)

    monkeypatch.setattr(Canvas, "_text", noted)
    config = RRMConfig(episode_length=30)
    network, scheduler = Network(config), ITLinQ()
    network.reset(0)
    plain, measured = (Renderer(config, "rgb_array", optimum=best) for best in (None, 3.0123))
    for renderer in (plain, measured):
        renderer.observe(network)
    for _ in range(steps):
        network.step(scheduler.schedule(network))
        for renderer in (plain, measured):
            renderer.observe(network)
    without = plain.render()
    assert not any("optimum" in text for text in written)
    with_it = measured.render()
    rates = network.ue_rate_sum[0] / steps
    score = metrics.score(rates, config.sum_weight, config.score_tail_weight)
    share = f"{100 * score / 3.0123:.0f} % of optimum 3.012"
    assert [text for text in written if "optimum" in text] == [
        share if steps == 30 else "optimum 3.012"
    ]
    assert without is not None
    assert with_it is not None
    changed = np.argwhere((without != with_it).any(axis=2))
    assert changed[:, 0].min() >= 270  # the chart of the score, and nothing else
    assert changed[:, 0].max() < 345
    assert changed[:, 1].min() >= 700


def test_picture_depends_on_the_decision_not_only_on_the_state() -> None:
    serving, silent = (
        drawn(SPARSE, served)[1] for served in (first_of_ap_0, lambda _: np.full((1, 2), SILENT))
    )
    assert not np.array_equal(serving, silent)


@pytest.mark.parametrize("make", [parallel_env, rrm_v0.joint_env])
def test_rendering_changes_no_episode(make: Any) -> None:
    frames = []
    for mode in ("rgb_array", None):
        env = make(render_mode=mode, episode_length=4)
        env.reset(seed=5)
        actions = dict.fromkeys(getattr(env, "agents", []), 0) or np.zeros(4, np.int64)
        for _ in range(4):
            returned = env.step(actions)
            if mode:
                env.render()
        frames.append((env.network.observation.copy(), returned[1], env.network.ue_rate_sum.copy()))
    np.testing.assert_array_equal(frames[0][0], frames[1][0])
    assert frames[0][1] == frames[1][1]
    np.testing.assert_array_equal(frames[0][2], frames[1][2])


def test_all_faces_draw_the_same_picture() -> None:
    config = RRMConfig(episode_length=3)
    parallel, joint = (
        parallel_env(render_mode="rgb_array", config=config),
        RRMJointEnv(config, "rgb_array"),
    )
    vector = RRMVectorEnv(2, config, render_mode="rgb_array", autoreset_mode="Disabled")
    parallel.reset(seed=9)
    joint.reset(seed=9)
    vector.reset(seed=[3, 9])
    for _ in range(3):
        parallel.step(dict.fromkeys(parallel.agents, 1))
        joint.step(np.ones(4, np.int64))
        vector.step(np.ones((2, 4), np.int64))
    frames = vector.render()
    assert frames is not None
    np.testing.assert_array_equal(parallel.render(), joint.render())
    np.testing.assert_array_equal(parallel.render(), frames[1])
    assert not np.array_equal(frames[0], frames[1])


def test_a_new_episode_forgets_the_last_one() -> None:
    fresh, used = (parallel_env(render_mode="rgb_array", episode_length=3) for _ in range(2))
    used.reset(seed=1)
    used.step(dict.fromkeys(used.agents, 0))
    fresh.reset(seed=2)
    used.reset(seed=2)
    np.testing.assert_array_equal(fresh.render(), used.render())


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))],
    ids=["deepcopy", "pickle"],
)
def test_copy_of_a_drawn_environment_draws_the_same(duplicate: Any) -> None:
    env = parallel_env(render_mode="rgb_array", episode_length=4)
    env.reset(seed=3)
    env.step(dict.fromkeys(env.agents, 0))
    before = env.render()
    twin = duplicate(env)
    np.testing.assert_array_equal(twin.render(), before)
    for one in (env, twin):
        one.step(dict.fromkeys(one.agents, 1))
    np.testing.assert_array_equal(twin.render(), env.render())


def test_rendering_without_a_mode_warns_and_before_a_reset_is_refused() -> None:
    env = parallel_env()
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="render\\(\\) was called without a render mode"):
        assert env.render() is None
    with pytest.warns(UserWarning, match="without a render mode"):
        assert RRMVectorEnv(2).render() is None
    with pytest.raises(RuntimeError, match="there is no episode to draw"):
        parallel_env(render_mode="rgb_array").render()


def test_window_shows_every_step_and_closing_it_stops_drawing_but_not_the_episode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flips: list[int] = []
    monkeypatch.setattr(pygame.display, "flip", lambda: flips.append(1))
    env = parallel_env(render_mode="human", episode_length=5)
    env.reset(seed=0)
    env.step(dict.fromkeys(env.agents, 0))
    assert len(flips) == 2
    assert env.render() is None
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    for _ in range(4):
        env.step(dict.fromkeys(env.agents, 0))
    assert len(flips) == 2
    assert not pygame.display.get_init()
    env.close()


def test_missing_pygame_is_said_when_the_environment_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(
        DependencyNotInstalled, match=r'rendering needs pygame: pip install -e "\.\[render\]"'
    ):
        parallel_env(render_mode="rgb_array")
    parallel_env().reset(seed=0)


# --- Watching ---


def frames_of(path: Path) -> NDArray[np.uint8]:
    """(frames, height, width, 3) of a video, decoded by ffmpeg itself."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(path),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    decoded = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(decoded, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_video_has_a_frame_per_step_and_ends_with_the_episode(ending: str, tmp_path: Path) -> None:
    config, path = RRMConfig(episode_length=5), tmp_path / f"episode{ending}"
    record(path, ITLinQ(), config, seed=2, title="itlinq", optimum=1.5)
    frames = frames_of(path)
    assert frames.shape == (6, HEIGHT, WIDTH, 3)
    renderer, network, scheduler = (
        Renderer(config, "rgb_array", title="itlinq", optimum=1.5),
        Network(config),
        ITLinQ(),
    )
    network.reset(first_episode(2))
    scheduler.reset(network)
    renderer.observe(network)
    while not network.done:
        network.step(scheduler.schedule(network))
        renderer.observe(network)
    last = renderer.render()
    assert last is not None
    error = np.abs(frames[-1].astype(int) - last).mean()
    assert error < 3  # palettes and compression
    assert error < np.abs(frames[0].astype(int) - last).mean() / 2
    assert [other.name for other in tmp_path.iterdir()] == [path.name]


def test_interrupted_video_leaves_nothing_behind(tmp_path: Path) -> None:
    class Broken(Greedy):
        def schedule(self, network: Network) -> NDArray[np.int64]:
            if network.t == 2:
                raise RuntimeError("broken")
            return super().schedule(network)

    with pytest.raises(RuntimeError, match="broken"):
        record(tmp_path / "episode.gif", Broken(), RRMConfig(episode_length=5))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["episode.avi", "episode"])
def test_unknown_video_formats_are_refused_before_anything_is_drawn(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"must end in \.gif or \.mp4"):
        record(tmp_path / name, ITLinQ())


def test_missing_video_writer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(DependencyNotInstalled, match=r'pip install -e "\.\[render\]"'):
        record(tmp_path / "episode.mp4", ITLinQ())


def test_watching_ends_with_the_episode_or_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    flips: list[int] = []
    monkeypatch.setattr(pygame.display, "flip", lambda: flips.append(1))
    watch(TurnTaking(), RRMConfig(episode_length=4))
    assert len(flips) == 5
    flips.clear()

    def flip_and_close() -> None:
        flips.append(1)
        pygame.event.post(pygame.event.Event(pygame.QUIT))

    monkeypatch.setattr(pygame.display, "flip", flip_and_close)
    scheduler = TurnTaking()
    decisions: list[int] = []
    schedule = scheduler.schedule

    def noted(network: Network) -> NDArray[np.int64]:
        decisions.append(network.t)
        return schedule(network)

    monkeypatch.setattr(scheduler, "schedule", noted)
    watch(scheduler, RRMConfig(episode_length=50))
    assert len(flips) == 1
    assert decisions == [0]


def test_watching_something_else_than_a_scheduler_is_refused() -> None:
    with pytest.raises(TypeError, match="scheduler must have reset"):
        watch(ITLinQ)  # type: ignore[arg-type]
