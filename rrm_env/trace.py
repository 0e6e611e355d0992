"""Recorded channels: gains between access points and users that episodes play."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env import trace_checks, trace_files
from rrm_env.checks import bounded_integer
from rrm_env.config import RRMConfig
from rrm_env.keywords import ConfigFields, Unpack
from rrm_env.network import SILENT, Network

LARGE = 2**30
"""Bytes above which a file's checksum and values are believed unless `Trace.load` is to verify."""


@dataclass(frozen=True, eq=False)
class Trace:
    """Gains over time of one or more places, with what is known of them; read-only.

    Make one with `from_arrays`, `load` or `record_trace`. E is the number of places (scenes,
    drives, drops), T the number of steps, I that of access points, J that of users.
    """

    gain: NDArray[Any]
    """(E, T, I, J) in `unit`, as transmissions meet it, with fading where the trace knows it."""
    unit: str
    """``snr`` or ``snr_db``: received power over noise; ``path_gain`` or ``path_gain_db``: received
    over transmitted power; ``received_dbm``: received power, as RSRP."""
    step_duration_s: float
    """Seconds from one row to the next."""
    large_scale_gain: NDArray[Any] | None = None
    """(E, T, I, J), or (E, I, J) if constant, without fading; None where `gain` is not apart."""
    ap_positions: NDArray[Any] | None = None
    """(E, I, 2) metres; none is negative, so that given ones may have been shifted."""
    ue_positions: NDArray[Any] | None = None
    """(E, T, J, 2), or (E, J, 2) if constant, likewise."""
    association: NDArray[Any] | None = None
    """(E, J) the access point of each user, where the trace gives it."""
    name: str = ""
    """What the trace is of."""
    path: str | None = None
    """The file that holds it."""
    checksum: str = ""
    """SHA-256 of all arrays and what they mean."""

    @classmethod
    def from_arrays(
        cls,
        gain: ArrayLike,
        *,
        unit: str,
        step_duration_s: float,
        large_scale_gain: ArrayLike | None = None,
        ap_positions: ArrayLike | None = None,
        ue_positions: ArrayLike | None = None,
        association: ArrayLike | None = None,
        name: str = "",
    ) -> Trace:
        """A trace of given arrays, which are checked; large ones may be memory-mapped.

        Args:
            gain: (T, I, J), or (E, T, I, J) of E places.
            unit: of the gains; see `Trace.unit`. Decibels may be minus infinity where there is no
                path.
            step_duration_s: seconds from one row to the next.
            large_scale_gain: as ``gain``, without fading; without T where it is constant.
            ap_positions: (I, 2), or (E, I, 2), metres.
            ue_positions: (T, J, 2), or (E, T, J, 2); without T where users stay.
            association: (J,), or (E, J), the access point of each user.
            name: what the trace is of.

        Raises:
            TypeError, ValueError: an array of another shape or type, a value that no channel has,
                or units that seem off; the error names the array, the value and what is allowed.
        """
        given: dict[str, Any] = {
            "gain": gain,
            "large_scale_gain": large_scale_gain,
            "ap_positions": ap_positions,
            "ue_positions": ue_positions,
            "association": association,
        }
        arrays = {key: np.asanyarray(value) for key, value in given.items() if value is not None}
        return cls._of(arrays, {"unit": unit, "step_duration_s": step_duration_s, "name": name})

    @classmethod
    def _of(cls, arrays: dict[str, NDArray[Any]], described: dict[str, Any]) -> Trace:
        """The trace of arrays by name, checked."""
        arrays = trace_checks.with_places(arrays)
        trace_checks.check(arrays, described)
        arrays = trace_checks.from_corner(arrays)
        checked: dict[str, Any] = {**arrays, **_plain(described)}
        return cls(**checked, checksum=checksum_of(arrays, described))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        unit: str | None = None,
        step_duration_s: float | None = None,
        verify: bool = False,
    ) -> Trace:
        """The trace in a file, memory-mapped where the file is an uncompressed .npz or .h5.

        The file holds arrays by the names of `from_arrays`, and ``unit`` and ``step_duration_s``
        likewise (in HDF5, arrays or attributes). `numpy.savez` writes such a file.

        Args:
            path: a .npz, .h5, .hdf5 or .mat file.
            unit: where the file does not say it.
            step_duration_s: likewise.
            verify: whether to read all values again, in a file of more than 1 GiB that `save`
                wrote; smaller files and those of others are always checked.

        Raises:
            TypeError, ValueError: the file is missing, damaged, or holds no trace.
        """
        arrays, described = trace_files.read(path)
        known = trace_files.completed(path, described, unit, step_duration_s)
        stored = known.pop("checksum", None)
        is_large = sum(array.nbytes for array in arrays.values()) > LARGE
        if stored is not None and is_large and not verify:
            held: dict[str, Any] = {**arrays, **_plain(known), "checksum": stored}
            return cls(**held, path=os.fspath(path))
        try:
            trace = cls._of(arrays, known)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{os.fspath(path)}: {error}") from None
        if stored is not None and stored != trace.checksum:
            raise ValueError(
                f"{os.fspath(path)} is damaged: its checksum is {trace.checksum[:12]}..., and it "
                f"states {stored[:12]}..."
            )
        complete = unit is None and step_duration_s is None
        return replace(trace, path=os.fspath(path)) if complete else trace

    def save(self, path: str | os.PathLike[str]) -> Trace:
        """Write the trace into a .npz or .h5 file, and return it as the trace of that file.

        Raises:
            ValueError: another ending, or a path that cannot be written.
            OSError: the system refuses to store the file.
        """
        described = {**self._described, "checksum": self.checksum}
        trace_files.write(path, self.arrays, described)
        return replace(self, path=os.fspath(path))

    def config(self, **changes: Unpack[ConfigFields]) -> RRMConfig:
        """A configuration whose episodes play this trace, otherwise the preset ``paper``'s.

        It has the trace's sizes, step duration and association. Its fading is that of the trace if
        `large_scale_gain` is known, otherwise none: the gains are played as they are. With
        ``fading="iid"`` or ``"jakes"`` Rayleigh fading is drawn on top of large-scale gains.

        Raises:
            ValueError: the trace is in no file yet; or what `RRMConfig` refuses.
        """
        if self.path is None:
            raise ValueError("the trace is in no file: trace.save('gains.npz').config()")
        return RRMConfig(**(self.config_fields | changes))

    @property
    def config_fields(self) -> ConfigFields:
        """The fields of `RRMConfig` that the trace sets."""
        values: ConfigFields = {
            "trace": self.path,
            "trace_checksum": self.checksum,
            "n_aps": self.shape[2],
            "n_ues": self.shape[3],
            "step_duration_s": self.step_duration_s,
            "fading": "none" if self.large_scale_gain is None else "trace",
            "association": "rsrp" if self.association is None else "given",
            # These describe a deployment that is not drawn, but must be possible.
            "min_ap_distance_m": 0.0,
            "ue_speed_mps": 0.0,
        }
        if self.ap_positions is not None and self.ue_positions is not None:
            far = max(float(self.ap_positions.max()), float(self.ue_positions.max()))
            values["area_side_m"] = max(1.0, float(math.ceil(far)))
        return values

    def with_large_scale(self, steps: int) -> Trace:
        """The trace with large-scale gains: means of the received power over so many steps.

        Args:
            steps: width of the moving mean, 2 or more; windows are cut at both ends.

        Raises:
            TypeError, ValueError: no such number, or large-scale gains are known already.
        """
        if self.large_scale_gain is not None:
            raise ValueError("large_scale_gain is known already")
        width = bounded_integer("steps", steps, self.shape[1], lowest=2)
        linear = self.linear(np.asarray(self.gain), np.float64)
        total = np.cumsum(np.concatenate([np.zeros_like(linear[:, :1]), linear], 1), 1)
        row = np.arange(self.shape[1])
        first = np.maximum(row - (width - 1) // 2, 0)
        last = np.minimum(row + width // 2 + 1, self.shape[1])
        mean = (total[:, last] - total[:, first]) / (last - first)[:, None, None]
        known = mean if not self.is_db else 10 * np.log10(mean)
        slow = {"large_scale_gain": known.astype(np.float32)}
        return Trace._of({**self.arrays, **slow}, self._described)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """E places, T steps, I access points, J users."""
        e, t, i, j = self.gain.shape
        return e, t, i, j

    @property
    def is_db(self) -> bool:
        """Whether gains are in decibels."""
        return trace_checks.is_db(self.unit)

    def over_noise(self, config: RRMConfig) -> float:
        """The factor from linear gains in `unit` to received power over noise in a network."""
        if self.unit.startswith("snr"):
            return 1.0
        power = 0.0 if self.unit == "received_dbm" else config.tx_power_dbm
        return float(10 ** ((power - config.noise_dbm) / 10))

    def linear(self, gain: NDArray[Any], kind: type = np.float32) -> NDArray[Any]:
        """A copy of gains of this trace in linear scale."""
        found: NDArray[Any] = gain.astype(kind)
        if self.is_db:
            found *= kind(math.log2(10) / 10)
            np.exp2(found, out=found)
        return found

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that are known, by name."""
        values = {name: getattr(self, name) for name in trace_files.ARRAYS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def _described(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("unit", "step_duration_s", "name")}

    def __repr__(self) -> str:
        e, t, i, j = self.shape
        known = ", ".join(self.arrays)
        where = f", path={self.path!r}" if self.path else ""
        return (
            f"Trace({e} places, {t} steps of {self.step_duration_s:g} s, {i} APs, {j} users; "
            f"unit={self.unit!r}; {known}{where})"
        )


def record_trace(config: RRMConfig, seed: int = 0, episodes: int = 1) -> Trace:
    """What the network's own kernels draw, as a trace with a place for each episode.

    Playing it gives the same bits: the place of episode seed s shows the channels of
    ``Network(config).reset(s)`` from `csi_delay` steps before the episode to the channel after its
    last step.

    Args:
        config: the network. In the recorded steps before an episode users stand still, as in
            `Network`.
        seed: episode seed of the first place; the next ones follow.
        episodes: number of places.

    Raises:
        TypeError, ValueError: what `Network` refuses.
    """
    network = Network(config, episodes)
    network.reset(seed)
    silent = np.full((episodes, config.n_aps), SILENT)
    gains = [*network.recent_gains.copy()]
    slow = [network.large_scale_gain.copy()] * len(gains)
    places = [network.ue_positions.copy()] * len(gains)
    while not network.done:
        network.step(silent)
        gains.append(network.gain.copy())
        slow.append(network.large_scale_gain.copy())
        places.append(network.ue_positions.copy())
    return Trace.from_arrays(
        np.stack(gains, 1),
        unit="snr",
        step_duration_s=config.step_duration_s,
        large_scale_gain=np.stack(slow, 1),
        ap_positions=network.ap_positions,
        ue_positions=np.stack(places, 1),
        association=network.association,
        name=f"recorded from seed {seed}",
    )


def checksum_of(arrays: dict[str, NDArray[Any]], described: dict[str, Any]) -> str:
    """SHA-256 of the arrays of a trace and of what they mean."""
    digest = hashlib.sha256(repr(sorted(_plain(described).items())).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        for part in trace_checks.parts_of(array):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """Unit, step duration and name as Python's types."""
    return {
        "unit": str(described["unit"]),
        "step_duration_s": float(described["step_duration_s"]),
        "name": str(described.get("name", "")),
    }
