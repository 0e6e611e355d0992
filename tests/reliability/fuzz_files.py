"""Damaged files: drawing, loading and judging them.

A damaged file must be refused by an error that names it, or load equal to the original. Where no
checksum can tell (it was made to fit, or the format has none) other valid content may load.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from damage import CANARY, Bytes
from fuzz_kinds import KINDS, Content, Original
from fuzz_section import Section
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor

from marl import DatasetError, RunError, UnfinishedRunWarning


@dataclass(frozen=True)
class Case:
    """A damaged file, or something else in its place."""

    original: Original
    mutation: str
    content: Bytes
    instead: str = ""
    """What is in its place: one of `INSTEAD`."""


NO_FILE = "no regular file"
"""The mutation that puts something else than a file in its place."""
INSTEAD: dict[str, Callable[[Path], object] | None] = {
    "nothing": None,
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link to nothing": lambda path: path.symlink_to("missing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "device": lambda path: path.symlink_to("/dev/null"),
    "endless device": lambda path: path.symlink_to("/dev/zero"),
}


@st.composite
def damaged(draw: st.DrawFn, originals: Sequence[Original], mutation: str = "") -> Case:
    """One of the originals, all of one kind, damaged by this mutation or by any."""
    original, other = draw(st.sampled_from(originals)), draw(st.sampled_from(originals))
    mutations = KINDS[original.kind].mutations
    if not mutation:
        rare = draw(st.integers(0, 99)) == 99
        mutation = NO_FILE if rare else draw(st.sampled_from([*mutations]))
    if mutation == NO_FILE:
        return Case(original, NO_FILE, Bytes(), draw(st.sampled_from([*INSTEAD])))
    content = mutations[mutation](draw, original.content, other.content)
    # A splice of two files may be the other file, whole.
    assume(all(content != one.content for one in originals if one is not original))
    return Case(original, mutation, Bytes(content))


def unchanged(original: Original) -> Case:
    """The original, as a case."""
    return Case(original, "unchanged", original.content)


# --- Judging ---

REFUSALS = (DatasetError, RunError, ValueError, TypeError)
"""These types themselves, since the errors of json and of Unicode are ValueErrors too."""


def judge_file(case: Case) -> str:
    """Load a damaged file.

    Returns:
        "refused" by an error that names the file; "equal" to the original; or "other" valid content
        where no checksum can tell.

    Raises:
        AssertionError: anything else happened, or code in the file was run.
        Exception: an error that is not one of `REFUSALS`.
    """
    kind, expected = KINDS[case.original.kind], _expected(case.original)
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        # A forged description may announce more updates than there were.
        warnings.simplefilter("ignore", UnfinishedRunWarning)
        folder = Path(name) / "case"
        shutil.copytree(case.original.folder, folder)
        _put(case, folder / case.original.file)
        try:
            loaded = kind.load(folder)
        except REFUSALS as error:
            _check_refusal(error, (str(folder), *kind.names))
            return "refused"
        finally:
            if Path(CANARY).exists():
                Path(CANARY).rmdir() if Path(CANARY).is_dir() else Path(CANARY).unlink()
                raise AssertionError("code in the file was run")
    if same(loaded, expected):
        return "equal"
    if case.mutation in kind.forged:
        return "other"
    raise AssertionError("other content was loaded")


@cache
def _expected(original: Original) -> Content:
    return KINDS[original.kind].load(original.folder)


def _put(case: Case, path: Path) -> None:
    path.unlink()
    if case.mutation != NO_FILE:
        path.write_bytes(case.content)
    elif make := INSTEAD[case.instead]:
        make(path)


def _check_refusal(error: Exception, names: Sequence[str]) -> None:
    message = str(error)
    if type(error) not in REFUSALS:
        raise error
    if "MemoryError" in message or "Unable to allocate" in message:
        raise AssertionError("it needs too much memory") from error
    if not any(name in message for name in names) or len(message) > 5000:
        raise AssertionError("refused without naming the file, or at length") from error


def same(one: Any, other: Any) -> bool:
    """Equality to the bit."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and one.numpy().tobytes() == other.numpy().tobytes()
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items()
        )
    return type(one) is type(other) and bool(one == other)


def file_sections(
    originals: Sequence[Original], seconds: float, megabytes: int
) -> dict[str, Section]:
    """Return a section for each kind of file, with these limits of one load."""
    of_kind = {
        kind: [original for original in originals if original.kind == kind] for kind in KINDS
    }
    return {
        kind: Section(damaged(some), judge_file, seconds, megabytes)
        for kind, some in of_kind.items()
    }
