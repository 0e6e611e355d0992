"""Ends of episodes, and the arrays that d3rlpy reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from recordings import CROWDED_OUT, KINDS, recorded
from toys import SMALL, arrays

from marl import (
    Dataset,
    DatasetError,
    Heads,
    Team,
    from_mdp_arrays,
    mdp_arrays,
)
from marl.exchange.d3rlpy import episode_ends
from rrm_env import RRMConfig

# --- Where episodes end ---


def test_episodes_are_cut_where_they_end_and_where_the_next_row_is_not_what_followed() -> None:
    dataset = recorded(45)
    assert np.flatnonzero(episode_ends(dataset)).tolist() == [9, 19, 29, 39, 44]
    rows = torch.tensor([0, 1, 3, 4, 9, 10, 12])
    part = Dataset(
        **{name: tensor[rows] for name, tensor in dataset.tensors().items()},
        metadata=dataset.metadata,
    )
    assert np.flatnonzero(episode_ends(part)).tolist() == [1, 3, 4, 5, 6]


@pytest.mark.parametrize("changed", ["observation", "mask", "behaviour"])
def test_any_difference_to_what_followed_cuts(changed: str) -> None:
    rows: dict[str, Any] = {name: tensor.clone() for name, tensor in recorded(5).tensors().items()}
    assert not episode_ends(Dataset(**rows))[:4].any()
    if changed == "observation":
        rows["observation"][3, 1, 0] = torch.nextafter(
            rows["observation"][3, 1, 0], torch.tensor(9.0)
        )
    elif changed == "mask":
        rows["next_mask"][2, 0, 0] = 1 - rows["mask"][3, 0, 0]
    else:
        rows["behaviour"][3:] = 1
    assert episode_ends(Dataset(**rows)).tolist() == [False, False, True, False, True]


# --- d3rlpy's arrays ---


def test_arrays_are_those_of_all_agents_as_one() -> None:
    dataset = recorded()
    found = mdp_arrays(dataset)
    assert {name: (array.shape, str(array.dtype)) for name, array in found.items()} == {
        "observations": ((45, 2 * 4), "float32"),
        "actions": ((45, 1), "int64"),
        "rewards": ((45, 1), "float32"),
        "terminals": ((45, 1), "float32"),
        "timeouts": ((45, 1), "float32"),
    }
    joint = [np.ravel_multi_index(tuple(row), (3, 3)) for row in dataset.action.tolist()]
    assert (
        found["actions"][:, 0].tolist()
        == joint
        == Heads("c", dataset.team).chosen(dataset.action[None])[0, 0].tolist()
    )
    assert np.array_equal(found["observations"].reshape(45, 2, 4), dataset.observation.numpy())
    assert np.flatnonzero(found["timeouts"]).tolist() == [9, 19, 29, 39, 44]
    assert not found["terminals"].any()


def test_no_row_is_terminal_and_timed_out() -> None:
    found = mdp_arrays(KINDS["one step"])
    assert found["terminals"].all()
    assert not found["timeouts"].any()
    assert not mdp_arrays(KINDS["both flags"])["timeouts"].any()


@pytest.mark.parametrize(
    "config",
    [
        CROWDED_OUT,
        RRMConfig(
            n_aps=2,
            n_ues=4,
            episode_length=10,
            measurements="large_scale",
            turns="equal",
            messages="best",
        ),
    ],
)
def test_arrays_give_back_all_but_the_rows_before_a_timeout(config: RRMConfig) -> None:
    dataset = recorded(45, config=config)
    assert (dataset.mask == 0).any(), "no empty slot"
    found = from_mdp_arrays(mdp_arrays(dataset), config)
    kept = ~episode_ends(dataset)
    for name in (
        "observation",
        "mask",
        "action",
        "reward",
        "next_observation",
        "next_mask",
        "terminated",
        "behaviour",
    ):
        assert torch.equal(found.tensors()[name], dataset.tensors()[name][kept]), name
    assert found.truncated.nonzero()[:, 0].tolist() == [8, 17, 26, 35, 39]
    assert found.environment == dataset.environment


def test_a_terminal_row_needs_no_next_observation() -> None:
    found = mdp_arrays(recorded(12))
    found = {
        **found,
        "terminals": found["timeouts"].copy(),
        "timeouts": np.zeros_like(found["timeouts"]),
    }
    back = from_mdp_arrays(found, SMALL)
    assert len(back) == 12
    assert back.terminated.nonzero()[:, 0].tolist() == [9, 11]
    assert not back.truncated.any()
    assert torch.equal(back.next_observation[9], back.observation[9])
    assert torch.equal(back.next_mask[9], back.mask[9])


def test_rows_after_the_last_end_are_an_episode_cut() -> None:
    found = {name: array[:15] for name, array in mdp_arrays(recorded(20)).items()}
    assert from_mdp_arrays(found, SMALL).truncated.nonzero()[:, 0].tolist() == [8, 12]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "missing: actions"),
        (
            {"rewards": np.zeros(20)},
            r"rewards must have shape \(20, 1\) with at least one row, got \(20,\)",
        ),
        ({"observations": np.zeros((20, 7))}, r"observations must have shape \(20, 8\)"),
        ({"observations": np.zeros((0, 8))}, "at least one row"),
        (
            {"observations": np.float32(1)},
            r"observations must have shape \(0, 8\) with at least one row, got \(\)",
        ),
        ({"timeouts": np.full((20, 1), 0.5)}, "timeouts must be 0 or 1, got 0.5"),
        ({"timeouts": np.ones((20, 1))}, "no transition is left"),
        ({"actions": np.full((20, 1), 9)}, "actions must be whole numbers from 0 to 8, got 9"),
        ({"actions": np.full((20, 1), -1)}, "actions must be whole numbers from 0 to 8, got -1"),
        ({"actions": np.full((20, 1), 0.5)}, "actions must be whole numbers from 0 to 8, got 0.5"),
        ({"rewards": np.full((20, 1), np.nan)}, "reward must be finite"),
    ],
)
def test_arrays_that_are_none_are_refused(changes: dict[str, Any], message: str) -> None:
    given = {
        name: array
        for name, array in {**mdp_arrays(recorded(20)), **changes}.items()
        if array is not None
    }
    with pytest.raises(DatasetError, match=message):
        from_mdp_arrays(given, SMALL)


def test_actions_of_empty_slots_are_refused() -> None:
    dataset = recorded(20, config=CROWDED_OUT)
    given = mdp_arrays(dataset)
    empty = (dataset.mask[:-1] == 0).nonzero()
    row, agent, slot = next(
        place.tolist() for place in empty if not episode_ends(dataset)[place[0]]
    )
    action = dataset.action[row].clone()
    action[agent] = slot
    given["actions"] = given["actions"].copy()
    given["actions"][row] = Heads("c", dataset.team).chosen(action.view(1, 1, -1)).item()
    with pytest.raises(DatasetError, match="is illegal under mask"):
        from_mdp_arrays(given, CROWDED_OUT)


def test_too_many_joint_actions_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"there may be 16,384: Team\(n_agents=8, n_features=3, n_actions=4\) has 65,536",
    ):
        mdp_arrays(Dataset(**arrays(team=Team(8, 3, 4))))
