"""The script that publishes the checksums of named datasets, and the table in the docs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from folders import ROOT, examples

from marl.benchmark.published import published
from marl.benchmark.recipes import RECIPES, Recipe
from marl.exchange.statistics import episode_values, state_action_coverage

with examples():
    import named_datasets

NAME = "paper/poor"


def test_the_table_in_the_docs_is_of_the_published_datasets() -> None:
    rows = [named_datasets.line(RECIPES[name], entry) for name, entry in published().items()]
    text = (ROOT / "docs" / "named_datasets_table.md").read_text(encoding="utf-8")
    assert text.splitlines() == [named_datasets.HEADING, named_datasets.RULE, *rows]


def test_checksums_and_facts_are_of_the_recorded_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("paper", "poor", 800)
    monkeypatch.setitem(RECIPES, NAME, recipe)
    checksums, table = tmp_path / "checksums.json", tmp_path / "table.md"
    options = named_datasets.Options(
        (NAME,), tmp_path / "data", checksums=checksums, table=table, keep=True
    )
    named_datasets.main(options)
    entry = json.loads(checksums.read_text(encoding="utf-8"))["datasets"][NAME]
    dataset = recipe.record()
    values = episode_values(dataset)
    assert entry["checksum"] == dataset.fingerprint()
    assert entry["transitions"] == 800
    assert entry["bytes"] == (tmp_path / "data" / "paper" / "poor.safetensors").stat().st_size
    for key, name in (("score", "score"), ("worst_rate", "worst_rate"), ("mean_return", "return")):
        assert entry[key] == pytest.approx(np.mean(values[name]))
    assert entry["coverage"] == pytest.approx(state_action_coverage(dataset))
    before = table.read_text(encoding="utf-8")
    table.unlink()
    named_datasets.main(named_datasets.Options(rewrite=True, checksums=checksums, table=table))
    assert table.read_text(encoding="utf-8") == before
    assert entry.keys() == asdict(published()[NAME]).keys()
