"""Numbers that access points exchange so that all can compute one plan, and what it expects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import SILENT
from rrm_env.compiling import compiled

GAIN_RANGE_DB, RATE_RANGE_DB = (-40.0, 100.0), (-30.0, 20.0)
"""Of exchanged gains over noise, and of exchanged mean rates over 1 bit/s/Hz."""
FLOAT_BITS = 32
"""Of a number that is exchanged as it is."""


def quantised_gains(gains: NDArray[Any], bits: int) -> NDArray[Any]:
    """Gains over noise rounded to 2^bits levels in steps of equal dB, from -40 to 100 dB."""
    return _quantised(gains, bits, GAIN_RANGE_DB)


def quantised_rates(rates: NDArray[Any], bits: int) -> NDArray[Any]:
    """Mean rates rounded to 2^bits levels in steps of equal dB, from 0.001 to 100 bit/s/Hz."""
    return _quantised(rates, bits, RATE_RANGE_DB)


def _quantised(values: NDArray[Any], bits: int, span_db: tuple[float, float]) -> NDArray[Any]:
    low, high = span_db
    step = (high - low) / (2**bits - 1)
    with np.errstate(divide="ignore"):
        level = np.rint((np.clip(10 * np.log10(values), low, high) - low) / step)
    rounded: NDArray[Any] = np.exp(math.log(10) / 10 * (low + level * step)).astype(values.dtype)
    return rounded


@compiled(nogil=True, error_model="numpy")
def expect(expected: Any, served: Any, rate: Any) -> None:
    """Write the rates (B, I) of those served to `expected` (B, J)."""
    for b in range(served.shape[0]):
        for i in range(served.shape[1]):
            if served[b, i] != SILENT:
                expected[b, served[b, i]] = rate[b, i]
