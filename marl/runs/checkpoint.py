"""Reading and writing a run's folder: its description, log and checkpoints.

The description is JSON, the log has one JSON object a line, and a checkpoint is a safetensors file
with all tensors that the next update depends on.
"""

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
"""Files in a run's folder: the log and the lock; and the folder of TensorBoard's event files."""


def check_new(run: Path) -> None:
    """Check that a new run can start in a folder.

    Raises:
        RunError: the folder holds a run, or files of one, which would be taken for the new run's.
    """
    if (run / DESCRIPTION).exists():
        raise RunError(f"{str(run)!r} holds a run already; resume it, or choose another folder")
    if left := [name for name in (CHECKPOINT, LOG) if (run / name).exists()]:
        raise RunError(
            f"{str(run)!r} holds {left[0]} of a run without {DESCRIPTION}: "
            "choose another folder, or remove what is there"
        )


def remove_run(run: Path) -> None:
    """Remove the files of a run, if there is one; other files in its folder stay.

    Raises:
        RunError: the description in the folder is not that of a run.
        WriteError: the system refuses to remove a file.
    """
    if not (run / DESCRIPTION).exists():
        return
    describe(run)
    with storing(run, "some of its files are gone", "removed"):
        shutil.rmtree(run / EVENTS, ignore_errors=True)
        for path in (*run.glob(_replay_name("*")), run / CHECKPOINT, run / LOG, run / DESCRIPTION):
            path.unlink(missing_ok=True)


def make_folder(run: Path) -> None:
    """Make a run's folder if it is missing.

    Raises:
        ValueError: UTF-8 cannot encode its path.
        RunError: it cannot be made, or nothing can be written there.
    """
    check_utf8("the run's folder", run)
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"the folder {str(run)!r} cannot be made: {reason}") from None
    try:
        check_writable(DESCRIPTION, run / DESCRIPTION)
    except ValueError as error:
        raise RunError(f"the folder {str(run)!r} cannot be written: {error}") from None


def held(run: Path) -> AbstractContextManager[None]:
    """A context that holds the run's lock, so that only one process trains it (BusyError)."""
    return alone(run / LOCK, f"training {str(run)!r}")


def described(description: Mapping[str, Any]) -> bytes:
    """The content of a run's description file.

    Raises:
        TypeError, ValueError: `describe` would refuse the description.
    """
    check_run(json.loads(json.dumps(description)))  # its error names the field
    return dump_json(description, indent=1).encode()


def write_description(run: Path, description: Mapping[str, Any]) -> None:
    """Write or replace the description file in a run's folder; errors as `described`."""
    content = described(description)
    write_whole(run / DESCRIPTION, lambda file: file.write(content))


def check_same(run: Path, description: Mapping[str, Any]) -> None:
    """Check that the run in a folder can be resumed under this description.

    Raises:
        RunError: the folder holds no run, or a different one; the message names the first section
            that differs.
    """
    try:
        old = identity(describe(run))
        new = identity(description)
    except RunError as error:
        if (run / DESCRIPTION).exists():
            raise
        raise RunError(f"{error}; there is nothing to resume: start it without --resume") from None
    for section in ("learner", "seeds", "team", "environment", "data", "training"):
        before, now = old[section], new[section]
        if before != now:
            changes = "; ".join(differences("", before, now))
            raise RunError(f"{str(run)!r} cannot be resumed with another {section}: {changes}")


def save_tensors(
    run: Path,
    description: Mapping[str, Any],
    learner: Mapping[str, Tensor],
    replay: Mapping[str, Tensor] | None,
    updates: int,
) -> None:
    """Write a checkpoint of a run, whole or not at all.

    A replay is written first, under a name that has the number of updates, so that the last
    complete checkpoint always finds the replay that belongs to it.

    Args:
        run: the run's folder.
        description: the run's description.
        learner: the learner's tensors by name.
        replay: the replay's tensors by name; None for a run without one.
        updates: the updates done.

    Raises:
        WriteError: the system refuses to write or remove a file.
    """
    if replay is not None:
        _write(run / _replay_name(updates), replay, description, updates)
    _write(run / CHECKPOINT, learner, description, updates)
    remove_other_replays(run, updates)


def remove_other_replays(run: Path, updates: int) -> None:
    """Remove all replay files but that of the checkpoint after ``updates`` updates.

    A process that was killed may have left others.
    """
    for old in run.glob(_replay_name("*")):
        if old.name != _replay_name(updates):
            with storing(old, "it belongs to no checkpoint any more", "removed"):
                old.unlink()


def load_tensors(
    run: Path, *, with_replay: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The tensors of the last checkpoint: the learner's, and the replay's if it is asked for.

    Raises:
        RunError: there is no checkpoint, or it cannot be read.
    """
    description = describe(run)
    replay = None
    try:
        learner = read_tensors(run / CHECKPOINT, description)
        updates = _count(learner, "updates")
        if with_replay:
            replay = read_tensors(run / _replay_name(updates), description, updates)
            _count(replay, "added")
    except RunError as error:
        raise RunError(f"{str(run)!r} has no readable checkpoint: {error}") from None
    return learner, replay


def _count(tensors: Mapping[str, Tensor], name: str) -> int:
    """The value of a tensor that must hold one integer of at least 0."""
    tensor = tensors.get(name)
    if tensor is None or tensor.dtype != torch.int64 or tensor.ndim or int(tensor) < 0:
        found = "nothing" if tensor is None else shown(tensor)
        raise RunError(f"{name} must be one integer of at least 0, found {found}")
    return int(tensor)


def updates_done(run: Path) -> int:
    """The updates done at the last checkpoint; 0 if there is none yet."""
    if not (run / CHECKPOINT).exists():
        return 0
    return int(load_tensors(run, with_replay=False)[0]["updates"])


def append_entry(run: Path, record: Mapping[str, Any]) -> None:
    """Append an entry to the run's log.

    Raises:
        TypeError, ValueError: `read_log` would refuse the entry.
    """
    text = dump_json(record)
    check_entry(parse_json(text), -1)
    append_line(run / LOG, text)


def read_log(run: Path) -> Iterator[dict[str, Any]]:
    """The entries of a run's log, without a last line that was cut short when the run was killed.

    Raises:
        RunError: there is no log, or a line is not an entry; the message says which.
    """
    path = run / LOG
    last, number = -1, 0
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
    """Remove the log's entries of updates after ``updates``, which the resumed run repeats."""
    entries = read_log(run) if (run / LOG).exists() else []
    kept = [json.dumps(entry) + "\n" for entry in entries if entry["update"] <= updates]
    content = "".join(kept).encode()
    write_whole(run / LOG, lambda file: file.write(content))


def _write(
    path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any], updates: int
) -> None:
    """Write tensors to a signed file of the run, whole or not at all."""
    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    content = serialised(copies, signature(copies, description, updates))
    write_whole(path, lambda file: file.write(content))


def _replay_name(updates: int | str) -> str:
    """The name of the replay file of the checkpoint after ``updates`` updates."""
    return f"replay-{updates}.safetensors"


def signature(
    tensors: Mapping[str, Tensor], description: Mapping[str, Any], updates: int
) -> dict[str, str]:
    """The metadata that tie a file to a run: its identity and updates, and a checksum.

    The checksum covers these and all tensors.
    """
    text = json.dumps({**identity(description), "updates": updates})
    return {"description": text, "checksum": checksum(dict(sorted(tensors.items())), text)}


def read_tensors(
    path: Path, description: Mapping[str, Any], updates: int | None = None
) -> dict[str, Tensor]:
    """All tensors of a file of a run, whose `signature` is verified.

    Args:
        path: the file.
        description: the description in the run's folder.
        updates: the updates after which the file must have been written; any number where None.

    Raises:
        RunError: the file is missing, truncated or altered, or belongs to another run or another
            number of updates; the message says which.
    """
    where = repr(str(path))
    content, metadata = read_safetensors(
        path, lambda reason: RunError(f"{where} cannot be read: {reason}")
    )
    tensors = dict(sorted(content.items()))
    if missing := {"checksum", "description"} - metadata.keys():
        raise RunError(
            f"{where} cannot be read: it is no file of a run, "
            f"its metadata lack {', '.join(sorted(missing))}"
        )
    text = metadata["description"]
    if metadata["checksum"] != checksum(tensors, text):
        raise RunError(
            f"{where} cannot be read: it was altered after it was written, "
            "its checksum does not match"
        )
    try:
        written = parse_json(text)
        check_run(written)
        done = bounded_integer("updates", written.pop("updates", None), 2**63 - 1, lowest=0)
    except (TypeError, ValueError) as error:
        raise RunError(f"{where} belongs to no run: {error}") from None
    now = identity(description)
    if written != now:
        changes = "; ".join(differences("", written, now))
        raise RunError(
            f"{where} belongs to another run than {DESCRIPTION} beside it describes: {changes}"
        )
    if updates is not None and done != updates:
        raise RunError(
            f"{where} was written after {done} updates, the checkpoint beside it after {updates}"
        )
    return tensors
