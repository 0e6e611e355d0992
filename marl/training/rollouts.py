"""The store of an on-policy learner: steps that its present policy has just taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from marl.config import TrainingConfig, environment_steps, updates_per_rollout
from marl.data.storage import require_like
from marl.data.transitions import Transitions, check_values, learned_dtype
from marl.learner.on_policy import OnPolicyLearner, Rollout
from marl.sources import Source
from marl.training.stores import step_all


class RolloutStore:
    """Rollouts of all seeds, each of which acts in environments of its own.

    A rollout is T = `rollout_steps` steps of E environments. It serves `epochs` passes, each over
    the whole batches of another random order of its T * E steps; then the next one is collected.

    Args:
        learner: who acts and learns.
        training: number of environments.
        make_source: makes the environments of a seed.

    Raises:
        ValueError: as `updates_per_rollout`.
    """

    def __init__(
        self, learner: OnPolicyLearner, training: TrainingConfig, make_source: Callable[[], Source]
    ) -> None:
        config = learner.config
        self._learner, self._n_envs = learner, training.envs_per_seed
        self._per_rollout = updates_per_rollout(config, training)
        self._per_epoch = self._per_rollout // config.epochs
        self._sources = [make_source() for _ in learner.seeds]
        self._random_steps = environment_steps(0, config, training) // self._n_envs
        self._size = config.rollout_steps * self._n_envs
        device = learner.device
        self._order = torch.zeros(len(learner.seeds), self._size, dtype=torch.int64, device=device)
        self._epoch = -1
        """Number of the epoch whose order is at hand, over all rollouts."""
        self.memory = RolloutMemory(learner, self._size)

    def before_update(self, updates: int) -> None:
        """Collect a rollout when the last one has served, and order it before each epoch.

        Before the first update, random actions show the range of observations.
        """
        if updates == 0 and self._random_steps:
            self._fit_normaliser()
        if updates % self._per_rollout == 0:
            self._collect(updates)
        epoch = updates // self._per_epoch
        if epoch != self._epoch:
            counter = torch.tensor(epoch, device=self._learner.device)
            self._order.copy_(self._learner.order(self._size, counter))
            self._epoch = epoch

    def _fit_normaliser(self) -> None:
        """Show the learner observations and rewards of random actions."""
        steps = [
            step_all(self._learner, self._sources, step, 1.0)[0]
            for step in range(self._random_steps)
        ]
        shown = Transitions(
            *(torch.from_numpy(np.concatenate(column, 1)) for column in zip(*steps, strict=True))
        )
        device = self._learner.device
        self._learner.fit_normaliser(shown.observation.to(device), shown.reward.to(device))

    def update(self) -> None:
        """Update the learner on the next part of the order, as `Store.update`."""
        size = self._learner.config.batch_size
        part = self._learner.updates % self._per_epoch * size
        places = part + torch.arange(size, device=self._learner.device)
        self._learner.update(self.memory.batch(self._order.index_select(1, places)))

    def restart(self, updates: int) -> None:
        """Begin new episodes, with seeds that no earlier step used.

        The rollout at hand goes on to serve.
        """
        begun = 0 if updates == 0 else self._steps(-(-updates // self._per_rollout))
        for seed, source in zip(self._learner.seeds, self._sources, strict=True):
            source.reset(seed, begun * self._n_envs)

    def _steps(self, rollouts: int) -> int:
        """Steps of each environment after a number of rollouts."""
        return self._random_steps + rollouts * self._learner.config.rollout_steps

    def _collect(self, updates: int) -> None:
        """Take the steps of the next rollout, and prepare it."""
        first = self._steps(updates // self._per_rollout)
        steps, ends = [], []
        for step in range(first, first + self._learner.config.rollout_steps):
            taken, truncated = step_all(self._learner, self._sources, step, 0.0)
            steps.append(taken)
            ends.append(truncated | taken[-1])
        device = self._learner.device
        fields = (torch.from_numpy(np.stack(column, 1)) for column in zip(*steps, strict=True))
        taken_steps = Transitions(
            *(
                field.to(device, learned_dtype(name))
                for name, field in zip(Transitions._fields, fields, strict=True)
            )
        )
        flat = {name: field.flatten(0, 2) for name, field in taken_steps._asdict().items()}
        check_values(flat)
        ended = torch.from_numpy(np.stack(ends, 1)).to(device)
        added = self._n_envs * (first + self._learner.config.rollout_steps)
        self.memory.put(self._learner.prepare(taken_steps, ended), added)


class RolloutMemory:
    """The present rollout of S seeds with n steps each, as checkpoints keep it."""

    def __init__(self, learner: OnPolicyLearner, n: int) -> None:
        team, heads, critics = learner.team, learner.heads.n_heads, learner.n_critic_heads
        lead = len(learner.seeds), n
        agents = *lead, team.n_agents
        self.device = learner.device
        self.stored = Rollout(
            observation=self._zeros(torch.float32, *agents, team.n_features),
            mask=self._zeros(torch.uint8, *agents, team.n_actions),
            action=self._zeros(torch.int64, *agents),
            log_probability=self._zeros(torch.float32, *lead, heads),
            advantage=self._zeros(torch.float32, *lead, critics),
            target=self._zeros(torch.float32, *lead, critics),
        )
        self.added = 0
        """Steps that each seed has collected so far, the random ones included."""

    def _zeros(self, dtype: torch.dtype, *shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.device)

    def put(self, rollout: Rollout, added: int) -> None:
        """Replace the rollout in place, so that captured graphs read the new one."""
        for own, new in zip(self.stored, rollout, strict=True):
            own.copy_(new)
        self.added = added

    def batch(self, index: Tensor) -> Rollout:
        """The steps at ``index`` (S, B) of each seed, (S, B, ...)."""
        n_seeds, n = self.stored.action.shape[:2]
        first = torch.arange(n_seeds, device=self.device).unsqueeze(-1) * n
        flat = (first + index).flatten()
        return Rollout(
            *(
                field.flatten(0, 1).index_select(0, flat).view(*index.shape, *field.shape[2:])
                for field in self.stored
            )
        )

    def tensors(self) -> dict[str, Tensor]:
        """The rollout by name, (S, n, ...) each, and the number ``added`` of steps so far."""
        return {**self.stored._asdict(), "added": torch.tensor(self.added)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that `tensors` returned.

        Raises:
            ValueError: a tensor is missing, has another shape or type, or holds values that no
                rollout has.
        """
        own = self.stored._asdict()
        for name, field in own.items():
            require_like("replay", name, tensors, field.dtype, tuple(field.shape))
        for name in ("log_probability", "advantage", "target"):
            if not torch.isfinite(tensors[name]).all():
                raise ValueError(f"replay: {name} must be finite")
        seen = {name: tensors[name].flatten(0, 1) for name in ("observation", "mask", "action")}
        rest = {"next_observation": seen["observation"], "next_mask": seen["mask"]}
        none = torch.zeros(len(seen["action"]))
        try:
            check_values({**seen, **rest, "reward": none, "terminated": none})
        except ValueError as error:
            raise ValueError(f"replay: {error}") from None
        self.added = int(tensors["added"])
        for name, field in own.items():
            field.copy_(tensors[name])
