"""One unseen episode of a scheduler, in a window or as a video."""

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
    scheduler: Scheduler,
    config: RRMConfig | None = None,
    seed: int = 0,
    title: str = "rrm-v0",
    *,
    optimum: float | None = None,
) -> None:
    """Show one episode in a window, until it ends or the window is closed.

    Args:
        scheduler: any `Scheduler`.
        config: the network; the preset ``paper`` where None.
        seed: the episode shown is the first of `evaluate` with this seed.
        title: text above the KPIs.
        optimum: the best score that can be reached in this episode, as `baselines.optimum.optimum`
            finds it; drawn beside the score so far.

    Raises:
        TypeError, ValueError: an argument of another type or out of range.
        DependencyNotInstalled: pygame is missing, or two distributions of it are installed.
        NoDisplayError: there is no screen.
    """
    for _ in _pictures(scheduler, config, seed, title, "human", optimum):
        pass


def record(
    path: str | Path,
    scheduler: Scheduler,
    config: RRMConfig | None = None,
    seed: int = 0,
    title: str = "rrm-v0",
    *,
    optimum: float | None = None,
) -> None:
    """Write the episode that `watch` shows as a GIF or MP4, whole or not at all.

    Args:
        path: where to write, ending in ``.gif`` or ``.mp4``.
        scheduler: as for `watch`.
        config: as for `watch`.
        seed: as for `watch`.
        title: as for `watch`.
        optimum: as for `watch`.

    Raises:
        TypeError, ValueError: as for `watch`; a path that cannot be written or ends otherwise.
        WriteError: the system refuses to store the file, for instance on a full disk.
        DependencyNotInstalled: pygame, or imageio and its ffmpeg, are missing.
    """
    target = check_video(path)
    frames = _pictures(scheduler, config, seed, title, "rgb_array", optimum)
    if target.suffix.lower() == ".gif":
        # The encoder would retry and print errors of its own on a full disk.
        content = io.BytesIO()
        milliseconds = 1000 / FRAMES_PER_SECOND
        _encode(content, frames, format="gif", duration=milliseconds, loop=0)
        write_whole(target, lambda file: file.write(content.getbuffer()))
    else:
        write_whole_at(target, lambda temporary: _encode_video(temporary, frames))


def check_video(path: str | Path, name: str = "path") -> Path:
    """The path, if a video can be written there.

    Raises:
        ValueError: it cannot be written or ends otherwise; the error calls it ``name``.
        DependencyNotInstalled: imageio or its ffmpeg is missing.
    """
    target = check_writable(name, path)
    if target.suffix.lower() not in VIDEO_FORMATS:
        raise ValueError(f"{name} = {str(target)!r} must end in {' or '.join(VIDEO_FORMATS)}")
    encoders = (
        ["imageio.v2"] if target.suffix.lower() == ".gif" else ["imageio.v2", "imageio_ffmpeg"]
    )
    required("videos need", *encoders, extra="render", error=DependencyNotInstalled)
    return target


def _pictures(
    scheduler: Scheduler,
    config: RRMConfig | None,
    seed: int,
    title: str,
    render_mode: str,
    optimum: float | None,
) -> Iterator[NDArray[np.uint8] | None]:
    require_scheduler(scheduler)
    network = Network(config)
    renderer = Renderer(network.config, render_mode, title=title, optimum=optimum)
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
    """Write the frames and return how many there were."""
    import imageio.v2

    writer: Any
    count = 0
    with imageio.v2.get_writer(target, **options) as writer:
        for frame in frames:
            writer.append_data(frame)
            count += 1
    return count
