"""examples/benchmarks/learners.py in miniature: its rows, ratios, options and tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from folders import ROOT, examples


@pytest.fixture(name="script")
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with few transitions and seeds."""
    with examples():
        import learners

        monkeypatch.setattr(learners, "TRANSITIONS", 300)
        monkeypatch.setattr(learners, "SEED_COUNTS", (1, 2))
        yield learners


def test_all_rows_take_turns(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "learners.json"
    shared: dict[str, Any] = {"no_peer": True, "device": "cpu", "threads": 1}
    script.main(
        script.Options(rounds=1, updates=2, bfloat16=True, before=ROOT, json=path, **shared)
    )
    found = json.loads(path.read_text())
    rows = {(row["name"], row["seeds"]): row for row in found["figures"]}
    for scheme in script.SCHEMES:
        for seeds in (1, 2):
            plain = rows[scheme.name, seeds]
            rounded = rows[f"{scheme.name}: bfloat16", seeds]
            before = rows[f"{scheme.name}: before", seeds]
            assert plain["multiply_adds"] == rounded["multiply_adds"] == before["multiply_adds"] > 0
            assert set(plain["times"]) == {f"{scheme.name}: before", *script.PRODUCTS}
            for row, other in ((plain, before), (rounded, plain), (rounded, before)):
                ratio = row["times"][other["name"]]["median"]
                assert ratio == pytest.approx(other["ms"] / row["ms"])
            large = rows[script.LARGE, 1]
            share = plain["giga_multiply_adds_per_second"] / large["giga_multiply_adds_per_second"]
            assert plain["times"][script.LARGE]["median"] == pytest.approx(share)
    assert "before" not in found["options"]
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("before", "plain", ": bfloat16"))


def test_compiled_rows_compile_the_losses(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = script.Options(compile=True, no_peer=True)
    asked = [scheme for scheme in script.variants(options, "cpu") if scheme.compiled]
    assert [scheme.name for scheme in asked] == [f"{one.name}: compiled" for one in script.SCHEMES]
    assert not any(scheme.compiled for scheme in script.variants(options, "cuda"))
    calls: list[str] = []

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            calls.append(function.__name__)
            return function(*args)

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    small = replace(asked[0], changes={**asked[0].changes, "hidden_sizes": (4,), "batch_size": 4})
    row, _ = script.learner_row(small, 1, script.data(50), "cpu", 1)
    row.seconds(3)
    assert calls == ["_dqn"] * 3


def test_an_empty_folder_is_no_other_checkout(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^--before .* must hold marl/__init__\.py$"):
        script.Options(before=tmp_path)
