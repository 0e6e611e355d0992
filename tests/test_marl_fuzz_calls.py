"""The fuzzer's draws besides files, in miniature; what it must notice is noticed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module", name="calls")
def module_of_calls() -> Iterator[ModuleType]:
    """examples/fuzz_calls.py, imported."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    import fuzz_calls

    yield fuzz_calls
    sys.path.pop(0)


@pytest.mark.parametrize(("section", "count"), [("configurations", 400), ("command lines", 60), ("sweeps", 300)])
def test_draws_are_refused_or_do_what_they_say(section: str, count: int, calls: ModuleType) -> None:
    outcomes = list(calls.SECTIONS[section](7, count))
    assert len(outcomes) == count
    assert [detail for outcome, detail in outcomes if outcome == "finding"] == []
    assert {outcome for outcome, _ in outcomes} == {"refused", "fine"}
    assert outcomes[:20] == list(calls.SECTIONS[section](7, 20)) or section != "configurations"


def nameless() -> None:
    raise ValueError("something is wrong")


def broken() -> None:
    raise KeyError("n_aps")


@pytest.mark.parametrize("call", [nameless, broken])
def test_errors_that_name_nothing_or_are_not_ours_are_findings(call: object, calls: ModuleType) -> None:
    assert calls.judged(call, ["n_aps"], "a call")[0] == "finding"
    assert calls.judged(lambda: None, ["n_aps"], "a call")[0] == "fine"


@pytest.mark.parametrize("status", [3, 2])
def test_odd_or_silent_exit_statuses_are_findings(status: int, calls: ModuleType) -> None:
    assert calls._run(lambda words: status, ["x"])[0] == "finding"


def test_a_refusal_in_words_is_one(calls: ModuleType) -> None:
    def refuse(words: object) -> int:
        sys.stderr.write("error: no")
        return 2

    assert calls._run(refuse, ["x"])[0] == "refused"
