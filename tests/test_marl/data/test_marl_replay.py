"""The replay keeps the newest transitions of every seed, also after a restart."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from toys import arrays, assert_same_outcome, trained

from marl import Team
from marl.data.replay import Replay
from marl.data.transitions import Transitions

TEAM = Team(2, 3, 4)


def fresh(n_seeds: int, n_new: int, first: int) -> list[np.ndarray]:
    """Fields (S, E, ...) of new transitions; rewards count them per seed, thousands apart."""
    parts = [arrays(n_new, TEAM, seed=first + seed) for seed in range(n_seeds)]
    for seed, part in enumerate(parts):
        part["reward"] = torch.arange(first, first + n_new) + 1000.0 * seed
    return [np.stack([part[name].numpy() for part in parts]) for name in Transitions._fields]


@given(
    st.integers(1, 3),
    st.integers(1, 9),
    st.lists(st.integers(1, 4), min_size=1, max_size=8),
    st.booleans(),
)
def test_replay_keeps_the_newest_transitions_of_every_seed(
    n_seeds: int, capacity: int, batches: list[int], restart: bool
) -> None:
    batches = [min(n_new, capacity) for n_new in batches]
    replay = Replay(TEAM, n_seeds, capacity, torch.device("cpu"))
    queues: list[deque[tuple[np.ndarray, ...]]] = [deque(maxlen=capacity) for _ in range(n_seeds)]
    added = 0
    for n_new in batches:
        fields = fresh(n_seeds, n_new, added)
        replay.add(*fields)
        for seed, queue in enumerate(queues):
            queue.extend(tuple(field[seed, k] for field in fields) for k in range(n_new))
        added += n_new
        if restart:
            saved = {name: tensor.clone() for name, tensor in replay.tensors().items()}
            replay = Replay(TEAM, n_seeds, capacity, torch.device("cpu"))
            replay.load(saved)
        assert int(replay.size) == min(added, capacity)
        for seed, queue in enumerate(queues):
            rows = slice(int(replay.first[seed]), int(replay.first[seed] + replay.size))
            stored = [field[rows].numpy() for field in replay.stored]
            order = stored[Transitions._fields.index("reward")].argsort()
            for k, expected in zip(order, queue, strict=True):
                for field, value in zip(stored, expected, strict=True):
                    np.testing.assert_array_equal(field[k], value)


def test_batches_are_drawn_from_each_seeds_own_rows() -> None:
    replay = Replay(TEAM, 3, 8, torch.device("cpu"))
    replay.add(*fresh(3, 6, 0))
    batch = replay.stored.batch(replay.first.unsqueeze(-1) + torch.tensor([[0, 5, 5]]))
    assert batch.reward.tolist() == [[1000.0 * seed + k for k in (0, 5, 5)] for seed in range(3)]
    kinds = {"mask": torch.uint8, "next_mask": torch.uint8, "action": torch.int64}
    for name, field in batch._asdict().items():
        assert field.dtype == kinds.get(name, torch.float32), name
        assert field.shape[:2] == (3, 3)


def test_a_short_run_makes_no_replay_for_a_long_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    create = Replay.__init__

    def seen(replay: Replay, team: Team, n_seeds: int, capacity: int, device: torch.device) -> None:
        made.append(capacity)
        create(replay, team, n_seeds, capacity, device)

    monkeypatch.setattr(Replay, "__init__", seen)
    learner = {"replay_capacity": 10**9, "learning_starts": 16}
    run = trained(tmp_path / "long", learner)
    resumed = trained(tmp_path / "short", learner, {"updates": 10, "checkpoint_every": 10})
    assert made[0] == int(load_file(next(run.glob("replay-*")))["added"])
    assert made[1] < made[0] < 100
    trained(resumed, learner, resume=True)
    assert_same_outcome(run, resumed)
