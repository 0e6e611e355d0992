"""The canvas on which a frame of an episode is drawn with pygame."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm_env import metrics
from rrm_env.config import RRMConfig
from rrm_env.network import SILENT
from rrm_env.window import import_pygame

if TYPE_CHECKING:
    import pygame

WIDTH, HEIGHT = 1120, 720
"""Pixels of a frame; multiples of 16, which video codecs prefer."""

CROWD = 8
"""With more access points than this, lines are thinner and fewer."""

_Colour = tuple[int, int, int]
_Point = tuple[float, float]

# Okabe and Ito's colours, distinguishable with any colour vision.
_SERVICE, _INTERFERENCE, _TAIL = (0, 158, 115), (204, 121, 167), (213, 94, 0)
_INK, _FAINT, _PALE, _PAPER = (40, 40, 40), (120, 120, 120), (226, 226, 226), (255, 255, 255)
_GREY, _PALEST_DB = (150, 150, 150), 20
_RAMP_LOW, _RAMP_HIGH = np.array((189, 215, 240)), np.array((8, 40, 105))
_RAMP_OCTAVES = 3
"""The ramp of blues spans average rates of 1 to 2^3 times the 5-percentile rate."""

_MARGIN, _SIDE = 28, 640
_PANEL_LEFT, _PANEL_WIDTH = 712, 380
_CHART_TOP, _CHART_PITCH, _CHART_HEIGHT = 92, 90, 42
_VALUE_WIDTH = 86
"""Width of a KPI's value with the space on its left, pixels."""
_LEGEND_TOP, _LEGEND_PITCH = 376, 32


class Decision(NamedTuple):
    """The last step: what was decided on what, and what came of it."""

    candidates: NDArray[np.int32]  # (I, N)
    served: NDArray[np.int64]  # (I,)
    received: NDArray[np.float32]  # (I, J) power over noise from each access point that transmitted
    rates: NDArray[np.float64]  # (J,) bit/s/Hz
    power: NDArray[np.float32]  # (I,) over full power, 0 if silent


def user_colours(rates: NDArray[np.float64], tail_rate: float) -> NDArray[np.int64]:
    """(J, 3) the colour of each user, by its average rate.

    It is vermilion at or below the 5-percentile rate; above it blue, darker with every doubling.
    """
    above = rates > tail_rate
    ratio = np.divide(
        rates, tail_rate, out=np.full(rates.shape, np.inf), where=above & (tail_rate > 0)
    )
    share = np.clip(np.log2(ratio, out=np.zeros_like(ratio), where=above) / _RAMP_OCTAVES, 0, 1)
    blues = np.rint(_RAMP_LOW + share[:, None] * (_RAMP_HIGH - _RAMP_LOW)).astype(np.int64)
    return np.where(above[:, None], blues, np.array(_TAIL))


def power_colour(power: float) -> _Colour:
    """The colour of an access point that transmits, by its power over full power.

    It is ink at full power, and grey from `_PALEST_DB` below on.
    """
    share = min(max(-10 * math.log10(power), 0.0) / _PALEST_DB, 1.0)
    red, green, blue = (
        round(dark + share * (light - dark)) for dark, light in zip(_INK, _GREY, strict=True)
    )
    return red, green, blue


class Canvas:
    """A frame and how everything in it looks; what never changes is drawn once.

    Args:
        config: the network's.
        title: text above the KPIs.
        optimum: the best score that can be reached in the episode.
        has_scale: whether distances in the frame are metres.
    """

    def __init__(
        self, config: RRMConfig, title: str, optimum: float | None = None, *, has_scale: bool = True
    ) -> None:
        self._pygame, self._gfx = import_pygame(), _gfxdraw()
        self._pygame.font.init()
        self.config = config
        self.optimum = optimum
        self.pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        # The surface shares the array's memory, so a frame needs no conversion.
        self.surface = self._pygame.image.frombuffer(self.pixels, (WIDTH, HEIGHT), "RGB")
        self._fonts = {size: self._pygame.font.Font(None, size) for size in (15, 18, 21, 24, 34)}
        self._texts: dict[tuple[str, int, _Colour], pygame.Surface] = {}
        self._scale = _SIDE / config.area_side_m
        self._radius = max(4, round(9 * (20 / max(config.n_ues, 20)) ** 0.3))
        self._crowded = config.n_aps > CROWD
        self._ap_size = 13 if self._crowded else 14
        self._interference_db = 3 if self._crowded else 10
        self._has_scale = has_scale
        self._background = self._static(title)

    # --- Parts of a frame ---

    def begin(self) -> None:
        """Draw the background over the last frame."""
        self.surface.blit(self._background, (0, 0))

    def links(self, scene: dict[str, NDArray[Any]], decision: Decision | None) -> None:
        """Draw lines from access points to their users, of interference and of service."""
        aps, ues = self._pixels(scene["ap_positions"]), self._pixels(scene["ue_positions"])
        for j, i in enumerate(scene["association"].tolist()):
            self._line(aps[i], ues[j], _PALE, 1)
        if decision is None:
            return
        active = [(i, j) for i, j in enumerate(decision.served.tolist()) if j != SILENT]
        for i, j in active:
            threshold = decision.received[i, j] * 10 ** (-self._interference_db / 10)
            for k, _ in active:
                if k != i and decision.received[k, j] > threshold:
                    self._dashes(aps[k], ues[j])
        for i, j in active:
            self._line(aps[i], ues[j], _SERVICE, _service_width(decision.rates[j]))

    def users(
        self, scene: dict[str, NDArray[Any]], colours: NDArray[np.int64], decision: Decision | None
    ) -> None:
        """Draw users, with rings around candidates of the last step and those that were served."""
        served = set() if decision is None else set(decision.served.tolist())
        candidates = set() if decision is None else set(decision.candidates.ravel().tolist())
        for j, point in enumerate(self._pixels(scene["ue_positions"])):
            if j in served:
                self._disc(point, self._radius + 4, _SERVICE)
            elif j in candidates:
                self._disc(point, self._radius + 3, _INK)
                self._disc(point, self._radius + 1.5, _PAPER)
            self._disc(point, self._radius, tuple(colours[j].tolist()))

    def access_points(self, scene: dict[str, NDArray[Any]], decision: Decision | None) -> None:
        """Draw triangles with the access points' numbers, filled where they transmit.

        The less power, the paler.
        """
        for i, point in enumerate(self._pixels(scene["ap_positions"])):
            active = decision is not None and decision.served[i] != SILENT
            ink = power_colour(decision.power[i]) if decision and active else _INK
            self._triangle(point, self._ap_size, filled=active, ink=ink)
            label = self._text(str(i), 15 if self._crowded else 18, _PAPER if active else _INK)
            centre = round(point[0]), round(point[1] + 0.3 * self._ap_size)
            self.surface.blit(label, label.get_rect(center=centre))

    def kpis(self, t: int, history: NDArray[np.float64]) -> None:
        """Write the step, and each KPI so far with its course over the episode."""
        c = self.config
        seconds = f"step {t} of {c.episode_length}, {t * c.step_duration_s:.3g} s"
        self._write(seconds, (_PANEL_LEFT, _MARGIN + 26), 21, _FAINT)
        for k, name in enumerate(metrics.PAPER_KPIS):
            top = _CHART_TOP + k * _CHART_PITCH
            value = self._text(f"{history[t, k]:.{metrics.KPIS[name].digits}f}", 34, _INK)
            self.surface.blit(value, value.get_rect(topright=(_PANEL_LEFT + _PANEL_WIDTH, top - 8)))
            best = self.optimum if name == "score" else None
            if best is not None:
                self._beside_score(best, history[t, k], top, ended=t == c.episode_length)
            self._course(history[: t + 1, k], top + 26, best or 0.0)

    def _beside_score(self, best: float, score: float, top: float, *, ended: bool) -> None:
        """Write the optimum left of the score, and at the end the share that was reached."""
        text = f"optimum {best:.{metrics.KPIS['score'].digits}f}"
        if ended and best > 0:
            text = f"{100 * score / best:.0f} % of {text}"
        drawn = self._text(text, 21, _FAINT)
        right = _PANEL_LEFT + _PANEL_WIDTH - _VALUE_WIDTH
        self.surface.blit(drawn, drawn.get_rect(topright=(right, top)))

    def _course(self, values: NDArray[np.float64], top: float, level: float = 0.0) -> None:
        """Draw the values so far, and a line at a level above 0 that they are compared with."""
        if len(values) < 3:
            return
        highest = max(float(values.max()), level) or 1.0
        if level > 0:
            y = top + _CHART_HEIGHT * (1 - level / highest)
            self._line((_PANEL_LEFT, y), (_PANEL_LEFT + _PANEL_WIDTH, y), _TAIL, 1)
        across = _PANEL_LEFT + _PANEL_WIDTH * np.arange(1, len(values)) / self.config.episode_length
        down = top + _CHART_HEIGHT * (1 - values[1:] / highest)
        self._pygame.draw.aalines(
            self.surface, _INK, False, np.column_stack([across, down]).tolist()
        )

    # --- The background ---

    def _static(self, title: str) -> pygame.Surface:
        self.surface.fill(_PAPER)
        draw = self._pygame.draw
        draw.rect(self.surface, _FAINT, (_MARGIN - 1, _MARGIN - 1, _SIDE + 2, _SIDE + 2), 1)
        if self._has_scale:
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
        """Draw a scale below the square, of a round length near a fifth of its side."""
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

        transmits = " (paler: less power)" if self.config.n_power_levels > 1 else ": transmits"
        y = entry(f"access point{transmits} / silent")
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
        """Draw the scale of blues, with its multiples of the 5-percentile rate."""
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
        """Draw a smooth line of any width; pygame's own thick lines have steps."""
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
        """Draw a dashed line of interference."""
        length = math.dist(start, end) or 1.0
        along = (end[0] - start[0]) / length, (end[1] - start[1]) / length
        for k in range(0, math.ceil(length / dash), 2):
            near, far = k * dash, min((k + 1) * dash, length)
            first, last = (
                (start[0] + at * along[0], start[1] + at * along[1]) for at in (near, far)
            )
            self._line(first, last, _INTERFERENCE, 1 if self._crowded else 2)

    def _triangle(self, centre: _Point, size: float, *, filled: bool, ink: _Colour = _INK) -> None:
        corners = [
            (centre[0], centre[1] - size),
            (centre[0] - size, centre[1] + 0.8 * size),
            (centre[0] + size, centre[1] + 0.8 * size),
        ]
        self._polygon(corners, ink)
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
    """Width of a line of service, pixels: 2, and 1 more per bit/s/Hz, up to 10."""
    return 2 + min(float(rate), 8)


def _gfxdraw() -> Any:
    from pygame import gfxdraw

    return gfxdraw
