"""Learners, runs and workers on Windows and macOS, as far as Linux can play them."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import portable_marl_tour
import pytest
import without_posix

from marl.engines.local import _was_killed


@pytest.mark.skipif(sys.platform == "win32", reason="nothing can be taken away there")
def test_learners_do_the_same_where_what_only_posix_has_is_missing(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    expected = json.loads(json.dumps(portable_marl_tour.commands(tmp_path / "with")))
    found = without_posix.facts_of("marl", tmp_path / "without")
    assert found == {**expected, "failed": {}, "hidden": []}
    assert expected["statuses"] == [0] * 6


@pytest.mark.parametrize(
    ("code", "system", "killed"),
    [
        (-signal.SIGTERM, "posix", True),
        (-signal.SIGINT, "posix", True),
        (-signal.SIGSEGV, "posix", False),
        (1, "posix", False),
        (0, "posix", False),
        (1, "nt", True),  # by the task manager
        (int(signal.SIGTERM), "nt", True),  # by os.kill
        (-signal.SIGTERM, "nt", True),  # by multiprocessing
        (0xC000013A, "nt", True),  # a closed console
        (0xC0000005, "nt", False),  # an access violation
        (3, "nt", False),
    ],
)
def test_workers_that_were_killed_are_told_from_those_that_crashed(
    code: int, system: str, killed: bool
) -> None:
    assert _was_killed(code, system) is killed
