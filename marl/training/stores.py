"""What updates draw from: a dataset, or a replay that the learner fills; and the update itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from marl.config import TrainingConfig, environment_steps
from marl.data.dataset import Dataset
from marl.data.replay import Replay
from marl.data.transitions import Transitions
from marl.learner.learner import Learner
from marl.sources import Source


class Store(Protocol):
    """The transitions that the next update may draw from."""

    stored: Transitions
    size: Tensor
    first: Tensor

    def before_update(self, updates: int) -> None:
        """Called with the number of updates done."""

    def restart(self, updates: int) -> None:
        """Continue in a way that a run resumed after ``updates`` repeats."""


class DatasetStore:
    """All seeds learn from one dataset, resident on the device."""

    def __init__(self, dataset: Dataset, learner: Learner) -> None:
        self.stored = dataset.transitions(learner.device)
        self.size = torch.tensor(len(dataset), device=learner.device)
        self.first = torch.zeros(len(learner.seeds), dtype=torch.int64, device=learner.device)
        learner.fit_normaliser(self.stored.observation.unsqueeze(0))

    def before_update(self, updates: int) -> None:
        """Nothing to do: all is there."""

    def restart(self, updates: int) -> None:
        """Nothing to do: batches depend on seed and update alone."""


class ReplayStore:
    """Every seed acts in environments of its own and learns from a replay of its own."""

    def __init__(
        self, learner: Learner, training: TrainingConfig, make_source: Callable[[], Source]
    ) -> None:
        self._learner, self._training = learner, training
        self._sources = [make_source() for _ in learner.seeds]
        self._random_steps = (
            environment_steps(0, learner.config, training) // training.envs_per_seed
        )
        collected = environment_steps(training.updates, learner.config, training)
        capacity = min(learner.config.replay_capacity, collected)
        self.replay = Replay(learner.team, len(learner.seeds), capacity, learner.device)
        self.stored, self.size, self.first = self.replay.stored, self.replay.size, self.replay.first

    def before_update(self, updates: int) -> None:
        """Before the first update, fill the replay with random actions; then step every `updates_per_step` updates."""
        if updates == 0:
            for step in range(self._random_steps):
                self._step(step, epsilon=1.0)
            filled = self.replay.tensors()["observation"]
            self._learner.fit_normaliser(filled)
        if updates % self._training.updates_per_step == 0:
            self._step(self._random_steps + updates, self._epsilon(updates))

    def restart(self, updates: int) -> None:
        """New episodes, of seeds that no earlier step reached: at most one episode began per environment and step."""
        begun = 0 if updates == 0 else self._random_steps + updates
        for seed, source in zip(self._learner.seeds, self._sources, strict=True):
            source.reset(seed, begun * self._training.envs_per_seed)

    def _epsilon(self, updates: int) -> float:
        c = self._learner.config
        if c.algorithm != "dqn":
            return 0.0
        return max(
            c.epsilon_final, 1 - (1 - c.epsilon_final) * updates / max(c.exploration_updates, 1)
        )

    def _step(self, step: int, epsilon: float) -> None:
        observation, mask = (
            np.stack([getattr(source, name) for source in self._sources])
            for name in ("observation", "mask")
        )
        device = self._learner.device
        counter = torch.tensor(step, device=device)
        tensors = torch.from_numpy(observation).to(device), torch.from_numpy(mask).to(device)
        actions = self._learner.explore(*tensors, counter, epsilon).cpu().numpy()
        outcomes = [
            source.step(chosen) for source, chosen in zip(self._sources, actions, strict=True)
        ]
        reward, next_observation, next_mask, terminated, _ = (
            np.stack(column) for column in zip(*outcomes, strict=True)
        )
        self.replay.add(observation, mask, actions, reward, next_observation, next_mask, terminated)


class Updates:
    """Calls `Learner.update_from`; on CUDA it is captured once and replayed as one graph."""

    def __init__(self, learner: Learner, store: Store) -> None:
        self._learner, self._store = learner, store
        self._graph: Any = None

    def __call__(self) -> None:
        """One update."""
        if self._learner.device.type != "cuda":
            self._update()
            return
        if self._graph is None:
            self._capture()
        self._graph.replay()

    def _update(self) -> None:
        self._learner.update_from(self._store.stored, self._store.size, self._store.first)

    def _capture(self) -> None:
        """Warm up on a side stream, as capture demands, and undo what the warm-up learned."""
        supervised = {"sums": self._learner.sums, "first_diverged": self._learner.first_diverged}
        before = {
            name: tensor.clone()
            for name, tensor in {**self._learner.tensors(), **supervised}.items()
        }
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._update()
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._update()
        self._learner.load(before)
        for name, tensor in supervised.items():
            tensor.copy_(before[name])
