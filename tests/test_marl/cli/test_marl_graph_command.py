"""``python -m marl graph`` trains a policy and writes its file, which other commands play."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from graphs import declare_entry_points
from toys import printed, run

from baselines import LongMemory
from baselines import __main__ as baselines_command
from marl import GraphConfig, GraphPolicy, collect
from marl.cli import graph
from marl.graph.files import described_policy
from rrm_env import RRMConfig, evaluate

SIZES = ["--n-neighbours", 2, "--n-interferers", 2, "--width", 4]
TINY = ["--updates", 3, "--batch-size", 4, "--episodes", 8, *SIZES]
NETWORK = RRMConfig(
    n_aps=3,
    n_ues=9,
    n_candidates=4,
    episode_length=5,
    measurements="neighbours",
    clock="elapsed",
    average="episode",
    n_neighbours=2,
)


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder is the current one, and entry points are those that this tree declares."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "500")
    declare_entry_points(monkeypatch)


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    """A small dataset in the current folder."""
    collect(LongMemory(), NETWORK, 60).write(tmp_path / "data.safetensors")
    return "data.safetensors"


def options_of(path: str) -> dict[str, Any]:
    found: dict[str, Any] = described_policy(path)[2]["options"]
    return found


def test_a_policy_is_trained_and_written(capsys: pytest.CaptureFixture[str]) -> None:
    networks = ["paper:n_aps=2:n_ues=6:episode_length=4", "wide:n_ues=8:episode_length=3"]
    assert run("graph", "--out", "p.safetensors", "--networks", *networks, *TINY, "--seed", 7) == 0
    assert re.fullmatch(r"wrote \S*p\.safetensors; bound of the score: \d+\.\d+", printed(capsys))
    assert [path.name for path in Path().iterdir()] == ["p.safetensors"]
    config, parameters, training = described_policy("p.safetensors")
    assert config == GraphConfig(n_neighbours=2, n_interferers=2, width=4)
    assert training == {
        "options": {
            "networks": networks,
            "clone": False,
            "updates": 3,
            "batch_size": 4,
            "episodes": 8,
            "seed": 7,
        }
    }
    played = evaluate(GraphPolicy("p.safetensors"), RRMConfig(episode_length=4), episodes=2)
    assert (played.sum_rate > 0).all()
    assert any(bool((parameters[name] != 0).any()) for name in ("price.weights",))


def test_the_same_seed_writes_the_same_bytes() -> None:
    network = ["--networks", "paper:n_aps=2:n_ues=6:episode_length=3", *TINY]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert run("graph", "--out", f"{name}.safetensors", *network, "--seed", seed) == 0
    one, again, other = (Path(f"{name}.safetensors").read_bytes() for name in "abc")
    assert one == again
    assert one != other
    learned = [described_policy(f"{name}.safetensors")[1]["user.0.weights"] for name in "ac"]
    assert bool((learned[0] != learned[1]).any())  # and not the seed in the description alone


@pytest.mark.parametrize("clone", [True, False])
def test_a_dataset_teaches_a_policy(
    clone: bool, dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--data", dataset, *TINY, *(["--clone"] if clone else [])]
    arguments = [x for x in arguments if x not in ("--episodes", 8)]
    assert run("graph", "--out", "p.safetensors", *arguments) == 0
    what = "loss of cloning" if clone else "bound of the score"
    assert f"; {what}: " in printed(capsys)
    assert options_of("p.safetensors")["data"] == "data.safetensors"
    assert options_of("p.safetensors")["clone"] == clone
    assert "networks" not in options_of("p.safetensors")
    assert (evaluate(GraphPolicy("p.safetensors"), NETWORK, episodes=2).sum_rate > 0).all()


def test_commands_play_it(capsys: pytest.CaptureFixture[str]) -> None:
    network = ["--networks", "paper:n_aps=2:n_ues=6:episode_length=3"]
    assert run("graph", "--out", "p.safetensors", *network, *TINY) == 0
    capsys.readouterr()
    shown = ["--schedulers", "tdm,graph:policy=p.safetensors", "--episodes", "2"]
    assert baselines_command.main([*shown, "--set", "episode_length=3"]) == 0
    assert "graph:policy=p.safetensors" in capsys.readouterr().out
    assert (
        run(
            "collect",
            "--out",
            "d.safetensors",
            "--scheduler",
            "graph:policy=p.safetensors",
            "--transitions",
            6,
            "--set",
            "episode_length=3",
        )
        == 0
    )
    capsys.readouterr()
    assert (
        run(
            "train",
            "--out",
            "r",
            "--dataset",
            "d.safetensors",
            "--algorithm",
            "bc",
            "--updates",
            2,
            "--batch-size",
            4,
            "--hidden-sizes",
            4,
        )
        == 0
    )
    capsys.readouterr()
    assert run("evaluate", "r", *shown, "--json", "e.json") == 0
    found = json.loads(Path("e.json").read_text())["schedulers"]
    assert "graph:policy=p.safetensors" in str(found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--out p.pt", "--out = 'p.pt' must end in .safetensors"),
        ("--out none/p.safetensors", "--out = 'none/p.safetensors' must lie in an existing folder"),
        ("--out p.safetensors --networks", "--networks must name at least one network"),
        ("--out p.safetensors --networks papr", "'papr' (did you mean 'paper'?)"),
        ("--out p.safetensors --networks paper:n_apps=3", "'n_apps' (did you mean 'n_aps'?)"),
        ("--out p.safetensors --networks paper:n_aps=0", "n_aps"),
        (
            "--out p.safetensors --clone",
            "--clone needs the decisions of a dataset: --data FILE",
        ),
        (
            "--out p.safetensors --data d.safetensors --networks wide",
            "--networks does not go with --data: a dataset names its network",
        ),
        ("--out p.safetensors --updates 0", "updates must be an integer of at least 1"),
        ("--out p.safetensors --batch-size -1", "batch_size must be an integer of at least 1"),
        ("--out p.safetensors --episodes 0", "episodes must be an integer of at least 1"),
        ("--out p.safetensors --seed -1", "seed must be an integer of at least 0"),
        ("--out p.safetensors --width 0", "width must be an integer of at least 1"),
        ("--out p.safetensors --n-interferers 17", "n_interferers must be an integer"),
        ("--out p.safetensors --rounds 17", "rounds must be an integer of at least 0"),
        ("--out p.safetensors --n-neighbours 1025", "n_neighbours must be an integer"),
    ],
)
def test_bad_input_is_refused_by_name_before_any_work(
    arguments: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("training began")

    monkeypatch.setattr(graph, "train_prices", work)
    monkeypatch.setattr(graph, "train_prices_on", work)
    assert run("graph", *arguments.split()) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(Path().iterdir()) == []


def test_datasets_that_do_not_fit_are_refused_and_nothing_is_written(
    dataset: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (["--data", "none.safetensors"], "'none.safetensors'"),
        (["--data", dataset], "the dataset's network must have n_neighbours = 16, it has 2"),
    ):
        assert run("graph", "--out", "p.safetensors", *arguments) == 2
        captured = capsys.readouterr()
        assert message in captured.err
        assert captured.err.startswith("error: ")
        assert len(captured.err.splitlines()) == 1
        assert not Path("p.safetensors").exists()


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("graph", "--help")
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in ("out", "networks", "data", "clone", "updates", "n-neighbours", "rounds"):
        assert f"--{name}" in text
