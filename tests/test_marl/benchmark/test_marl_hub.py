"""Folders that are ready for a hub: data, card, picture and the Minari dataset."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marl import Dataset, __main__, from_minari
from marl.benchmark import named
from marl.benchmark.hub import reference_returns, write_hub_folder
from marl.benchmark.networks import NETWORKS
from marl.benchmark.published import published
from marl.benchmark.recipes import RECIPES, TIERS, Recipe
from rrm_env import RRMConfig, normalised_score

NAME = "paper/mixed"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return Recipe("paper", "mixed", 600).record()


def test_the_folder_holds_data_card_and_picture(dataset: Dataset, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folder = write_hub_folder(NAME, dataset, tmp_path)
    assert folder == tmp_path / "paper-mixed"
    assert {path.name for path in folder.iterdir()} == {
        "mixed.safetensors",
        "README.md",
        "episodes.png",
    }
    assert Dataset.read(folder / "mixed.safetensors").fingerprint() == dataset.fingerprint()
    assert (folder / "episodes.png").read_bytes().startswith(b"\x89PNG")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "# Dataset Card for paper/mixed: " in card
    assert "](episodes.png)" in card
    scores = [
        score
        for behaviour in dataset.metadata["behaviours"]
        for score in behaviour["episodes"]["score"]
    ]
    normalised = normalised_score(float(np.mean(scores)), "paper")
    assert f"**Normalised score: {normalised:.1f}**, where" in card
    write_hub_folder(NAME, dataset, tmp_path)  # replaces its own files


def test_minari_gets_author_and_reference_returns(
    dataset: Dataset, tmp_path: Path, minari: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    before = os.environ["MINARI_DATASETS_PATH"]
    folder = write_hub_folder(NAME, dataset, tmp_path / "out", minari=True)
    assert os.environ["MINARI_DATASETS_PATH"] == before
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(folder / "minari"))
    read = minari.load_dataset("rrm/paper-mixed-v0")
    metadata = read.storage.metadata
    assert "The rrm_env developers" in str(metadata["author"])
    tiers = {tier: published()[f"paper/{tier}"].mean_return for tier in TIERS}
    ends = np.array([tiers["random"], max(tiers.values())])
    assert minari.get_normalized_score(read, ends) == pytest.approx([0, 1])
    assert metadata["num_episodes_average_score"] == RECIPES["paper/random"].episodes
    assert metadata["rrm_env"]["score_references"]["network"] == "paper"
    assert from_minari(read).fingerprint() == dataset.fingerprint()


def test_reference_returns_are_of_the_very_network() -> None:
    assert reference_returns(RRMConfig()) is None
    for name, config in NETWORKS.items():
        found = reference_returns(config)
        assert found is not None
        assert found.lowest == published()[f"{name}/random"].mean_return < found.highest


@pytest.mark.parametrize("name", ["README.md", "mixed.safetensors"])
def test_what_stands_in_the_way_is_refused_before_any_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "paper-mixed").mkdir()
    (tmp_path / "paper-mixed" / name).write_text("mine", encoding="utf-8")
    monkeypatch.setattr(Recipe, "record", None)
    assert __main__.main(["datasets", "hub", NAME, "--out", str(tmp_path)]) == 2
    assert name in capsys.readouterr().err
    assert (tmp_path / "paper-mixed" / name).read_text(encoding="utf-8") == "mine"


def test_the_command_makes_what_is_missing(
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(RECIPES, NAME, Recipe("paper", "mixed", 600))
    entry = replace(published()[NAME], checksum=dataset.fingerprint())
    monkeypatch.setattr(named, "published", lambda: {NAME: entry})
    out, folder = str(tmp_path / "out"), str(tmp_path / "data")
    words = ["datasets", "hub", NAME, "--out", out, "--folder", folder]
    assert __main__.main(words) == 0, capsys.readouterr().err
    assert (tmp_path / "data" / "paper" / "mixed.safetensors").exists()
    assert f"wrote {tmp_path / 'out' / 'paper-mixed'}" in capsys.readouterr().out
