"""The graph policy is a scheduler by name, by the entry point that this package declares."""

from __future__ import annotations

from pathlib import Path

import pytest
from graphs import declare_entry_points, policy_file

from baselines import __main__ as command
from baselines.registry import parse_scheduler
from marl import GraphPolicy
from marl.options import EvaluationOptions


@pytest.fixture(autouse=True)
def _declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entry points as they are declared, whichever revision is installed."""
    declare_entry_points(monkeypatch)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A policy in the present folder; its name has no colon, unlike paths of some systems."""
    monkeypatch.chdir(tmp_path)
    policy_file(tmp_path / "p.safetensors")
    return "p.safetensors"


def test_its_options_are_parsed_by_the_types_of_their_defaults(file: str) -> None:
    policy = parse_scheduler(
        f"graph:policy={file}:exchange_steps=4:own_rates=false:debt_weight=2:bits=8"
    )
    assert type(policy) is GraphPolicy
    assert (policy.exchange_steps, policy.own_rates) == (4, False)
    assert (policy.debt_weight, policy.bits) == (2.0, 8)
    for wrong in ("own_rates=1", "bits=0.5", "counted=all"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            parse_scheduler(f"graph:policy={file}:{wrong}")


def test_misspelt_names_are_told() -> None:
    with pytest.raises(ValueError, match=r"'grahp' .did you mean 'graph'"):
        parse_scheduler("grahp")


def test_commands_know_it(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"graph:policy={file}"
    shown = ["--schedulers", f"tdm,{name}", "--episodes", "2", "--set", "episode_length=3"]
    assert command.main(shown) == 0
    assert "graph" in capsys.readouterr().out
    assert list(EvaluationOptions(schedulers=name).named_schedulers()) == [name]


def test_a_missing_file_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--schedulers", "graph:policy=none.safetensors"]) == 2
    assert capsys.readouterr().err == ("error: 'none.safetensors': No such file or directory\n")
