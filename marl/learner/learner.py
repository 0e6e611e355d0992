"""The learner of all schemes, which trains stacked networks of several seeds at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.storage import require_like
from marl.data.transitions import Transitions
from marl.learner.heads import DIVERGED, Heads, preference, without_divergence
from marl.learner.mixing import Mix, MixingNetworks, apart, total
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes, roles
from marl.learner.objectives import OBJECTIVES, Step
from marl.learner.optimiser import adam, group_of
from marl.learner.random import random_bits, random_uniform
from marl.learner.roles import roles_of
from marl.team import Team
from marl.torch_state import known_torch

BATCHES, EXPLORATION = range(2)
"""Streams of random numbers, one for each purpose."""


class DivergenceError(RuntimeError):
    """A loss part or a parameter became infinite, not a number, or larger than `DIVERGED`."""


class Learner:
    """S independent learners of one scheme, trained in parallel.

    The networks of all learners are stacked, so that an update has one backward pass and one step
    of the optimiser. `marl.learner.roles` says which networks an algorithm has, and in which order;
    `marl.learner.objectives` says which of them it runs on s and on s', and what it minimises.

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
        ValueError: as `Heads`.
    """

    @known_torch
    def __init__(
        self,
        config: LearnerConfig,
        team: Team,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
    ) -> None:
        self.config = config
        self.team = team
        self.seeds = list(seeds)
        self.device = torch.device(device)
        self.heads = Heads.of(config, team)
        self.roles = roles_of(config)
        self.objective = OBJECTIVES[config.algorithm]
        self.sizes = layer_sizes(self.heads.n_inputs, config.hidden_sizes, self.heads.n_actions)
        n_seeds = len(self.seeds)
        n_heads = self.heads.n_heads
        n_networks = 1 if config.share_parameters else n_heads
        initial = initialise(self.sizes, self.roles.trained, self.seeds, n_networks)
        self.layers: Layers = [
            (self._with_targets(weights), self._with_targets(biases)) for weights, biases in initial
        ]
        trained = roles(self.layers, slice(self.roles.trained))
        self._trained = Workspace(trained, n_heads, config.batch_size, trains=True)
        self._judging = self._workspace(self.objective.on_present(self.roles))
        self._on_next = self._workspace(self.objective.on_next(config, self.roles))
        self.mixing: MixingNetworks | None = None
        if config.mixing != "sum":
            judging = self._judging is not None
            self.mixing = MixingNetworks(
                config, self.heads, self.seeds, self.device, judging=judging
            )
        temperature = torch.full((n_seeds, n_heads), config.initial_temperature, device=self.device)
        self.log_temperature = temperature.log().requires_grad_()
        self._temperature_gradient = torch.zeros_like(self.log_temperature, requires_grad=False)
        n_normalisers = 1 if config.share_parameters else team.n_agents
        normaliser = n_seeds, 1, n_normalisers, team.n_features
        self.shift = torch.zeros(normaliser, device=self.device)
        self.scale = torch.ones(normaliser, device=self.device)
        self.reward_shift = torch.zeros(n_seeds, 1, device=self.device)
        self.reward_spread = torch.ones(n_seeds, 1, device=self.device)
        self._acting: Workspace | None = None
        self._seeds = torch.tensor(self.seeds, device=self.device)
        self.updates = torch.zeros((), dtype=torch.int64, device=self.device)
        self.parts = self.objective.parts
        shape = len(self.parts), n_seeds
        self.sums = torch.zeros(shape, device=self.device)
        self.first_diverged = torch.full(shape, -1, dtype=torch.int64, device=self.device)
        self._optimiser = self._make_optimiser()

    def _with_targets(self, tensor: Tensor) -> Tensor:
        """Parameters of the trained networks, followed by copies of the critics' as targets."""
        return torch.cat([tensor, tensor[: self.roles.targets]]).to(self.device)

    def _workspace(self, which: slice) -> Workspace | None:
        """Buffers to run a range of networks on a batch; None where the range is empty."""
        layers = roles(self.layers, which)
        if len(layers[0][0]) == 0:
            return None
        return Workspace(layers, self.heads.n_heads, self.config.batch_size)

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
        mixtures: tuple[Mix, Mix, Mix] = (total if self.heads.mixes else apart,) * 3
        sources = [outputs]
        if self.mixing is not None:
            states = map(self._state, (batch.observation, batch.next_observation))
            parameters, *mixed = self.mixing.forward(*states)
            mixtures = (mixed[0], mixed[1], mixed[2])
            sources.append(parameters)
        if self._adapts_temperature:
            sources.append(self.log_temperature)
        loss, parts = self.objective.losses(self._step(outputs, batch, mixtures))
        signals = torch.autograd.grad(loss, sources)
        self._trained.backward(signals[0])
        if self.mixing is not None:
            self.mixing.backward(signals[1])
        if self._adapts_temperature:
            self._temperature_gradient.copy_(signals[-1])
        self._optimiser.step()
        self._move_targets()
        stacked = torch.stack([parts[name].detach() for name in self.parts])
        self.sums += stacked
        diverged = (self.first_diverged < 0) & ~(stacked.abs() < DIVERGED)
        self.first_diverged.copy_(torch.where(diverged, self.updates, self.first_diverged))

    def _step(self, outputs: Tensor, batch: Transitions, mixtures: tuple[Mix, Mix, Mix]) -> Step:
        """What the losses of a batch depend on.

        Args:
            outputs: those of the trained networks on s.
            batch: the batch.
            mixtures: those of trained networks on s, and of target networks on s and s'.
        """
        none = outputs[:0].detach()

        def run(workspace: Workspace | None, observation: Tensor) -> Tensor:
            """Outputs of the networks of a workspace; an empty tensor where there are none."""
            return none if workspace is None else workspace.forward(self.head_inputs(observation))

        return Step(
            config=self.config,
            heads=self.heads,
            roles=self.roles,
            batch=batch,
            outputs=outputs,
            judged=run(self._judging, batch.observation),
            following=run(self._on_next, batch.next_observation),
            reward=self._scaled(batch.reward),
            log_temperature=self.log_temperature,
            mix=mixtures[0],
            judged_mix=mixtures[1],
            next_mix=mixtures[2],
        )

    def _scaled(self, reward: Tensor) -> Tensor:
        """Rewards (S, B) as they are learned from."""
        if self.config.normalise_rewards:
            reward = (reward - self.reward_shift) / self.reward_spread
        return reward * self.config.reward_scale

    def _move_targets(self) -> None:
        """Move the target networks every `target_period` updates: theta' += rate (theta - theta').

        Between these updates the rate is 0, since a captured graph cannot branch.
        """
        self.updates += 1
        targets = self.roles.targets
        if targets == 0:
            return
        due = (self.updates % self.config.target_period == 0).to(torch.float32)
        rate = due * self.config.target_rate
        for layer in self.layers:
            for tensor in layer:
                tensor[self.roles.trained :].lerp_(tensor[:targets], rate)
        if self.mixing is not None:
            for layer in self.mixing.layers:
                for tensor in layer:
                    tensor[self.mixing.n :].lerp_(tensor[: self.mixing.n], rate)

    # --- Acting ---

    def head_inputs(self, observation: Tensor) -> Tensor:
        """Normalised inputs of the heads (S, K, B, features), from observations (S, B, I, D)."""
        return self.heads.inputs((observation - self.shift) * self.scale)

    def _state(self, observation: Tensor) -> Tensor:
        """The normalised state (S, 1, B, I D), from observations (S, B, I, D)."""
        return self.heads.state((observation - self.shift) * self.scale)

    @known_torch
    @torch.no_grad()
    def explore(self, observation: Tensor, mask: Tensor, step: Tensor, epsilon: float) -> Tensor:
        """Legal actions (S, B, I) for online training.

        With probability ``epsilon`` a head's action is uniformly random. Otherwise sac samples it
        from its actor, and dqn takes the best one by its critics.

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

    @known_torch
    def fit_normaliser(self, observation: Tensor, reward: Tensor) -> None:
        """Set shift and scale so that features and rewards get mean 0 and standard deviation 1.

        Constant features become 0. Nothing happens unless the configuration asks for it.

        Args:
            observation: (S, n, I, D), or (1, n, I, D) for all seeds.
            reward: (S, n), or (1, n) for all seeds.
        """
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
        named = {
            "log_temperature": self.log_temperature.detach(),
            "shift": self.shift,
            "scale": self.scale,
            "updates": self.updates,
        }
        if self.config.normalise_rewards:
            named |= {"reward_shift": self.reward_shift, "reward_spread": self.reward_spread}
        for depth, (weights, biases) in enumerate(self.layers):
            named |= {f"layers.{depth}.weights": weights, f"layers.{depth}.biases": biases}
        if self.mixing is not None:
            for depth, (weights, biases) in enumerate(self.mixing.layers):
                named |= {f"mixing.{depth}.weights": weights, f"mixing.{depth}.biases": biases}
        for k, moments in enumerate(self._optimiser.state.values()):
            named |= {f"adam.{k}.{name}": value for name, value in moments.items()}
        return named

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

    # --- Optimiser ---

    @property
    def _adapts_temperature(self) -> bool:
        """Whether the temperature is trained."""
        return self.config.algorithm == "sac" and self.config.automatic_temperature

    def _make_optimiser(self) -> torch.optim.Adam:
        """Adam with groups for critics, actor, mixing networks and temperature, by their rates."""
        config, trained = self.config, self.roles.trained
        judging = self.roles.critics + self.roles.value
        groups: list[dict[str, Any]] = []
        for which, rate in (
            (slice(judging), config.critic_learning_rate),
            (slice(judging, trained), config.actor_learning_rate),
        ):
            if range(trained)[which]:
                groups.append(group_of(self.layers, self._trained.gradients, which, rate))
        if self.mixing is not None:
            which, rate = slice(self.mixing.n), config.critic_learning_rate
            groups.append(group_of(self.mixing.layers, self.mixing.gradients, which, rate))
        if self._adapts_temperature:
            self.log_temperature.grad = self._temperature_gradient
            rate = config.temperature_learning_rate
            groups.append({"params": [self.log_temperature], "lr": rate})
        return adam(groups, self.device)
