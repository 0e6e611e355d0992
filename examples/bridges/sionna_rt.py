"""Channel impulse responses of Sionna RT as a trace.

``python examples/bridges/sionna_rt.py cir.npz --step-duration-s 0.05`` reads what the path solver
of Sionna RT (1.0 or newer) computed, stored by numpy:

    paths = PathSolver()(scene, max_depth=5)
    a, tau = paths.cir(
        sampling_frequency=20, num_time_steps=300, normalize_delays=False, out_type="numpy"
    )
    numpy.savez("cir.npz", a=a, tau=tau, tx_positions=..., rx_positions=...)

Transmitters become access points, receivers users. Positions are optional: (transmitters, 2 or 3)
and (receivers, 2 or 3), in metres. Several files are consecutive stretches of time, such as a run
of the solver for each position along walks, or with ``--join places`` a place each. Gains are path
gains: with fading, averaged over subcarriers, and as large-scale gains the sum of the powers of all
paths; both are means over transmit antennas and sums over receive antennas. Doppler of ``cir``
turns phases and does not move users: over more than a few wavelengths, run the solver again.
"""

from __future__ import annotations

import functools
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

JOINS = ("steps", "places")


def trace_arguments(
    runs: list[dict[str, Array]],
    *,
    step_duration_s: float | None,
    join: str = "steps",
    bandwidth_hz: float = 10e6,
    subcarriers: int = 32,
    name: str = "",
) -> Arguments:
    """Impulse responses, as the arguments of `Trace.from_arrays`.

    Args:
        runs: of the solver, each ``a`` (receivers, receive antennas, transmitters, transmit
            antennas, paths, steps), complex, ``tau`` of the same shape without steps, or
            (receivers, transmitters, paths), in seconds, and perhaps ``tx_positions`` and
            ``rx_positions``.
        step_duration_s: duration of a step.
        join: whether the runs follow each other in time ("steps") or are "places".
        bandwidth_hz: band over which fading is averaged.
        subcarriers: frequencies in it.
        name: what the trace is of.

    Raises:
        ValueError: an array is missing or has another shape, or runs do not fit together.
    """
    check_band(bandwidth_hz, subcarriers)
    seconds = check_step(step_duration_s)
    parts = [_gains(run, bandwidth_hz, subcarriers) for run in runs]
    shapes = {(*part[0].shape[1:], len(part[0]) if join == "places" else 0) for part in parts}
    if len(shapes) > 1:
        what = "transmitters and receivers" + (" and steps" if join == "places" else "")
        raise ValueError(f"all files need the same numbers of {what}")
    put_together: Any = np.stack if join == "places" else np.concatenate
    gain, large_scale_gain = (put_together([part[k] for part in parts]) for k in (0, 1))
    return {
        "gain": gain.astype(np.float32),
        "large_scale_gain": large_scale_gain.astype(np.float32),
        "unit": "path_gain",
        "step_duration_s": seconds,
        "name": name,
        **_positions(runs, [len(part[0]) for part in parts], join),
    }


def _gains(run: dict[str, Array], bandwidth_hz: float, subcarriers: int) -> tuple[Array, Array]:
    """Gains of a run with fading and without, both (steps, transmitters, receivers)."""
    for name in ("a", "tau"):
        if name not in run:
            raise ValueError(f"{name} is missing; the file holds {', '.join(run) or 'nothing'}")
    a, tau = run["a"], run["tau"]
    if a.ndim != 6 or a.dtype.kind != "c":
        raise ValueError(
            "a must be complex and have shape (receivers, receive antennas, transmitters, "
            f"transmit antennas, paths, steps), got {a.dtype} {a.shape}; take it from "
            'paths.cir(out_type="numpy")'
        )
    each, shared = a.shape[:5], (a.shape[0], a.shape[2], a.shape[4])
    if tau.shape not in (each, shared):
        raise ValueError(f"tau must have shape {each} or {shared} beside a, got {tau.shape}")
    delays = tau if tau.shape == each else tau[:, None, :, None, :]
    # (steps, transmitters, receivers, receive antennas, transmit antennas, paths)
    coefficients = a.transpose(5, 2, 0, 1, 3, 4)
    return gains_of_paths(coefficients, delays.transpose(2, 0, 1, 3, 4), bandwidth_hz, subcarriers)


def _positions(runs: list[dict[str, Array]], steps: list[int], join: str) -> dict[str, Array]:
    """Positions where all files hold them; users stand still during a run."""
    known: dict[str, Array] = {}
    kinds = ("ap_positions", "tx_positions", 2), ("ue_positions", "rx_positions", 0)
    for name, theirs, axis in kinds:
        held = [theirs in run for run in runs]
        if not any(held):
            continue
        if not all(held):
            raise ValueError(f"{theirs} must be in all files or in none")
        arrays = [run[theirs] for run in runs]
        for run, array in zip(runs, arrays, strict=True):
            count = run["a"].shape[axis]
            if array.shape not in ((count, 2), (count, 3)):
                raise ValueError(f"{theirs} must have shape ({count}, 2 or 3), got {array.shape}")
        flat = [array[:, :2] for array in arrays]
        if join == "places":
            known[name] = np.stack(flat)
        elif name == "ue_positions":
            known[name] = np.repeat(np.stack(flat), steps, axis=0)
        elif all(np.allclose(flat[0], one, atol=1e-3) for one in flat):
            known[name] = flat[0]
        else:
            raise ValueError("tx_positions differ between files: access points do not move")
    return known


def convert(files: list[Path], **options: Any) -> Arguments:
    """Read the files and convert them."""
    runs = []
    for path in files:
        with np.load(existing(path), allow_pickle=False) as held:
            runs.append({name: held[name] for name in held.files})
    return trace_arguments(runs, name=f"Sionna RT, {files[0].name}", **options)


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="files of impulse responses (.npz)")
    parser.add_argument(
        "--step-duration-s",
        type=float,
        help="duration of a step: 1 / sampling_frequency, or the time between the files",
    )
    parser.add_argument(
        "--join",
        choices=JOINS,
        default="steps",
        help="whether files follow each other in time or are places (default: steps)",
    )
    add_band(parser)
    given = vars(parser.parse_args())
    out = given.pop("out")
    sys.exit(write_trace(functools.partial(convert, **given), out))
