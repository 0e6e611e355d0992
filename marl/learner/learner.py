"""The learner of all schemes, which trains stacked networks of several seeds at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.data.transitions import Transitions
from marl.learner.mixing import Mix, MixingNetworks, apart, total
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes, roles
from marl.learner.objectives import OBJECTIVES, Step
from marl.learner.optimiser import Adam, Group, group_of
from marl.learner.random import random_bits
from marl.learner.roles import Outputs
from marl.learner.rounded import workspace_of
from marl.learner.stacked import BATCHES, StackedLearner, named_layers
from marl.team import Team
from marl.torch_state import known_torch


class Learner(StackedLearner):
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
        if config.algorithm not in OBJECTIVES:
            raise ValueError(
                f"algorithm = {config.algorithm!r} has a learner of its own, OnPolicyLearner"
            )
        self.objective = OBJECTIVES[config.algorithm]
        super().__init__(config, team, seeds, device, self.objective.parts)
        self.sizes = layer_sizes(self.heads.n_inputs, config.hidden_sizes, self.heads.n_actions)
        n_seeds = len(self.seeds)
        n_heads = self.heads.n_heads
        n_networks = 1 if config.share_parameters else n_heads
        initial = initialise(self.sizes, self.roles.trained, self.seeds, n_networks)
        self.layers: Layers = [
            (self._with_targets(weights), self._with_targets(biases)) for weights, biases in initial
        ]
        trained = roles(self.layers, slice(self.roles.trained))
        self._trained = workspace_of(config)(trained, n_heads, config.batch_size, trains=True)
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
        self._optimiser = self._make_optimiser()
        self._targets = self._targets_of(self.layers, self.roles.trained, self.roles.targets)
        if self.mixing is not None:
            self._targets += self._targets_of(self.mixing.layers, self.mixing.n, self.mixing.n)

    @staticmethod
    def _targets_of(layers: Layers, trained: int, targets: int) -> list[tuple[Tensor, Tensor]]:
        """The parameters of target networks, each with those that it follows."""
        both = ((tensor[trained:], tensor[:targets]) for layer in layers for tensor in layer)
        return [pair for pair in both if targets > 0]

    def _with_targets(self, tensor: Tensor) -> Tensor:
        """Parameters of the trained networks, followed by copies of the critics' as targets."""
        return torch.cat([tensor, tensor[: self.roles.targets]]).to(self.device)

    def _workspace(self, which: slice) -> Workspace | None:
        """Buffers to run a range of networks on a batch; None where the range is empty."""
        layers = roles(self.layers, which)
        if len(layers[0][0]) == 0:
            return None
        return workspace_of(self.config)(layers, self.heads.n_heads, self.config.batch_size)

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
        inputs = self.head_inputs(batch.observation, batch.action)
        outputs = self.roles.split(self._trained.forward(inputs))
        biases = self._biases(batch)
        for part in (outputs.critics, outputs.behaviour, outputs.actor):
            part.add_(biases[0])
        networks = [part.requires_grad_() for part in outputs if len(part)]
        mixtures: tuple[Mix, Mix, Mix] = (total if self.heads.mixes else apart,) * 3
        sources = [*networks]
        if self.mixing is not None:
            states = map(self._state, (batch.observation, batch.next_observation))
            parameters, *mixed = self.mixing.forward(*states)
            mixtures = (mixed[0], mixed[1], mixed[2])
            sources.append(parameters)
        if self._adapts_temperature:
            sources.append(self.log_temperature)
        loss, parts = self.objective.losses(self._step(outputs, batch, biases, mixtures))
        signals = torch.autograd.grad(loss, sources)
        self._trained.backward(*signals[: len(networks)])
        if self.mixing is not None:
            self.mixing.backward(signals[len(networks)])
        if self._adapts_temperature:
            self._temperature_gradient.copy_(signals[-1])
        self._optimiser.step()
        self._move_targets()
        self._add_parts(parts)

    def _biases(self, batch: Transitions) -> tuple[Tensor, Tensor]:
        """What keeps illegal actions of s and s' out; an empty tensor if s' is not masked."""
        if not self.objective.masks:
            bias = self.heads.bias(batch.mask)
            return bias, bias[:0]
        both = self.heads.bias(torch.cat([batch.mask, batch.next_mask], 1))
        present, following = both.chunk(2, -2)
        return present, following

    def _step(
        self,
        outputs: Outputs,
        batch: Transitions,
        biases: tuple[Tensor, Tensor],
        mixtures: tuple[Mix, Mix, Mix],
    ) -> Step:
        """What the losses of a batch depend on.

        Args:
            outputs: those of the trained networks on s, by role.
            batch: the batch.
            biases: what keeps illegal actions of s and s' out.
            mixtures: those of trained networks on s, and of target networks on s and s'.
        """
        none = outputs.critics[:0].detach()

        def run(workspace: Workspace | None, observation: Tensor) -> Tensor:
            """Outputs of the networks of a workspace; an empty tensor where there are none."""
            return none if workspace is None else workspace.forward(self.head_inputs(observation))

        following = run(self._on_next, batch.next_observation)
        if self.objective.masks:
            following.add_(biases[1])
        return Step(
            config=self.config,
            heads=self.heads,
            roles=self.roles,
            batch=batch,
            chosen=self.heads.chosen(batch.action),
            outputs=outputs,
            judged=run(self._judging, batch.observation),
            following=following,
            reward=self._scaled(batch.reward),
            log_temperature=self.log_temperature,
            bias=biases[0],
            mix=mixtures[0],
            judged_mix=mixtures[1],
            next_mix=mixtures[2],
        )

    def _move_targets(self) -> None:
        """Move the target networks every `target_period` updates: theta' += rate (theta - theta').

        Between these updates the rate is 0, since a captured graph cannot branch.
        """
        self.updates += 1
        if not self._targets:
            return
        due = (self.updates % self.config.target_period == 0).to(torch.float32)
        rate = due * self.config.target_rate
        for target, network in self._targets:
            target.lerp_(network, rate)

    def _state(self, observation: Tensor) -> Tensor:
        """The normalised state (S, 1, B, I D), from observations (S, B, I, D)."""
        return self.heads.state((observation - self.shift) * self.scale)

    # --- Checkpoints and optimiser ---

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that the next update depends on, by name and not copied."""
        own = {"log_temperature": self.log_temperature.detach()}
        if self.mixing is not None:
            own |= named_layers("mixing", self.mixing.layers)
        return {**own, **super().tensors()}

    @property
    def _adapts_temperature(self) -> bool:
        """Whether the temperature is trained."""
        return self.config.algorithm == "sac" and self.config.automatic_temperature

    def _make_optimiser(self) -> Adam:
        """Adam with groups for critics, actor, mixing networks and temperature, by their rates."""
        config, trained = self.config, self.roles.trained
        judging = self.roles.critics + self.roles.value
        groups: list[Group] = []
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
            rate = config.temperature_learning_rate
            groups.append(Group([self.log_temperature], [self._temperature_gradient], rate))
        return Adam(groups)
