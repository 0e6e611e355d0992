"""Statistics of datasets against plain Python on small data."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from recordings import KINDS, recorded
from toys import SMALL

from baselines import RandomWalk
from marl import Dataset, collect
from marl.data.collect import Recording, record
from marl.exchange.statistics import (
    distribution,
    episode_values,
    hashed_states,
    legal_actions,
    state_action_coverage,
    values_by_behaviour,
)

ROWS = {name: dataset for name, dataset in KINDS.items() if len(dataset) > 5}


def naive_pairs(dataset: Dataset) -> int:
    """The number of different pairs of hashed state and joint action, by a set of tuples."""
    states, actions = hashed_states(dataset).tolist(), dataset.action.tolist()
    return len({(state, *action) for state, action in zip(states, actions, strict=True)})


@pytest.mark.parametrize("name", sorted(ROWS))
def test_coverage_counts_unique_pairs(name: str) -> None:
    dataset = ROWS[name]
    assert state_action_coverage(dataset) == pytest.approx(naive_pairs(dataset) / len(dataset))


def test_rows_that_repeat_cover_nothing_more() -> None:
    one = recorded()
    twice = Dataset.concatenate([one, one])
    assert state_action_coverage(twice) == pytest.approx(state_action_coverage(one) / 2)


def test_coverage_tells_joint_actions_apart() -> None:
    """The same state with another joint action is another pair."""
    one = recorded(30)
    state = one.observation[:1].expand_as(one.observation).contiguous()
    dataset = Dataset(**{**one.tensors(), "observation": state}, metadata=one.metadata)
    joint = {tuple(action) for action in one.action.tolist()}
    assert state_action_coverage(dataset) == pytest.approx(len(joint) / 30)
    own = {tuple(action[:1]) for action in one.action.tolist()}
    assert len(joint) > len(own)


def test_states_are_the_signs_of_projections_on_the_scale_of_a_random_walk() -> None:
    dataset = recorded(20, seed=3)
    walk = collect(RandomWalk(silence=True), SMALL, 20 * SMALL.episode_length)
    flat = walk.observation.reshape(-1, walk.team.n_features).double().tolist()
    size = dataset.team.n_agents * dataset.team.n_features
    matrix = np.random.default_rng(0).standard_normal((size, 8)).tolist()
    expected = []
    for row in dataset.observation.double().tolist():
        scaled = []
        for agent in row:
            for k, value in enumerate(agent):
                column = [other[k] for other in flat]
                mean = sum(column) / len(column)
                deviation = math.sqrt(sum((x - mean) ** 2 for x in column) / len(column)) or 1.0
                scaled.append((value - mean) / deviation)
        cell = 0
        for bit in range(8):
            cell += (sum(x * line[bit] for x, line in zip(scaled, matrix, strict=True)) > 0) << bit
        expected.append(cell)
    assert hashed_states(dataset, 8).tolist() == expected


def test_more_bits_make_smaller_cells() -> None:
    dataset = recorded(400)
    found = [state_action_coverage(dataset, bits) for bits in (1, 4, 12)]
    assert found == sorted(found)
    assert found[0] < found[-1] <= 1


def test_legal_actions_are_counted_per_agent() -> None:
    dataset = KINDS["whole episodes"]
    counts = [sum(agent) for row in dataset.mask.tolist() for agent in row]
    found = legal_actions(dataset)
    assert found["mean"] == pytest.approx(sum(counts) / len(counts))
    assert (found["min"], found["max"]) == (min(counts), max(counts))
    assert found["all"] == pytest.approx(counts.count(dataset.team.n_actions) / len(counts))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30))
def test_distributions(values: list[float]) -> None:
    found = distribution(np.array(values))
    mean = sum(values) / len(values)
    assert found["mean"] == pytest.approx(mean, abs=1e-9)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    assert found["sd"] == pytest.approx(math.sqrt(variance), abs=1e-6)
    ordered = sorted(values)
    assert (found["min"], found["max"]) == (ordered[0], ordered[-1])
    for name, share in (("5 %", 0.05), ("25 %", 0.25), ("50 %", 0.5), ("95 %", 0.95)):
        place = share * (len(values) - 1)
        low = math.floor(place)
        high = min(low + 1, len(values) - 1)
        expected = ordered[low] + (place - low) * (ordered[high] - ordered[low])
        assert found[name] == pytest.approx(expected, abs=1e-6)


def kept(seed: int, name: str) -> Dataset:
    return record(
        [Recording(RandomWalk(), SMALL, 40, seed, name=name, keeps_episodes=True)],
    )[0]


def test_episodes_come_from_the_metadata() -> None:
    both = Dataset.concatenate([kept(1, "one"), kept(2, "two")])
    values = episode_values(both)
    assert set(values) == {"return", "sum_rate", "tail_rate", "worst_rate", "score"}
    parts = [behaviour["episodes"]["score"] for behaviour in both.metadata["behaviours"]]
    assert values["score"].tolist() == [*parts[0], *parts[1]]
    by_name = values_by_behaviour(both, "score")
    assert {name: each.tolist() for name, each in by_name.items()} == {
        "one": parts[0],
        "two": parts[1],
    }
    rewards = both.reward.double().reshape(-1, SMALL.episode_length).sum(dim=1)
    np.testing.assert_allclose(values["return"], rewards, rtol=1e-9)


def test_returns_come_from_the_rows_where_nothing_is_kept() -> None:
    dataset = recorded(40)
    expected = dataset.reward.double().reshape(-1, 10).sum(dim=1)
    values = episode_values(dataset)
    assert set(values) == {"return"}
    np.testing.assert_allclose(values["return"], expected, rtol=1e-9)
    mixed = Dataset.concatenate([dataset, kept(1, "one")])
    assert set(episode_values(mixed)) == {"return"}
    assert values_by_behaviour(mixed, "score").keys() == {"one"}


def test_a_shuffled_dataset_has_the_same_coverage() -> None:
    dataset = recorded(60)
    order = list(range(60))
    random.Random(1).shuffle(order)
    tensors = {name: each[torch.tensor(order)] for name, each in dataset.tensors().items()}
    shuffled = Dataset(**tensors, metadata=dataset.metadata)
    assert state_action_coverage(shuffled) == state_action_coverage(dataset)


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ({"score": 3}, "score must be a list"),
        ({"score": [1.0, "x"]}, "score must be"),
        ({"score": [1.0], "return": [1.0, 2.0]}, "lists of one length"),
        ([], "must be a mapping"),
    ],
)
def test_bad_episodes_in_metadata_are_refused(episodes: Any, message: str) -> None:
    dataset = kept(1, "one")
    behaviour = {**dataset.metadata["behaviours"][0], "episodes": episodes}
    with pytest.raises(ValueError, match=message):
        Dataset(**dataset.tensors(), metadata={**dataset.metadata, "behaviours": [behaviour]})
