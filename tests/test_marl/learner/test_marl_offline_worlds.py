"""Offline learners find the best joint action that small data hold, where cloning does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from worlds import World, make_learner, outputs, team_choice

from marl import Learner, Policy
from marl.config import Algorithm, Mixing, Paradigm
from marl.data.transitions import Transitions

COMMON, BEST, POOR = (0, 0), (1, 1), (2, 2)
"""Joint actions of state 0: what the data mostly hold, what is best, and what is bad."""
COUNTS: dict[tuple[int, tuple[int, ...]], int] = {
    (0, COMMON): 12,
    (0, BEST): 6,
    (0, POOR): 6,
    (1, COMMON): 4,
    (1, POOR): 8,
}
METHODS: list[tuple[Algorithm, dict[str, Any]]] = [
    ("iql", {"expectile": 0.9}),
    ("omiga", {}),
    ("dqn", {"cql_alpha": 0.1}),
]


def after(
    paradigm: Paradigm, algorithm: Algorithm, world: World, rows: Transitions, **changes: Any
) -> Learner:
    """A learner after 400 updates on all rows at once."""
    fixed = {
        "hidden_sizes": (16,),
        "batch_size": rows.reward.shape[1],
        "critic_learning_rate": 0.01,
        "actor_learning_rate": 0.01,
        "target_rate": 0.05,
        "reward_scale": 1.0,
        "discount": 0.8,
    }
    learner = make_learner(paradigm, algorithm, world.team, **{**fixed, **changes})
    for _ in range(400):
        learner.update(rows)
    learner.check()
    return learner


def chosen(learner: Learner, world: World) -> list[tuple[int, ...]]:
    """The joint action of the trained policy in each state."""
    actions = Policy.of_learner(learner, 0).actions(world.features, world.legal)
    return [tuple(action) for action in actions.tolist()]


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_cloning_takes_what_is_common(paradigm: Paradigm) -> None:
    world = team_choice()
    learner = after(paradigm, "bc", world, world.recorded(COUNTS))
    assert chosen(learner, world) == [COMMON, POOR]


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
@pytest.mark.parametrize(("algorithm", "changes"), METHODS)
def test_offline_learners_take_what_is_best_among_what_the_data_hold(
    paradigm: Paradigm, algorithm: Algorithm, changes: dict[str, Any]
) -> None:
    world = team_choice()
    learner = after(paradigm, algorithm, world, world.recorded(COUNTS), **changes)
    assert chosen(learner, world) == [BEST, COMMON]


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_implicit_values_are_expectiles_of_the_data_s_returns(paradigm: Paradigm) -> None:
    world = team_choice()
    rows = world.recorded(COUNTS)
    expected = {}
    for expectile in (0.5, 0.9):
        # In state 1 the value v of returns 3 (4 times) and -1 (8 times) solves
        # expectile 4 (3 - v) = (1 - expectile) 8 (v + 1).
        up, down = expectile * 4, (1 - expectile) * 8
        expected[expectile] = (3 * up - down) / (up + down)
        learner = after(paradigm, "iql", world, rows, expectile=expectile)
        values = outputs(learner, rows.observation)[2, 0, :, -1].mean(-1)
        value = values.sum() if paradigm == "ctde" else values[0]
        assert float(value) == pytest.approx(expected[expectile], abs=0.1)
    assert expected[0.9] > expected[0.5] + 1


MIXED: list[tuple[Algorithm, dict[str, Any]]] = [
    ("omiga", {"mixing": "weighted"}),
    ("dqn", {"cql_alpha": 0.1, "mixing": "weighted"}),
    ("dqn", {"cql_alpha": 0.1, "mixing": "monotone"}),
    ("dqn", {"cql_alpha": 0.3, "mixing": "monotone", "cql_reduction": "weighted"}),
]


@pytest.mark.parametrize(("algorithm", "changes"), MIXED)
def test_learners_of_mixed_values_do_so_too(algorithm: Algorithm, changes: dict[str, Any]) -> None:
    world = team_choice()
    learner = after("ctde", algorithm, world, world.recorded(COUNTS), **changes)
    assert chosen(learner, world) == [BEST, COMMON]


def test_only_a_monotone_mixture_represents_a_payoff_that_needs_both() -> None:
    """Two agents earn 1 if both choose action 1; no sum of two numbers says that."""
    world = World(
        reward=np.array([[0.0, 0, 0, 1]]),
        successors=np.zeros((1, 4, 2), np.int64),
        terminates=np.ones((1, 4), bool),
        legal=np.ones((1, 2, 2), bool),
        features=np.ones((1, 2, 1)),
    )
    error = {}
    mixtures: list[Mixing] = ["sum", "weighted", "monotone"]
    for mixing in mixtures:
        rows = world.transitions()
        learner = after("ctde", "dqn", world, rows, cql_alpha=0.0, mixing=mixing)
        learner.sums.zero_()
        learner.update(rows)
        error[mixing] = float(learner.sums[learner.parts.index("td_error"), 0])
    assert error["monotone"] < 0.03
    # The best additive fit of 0, 0, 0, 1 is off by 1/4 everywhere.
    assert error["sum"] == pytest.approx(0.25, abs=0.03)
    assert error["weighted"] == pytest.approx(0.25, abs=0.03)
