"""Advantages and the losses of PPO equal their formulas, in value and in gradient."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from naive_on_policy import naive_advantages, naive_clipped
from torch import Tensor

from marl.learner import policy_gradient


@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 4),
    seed=st.integers(0, 2**32),
    discount=st.sampled_from([0.5, 0.9, 1.0]),
    decay=st.sampled_from([0.0, 0.7, 1.0]),
)
def test_advantages_equal_their_definition(
    sizes: tuple[int, ...], seed: int, discount: float, decay: float
) -> None:
    n_seeds, n_heads, n_steps, n_envs = sizes
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    reward = drawn(n_seeds, n_steps, n_envs)
    value, next_value = (drawn(n_seeds, n_heads, n_steps, n_envs) for _ in range(2))
    terminated = (drawn(n_seeds, n_steps, n_envs) > 0.8).double()
    ended = ((drawn(n_seeds, n_steps, n_envs) > 0.8) | (terminated > 0)).double()
    found = policy_gradient.generalised_advantage(
        reward, value, next_value, terminated, ended, discount, decay
    )
    for s in range(n_seeds):
        for e in range(n_envs):
            for k in range(n_heads):
                expected = naive_advantages(
                    reward[s, :, e].tolist(),
                    value[s, k, :, e].tolist(),
                    next_value[s, k, :, e].tolist(),
                    terminated[s, :, e].tolist(),
                    ended[s, :, e].tolist(),
                    discount,
                    decay,
                )
                assert found[s, k, :, e].tolist() == pytest.approx(expected, abs=1e-12)


def test_a_cut_episode_counts_its_last_observation_and_a_terminated_one_does_not() -> None:
    reward, value = torch.tensor([[[1.0], [1.0]]]), torch.zeros(1, 1, 2, 1)
    following, ended = torch.full((1, 1, 2, 1), 10.0), torch.tensor([[[1.0], [0.0]]])
    for terminated, expected in ((0.0, [6.0, 6.0]), (1.0, [1.0, 6.0])):
        over = torch.tensor([[[terminated], [0.0]]])
        found = policy_gradient.generalised_advantage(
            reward, value, following, over, ended, 0.5, 1.0
        )
        assert found.flatten().tolist() == expected


@given(
    log_ratio=st.floats(-2, 2), advantage=st.floats(-3, 3), clip_range=st.sampled_from([0.1, 0.3])
)
def test_the_clipped_loss_equals_its_formula(
    log_ratio: float, advantage: float, clip_range: float
) -> None:
    given_ratio = torch.tensor([[[log_ratio]]], dtype=torch.float64, requires_grad=True)
    worth = torch.tensor([[[advantage]]], dtype=torch.float64)
    loss = policy_gradient.clipped_loss(given_ratio, worth, clip_range)
    assert loss.item() == pytest.approx(naive_clipped(log_ratio, advantage, clip_range), abs=1e-12)
    near = min(abs(math.exp(log_ratio) - 1 - sign * clip_range) for sign in (-1, 1))
    if near > 1e-3:
        (slope,) = torch.autograd.grad(loss.sum(), given_ratio)
        h = 1e-6
        differences = (
            naive_clipped(log_ratio + h, advantage, clip_range)
            - naive_clipped(log_ratio - h, advantage, clip_range)
        ) / (2 * h)
        assert slope.item() == pytest.approx(differences, abs=1e-6)


def test_one_advantage_serves_all_heads() -> None:
    log_ratio = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    advantage = torch.randn(2, 1, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        policy_gradient.clipped_loss(log_ratio, advantage, 0.2),
        policy_gradient.clipped_loss(log_ratio, advantage.expand(-1, 3, -1), 0.2),
    )


def test_divergence_is_none_without_change_and_positive_with_one() -> None:
    assert policy_gradient.divergence_from(torch.zeros(1, 2, 4)).tolist() == [[0.0, 0.0]]
    assert (policy_gradient.divergence_from(torch.tensor([[[0.3, -0.3]]])) > 0).all()


def test_standardised_advantages_have_mean_zero_and_deviation_one_for_each_seed() -> None:
    advantage = 5 + 3 * torch.randn(2, 3, 400, generator=torch.Generator().manual_seed(0))
    advantage[1] *= 100
    found = policy_gradient.standardised(advantage)
    torch.testing.assert_close(found.mean((1, 2)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std((1, 2), correction=0), torch.ones(2), atol=1e-5, rtol=0)
    assert policy_gradient.standardised(torch.full((1, 1, 3), 7.0)).tolist() == [[[0.0] * 3]]
