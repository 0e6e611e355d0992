"""Datasets by name: made where missing, verified, refused where they are not the published ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from folders import ROOT
from sweeps import TRAIN

from marl import Dataset, DatasetError, Sweep, __main__, load_dataset
from marl.benchmark import named, published
from marl.benchmark.named import dataset_path, make_dataset, verify_dataset
from marl.benchmark.recipes import RECIPES, TIERS, Recipe

NAME, OTHER = "paper/mixed", "paper/random"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of datasets, and two recipes that are small, with checksums of their own."""
    monkeypatch.setenv("RRM_ENV_DATASETS", str(tmp_path / "datasets"))
    entries = dict(published.published())
    for name in (NAME, OTHER):
        recipe = Recipe("paper", name.partition("/")[2], 600)
        monkeypatch.setitem(RECIPES, name, recipe)
        entries[name] = replace(entries[name], checksum=_checksum(recipe))
    monkeypatch.setattr(named, "published", lambda: entries)
    return tmp_path / "datasets"


_KNOWN: dict[Recipe, str] = {}


def _checksum(recipe: Recipe) -> str:
    if recipe not in _KNOWN:
        _KNOWN[recipe] = recipe.record().fingerprint()
    return _KNOWN[recipe]


def test_a_missing_dataset_is_made_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    first = load_dataset(NAME, progress=done.append)
    assert sum(done) == len(first) == 600
    file = small / "paper" / "mixed.safetensors"
    assert file == dataset_path(NAME)
    assert first.fingerprint() == Dataset.read(file).fingerprint()
    monkeypatch.setattr(Recipe, "record", None)  # what is there is not recorded again
    assert load_dataset(NAME).fingerprint() == first.fingerprint()


def test_a_sweep_takes_a_name(small: Path) -> None:
    (data,) = (point.data for point in Sweep({**TRAIN, "dataset": OTHER}).points)
    assert data is not None
    assert data.file == dataset_path(OTHER).absolute()
    assert data.description == {"fingerprint": _checksum(RECIPES[OTHER]), "transitions": 600}
    assert data.label == "paper-random"


def test_a_given_folder_comes_before_the_variable(small: Path, tmp_path: Path) -> None:
    load_dataset(OTHER, tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere" / "paper" / "random.safetensors").exists()
    assert not small.exists()


def test_the_folder_is_among_the_caches_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RRM_ENV_DATASETS", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    expected = Path("/caches/rrm_env/datasets/paper/random.safetensors")
    assert dataset_path("paper/random") == expected


def test_another_dataset_under_a_name_is_refused(small: Path) -> None:
    load_dataset(OTHER)
    file, wrong = dataset_path(OTHER), dataset_path(NAME)
    wrong.write_bytes(file.read_bytes())  # a whole dataset, but not the one of this name
    for refused in (lambda: load_dataset(NAME), lambda: verify_dataset(NAME)):
        with pytest.raises(DatasetError, match="paper/mixed is not the published") as no:
            refused()
        assert f"delete {str(wrong)!r} and make it again" in str(no.value)
    assert wrong.read_bytes() == file.read_bytes()


def test_a_damaged_file_is_refused(small: Path) -> None:
    load_dataset(OTHER)
    content = bytearray(dataset_path(OTHER).read_bytes())
    content[-5] ^= 1
    dataset_path(OTHER).write_bytes(content)
    with pytest.raises(DatasetError, match="was altered after it was written"):
        load_dataset(OTHER)


def test_a_recording_of_other_bits_is_not_written(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TIERS, "random", replace(TIERS["random"], seed=5))
    with pytest.raises(DatasetError, match="paper/random is not the published dataset") as refusal:
        make_dataset(OTHER)
    assert "nothing was written" in str(refusal.value)
    assert not dataset_path(OTHER).exists()


def test_verifying_says_what_is_missing(small: Path) -> None:
    with pytest.raises(DatasetError, match="paper/random is missing: "):
        verify_dataset(OTHER)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown dataset 'paper/rando' \(did you mean"):
        load_dataset("paper/rando", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_published_dataset_comes_out_the_same_here(tmp_path: Path) -> None:
    """The whole dataset is made on this processor and compared with the published checksum."""
    dataset, _ = make_dataset("paper/random", tmp_path)
    table = json.loads((ROOT / "marl/benchmark/checksums.json").read_text(encoding="utf-8"))
    assert dataset.fingerprint() == table["datasets"]["paper/random"]["checksum"]
    assert (tmp_path / "paper" / "random.safetensors").stat().st_size == pytest.approx(
        table["datasets"]["paper/random"]["bytes"], rel=1e-3
    )


# --- The command ---


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Status, output and errors of ``python -m marl datasets``."""
    capsys.readouterr()
    status = __main__.main(["datasets", *words])
    shown = capsys.readouterr()
    return status, shown.out, shown.err


def test_the_list_says_which_are_made(
    small: Path, surroundings: None, capsys: pytest.CaptureFixture[str]
) -> None:
    load_dataset(OTHER)
    for words in ((), ("list",)):
        status, out, _ = run(capsys, *words)
        assert status == 0
        lines = {line.split()[0]: line.split() for line in out.splitlines() if "/" in line}
        assert lines.keys() >= RECIPES.keys()
        for name in RECIPES:
            entry = published.published()[name]
            assert lines[name][-1] == ("yes" if name == OTHER else "no")
            assert {entry.checksum[:16], f"{entry.score:.3f}"} <= set(lines[name])
        assert f"folder: {small}" in out


def test_making_and_verifying(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "verify", NAME, OTHER)
    assert (status, out) == (1, "")
    assert f"{NAME} is missing" in err
    assert f"{OTHER} is missing" in err
    assert err.endswith("error: 2 of 2 datasets are not as published\n")
    status, out, err = run(capsys, "make", OTHER, "paper/mix*")
    assert status == 0, err
    for name in (NAME, OTHER):
        assert f"{name}: wrote {dataset_path(name)}, 600 transitions in" in out
    written = {name: dataset_path(name).stat().st_mtime_ns for name in (NAME, OTHER)}
    status, out, _ = run(capsys, "make", NAME, OTHER)
    assert status == 0
    assert out.count("is there, as published") == 2
    assert {name: dataset_path(name).stat().st_mtime_ns for name in written} == written
    assert run(capsys, "verify", NAME, OTHER)[:2] == (
        0,
        f"{OTHER}: as published\n{NAME}: as published\n",
    )
    dataset_path(NAME).write_bytes(dataset_path(OTHER).read_bytes())
    status, out, err = run(capsys, "verify", NAME, OTHER)
    assert (status, out) == (1, f"{OTHER}: as published\n")
    assert f"{NAME} is not the published dataset" in err


@pytest.mark.parametrize("words", [("make",), ("verify",), ("make", "paper/none")])
def test_bad_names_are_refused(words: Any, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, *words)
    assert status == 2
    assert "names must hold" in err or "unknown dataset 'paper/none'" in err
    assert not small.exists()


def test_training_takes_a_name(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--paradigm", "i", "--algorithm", "dqn", "--hidden-sizes", "4", "--updates", "2"]
    train = ["train", *options, "--batch-size", "4", "--evaluation-episodes", "1", "--out", "run"]
    assert __main__.main([*train, "--dataset", OTHER]) == 0, capsys.readouterr().err
    described = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert _checksum(RECIPES[OTHER]) in json.dumps(described)
    assert __main__.main([*train[:-1], "run2", "--dataset", "paper/nothing"]) == 2
    assert "paper/nothing" in capsys.readouterr().err
