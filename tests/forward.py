"""Outputs of the networks of an on-policy learner, computed layer by layer."""

from __future__ import annotations

import torch

from marl.learner.networks import Layers
from marl.learner.on_policy import OnPolicyLearner


def through(layers: Layers, values: torch.Tensor) -> torch.Tensor:
    """Outputs (S, K, B, outputs) of networks for inputs (S, K, B, features), layer by layer."""
    for depth, (weights, biases) in enumerate(layers):
        values = (values.clamp_min(0) if depth else values) @ weights[0] + biases[0]
    return values


def values_of(learner: OnPolicyLearner, observation: torch.Tensor) -> torch.Tensor:
    """Values (S, V, B) of observations (S, B, I, D)."""
    values = through(learner.critics, learner.critic_inputs(observation))[..., 0]
    deviation, mean = learner.value_deviation, learner.value_mean
    return values * deviation.view(-1, 1, 1) + mean.view(-1, 1, 1)


def logits_of(learner: OnPolicyLearner, observation: torch.Tensor) -> torch.Tensor:
    """Logits (S, K, B, M) of observations (S, B, I, D)."""
    return through(learner.layers, learner.head_inputs(observation))
