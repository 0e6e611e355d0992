"""What the bridges share: path coefficients to gains, options, and the trace file."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env.exit_status import status_of
from rrm_env.files import check_writable
from rrm_env.trace import Trace

Array = NDArray[Any]
Arguments = dict[str, Any]
"""Keyword arguments of `Trace.from_arrays`."""


def gains_of_paths(
    coefficients: Array, delays: Array, bandwidth_hz: float, subcarriers: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Path gains of links with fading and without, from their paths.

    Power is divided equally among the transmit antennas, without beamforming, and the receiver
    collects the power of all its antennas (maximum ratio combining). Hence both gains are means
    over transmit antennas and sums over receive antennas:

    - with fading, of |sum_p a_p exp(-j 2 pi f tau_p)|^2, averaged over subcarriers at frequencies f
      that are spread evenly over the band around the carrier;
    - without fading, of sum_p |a_p|^2, which is the mean of the first over uniform phases.

    Args:
        coefficients: (..., R, S, P) complex baseband coefficients a of the receive antennas,
            transmit antennas and paths; absent paths have coefficient 0.
        delays: tau in seconds, of the same shape or with axes R and S of length 1.
        bandwidth_hz: width of the band.
        subcarriers: frequencies averaged over; 1 takes the carrier alone (flat fading).

    Returns:
        two arrays (...), linear, 0 where there is no path.
    """
    without = (np.abs(coefficients) ** 2).sum(axis=-1)
    with_fading = np.zeros(without.shape)
    for offset in (np.arange(subcarriers) - (subcarriers - 1) / 2) / subcarriers * bandwidth_hz:
        turned = coefficients * np.exp(-2j * np.pi * offset * delays)
        with_fading += np.abs(turned.sum(axis=-1)) ** 2 / subcarriers
    return with_fading.mean(axis=-1).sum(axis=-1), without.mean(axis=-1).sum(axis=-1)


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with the script's docstring and the option of the trace's file."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("gains.npz"), help="trace file (default: gains.npz)"
    )
    return parser


def existing(path: Path) -> Path:
    """The path, if there is something to read."""
    if not path.exists():
        raise ValueError(f"there is no file {str(path)!r}")
    return path


def add_band(parser: argparse.ArgumentParser) -> None:
    """Options of the frequencies over which fading is averaged."""
    parser.add_argument(
        "--bandwidth-hz", type=float, default=10e6, help="width of the band (default: 10e6)"
    )
    parser.add_argument(
        "--subcarriers",
        type=int,
        default=32,
        help="frequencies of the band that the gain is averaged over; 1 takes the carrier alone "
        "(default: 32)",
    )


def check_band(bandwidth_hz: float, subcarriers: int) -> None:
    """Refuse a band without width or without subcarriers."""
    if not 0 < bandwidth_hz <= 1e12:
        raise ValueError(f"--bandwidth-hz must be above 0 and at most 1e12, got {bandwidth_hz:g}")
    if not 1 <= subcarriers <= 4096:
        raise ValueError(f"--subcarriers must be from 1 to 4096, got {subcarriers}")


def check_step(step_duration_s: float | None) -> float:
    """The duration of a step, which a file does not say; it has to be said and to be possible."""
    if step_duration_s is None:
        raise ValueError("--step-duration-s is missing: seconds from one step to the next")
    if not 0 < step_duration_s <= 1e4:
        raise ValueError(
            f"--step-duration-s must be above 0 and at most 10000, got {step_duration_s:g}"
        )
    return step_duration_s


def write_trace(convert: Callable[[], Arguments], out: Path) -> int:
    """Convert, write the trace, say what it holds, and return the exit status."""

    def work() -> None:
        path = check_writable("--out", out)
        trace = Trace.from_arrays(**convert())
        trace.save(path)
        print(f"wrote {path}: {trace}")
        print(f"play it: python -m baselines --set trace={path}")

    return status_of(work)
