"""Mutated files of every kind and mutation are refused by name or load equal, and the fuzzer of files finds what it looks for."""

from __future__ import annotations

import pickle
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest
from folders import ROOT, examples

import marl.data.dataset
import marl.runs.checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no alarms and no pipes there")
SEED, EACH = 11, 3
"""Of the cases; how many for each kind of file and mutation."""


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    """tests/reliability/fuzz_files.py, fuzz_mutations.py and fuzz_workers.py, imported."""
    for name in ("minari", "h5py"):
        pytest.importorskip(name)
    with examples():
        import fuzz_files
        import fuzz_mutations
        import fuzz_workers
    return SimpleNamespace(files=fuzz_files, mutations=fuzz_mutations, workers=fuzz_workers)


@pytest.fixture(scope="module")
def originals(script: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Valid files of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", "")  # put back afterwards
        yield script.files.build(tmp_path_factory.mktemp("originals"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where code in a file would leave its mark, and Minari's folder, which loads set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def cases(script: SimpleNamespace, originals: Any, kind: str) -> Iterator[Any]:
    """`EACH` of every mutation, and something that is no file, of files of a kind in turn."""
    places = [k for k, original in enumerate(originals) if original.kind == kind]
    mutations = (*script.files.KINDS[kind].mutations, script.workers.NO_FILE)
    for number, mutation in enumerate(mutations * EACH):
        yield script.workers.Case(number, places[number % len(places)], mutation)


KINDS = [
    "dataset",
    "checkpoint",
    "replay",
    "config.json",
    "log.jsonl",
    "arrays.npz",
    "Minari, HDF5",
    "Minari, JSON",
]


def test_kinds_are_those_of_the_script(script: SimpleNamespace, originals: Any) -> None:
    assert [*script.files.KINDS] == KINDS
    assert {original.kind for original in originals} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_refused_or_equal(
    kind: str, script: SimpleNamespace, originals: Any
) -> None:
    judge = script.workers.Judge(SEED, originals, script.workers.Limits(seconds=60))
    verdicts = [judge.judge(case) for case in cases(script, originals, kind)]
    assert [verdict for verdict in verdicts if verdict.outcome == "finding"] == []
    allowed = {script.workers.NO_FILE, *script.files.KINDS[kind].forged}
    assert {verdict.case.mutation for verdict in verdicts if verdict.outcome == "other"} <= allowed
    assert sum(verdict.outcome == "refused" for verdict in verdicts) > len(verdicts) / 4


def test_unchanged_files_load_equal(script: SimpleNamespace, originals: Any) -> None:
    judge = script.workers.Judge(SEED, originals, script.workers.Limits(seconds=60))
    for k, original in enumerate(originals):
        assert (
            judge.judge(script.workers.Case(0, k, "bits flipped"), original.content).outcome
            == "equal"
        ), original


# --- What the fuzzer takes for a finding ---


@pytest.mark.parametrize(
    ("kind", "module"),
    [
        ("dataset", marl.data.dataset),
        ("checkpoint", marl.runs.checkpoint),
        ("replay", marl.runs.checkpoint),
    ],
)
def test_checksums_that_nobody_compares_are_found(
    kind: str,
    module: ModuleType,
    script: SimpleNamespace,
    originals: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place = next(k for k, original in enumerate(originals) if original.kind == kind)
    content = bytearray(originals[place].content)
    content[-1] ^= 1  # of the last number, which stays one
    case = script.workers.Case(0, place, "bits flipped")
    judge = script.workers.Judge(SEED, originals, script.workers.Limits(seconds=60))
    refused = judge.judge(case, bytes(content))
    assert (refused.outcome, "its checksum does not match" in refused.detail) == ("refused", True)
    monkeypatch.setattr(module, "checksum", lambda *_: ANY)
    assert judge.judge(case, bytes(content)).outcome == "finding"


def names_nothing(_: Path) -> None:
    """Refuses without saying what."""
    raise ValueError("bad file")


@pytest.mark.parametrize(
    ("load", "detail"),
    [
        (lambda _: time.sleep(20), "hang"),
        (lambda folder: {}[folder], "KeyError"),
        (
            lambda folder: pickle.loads((folder / "data.safetensors").read_bytes()),
            "code in the file was run",
        ),
        (names_nothing, "without naming the file"),
        (lambda _: {"fingerprint": "another"}, "other content was loaded"),
    ],
    ids=["hang", "crash", "code", "no name", "other content"],
)
def test_loaders_that_do_wrong_are_found(
    load: Callable[[Path], Any],
    detail: str,
    script: SimpleNamespace,
    originals: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds, judge = (
        script.files.KINDS,
        script.workers.Judge(SEED, originals, script.workers.Limits(seconds=0.2)),
    )
    case = script.workers.Case(0, 0, "bits flipped")
    assert judge.judge(case, originals[0].content).outcome == "equal"
    monkeypatch.setitem(kinds, "dataset", replace(kinds["dataset"], load=load))
    verdict = judge.judge(case, pickle.dumps(script.mutations.Harmful()))
    assert verdict.outcome == "finding"
    assert detail in verdict.detail


def test_processes_judge_as_the_test_does(
    script: SimpleNamespace, originals: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    few, limits = originals[:2], script.workers.Limits(seconds=60, megabytes=512)
    chosen = [
        script.workers.Case(k, k % 2, mutation)
        for k, mutation in enumerate(
            ("bits flipped", "header edited", "header broken", "truncated")
        )
    ]
    memory: list[int] = []
    verdicts = [*script.workers.run_cases(SEED, chosen, few, limits, 1, memory.append)]
    judge = script.workers.Judge(SEED, few, limits)
    assert [(verdict.case, verdict.outcome) for verdict in verdicts] == [
        (case, judge.judge(case).outcome) for case in chosen
    ]
    assert 50_000 < max(memory) < 2_000_000
