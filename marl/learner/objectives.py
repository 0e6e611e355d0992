"""What each algorithm minimises, and which networks it runs on s and on s'.

An algorithm is an `Objective` in `OBJECTIVES`. The equations are in `marl.learner.losses`.

Shapes: N networks, C critics, S seeds, K heads, B batch, M actions per head. After mixing K is 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.transitions import Transitions
from marl.learner import losses
from marl.learner.heads import Heads, preference
from marl.learner.mixing import Mix
from marl.learner.roles import Outputs, Roles

Parts = dict[str, Tensor]
"""Loss parts (S,) by name."""


@dataclass(frozen=True, eq=False)
class Step:
    """What the losses of one batch depend on."""

    config: LearnerConfig
    heads: Heads
    roles: Roles
    batch: Transitions
    chosen: Tensor
    """(S, K, B), the data's actions of all heads."""
    outputs: Outputs
    """(n, S, K, B, M) of the trained networks on s, by role.

    All but those of a state's value are very low where an action is illegal.
    """
    judged: Tensor
    """(N, S, K, B, M) of the networks `Objective.on_present` on s."""
    following: Tensor
    """(N, S, K, B, M) of the networks `Objective.on_next` on s', masked where `Objective.masks`."""
    reward: Tensor
    """(S, B) the rewards as they are learned from, normalised and scaled."""
    log_temperature: Tensor
    """(S, K)."""
    bias: Tensor
    """What keeps illegal actions of s out, (S, K, B, M), which the outputs have in them."""
    mix: Mix
    """How values of heads in s become those that are trained."""
    judged_mix: Mix
    """The same of the target networks."""
    next_mix: Mix
    """The same of the target networks in s'."""

    def taken(self) -> Tensor:
        """The critics' values (C, S, K, B) of the data's actions."""
        return losses.take(self.outputs.critics, self.chosen)

    def value(self) -> Tensor:
        """V(s) of each head, (S, K, B), the mean of the outputs of the value network.

        Stacked networks have as many outputs each, of which a value needs one.
        """
        return self.outputs.value[0].mean(-1)

    def policy(self) -> losses.Distribution:
        """The actor's (S, K, B, M) in s."""
        return losses.Distribution.of(self.outputs.actor[0])

    def target(self, next_value: Tensor) -> Tensor:
        """The target of the temporal-difference error, from V(s') (S, K, B)."""
        discount = self.config.discount
        return losses.td_target(self.reward, next_value, self.batch.terminated, discount)


@dataclass(frozen=True)
class Objective:
    """An algorithm.

    Args:
        losses: the sum of all losses (), and the loss parts.
        parts: the names of the loss parts, in the order in which they are logged.
        on_next: networks whose outputs on s' the losses need.
        on_present: networks that are not trained whose outputs on s the losses need.
        masks: whether illegal actions of s' have very low outputs.
    """

    losses: Callable[[Step], tuple[Tensor, Parts]]
    parts: tuple[str, ...]
    on_next: Callable[[LearnerConfig, Roles], slice] = lambda _, __: slice(0)
    on_present: Callable[[Roles], slice] = lambda _: slice(0)
    masks: bool = False


def _targets(roles: Roles) -> slice:
    """The target networks."""
    return slice(roles.trained, roles.total)


def critic_losses(step: Step, taken: Tensor, next_value: Tensor) -> tuple[Tensor, Parts]:
    """The loss () of the temporal-difference errors, and its parts.

    Args:
        step: the batch.
        taken: (C, S, K, B), the critics' values of the data's actions.
        next_value: (S, K, B), V(s').
    """
    errors = step.mix(taken) - step.target(next_value)
    td = losses.td_loss(errors, step.config.td_loss)
    return td.sum(), {
        "td_loss": td.sum(-1).mean(0),
        "td_error": errors.detach().abs().mean((0, 2, 3)),
        "q": taken.detach().mean((0, 2, 3)),
    }


def penalty_losses(step: Step, taken: Tensor) -> tuple[Tensor, Parts]:
    """The conservative penalty (), times its weight, and before it as a part.

    Each agent's actions are judged beside the data's actions of the others, as in CFCQL. Under a
    sum over heads that is the penalty of its own values (Eqs. 26-28). Arguments as
    `critic_losses`.
    """
    config = step.config
    if config.cql_alpha == 0:
        return step.reward.new_zeros(()), {"penalty": step.reward.new_zeros(len(step.reward))}
    q = step.mix.counterfactual(step.outputs.critics, taken, step.bias)
    cloning, weights = step.reward.new_zeros(()), None
    if config.cql_reduction == "weighted":
        log_behaviour = step.outputs.behaviour[0].log_softmax(-1)
        cloning = losses.cloning_loss(log_behaviour, step.chosen).sum()
        weights = losses.deviation_weights(
            q.detach(), log_behaviour.detach(), config.deviation_weight
        )
    penalty = losses.conservative_penalty(q, step.chosen, weights)
    penalty = penalty.mean(-1) if config.cql_reduction == "mean" else penalty.sum(-1)
    return config.cql_alpha * penalty.sum() + cloning, {"penalty": penalty.mean(0)}


# --- Soft actor-critic ---


def _sac(step: Step) -> tuple[Tensor, Parts]:
    """Soft actor-critic (Eqs. 17 to 22, 24), with a conservative penalty offline."""
    config = step.config
    temperature = step.log_temperature.detach().exp()
    with torch.no_grad():
        next_value = losses.soft_value(
            step.following[1:],
            losses.Distribution.of(step.following[0]),
            temperature,
            soft_backup=config.soft_backup,
            mix=step.next_mix,
        )
    taken = step.taken()
    td, td_parts = critic_losses(step, taken, next_value)
    penalty, penalty_parts = penalty_losses(step, taken)
    actor, actor_parts = _sac_actor(step, temperature)
    return td + penalty + actor, {**td_parts, **penalty_parts, **actor_parts}


def _sac_actor(step: Step, temperature: Tensor) -> tuple[Tensor, Parts]:
    """The loss () of actor and temperature, and its parts.

    Behaviour cloning in it is that of S. Fujimoto and S. Gu, "A minimalist approach to offline
    reinforcement learning", NeurIPS 2021, for a discrete actor and with a fixed weight.
    """
    q = preference(step.outputs.critics.detach(), mixes=step.heads.mixes)
    policy = step.policy()
    actor = losses.actor_loss(policy, q, temperature)
    entropies = losses.entropy(policy).detach()
    loss = actor.sum()
    cloning = torch.zeros_like(actor)
    if step.config.cloning_weight > 0:
        cloning = losses.cloning_loss(policy.log, step.chosen)
        loss = loss + step.config.cloning_weight * cloning.sum()
    if step.config.automatic_temperature:
        target = step.config.entropy_ratio * step.heads.log_legal(step.batch.mask)
        loss = loss + losses.temperature_loss(step.log_temperature, entropies, target).sum()
    return loss, {
        "actor_loss": actor.sum(-1),
        "cloning_loss": cloning.detach().sum(-1),
        "entropy": entropies.mean((-1, -2)),
        "temperature": temperature.mean(-1),
    }


# --- Deep Q-network ---


def _dqn(step: Step) -> tuple[Tensor, Parts]:
    """Deep Q-learning (Eq. 23 for CTDE), with a conservative penalty offline."""
    critics = step.roles.critics
    with torch.no_grad():
        outputs = step.following
        if step.config.double_q:
            next_value = losses.double_q_value(outputs[:critics], outputs[-critics:], step.next_mix)
        else:
            next_value = losses.max_value(outputs, step.next_mix)
    taken = step.taken()
    td, td_parts = critic_losses(step, taken, next_value)
    penalty, penalty_parts = penalty_losses(step, taken)
    return td + penalty, {**td_parts, **penalty_parts}


# --- Behaviour cloning ---


def _bc(step: Step) -> tuple[Tensor, Parts]:
    """Behaviour cloning."""
    policy = step.policy()
    cloning = losses.cloning_loss(policy.log, step.chosen)
    return cloning.sum(), {
        "cloning_loss": cloning.sum(-1),
        "entropy": losses.entropy(policy).mean((-1, -2)),
    }


# --- Implicit Q-learning ---


def _iql(step: Step) -> tuple[Tensor, Parts]:
    """Implicit Q-learning (equations 5 to 7 of I. Kostrikov et al., arXiv 2110.06169).

    Where heads are mixed, Q and V are those of the team, and one advantage weighs the actions of
    all agents.
    """
    config = step.config
    with torch.no_grad():
        target_q = losses.smallest_value(step.judged, step.chosen, step.judged_mix)
        next_value = step.next_mix(step.following[0].mean(-1))
    td, td_parts = critic_losses(step, step.taken(), next_value)
    errors = target_q - step.mix(step.value())
    value = losses.expectile_loss(errors, config.expectile)
    exponent = config.advantage_weight * errors.detach()
    weights = exponent.exp().clamp_max(config.largest_weight)
    actor, actor_parts = _weighted_actor(step, weights)
    parts = {"value_loss": value.sum(-1), **actor_parts}
    return td + value.sum() + actor, {**td_parts, **parts}


# --- Implicit global-to-local regularisation ---


def _omiga(step: Step) -> tuple[Tensor, Parts]:
    """OMIGA (X. Wang et al., arXiv 2307.11620), with local values in every paradigm.

    Where heads are mixed, the advantage of an agent is its part of the team's, and the mean over
    critics is taken, which may divide the team's value differently.
    """
    config, mix = step.config, step.judged_mix
    with torch.no_grad():
        next_value = step.next_mix(step.following.mean(-1)).amin(0)
        taken, weights = losses.take(step.judged, step.chosen), mix.weights
        if mix.mixes:
            taken = (weights * taken).mean(0)
            weights = weights if isinstance(weights, float) else weights.mean(0)
        else:
            taken = taken.amin(0)
    td, td_parts = critic_losses(step, step.taken(), next_value)
    own = step.value()
    gap = taken - weights * own
    bound, eta = config.largest_weight, config.advantage_weight
    value = losses.local_value_loss(own, gap, weights, eta, bound)
    actor, actor_parts = _weighted_actor(step, (eta * gap.detach()).exp().clamp_max(bound))
    parts = {"value_loss": value.sum(-1), **actor_parts}
    return td + value.sum() + actor, {**td_parts, **parts}


def _weighted_actor(step: Step, weights: Tensor) -> tuple[Tensor, Parts]:
    """The loss () of an actor that clones actions by weights (S, K, B), and its parts."""
    policy = step.policy()
    actor = losses.weighted_cloning_loss(policy.log, step.chosen, weights)
    return actor.sum(), {
        "actor_loss": actor.sum(-1),
        "entropy": losses.entropy(policy).mean((-1, -2)),
        "weight": weights.mean((-1, -2)),
    }


_TD_PARTS = ("td_loss", "td_error", "q")
_CRITIC_PARTS = (*_TD_PARTS, "penalty")
OBJECTIVES: dict[str, Objective] = {
    "sac": Objective(
        _sac,
        (*_CRITIC_PARTS, "actor_loss", "cloning_loss", "entropy", "temperature"),
        on_next=lambda _, roles: slice(roles.trained - 1, None),
        masks=True,
    ),
    "dqn": Objective(
        _dqn,
        _CRITIC_PARTS,
        on_next=lambda config, roles: slice(0 if config.double_q else roles.trained, None),
        masks=True,
    ),
    "bc": Objective(_bc, ("cloning_loss", "entropy")),
    "iql": Objective(
        _iql,
        (*_TD_PARTS, "value_loss", "actor_loss", "entropy", "weight"),
        on_next=lambda _, roles: slice(roles.critics, roles.critics + 1),
        on_present=_targets,
    ),
    "omiga": Objective(
        _omiga,
        (*_TD_PARTS, "value_loss", "actor_loss", "entropy", "weight"),
        on_next=lambda _, roles: slice(roles.total - 1, None),
        on_present=lambda roles: slice(roles.trained, roles.trained + roles.critics),
    ),
}
"""The algorithms, with the names of the loss parts that each logs for each seed.

- ``td_loss``: loss of the Q-networks, mean over critics and sum over heads.
- ``td_error``: mean absolute temporal-difference error.
- ``q``: mean Q-value of the data's actions.
- ``penalty``: conservative penalty before its weight, mean over critics.
- ``value_loss``: loss of the networks of a state's value, sum over heads.
- ``actor_loss``: loss of the actor, for sac without cloning, sum over heads.
- ``cloning_loss``: negative log-likelihood of the data's actions, sum over heads; 0 for sac without
  cloning.
- ``entropy``, ``temperature``: those of the policy, mean over heads.
- ``weight``: mean weight with which the data's actions are cloned.
"""
