"""The same as `portable_core_tour` for the learners: datasets, runs and a sweep on a worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from portable_core_tour import OPTIONS, SIZES, per_episode

import marl.__main__ as command
from marl import Dataset, Sweep, SweepRun
from marl.engines.local import Local

RECORD = ["--scheduler", "random_walk:silence=true", "--transitions", "60", *OPTIONS[:-2]]
TRAIN = ["--hidden-sizes", "16", "--batch-size", "8", "--log-every", "2"]
TRAIN += ["--checkpoint-every", "2", "--evaluation-episodes", "2"]


def take(folder: Path) -> dict[str, Any]:
    """The commands, a sweep, and what is left in the folder."""
    return {
        **commands(folder),
        "failed": swept(folder / "sweep")["failed"],
        "hidden": sorted(path.name for path in folder.rglob(".*.part*")),
    }


def commands(folder: Path) -> dict[str, Any]:
    """Recording over an earlier dataset, training that goes on, evaluation, and a description."""
    data, run, out = (str(folder / name) for name in ("data.safetensors", "run", "out.json"))
    train = ["train", "--dataset", data, "--out", run, *TRAIN]
    lines = [
        *[["collect", *RECORD, "--out", data]] * 2,
        [*train, "--updates", "2"],
        [*train, "--updates", "4", "--resume"],
        ["evaluate", run, "--episodes", "2", "--json", out],
        ["info", run],
    ]
    statuses = [command.main(line) for line in lines]
    results = json.loads(Path(out).read_text(encoding="utf-8"))
    return {
        "statuses": statuses,
        "actions": Dataset.read(data).action.tolist(),
        "evaluated": per_episode(results),
    }


def swept(folder: Path) -> dict[str, Any]:
    """The results of a sweep on one worker, whose cells have schedulers with options."""
    sweep = Sweep(
        collect={"scheduler": "random_walk:silence=true", "transitions": 60, "set": SIZES},
        train={"hidden_sizes": [16], "batch_size": 8, "updates": 2, "log_every": 2},
        evaluate={"episodes": 2, "schedulers": "itlinq:tolerance_db=0"},
        seeds=2,
    )
    with Local(1) as engine:
        return SweepRun(sweep, folder).run(engine)
