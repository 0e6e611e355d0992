"""Files of graph policies: written whole, read with suspicion."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from graphs import TINY, random_parameters
from safetensors.torch import load_file

from marl import GraphConfig, GraphPolicy
from marl.data.storage import checksum, dump_json, read_safetensors, serialised
from marl.graph.files import (
    FOLDER,
    PolicyError,
    described_policy,
    read_policy,
    shipped,
    write_policy,
)

TRAINING = {"command": "python -m marl prices --updates 3", "episodes": 7}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "p.safetensors"
    write_policy(path, TINY, random_parameters(TINY, [5, 6]), 1, TRAINING)
    return path


def test_a_policy_is_read_as_it_was_written(path: Path) -> None:
    config, parameters, training = described_policy(path)
    assert config == TINY
    assert training == TRAINING
    written = random_parameters(TINY, [6])
    assert parameters.keys() == written.keys()
    for name, tensor in parameters.items():
        assert torch.equal(tensor, written[name])
    again, same = read_policy(str(path))
    assert again == config
    assert all(torch.equal(same[name], tensor) for name, tensor in parameters.items())


def test_the_same_policy_has_the_same_bytes(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "q.safetensors"
    write_policy(other, TINY, random_parameters(TINY, [6]), 0, TRAINING)
    assert other.read_bytes() == path.read_bytes()


def test_files_are_small(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    config = GraphConfig()
    write_policy(path, config, random_parameters(config, [0]), 0, TRAINING)
    assert path.stat().st_size < 2e6
    assert all(file.stat().st_size < 2e6 for file in FOLDER.glob("*"))


@pytest.mark.parametrize("name", shipped())
def test_policies_of_the_package_can_be_read(name: str) -> None:
    assert GraphPolicy(name).config == read_policy(name)[0]


def altered(path: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change tensors and description of a file, whose checksum is right again after that."""
    tensors, metadata = read_safetensors(path, ValueError)
    described = json.loads(metadata["description"])
    change(tensors, described)
    ordered = dict(sorted(tensors.items()))
    text = dump_json(described)
    content = serialised(ordered, {"description": text, "checksum": checksum(ordered, text)})
    path.write_bytes(content)


def shape(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    tensors["join.0.weights"] = torch.zeros(4, 4)


def kind(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    tensors["price.biases"] = tensors["price.biases"].double()


def lost(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    del tensors["user.0.weights"]


def infinite(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    tensors["user.1.weights"][0, 0] = torch.inf


def not_a_number(tensors: dict[str, Any], _: dict[str, Any]) -> None:
    tensors["price.biases"][0, 0] = torch.nan


def unknown_size(_: dict[str, Any], described: dict[str, Any]) -> None:
    described["graph"]["height"] = 3


def bad_size(_: dict[str, Any], described: dict[str, Any]) -> None:
    described["graph"]["width"] = "wide"


def more_rounds(_: dict[str, Any], described: dict[str, Any]) -> None:
    described["graph"]["rounds"] = 2


def no_sizes(_: dict[str, Any], described: dict[str, Any]) -> None:
    del described["graph"]


def no_training(_: dict[str, Any], described: dict[str, Any]) -> None:
    described["training"] = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shape, r"join.0.weights must be torch.float32 of shape \(24, 6\), found .*\(4, 4\)"),
        (kind, "price.biases must be torch.float32 .*, found torch.float64"),
        (lost, "user.0.weights must be .*, found nothing"),
        (infinite, "its parameters must be finite"),
        (not_a_number, "its parameters must be finite"),
        (unknown_size, "unknown field of GraphConfig 'height'"),
        (bad_size, "width must be an integer .*, got 'wide'"),
        (more_rounds, "ap.1.weights must be .*, found nothing"),
        (no_sizes, "it is no graph policy: 'graph'"),
        (no_training, "it is no graph policy"),
    ],
)
def test_files_of_another_content_are_refused(
    change: Callable[[dict[str, Any], dict[str, Any]], None], message: str, path: Path
) -> None:
    altered(path, change)
    with pytest.raises(PolicyError, match=f"^'.*p.safetensors': .*{message}"):
        read_policy(path)


def test_every_altered_byte_of_the_tensors_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for place in (-1, -100, len(whole) // 2):
        broken = bytearray(whole)
        broken[place] ^= 1
        path.write_bytes(broken)
        with pytest.raises(PolicyError, match="its checksum does not match"):
            read_policy(path)


def test_an_altered_description_is_noticed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"--updates 3", b"--updates 9"))
    with pytest.raises(PolicyError, match="its checksum does not match"):
        read_policy(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "p.safetensors"), (b"not a policy at all", "p.safetensors"), (None, "checksum")],
)
def test_files_of_another_kind_are_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(serialised({"x": torch.zeros(2)}, {}) if content is None else content)
    with pytest.raises(PolicyError, match=message):
        read_policy(path)


def test_missing_files_and_folders_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"none\.safetensors': No such file"):
        read_policy(tmp_path / "none.safetensors")
    (tmp_path / "x.safetensors").mkdir()
    with pytest.raises(PolicyError, match=r"x\.safetensors': Is a directory"):
        read_policy(tmp_path / "x.safetensors")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown policy 'grahp'.*ends in \.safetensors"):
        read_policy("grahp")


def test_names_come_from_the_files_of_the_package(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marl.graph.files.FOLDER", path.parent)
    assert shipped() == ["p"]
    assert GraphPolicy("p").config == TINY
    with pytest.raises(ValueError, match=r"unknown policy 'pp' .did you mean 'p'"):
        read_policy("pp")


def test_a_file_is_replaced_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full(_: Any, write: Callable[[Any], object]) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        with pytest.raises(OSError, match="No space left"):
            write_policy(path, TINY, random_parameters(TINY, [9]), 0, {})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    write_policy(path, TINY, random_parameters(TINY, [9]), 0, {})
    assert path.read_bytes() != before
    assert len(load_file(path)) == 2 * len(TINY.sizes())
