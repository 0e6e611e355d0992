"""Folders that hold no readable run are refused, and acting needs no training code."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from toys import (
    SMALL,
    made_up,
    trained,
)

import marl
from marl import (
    Policy,
    RunError,
)
from marl.team import team_of
from rrm_env import evaluate

TEAM = team_of(SMALL)


def edited(name: str, change: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        change(run / name)

    return damage


def replaced_by_dataset(path: Path) -> None:
    """Replace a file by a dataset of the same name."""
    path.unlink()
    made_up().write(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (edited("config.json", Path.unlink), "holds no run: config.json No such file"),
        (edited("config.json", lambda path: path.write_text("{")), "is no JSON"),
        (edited("config.json", lambda path: path.write_bytes(b"\xff\xfe\x00")), "config.json"),
        (edited("config.json", lambda path: path.write_text("{}")), "config.json"),
        (edited("config.json", lambda path: path.write_text("[1, 2]")), "config.json"),
        (
            edited("config.json", lambda path: path.write_text('{"architectures": ["Bert"]}')),
            "config.json",
        ),
        (
            edited("checkpoint.safetensors", Path.unlink),
            "checkpoint.safetensors' cannot be read: No such file",
        ),
        (
            edited("checkpoint.safetensors", lambda path: path.write_bytes(path.read_bytes()[:-9])),
            "checkpoint.safetensors' cannot be read",
        ),
        (
            edited("checkpoint.safetensors", lambda path: path.write_bytes(b"")),
            "checkpoint.safetensors' cannot be read",
        ),
        (
            edited("checkpoint.safetensors", replaced_by_dataset),
            "checkpoint.safetensors' cannot be read",
        ),
    ],
    ids=[
        "no config",
        "half a config",
        "binary config",
        "empty config",
        "list",
        "foreign config",
        "none",
        "cut",
        "empty",
        "foreign",
    ],
)
def test_folder_without_a_readable_run_is_refused_by_name(
    damage: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    run = trained(tmp_path / "run", training={"updates": 1, "evaluation_episodes": 1})
    assert Policy.load(run).team == TEAM
    damage(run)
    with pytest.raises(RunError, match=message) as caught:
        Policy.load(run)
    assert str(run) in str(caught.value)


def test_acting_needs_none_of_the_training_code(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", training={"updates": 1, "evaluation_episodes": 1})
    training = ["training", "learner.learner", "learner.losses", "data.replay"]
    recording = ["data.collect", "data.dataset", "exchange", "engines"]
    above = ["options", "sweep", "cli"]
    # The package's own __init__ imports everything, so an empty package with the same folder
    # replaces it.
    code = f"""
import sys, types
package = types.ModuleType("marl")
package.__path__ = {list(marl.__path__)!r}
sys.modules["marl"] = package
for name in {training + recording + above!r}:
    sys.modules["marl." + name] = None
from marl.policy import Policy
from rrm_env import RRMConfig, evaluate
policy, config = Policy.load({str(run)!r}), RRMConfig(**{SMALL.as_dict()!r})
print(evaluate(policy, config, episodes=3).ue_rates.sum())
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) == evaluate(Policy.load(run), SMALL, episodes=3).ue_rates.sum()
