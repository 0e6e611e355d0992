"""The equations the learners minimise, as pure functions of tensors.

Shapes: C critics, S seeds, K heads (1 after mixing), B batch, M actions. Values of illegal actions have had `ILLEGAL` added
before a maximum, a softmax or a logsumexp. Means are over the batch alone, so gradients of stacked seeds do not touch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from marl.learner.heads import preference


def take(values: Tensor, actions: Tensor) -> Tensor:
    """Values (..., B, M) of actions (..., B): (..., B)."""
    return values.gather(-1, actions.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def mix(values: Tensor, *, mixes: bool) -> Tensor:
    """(..., K, B) values summed over heads to (..., 1, B) where the paradigm mixes them (Eqs. 23, 24)."""
    return values.sum(-2, keepdim=True) if mixes else values


def _judged(values: Tensor, *, mixes: bool) -> Tensor:
    """Values (C, S, K, B) to the smallest critic's (S, K, B), or of the smallest sum over heads (S, 1, B)."""
    return mix(values, mixes=mixes).amin(0)


def max_value(target_q: Tensor, *, mixes: bool = False) -> Tensor:
    """The target critics' value, the smallest, of the action they themselves prefer; target_q (C, S, K, B, M) to (S, K or 1, B)."""
    return double_q_value(target_q, target_q, mixes=mixes)


def double_q_value(online_q: Tensor, target_q: Tensor, *, mixes: bool = False) -> Tensor:
    """The target critics' value, the smallest, of the action that the online critics prefer (van Hasselt et al., 2016)."""
    return _judged(take(target_q, preference(online_q, mixes=mixes).argmax(-1)), mixes=mixes)


def soft_value(
    target_q: Tensor,
    log_policy: Tensor,
    temperature: Tensor,
    *,
    soft_backup: bool,
    mixes: bool = False,
) -> Tensor:
    """E_a[min_c Q_c(s, a)], the next state's value in the targets (Eqs. 17, 19, 21 and 24), (S, K, B).

    With `soft_backup` E_a[min_c Q_c(s, a) - temperature * log policy(a | s)]: the paper's targets have no entropy.
    Where heads are mixed, the smallest critic's sum over heads of either, (S, 1, B).
    """
    q = target_q if mixes else target_q.amin(0, keepdim=True)
    values = (log_policy.exp() * q).sum(-1)
    if soft_backup:
        values = values + temperature.unsqueeze(-1) * entropy(log_policy)
    return _judged(values, mixes=mixes)


def td_target(reward: Tensor, next_value: Tensor, terminated: Tensor, discount: float) -> Tensor:
    """R + discount * V(s'), without V where the episode terminated; reward and terminated (S, B), next_value (S, K, B)."""
    return reward.unsqueeze(-2) + discount * (1 - terminated).unsqueeze(-2) * next_value


def td_loss(errors: Tensor, kind: Literal["half_squared", "huber"]) -> Tensor:
    """Mean over the batch of d^2 / 2, or of Huber's loss with its corner at 1, of errors (C, S, K, B): (C, S, K)."""
    if kind == "huber":
        return torch.nn.functional.huber_loss(
            errors, torch.zeros_like(errors), reduction="none"
        ).mean(-1)
    return 0.5 * errors.square().mean(-1)


def conservative_penalty(q: Tensor, actions: Tensor) -> Tensor:
    """mean_b[logsumexp_a Q(s, a) - Q(s, a_data)] (Eqs. 26-28) of q (C, S, K, B, M): (C, S, K).

    Written as the negative log-probability of the data's action under softmax(Q), which is the same number.
    """
    return -take(q.log_softmax(-1), actions).mean(-1)


def actor_loss(log_policy: Tensor, q: Tensor, temperature: Tensor) -> Tensor:
    """mean_b E_a[temperature * log policy(a | s) - Q(s, a)] (Eqs. 18, 20 and 22), (S, K).

    q (S, K, B, M) and temperature (S, K) are constants here.
    """
    return (log_policy.exp() * (temperature[..., None, None] * log_policy - q)).sum(-1).mean(-1)


def entropy(log_policy: Tensor) -> Tensor:
    """-E_a[log policy(a | s)], (S, K, B)."""
    return -(log_policy.exp() * log_policy).sum(-1)


def temperature_loss(log_temperature: Tensor, entropies: Tensor, target_entropy: Tensor) -> Tensor:
    """Temperature * mean_b[entropy - target entropy], (S, K): minimising it raises the temperature of policies that are too sure."""
    return log_temperature.exp() * (entropies - target_entropy).mean(-1)


def cloning_loss(log_policy: Tensor, actions: Tensor) -> Tensor:
    """-mean_b log policy(a_data | s), (S, K)."""
    return -take(log_policy, actions).mean(-1)
