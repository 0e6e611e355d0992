"""Datasets in memory: validation, subsets, unions, fingerprints and what learners read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import arrays, assert_same, described, made_up

from marl import Dataset, DatasetError, Team
from marl.data.transitions import Transitions

TENSORS = list(arrays())


# --- Arrays that are no datasets ---


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("observation", torch.zeros(6, 3), "observation must have 3 dimensions, got shape (6, 3)"),
        (
            "mask",
            torch.ones(6, 4, dtype=torch.uint8),
            "mask must have 3 dimensions, got shape (6, 4)",
        ),
        (
            "observation",
            torch.zeros(6, 2, 3).double(),
            "observation must be torch.float32 of shape (6, 2, 3), got torch.float64",
        ),
        (
            "observation",
            torch.zeros(5, 2, 3),
            "must be torch.uint8 of shape (5, 2, 4), got torch.uint8 of shape (6, 2, 4)",
        ),
        (
            "mask",
            torch.ones(6, 2, 4, dtype=torch.bool),
            "mask must be torch.uint8 of shape (6, 2, 4), got torch.bool",
        ),
        (
            "action",
            torch.zeros(6, 2),
            "action must be torch.int32 of shape (6, 2), got torch.float32",
        ),
        (
            "action",
            torch.zeros(6, 2, dtype=torch.int64),
            "action must be torch.int32 of shape (6, 2), got torch.int64",
        ),
        (
            "action",
            torch.zeros(6, dtype=torch.int32),
            "action must be torch.int32 of shape (6, 2), got torch.int32 of shape (6,)",
        ),
        (
            "reward",
            torch.zeros(6, 1),
            "reward must be torch.float32 of shape (6,), got torch.float32 of shape (6, 1)",
        ),
        (
            "next_observation",
            torch.zeros(6, 2, 4),
            "next_observation must be torch.float32 of shape (6, 2, 3)",
        ),
        (
            "next_mask",
            torch.ones(6, 2, 3, dtype=torch.uint8),
            "next_mask must be torch.uint8 of shape (6, 2, 4)",
        ),
        (
            "terminated",
            torch.zeros(6),
            "terminated must be torch.uint8 of shape (6,), got torch.float32",
        ),
        (
            "truncated",
            torch.zeros(6, dtype=torch.bool),
            "truncated must be torch.uint8 of shape (6,), got torch.bool",
        ),
        (
            "behaviour",
            torch.zeros(6),
            "behaviour must be torch.int32 of shape (6,), got torch.float32",
        ),
        ("observation", torch.full((6, 2, 3), torch.nan), "observation must be finite, got nan"),
        ("reward", torch.tensor([0, 1, 2, -torch.inf, 4, 5]), "reward must be finite, got -inf"),
        (
            "next_observation",
            torch.full((6, 2, 3), torch.inf),
            "next_observation must be finite, got inf",
        ),
        ("mask", torch.full((6, 2, 4), 2, dtype=torch.uint8), "mask must be 0 or 1, got 2"),
        (
            "next_mask",
            torch.zeros(6, 2, 4, dtype=torch.uint8),
            "next_mask must leave every agent a legal action",
        ),
        (
            "mask",
            torch.zeros(6, 2, 4, dtype=torch.uint8),
            "mask must leave every agent a legal action",
        ),
        (
            "terminated",
            torch.full((6,), 255, dtype=torch.uint8),
            "terminated must be 0 or 1, got 255",
        ),
        ("truncated", torch.full((6,), 3, dtype=torch.uint8), "truncated must be 0 or 1, got 3"),
        ("action", torch.full((6, 2), -1, dtype=torch.int32), "action must be from 0 to 3, got -1"),
        ("action", torch.full((6, 2), 4, dtype=torch.int32), "action must be from 0 to 3, got 4"),
        ("behaviour", torch.full((6,), -1, dtype=torch.int32), "behaviour"),
    ],
)
def test_wrong_arrays_are_refused_by_name(name: str, value: torch.Tensor, message: str) -> None:
    with pytest.raises(DatasetError, match=re.escape(message)):
        Dataset(**{**arrays(), name: value})


def test_illegal_action_is_refused_with_its_place() -> None:
    columns = arrays()
    columns["action"][4, 1], columns["mask"][4, 1] = 2, torch.tensor([1, 0, 0, 1])
    with pytest.raises(
        DatasetError, match=re.escape("action[4, 1] = 2 is illegal under mask [1, 0, 0, 1]")
    ):
        Dataset(**columns)


def test_dataset_without_transitions_or_agents_is_refused() -> None:
    with pytest.raises(DatasetError, match="a dataset must hold at least one transition, got none"):
        Dataset(**{name: column[:0] for name, column in arrays().items()})
    with pytest.raises(DatasetError, match="agent"):
        Dataset(
            **{
                name: column[:, :0] if column.ndim > 1 else column
                for name, column in arrays().items()
            }
        )


# --- Parts and unions ---


def test_subset_is_distinct_ordered_and_the_same_for_the_same_seed() -> None:
    dataset = made_up(50)
    parts = [dataset.subset(20, seed) for seed in (0, 1, 2)]
    chosen = [part.reward.long().tolist() for part in parts]
    for part, rows in zip(parts, chosen, strict=True):
        assert len(part) == len(set(rows)) == 20
        assert rows == sorted(rows)
        for name, tensor in part.tensors().items():
            assert torch.equal(tensor, getattr(dataset, name)[rows]), name
        assert part.metadata == dataset.metadata
    assert chosen[0] == dataset.subset(20).reward.long().tolist()
    assert chosen[0] != chosen[1] != chosen[2]
    assert set().union(
        *(dataset.subset(20, seed).reward.long().tolist() for seed in range(20))
    ) == set(range(50))
    assert_same(dataset.subset(50, 3), dataset)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((7,), ValueError, "n must be an integer of at least 1 and at most 6, got 7"),
        ((0,), ValueError, "n must be an integer of at least 1 and at most 6, got 0"),
        ((2.0,), TypeError, "n must be an integer of at least 1 and at most 6, got 2.0"),
        ((2, -1), ValueError, "seed must be an integer of at least 0"),
        ((2, "a"), TypeError, "seed must be an integer of at least 0"),
    ],
)
def test_subset_refuses_what_it_cannot_draw(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        made_up().subset(*arguments)


def actors(dataset: Dataset) -> list[str]:
    """Who acted in each transition."""
    return [
        dataset.metadata["behaviours"][behaviour]["name"]
        for behaviour in dataset.behaviour.tolist()
    ]


def test_concatenation_keeps_every_transition_with_its_behaviour() -> None:
    parts = [made_up(4, name="first"), made_up(3, seed=1, name="second")]
    twice = Dataset.concatenate([Dataset.concatenate(parts), made_up(2, seed=2, name="third")])
    assert actors(twice) == ["first"] * 4 + ["second"] * 3 + ["third"] * 2
    assert twice.metadata["environment"] == parts[0].metadata["environment"]
    for name in set(TENSORS) - {"behaviour"}:
        expected = torch.cat([getattr(part, name) for part in (*parts, made_up(2, seed=2))])
        assert torch.equal(getattr(twice, name), expected), name
    assert [len(part) for part in parts] == [4, 3]
    assert len(parts[0].metadata["behaviours"]) == 1


def test_concatenation_refuses_other_environments_and_nothing() -> None:
    with pytest.raises(
        DatasetError, match=r"datasets\[1\] is of another environment than datasets\[0\]"
    ):
        Dataset.concatenate([made_up(), made_up(environment="elsewhere")])
    wider = Dataset(**arrays(team=Team(2, 4, 4)), metadata=described())
    with pytest.raises(
        DatasetError, match=r"datasets\[2\] is of another environment than datasets\[0\]"
    ):
        Dataset.concatenate([made_up(), made_up(), wider])
    with pytest.raises(DatasetError, match="datasets must hold at least one dataset, got none"):
        Dataset.concatenate([])


def test_mixture_takes_equal_shares_the_first_ones_one_more() -> None:
    parts = [made_up(20, seed=k, name=f"policy {k}") for k in range(3)]
    mixture = Dataset.mix(parts, 11, seed=4)
    assert actors(mixture) == ["policy 0"] * 4 + ["policy 1"] * 4 + ["policy 2"] * 3
    for k, part in enumerate(parts):
        rows = mixture.reward[mixture.behaviour == k].long().tolist()
        assert len(set(rows)) == len(rows)
        assert torch.equal(mixture.observation[mixture.behaviour == k], part.observation[rows])
    assert_same(mixture, Dataset.mix(parts, 11, seed=4))
    assert mixture.fingerprint() != Dataset.mix(parts, 11, seed=5).fingerprint()
    assert actors(Dataset.mix(parts, 2)) == ["policy 0", "policy 1"]


def test_mixture_refuses_more_than_there_is_and_nothing() -> None:
    with pytest.raises(ValueError, match="n must be an integer of at least 1 and at most 6, got 7"):
        Dataset.mix([made_up(), made_up()], 13)
    with pytest.raises(DatasetError, match="datasets must hold at least one dataset, got none"):
        Dataset.mix([], 3)


# --- What learners read ---


@pytest.mark.parametrize("name", TENSORS)
def test_fingerprint_changes_with_any_number(name: str) -> None:
    columns = arrays()
    columns["mask"][-1], columns["action"][-1] = 1, 0  # so that the changes below stay legal
    changed = columns[name].clone()
    changed.view(-1)[-1] = 1 - changed.view(-1)[-1]
    assert Dataset(**{**columns, name: changed}).fingerprint() != Dataset(**columns).fingerprint()


def test_fingerprint_changes_with_metadata_but_not_with_versions(tmp_path: Path) -> None:
    dataset = made_up()
    assert made_up(name="other").fingerprint() != dataset.fingerprint()
    dataset.write(tmp_path / "data.safetensors")
    read = Dataset.read(tmp_path / "data.safetensors")
    assert "versions" in read.metadata
    assert read.fingerprint() == dataset.fingerprint()
    assert (
        Dataset(**read.tensors(), metadata={**read.metadata, "versions": {}}).fingerprint()
        == dataset.fingerprint()
    )


def test_transitions_have_the_types_that_learners_compute_with() -> None:
    dataset = made_up()
    transitions = dataset.transitions("cpu")
    assert isinstance(transitions, Transitions)
    assert dataset.team == Team(2, 3, 4)
    kinds = {"mask": torch.uint8, "next_mask": torch.uint8, "action": torch.int64}
    for name, tensor in transitions._asdict().items():
        assert tensor.dtype == kinds.get(name, torch.float32), name
        assert torch.equal(tensor, getattr(dataset, name).to(tensor.dtype)), name
