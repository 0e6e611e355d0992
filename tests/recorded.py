"""Made-up channel traces for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import Trace

PLACES, STEPS, APS, UES = 4, 40, 3, 7


def arrays(**changes: Any) -> dict[str, Any]:
    """Arguments of `Trace.from_arrays`: received power over noise with everything that is known."""
    generator = np.random.default_rng(0)
    slow = 10 ** generator.uniform(0, 5, (PLACES, STEPS, APS, UES))
    made = {
        "gain": (slow * generator.exponential(size=slow.shape)).astype(np.float32),
        "unit": "snr",
        "step_duration_s": 0.05,
        "large_scale_gain": slow.astype(np.float32),
        "ap_positions": generator.uniform(0, 80, (PLACES, APS, 2)),
        "ue_positions": 40 + generator.uniform(-1, 1, (PLACES, STEPS, UES, 2)).cumsum(axis=1),
        "association": generator.integers(APS, size=(PLACES, UES)),
    }
    return {name: value for name, value in {**made, **changes}.items() if value is not None}


def trace_file(folder: Path, file: str = "gains.npz", **changes: Any) -> Trace:
    """A trace in a file of this folder; `changes` as for `arrays`, None leaves an array out."""
    return Trace.from_arrays(**arrays(**changes)).save(folder / file)


def row_of(trace: Trace, gain: NDArray[Any]) -> tuple[int, int]:
    """The place and the step of the only row of a trace that holds these gains (I, J)."""
    found = np.argwhere((np.asarray(trace.gain) == gain).all(axis=(2, 3)))
    assert len(found) == 1
    return int(found[0, 0]), int(found[0, 1])
