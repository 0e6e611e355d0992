"""The losses of all schemes, as pure functions of tensors.

Shapes: C critics, S seeds, K heads (1 after mixing), B batch, M actions. `ILLEGAL` was added to the
values of illegal actions, before any maximum, softmax or logsumexp. Means are over the batch alone,
so that the gradients of different seeds stay independent.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from marl.learner.heads import preference, smallest
from marl.learner.mixing import Mix, apart


class Distribution(NamedTuple):
    """A distribution over actions, such as a policy."""

    probability: Tensor
    """(..., M), exactly 0 where an action is illegal."""
    log: Tensor
    """(..., M), its logarithm."""

    @classmethod
    def of(cls, logits: Tensor) -> Distribution:
        """The softmax of logits (..., M).

        The exponential of the logarithms would be the same, but takes several times as long where
        it underflows, as it does at illegal actions.
        """
        return cls(logits.softmax(-1), logits.log_softmax(-1))


def take(values: Tensor, actions: Tensor) -> Tensor:
    """The values (..., B) of actions, from the values of all actions (..., B, M).

    Actions are (..., B) and may lack leading dimensions, such as that of critics.
    """
    return values.gather(-1, actions.expand(values.shape[:-1]).unsqueeze(-1)).squeeze(-1)


def smallest_value(q: Tensor, actions: Tensor, mix: Mix = apart) -> Tensor:
    """The smallest critic's value of actions, (S, K, B), or (S, 1, B) where heads are mixed.

    q is (C, S, K, B, M), actions are (S, K, B).
    """
    return mix(take(q, actions)).amin(0)


def max_value(target_q: Tensor, mix: Mix = apart) -> Tensor:
    """The smallest target critic's value of the action that the target critics prefer.

    Maps target_q (C, S, K, B, M) to (S, K, B), or (S, 1, B) where heads are mixed.
    """
    return double_q_value(target_q, target_q, mix)


def double_q_value(online_q: Tensor, target_q: Tensor, mix: Mix = apart) -> Tensor:
    """The smallest target critic's value of the action that the online critics prefer.

    Maps both (C, S, K, B, M) to (S, K, B), or (S, 1, B) where heads are mixed (van Hasselt et al.,
    "Deep Reinforcement Learning with Double Q-learning", 2016).
    """
    best = preference(online_q, mixes=mix.mixes).argmax(-1)
    return smallest_value(target_q, best, mix)


def soft_value(
    target_q: Tensor,
    policy: Distribution,
    temperature: Tensor,
    *,
    soft_backup: bool,
    mix: Mix = apart,
) -> Tensor:
    """The next state's value in the targets of SAC, (S, K, B) (Eqs. 17, 19, 21 and 24).

    In the paper it is E_a[min_c Q_c(s, a)]; ``soft_backup`` adds temperature * entropy. Where heads
    are mixed, it is the smallest critic's sum of these expectations over heads, (S, 1, B).

    Args:
        target_q: (C, S, K, B, M).
        policy: (S, K, B, M).
        temperature: (S, K).
        soft_backup: whether the entropy of the policy counts.
        mix: how heads are mixed; the mixed value must be linear in those of the heads.
    """
    q = target_q if mix.mixes else smallest(target_q).unsqueeze(0)
    values = (policy.probability * q).sum(-1)
    if soft_backup:
        values = values + temperature.unsqueeze(-1) * entropy(policy)
    return mix(values).amin(0)


def td_target(reward: Tensor, next_value: Tensor, terminated: Tensor, discount: float) -> Tensor:
    """The target R + discount * V(s'), (S, K, B), and R alone where the episode terminated.

    Reward and terminated are (S, B), next_value is (S, K, B).
    """
    return reward.unsqueeze(-2) + discount * (1 - terminated).unsqueeze(-2) * next_value


def td_loss(errors: Tensor, kind: Literal["half_squared", "huber"]) -> Tensor:
    """Mean loss of temporal-difference errors, from (C, S, K, B) to (C, S, K).

    The loss of an error d is d^2 / 2, or the Huber loss, which becomes linear at |d| = 1.
    """
    if kind == "huber":
        zeros = torch.zeros_like(errors)
        return torch.nn.functional.huber_loss(errors, zeros, reduction="none").mean(-1)
    return 0.5 * errors.square().mean(-1)


def conservative_penalty(q: Tensor, actions: Tensor, weights: Tensor | None = None) -> Tensor:
    """The penalty of CQL, mean_b[logsumexp_a Q(s, a) - Q(s, a_data)] (Eqs. 26-28), (C, S, K).

    It is computed as the negative log-probability of the data's action under softmax(Q), which is
    the same number. q is (C, S, K, B, M), actions are (S, K, B), weights of the mean (C, S, K, B).
    """
    penalties = -take(q.log_softmax(-1), actions)
    return (penalties if weights is None else weights * penalties).mean(-1)


def deviation_weights(q: Tensor, log_behaviour: Tensor, deviation_weight: float) -> Tensor:
    """The weights of the agents in the penalty of CFCQL, (C, S, K, B), which add up to 1.

    They are softmax_k(deviation_weight D_k) with the divergence D_k = KL(softmax(Q) || behaviour)
    of agent k, as in the code of J. Shao et al., "Counterfactual conservative Q learning for
    offline multi-agent reinforcement learning", NeurIPS 2023. q is (C, S, K, B, M), log_behaviour
    (S, K, B, M).
    """
    greedy = Distribution.of(q)
    divergence = (greedy.probability * (greedy.log - log_behaviour)).sum(-1)
    return (deviation_weight * divergence).softmax(-2)


def actor_loss(policy: Distribution, q: Tensor, temperature: Tensor) -> Tensor:
    """The actor's loss, mean_b E_a[temperature * log policy(a | s) - Q(s, a)], (S, K).

    These are Eqs. 18, 20 and 22. policy and q are (S, K, B, M), temperature is (S, K). q and
    temperature are constants of this loss, which the caller detaches. So is log policy: its slope
    adds sum_a policy(a | s) grad log policy(a | s) = grad sum_a policy(a | s) = 0.
    """
    regret = temperature[..., None, None] * policy.log.detach() - q
    return (policy.probability * regret).sum(-1).mean(-1)


def entropy(policy: Distribution) -> Tensor:
    """The entropy of a policy (S, K, B, M), -E_a[log policy(a | s)], (S, K, B).

    Its slope leaves out that of the logarithm, as `actor_loss` does.
    """
    return -(policy.probability * policy.log.detach()).sum(-1)


def temperature_loss(log_temperature: Tensor, entropies: Tensor, target_entropy: Tensor) -> Tensor:
    """The temperature's loss, temperature * mean_b[entropy - target entropy], (S, K).

    Its minimisation raises the temperature while the entropy is below its target.
    log_temperature is (S, K), entropies and target_entropy are (S, K, B).
    """
    return log_temperature.exp() * (entropies - target_entropy).mean(-1)


def cloning_loss(log_policy: Tensor, actions: Tensor) -> Tensor:
    """The loss of behaviour cloning, -mean_b log policy(a_data | s), (S, K).

    log_policy is (S, K, B, M), actions are (S, K, B).
    """
    return -take(log_policy, actions).mean(-1)


def weighted_cloning_loss(log_policy: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    """The loss of weighted behaviour cloning, -mean_b weight log policy(a_data | s), (S, K).

    log_policy is (S, K, B, M), actions are (S, K, B), weights are (S, K, B), or (S, 1, B) where one
    weight counts for all heads.
    """
    return -(weights * take(log_policy, actions)).mean(-1)


def bounded_exp(exponent: Tensor, bound: float) -> Tensor:
    """exp(exponent) up to ``bound``, and beyond that its tangent, so that slopes are bounded."""
    top = math.log(bound)
    return exponent.clamp_max(top).exp() + bound * (exponent - top).clamp_min(0)


def local_value_loss(
    value: Tensor, gap: Tensor, weights: Tensor | float, inverse_temperature: float, bound: float
) -> Tensor:
    """The loss of a local value in OMIGA, mean_b[exp(eta gap) + eta w V], (S, K).

    With gap = w (Q - V) its minimum over V is where E[exp(eta gap)] = 1 under the data's policy (X.
    Wang et al., "Offline multi-agent reinforcement learning with implicit global-to-local value
    regularization", arXiv 2307.11620, whose alpha is 1 / eta).

    Args:
        value: (S, K, B), V.
        gap: (S, K, B), w (Q - V).
        weights: w, (S, K, B) or a number.
        inverse_temperature: eta.
        bound: where exp becomes linear.
    """
    exponent = inverse_temperature * gap
    return (bounded_exp(exponent, bound) + inverse_temperature * weights * value).mean(-1)


def expectile_loss(errors: Tensor, expectile: float) -> Tensor:
    """Mean asymmetric square of errors Q - V, from (S, K, B) to (S, K).

    It is |expectile - 1(error < 0)| error^2, whose minimum over V is that expectile of Q (equation
    5 of I. Kostrikov et al., "Offline reinforcement learning with implicit Q-learning", arXiv
    2110.06169).
    """
    weights = torch.where(errors < 0, 1 - expectile, expectile)
    return (weights * errors.square()).mean(-1)
