"""Episodes as windows of a trace."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.config import RRMConfig
from rrm_env.seeds import EVALUATION_SEEDS
from rrm_env.trace import Trace

VALIDATION_SEEDS = EVALUATION_SEEDS // 2
"""First episode seed whose windows are the validation part of a trace, up to those of `evaluate`.

Lower seeds play the training part.
"""
PARTS = (0.0, 0.6, 0.8, 1.0)
"""Edges of the training, validation and evaluation parts of a trace, as shares of it."""
SMALLEST = np.float32(1e-30)
"""Received power over noise where there is no path; logarithms of gains stay finite."""
FOLDERS = "RRM_ENV_TRACES"
"""Environment variable: a folder in which traces are looked for that are not at their path."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Windows:
    """Which rows of a trace the episodes of a part of all seeds play.

    A window is `length` rows of one place: those of the `csi_delay` steps before the episode, its
    steps and the one after it. Windows lie side by side; each further round through all of them
    shifts them by another number of rows, so that consecutive seeds overlap as little as possible.
    """

    first_place: int
    n_places: int
    first_row: int
    n_rows: int
    length: int

    @property
    def n_disjoint(self) -> int:
        """Windows that do not overlap."""
        return self.n_places * (self.n_rows // self.length)

    def of(self, seeds: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The place and the first row of each seed's window, both (n,)."""
        count, each = np.uint64(self.n_disjoint), self.n_rows // self.length
        turn, window = seeds // count, (seeds % count).astype(np.int64)
        share = (turn * _GOLDEN) >> np.uint64(32)
        shift = ((share * np.uint64(self.length)) >> np.uint64(32)).astype(np.int64)
        row = np.minimum(window % each * self.length + shift, self.n_rows - self.length)
        return self.first_place + window // each, self.first_row + row


def windows_of(trace: Trace, config: RRMConfig) -> list[Windows]:
    """The windows of training, validation and evaluation, which have no row in common.

    Raises:
        ValueError: a part of the trace is shorter than an episode, or has no place.
    """
    n_places, n_rows = trace.shape[:2]
    length = config.csi_delay + config.episode_length + 1
    by_place = config.trace_split == "place" or (config.trace_split == "auto" and n_places > 2)
    if config.trace_split == "none":
        parts = [Windows(0, n_places, 0, n_rows, length)] * 3
    elif by_place:
        if n_places < 3:
            raise ValueError(
                f"trace_split = 'place' needs a trace of at least 3 places, {config.trace!r} has "
                f"{n_places}; allowed: 'time' or 'none'"
            )
        inner = np.clip(np.round(np.array(PARTS) * n_places).astype(int), [0, 1, 2, 0], None)
        edges = np.minimum(inner, n_places - np.array([3, 2, 1, 0]))
        pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        parts = [Windows(first, last - first, 0, n_rows, length) for first, last in pairs]
    else:
        edges = np.round(np.array(PARTS) * n_rows).astype(int)
        pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        parts = [Windows(0, n_places, first, last - first, length) for first, last in pairs]
    shortest = min(part.n_rows for part in parts)
    if shortest < length:
        raise ValueError(
            f"trace {config.trace!r} has {n_rows} steps in each place, and {shortest} in its "
            f"shortest part with trace_split = {config.trace_split!r}; an episode needs "
            f"csi_delay + episode_length + 1 = {length}: lower episode_length, or use 'place' or "
            "'none'"
        )
    return parts


def check_trace(config: RRMConfig) -> None:
    """Refuse (TypeError, ValueError) a configuration that does not fit its trace."""
    if config.trace is not None:
        windows_of(trace_of(config), config)


def evaluation_notes(config: RRMConfig, episodes: int) -> list[str]:
    """What a table of evaluation episodes has to say of the trace that they play, as sentences.

    Args:
        config: any network; one that draws its channels has nothing to say.
        episodes: number of evaluation episodes.

    Raises:
        TypeError, ValueError: what `trace_of` and `windows_of` refuse.
    """
    if config.trace is None:
        return []
    trace = trace_of(config)
    windows = windows_of(trace, config)[2]
    notes = [
        f"Channels: trace {Path(config.trace).name} ({trace.checksum[:12]}), its last "
        f"{windows.n_rows} of {trace.shape[1]} steps in {windows.n_places} of {trace.shape[0]} "
        "places."
    ]
    if episodes > windows.n_disjoint:
        notes.append(
            f"The trace has {windows.n_disjoint} such episodes without a step in common; "
            f"{episodes} overlap, and their intervals are narrower than the truth."
        )
    return notes


@functools.lru_cache(maxsize=8)
def _opened(path: str, changed: int, size: int) -> Trace:  # noqa: ARG001 - they tell files apart
    return Trace.load(path)


def open_trace(path: str) -> Trace:
    """The trace at a path, or of that name in the folder `FOLDERS`; opened once per process.

    Raises:
        TypeError, ValueError: what `Trace.load` refuses.
    """
    place = Path(path)
    elsewhere = os.environ.get(FOLDERS)
    if not place.is_file() and elsewhere:
        place = Path(elsewhere) / place.name
    if not place.is_file():
        raise ValueError(
            f"there is no trace {path!r}; {FOLDERS} names a folder in which traces are looked for"
        )
    state = place.stat()
    return _opened(str(place), state.st_mtime_ns, state.st_size)


def trace_of(config: RRMConfig) -> Trace:
    """The trace of a configuration, which fits it.

    Raises:
        TypeError, ValueError: what `Trace.load` refuses; another checksum, other sizes, or
            fading or an association that the trace does not have.
    """
    assert config.trace is not None
    trace = open_trace(config.trace)
    if config.trace_checksum not in (None, trace.checksum):
        raise ValueError(
            f"trace {config.trace!r} has the checksum {trace.checksum[:12]}..., the configuration "
            f"was made for {str(config.trace_checksum)[:12]}...: it is another trace"
        )
    for name, size in zip(("n_aps", "n_ues"), trace.shape[2:], strict=True):
        if getattr(config, name) != size:
            raise ValueError(
                f"{name} = {getattr(config, name)}, but trace {config.trace!r} has {size}; "
                "Trace.config() and RRMConfig.preset(trace=...) take sizes from the trace"
            )
    if abs(config.step_duration_s / trace.step_duration_s - 1) > 1e-6:
        raise ValueError(
            f"step_duration_s = {config.step_duration_s:g}, but trace {config.trace!r} has steps "
            f"of {trace.step_duration_s:g} s"
        )
    if config.fading == "trace" and trace.large_scale_gain is None:
        raise ValueError(
            f"fading = 'trace' needs large_scale_gain, which trace {config.trace!r} lacks; "
            "allowed: 'none' to play its gains as they are, 'iid' or 'jakes' to add fading, or "
            "Trace.with_large_scale"
        )
    if config.association == "given" and trace.association is None:
        raise ValueError(f"association = 'given', but trace {config.trace!r} has none")
    return trace


def identified(config: RRMConfig) -> RRMConfig:
    """The configuration with the checksum of its trace, for descriptions that outlive the file.

    Raises:
        TypeError, ValueError: what `trace_of` refuses.
    """
    if config.trace is None or config.trace_checksum is not None:
        return config
    return replace(config, trace_checksum=trace_of(config).checksum)


class TraceSource:
    """Plays a trace into a network's state.

    Args:
        config: a network with a trace.
        num_envs: B, episodes side by side.
    """

    def __init__(self, config: RRMConfig, num_envs: int) -> None:
        self._config = config
        self._place, self._row = np.zeros((2, num_envs), np.int64)  # of step 0
        self._open()

    def _open(self) -> None:
        config = self._config
        self._trace = trace = trace_of(config)
        self._parts = windows_of(trace, config)
        self._scale = np.float32(trace.over_noise(config))
        slow = trace.gain if trace.large_scale_gain is None else trace.large_scale_gain
        e, t, i, j = trace.shape
        self._gain = trace.gain.reshape(e * t, i * j)
        self._slow = slow.reshape(-1, i * j)
        self._slow_moves = len(self._slow) == e * t

    def reset(self, state: Any, seeds: NDArray[np.uint64], start: int, stop: int) -> None:
        """Write step 0; see `rrm_env.source.Source`."""
        given = seeds[start:stop]
        part = (given >= VALIDATION_SEEDS).astype(int) + (given >= EVALUATION_SEEDS)
        for k, windows in enumerate(self._parts):
            own = start + np.flatnonzero(part == k)
            self._place[own], self._row[own] = windows.of(seeds[own] % VALIDATION_SEEDS)
        delay = self._config.csi_delay
        self._row[start:stop] += delay
        trace, place = self._trace, self._place[start:stop]
        state.ap_positions[start:stop] = (
            np.nan if trace.ap_positions is None else trace.ap_positions[place]
        )
        if self._config.association == "given":
            assert trace.association is not None
            state.association[start:stop] = trace.association[place]
        if self._config.fading == "trace":
            for t in range(-delay, 1):
                gain = self._read(self._gain, t, start, stop)
                state.gain_history[t % (delay + 1), start:stop] = gain
        self._write_slow(state, 0, start, stop)

    def advance(self, state: Any, t: int, start: int, stop: int) -> None:
        """Write step t; see `rrm_env.source.Source`."""
        if self._config.fading == "trace":
            state.static_gain[start:stop] = self._read(self._gain, t, start, stop)
        self._write_slow(state, t, start, stop)

    def _write_slow(self, state: Any, t: int, start: int, stop: int) -> None:
        if self._slow_moves or t == 0:
            state.large_scale_gain[start:stop] = self._read(self._slow, t, start, stop)
        positions = self._trace.ue_positions
        if positions is None:
            state.ue_positions[start:stop] = np.nan
        elif positions.ndim == 4 or t == 0:
            rows = (self._place[start:stop], self._row[start:stop] + t)
            now = positions[rows] if positions.ndim == 4 else positions[rows[0]]
            state.ue_positions[start:stop] = now.swapaxes(1, 2)

    def _read(self, rows: NDArray[Any], t: int, start: int, stop: int) -> NDArray[np.float32]:
        """(stop - start, I * J) received power over noise of step t."""
        place = self._place[start:stop]
        which = place
        if len(rows) == len(self._gain):
            which = place * self._trace.shape[1] + self._row[start:stop] + t
        found: NDArray[np.float32] = self._trace.linear(rows[which])
        found *= self._scale
        return np.maximum(found, SMALLEST, out=found)

    def __getstate__(self) -> dict[str, Any]:
        """Copies in other processes open the file themselves."""
        return {"_config": self._config, "at": (self._place, self._row)}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self._config = values["_config"]
        self._open()
        self._place, self._row = values["at"]
