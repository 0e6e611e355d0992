"""Damaged and forged files of datasets are refused by name, as fuzzing found them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from toys import arrays, described

from marl import Dataset, DatasetError
from marl.data.storage import checksum
from marl.exchange.card import behaviours, dataset_card


def rewritten(
    path: Path, change: Callable[[dict[str, Any]], object], **tensors: torch.Tensor
) -> None:
    """Write a dataset with a changed description or other tensors, and a valid checksum."""
    said, columns = described(), {**arrays(), **tensors}
    change(said)
    text = json.dumps(said)
    save_file(
        columns,
        path,
        {
            "kind": "rrm_env transitions",
            "schema": "1",
            "description": text,
            "checksum": checksum(columns, text),
        },
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda said: said.update(environment=[]),
            "environment must be a mapping of names, got []",
        ),
        (
            lambda said: said.update(environment={"kind": "network"}),
            "environment: config must be a mapping of names, got None",
        ),
        (
            lambda said: said.update(environment={"kind": "network", "config": {"n_aps": -1}}),
            "environment: n_aps must be",
        ),
        (
            lambda said: said.update(environment={"kind": "network", "config": {"n_apps": 1}}),
            "did you mean 'n_aps'?",
        ),
        (
            lambda said: said.update(environment={"kind": "network", "config": {}}),
            "environment: its config is of Team(n_agents=4",
        ),
        (
            lambda said: said.update(environment={"kind": "parallel"}),
            "environment: name must be a text, got None",
        ),
        (lambda said: said.update(behaviours={"a": 1}), "behaviours must be a list"),
        (
            lambda said: said.update(behaviours=[3]),
            "behaviours[0] must be a mapping of names, got 3",
        ),
        (
            lambda said: said["behaviours"][0].update(name=["x"]),
            "behaviours[0]: name must be a text",
        ),
        (
            lambda said: said["behaviours"][0].update(transitions=-1),
            "behaviours[0]: transitions must be an integer",
        ),
        (
            lambda said: said["behaviours"][0].update(kpis={"score": "high"}),
            "behaviours[0]: kpis: score must be a finite number, got 'high'",
        ),
        (
            lambda said: said["behaviours"][0].update(kpis={"score": 10**400}),
            "behaviours[0]: kpis: score must be a finite number",
        ),
        (lambda said: said.update(versions=["torch"]), "versions must be a mapping of names"),
    ],
)
def test_descriptions_of_no_dataset_are_refused_with_file_and_field(
    change: Callable[[dict[str, Any]], object], message: str, tmp_path: Path
) -> None:
    rewritten(tmp_path / "data.safetensors", change)
    with pytest.raises(DatasetError, match=re.escape(message)) as caught:
        Dataset.read(tmp_path / "data.safetensors")
    assert str(tmp_path) in str(caught.value)


def test_tensors_of_any_type_are_refused_by_name(tmp_path: Path) -> None:
    for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.complex64):
        rewritten(tmp_path / "data.safetensors", lambda _: None, reward=torch.zeros(6, dtype=kind))
        with pytest.raises(
            DatasetError,
            match="data.safetensors' holds no dataset: "
            f"reward must be torch.float32 of shape .* {kind}",
        ):
            Dataset.read(tmp_path / "data.safetensors")


def test_behaviours_that_nothing_describes_are_refused_or_named_by_number() -> None:
    columns = {**arrays(), "behaviour": torch.tensor([0, 0, 2**31 - 1, 0, 0, 0], dtype=torch.int32)}
    with pytest.raises(
        DatasetError,
        match=r"behaviour must be from 0 to 0, which the metadata describe, got 2147483647",
    ):
        Dataset(**columns, metadata=described())
    plain = Dataset(**columns)  # nothing is described
    assert [(behaviour.name, behaviour.transitions) for behaviour in behaviours(plain)] == [
        ("0", 5),
        ("2147483647", 1),
    ]
    assert "2147483647" in dataset_card(plain)


def test_long_reasons_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "data.safetensors"
    header = json.dumps({"reward": "x" * 100_000}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(DatasetError) as caught:
        Dataset.read(path)
    assert len(str(caught.value)) < 1000
