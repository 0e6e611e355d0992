"""One learner for every scheme: all seeds, heads and networks stacked, one backward pass and one optimiser step per update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.storage import require_like
from marl.data.transitions import Transitions
from marl.learner import losses
from marl.learner.heads import DIVERGED, Heads, preference, without_divergence
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes, roles
from marl.learner.random import random_bits, random_uniform
from marl.team import Team
from marl.torch_state import known_torch

BATCHES, EXPLORATION = range(2)
"""Streams of random numbers."""


class DivergenceError(RuntimeError):
    """A loss part became infinite, not a number, or larger than `DIVERGED`."""


class Learner:
    """S independent learners of one scheme, trained side by side.

    The roles of the networks are, in this order: C critics, the actor, C target critics (dqn has no actor, bc only an actor).
    One update runs the trained networks on s and those of the target on s', each a contiguous slice. A learner belongs to one thread at a time;
    `policy` gives policies that any number of threads may use.

    Args:
        config: the scheme.
        team: sizes of the environment.
        seeds: one per learner; each fixes that learner's first parameters and batches, whatever stands beside it.
        device: where everything lives.
    """

    @known_torch
    def __init__(
        self,
        config: LearnerConfig,
        team: Team,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.team, self.seeds, self.device = (
            config,
            team,
            list(seeds),
            torch.device(device),
        )
        self.heads = Heads(config.paradigm, team, config.common_features)
        self.n_critics = 0 if config.algorithm == "bc" else config.n_critics
        self.has_actor = config.algorithm != "dqn"
        self.n_trained = self.n_critics + self.has_actor
        self.sizes = layer_sizes(self.heads.n_inputs, config.hidden_sizes, self.heads.n_actions)
        n_heads = self.heads.n_heads
        fresh = initialise(
            self.sizes, self.n_trained, self.seeds, 1 if config.share_parameters else n_heads
        )
        self.layers: Layers = [
            tuple(torch.cat([tensor, tensor[: self.n_critics]]).to(self.device) for tensor in layer)  # type: ignore[misc]
            for layer in fresh
        ]
        self._trained = Workspace(
            roles(self.layers, slice(self.n_trained)), n_heads, config.batch_size, trains=True
        )
        on_next = slice(
            0 if config.algorithm == "dqn" and config.double_q else self.n_critics, None
        )
        self._on_next = Workspace(roles(self.layers, on_next), n_heads, config.batch_size)
        shape = len(self.seeds), n_heads
        self.log_temperature = (
            torch.full(shape, config.initial_temperature, device=self.device).log().requires_grad_()
        )
        self._temperature_gradient = torch.zeros_like(self.log_temperature, requires_grad=False)
        normaliser = (
            len(self.seeds),
            1,
            1 if config.share_parameters else team.n_agents,
            team.n_features,
        )
        self.shift, self.scale = (
            torch.zeros(normaliser, device=self.device),
            torch.ones(normaliser, device=self.device),
        )
        self._acting: Workspace | None = None
        self._seeds = torch.tensor(self.seeds, device=self.device)
        self.updates = torch.zeros((), dtype=torch.int64, device=self.device)
        self.parts = PARTS[config.algorithm]
        self.sums = torch.zeros(len(self.parts), len(self.seeds), device=self.device)
        self.first_diverged = torch.full(
            (len(self.parts), len(self.seeds)), -1, dtype=torch.int64, device=self.device
        )
        self._optimiser = self._make_optimiser()

    # --- One update ---

    @known_torch
    def update_from(self, stored: Transitions, n_stored: Tensor, first: Tensor) -> None:
        """`update` on a batch drawn uniformly, with replacement, from ``n_stored`` () transitions from row ``first`` (S,) on."""
        drawn = random_bits(self._seeds, self.updates, self.config.batch_size, BATCHES) % n_stored
        self._update(stored.batch(first.unsqueeze(-1) + drawn))

    @known_torch
    def update(self, batch: Transitions) -> None:
        """One gradient step of every network of every seed on a batch (S, B, ...), then the target networks follow.

        Never waits for the device, so that it can be captured in a graph; loss parts are added to `sums`.

        Raises:
            ValueError: a batch of another size than the config's.
        """
        expected = len(self.seeds), self.config.batch_size
        if batch.reward.shape != expected:
            raise ValueError(
                f"batch must hold (seeds, batch_size) = {expected} transitions, got {tuple(batch.reward.shape)}"
            )
        self._update(batch)

    def _update(self, batch: Transitions) -> None:
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
        stacked = torch.stack([parts[name].detach() for name in self.parts])
        self.sums += stacked
        diverged = (self.first_diverged < 0) & ~(stacked.abs() < DIVERGED)
        self.first_diverged.copy_(torch.where(diverged, self.updates, self.first_diverged))

    def _losses(self, outputs: Tensor, batch: Transitions) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of all losses, and its parts per seed (S,)."""
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
            loss, parts = loss + actor, {**parts, **more}
        return loss, parts

    def _critic_losses(
        self, q: Tensor, chosen: Tensor, batch: Transitions
    ) -> tuple[Tensor, dict[str, Tensor]]:
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
        outputs = self._on_next.forward(self.head_inputs(batch.next_observation)) + self.heads.bias(
            batch.next_mask
        )
        if self.has_actor:
            log_policy, temperature = (
                outputs[0].log_softmax(-1),
                self.log_temperature.detach().exp(),
            )
            return losses.soft_value(
                outputs[1:], log_policy, temperature, soft_backup=config.soft_backup, mixes=mixes
            )
        if config.double_q:
            return losses.double_q_value(outputs[:critics], outputs[critics:], mixes=mixes)
        return losses.max_value(outputs, mixes=mixes)

    def _actor_losses(self, outputs: Tensor, mask: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        q = preference(outputs[: self.n_critics].detach(), mixes=self.heads.mixes)
        log_policy = outputs[self.n_critics].log_softmax(-1)
        temperature = self.log_temperature.detach().exp()
        actor = losses.actor_loss(log_policy, q, temperature)
        loss, entropies = actor.sum(), losses.entropy(log_policy.detach())
        if self.config.automatic_temperature:
            target = self.config.entropy_ratio * self.heads.log_legal(mask)
            loss = loss + losses.temperature_loss(self.log_temperature, entropies, target).sum()
        return loss, {
            "actor_loss": actor.sum(-1),
            "entropy": entropies.mean((-1, -2)),
            "temperature": temperature.mean(-1),
        }

    def _move_targets(self) -> None:
        """Every `target_period` updates, theta' <- theta' + rate (theta - theta'), in a form that a captured graph can hold."""
        self.updates += 1
        if self.n_critics == 0:
            return
        due = (self.updates % self.config.target_period == 0).to(torch.float32)
        for layer in self.layers:
            for tensor in layer:
                tensor[self.n_trained :].lerp_(
                    tensor[: self.n_critics], due * self.config.target_rate
                )

    # --- Acting ---

    def head_inputs(self, observation: Tensor) -> Tensor:
        """(S, B, I, D) observations, normalised, to (S, K, B, features)."""
        return self.heads.inputs((observation - self.shift) * self.scale)

    @known_torch
    @torch.no_grad()
    def explore(self, observation: Tensor, mask: Tensor, step: Tensor, epsilon: float) -> Tensor:
        """Legal actions (S, B, I) to collect with: sac samples its actor, dqn is greedy on its critics.

        Args:
            observation: (S, B, I, D).
            mask: (S, B, I, A).
            step: () int64, tells apart the random numbers of different calls.
            epsilon: probability with which a head's action is uniformly random instead.
        """
        bias = self.heads.bias(mask)
        noise = random_uniform(
            self._seeds, step, bias[0].numel() + bias[0, ..., 0].numel(), EXPLORATION
        )
        gumbel = -(-noise[:, : bias[0].numel()].view_as(bias).log()).log()
        deviates = noise[:, bias[0].numel() :].view(bias.shape[:-1]) < epsilon
        if self._acting is None or self._acting.batch != observation.shape[1]:
            self._acting = Workspace(
                roles(self.layers, slice(self.n_trained)), self.heads.n_heads, observation.shape[1]
            )
        outputs = self._acting.forward(self.head_inputs(observation))
        preferred = (
            outputs[-1] + gumbel if self.has_actor else preference(outputs, mixes=self.heads.mixes)
        )
        chosen = torch.where(
            deviates, (gumbel + bias).argmax(-1), (without_divergence(preferred) + bias).argmax(-1)
        )  # legal until divergence is found
        return self.heads.actions(chosen)

    @known_torch
    def fit_normaliser(self, observation: Tensor) -> None:
        """Shift and scale so that observations (S or 1, n, I, D) get mean 0 and standard deviation 1 per feature; constant ones get 0."""
        if self.config.normalise_observations:
            dim = (1, 2) if self.config.share_parameters else 1
            spread, mean = torch.std_mean(observation, dim=dim, keepdim=True, correction=0)
            self.shift.copy_(mean.expand_as(self.shift))
            self.scale.copy_(
                torch.where(
                    spread > 1e-6, 1 / spread.clamp_min(1e-6), torch.zeros_like(spread)
                ).expand_as(self.scale)
            )

    # --- Persistence and supervision ---

    def tensors(self) -> dict[str, Tensor]:
        """Everything the next update depends on, by name; the tensors themselves, not copies."""
        named = {
            "log_temperature": self.log_temperature.detach(),
            "shift": self.shift,
            "scale": self.scale,
            "updates": self.updates,
        }
        for depth, (weights, biases) in enumerate(self.layers):
            named |= {f"layers.{depth}.weights": weights, f"layers.{depth}.biases": biases}
        for k, moments in enumerate(self._optimiser.state.values()):
            named |= {f"adam.{k}.{name}": value for name, value in moments.items()}
        return named

    @known_torch
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` gave.

        Raises:
            ValueError: a tensor is missing, of another shape or type, or not finite.
        """
        own = self.tensors()
        for name, tensor in own.items():
            require_like("checkpoint", name, tensors, tensor.dtype, tuple(tensor.shape))
            if not torch.isfinite(tensors[name]).all():
                raise ValueError(f"checkpoint: {name} must be finite")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])

    @known_torch
    def check_finite(self) -> None:
        """Raise `DivergenceError` if a parameter is not finite, which the next update's losses would show; waits for the device."""
        for name, tensor in self.tensors().items():
            if not torch.isfinite(tensor).all():
                raise DivergenceError(f"update {int(self.updates)}: {name} is not finite")

    @known_torch
    def check(self) -> None:
        """Raise `DivergenceError` naming update, loss part and seed if any update so far diverged; waits for the device."""
        first = self.first_diverged.cpu()
        if (first >= 0).any():
            update = int(first[first >= 0].min())
            part, seed = (first == update).nonzero()[0].tolist()
            raise DivergenceError(
                f"update {update}: {self.parts[part]} of seed {self.seeds[seed]} diverged (not finite, or beyond {DIVERGED:g})"
            )

    # --- Inside ---

    @property
    def _adapts_temperature(self) -> bool:
        return self.config.algorithm == "sac" and self.config.automatic_temperature

    def _make_optimiser(self) -> torch.optim.Adam:
        """Adam over slices of the stacks, since critics, actor and temperature have learning rates of their own.

        The moments are made here and not at the first step: a captured graph and a loaded checkpoint need them in place.
        """
        c = self.config
        groups: list[dict[str, Any]] = []
        for first, last, rate in (
            (0, self.n_critics, c.critic_learning_rate),
            (self.n_critics, self.n_trained, c.actor_learning_rate),
        ):
            parameters = []
            for layer, gradients in zip(self.layers, self._trained.gradients, strict=True):
                for tensor, gradient in zip(layer, gradients, strict=True):
                    parameters.append(tensor[first:last])
                    parameters[-1].grad = gradient[first:last]
            if last > first:
                groups.append({"params": parameters, "lr": rate})
        if self._adapts_temperature:
            self.log_temperature.grad = self._temperature_gradient
            groups.append({"params": [self.log_temperature], "lr": c.temperature_learning_rate})
        optimiser = torch.optim.Adam(groups, fused=True, capturable=self.device.type == "cuda")
        for group in groups:
            for parameter in group["params"]:
                optimiser.state[parameter] = {
                    "step": torch.zeros((), device=self.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        return optimiser


_CRITIC_PARTS = ("td_loss", "td_error", "q", "penalty")
PARTS = {
    "sac": (*_CRITIC_PARTS, "actor_loss", "entropy", "temperature"),
    "dqn": _CRITIC_PARTS,
    "bc": ("cloning_loss", "entropy"),
}
"""What each algorithm logs, per seed: losses (of Q-networks: mean over twins, sum over heads), the mean absolute temporal-difference
error, the mean Q-value of the data's actions, the conservative penalty before its weight, the policy's entropy and temperature."""
