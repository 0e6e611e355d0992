"""Bad input in miniature: what examples/reliability_fuzz.py does at scale, and each thing that it once found."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import whole_range_learners
from whole_ranges import play_learner

PER_MUTATION = 3


@pytest.fixture(scope="module")
def scripts() -> Iterator[dict[str, ModuleType]]:
    """The fuzzer's modules."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "examples"))
    try:
        import fuzz_calls
        import fuzz_files
        import fuzz_workers

        yield {"calls": fuzz_calls, "files": fuzz_files, "workers": fuzz_workers}
    finally:
        sys.path.pop(0)


@pytest.fixture(scope="module")
def originals(scripts: dict[str, ModuleType], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Valid files of every kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", "replaced where it is needed")
        yield scripts["files"].build(tmp_path_factory.mktemp("originals"))


@pytest.fixture
def judge(scripts: dict[str, ModuleType], originals: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judges mutated files, in a folder where hidden code would leave its mark."""
    monkeypatch.chdir(tmp_path)
    return scripts["workers"].Judge(0, originals, scripts["workers"].Limits(seconds=20))


KINDS = ("dataset", "checkpoint", "replay", "config.json", "log.jsonl", "arrays.npz", "Minari, HDF5", "Minari, JSON")


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_are_refused_by_name_or_load_equal(kind: str, scripts: dict[str, ModuleType], originals: Any, judge: Any) -> None:
    workers, outcomes = scripts["workers"], Counter[str]()
    of_kind = [k for k, original in enumerate(originals) if original.kind == kind]
    for m, mutation in enumerate((*scripts["files"].KINDS[kind].mutations, workers.NO_FILE)):
        for k in range(PER_MUTATION):
            case = workers.Case(1000 * m + k, of_kind[(m + k) % len(of_kind)], mutation)
            verdict = judge.judge(case)
            assert verdict.outcome != "finding", (case, verdict.detail)
            outcomes[verdict.outcome] += 1
    assert outcomes["refused"] > outcomes.total() / 3


def test_every_kind_is_judged(scripts: dict[str, ModuleType], originals: Any) -> None:
    assert set(scripts["files"].KINDS) == set(KINDS) == {original.kind for original in originals}


def test_processes_under_limits_judge_alike(scripts: dict[str, ModuleType], originals: Any, judge: Any) -> None:
    workers, memory = scripts["workers"], []
    cases = [workers.draw_case(7, number, originals) for number in range(15)]
    verdicts = list(workers.run_cases(7, cases, originals, workers.Limits(20, 1024), 1, memory.append))
    assert sorted(verdict.case for verdict in verdicts) == cases
    assert memory[0] > 1000
    alone = workers.Judge(7, originals, workers.Limits(20, 1024))
    assert {verdict.case: verdict.outcome for verdict in verdicts} == {case: alone.judge(case).outcome for case in cases}


def misbehave(how: str) -> Any:
    """What a load may do wrong."""
    if how == "hangs":
        while True:
            pass
    if how == "runs code":
        Path("canary").touch()
    if how == "blows up":
        raise ValueError("data.safetensors: Unable to allocate 3 TiB")
    if how == "fails":
        raise KeyError("data.safetensors")
    if how == "names nothing":
        raise ValueError("something is wrong")
    return {"fingerprint": how}


@pytest.mark.parametrize("how", ["hangs", "runs code", "blows up", "fails", "names nothing", "loads other content"])
def test_misbehaviour_is_a_finding(
    how: str, scripts: dict[str, ModuleType], originals: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workers, kinds = scripts["workers"], scripts["files"].KINDS
    monkeypatch.chdir(tmp_path)
    judge, case = workers.Judge(0, originals, workers.Limits(seconds=0.5)), workers.Case(0, 0, "bits flipped")
    assert judge.judge(case).outcome == "refused"
    broken = scripts["files"].Kind(lambda _: misbehave(how), kinds["dataset"].mutations)
    monkeypatch.setitem(kinds, "dataset", broken)
    assert judge.judge(case).outcome == "finding"


# --- Everything else ---


@pytest.mark.parametrize(("section", "count"), [("values", 1000), ("commands", 60), ("sweeps", 60)])
def test_calls_are_accepted_or_refused(section: str, count: int, scripts: dict[str, ModuleType]) -> None:
    outcomes = Counter[str]()
    for outcome, detail in scripts["calls"].SECTIONS[section](3, count):
        assert outcome != "finding", detail
        outcomes[outcome] += 1
    assert outcomes.total() == count
    assert len(outcomes) > 1


@settings(max_examples=60)
@given(whole_range_learners(), st.integers(0, 2**30 - 2))
def test_whole_ranges_of_learners_stay_finite_or_diverge_openly_and_act_legally(values: dict[str, Any], seed: int) -> None:
    play_learner(values, seed)
