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
}


COLLECT = {"scheduler": "random_walk:silence=true", "transitions": 100, "set": NETWORK}


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
    return [cell for point in sweep.points for cell in sweep.cells(point)]


def names_of_data(sweep: Sweep) -> list[str]:
    return [point.data.name for point in sweep.points if point.data]


LONGER = {"updates": 400, "log_every": 20, "evaluate_every": 400, "checkpoint_every": 20}


def checkpointed_log(run: Path) -> str:
    """The log up to the checkpoint, the time that training took included: a run that begins anew writes other times."""
    lines = (run / "log.jsonl").read_text().splitlines(keepends=True)
    return "".join(
        line
        for line in lines
        if line.endswith("\n") and json.loads(line)["update"] <= updates_done(run)
    )
