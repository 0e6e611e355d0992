"""``python -m marl export`` and ``import``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recordings import recorded
from toys import SMALL, printed, run

from marl import (
    Dataset,
    dataset_card,
    from_mdp_arrays,
    mdp_arrays,
    read_mdp_arrays,
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a dataset in the current folder."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.chdir(tmp_path)
    recorded(40).write("data.safetensors")
    return tmp_path / "data.safetensors"


def test_arrays_and_card_are_exported_and_imported(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "data.safetensors", "--arrays", "a.npz", "--card", "README.md") == 0
    dataset = Dataset.read(data)
    assert printed(capsys) == "wrote a.npz wrote README.md"
    assert Path("README.md").read_text(encoding="utf-8") == dataset_card(
        dataset, "data.safetensors"
    )
    assert all(
        np.array_equal(array, mdp_arrays(dataset)[name])
        for name, array in read_mdp_arrays("a.npz").items()
    )
    network = [
        f"{name}={getattr(SMALL, name)}"
        for name in ("n_aps", "n_ues", "n_candidates", "episode_length")
    ]
    assert run("import", "a.npz", "--out", "back.safetensors", "--set", *network) == 0
    assert (
        Dataset.read("back.safetensors").fingerprint()
        == from_mdp_arrays(mdp_arrays(dataset), SMALL, "a").fingerprint()
    )
    assert "36 transitions" in printed(capsys)


def test_minari_datasets_are_exported_and_imported(
    minari: Any, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "data.safetensors", "--minari", "rrm/some-v0") == 0
    assert printed(capsys) == "wrote rrm/some-v0: 4 episodes, 40 transitions"
    assert run("import", "rrm/some-v0", "--out", "back.safetensors") == 0
    assert Dataset.read("back.safetensors").fingerprint() == Dataset.read(data).fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "export data.safetensors",
            "export needs at least one of --minari, --arrays and --card, got none",
        ),
        ("export data.safetensors --arrays a.txt", "--arrays = 'a.txt' must end in .npz"),
        (
            "export data.safetensors --arrays missing/a.npz",
            "--arrays = 'missing/a.npz' must lie in an existing folder",
        ),
        ("export data.safetensors --card .", "--card must be a file, got the folder '.'"),
        ("export missing --card a.md", "'missing' cannot be read as a safetensors file"),
        ("import missing.npz --out b", "'missing.npz' cannot be read as an .npz file"),
        ("import text.npz --out b", "'text.npz' cannot be read as an .npz file"),
        ("import one.npz --out b", "'one.npz' cannot be read as an .npz file"),
        ("import part.npz --out b", "missing: observations, actions, rewards, terminals, timeouts"),
        (
            "import some-v0 --out b --network paper",
            "--network is of arrays in an .npz file: 'some-v0' says itself",
        ),
        (
            "import some-v0 --out b --set n_aps=2",
            "--set is of arrays in an .npz file: 'some-v0' says itself",
        ),
        ("import some-v0 --out missing/b", "--out = 'missing/b' must lie in an existing folder"),
    ],
)
def test_commands_refuse_wrong_input(
    data: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.npz").write_text("text")
    with Path("one.npz").open("wb") as file:
        np.save(file, np.ones(3))
    np.savez("part.npz", other=np.ones(3))
    before = sorted(os.listdir())
    assert run(*arguments.split()) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir()) == before
