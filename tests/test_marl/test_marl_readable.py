"""Files that are written can be read: writers apply the checks of the readers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import SMALL, Match, run, small_learner, small_training, trained

from baselines import RandomWalk
from marl import Dataset, collect, collect_parallel, from_mdp_arrays, mdp_arrays, train
from marl.environment import Environment
from marl.exchange.d3rlpy import read_mdp_arrays
from marl.runs.checkpoint import append_entry, read_log
from rrm_env.provenance import origin

NO_TEXT = "b\udcff"
"""A file name that is not UTF-8, as Python represents it."""


SETTINGS = ("n_aps=2", "n_ues=6", "n_candidates=2", "episode_length=10")


@pytest.fixture
def data() -> Dataset:
    return collect(RandomWalk(silence=True), SMALL, 40, name="random")


def renamed(data: Dataset, **behaviour: Any) -> dict[str, Any]:
    """The dataset's metadata with another behaviour."""
    return {**data.metadata, "behaviours": [{**data.metadata["behaviours"][0], **behaviour}]}


def test_names_that_are_not_utf8_are_refused_before_the_work(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unnameable(Match):
        def __init__(self) -> None:
            super().__init__()
            self.metadata = {"name": NO_TEXT}

    module = sys.modules["marl.data.collect"]  # the package's name for it is the function
    for name in ("record", "_record"):
        monkeypatch.setattr(module, name, lambda *_: pytest.fail("it recorded"))
    arrays = mdp_arrays(data)
    for work in (
        lambda: collect(RandomWalk(), SMALL, 10, name=NO_TEXT),
        lambda: collect_parallel(Match, None, 10, name=NO_TEXT),
        lambda: collect_parallel(Unnameable, None, 10),
        lambda: from_mdp_arrays(arrays, SMALL, NO_TEXT),
        lambda: Dataset(**data.tensors(), metadata=renamed(data, name=NO_TEXT)),
        lambda: train(
            tmp_path / "run",
            small_learner(),
            small_training(),
            environment=Environment.of_factory(Unnameable),
        ),
    ):
        with pytest.raises(ValueError, match="name must be a text that UTF-8 can hold"):
            work()
    assert not (tmp_path / "run").exists()


def test_import_of_a_file_whose_name_is_not_utf8(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / os.fsdecode(b"b\xff.npz")
    np.savez(path, **mdp_arrays(data))  # type: ignore[arg-type]
    assert run("import", path, "--set", *SETTINGS, "--out", tmp_path / "back.safetensors") == 2
    assert "name must be a text that UTF-8 can hold" in capsys.readouterr().err
    assert not (tmp_path / "back.safetensors").exists()
    assert read_mdp_arrays(path).keys() == mdp_arrays(data).keys()


def test_dataset_changed_after_it_was_made_is_checked_before_it_is_written(
    data: Dataset, tmp_path: Path
) -> None:
    for change in ({"kpis": {"score": float("nan")}}, {"name": NO_TEXT}, {"seed": -1}):
        changed = collect(RandomWalk(silence=True), SMALL, 40, name="random")
        changed.metadata["behaviours"][0].update(change)
        with pytest.raises(ValueError, match=r"behaviours\[0\]"):
            changed.write(tmp_path / "d.safetensors")
    data.reward[3] = float("inf")
    with pytest.raises(ValueError, match="reward must be finite"):
        data.write(tmp_path / "d.safetensors")
    assert not list(tmp_path.iterdir())


def test_description_that_nobody_could_read_is_refused_before_training(
    data: Dataset, tmp_path: Path
) -> None:
    data.metadata["behaviours"][0]["note"] = NO_TEXT
    with pytest.raises(ValueError, match="surrogate"):
        trained(tmp_path / "run", dataset=data)
    assert not (tmp_path / "run").exists()


def test_records_that_no_reader_takes_end_the_training_by_name(tmp_path: Path) -> None:
    for record in (
        {"update": 1, "loss": float("nan")},
        {"update": 1, "evaluation": {"return": [float("inf")]}},
    ):
        with pytest.raises(ValueError, match="must be a finite number"):
            append_entry(tmp_path, record)
    append_entry(tmp_path, {"update": 1, "loss": 2.0})
    assert list(read_log(tmp_path)) == [{"update": 1, "loss": 2.0}]


def test_replay_keeps_nothing_that_a_resumed_run_would_refuse(tmp_path: Path) -> None:
    class Broken(Match):
        def step(self, actions: dict[Any, int]) -> Any:
            observations, rewards, *rest = super().step(actions)
            return observations, dict.fromkeys(rewards, float("inf")), *rest

    with pytest.raises(ValueError, match="reward must be finite"):
        trained(tmp_path / "run", environment=Environment.of_factory(Broken))


@pytest.mark.parametrize(
    "command",
    [
        ("collect", "--transitions", 10, "--out"),
        ("import", "a.npz", "--set", *SETTINGS, "--out"),
        ("train", "--updates", 1, "--learning-starts", 4, "--out"),
        ("sweep", "sweep.toml", "--out"),
    ],
    ids=lambda command: command[0],
)
def test_nothing_is_written_to_paths_that_the_reader_cannot_open(
    command: tuple[Any, ...],
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", **mdp_arrays(data))  # type: ignore[arg-type]
    Path("sweep.toml").write_text("[train]\nupdates = 1\n")
    assert run(*command, os.fsdecode(b"o\xff")) == 2
    assert "must be a path that UTF-8 can hold" in capsys.readouterr().err
    assert sorted(os.listdir()) == ["a.npz", "sweep.toml"]


def test_results_of_odd_folders_and_commands_are_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["x", NO_TEXT])
    assert origin()["command"].encode()
