"""A run's folder: what it is (JSON), how it went (JSON lines), and all tensors that the next update depends on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marl.data.storage import (
    MAX_TEXT,
    checksum,
    dump_json,
    opened,
    parse_json,
    read_safetensors,
    serialised,
)
from marl.runs.description import (
    CHECKPOINT,
    DESCRIPTION,
    RunError,
    check_entry,
    check_run,
    describe,
    differences,
    identity,
)
from marl.runs.lock import alone
from rrm_env.checks import bounded_integer, shown
from rrm_env.files import append_line, check_utf8, check_writable, storing, write_whole

LOG, LOCK, EVENTS = "log.jsonl", ".lock", "tensorboard"


def check_new(run: Path) -> None:
    """Refuse a folder that holds a run (RunError), or what is left of one: its checkpoint would be taken for the new run's."""
    if (run / DESCRIPTION).exists():
        raise RunError(f"{str(run)!r} holds a run already; resume it, or choose another folder")
    if left := [name for name in (CHECKPOINT, LOG) if (run / name).exists()]:
        raise RunError(
            f"{str(run)!r} holds {left[0]} of a run without {DESCRIPTION}: choose another folder, or remove what is there"
        )


def remove_run(run: Path) -> None:
    """Remove the files of a run; others in its folder stay. Nothing happens where there is none.

    Raises:
        RunError: the folder's description is not one of a run.
    """
    if not (run / DESCRIPTION).exists():
        return
    describe(run)
    with storing(run, "some of its files are gone", "removed"):
        shutil.rmtree(run / EVENTS, ignore_errors=True)
        for path in (*run.glob(_replay_name("*")), run / CHECKPOINT, run / LOG, run / DESCRIPTION):
            path.unlink(missing_ok=True)


def make_folder(run: Path) -> None:
    """Make a run's folder where it is missing.

    Raises:
        ValueError: its path is not UTF-8.
        RunError: it cannot be made, or nothing can be written there.
    """
    check_utf8("the run's folder", run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the folder {str(run)!r} cannot be made: {error.strerror or error}"
        ) from None
    try:
        check_writable(DESCRIPTION, run / DESCRIPTION)
    except ValueError as error:
        raise RunError(f"the folder {str(run)!r} cannot be written: {error}") from None


def held(run: Path) -> AbstractContextManager[None]:
    """Only one process trains a run at a time (BusyError)."""
    return alone(run / LOCK, f"training {str(run)!r}")


def described(description: Mapping[str, Any]) -> bytes:
    """What a run's description file holds.

    Raises:
        TypeError, ValueError: `describe` would refuse it.
    """
    check_run(json.loads(json.dumps(description)))  # names the field
    return dump_json(description, indent=1).encode()


def write_description(run: Path, description: Mapping[str, Any]) -> None:
    """Replace what the folder says it is."""
    content = described(description)
    write_whole(run / DESCRIPTION, lambda file: file.write(content))


def check_same(run: Path, description: Mapping[str, Any]) -> None:
    """Refuse to resume a run that was something else (RunError naming the first difference), or a folder without one."""
    try:
        old, new = (identity(of) for of in (describe(run), description))
    except RunError as error:
        if (run / DESCRIPTION).exists():
            raise
        raise RunError(f"{error}; there is nothing to resume: start it without --resume") from None
    for section in ("learner", "seeds", "team", "environment", "data", "training"):
        if (before := old[section]) != (now := new[section]):
            raise RunError(
                f"{str(run)!r} cannot be resumed with another {section}: {'; '.join(differences('', before, now))}"
            )


def save_tensors(
    run: Path,
    description: Mapping[str, Any],
    learner: Mapping[str, Tensor],
    replay: Mapping[str, Tensor] | None,
    updates: int,
) -> None:
    """Write a checkpoint of the run that ``description`` describes, whole or not at all.

    A replay is written first, under a name of its own, so that the last complete checkpoint always finds the replay it belongs to.
    """
    if replay is not None:
        _write(run / _replay_name(updates), replay, description, updates)
    _write(run / CHECKPOINT, learner, description, updates)
    remove_other_replays(run, updates)


def remove_other_replays(run: Path, updates: int) -> None:
    """Remove replays that belong to no checkpoint any more; a kill may have left one."""
    for old in run.glob(_replay_name("*")):
        if old.name != _replay_name(updates):
            with storing(old, "it belongs to no checkpoint any more", "removed"):
                old.unlink()


def load_tensors(
    run: Path, *, with_replay: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The last checkpoint's tensors.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    description = describe(run)
    try:
        learner, replay = read_tensors(run / CHECKPOINT, description), None
        updates = _count(learner, "updates")
        if with_replay:
            replay = read_tensors(run / _replay_name(updates), description, updates)
            _count(replay, "added")
    except RunError as error:
        raise RunError(f"{str(run)!r} has no readable checkpoint: {error}") from None
    return learner, replay


def _count(tensors: Mapping[str, Tensor], name: str) -> int:
    """A tensor that holds one whole number of at least 0."""
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != torch.int64 or tensor.ndim or int(tensor) < 0:
        raise RunError(
            f"{name} must be one integer of at least 0, found {'nothing' if tensor is None else shown(tensor)}"
        )
    return int(tensor)


def updates_done(run: Path) -> int:
    """Updates of the last checkpoint; 0 where there is none yet."""
    if not (run / CHECKPOINT).exists():
        return 0
    return int(load_tensors(run, with_replay=False)[0]["updates"])


def append_entry(run: Path, record: Mapping[str, Any]) -> None:
    """Add a record to the log; `read_log` would refuse others (TypeError, ValueError)."""
    text = dump_json(record)
    check_entry(parse_json(text), -1)
    append_line(run / LOG, text)


def read_log(run: Path) -> Iterator[dict[str, Any]]:
    """The log's records; a last line that a kill cut short is left out.

    Raises:
        RunError: no log, or a line that is no record; the message says which.
    """
    path, last, number = run / LOG, -1, 0
    try:
        with opened(path) as file:
            for line in iter(lambda: file.readline(MAX_TEXT), b""):
                number += 1
                if line.endswith(b"\n"):
                    record = parse_json(line)
                    check_entry(record, last)
                    last = record["update"]
                    yield record
                elif len(line) == MAX_TEXT:
                    raise ValueError(f"it is longer than {MAX_TEXT:,} bytes")
    except OSError as error:
        raise RunError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
    except (TypeError, ValueError) as error:
        raise RunError(f"{str(path)!r}, line {number} is no record: {error}") from None


def cut_log(run: Path, updates: int) -> None:
    """Drop records of updates after the checkpoint: they are about to be made again."""
    kept = (
        [json.dumps(record) for record in read_log(run) if record["update"] <= updates]
        if (run / LOG).exists()
        else []
    )
    content = "".join(line + "\n" for line in kept).encode()
    write_whole(run / LOG, lambda file: file.write(content))


def _write(
    path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any], updates: int
) -> None:
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = serialised(copies, signature(copies, description, updates))
    write_whole(path, lambda file: file.write(content))


def _replay_name(updates: int | str) -> str:
    return f"replay-{updates}.safetensors"


def signature(
    tensors: Mapping[str, Tensor], description: Mapping[str, Any], updates: int
) -> dict[str, str]:
    """The metadata of a file of a run after so many updates: what it belongs to, and a checksum of that and of all tensors."""
    text = json.dumps({**identity(description), "updates": updates})
    return {"description": text, "checksum": checksum(dict(sorted(tensors.items())), text)}


def read_tensors(
    path: Path, description: Mapping[str, Any], updates: int | None = None
) -> dict[str, Tensor]:
    """All tensors of a file of a run, verified; without the right `signature` they are refused.

    Args:
        path: the file.
        description: what the run's folder says it is.
        updates: after how many of them it must have been written; any number where None.

    Raises:
        RunError: missing, truncated, altered, of a run that was something else or of another time; the message says which.
    """
    content, metadata = read_safetensors(
        path, lambda reason: RunError(f"{str(path)!r} cannot be read: {reason}")
    )
    tensors = dict(sorted(content.items()))
    if missing := {"checksum", "description"} - metadata.keys():
        raise RunError(
            f"{str(path)!r} cannot be read: it is no file of a run, its metadata lack {', '.join(sorted(missing))}"
        )
    if metadata["checksum"] != checksum(tensors, text := metadata["description"]):
        raise RunError(
            f"{str(path)!r} cannot be read: it was altered after it was written, its checksum does not match"
        )
    try:
        check_run(written := parse_json(text))
        done = bounded_integer("updates", written.pop("updates", None), 2**63 - 1, lowest=0)
    except (TypeError, ValueError) as error:
        raise RunError(f"{str(path)!r} belongs to no run: {error}") from None
    if written != (now := identity(description)):
        changes = "; ".join(differences("", written, now))
        raise RunError(
            f"{str(path)!r} belongs to another run than {DESCRIPTION} beside it describes: {changes}"
        )
    if updates is not None and done != updates:
        raise RunError(
            f"{str(path)!r} was written after {done} updates, the checkpoint beside it after {updates}"
        )
    return tensors
