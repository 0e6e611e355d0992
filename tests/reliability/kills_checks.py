"""What a killed command left in its folder: is it whole, and does it equal another run's."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from marl import Dataset, UnfinishedRunWarning, load_policies
from marl.runs.checkpoint import LOG, load_tensors, read_log
from marl.runs.description import CHECKPOINT, describe

TIMINGS = ("seconds", "steps_per_second", "training_hours")
"""Durations, which differ between two runs of the same work."""
DIARIES = ("tensorboard", "events.jsonl")
"""Records of what happened when, which are not compared."""


def temporaries(folder: Path) -> set[str]:
    """Return names of files that are being written, or were when their writer was killed."""
    return {
        name
        for _, _, names in os.walk(folder)
        for name in names
        if name.startswith(".") and ".part" in name
    }


def check_loadable(folder: Path) -> None:
    """Load everything that can be loaded; an error means that a file is half-written."""
    for path in visible(folder):
        if path.name == LOG:
            list(read_log(path.parent))
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.name == CHECKPOINT:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnfinishedRunWarning)  # it was killed
                load_policies(path.parent)
            load_tensors(path.parent, with_replay=describe(path.parent)["data"] is None)
        elif path.name.startswith("replay-"):
            load_file(path)
        elif path.suffix == ".safetensors":
            Dataset.read(path)
        elif path.suffix == ".png":
            if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                raise ValueError(f"{path} is half a picture")
        else:
            raise ValueError(f"{path} is an unexpected file")


def visible(folder: Path) -> Iterator[Path]:
    """Return all files except diaries, temporary files and locks."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part in DIARIES or part.startswith(".") for part in parts):
            yield path


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file's bytes without durations, and names of hidden files, which must not be."""
    found = {str(path.relative_to(folder)): _timeless(path) for path in visible(folder)}
    hidden = temporaries(folder) | {str(path) for path in folder.rglob(".*lock")}
    return {**found, **dict.fromkeys(sorted(hidden), b"")}


def _timeless(path: Path) -> bytes:
    if path.name == LOG:
        return b"\n".join(
            json.dumps(_without_timings(json.loads(line))).encode()
            for line in path.read_bytes().splitlines()
        )
    if path.suffix == ".json":
        return json.dumps(_without_timings(json.loads(path.read_bytes()))).encode()
    return path.read_bytes()


def _without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_timings(item) for key, item in value.items() if key not in TIMINGS}
    return [_without_timings(item) for item in value] if isinstance(value, list) else value
