"""A run's folder: what it is (JSON), how it went (JSON lines), and all tensors that the next update depends on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from marl.config import LearnerConfig
from marl.locks import alone
from marl.policy import CHECKPOINT, DESCRIPTION, RunError, describe
from rrm_env import RRMConfig
from rrm_env.files import append_line, check_writable, storing, write_whole

LOG, LOCK = "log.jsonl", ".lock"
_FREE = ("updates", "device")
"""Training options that may change when a run is resumed."""


def check_new(run: Path) -> None:
    """Refuse a folder that holds a run (RunError), or what is left of one: its checkpoint would be taken for the new run's."""
    if (run / DESCRIPTION).exists():
        raise RunError(f"{str(run)!r} holds a run already; resume it, or choose another folder")
    if left := [name for name in (CHECKPOINT, LOG) if (run / name).exists()]:
        raise RunError(f"{str(run)!r} holds {left[0]} of a run without {DESCRIPTION}: choose another folder, or remove what is there")


def make_folder(run: Path) -> None:
    """Make a run's folder where it is missing.

    Raises:
        RunError: it cannot be made, or nothing can be written there.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"the folder {str(run)!r} cannot be made: {error.strerror or error}") from None
    try:
        check_writable(DESCRIPTION, run / DESCRIPTION)
    except ValueError as error:
        raise RunError(f"the folder {str(run)!r} cannot be written: {error}") from None


def held(run: Path) -> AbstractContextManager[None]:
    """Only one process trains a run at a time (BusyError)."""
    return alone(run / LOCK, f"training {str(run)!r}")


def write_description(run: Path, description: Mapping[str, Any]) -> None:
    """Replace what the folder says it is."""
    content = json.dumps(description, indent=1).encode()
    write_whole(run / DESCRIPTION, lambda file: file.write(content))


def check_same(run: Path, description: Mapping[str, Any]) -> None:
    """Refuse to resume a run that was something else (RunError naming the first difference), or a folder without one."""
    try:
        old = _completed(describe(run))
    except RunError as error:
        if (run / DESCRIPTION).exists():
            raise
        raise RunError(f"{error}; there is nothing to resume: start it without --resume") from None
    for section in ("learner", "seeds", "team", "environment", "data", "training"):
        before, now = old.get(section), json.loads(json.dumps(description[section]))
        if section == "training":
            before, now = ({key: value for key, value in (options or {}).items() if key not in _FREE} for options in (before, now))
        if before != now:
            raise RunError(f"{str(run)!r} cannot be resumed with another {section}: {'; '.join(_differences('', before, now))}")


def _completed(description: dict[str, Any]) -> dict[str, Any]:
    """With the options that did not exist yet when it was written, at their defaults: those are what it did."""
    environment = description["environment"]
    if isinstance(environment, dict) and environment.get("kind") == "network":
        environment = {**environment, "config": RRMConfig(**environment["config"]).as_dict()}
    return {**description, "learner": LearnerConfig.from_dict(description["learner"]).as_dict(), "environment": environment}


def _differences(name: str, before: Any, now: Any) -> list[str]:
    """What changed, by the innermost names."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return [text for key in keys for text in _differences(key, before.get(key), now.get(key))]
    return [f"{name} was {before!r}, now {now!r}".removeprefix(" was ")]


def save_tensors(run: Path, learner: Mapping[str, Tensor], replay: Mapping[str, Tensor] | None, updates: int) -> None:
    """Write a checkpoint, whole or not at all.

    A replay is written first, under a name of its own, so that the last complete checkpoint always finds the replay it belongs to.
    """
    if replay is not None:
        _write(run / _replay_name(updates), replay)
    _write(run / CHECKPOINT, learner)
    remove_other_replays(run, updates)


def remove_other_replays(run: Path, updates: int) -> None:
    """Remove replays that belong to no checkpoint any more; a kill may have left one."""
    for old in run.glob(_replay_name("*")):
        if old.name != _replay_name(updates):
            with storing(old, "it belongs to no checkpoint any more", "removed"):
                old.unlink()


def load_tensors(run: Path, *, with_replay: bool) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The last checkpoint's tensors.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    try:
        learner = load_file(run / CHECKPOINT)
        replay = load_file(run / _replay_name(int(learner["updates"]))) if with_replay else None
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(f"{str(run)!r} has no readable checkpoint: {error}") from None
    return learner, replay


def updates_done(run: Path) -> int:
    """Updates of the last checkpoint; 0 where there is none yet."""
    if not (run / CHECKPOINT).exists():
        return 0
    return int(load_tensors(run, with_replay=False)[0]["updates"])


def append_record(run: Path, record: Mapping[str, Any]) -> None:
    """Add a record to the log."""
    append_line(run / LOG, json.dumps(record))


def read_log(run: Path) -> Iterator[dict[str, Any]]:
    """The log's records; a last line that a kill cut short is left out."""
    for line in (run / LOG).read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def cut_log(run: Path, updates: int) -> None:
    """Drop records of updates after the checkpoint: they are about to be made again."""
    kept = [json.dumps(record) for record in read_log(run) if record["update"] <= updates] if (run / LOG).exists() else []
    content = "".join(line + "\n" for line in kept).encode()
    write_whole(run / LOG, lambda file: file.write(content))


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    content = save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    write_whole(path, lambda file: file.write(content))


def _replay_name(updates: int | str) -> str:
    return f"replay-{updates}.safetensors"
