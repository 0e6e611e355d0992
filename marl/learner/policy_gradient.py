"""The losses of proximal policy optimisation, and the advantages that they weigh actions by.

J. Schulman et al., "High-dimensional continuous control using generalized advantage estimation",
arXiv 1506.02438 (GAE), and "Proximal policy optimization algorithms", arXiv 1707.06347 (PPO).

Shapes: S seeds, K heads, T steps, E environments, B batch.
"""

from __future__ import annotations

import torch
from torch import Tensor


def generalised_advantage(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    ended: Tensor,
    discount: float,
    decay: float,
) -> Tensor:
    """The advantages A_t = sum_n (discount * decay)^n d_(t+n), (S, K, T, E) (GAE, Eqs. 11 to 16).

    d_t = R_t + discount * V(s'_t) - V(s_t), without V(s'_t) where the episode terminated. The sum
    runs to the end of the episode or of the T steps. An episode that was cut counts as one that
    goes on: the value of its true last observation stands in d_t.

    Args:
        reward: (S, T, E), shared by the heads.
        value: (S, K, T, E), V(s_t).
        next_value: (S, K, T, E), V(s'_t), where s'_t is the next state of the same episode.
        terminated: (S, T, E), 1 where nothing follows.
        ended: (S, T, E), 1 where the next step belongs to another episode.
        discount: discount factor.
        decay: GAE's lambda, from 0 (one step) to 1 (all steps).
    """
    follows = discount * (1 - terminated).unsqueeze(1) * next_value
    errors = reward.unsqueeze(1) + follows - value
    goes_on = discount * decay * (1 - ended).unsqueeze(1)
    advantage = torch.zeros_like(errors)
    later = torch.zeros_like(errors[..., 0, :])
    for t in reversed(range(errors.shape[-2])):
        later = errors[..., t, :] + goes_on[..., t, :] * later
        advantage[..., t, :] = later
    return advantage


def clipped_loss(log_ratio: Tensor, advantage: Tensor, clip_range: float) -> Tensor:
    """PPO's loss -mean_b min(ratio A, clip(ratio) A), from (S, K, B) to (S, K) (PPO, Eq. 7).

    The ratio is the probability of an action now over that when it was taken; clip keeps it within
    1 +- ``clip_range``.

    Args:
        log_ratio: (S, K, B), logarithm of the ratio.
        advantage: (S, K, B), or (S, 1, B) for all heads.
        clip_range: largest change of the ratio that is rewarded.
    """
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    return -torch.minimum(ratio * advantage, clipped * advantage).mean(-1)


def divergence_from(log_ratio: Tensor) -> Tensor:
    """An estimate of the divergence KL(before, now) of a policy from what it was, (S, K).

    It is mean_b[ratio - 1 - log ratio] over actions that the policy before drew, (S, K, B).
    """
    return (log_ratio.exp() - 1 - log_ratio).mean(-1)


def standardised(advantage: Tensor) -> Tensor:
    """Advantages (S, ...) shifted and scaled to mean 0 and standard deviation 1 for each seed."""
    dims = tuple(range(1, advantage.ndim))
    spread, mean = torch.std_mean(advantage, dim=dims, keepdim=True, correction=0)
    return (advantage - mean) / (spread + 1e-8)
