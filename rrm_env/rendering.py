"""Pictures of an episode: the square seen from above, who serves whom and disturbs whom, and the running KPIs.

pygame draws them; the extra ``render`` brings it. `Renderer` only looks at a `Network`, so whatever steps one can be drawn.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from gymnasium import logger
from numpy.typing import NDArray

from rrm_env import metrics
from rrm_env.checks import nearest
from rrm_env.config import RRMConfig
from rrm_env.network import SILENT, Network
from rrm_env.window import Window, check_windows, import_pygame

if TYPE_CHECKING:
    import pygame

RENDER_MODES = ("human", "rgb_array")
FRAMES_PER_SECOND = 20
"""Frames of windows and videos; with the preset ``paper`` an episode then passes as fast as it would in reality."""

RENDERING: dict[str, Any] = {"render_modes": [*RENDER_MODES], "render_fps": FRAMES_PER_SECOND}
"""What an environment's metadata say of it."""

WIDTH, HEIGHT = 1120, 720
"""Pixels of a frame; multiples of 16, as video codecs like them."""

CROWD = 8
"""With more access points than this lines are thinner and fewer."""

_Colour = tuple[int, int, int]
_Point = tuple[float, float]

# Okabe and Ito's colours, distinguishable with any colour vision.
_SERVICE, _INTERFERENCE, _TAIL = (0, 158, 115), (204, 121, 167), (213, 94, 0)
_INK, _FAINT, _PALE, _PAPER = (40, 40, 40), (120, 120, 120), (226, 226, 226), (255, 255, 255)
_RAMP_LOW, _RAMP_HIGH = np.array((189, 215, 240)), np.array((8, 40, 105))
_RAMP_OCTAVES = 3
"""The ramp of blues spans average rates of 1 to 2^3 times the 5-percentile rate."""

_MARGIN, _SIDE = 28, 640
_PANEL_LEFT, _PANEL_WIDTH = 712, 380
_CHART_TOP, _CHART_PITCH, _CHART_HEIGHT = 92, 90, 42
_LEGEND_TOP, _LEGEND_PITCH = 376, 32
_TAIL_COLUMN = metrics.PAPER_KPIS.index("tail_rate")


class _Decision(NamedTuple):
    """The step just done, as it was decided."""

    candidates: NDArray[np.int32]  # (I, N)
    served: NDArray[np.int64]  # (I,)
    gain: NDArray[np.float32]  # (I, J) on the channel it transmitted on
    rates: NDArray[np.float64]  # (J,) bit/s/Hz


class Renderer:
    """Draws one episode slot of a network.

    Call `observe` after every reset and step of the network, `render` when a picture is wanted.

    Args:
        config: the network's.
        render_mode: ``rgb_array``: `render` returns frames; ``human``: every `observe` shows one in a window, at `FRAMES_PER_SECOND`;
            None: nothing is drawn, and `render` warns.
        slot: which of the network's episodes.
        title: stands above the KPIs.

    Raises:
        ValueError: another render mode.
        DependencyNotInstalled: pygame is missing or cannot be imported; for windows also if it is installed twice.
        NoDisplayError: ``human`` without a screen.
    """

    def __init__(
        self, config: RRMConfig, render_mode: str | None, slot: int = 0, title: str = "rrm-v0"
    ) -> None:
        if render_mode is not None:
            if render_mode not in RENDER_MODES:
                raise ValueError(
                    f"unknown render_mode {nearest(str(render_mode), RENDER_MODES)}, or None"
                )
            import_pygame()
        if render_mode == "human":
            check_windows()
        self.config, self.render_mode, self.slot, self.title = config, render_mode, slot, title
        self._canvas: _Canvas | None = None
        self._window = Window((WIDTH, HEIGHT), title, FRAMES_PER_SECOND)
        self._before: tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]] | None = (
            None
        )
        self._decision: _Decision | None = None
        self._history = np.zeros((0, 3))
        self._scene: dict[str, NDArray[Any]] = {}

    @property
    def closed(self) -> bool:
        """Whether a person has closed the window; nothing is shown after that."""
        return self._window.closed

    def observe(self, network: Network) -> None:
        """Take in the network after a reset or a step; in mode ``human`` also show it."""
        if self.render_mode is None:
            return
        slot, t = self.slot, network.t
        totals = network.ue_rate_sum[slot].copy()
        if t == 0 or self._before is None:
            self._decision, self._history = (
                None,
                np.zeros((self.config.episode_length + 1, len(metrics.PAPER_KPIS))),
            )
        else:
            candidates, gain, totals_before = self._before
            self._decision = _Decision(
                candidates, network.served[slot].copy(), gain, totals - totals_before
            )
        self._before = network.candidates[slot].copy(), network.gain[slot].copy(), totals
        rates = totals / max(t, 1)
        self._history[t] = self._kpis(rates)
        self._scene = {
            "t": np.array(t),
            "ap_positions": network.ap_positions[slot].copy(),
            "ue_positions": network.ue_positions[slot].copy(),
            "association": network.association[slot].copy(),
            "rates": rates,
        }
        if self.render_mode == "human" and not self.closed:
            self._window.show(self._draw().surface)

    def render(self) -> NDArray[np.uint8] | None:
        """The present picture, (720, 1120, 3); None in mode ``human``, which has shown it already.

        Raises:
            RuntimeError: nothing has been observed yet.
        """
        if self.render_mode is None:
            logger.warn(
                "render() was called without a render mode: give render_mode='rgb_array' or 'human' when making the environment"
            )
            return None
        if not self._scene:
            raise RuntimeError("there is no episode to draw: call reset() first")
        if self.render_mode == "human":
            return None
        return self._draw().pixels.copy()

    def close(self) -> None:
        """Close the window, if nobody else shows anything in it; drawing again opens another."""
        self._window.close()

    def __getstate__(self) -> dict[str, Any]:
        """Surfaces belong to one process: a copy makes its own."""
        return {**self.__dict__, "_canvas": None}

    # --- Inside ---

    def _kpis(self, rates: NDArray[np.float64]) -> tuple[float, ...]:
        return tuple(
            float(metrics.KPIS[name].value(rates, self.config)) for name in metrics.PAPER_KPIS
        )

    def _draw(self) -> _Canvas:
        try:
            return self._drawn()
        except import_pygame().error:  # another library has quit pygame, which ends the fonts
            self._canvas = None
            return self._drawn()

    def _drawn(self) -> _Canvas:
        if self._canvas is None:
            self._canvas = _Canvas(self.config, self.title)
        canvas, scene = self._canvas, self._scene
        t, rates = int(scene["t"]), scene["rates"]
        canvas.begin()
        canvas.links(scene, self._decision)
        canvas.users(scene, user_colours(rates, self._history[t, _TAIL_COLUMN]), self._decision)
        canvas.access_points(scene, self._decision)
        canvas.kpis(t, self._history)
        return canvas


def user_colours(rates: NDArray[np.float64], tail_rate: float) -> NDArray[np.int64]:
    """(J, 3) a user's colour: vermilion at or below the 5-percentile rate, above it darker blue with every doubling."""
    above = rates > tail_rate
    ratio = np.divide(
        rates, tail_rate, out=np.full(rates.shape, np.inf), where=above & (tail_rate > 0)
    )
    share = np.clip(np.log2(ratio, out=np.zeros_like(ratio), where=above) / _RAMP_OCTAVES, 0, 1)
    blues = np.rint(_RAMP_LOW + share[:, None] * (_RAMP_HIGH - _RAMP_LOW)).astype(np.int64)
    return np.where(above[:, None], blues, np.array(_TAIL))


class _Canvas:
    """What a frame is drawn on, and how each thing looks. All that does not change is drawn once."""

    def __init__(self, config: RRMConfig, title: str) -> None:
        self._pygame, self._gfx = import_pygame(), _gfxdraw()
        self._pygame.font.init()
        self.config = config
        self.pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        self.surface = self._pygame.image.frombuffer(
            self.pixels, (WIDTH, HEIGHT), "RGB"
        )  # shares the array's memory: a frame needs no conversion
        self._fonts = {size: self._pygame.font.Font(None, size) for size in (15, 18, 21, 24, 34)}
        self._texts: dict[tuple[str, int, _Colour], pygame.Surface] = {}
        self._scale = _SIDE / config.area_side_m
        self._radius = max(4, round(9 * (20 / max(config.n_ues, 20)) ** 0.3))
        self._crowded = config.n_aps > CROWD
        self._ap_size = 13 if self._crowded else 14
        self._interference_db = 3 if self._crowded else 10
        self._background = self._static(title)

    # --- Parts of a frame ---

    def begin(self) -> None:
        self.surface.blit(self._background, (0, 0))

    def links(self, scene: dict[str, NDArray[Any]], decision: _Decision | None) -> None:
        """Whose user is whose, who is disturbed by whom, who is served."""
        aps, ues = self._pixels(scene["ap_positions"]), self._pixels(scene["ue_positions"])
        for j, i in enumerate(scene["association"].tolist()):
            self._line(aps[i], ues[j], _PALE, 1)
        if decision is None:
            return
        active = [(i, j) for i, j in enumerate(decision.served.tolist()) if j != SILENT]
        for i, j in active:
            from_there = decision.gain[i, j] * 10 ** (-self._interference_db / 10)
            for k, _ in active:
                if k != i and decision.gain[k, j] > from_there:
                    self._dashes(aps[k], ues[j])
        for i, j in active:
            self._line(aps[i], ues[j], _SERVICE, _service_width(decision.rates[j]))

    def users(
        self, scene: dict[str, NDArray[Any]], colours: NDArray[np.int64], decision: _Decision | None
    ) -> None:
        """Users, those who were candidates in the last step ringed, those served ringed in the colour of service."""
        chosen = set() if decision is None else set(decision.served.tolist())
        listed = set() if decision is None else set(decision.candidates.ravel().tolist())
        for j, point in enumerate(self._pixels(scene["ue_positions"])):
            if j in chosen:
                self._disc(point, self._radius + 4, _SERVICE)
            elif j in listed:
                self._disc(point, self._radius + 3, _INK)
                self._disc(point, self._radius + 1.5, _PAPER)
            self._disc(point, self._radius, tuple(colours[j].tolist()))

    def access_points(self, scene: dict[str, NDArray[Any]], decision: _Decision | None) -> None:
        """Triangles with the access point's number, filled where it transmits."""
        for i, point in enumerate(self._pixels(scene["ap_positions"])):
            active = decision is not None and decision.served[i] != SILENT
            self._triangle(point, self._ap_size, filled=active)
            label = self._text(str(i), 15 if self._crowded else 18, _PAPER if active else _INK)
            self.surface.blit(
                label,
                label.get_rect(center=(round(point[0]), round(point[1] + 0.3 * self._ap_size))),
            )

    def kpis(self, t: int, history: NDArray[np.float64]) -> None:
        """The step, and each KPI so far: its value, and its course over the episode."""
        c = self.config
        seconds = f"step {t} of {c.episode_length}, {t * c.step_duration_s:.3g} s"
        self._write(seconds, (_PANEL_LEFT, _MARGIN + 26), 21, _FAINT)
        for k, name in enumerate(metrics.PAPER_KPIS):
            top = _CHART_TOP + k * _CHART_PITCH
            value = self._text(f"{history[t, k]:.{metrics.KPIS[name].digits}f}", 34, _INK)
            self.surface.blit(value, value.get_rect(topright=(_PANEL_LEFT + _PANEL_WIDTH, top - 8)))
            self._course(history[: t + 1, k], top + 26)

    def _course(self, values: NDArray[np.float64], top: float) -> None:
        if len(values) < 3:
            return
        highest = float(values.max()) or 1.0
        across = _PANEL_LEFT + _PANEL_WIDTH * np.arange(1, len(values)) / self.config.episode_length
        down = top + _CHART_HEIGHT * (1 - values[1:] / highest)
        self._pygame.draw.aalines(
            self.surface, _INK, False, np.column_stack([across, down]).tolist()
        )

    # --- What never changes ---

    def _static(self, title: str) -> pygame.Surface:
        self.surface.fill(_PAPER)
        draw = self._pygame.draw
        draw.rect(self.surface, _FAINT, (_MARGIN - 1, _MARGIN - 1, _SIDE + 2, _SIDE + 2), 1)
        self._scale_bar()
        self._write(title, (_PANEL_LEFT, _MARGIN), 24, _INK)
        for k, name in enumerate(metrics.PAPER_KPIS):
            top, kpi = _CHART_TOP + k * _CHART_PITCH, metrics.KPIS[name]
            heading = replace(kpi, heading=f"{kpi.heading} so far").axis
            self._write(heading, (_PANEL_LEFT, top), 21, _INK)
            bottom = top + 26 + _CHART_HEIGHT
            draw.line(
                self.surface, _PALE, (_PANEL_LEFT, bottom), (_PANEL_LEFT + _PANEL_WIDTH, bottom)
            )
        self._legend()
        drawn: pygame.Surface = self.surface.copy()
        return drawn

    def _scale_bar(self) -> None:
        """A round length near a fifth of the side, below the square."""
        length = 10 ** math.floor(math.log10(self.config.area_side_m / 5))
        length *= max(step for step in (1, 2, 5) if step * length <= self.config.area_side_m / 5)
        y = _MARGIN + _SIDE + 24
        self._line((_MARGIN, y), (_MARGIN + length * self._scale, y), _INK, 3)
        self._write(f"{length:g} m", (_MARGIN + length * self._scale + 8, y - 7), 21, _INK)

    def _legend(self) -> None:
        left, text_left = _PANEL_LEFT + 22, _PANEL_LEFT + 56
        rows = iter(_LEGEND_TOP + k * _LEGEND_PITCH for k in range(10))

        def entry(text: str) -> float:
            y = next(rows)
            self._write(text, (text_left, y - 7), 21, _INK)
            return y

        y = entry("access point: transmits / silent")
        self._triangle((left - 13, y), 11, filled=True)
        self._triangle((left + 13, y), 11, filled=False)
        y = entry("serves; thicker: higher rate in this step")
        self._line((left - 20, y), (left + 20, y), _SERVICE, 5)
        y = entry(f"interference within {self._interference_db} dB of the signal")
        self._dashes((left - 20, y), (left + 20, y))
        y = entry("user: served / other candidate / neither")
        for across, ring, width in ((-15, _SERVICE, 4), (0, _INK, 3), (15, None, 0)):
            if ring:
                self._disc((left + across, y), 5 + width * 0.75, ring)
            if ring == _INK:
                self._disc((left + across, y), 6, _PAPER)
            self._disc((left + across, y), 5, _FAINT)
        y = entry("belongs to this access point")
        self._line((left - 20, y), (left + 20, y), (200, 200, 200), 1)
        y = next(rows) + 4
        self._write("A user's average rate so far:", (_PANEL_LEFT, y - 7), 21, _INK)
        self._disc((left - 13, next(rows)), 7, _TAIL)
        self._write(
            "at or below the 5-percentile rate", (left + 2, y + _LEGEND_PITCH - 11), 21, _INK
        )
        self._ramp(next(rows) - 9)

    def _ramp(self, top: float) -> None:
        """The scale of blues, with its multiples of the 5-percentile rate."""
        width = 240
        multiples = 2 ** (np.arange(width) * _RAMP_OCTAVES / (width - 1))
        left = _PANEL_LEFT + 6
        for k, colour in enumerate(user_colours(np.nextafter(multiples, np.inf), 1.0).tolist()):
            self._pygame.draw.line(self.surface, colour, (left + k, top), (left + k, top + 13))
        for octave in range(_RAMP_OCTAVES + 1):
            more = " times it, or more" if octave == _RAMP_OCTAVES else ""
            x = left + octave * (width - 1) / _RAMP_OCTAVES
            self._write(f"{2**octave}{more}", (x - 4, top + 19), 21, _INK)

    # --- Strokes ---

    def _pixels(self, metres: NDArray[np.float64]) -> list[_Point]:
        """(n, 2) positions as pixels; north is up."""
        flipped = np.column_stack([metres[:, 0], self.config.area_side_m - metres[:, 1]])
        return [(x, y) for x, y in (_MARGIN + flipped * self._scale).tolist()]

    def _write(self, text: str, topleft: _Point, size: int, colour: _Colour) -> None:
        self.surface.blit(self._text(text, size, colour), topleft)

    def _text(self, text: str, size: int, colour: _Colour) -> pygame.Surface:
        key = text, size, colour
        if key not in self._texts:
            if len(self._texts) > 2000:  # every value of every KPI of a long session would stay
                self._texts.clear()
            self._texts[key] = self._fonts[size].render(text, True, colour)
        return self._texts[key]

    def _disc(self, centre: _Point, radius: float, colour: Any) -> None:
        gfx = self._gfx
        x, y, r = round(centre[0]), round(centre[1]), round(radius)
        gfx.filled_circle(self.surface, x, y, r, colour)
        gfx.aacircle(self.surface, x, y, r, colour)

    def _line(self, start: _Point, end: _Point, colour: _Colour, width: float) -> None:
        """Smooth, of any width; pygame's own thick lines have steps."""
        if width <= 1:
            self._pygame.draw.aaline(self.surface, colour, start, end)
            return
        length = math.dist(start, end) or 1.0
        across = (end[1] - start[1]) / length * width / 2, (start[0] - end[0]) / length * width / 2
        corners = [
            (p[0] + s * across[0], p[1] + s * across[1])
            for p, s in ((start, 1), (end, 1), (end, -1), (start, -1))
        ]
        self._polygon(corners, colour)

    def _dashes(self, start: _Point, end: _Point, dash: float = 8.0) -> None:
        """A line of interference."""
        length = math.dist(start, end) or 1.0
        along = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        for k in range(0, math.ceil(length / dash), 2):
            near, far = k * dash, min((k + 1) * dash, length)
            first, last = (
                (start[0] + at * along[0], start[1] + at * along[1]) for at in (near, far)
            )
            self._line(first, last, _INTERFERENCE, 1 if self._crowded else 2)

    def _triangle(self, centre: _Point, size: float, *, filled: bool) -> None:
        corners = [
            (centre[0], centre[1] - size),
            (centre[0] - size, centre[1] + 0.8 * size),
            (centre[0] + size, centre[1] + 0.8 * size),
        ]
        self._polygon(corners, _INK)
        if not filled:
            inner = [
                (x + (centre[0] - x) * 3 / size, y + (centre[1] + 0.2 * size - y) * 3 / size)
                for x, y in corners
            ]
            self._polygon(inner, _PAPER)

    def _polygon(self, corners: list[_Point], colour: _Colour) -> None:
        gfx = self._gfx
        gfx.filled_polygon(self.surface, corners, colour)
        gfx.aapolygon(self.surface, corners, colour)


def _service_width(rate: float) -> float:
    """Pixels of a line of service: 2, and 1 more per bit/s/Hz up to 10."""
    return 2 + min(float(rate), 8)


def _gfxdraw() -> Any:
    from pygame import gfxdraw

    return gfxdraw
