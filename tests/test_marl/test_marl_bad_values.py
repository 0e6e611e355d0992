"""Extreme numbers, markup in names and diverged networks are handled, as fuzzing found them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toys import SMALL, made_up, random_policy, run, trained

from baselines import RandomWalk
from marl import LearnerConfig, Team, TrainingConfig, collect, train
from marl.learner.heads import Heads
from rrm_env import RRMConfig
from rrm_env.checks import shown


def test_actions_are_legal_whatever_the_networks_say() -> None:
    for bad in (torch.nan, torch.inf, -torch.inf, 3e38, -3e38):
        for paradigm in ("c", "i", "ctde"):
            policy = random_policy(Team(2, 3, 4), LearnerConfig(paradigm=paradigm, hidden_sizes=()))
            for weights, biases in policy._layers:
                weights.fill_(bad), biases.fill_(bad)
            mask = np.array([[[0, 0, 1, 0], [0, 1, 0, 0]]], np.uint8)
            assert policy.actions(np.ones((1, 2, 3), np.float32), mask).tolist() == [[2, 1]]


def test_teams_too_large_to_count_are_refused_at_once() -> None:
    for team in (Team(10**9, 1, 4), Team(100_000, 1, 2)):
        with pytest.raises(ValueError, match=rf"would enumerate {team.n_actions}\^{team.n_agents}"):
            Heads("c", team)


class BrokenRepr:
    """An object whose representation fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize(
    ("value", "text"),
    [(BrokenRepr(), "<BrokenRepr"), (10**5000, "<int"), ("a" * 10**6, "'aaaa")],
    ids=["repr", "digits", "long"],
)
def test_values_that_cannot_be_shown_are_refused_by_the_field_s_name(value: Any, text: str) -> None:
    assert shown(value).startswith(text)
    makers: tuple[tuple[Callable[..., Any], str], ...] = (
        (RRMConfig, "n_aps"),
        (RRMConfig, "area_side_m"),
        (RRMConfig, "fading"),
        (LearnerConfig, "batch_size"),
        (LearnerConfig, "hidden_sizes"),
        (LearnerConfig, "discount"),
        (LearnerConfig, "paradigm"),
        (TrainingConfig, "updates"),
        (TrainingConfig, "device"),
    )
    for make, name in makers:
        with pytest.raises((TypeError, ValueError), match=name) as caught:
            make(**{name: value})
        assert type(caught.value) in (TypeError, ValueError)
        assert len(str(caught.value)) < 1000


def test_numbers_beyond_what_tensors_hold_are_refused() -> None:
    for name, value in (
        ("initial_temperature", 1e39),
        ("reward_scale", 1e-31),
        ("target_period", 2**63),
        ("hidden_sizes", (2**63,)),
    ):
        with pytest.raises(ValueError, match=name):
            LearnerConfig(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="updates must be an integer of at least 1 and at most"):
        TrainingConfig(updates=2**63)
    with pytest.raises(
        ValueError, match="rate_ema must be a finite number from 1e-06 up to 1, got 5e-324"
    ):
        RRMConfig(rate_ema=5e-324)


def test_devices_are_named_as_documented() -> None:
    for device in ("cpu:7", "cuda:9999", "cuda:", "CPU", "meta", 3, None, ["cpu"]):
        with pytest.raises(ValueError, match="device"):
            TrainingConfig(device=device)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_plain_in_a_training_s_description(tmp_path: Path) -> None:
    folder = trained(
        tmp_path / "run", {}, {"updates": np.int64(5), "checkpoint_every": np.int32(5)}
    )
    assert json.loads((folder / "config.json").read_text())["training"]["updates"] == 5


def test_seeds_without_end_and_learners_without_measure_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up().write(tmp_path / "data.safetensors")
    begin = ("train", "--out", tmp_path / "run", "--dataset", tmp_path / "data.safetensors")
    assert run(*begin, "--seeds", 10**25) == 2
    assert "seeds must be an integer of at least 0 and at most 10000" in capsys.readouterr().err
    with pytest.raises(ValueError, match="seeds must be at most 10,000, got 1,000,000"):
        train(tmp_path / "run", LearnerConfig(), seeds=range(10**6))
    assert run(*begin, "--hidden-sizes", 10**9, 10**9) == 1
    assert "do not fit into memory" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_names_with_markup_are_shown_as_they_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    dataset = made_up(name="[/bold] [red]")
    dataset.write(tmp_path / "data [b].safetensors")
    assert run("info", tmp_path / "data [b].safetensors") == 0
    out = capsys.readouterr().out
    assert "[/bold] [red]" in out
    assert "data [b].safetensors" in out
    folder = trained(
        tmp_path / "run [b]",
        {},
        {"updates": 5},
        dataset=collect(RandomWalk(), SMALL, 30, name="[/bold]"),
    )
    assert run("info", folder) == 0
    assert "run [b]" in (out := capsys.readouterr().out)
    assert "[/bold]" in out
    twin = Path(shutil.copytree(folder, tmp_path / "[/b]"))
    assert run("evaluate", folder, twin, "--episodes", 1) == 0
    assert "[/b]" in capsys.readouterr().out
