"""Learners converge to the exact solutions of small problems, and treat their ends correctly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from worlds import (
    DISCOUNT,
    Backup,
    World,
    additive_world,
    hard,
    head_tables,
    joint_table,
    make_learner,
    outputs,
    random_world,
    soft,
)

from marl import Dataset, Learner, Policy
from marl.config import Algorithm, Paradigm
from marl.data.transitions import Transitions

TEMPERATURE = 0.5
LEFT_OUT = 2
"""An action of the first agent that some data leave out."""
FORMS: list[tuple[Algorithm, dict[str, Any], Backup]] = [
    ("dqn", {}, hard),
    ("dqn", {"double_q": False, "n_critics": 2}, hard),
    ("sac", {}, soft(TEMPERATURE)),
    ("sac", {"soft_backup": False}, soft(TEMPERATURE, entropy=False)),
]
"""Algorithm, changes of its config, and how it values a state."""


def fitted(
    paradigm: Paradigm,
    algorithm: Algorithm,
    world: World,
    rows: Transitions,
    updates: int,
    **changes: Any,
) -> Learner:
    """A learner after so many updates on all rows at once."""
    fixed = {
        "cql_alpha": 0.0,
        "n_critics": 1,
        "automatic_temperature": False,
        "initial_temperature": TEMPERATURE,
        "reward_scale": 1.0,
    }
    fixed |= {"discount": DISCOUNT, "target_rate": 0.1, "batch_size": rows.reward.shape[1]}
    learner = make_learner(paradigm, algorithm, world.team, **{**fixed, **changes})
    for _ in range(updates):
        learner.update(rows)
    learner.check()
    return learner


def tabular(paradigm: Paradigm, algorithm: Algorithm, world: World, **changes: Any) -> Learner:
    """A tabular learner after convergence.

    Its last steps are small: even at the optimum, a step of Adam is as long as its learning rate.
    """
    rates = {"hidden_sizes": (), "critic_learning_rate": 0.06, "actor_learning_rate": 0.06}
    learner = fitted(
        paradigm, algorithm, world, rows := world.transitions(), 600, **{**rates, **changes}
    )
    for group in learner._optimiser.groups:
        group.rate /= 100
    for _ in range(100):
        learner.update(rows)
    return learner


def best(q: np.ndarray) -> np.ndarray:
    """Whether an action is as good as any, (X, M)."""
    return np.asarray(q >= q.max(-1, keepdims=True) - 1e-3)


def assert_acts_best(learner: Learner, world: World, q: np.ndarray) -> None:
    """Greedy actions are best under the exact joint Q (X, A^I)."""
    chosen = Policy.of_learner(learner, 0).actions(world.features, world.legal)
    index = [world.joint.index(tuple(action)) for action in chosen.tolist()]
    assert best(q)[np.arange(len(q)), index].all()


# --- Exact values ---


@pytest.mark.parametrize(("algorithm", "form", "backup"), FORMS)
def test_centralised_learners_find_the_best_joint_values(
    algorithm: Algorithm, form: dict[str, Any], backup: Backup
) -> None:
    world = random_world(0)
    learner, q = tabular("c", algorithm, world, **form), world.central().solve(backup)
    legal = world.legal_joint()
    np.testing.assert_allclose(joint_table(learner, world)[legal], q[legal], rtol=0, atol=5e-3)
    assert_acts_best(learner, world, q)


@pytest.mark.parametrize(("algorithm", "form", "backup"), FORMS)
def test_sums_of_ctde_heads_find_the_best_joint_values_of_additive_worlds(
    algorithm: Algorithm, form: dict[str, Any], backup: Backup
) -> None:
    world = additive_world(0)
    learner, q = tabular("ctde", algorithm, world, **form), world.central().solve(backup)
    legal = world.legal_joint()
    np.testing.assert_allclose(joint_table(learner, world)[legal], q[legal], rtol=0, atol=5e-3)
    assert_acts_best(learner, world, q)


@pytest.mark.parametrize(("algorithm", "form", "backup"), FORMS)
def test_independent_learners_find_the_values_beside_a_random_partner(
    algorithm: Algorithm, form: dict[str, Any], backup: Backup
) -> None:
    world = random_world(0)
    learner = tabular("i", algorithm, world, **form)
    for agent in range(2):
        q, legal = world.seen_by(agent).solve(backup), world.legal[:, agent]
        np.testing.assert_allclose(
            head_tables(learner, world)[0, agent].numpy()[legal], q[legal], rtol=0, atol=5e-3
        )


@pytest.mark.parametrize(("algorithm", "form", "backup"), FORMS)
def test_how_critics_share_a_sum_among_ctde_heads_does_not_matter(
    algorithm: Algorithm, form: dict[str, Any], backup: Backup
) -> None:
    """Training fixes the sum over heads alone, so that critics of equal sums are equally right."""
    world, errors = additive_world(0), []
    for moved in (0, 3):
        learner = fitted(
            "ctde",
            algorithm,
            world,
            world.transitions(),
            0,
            **{**form, "hidden_sizes": (), "n_critics": 2},
        )
        for tensor in learner.layers[0]:
            tensor[[1, -2, -1]] = tensor[0].clone()
        shares = learner.layers[0][1]
        shares[[1, -1], :, 0] += moved
        shares[[1, -1], :, 1] -= moved
        learner.update(world.transitions())
        errors.append(float(learner.sums[learner.parts.index("td_error"), 0]))
    assert errors[1] == pytest.approx(errors[0], rel=1e-5)


def test_the_actor_is_the_softmax_of_the_values() -> None:
    world = random_world(0)
    learner, q = tabular("c", "sac", world), world.central().solve(soft(TEMPERATURE))
    logits = np.where(world.legal_joint(), head_tables(learner, world)[1, 0].numpy(), -np.inf)
    policy, expected = (
        np.exp(values - values.max(-1, keepdims=True)) for values in (logits, q / TEMPERATURE)
    )
    np.testing.assert_allclose(
        policy / policy.sum(-1, keepdims=True),
        expected / expected.sum(-1, keepdims=True),
        rtol=0,
        atol=5e-3,
    )


def test_the_temperature_settles_where_the_entropy_meets_its_target() -> None:
    world, ratio = random_world(0), 0.6
    rates = {
        "temperature_learning_rate": 0.02,
        "automatic_temperature": True,
        "entropy_ratio": ratio,
    }
    learner = tabular("i", "sac", world, initial_temperature=2.0, **rates)
    temperature = learner.log_temperature.detach().exp()[0]
    assert (temperature < 1.5).all()
    for agent in range(2):
        weights = np.where(
            world.legal[:, agent], np.exp(head_tables(learner, world)[1, agent].numpy()), 0
        )
        policy = weights / weights.sum(-1, keepdims=True)
        rows = world.transitions()
        share = np.array(
            [
                (rows.observation[0, :, agent].argmax(-1) == x).float().mean()
                for x in range(len(policy))
            ]
        )
        entropy = -(policy * np.log(np.where(policy > 0, policy, 1))).sum(-1)
        assert share @ entropy == pytest.approx(
            share @ (ratio * np.log(world.legal[:, agent].sum(-1))), abs=0.02
        )


# --- Ends of episodes ---


def test_values_go_on_through_truncation_and_stop_at_termination() -> None:
    def column(*values: int, kind: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=kind)

    n, every = 3, torch.ones(3, 1, 2, dtype=torch.uint8)
    seen, following = torch.eye(2)[[0, 0, 0]].unsqueeze(1), torch.eye(2)[[1, 1, 1]].unsqueeze(1)
    action, behaviour = torch.zeros(n, 1, dtype=torch.int32), torch.zeros(n, dtype=torch.int32)
    ends = column(0, 0, 1, kind=torch.uint8), column(0, 1, 0, kind=torch.uint8)
    dataset = Dataset(seen, every, action, torch.ones(n), following, every, *ends, behaviour)
    errors = []
    for row in range(n):
        learner = make_learner(
            "c",
            "dqn",
            dataset.team,
            hidden_sizes=(),
            batch_size=1,
            n_critics=1,
            reward_scale=1.0,
            discount=0.9,
        )
        weights, biases = learner.layers[0]
        biases.zero_()
        weights.copy_(torch.tensor([[3.0, 0], [0, 10]]))
        learner.update(dataset.transitions().batch(torch.tensor([[row]])))
        errors.append(float(learner.sums[learner.parts.index("td_error"), 0]))
    assert errors == pytest.approx(
        [abs(3 - (1 + 0.9 * 10)), abs(3 - (1 + 0.9 * 10)), abs(3 - 1)], rel=1e-6
    )


# --- Actions that the data leave out ---


@pytest.mark.parametrize("algorithm", ["dqn", "sac"])
@pytest.mark.parametrize("paradigm", ["c", "ctde"])
def test_only_the_penalty_keeps_values_of_unseen_actions_below_those_of_seen_ones(
    paradigm: Paradigm, algorithm: Algorithm
) -> None:
    world = additive_world(0)
    rows = world.transitions(lambda action: action[0] != LEFT_OUT)
    truth = world.central().solve(hard if algorithm == "dqn" else soft(TEMPERATURE))
    unseen = np.array([action[0] == LEFT_OUT for action in world.joint])
    possible = world.legal_joint()[:, unseen].any(-1)
    gaps = {}
    for alpha in (0.0, 1.0):
        rates = {"hidden_sizes": (32,), "critic_learning_rate": 0.01, "actor_learning_rate": 0.01}
        learner = fitted(paradigm, algorithm, world, rows, 0, cql_alpha=alpha, **rates)
        raised = (
            slice(None),
            slice(None),
            0,
            slice(None),
            torch.from_numpy(unseen) if paradigm == "c" else LEFT_OUT,
        )
        learner.layers[-1][1][raised] += 4
        for _ in range(300):
            learner.update(rows)
        q = np.where(world.legal_joint(), joint_table(learner, world), np.nan)[possible]
        gaps[alpha] = (q - truth[possible])[:, unseen], np.nanmax(q[:, unseen], -1), q[:, ~unseen]
    errors, highest, seen = gaps[0.0]
    assert np.nanmin(errors) > 1
    assert (highest > np.nanmax(seen, -1)).any()
    errors, highest, seen = gaps[1.0]
    assert np.nanmax(errors) < -1
    assert (highest < np.nanmin(seen, -1) - 1).all()


def test_a_clone_follows_the_shares_of_the_data() -> None:
    world = random_world(0)
    rows = world.transitions(lambda action: action != (0, 1))
    learner = fitted("c", "bc", world, rows, 400, hidden_sizes=(), actor_learning_rate=0.1)
    policy = outputs(learner, rows.observation)[0] + learner.heads.bias(rows.mask)
    chosen, legal = learner.heads.chosen(rows.action), learner.heads.bias(rows.mask) == 0
    left_out = world.joint.index((0, 1))
    possible = policy.softmax(-1)[legal & (torch.arange(len(world.joint)) == left_out)]
    assert possible.max() < 0.01
    shares = 1 / (legal.sum(-1) - legal[..., left_out].long())
    torch.testing.assert_close(
        policy.softmax(-1).gather(-1, chosen.unsqueeze(-1)).squeeze(-1),
        shares.float(),
        rtol=0,
        atol=0.02,
    )
