"""Losses of offline methods and mixtures: formulas, slopes, and where methods coincide."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from worlds import make_learner, random_batch, scatter_parameters

from marl import Learner, Team
from marl.learner import losses
from marl.learner.heads import ILLEGAL
from marl.learner.mixing import Mix, Monotone, Total, Weighted

TEAM = Team(3, 4, 3)
EVERY = torch.zeros(())
"""A bias under which every action is legal."""
numbers = st.lists(st.floats(-3, 3), min_size=1, max_size=5)


def row(values: Any) -> Tensor:
    """Numbers as float64 (1, 1, B)."""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, -1)


def normal(seed: int, *shape: int) -> Tensor:
    """Normal float64 numbers that gradients can be asked for."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


# --- Formulas ---


@given(numbers, st.sampled_from([0.5, 0.7, 0.99]))
def test_the_expectile_loss_weighs_negative_errors_less(errors: list[float], kappa: float) -> None:
    expected = [(1 - kappa if d < 0 else kappa) * d * d for d in errors]
    loss = losses.expectile_loss(row(errors), kappa)
    assert loss.shape == (1, 1)
    assert float(loss) == pytest.approx(sum(expected) / len(errors))


@given(numbers, st.floats(0.1, 3), st.floats(0.1, 2), st.sampled_from([2.0, 50.0]))
def test_the_local_value_loss_is_an_exponential_that_becomes_its_tangent(
    gaps: list[float], eta: float, weight: float, bound: float
) -> None:
    values = [0.3 * k for k in range(len(gaps))]
    expected = []
    for gap, value in zip(gaps, values, strict=True):
        x, top = eta * gap, math.log(bound)
        grown = math.exp(x) if x <= top else bound + bound * (x - top)
        expected.append(grown + eta * weight * value)
    loss = losses.local_value_loss(row(values), row(gaps), row([weight]), eta, bound)
    assert float(loss) == pytest.approx(sum(expected) / len(gaps))


@given(numbers)
def test_weighted_cloning_multiplies_each_transition(weights: list[float]) -> None:
    n = len(weights)
    log_policy = normal(0, 1, 2, n, 4).log_softmax(-1)
    actions = torch.arange(2 * n).view(1, 2, n) % 4
    loss = losses.weighted_cloning_loss(log_policy, actions, row(weights))
    for k in range(2):
        terms = [
            w * float(log_policy[0, k, b, actions[0, k, b]].detach()) for b, w in enumerate(weights)
        ]
        assert float(loss[0, k].detach()) == pytest.approx(-sum(terms) / n, abs=1e-9)


def test_agents_that_deviate_more_weigh_more_in_the_penalty() -> None:
    q = torch.tensor([[[0.0, 0, ILLEGAL]], [[3.0, 0, 0]], [[0, 0, 0]]]).double()[None, None]
    behaviour = torch.tensor([[[0.0, 0, ILLEGAL]], [[0, 0, 0]], [[0, 0, 0]]]).double()
    log_behaviour = behaviour[None].log_softmax(-1)
    top = math.exp(3) / (math.exp(3) + 2)
    rest = 1 / (math.exp(3) + 2)
    divergence = top * math.log(3 * top) + 2 * rest * math.log(3 * rest)
    powers = [1.0, math.exp(2 * divergence), 1.0]
    weights = losses.deviation_weights(q, log_behaviour, 2.0).flatten().tolist()
    assert weights == pytest.approx([power / sum(powers) for power in powers])
    even = losses.deviation_weights(q, log_behaviour, 0.0).flatten().tolist()
    assert even == pytest.approx([1 / 3] * 3)


# --- Slopes ---


@given(st.integers(0, 2**32))
def test_slopes_are_those_of_finite_differences(seed: int) -> None:
    def expectile(errors: Tensor) -> Tensor:
        return losses.expectile_loss(errors, 0.8)

    def local(value: Tensor) -> Tensor:
        return losses.local_value_loss(value, 0.7 * (1.3 - value), 0.7, 2.0, 3.0)

    values = normal(seed, 1, 1, 4)
    assert torch.autograd.gradcheck(expectile, (values,))
    assert torch.autograd.gradcheck(local, (values,))


def mixture(kind: str, parameters: Tensor) -> Mix:
    """A mixture of two heads, with two hidden units."""
    return Weighted(parameters) if kind == "weighted" else Monotone(parameters, 2, 2)


@pytest.mark.parametrize(("kind", "n_parameters"), [("weighted", 3), ("monotone", 9)])
@given(seed=st.integers(0, 2**32))
def test_mixtures_rise_in_every_value_and_have_right_slopes(
    kind: str, n_parameters: int, seed: int
) -> None:
    parameters, q = normal(seed, 1, 1, 1, 3, n_parameters), normal(seed + 1, 1, 1, 2, 3, 2)

    def mixed(parameters: Tensor, q: Tensor) -> Tensor:
        return mixture(kind, parameters)(q[..., 0])

    def others(parameters: Tensor, q: Tensor) -> Tensor:
        return mixture(kind, parameters).counterfactual(q, q[..., 0], EVERY)

    assert torch.autograd.gradcheck(mixed, (parameters, q))
    assert torch.autograd.gradcheck(others, (parameters, q))
    (slopes,) = torch.autograd.grad(mixed(parameters, q).sum(), q)
    assert (slopes >= 0).all()
    assert mixed(parameters, q).shape == (1, 1, 1, 3)


@pytest.mark.parametrize(("kind", "n_parameters"), [("weighted", 3), ("monotone", 9)])
def test_counterfactual_values_replace_the_value_of_one_head(kind: str, n_parameters: int) -> None:
    mix, q = mixture(kind, normal(0, 1, 1, 1, 3, n_parameters)), normal(1, 1, 1, 2, 3, 4)
    taken = q[..., 1]
    found = mix.counterfactual(q, taken, EVERY)
    for k in range(2):
        for a in range(4):
            replaced = taken.clone()
            replaced[:, :, k] = q[:, :, k, :, a]
            change = (mix(replaced) - mix(taken))[:, :, 0]
            torch.testing.assert_close(found[:, :, k, :, a] - found[:, :, k, :, 1], change)


def test_the_sum_over_heads_leaves_the_penalty_as_it_is() -> None:
    q, actions = normal(0, 1, 1, 2, 3, 4), torch.tensor([[[0, 1, 2], [3, 0, 1]]])
    taken = losses.take(q, actions)
    for k in range(2):
        joint = torch.stack(
            [Total()(taken - 0)[:, :, 0] - taken[:, :, k] + q[:, :, k, :, a] for a in range(4)], -1
        )
        penalty = losses.conservative_penalty(joint.unsqueeze(2), actions[:, k : k + 1])
        own = losses.conservative_penalty(Total().counterfactual(q, taken, EVERY), actions)[:, :, k]
        torch.testing.assert_close(penalty.flatten(), own.flatten())


# --- Where methods coincide ---


def after(changes: dict[str, Any], paradigm: Any = "ctde", algorithm: Any = "dqn") -> Learner:
    """A learner with scattered parameters after one update."""
    learner = make_learner(paradigm, algorithm, TEAM, (0, 1), **changes)
    scatter_parameters(learner)
    learner.update(random_batch(TEAM, 2, 16))
    return learner


@pytest.mark.parametrize("mixing", ["sum", "weighted", "monotone"])
def test_without_deviations_the_weighted_penalty_is_the_mean(mixing: str) -> None:
    both = [
        after({"mixing": mixing, "cql_reduction": kind, "deviation_weight": 0.0})
        for kind in ("weighted", "mean")
    ]
    # The weighted one has a network more, which clones the data, so that numbers must be shared.
    weighted, mean = both
    for one, other in zip(weighted.layers, mean.layers, strict=True):
        for tensor, same in zip(one, other, strict=True):
            tensor[:2], tensor[3:] = same[:2], same[2:]
    if weighted.mixing and mean.mixing:
        for one, other in zip(weighted.mixing.layers, mean.mixing.layers, strict=True):
            for tensor, same in zip(one, other, strict=True):
                tensor.copy_(same)
    batch = random_batch(TEAM, 2, 16, 5)
    for learner in both:
        learner.sums.zero_()
        learner.update(batch)
    torch.testing.assert_close(weighted.sums, mean.sums)
    for one, other in zip(weighted._trained.gradients, mean._trained.gradients, strict=True):
        for tensor, same in zip(one, other, strict=True):
            torch.testing.assert_close(tensor[:2], same, rtol=1e-4, atol=1e-6)


def test_without_weights_implicit_learners_clone() -> None:
    cloned = after({}, "i", "bc")
    for algorithm in ("iql", "omiga"):
        learner = make_learner("i", algorithm, TEAM, (0, 1), advantage_weight=0.0)
        scatter_parameters(learner)
        actor = learner.roles.trained - 1
        fresh = make_learner("i", "bc", TEAM, (0, 1))
        scatter_parameters(fresh)
        for one, other in zip(learner.layers, fresh.layers, strict=True):
            for tensor, same in zip(one, other, strict=True):
                tensor[actor] = same[0]
        learner.update(random_batch(TEAM, 2, 16))
        parts = dict(zip(learner.parts, learner.sums, strict=True))
        expected = dict(zip(cloned.parts, cloned.sums, strict=True))
        torch.testing.assert_close(parts["actor_loss"], expected["cloning_loss"])
        assert parts["weight"].tolist() == [1, 1]


# --- Normalised rewards ---


def test_normalised_rewards_have_mean_0_and_standard_deviation_1() -> None:
    batch = random_batch(TEAM, 2, 16)
    reward = 7 + 3 * batch.reward
    normal_reward = (reward - reward.mean(1, keepdim=True)) / reward.std(
        1, keepdim=True, correction=0
    )
    one = make_learner("i", "dqn", TEAM, (0, 1), normalise_rewards=True)
    one.fit_normaliser(batch.observation, reward)
    one.update(batch._replace(reward=reward))
    other = make_learner("i", "dqn", TEAM, (0, 1))
    other.update(batch._replace(reward=normal_reward))
    torch.testing.assert_close(one.sums, other.sums)
    assert "reward_shift" in one.tensors()
    assert "reward_shift" not in other.tensors()
    unmoved = make_learner("i", "dqn", TEAM, (0, 1))
    unmoved.fit_normaliser(batch.observation, reward)
    unmoved.update(batch._replace(reward=normal_reward))
    assert torch.equal(unmoved.sums, other.sums)


def test_equal_rewards_become_0() -> None:
    learner = make_learner("i", "dqn", TEAM, normalise_rewards=True)
    batch = random_batch(TEAM, 1, 16)
    same = torch.full_like(batch.reward, 5.0)
    learner.fit_normaliser(batch.observation, same)
    assert not learner._scaled(same).any()
