"""Sweeps small enough for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marl.runs.checkpoint import updates_done
from marl.sweep.cells import Cell
from marl.sweep.grid import Sweep

NETWORK = {"n_aps": 2, "n_ues": 6, "n_candidates": 2, "episode_length": 10}
"""`SMALL` as a table."""

TRAIN = {
    "hidden_sizes": [16],
    "batch_size": 8,
    "updates": 20,
    "log_every": 5,
    "evaluate_every": 10,
    "checkpoint_every": 5,
    "evaluation_episodes": 2,
    "replay_capacity": 60,
    "learning_starts": 16,
    "envs_per_seed": 2,
}
"""Options of a training of twenty updates."""

COLLECT = {"scheduler": "random_walk:silence=true", "transitions": 100, "set": NETWORK}

LONGER = {"updates": 400, "log_every": 20, "evaluate_every": 400, "checkpoint_every": 20}
"""Changes to `TRAIN` that make a training long enough to be interrupted."""


def small(**changes: Any) -> Sweep:
    """Two data sizes times two paradigms, two seeds each."""
    sections = {
        "collect": {**COLLECT, "transitions": [100, 60]},
        "train": {**TRAIN, "paradigm": ["c", "ctde"]},
        "evaluate": {"episodes": 4, "schedulers": "tdm"},
        "seeds": 2,
    }
    return Sweep(**{**sections, **changes})


def all_cells(sweep: Sweep) -> list[Cell]:
    """The cells of all points of the grid."""
    return [cell for point in sweep.points for cell in sweep.cells(point)]


def names_of_data(sweep: Sweep) -> list[str]:
    """The names of the datasets that the points learn from."""
    return [point.data.name for point in sweep.points if point.data]


def checkpointed_log(run: Path) -> str:
    """The log up to the checkpoint, with the times in it.

    A run that starts anew writes other times, so that the log tells it from one that continued.
    """
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    return "".join(
        line
        for line in lines
        if line.endswith("\n") and json.loads(line)["update"] <= updates_done(run)
    )
