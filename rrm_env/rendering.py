"""Pictures of an episode: the square from above, who serves whom, who interferes, and running KPIs.

pygame draws them; the extra ``render`` installs it. `Renderer` only reads a `Network`, so any
network can be drawn, whoever steps it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import logger
from numpy.typing import NDArray

from rrm_env import metrics
from rrm_env.canvas import HEIGHT, WIDTH, Canvas, Decision, user_colours
from rrm_env.checks import nearest
from rrm_env.config import RRMConfig
from rrm_env.network import Network
from rrm_env.window import Window, check_windows, import_pygame

RENDER_MODES = ("human", "rgb_array")
FRAMES_PER_SECOND = 20
"""Frames per second of windows and videos: the real speed of an episode of the preset ``paper``."""

RENDERING: dict[str, Any] = {"render_modes": [*RENDER_MODES], "render_fps": FRAMES_PER_SECOND}
"""The part of an environment's metadata about rendering."""

_TAIL_COLUMN = metrics.PAPER_KPIS.index("tail_rate")


_Before = tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]
"""Candidates, gains and summed rates before a step."""


class Renderer:
    """Draws one episode slot of a network.

    Call `observe` after every reset and step of the network, `render` when a picture is wanted.

    Args:
        config: the network's.
        render_mode: with ``rgb_array``, `render` returns frames; with ``human``, every `observe`
            shows one in a window, at `FRAMES_PER_SECOND`; with None, nothing is drawn and `render`
            warns.
        slot: which of the network's episodes is drawn.
        title: text above the KPIs.
        optimum: the best score that can be reached in the episode, drawn beside the score so far.

    Raises:
        ValueError: another render mode.
        DependencyNotInstalled: pygame cannot be imported; for windows also if two distributions of
            it are installed.
        NoDisplayError: ``human`` without a screen.
    """

    def __init__(
        self,
        config: RRMConfig,
        render_mode: str | None,
        slot: int = 0,
        title: str = "rrm-v0",
        optimum: float | None = None,
    ) -> None:
        if render_mode is not None:
            if render_mode not in RENDER_MODES:
                raise ValueError(
                    f"unknown render_mode {nearest(str(render_mode), RENDER_MODES)}, or None"
                )
            import_pygame()
        if render_mode == "human":
            check_windows()
        self.config = config
        self.render_mode = render_mode
        self.slot = slot
        self.title = title
        self.optimum = optimum
        self._canvas: Canvas | None = None
        self._window = Window((WIDTH, HEIGHT), title, FRAMES_PER_SECOND)
        self._before: _Before | None = None
        self._decision: Decision | None = None
        self._history = np.zeros((0, len(metrics.PAPER_KPIS)))
        self._scene: dict[str, NDArray[Any]] = {}
        self._has_positions = True

    @property
    def closed(self) -> bool:
        """Whether a person has closed the window; nothing is shown after that."""
        return self._window.closed

    def observe(self, network: Network) -> None:
        """Read the network after a reset or a step; in mode ``human`` also show it."""
        if self.render_mode is None:
            return
        slot, t = self.slot, network.t
        totals = network.ue_rate_sum[slot].copy()
        if t == 0 or self._before is None:
            self._decision = None
            self._history = np.zeros((self.config.episode_length + 1, len(metrics.PAPER_KPIS)))
        else:
            candidates, gain, totals_before = self._before
            served, level = network.served[slot].copy(), network.power_level[slot]
            powers = np.array([*self.config.relative_powers, 0.0], np.float32)
            power = powers[level]  # the last one is that of silence
            self._decision = Decision(
                candidates, served, power[:, None] * gain, totals - totals_before, power
            )
        self._before = network.candidates[slot].copy(), network.gain[slot].copy(), totals
        rates = totals / max(t, 1)
        self._history[t] = self._kpis(rates)
        aps, ues = network.ap_positions[slot].copy(), network.ue_positions[slot].copy()
        if np.isnan(aps).any() or np.isnan(ues).any():
            aps, ues = graph_positions(network.association[slot], self.config)
            self._has_positions = False
        self._scene = {
            "t": np.array(t),
            "ap_positions": aps,
            "ue_positions": ues,
            "association": network.association[slot].copy(),
            "rates": rates,
        }
        if self.render_mode == "human" and not self.closed:
            self._window.show(self._draw().surface)

    def render(self) -> NDArray[np.uint8] | None:
        """The present picture, (720, 1120, 3); None in mode ``human``, where it is shown already.

        Raises:
            RuntimeError: nothing has been observed yet.
        """
        if self.render_mode is None:
            logger.warn(
                "render() was called without a render mode: give render_mode='rgb_array' or "
                "'human' when making the environment"
            )
            return None
        if not self._scene:
            raise RuntimeError("there is no episode to draw: call reset() first")
        if self.render_mode == "human":
            return None
        return self._draw().pixels.copy()

    def close(self) -> None:
        """Close the window unless another environment uses it; drawing again opens another."""
        self._window.close()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the canvas out: its surfaces belong to one process, and a copy makes its own."""
        return {**self.__dict__, "_canvas": None}

    # --- Private ---

    def _kpis(self, rates: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(
            float(metrics.KPIS[name].value(rates, self.config)) for name in metrics.PAPER_KPIS
        )

    def _draw(self) -> Canvas:
        try:
            return self._drawn()
        except import_pygame().error:  # another library has quit pygame, which invalidates fonts
            self._canvas = None
            return self._drawn()

    def _drawn(self) -> Canvas:
        if self._canvas is None:
            self._canvas = Canvas(
                self.config, self.title, self.optimum, has_scale=self._has_positions
            )
        canvas, scene = self._canvas, self._scene
        t, rates = int(scene["t"]), scene["rates"]
        canvas.begin()
        canvas.links(scene, self._decision)
        canvas.users(scene, user_colours(rates, self._history[t, _TAIL_COLUMN]), self._decision)
        canvas.access_points(scene, self._decision)
        canvas.kpis(t, self._history)
        return canvas


def graph_positions(
    association: NDArray[np.int32], config: RRMConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in the square for a network without positions: users in circles around their APs.

    Returns:
        (I, 2) of the access points, which stand on a circle, and (J, 2) of the users, metres.
    """
    side, n_aps = config.area_side_m, config.n_aps

    def circle(count: int, radius: float) -> NDArray[np.float64]:
        angle = 2 * np.pi * (np.arange(count) + 0.5) / max(count, 1)
        return radius * side * np.stack([np.cos(angle), np.sin(angle)], axis=1)

    aps = side / 2 + circle(n_aps, 0.33 if n_aps > 1 else 0.0)
    ues = np.empty((config.n_ues, 2))
    for i in range(n_aps):
        own = np.flatnonzero(association == i)
        ues[own] = aps[i] + circle(len(own), min(0.13, 0.9 / n_aps))
    return aps, ues
