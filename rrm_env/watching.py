"""Watching a scheduler at work: one unseen episode in a window, or as a video."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from rrm_env.config import RRMConfig
from rrm_env.evaluation import first_episode
from rrm_env.files import check_writable, write_whole, write_whole_at
from rrm_env.network import Network
from rrm_env.optional import required
from rrm_env.rendering import FRAMES_PER_SECOND, Renderer
from rrm_env.scheduler import Scheduler, require_scheduler

VIDEO_FORMATS = (".gif", ".mp4")


def watch(
    scheduler: Scheduler, config: RRMConfig | None = None, seed: int = 0, title: str = "rrm-v0"
) -> None:
    """Show one episode in a window, until it ends or the window is closed.

    Args:
        scheduler: any `Scheduler`.
        config: the network; the preset ``paper`` where None.
        seed: the episode shown is the first of `evaluate` with this seed.
        title: stands above the KPIs.

    Raises:
        TypeError, ValueError: something else than the above.
        DependencyNotInstalled: pygame is missing, or two distributions of it are installed.
        NoDisplayError: there is no screen.
    """
    for _ in _pictures(scheduler, config, seed, title, "human"):
        pass


def record(
    path: str | Path,
    scheduler: Scheduler,
    config: RRMConfig | None = None,
    seed: int = 0,
    title: str = "rrm-v0",
) -> None:
    """Write what `watch` shows as a GIF or MP4, whole or not at all. The other arguments are those of `watch`.

    Raises:
        ValueError: a path that cannot be written, or ends in something else.
        WriteError: the system refuses to store it, a full disk say.
        DependencyNotInstalled: pygame, or imageio and its ffmpeg, are missing.
    """
    target = check_video(path)
    frames = _pictures(scheduler, config, seed, title, "rgb_array")
    if target.suffix.lower() == ".gif":
        content = (
            io.BytesIO()
        )  # the encoder tries again and complains where it meets a full disk itself
        _encode(
            content, frames, format="gif", duration=1000 / FRAMES_PER_SECOND, loop=0
        )  # milliseconds; again and again
        write_whole(target, lambda file: file.write(content.getbuffer()))
    else:
        write_whole_at(target, lambda temporary: _encode_video(temporary, frames))


def check_video(path: str | Path, name: str = "path") -> Path:
    """The path, if a video can be written there; `name` is what to call it (ValueError, DependencyNotInstalled)."""
    target = check_writable(name, path)
    if target.suffix.lower() not in VIDEO_FORMATS:
        raise ValueError(f"{name} = {str(target)!r} must end in {' or '.join(VIDEO_FORMATS)}")
    encoders = (
        ["imageio.v2"] if target.suffix.lower() == ".gif" else ["imageio.v2", "imageio_ffmpeg"]
    )
    required("videos need", *encoders, extra="render", error=DependencyNotInstalled)
    return target


def _pictures(
    scheduler: Scheduler, config: RRMConfig | None, seed: int, title: str, render_mode: str
) -> Iterator[NDArray[np.uint8] | None]:
    require_scheduler(scheduler)
    network = Network(config)
    renderer = Renderer(network.config, render_mode, title=title)
    network.reset(first_episode(seed))
    scheduler.reset(network)
    try:
        renderer.observe(network)
        yield renderer.render()
        while not network.done and not renderer.closed:
            network.step(scheduler.schedule(network))
            renderer.observe(network)
            yield renderer.render()
    finally:
        renderer.close()


def _encode_video(path: Path, frames: Iterator[NDArray[np.uint8] | None]) -> None:
    import imageio_ffmpeg

    count = _encode(path, frames, fps=FRAMES_PER_SECOND, ffmpeg_log_level="quiet")
    try:
        written, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except RuntimeError:  # it cannot be read at all
        written = 0
    if written != count:  # imageio does not ask ffmpeg how it ended
        raise OSError("ffmpeg left it incomplete, as on a full disk")


def _encode(
    target: Path | io.BytesIO, frames: Iterator[NDArray[np.uint8] | None], **options: Any
) -> int:
    """Write the frames and say how many there were."""
    import imageio.v2

    writer: Any
    count = 0
    with imageio.v2.get_writer(target, **options) as writer:
        for frame in frames:
            writer.append_data(frame)
            count += 1
    return count
