"""Files of datasets are read back to the bit, and other files are refused with a reason."""

from __future__ import annotations

import json
import os
import pickle
import re
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from toys import arrays, assert_same, bits, described, made_up

from marl import Dataset, DatasetError

TENSORS = list(arrays())


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Small datasets with any finite numbers and any metadata.

    Masks leave every agent a legal action.
    """
    n, agents, features, actions = (draw(st.integers(1, high)) for high in (5, 3, 4, 4))

    def drawn(kind: Any, shape: tuple[int, ...], elements: st.SearchStrategy[Any]) -> NDArray[Any]:
        return draw(hnp.arrays(kind, shape, elements=elements))

    finite, flag = st.floats(width=32, allow_nan=False, allow_infinity=False), st.integers(0, 1)
    action, kept = (drawn(np.int32, (n, agents), st.integers(0, actions - 1)) for _ in range(2))
    masks = [drawn(np.uint8, (n, agents, actions), flag) for _ in range(2)]
    for mask, legal in zip(masks, (action, kept), strict=True):
        np.put_along_axis(mask, legal[..., None], 1, -1)
    columns = {
        "observation": drawn(np.float32, (n, agents, features), finite),
        "mask": masks[0],
        "action": action,
        "reward": drawn(np.float32, (n,), finite),
        "next_observation": drawn(np.float32, (n, agents, features), finite),
        "next_mask": masks[1],
        "terminated": drawn(np.uint8, (n,), flag),
        "truncated": drawn(np.uint8, (n,), flag),
        "behaviour": drawn(np.int32, (n,), st.integers(0, 2)),
    }
    plain = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        st.lists,
        max_leaves=4,
    )
    metadata = draw(
        st.dictionaries(st.text().filter(lambda key: key != "versions"), plain, max_size=3)
    )
    return Dataset(
        **{name: torch.from_numpy(column) for name, column in columns.items()}, metadata=metadata
    )


# --- Writing and reading ---


@given(datasets())
def test_what_is_written_is_read_back_to_the_bit(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.safetensors"
        dataset.write(path)
        assert_same(Dataset.read(path), dataset)


@pytest.mark.parametrize(
    "change",
    [
        lambda columns: {
            **columns,
            "next_mask": columns["mask"],
            "next_observation": columns["observation"],
        },
        lambda columns: {**columns, "truncated": torch.zeros(1, dtype=torch.uint8).expand(6)},
        lambda columns: {**columns, "observation": columns["observation"].mT.contiguous().mT},
        lambda columns: {
            name: torch.cat([column, column])[3:9] for name, column in columns.items()
        },
    ],
    ids=["one tensor for two fields", "expanded", "transposed", "views"],
)
def test_tensors_of_any_layout_are_written(
    change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]], tmp_path: Path
) -> None:
    dataset = Dataset(**change(arrays()), metadata=described())
    dataset.write(tmp_path / "data.safetensors")
    assert_same(Dataset.read(tmp_path / "data.safetensors"), dataset)


def header_of(content: bytes) -> tuple[dict[str, Any], int]:
    """The safetensors header, and where the data starts."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), 8 + length


def test_file_is_a_safetensors_header_and_raw_numbers_and_nothing_else(tmp_path: Path) -> None:
    path, dataset = tmp_path / "data.safetensors", made_up()
    dataset.write(path)
    content = path.read_bytes()
    header, start = header_of(content)
    metadata = header.pop("__metadata__")
    assert set(header) == set(TENSORS)
    assert len(content) == start + sum(tensor.nbytes for tensor in dataset.tensors().values())
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        assert content[start + first : start + last] == bits(getattr(dataset, name))
    assert {"python", "torch", "safetensors", "rrm_env"} <= set(
        json.loads(metadata["description"])["versions"]
    )
    assert [file.name for file in tmp_path.iterdir()] == ["data.safetensors"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc shows mappings on Linux")
def test_arrays_are_copied_from_the_file_not_mapped(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    made_up(5000).write(path)
    dataset = Dataset.read(path)
    assert len(dataset) == 5000
    assert str(path) not in Path("/proc/self/maps").read_text()


def test_replacing_a_file_does_not_change_what_was_read_from_it(tmp_path: Path) -> None:
    path, old, new = tmp_path / "data.safetensors", made_up(seed=1), made_up(seed=2)
    old.write(path)
    dataset = Dataset.read(path)
    new.write(path)
    assert_same(dataset, old)
    assert_same(Dataset.read(path), new)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_write_leaves_the_old_file_and_no_other(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old = tmp_path / "data.safetensors", made_up(seed=1)
    old.write(path)

    def fail(source: str, target: str) -> None:
        assert Path(source).stat().st_size > 0
        raise error

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(error):
        made_up(seed=2).write(path)
    assert_same(Dataset.read(path), old)
    assert [file.name for file in tmp_path.iterdir()] == ["data.safetensors"]


@pytest.mark.parametrize("name", [".", "missing/data.safetensors"])
def test_places_that_cannot_be_written_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="folder"):
        made_up().write(name)
    assert list(tmp_path.iterdir()) == []


# --- Files that are no datasets ---


def flipped(name: str) -> Callable[[bytes], bytes]:
    """Flips the lowest bit of a tensor's last element; the number may stay valid or not."""

    def change(content: bytes) -> bytes:
        header, start = header_of(content)
        place = (
            start
            + header[name]["data_offsets"][1]
            - (4 if header[name]["dtype"] in ("F32", "I32") else 1)
        )
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    return change


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    """Swaps text of equal length for other text."""

    def change(content: bytes) -> bytes:
        assert content.count(old) == 1
        assert len(old) == len(new)
        return content.replace(old, new)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content[:-1], "cannot be read as a safetensors file"),
        (lambda content: content[: len(content) // 2], "cannot be read as a safetensors file"),
        (lambda content: content[:5], "cannot be read as a safetensors file"),
        (lambda _: b"", "cannot be read as a safetensors file"),
        (lambda content: content + b"\0", "cannot be read as a safetensors file"),
        (lambda _: b"observation,action\n0,1\n", "cannot be read as a safetensors file"),
        (pickle.dumps, "cannot be read as a safetensors file"),
        *[
            pytest.param(
                flipped(name),
                "was altered after it was written: its checksum does not match",
                id=name,
            )
            for name in TENSORS
        ],
        (
            replaced(b"someone", b"another"),
            "was altered after it was written: its checksum does not match",
        ),
        (
            replaced(b"checksum", b"checksun"),
            "was altered after it was written: its checksum does not match",
        ),
        (
            replaced(b"rrm_env transitions", b"rrm_env transitiona"),
            "its kind is 'rrm_env transitiona', not 'rrm_env transitions'",
        ),
        (
            replaced(b'"schema":"1"', b'"schema":"0"'),
            "has schema 0, this version reads 1: collect it again",
        ),
        (replaced(b'"next_mask"', b'"some_mask"'), "lacks next_mask"),
    ],
)
def test_damaged_file_is_refused_by_name_with_the_reason(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.safetensors"
    made_up().write(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        Dataset.read(path)
    assert str(path) in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(DatasetError, match=re.escape(f"{str(path)!r} cannot be read")):
            Dataset.read(path)


def test_foreign_tensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(
        DatasetError, match="holds no transitions of this package: its kind is None"
    ):
        Dataset.read(path)
    made_up().write(tmp_path / "data.safetensors")
    save_file(load_file(tmp_path / "data.safetensors"), path, {"format": "pt"})
    with pytest.raises(DatasetError, match="its kind is None"):
        Dataset.read(path)
