"""Damaged files of every kind are refused by name or load equal; the fuzzer finds bad loaders."""

from __future__ import annotations

import dataclasses
import json
import pickle
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest

import marl.data.dataset
import marl.runs.checkpoint

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no alarms and no pipes there")
SEED, EACH = 11, 6
"""Of the cases; how many for each kind of file and mutation."""


@pytest.fixture(scope="module")
def script() -> SimpleNamespace:
    """Modules of the fuzzer in tests/reliability."""
    for name in ("minari", "h5py"):
        pytest.importorskip(name)
    import damage
    import fuzz
    import fuzz_files
    import fuzz_kinds
    import fuzz_section

    return SimpleNamespace(
        damage=damage, fuzz=fuzz, files=fuzz_files, kinds=fuzz_kinds, section=fuzz_section
    )


@pytest.fixture(scope="module")
def originals(script: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Valid files of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", "")  # put back afterwards
        yield script.kinds.build(tmp_path_factory.mktemp("originals"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set where code in a file would leave its mark, and Minari's folder, which loads set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


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
    assert [*script.kinds.KINDS] == KINDS
    assert {original.kind for original in originals} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_or_equal(
    kind: str, script: SimpleNamespace, originals: Any
) -> None:
    of_kind = [original for original in originals if original.kind == kind]
    outcomes = Counter[tuple[str, str]]()
    for mutation in (*script.kinds.KINDS[kind].mutations, script.files.NO_FILE):
        cases = script.files.damaged(of_kind, mutation)
        section = script.section.Section(cases, script.files.judge_file, seconds=60)
        before = outcomes.total()
        script.section.run(section, EACH, SEED, outcomes)
        drawn = outcomes.total() - before
        all_of_few = mutation == script.files.NO_FILE and drawn == len(script.files.INSTEAD)
        assert drawn == EACH or all_of_few
    forged = {mutation for mutation, outcome in outcomes if outcome == "other"}
    assert forged <= {script.files.NO_FILE, *script.kinds.KINDS[kind].forged}
    refused = sum(number for (_, outcome), number in outcomes.items() if outcome == "refused")
    assert refused > outcomes.total() / 4


@pytest.mark.parametrize("kind", ["dataset", "checkpoint"])
def test_metadata_that_are_null_are_refused(
    kind: str, script: SimpleNamespace, originals: Any
) -> None:
    original = next(original for original in originals if original.kind == kind)
    header, data = script.damage.split_header(original.content)
    content = script.damage.join_header({**header, "__metadata__": None}, data)
    case = script.files.Case(original, "unsigned", script.damage.Bytes(content))
    assert script.files.judge_file(case) == "refused"


def test_a_long_value_of_a_description_is_refused_in_short(
    script: SimpleNamespace, originals: Any
) -> None:
    original = next(original for original in originals if original.kind == "config.json")
    description = {**json.loads(original.content), "scheme": "a" * 10_000}
    content = script.damage.Bytes(json.dumps(description).encode())
    case = script.files.Case(original, "JSON edited", content)
    assert script.files.judge_file(case) == "refused"


def test_unchanged_files_load_equal(script: SimpleNamespace, originals: Any) -> None:
    for original in originals:
        assert script.files.judge_file(script.files.unchanged(original)) == "equal"


# --- What the fuzzer takes for a finding ---


def judged(
    script: SimpleNamespace, original: Any, content: bytes | bytearray, seconds: float = 60
) -> str:
    """Judge these bytes in the place of the original's, as cases with flipped bits are."""
    case = script.files.Case(original, "bits flipped", script.damage.Bytes(content))
    with script.section.limits(seconds, 2048):
        outcome: str = script.files.judge_file(case)
    return outcome


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
    original = next(original for original in originals if original.kind == kind)
    content = bytearray(original.content)
    content[-1] ^= 1  # of the last number, which stays one
    assert judged(script, original, content) == "refused"
    monkeypatch.setattr(module, "checksum", lambda *_: ANY)
    with pytest.raises(AssertionError, match="other content was loaded"):
        judged(script, original, content)


def names_nothing(_: Path) -> None:
    """Refuses without saying what."""
    raise ValueError("bad file")


@pytest.mark.parametrize(
    ("load", "detail"),
    [
        (lambda _: time.sleep(20), "hang"),
        (lambda folder: {}[folder], "case"),
        (lambda folder: pickle.loads((folder / "data.safetensors").read_bytes()), "code in"),
        (names_nothing, "without naming the file"),
        (lambda _: {"fingerprint": "another"}, "other content was loaded"),
        (lambda _: bytearray(2**32), "^$"),
    ],
    ids=["hang", "crash", "code", "no name", "other content", "memory"],
)
def test_loaders_that_do_wrong_are_found(
    load: Callable[[Path], Any],
    detail: str,
    script: SimpleNamespace,
    originals: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = script.kinds.KINDS
    assert judged(script, originals[0], originals[0].content) == "equal"
    monkeypatch.setitem(kinds, "dataset", dataclasses.replace(kinds["dataset"], load=load))
    with pytest.raises((AssertionError, KeyError, MemoryError), match=detail):
        judged(script, originals[0], pickle.dumps(script.damage.Harmful()), seconds=0.2)


def test_findings_are_shrunk_and_their_files_kept(
    script: SimpleNamespace, originals: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(marl.data.dataset, "checksum", lambda *_: ANY)
    datasets = [original for original in originals if original.kind == "dataset"]
    cases = script.files.damaged(datasets, "bits flipped")
    section = script.section.Section(cases, script.files.judge_file)
    with pytest.raises(AssertionError, match="other content was loaded") as finding:
        script.section.run(section, 200, SEED, Counter(), tmp_path / "smallest")
    assert "mutation='bits flipped'" in "\n".join(finding.value.__notes__)
    content = (tmp_path / "smallest").read_bytes()
    changed = [
        sum(one != other for one, other in zip(content, original.content, strict=True))
        for original in datasets
        if len(original.content) == len(content)
    ]
    assert 1 in changed


def test_the_script_judges_in_processes_of_its_own(
    script: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    options = script.fuzz.Options(quick=True, only=("config.json", "TOML"), workers=1)
    script.fuzz.main(options)
    output = capsys.readouterr().out
    assert re.search(r"config.json +│ all +│ +23 │", output)
    assert re.search(r"TOML +│ all +│ +10 │", output)
    assert "0 findings" in output
    with pytest.raises(ValueError, match="unknown section 'nothing'; allowed: dataset, "):
        script.fuzz.main(script.fuzz.Options(only=("nothing",)))


def test_a_process_that_dies_is_a_finding(
    script: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is one that hangs where no alarm reaches it: it is ended with a traceback."""
    monkeypatch.setattr(script.fuzz, "_start", die)
    with pytest.raises(script.fuzz.FindingError, match=r"a process died; .* unfinished: TOML"):
        script.fuzz.main(script.fuzz.Options(quick=True, only=("TOML",), workers=1))


def die(*_: object) -> None:
    """End the process without a word."""
    raise SystemExit(1)
