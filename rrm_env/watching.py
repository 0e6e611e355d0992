"""Watching a scheduler at work: one unseen episode in a window, or as a video."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from rrm_env.config import RRMConfig
from rrm_env.evaluation import first_episode
from rrm_env.files import check_writable, write_whole_at
from rrm_env.network import Network
from rrm_env.rendering import FRAMES_PER_SECOND, Renderer
from rrm_env.scheduler import Scheduler, require_scheduler

VIDEO_FORMATS = (".gif", ".mp4")


def watch(scheduler: Scheduler, config: RRMConfig | None = None, seed: int = 0, title: str = "rrm-v0") -> None:
    """Show one episode in a window, until it ends or the window is closed.

    Args:
        scheduler: any `Scheduler`.
        config: the network; the preset ``paper`` where None.
        seed: the episode shown is the first of `evaluate` with this seed.
        title: stands above the KPIs.

    Raises:
        TypeError, ValueError: something else than the above.
        DependencyNotInstalled: pygame is missing.
    """
    for _ in _pictures(scheduler, config, seed, title, "human"):
        pass


def record(path: str | Path, scheduler: Scheduler, config: RRMConfig | None = None, seed: int = 0, title: str = "rrm-v0") -> None:
    """Write what `watch` shows as a GIF or MP4, whole or not at all. The other arguments are those of `watch`.

    Raises:
        ValueError: a path that cannot be written, or ends in something else.
        DependencyNotInstalled: pygame, or imageio and its ffmpeg, are missing.
    """
    target = check_video(path)
    frames = _pictures(scheduler, config, seed, title, "rgb_array")
    write_whole_at(target, lambda temporary: _encode(temporary, frames))


def check_video(path: str | Path, name: str = "path") -> Path:
    """The path, if a video can be written there; `name` is what to call it (ValueError, DependencyNotInstalled)."""
    target = check_writable(name, path)
    if target.suffix.lower() not in VIDEO_FORMATS:
        raise ValueError(f"{name} = {str(target)!r} must end in {' or '.join(VIDEO_FORMATS)}")
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        raise DependencyNotInstalled("videos need imageio and imageio-ffmpeg: pip install 'rrm-env[render]'") from None
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


def _encode(path: Path, frames: Iterator[NDArray[np.uint8] | None]) -> None:
    import imageio.v2

    options: dict[str, Any] = {"fps": FRAMES_PER_SECOND}
    if path.suffix.lower() == ".gif":
        options = {"duration": 1000 / FRAMES_PER_SECOND, "loop": 0}  # milliseconds; again and again
    writer: Any
    with imageio.v2.get_writer(path, **options) as writer:
        for frame in frames:
            writer.append_data(frame)
