"""What all learners share: seeds side by side, inputs, acting, checkpoints and divergence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.storage import require_like
from marl.learner.heads import DIVERGED, Heads, preference, without_divergence
from marl.learner.networks import Layers, Workspace, roles
from marl.learner.optimiser import Adam
from marl.learner.random import random_uniform
from marl.learner.roles import roles_of
from marl.team import Team
from marl.torch_state import known_torch

BATCHES, EXPLORATION = range(2)
"""Streams of random numbers, one for each purpose."""


class DivergenceError(RuntimeError):
    """A loss part or a parameter became infinite, not a number, or larger than `DIVERGED`."""


class StackedLearner:
    """S independent learners of one scheme, of which subclasses say how they learn.

    Shapes are those of `marl.learner.learner.Learner`.

    Args:
        config, team, seeds, device: as there.
        parts: names of the loss parts.

    Raises:
        ValueError: as `Heads`.
    """

    layers: Layers
    """Networks of the heads, in the order that `roles` states."""
    _optimiser: Adam

    def __init__(
        self,
        config: LearnerConfig,
        team: Team,
        seeds: Sequence[int],
        device: torch.device | str,
        parts: Sequence[str],
    ) -> None:
        self.config = config
        self.team = team
        self.seeds = list(seeds)
        self.device = torch.device(device)
        self.heads = Heads.of(config, team)
        self.roles = roles_of(config)
        n_seeds = len(self.seeds)
        n_normalisers = 1 if config.share_parameters else team.n_agents
        normaliser = n_seeds, 1, n_normalisers, team.n_features
        self.shift = torch.zeros(normaliser, device=self.device)
        self.scale = torch.ones(normaliser, device=self.device)
        self.reward_shift = torch.zeros(n_seeds, 1, device=self.device)
        self.reward_spread = torch.ones(n_seeds, 1, device=self.device)
        self._acting: Workspace | None = None
        self._seeds = torch.tensor(self.seeds, device=self.device)
        self.updates = torch.zeros((), dtype=torch.int64, device=self.device)
        self.parts = parts
        shape = len(self.parts), n_seeds
        self.sums = torch.zeros(shape, device=self.device)
        self.first_diverged = torch.full(shape, -1, dtype=torch.int64, device=self.device)

    @torch.no_grad()
    def _add_parts(self, parts: Mapping[str, Tensor]) -> None:
        """Add the loss parts (S,) of an update to `sums`, and note which diverged.

        The number of `updates` counts this update already.
        """
        stacked = torch.stack([parts[name] for name in self.parts])
        self.sums += stacked
        diverged = (self.first_diverged < 0) & ~(stacked.abs() < DIVERGED)
        self.first_diverged.copy_(torch.where(diverged, self.updates, self.first_diverged))

    # --- Acting ---

    def head_inputs(self, observation: Tensor, action: Tensor | None = None) -> Tensor:
        """Normalised inputs of the heads (S, K, B, features); arguments as `Heads.inputs`."""
        return self.heads.inputs((observation - self.shift) * self.scale, action)

    @known_torch
    @torch.no_grad()
    def explore(self, observation: Tensor, mask: Tensor, step: Tensor, epsilon: float) -> Tensor:
        """Legal actions (S, B, I) for online training.

        With probability ``epsilon`` a head's action is uniformly random. Otherwise it is sampled
        from the actor; without an actor it is the best one by the critics.

        Args:
            observation: (S, B, I, D).
            mask: (S, B, I, A).
            step: () int64; each value gives other random numbers.
            epsilon: probability of a uniformly random action.
        """
        bias = self.heads.bias(mask)
        n_gumbel = bias[0].numel()
        n_deviates = bias[0, ..., 0].numel()
        noise = random_uniform(self._seeds, step, n_gumbel + n_deviates, EXPLORATION)
        gumbel = -(-noise[:, :n_gumbel].view_as(bias).log()).log()
        deviates = noise[:, n_gumbel:].view(bias.shape[:-1]) < epsilon
        if self._acting is None or self._acting.batch != observation.shape[1]:
            trained = roles(self.layers, slice(self.roles.trained))
            self._acting = Workspace(trained, self.heads.n_heads, observation.shape[1])
        outputs = self._acting.forward(self.head_inputs(observation))
        mixes = self.heads.mixes
        acts = self.roles.actor > 0
        critics = outputs[: self.roles.critics]
        preferred = outputs[-1] + gumbel if acts else preference(critics, mixes=mixes)
        random = (gumbel + bias).argmax(-1)
        # Divergence is found only later; until then actions stay legal.
        best = (without_divergence(preferred) + bias).argmax(-1)
        return self.heads.actions(torch.where(deviates, random, best))

    def _scaled(self, reward: Tensor) -> Tensor:
        """Rewards (S, B) as they are learned from."""
        if self.config.normalise_rewards:
            reward = (reward - self.reward_shift) / self.reward_spread
        return reward * self.config.reward_scale

    @known_torch
    def fit_normaliser(self, observation: Tensor, reward: Tensor) -> None:
        """Set shift and scale so that features and rewards get mean 0 and standard deviation 1.

        Constant features become 0. Nothing happens unless the configuration asks for it, or where
        there are no observations (learning_starts = 0).

        Args:
            observation: (S, n, I, D), or (1, n, I, D) for all seeds.
            reward: (S, n), or (1, n) for all seeds.
        """
        if observation.shape[1] == 0:
            return
        if self.config.normalise_rewards:
            spread, mean = torch.std_mean(reward, dim=1, keepdim=True, correction=0)
            self.reward_shift.copy_(mean.expand_as(self.reward_shift))
            self.reward_spread.copy_(spread.clamp_min(1e-6).expand_as(self.reward_spread))
        if self.config.normalise_observations:
            dim = (1, 2) if self.config.share_parameters else 1
            spread, mean = torch.std_mean(observation, dim=dim, keepdim=True, correction=0)
            inverse = 1 / spread.clamp_min(1e-6)
            scale = torch.where(spread > 1e-6, inverse, torch.zeros_like(spread))
            self.shift.copy_(mean.expand_as(self.shift))
            self.scale.copy_(scale.expand_as(self.scale))

    # --- Checkpoints and divergence ---

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that the next update depends on, by name and not copied."""
        named = {"shift": self.shift, "scale": self.scale, "updates": self.updates}
        if self.config.normalise_rewards:
            named |= {"reward_shift": self.reward_shift, "reward_spread": self.reward_spread}
        named |= named_layers("layers", self.layers)
        return named | self._optimiser.tensors()

    @known_torch
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that `tensors` returned.

        Raises:
            ValueError: a tensor is missing, has another shape or type, or is not finite.
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
        """Check all tensors of the state, which the next update would use; waits for the device.

        Raises:
            DivergenceError: a tensor is not finite.
        """
        for name, tensor in self.tensors().items():
            if not torch.isfinite(tensor).all():
                raise DivergenceError(f"update {int(self.updates)}: {name} is not finite")

    @known_torch
    def check(self) -> None:
        """Check the loss parts of all updates so far; waits for the device.

        Raises:
            DivergenceError: one diverged; the message names its update, loss part and seed.
        """
        first = self.first_diverged.cpu()
        if (first >= 0).any():
            update = int(first[first >= 0].min())
            part, seed = (first == update).nonzero()[0].tolist()
            raise DivergenceError(
                f"update {update}: {self.parts[part]} of seed {self.seeds[seed]} diverged "
                f"(not finite, or beyond {DIVERGED:g})"
            )


def named_layers(prefix: str, layers: Layers) -> dict[str, Tensor]:
    """The tensors of networks by name."""
    named: dict[str, Tensor] = {}
    for depth, (weights, biases) in enumerate(layers):
        named |= {f"{prefix}.{depth}.weights": weights, f"{prefix}.{depth}.biases": biases}
    return named
