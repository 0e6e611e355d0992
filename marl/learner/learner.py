"""The learner of all schemes, which trains stacked networks of several seeds at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.transitions import Transitions
from marl.learner import losses
from marl.learner.heads import preference
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes, roles
from marl.learner.random import random_bits
from marl.learner.stacked import (
    BATCHES,
    StackedLearner,
    slices_with_gradients,
)
from marl.team import Team
from marl.torch_state import known_torch


class Learner(StackedLearner):
    """S independent learners of one scheme, trained in parallel.

    The networks of all learners are stacked, so that an update has one backward pass and one step
    of the optimiser. The roles of the networks are, in this order: C critics, the actor, C target
    critics (dqn has no actor, bc has only an actor). An update runs the trained networks on s and
    the networks of the target on s'; both are contiguous slices of the roles.

    Only one thread may use a learner at a time. `marl.Policy.of_learner` makes policies that
    several threads may share.

    Shapes: S seeds, B batch, I agents, D observation features, A actions per agent, K heads, M
    actions per head.

    Args:
        config: the scheme.
        team: sizes of the environment.
        seeds: S seeds. Each determines the initial parameters and the batches of its learner, which
            do not depend on the other seeds.
        device: device of all tensors.

    Raises:
        ValueError: as `Heads`, or the algorithm is ppo, which `OnPolicyLearner` trains.
    """

    @known_torch
    def __init__(
        self,
        config: LearnerConfig,
        team: Team,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        if config.algorithm not in PARTS:
            raise ValueError(
                f"algorithm = {config.algorithm!r} has a learner of its own, OnPolicyLearner"
            )
        super().__init__(config, team, seeds, device, PARTS[config.algorithm])
        self.n_critics = 0 if config.algorithm == "bc" else config.n_critics
        self.has_actor = config.algorithm != "dqn"
        self.n_trained = self.n_critics + self.has_actor
        self.sizes = layer_sizes(self.heads.n_inputs, config.hidden_sizes, self.heads.n_actions)
        n_seeds = len(self.seeds)
        n_heads = self.heads.n_heads
        n_networks = 1 if config.share_parameters else n_heads
        initial = initialise(self.sizes, self.n_trained, self.seeds, n_networks)
        self.layers: Layers = [
            (self._with_targets(weights), self._with_targets(biases)) for weights, biases in initial
        ]
        trained = roles(self.layers, slice(self.n_trained))
        self._trained = Workspace(trained, n_heads, config.batch_size, trains=True)
        double = config.algorithm == "dqn" and config.double_q
        on_next = roles(self.layers, slice(0 if double else self.n_critics, None))
        self._on_next = Workspace(on_next, n_heads, config.batch_size)
        temperature = torch.full((n_seeds, n_heads), config.initial_temperature, device=self.device)
        self.log_temperature = temperature.log().requires_grad_()
        self._temperature_gradient = torch.zeros_like(self.log_temperature, requires_grad=False)
        self._optimiser = self._make_optimiser()

    def _with_targets(self, tensor: Tensor) -> Tensor:
        """Parameters of the trained networks, followed by copies of the critics' as targets."""
        return torch.cat([tensor, tensor[: self.n_critics]]).to(self.device)

    # --- One update ---

    @known_torch
    def update_from(self, stored: Transitions, n_stored: Tensor, first: Tensor) -> None:
        """`update` on a batch that is drawn uniformly, with replacement, from stored transitions.

        Args:
            stored: (n, ...), the transitions of all seeds.
            n_stored: () int64, number of transitions to draw from for each seed.
            first: (S,) int64, the first row of each seed.
        """
        drawn = random_bits(self._seeds, self.updates, self.config.batch_size, BATCHES) % n_stored
        self._update(stored.batch(first.unsqueeze(-1) + drawn))

    @known_torch
    def update(self, batch: Transitions) -> None:
        """Take one gradient step of all networks on a batch (S, B, ...), then move the targets.

        The loss parts are added to `sums`. The update never waits for the device, so that a CUDA
        graph can capture it.

        Raises:
            ValueError: the batch has another size than the configuration's.
        """
        expected = len(self.seeds), self.config.batch_size
        if batch.reward.shape != expected:
            raise ValueError(
                f"batch must hold (seeds, batch_size) = {expected} transitions, "
                f"got {tuple(batch.reward.shape)}"
            )
        self._update(batch)

    def _update(self, batch: Transitions) -> None:
        """`update` without the check of the batch's size."""
        outputs = self._trained.forward(self.head_inputs(batch.observation)).requires_grad_()
        loss, parts = self._losses(outputs, batch)
        if self._adapts_temperature:
            signal, gradient = torch.autograd.grad(loss, (outputs, self.log_temperature))
            self._temperature_gradient.copy_(gradient)
        else:
            (signal,) = torch.autograd.grad(loss, (outputs,))
        self._trained.backward(signal)
        self._optimiser.step()
        self._move_targets()
        self._add_parts(parts)

    def _losses(self, outputs: Tensor, batch: Transitions) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all losses (), and the loss parts per seed, (S,) each."""
        heads = self.heads
        outputs = outputs + heads.bias(batch.mask)
        chosen = heads.chosen(batch.action)
        if self.config.algorithm == "bc":
            log_policy = outputs[0].log_softmax(-1)
            cloning = losses.cloning_loss(log_policy, chosen)
            return cloning.sum(), {
                "cloning_loss": cloning.sum(-1),
                "entropy": losses.entropy(log_policy).mean((-1, -2)),
            }
        loss, parts = self._critic_losses(outputs[: self.n_critics], chosen, batch)
        if self.has_actor:
            actor, more = self._actor_losses(outputs, batch.mask)
            loss = loss + actor
            parts = {**parts, **more}
        return loss, parts

    def _critic_losses(
        self, q: Tensor, chosen: Tensor, batch: Transitions
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss () and loss parts, from q (C, S, K, B, M) and actions (S, K, B)."""
        config, heads = self.config, self.heads
        with torch.no_grad():
            target = losses.td_target(
                batch.reward * config.reward_scale,
                self._next_value(batch),
                batch.terminated,
                config.discount,
            )
        taken = losses.take(q, chosen)
        errors = losses.mix(taken, mixes=heads.mixes) - target
        td = losses.td_loss(errors, config.td_loss)
        loss = td.sum()
        parts = {
            "td_loss": td.sum(-1).mean(0),
            "td_error": errors.detach().abs().mean((0, 2, 3)),
            "q": taken.detach().mean((0, 2, 3)),
        }
        if config.cql_alpha > 0:
            penalty = losses.conservative_penalty(q, chosen)
            penalty = penalty.sum(-1) if config.cql_reduction == "sum" else penalty.mean(-1)
            loss = loss + config.cql_alpha * penalty.sum()
            parts["penalty"] = penalty.mean(0)
        else:
            parts["penalty"] = torch.zeros_like(parts["q"])
        return loss, parts

    def _next_value(self, batch: Transitions) -> Tensor:
        """V(s') from the target critics, per head (S, K, B) or of the sum over heads (S, 1, B)."""
        config, critics, mixes = self.config, self.n_critics, self.heads.mixes
        outputs = self._on_next.forward(self.head_inputs(batch.next_observation))
        outputs = outputs + self.heads.bias(batch.next_mask)
        if self.has_actor:
            log_policy = outputs[0].log_softmax(-1)
            temperature = self.log_temperature.detach().exp()
            return losses.soft_value(
                outputs[1:], log_policy, temperature, soft_backup=config.soft_backup, mixes=mixes
            )
        if config.double_q:
            return losses.double_q_value(outputs[:critics], outputs[critics:], mixes=mixes)
        return losses.max_value(outputs, mixes=mixes)

    def _actor_losses(self, outputs: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss () of actor and temperature, and its parts."""
        q = preference(outputs[: self.n_critics].detach(), mixes=self.heads.mixes)
        log_policy = outputs[self.n_critics].log_softmax(-1)
        temperature = self.log_temperature.detach().exp()
        actor = losses.actor_loss(log_policy, q, temperature)
        entropies = losses.entropy(log_policy.detach())
        loss = actor.sum()
        if self.config.automatic_temperature:
            target = self.config.entropy_ratio * self.heads.log_legal(mask)
            loss = loss + losses.temperature_loss(self.log_temperature, entropies, target).sum()
        parts = {
            "actor_loss": actor.sum(-1),
            "entropy": entropies.mean((-1, -2)),
            "temperature": temperature.mean(-1),
        }
        return loss, parts

    def _move_targets(self) -> None:
        """Move the target networks every `target_period` updates: theta' += rate (theta - theta').

        Between these updates the rate is 0, since a captured graph cannot branch.
        """
        self.updates += 1
        if self.n_critics == 0:
            return
        due = (self.updates % self.config.target_period == 0).to(torch.float32)
        rate = due * self.config.target_rate
        for layer in self.layers:
            for tensor in layer:
                tensor[self.n_trained :].lerp_(tensor[: self.n_critics], rate)

    # --- Checkpoints and optimiser ---

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that the next update depends on, by name and not copied."""
        return {"log_temperature": self.log_temperature.detach(), **super().tensors()}

    @property
    def _adapts_temperature(self) -> bool:
        """Whether the temperature is trained."""
        return self.config.algorithm == "sac" and self.config.automatic_temperature

    def _make_optimiser(self) -> torch.optim.Adam:
        """Adam with one group each for critics, actor and temperature, by their learning rates.

        Parameters and gradients are slices of the stacked networks.
        """
        config = self.config
        groups: list[dict[str, Any]] = []
        for first, last, rate in (
            (0, self.n_critics, config.critic_learning_rate),
            (self.n_critics, self.n_trained, config.actor_learning_rate),
        ):
            if first == last:
                continue
            roles_of = slice(first, last)
            parameters = slices_with_gradients(self.layers, self._trained.gradients, roles_of)
            groups.append({"params": parameters, "lr": rate})
        if self._adapts_temperature:
            self.log_temperature.grad = self._temperature_gradient
            rate = config.temperature_learning_rate
            groups.append({"params": [self.log_temperature], "lr": rate})
        return self._adam(groups)


_CRITIC_PARTS = ("td_loss", "td_error", "q", "penalty")
PARTS = {
    "sac": (*_CRITIC_PARTS, "actor_loss", "entropy", "temperature"),
    "dqn": _CRITIC_PARTS,
    "bc": ("cloning_loss", "entropy"),
}
"""Names of the loss parts that each algorithm logs for each seed.

- ``td_loss``: loss of the Q-networks, mean over critics and sum over heads.
- ``td_error``: mean absolute temporal-difference error.
- ``q``: mean Q-value of the data's actions.
- ``penalty``: conservative penalty before its weight, mean over critics.
- ``actor_loss``, ``cloning_loss``: losses of the actor, sum over heads.
- ``entropy``, ``temperature``: those of the policy, mean over heads.
"""
