"""Options of commands and sweeps: rules are written once, and only commands write dashes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import toys
from folders import ROOT
from toys import SMALL, Match, run, trained

from baselines import REGISTRY
from marl.cli.data import Collect
from marl.cli.learning import Evaluate, Train
from marl.environment import Environment
from marl.options import EvaluationOptions, NetworkOptions, RecordingOptions, TrainingOptions
from marl.sweep.grid import Sweep
from rrm_env import RRMConfig


@pytest.fixture(autouse=True)
def toy_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the module `toys` an environment's module."""
    monkeypatch.setattr(toys, "parallel_env", Match, raising=False)


def collecting(**options: Any) -> Collect:
    """The command that records."""
    return Collect(out=Path("out"), **options)


def training(**options: Any) -> Train:
    """The command that trains."""
    return Train(out=Path("out"), **options)


def evaluating(**options: Any) -> Evaluate:
    """The command that evaluates."""
    return Evaluate(runs=(), **options)


# --- Rules ---


@pytest.mark.parametrize(
    "sentence",
    [
        "which says who acts",
        "a scheduler has no actor to draw from",
        "needs a dataset: it clones what is recorded there",
    ],
)
def test_a_rule_is_written_once(sentence: str) -> None:
    files = (ROOT / "marl").rglob("*.py")
    assert sum(path.read_text(encoding="utf-8").count(sentence) for path in files) == 1


@pytest.mark.parametrize(
    ("library", "command", "options", "message"),
    [
        (
            RecordingOptions,
            collecting,
            {"scheduler": "tdm", "policy": Path("run")},
            "{}scheduler does not go with {}policy, which says who acts",
        ),
        (
            RecordingOptions,
            collecting,
            {"scheduler": "tdm", "env": "toys"},
            "{}scheduler does not go with {}env, which says who acts",
        ),
        (
            RecordingOptions,
            collecting,
            {"sample": True},
            "{}sample needs {}policy: a scheduler has no actor to draw from",
        ),
        (
            RecordingOptions,
            collecting,
            {"env": "toys", "settings": ("n_ues=5",)},
            "{}set is of the network and does not go with {}env",
        ),
        (
            TrainingOptions,
            training,
            {"env": "toys", "network": "wide"},
            "{}network is of the network and does not go with {}env",
        ),
        (
            EvaluationOptions,
            evaluating,
            {"env": "toys", "schedulers": "tdm"},
            "{}schedulers is of the network and does not go with {}env",
        ),
    ],
)
def test_messages_have_dashes_only_in_commands(
    library: Callable[..., Any], command: Callable[..., Any], options: dict[str, Any], message: str
) -> None:
    for given, dashes in ((library(**options), ""), (command(**options), "--")):
        with pytest.raises(ValueError, match=f"^{message.format(dashes, dashes)}$"):
            given.check() if isinstance(given, RecordingOptions) else given.environment()


def test_cloning_needs_data_in_the_library_in_commands_and_in_sweeps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "algorithm = 'bc' needs a dataset"
    with pytest.raises(ValueError, match=f"^{rule}"):
        trained(tmp_path / "run", {"algorithm": "bc"})
    assert run("train", "--out", tmp_path / "run", "--algorithm", "bc") == 2
    assert f"error: {rule}" in capsys.readouterr().err
    with pytest.raises(ValueError, match=rf"^\[train\] {rule}"):
        Sweep({"algorithm": "bc"})
    assert list(tmp_path.iterdir()) == []


# --- Values ---


@pytest.mark.parametrize(
    "options",
    [
        NetworkOptions(network="dense", settings=("n_ues=30", "wall_loss_db=5")),
        NetworkOptions(network="dense", changes={"n_ues": 30, "wall_loss_db": 5}),
    ],
)
def test_fields_are_changed_by_text_and_by_name_alike(options: NetworkOptions) -> None:
    assert options.config() == RRMConfig.preset("dense", n_ues=30, wall_loss_db=5)


def test_a_default_network_is_changed_unless_a_preset_is_named() -> None:
    changed = NetworkOptions(settings=("n_ues=7",))
    assert changed.config(SMALL) == RRMConfig(**{**SMALL.as_dict(), "n_ues": 7})
    assert changed.config() == RRMConfig(n_ues=7)
    assert NetworkOptions(network="wide").config(SMALL) == RRMConfig.preset("wide")


def test_training_names_no_environment_unless_an_option_does() -> None:
    assert TrainingOptions().environment_given() is None
    wide = TrainingOptions(network="wide").environment_given()
    assert wide == Environment.of_network(RRMConfig.preset("wide"))
    assert TrainingOptions(env="toys").environment_given() == Environment.of_module("toys")


def test_schedulers_are_named_one_by_one_or_all_at_once() -> None:
    named = EvaluationOptions(schedulers="tdm,itlinq:tolerance_db=0").named_schedulers()
    assert list(named) == ["tdm", "itlinq:tolerance_db=0"]
    assert list(EvaluationOptions(schedulers="all").named_schedulers()) == list(REGISTRY)
    assert EvaluationOptions().named_schedulers() == {}
    with pytest.raises(ValueError, match=r"unknown scheduler 'tdn' \(did you mean 'tdm'\?\)"):
        EvaluationOptions(schedulers="tdn").named_schedulers()
