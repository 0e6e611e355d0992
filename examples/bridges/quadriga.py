"""Channels of QuaDRiGa as a trace.

``python examples/bridges/quadriga.py channels.mat --step-duration-s 0.05`` reads what QuaDRiGa (2.6
or newer) writes in MATLAB or Octave:

    layout.update_rate = 0.05;                % tracks with a movement profile: a snapshot per step
    channels = layout.get_channels;           % [receivers, transmitters]
    mat_save(channels, 'channels.mat');       % of qd_channel, not MATLAB's save

Such a file holds, for each link, coefficients [receive antenna, transmit antenna, path, snapshot]
with path loss and shadowing, delays, positions and a name, transmitter_receiver. Transmitters
become access points, receivers users, snapshots steps. Gains are path gains: with fading, averaged
over subcarriers, and as large-scale gains the sum of the powers of all paths; both are means over
transmit antennas and sums over receive antennas.

Needs ``pip install -e ".[traces]"``.
"""

from __future__ import annotations

import functools
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
from bridge import (
    Arguments,
    Array,
    add_band,
    check_band,
    check_step,
    existing,
    gains_of_paths,
    parser_of,
    write_trace,
)

from rrm_env.optional import required

Link = dict[str, Any]
"""One channel: ``Name``, ``Coeffs``, ``Delays``, ``rx_position``, ``tx_position``."""

_VARIABLE = re.compile(r"channel_(\d{5})_(Name|Coeffs|Delays|rx_position|tx_position)")


def trace_arguments(
    links: list[Link],
    *,
    step_duration_s: float | None,
    bandwidth_hz: float = 10e6,
    subcarriers: int = 32,
    name: str = "",
) -> Arguments:
    """Channels of all links, as the arguments of `Trace.from_arrays`.

    Args:
        links: one per pair of transmitter and receiver: ``Name`` "transmitter_receiver", ``Coeffs``
            (receive antennas, transmit antennas, paths, snapshots), ``Delays`` likewise or (paths,
            snapshots) in seconds, and perhaps ``rx_position`` (3, snapshots) and ``tx_position``
            (3, 1 or snapshots). Axes of length 1 at the end may be missing, as in MATLAB.
        step_duration_s: duration of a snapshot.
        bandwidth_hz: band over which fading is averaged.
        subcarriers: frequencies in it.
        name: what the trace is of.

    Raises:
        ValueError: a link is missing or double, has no coefficients, or other snapshots than the
            first.
    """
    check_band(bandwidth_hz, subcarriers)
    seconds = check_step(step_duration_s)
    by_name = _by_name(links)
    senders, receivers = (list(dict.fromkeys(pair[k] for pair in by_name)) for k in (0, 1))
    pairs = [(sender, receiver) for sender in senders for receiver in receivers]
    for sender, receiver in pairs:
        if (sender, receiver) not in by_name:
            raise ValueError(f"the channel {sender}_{receiver} is missing: every pair needs one")
    gains = [_gains("_".join(pair), by_name[pair], bandwidth_hz, subcarriers) for pair in pairs]
    lengths = {"_".join(pair): len(gain[0]) for pair, gain in zip(pairs, gains, strict=True)}
    first = next(iter(lengths))
    for other, length in lengths.items():
        if length != lengths[first]:
            raise ValueError(
                f"channel {other} has {length} snapshots, {first} has {lengths[first]}: give all "
                "tracks the same duration"
            )
    shape = len(senders), len(receivers), -1
    gain, large_scale_gain = (
        np.moveaxis(np.array(values).reshape(shape), -1, 0) for values in zip(*gains, strict=True)
    )
    return {
        "gain": gain.astype(np.float32),
        "large_scale_gain": large_scale_gain.astype(np.float32),
        "unit": "path_gain",
        "step_duration_s": seconds,
        "name": name,
        **_positions(by_name, senders, receivers, len(gain)),
    }


def links_of(variables: dict[str, Any]) -> list[Link]:
    """Channels from the variables of a file that `qd_channel.mat_save` wrote.

    Raises:
        ValueError: the file holds no such channels, or several carriers.
    """
    links: dict[str, Link] = {}
    for variable, value in variables.items():
        if found := _VARIABLE.fullmatch(variable):
            links.setdefault(found[1], {})[found[2]] = value
    if not links:
        raise ValueError(
            "the file holds no channels by QuaDRiGa's names, such as channel_00001_Coeffs; write "
            f"it by mat_save(channels, 'channels.mat'); it has {', '.join(variables) or 'nothing'}"
        )
    carriers = np.asarray(variables.get("ChannelDims", [])).ravel()[2:]
    if carriers.size and carriers.max() > 1:
        raise ValueError(
            f"the channels have {int(carriers.max())} carriers; save one, channels(:, :, 1)"
        )
    return [links[number] for number in sorted(links)]


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a MATLAB file of any version, with texts as `str`.

    Raises:
        ValueError: a reader is not installed, or the file is none of MATLAB's.
    """
    with path.open("rb") as file:
        is_hdf5 = file.read(128).startswith(b"MATLAB 7.3")
    if is_hdf5:
        h5py = required("MATLAB files of version 7.3 need", "h5py", extra="traces")
        with h5py.File(path, "r") as held:
            arrays = {name: value for name, value in held.items() if hasattr(value, "shape")}
            return {name: _of_hdf5(value[()]) for name, value in arrays.items()}
    scipy_io = required("MATLAB files need", "scipy.io", extra="traces")
    try:
        loaded = scipy_io.loadmat(path)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"{path} is no MATLAB file: {error}") from None
    return {name: _text(value) for name, value in loaded.items() if not name.startswith("__")}


def _text(value: Any) -> Any:
    """The text of an array that holds one; other arrays as they are."""
    array = np.asarray(value)
    return str(array.ravel()[0]) if array.dtype.kind == "U" and array.size else value


def _of_hdf5(value: Any) -> Any:
    """An array as MATLAB means it: axes in MATLAB's order, complex numbers, and texts."""
    array = np.asarray(value)
    if array.dtype.names == ("real", "imag"):
        array = array["real"] + 1j * array["imag"]
    if array.dtype == np.uint16 and 1 in array.shape and array.size < 256:
        return "".join(map(chr, array.ravel()))
    return array.T


def _by_name(links: list[Link]) -> dict[tuple[str, str], Link]:
    """Links by transmitter and receiver."""
    found: dict[tuple[str, str], Link] = {}
    for link in links:
        parts = str(link.get("Name", "")).split("_")
        if len(parts) != 2:
            raise ValueError(
                f"the channel's name must be transmitter_receiver, got {link.get('Name')!r}; join "
                "the segments of tracks first: channels = merge(channels)"
            )
        if (pair := (parts[0], parts[1])) in found:
            raise ValueError(f"there are two channels {link['Name']}")
        found[pair] = link
    return found


def _gains(name: str, link: Link, bandwidth_hz: float, subcarriers: int) -> tuple[Array, Array]:
    """Gains (snapshots,) of a link with fading and without."""
    if "Coeffs" not in link or not np.size(link["Coeffs"]):
        raise ValueError(f"channel {name} has no coefficients")
    coefficients = _padded(link["Coeffs"], 4)
    delays = np.zeros((1, 1, *coefficients.shape[2:])) if "Delays" not in link else link["Delays"]
    if delays.shape != np.shape(link["Coeffs"]):  # [path, snapshot], the same for all antennas
        delays = _padded(delays, 2)[None, None]
    delays = _padded(delays, 4)
    if delays.shape[2:] != coefficients.shape[2:]:
        raise ValueError(
            f"the delays of channel {name} must have shape {coefficients.shape} or "
            f"{coefficients.shape[2:]}, got {np.shape(link['Delays'])}"
        )
    order = 3, 0, 1, 2  # snapshot, receive antenna, transmit antenna, path
    return gains_of_paths(
        coefficients.transpose(order), delays.transpose(order), bandwidth_hz, subcarriers
    )


def _padded(array: Array, dimensions: int) -> Array:
    """The array with the axes of length 1 at its end that MATLAB leaves out."""
    array = np.asarray(array)
    return array.reshape(*array.shape, *(1,) * (dimensions - array.ndim))


def _positions(
    links: dict[tuple[str, str], Link], senders: list[str], receivers: list[str], n_steps: int
) -> dict[str, Array]:
    """Positions in metres where the links hold them."""
    known: dict[str, Array] = {}
    nowhere = np.empty(0)
    at_senders = [links[sender, receivers[0]].get("tx_position", nowhere) for sender in senders]
    at_receivers = [links[senders[0], one].get("rx_position", nowhere) for one in receivers]
    if all(np.size(place) for place in at_senders):
        known["ap_positions"] = np.array([_padded(place, 2)[:2, 0] for place in at_senders])
    if all(np.shape(place) in ((3, n_steps), (3,)) for place in at_receivers):
        ways = [np.broadcast_to(_padded(place, 2)[:2].T, (n_steps, 2)) for place in at_receivers]
        known["ue_positions"] = np.stack(ways, axis=1)
    return known


def convert(file: Path, **options: Any) -> Arguments:
    """Read the file and convert it."""
    return trace_arguments(
        links_of(read_mat(existing(file))), name=f"QuaDRiGa, {file.name}", **options
    )


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("file", type=Path, help="channels of QuaDRiGa (.mat)")
    parser.add_argument(
        "--step-duration-s",
        type=float,
        help="duration of a snapshot in seconds, layout.update_rate",
    )
    add_band(parser)
    given = vars(parser.parse_args())
    out = given.pop("out")
    sys.exit(write_trace(functools.partial(convert, **given), out))
