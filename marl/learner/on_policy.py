"""Proximal policy optimisation of several agents: IPPO and MAPPO, on stacked networks.

C. Schroeder de Witt et al., "Is independent learning all you need in the StarCraft multi-agent
challenge?", arXiv 2011.09533 (IPPO); C. Yu et al., "The surprising effectiveness of PPO in
cooperative multi-agent games", arXiv 2103.01955 (MAPPO).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.transitions import Transitions
from marl.learner import losses, policy_gradient
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes
from marl.learner.optimiser import Adam, group_of
from marl.learner.random import random_bits
from marl.learner.stacked import BATCHES, StackedLearner, named_layers
from marl.team import Team
from marl.torch_state import known_torch

VALUE_RATE = 0.1
"""Share of the newest rollout in the mean and deviation of returns that critics are scaled by."""


class Rollout(NamedTuple):
    """What updates read of steps that the present policy has taken, with leading dimensions (S, n).

    V is the number of critic heads.
    """

    observation: Tensor
    """(..., I, D) float32."""
    mask: Tensor
    """(..., I, A) uint8, 1 where an action was legal."""
    action: Tensor
    """(..., I) int64."""
    log_probability: Tensor
    """(..., K) float32, of the heads' actions when they were taken."""
    advantage: Tensor
    """(..., V) float32, mean 0 and standard deviation 1 over the rollout."""
    target: Tensor
    """(..., V) float32, advantage + value, the return that the critics learn."""


class OnPolicyLearner(StackedLearner):
    """S independent learners of one scheme of PPO, trained in parallel.

    Each head has an actor. Paradigm i (IPPO) has a critic per head, which sees what the actor sees.
    ctde (MAPPO) has one critic, which sees all observations; so has c. Critics are trained on
    returns with mean 0 and standard deviation 1; when these change, the last layer is corrected so
    that values stay (H. van Hasselt et al., "Learning values across many orders of magnitude",
    arXiv 1602.07714).

    Args, shapes and errors are those of `marl.learner.learner.Learner`.
    """

    @known_torch
    def __init__(
        self,
        config: LearnerConfig,
        team: Team,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(config, team, seeds, device, PARTS)
        heads, hidden = self.heads, config.hidden_sizes
        self.central = config.paradigm == "ctde"
        self.n_critic_heads = 1 if self.central else heads.n_heads
        self.sizes = layer_sizes(heads.n_inputs, hidden, heads.n_actions)
        n_inputs = team.n_agents * team.n_features if self.central else heads.n_inputs
        n_actors = 1 if config.share_parameters else heads.n_heads
        n_critics = 1 if config.share_parameters else self.n_critic_heads
        self.layers = self._networks(self.sizes, n_actors)
        self.critics = self._networks(layer_sizes(n_inputs, hidden, 1), n_critics)
        batch = config.batch_size
        self._actor = Workspace(self.layers, heads.n_heads, batch, trains=True)
        self._critic = Workspace(self.critics, self.n_critic_heads, batch, trains=True)
        self._wide: tuple[Workspace, Workspace] | None = None
        self.value_mean = torch.zeros(len(self.seeds), device=self.device)
        self.value_deviation = torch.ones(len(self.seeds), device=self.device)
        groups = [
            group_of(networks, workspace.gradients, slice(None), rate)
            for networks, workspace, rate in (
                (self.critics, self._critic, config.critic_learning_rate),
                (self.layers, self._actor, config.actor_learning_rate),
            )
        ]
        self._optimiser = Adam(groups)

    def _networks(self, sizes: Sequence[tuple[int, int]], n_heads: int) -> Layers:
        """New networks of one role."""
        initial = initialise(sizes, 1, self.seeds, n_heads)
        return [(weights.to(self.device), biases.to(self.device)) for weights, biases in initial]

    # --- From steps to a rollout ---

    @known_torch
    @torch.no_grad()
    def prepare(self, taken: Transitions, ended: Tensor) -> Rollout:
        """The rollout (S, T * E) of the steps (S, T, E) that the present policy has just taken.

        Computes advantages, and adapts mean and deviation of the critics' returns.

        Args:
            taken: T successive steps of E environments.
            ended: (S, T, E), 1 where the next step belongs to another episode.
        """
        n_steps, n_envs = taken.reward.shape[1:]
        flat = Transitions(*(field.flatten(1, 2) for field in taken))
        actor, critic = self._workspaces(n_steps * n_envs)
        # The buffers of a workspace serve its next call too.
        value = self._values(critic, flat.observation).clone()
        next_value = self._values(critic, flat.next_observation)
        log_policy = self._log_policy(actor, flat.observation, flat.mask)
        log_probability = losses.take(log_policy, self.heads.chosen(flat.action))
        apart = *value.shape[:2], n_steps, n_envs
        advantage = policy_gradient.generalised_advantage(
            self._scaled(flat.reward).view_as(taken.reward),
            value.view(apart),
            next_value.view(apart),
            taken.terminated,
            ended.to(torch.float32),
            self.config.discount,
            self.config.gae_lambda,
        ).flatten(2)
        target = advantage + value
        self._scale_values(target)
        return Rollout(
            flat.observation,
            flat.mask,
            flat.action,
            log_probability.transpose(1, 2),
            policy_gradient.standardised(advantage).transpose(1, 2),
            target.transpose(1, 2),
        )

    def _workspaces(self, batch: int) -> tuple[Workspace, Workspace]:
        """Actors and critics for forward passes over whole rollouts."""
        if self._wide is None or self._wide[0].batch != batch:
            self._wide = (
                Workspace(self.layers, self.heads.n_heads, batch),
                Workspace(self.critics, self.n_critic_heads, batch),
            )
        return self._wide

    def _values(self, critic: Workspace, observation: Tensor) -> Tensor:
        """Values (S, V, B) of observations (S, B, I, D), in scaled reward."""
        outputs = critic.forward(self.critic_inputs(observation))[0, ..., 0]
        return outputs * self.value_deviation.view(-1, 1, 1) + self.value_mean.view(-1, 1, 1)

    def critic_inputs(self, observation: Tensor) -> Tensor:
        """Normalised inputs of the critics (S, V, B, features), from observations (S, B, I, D)."""
        if not self.central:
            return self.head_inputs(observation)
        return self.heads.state((observation - self.shift) * self.scale)

    def _log_policy(self, actor: Workspace, observation: Tensor, mask: Tensor) -> Tensor:
        """Log-probabilities of all actions (S, K, B, M)."""
        outputs = actor.forward(self.head_inputs(observation))[0]
        return (outputs + self.heads.bias(mask)).log_softmax(-1)

    def _scale_values(self, target: Tensor) -> None:
        """Adapt mean and deviation to returns (S, V, n), and the critics so that values stay."""
        deviation, mean = torch.std_mean(target, dim=(1, 2), correction=0)
        second = deviation.square() + mean.square()
        before = self.value_deviation.square() + self.value_mean.square()
        rate = torch.where(self.updates == 0, 1.0, VALUE_RATE)
        new_mean = torch.lerp(self.value_mean, mean, rate)
        variance = torch.lerp(before, second, rate) - new_mean.square()
        new_deviation = variance.clamp_min(1e-8).sqrt()
        ratio = self.value_deviation / new_deviation
        moved = (self.value_mean - new_mean) / new_deviation
        weights, biases = self.critics[-1]
        weights.mul_(ratio.view(1, -1, 1, 1, 1))
        biases.mul_(ratio.view(1, -1, 1, 1, 1)).add_(moved.view(1, -1, 1, 1, 1))
        self.value_mean.copy_(new_mean)
        self.value_deviation.copy_(new_deviation)

    # --- One update ---

    @known_torch
    def order(self, n: int, epoch: Tensor) -> Tensor:
        """An order (S, n) of the rows of a rollout, a function of seed and ``epoch`` () int64."""
        return random_bits(self._seeds, epoch, n, BATCHES).argsort(dim=-1, stable=True)

    @known_torch
    def update(self, batch: Rollout) -> None:
        """Take one gradient step of actors and critics on a part (S, B, ...) of a rollout.

        The loss parts are added to `sums`. The update never waits for the device.

        Raises:
            ValueError: the part has another size than the configuration's batch.
        """
        expected = len(self.seeds), self.config.batch_size
        if batch.action.shape[:2] != expected:
            raise ValueError(
                f"batch must hold (seeds, batch_size) = {expected} steps, "
                f"got {tuple(batch.action.shape[:2])}"
            )
        logits = self._actor.forward(self.head_inputs(batch.observation)).requires_grad_()
        values = self._critic.forward(self.critic_inputs(batch.observation)).requires_grad_()
        loss, parts = self._losses(logits[0], values[0, ..., 0], batch)
        to_actor, to_critic = torch.autograd.grad(loss, (logits, values))
        self._actor.backward(to_actor)
        self._critic.backward(to_critic)
        self._optimiser.step()
        self.updates += 1
        self._add_parts(parts)

    def _losses(
        self, logits: Tensor, values: Tensor, batch: Rollout
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all losses (), and the loss parts per seed, (S,) each.

        Logits are (S, K, B, M), values (S, V, B) in deviations of returns.
        """
        config = self.config
        policy = losses.Distribution.of(logits + self.heads.bias(batch.mask))
        taken = losses.take(policy.log, self.heads.chosen(batch.action))
        log_ratio = taken - batch.log_probability.transpose(1, 2)
        advantage = batch.advantage.transpose(1, 2)
        clipped = policy_gradient.clipped_loss(log_ratio, advantage, config.clip_range)
        entropies = losses.entropy(policy).mean(-1)
        mean, deviation = self.value_mean.view(-1, 1, 1), self.value_deviation.view(-1, 1, 1)
        errors = values - (batch.target.transpose(1, 2) - mean) / deviation
        value = losses.td_loss(errors, config.td_loss)
        loss = clipped.sum() - config.entropy_weight * entropies.sum() + value.sum()
        outside = (log_ratio.detach().exp() - 1).abs() > config.clip_range
        return loss, {
            "policy_loss": clipped.sum(-1),
            "value_loss": value.sum(-1),
            "value": (values * deviation + mean).mean((-1, -2)),
            "entropy": entropies.mean(-1),
            "kl": policy_gradient.divergence_from(log_ratio.detach()).mean(-1),
            "clipped": outside.to(torch.float32).mean((-1, -2)),
        }

    # --- Checkpoints ---

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that the next update depends on, by name and not copied."""
        own: dict[str, Any] = {
            "value_mean": self.value_mean,
            "value_deviation": self.value_deviation,
        }
        return {**own, **named_layers("critics", self.critics), **super().tensors()}


PARTS = ("policy_loss", "value_loss", "value", "entropy", "kl", "clipped")
"""Names of the loss parts that are logged for each seed.

- ``policy_loss``: the clipped loss of the actors, sum over heads.
- ``value_loss``: loss of the critics in standard deviations of returns, sum over critic heads.
- ``value``: mean value of the states, in scaled reward.
- ``entropy``: that of the policy, mean over heads.
- ``kl``: divergence of the policy from the one that acted, mean over heads.
- ``clipped``: share of actions whose probability changed by more than ``clip_range``.
"""
