"""Stores of transitions for updates: a dataset or a replay buffer; and the update itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl.config import TrainingConfig, environment_steps
from marl.data.dataset import Dataset
from marl.data.replay import Replay
from marl.learner.learner import Learner
from marl.learner.stacked import StackedLearner
from marl.sources import Source


class Memory(Protocol):
    """What a store has collected and a checkpoint has to keep."""

    def tensors(self) -> dict[str, Tensor]:
        """The content by name, with the number ``added`` of transitions of each seed so far."""

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore what `tensors` returned."""


class Store(Protocol):
    """What updates learn from."""

    @property
    def memory(self) -> Memory | None:
        """What checkpoints keep beside the learner; None where there is nothing."""

    def before_update(self, updates: int) -> None:
        """Prepare the next update, after ``updates`` updates."""

    def update(self) -> None:
        """Do one update of the learner; on CUDA it is captured as a graph."""

    def restart(self, updates: int) -> None:
        """Continue after a checkpoint just as a run would that resumes from it."""


class DatasetStore:
    """One dataset for all seeds, resident on the learner's device."""

    memory = None

    def __init__(self, dataset: Dataset, learner: Learner) -> None:
        self._learner = learner
        self.stored = dataset.transitions(learner.device)
        self.size = torch.tensor(len(dataset), device=learner.device)
        self.first = torch.zeros(len(learner.seeds), dtype=torch.int64, device=learner.device)
        learner.fit_normaliser(
            self.stored.observation.unsqueeze(0), self.stored.reward.unsqueeze(0)
        )

    def before_update(self, updates: int) -> None:
        """Do nothing: the dataset is complete."""

    def update(self) -> None:
        """Update the learner, as `Store.update`."""
        self._learner.update_from(self.stored, self.size, self.first)

    def restart(self, updates: int) -> None:
        """Do nothing: batches depend only on seed and update."""


class ReplayStore:
    """A replay buffer for each seed, which acts in environments of its own."""

    def __init__(
        self, learner: Learner, training: TrainingConfig, make_source: Callable[[], Source]
    ) -> None:
        self._learner, self._training = learner, training
        self._sources = [make_source() for _ in learner.seeds]
        before_updates = environment_steps(0, learner.config, training)
        self._random_steps = before_updates // training.envs_per_seed
        collected = environment_steps(training.updates, learner.config, training)
        capacity = min(learner.config.replay_capacity, collected)
        self.replay = Replay(learner.team, len(learner.seeds), capacity, learner.device)
        self.memory = self.replay
        self.stored = self.replay.stored
        self.size = self.replay.size
        self.first = self.replay.first

    def before_update(self, updates: int) -> None:
        """Step all environments, if ``updates`` is a multiple of ``updates_per_step``.

        Before the first update the replay buffer is filled by random actions.
        """
        if updates == 0:
            for step in range(self._random_steps):
                self._step(step, epsilon=1.0)
            filled = self.replay.tensors()
            self._learner.fit_normaliser(filled["observation"], filled["reward"])
        if updates % self._training.updates_per_step == 0:
            self._step(self._random_steps + updates, self._epsilon(updates))

    def update(self) -> None:
        """Update the learner, as `Store.update`."""
        self._learner.update_from(self.stored, self.size, self.first)

    def restart(self, updates: int) -> None:
        """Begin new episodes, with seeds that no earlier step used.

        At most one episode has begun per environment and step.
        """
        begun = 0 if updates == 0 else self._random_steps + updates
        for seed, source in zip(self._learner.seeds, self._sources, strict=True):
            source.reset(seed, begun * self._training.envs_per_seed)

    def _epsilon(self, updates: int) -> float:
        """Probability of a random action: falls linearly from 1 with DQN, 0 with SAC."""
        config = self._learner.config
        if config.algorithm != "dqn":
            return 0.0
        final = config.epsilon_final
        return max(final, 1 - (1 - final) * updates / max(config.exploration_updates, 1))

    def _step(self, step: int, epsilon: float) -> None:
        """Step all environments of all seeds once, and store the transitions."""
        taken, _ = step_all(self._learner, self._sources, step, epsilon)
        self.replay.add(*taken)


def step_all(
    learner: StackedLearner, sources: Sequence[Source], step: int, epsilon: float
) -> tuple[tuple[NDArray[Any], ...], NDArray[np.uint8]]:
    """Step the E environments of all S seeds once.

    Args:
        learner: who acts.
        sources: the environments of each seed.
        step: number of the step; each gives other random numbers.
        epsilon: probability of a random action.

    Returns:
        The fields of `Transitions` in their order, (S, E, ...) each, and whether the environment
        cut the episode, (S, E).
    """
    observation = np.stack([source.observation for source in sources])
    mask = np.stack([source.mask for source in sources])
    device = learner.device
    explored = learner.explore(
        torch.from_numpy(observation).to(device),
        torch.from_numpy(mask).to(device),
        torch.tensor(step, device=device),
        epsilon,
    )
    actions = explored.cpu().numpy()
    outcomes = [source.step(chosen) for source, chosen in zip(sources, actions, strict=True)]
    reward, next_observation, next_mask, terminated, truncated = (
        np.stack(column) for column in zip(*outcomes, strict=True)
    )
    taken = observation, mask, actions, reward, next_observation, next_mask, terminated
    return taken, truncated


class Updates:
    """Updates of a learner; on CUDA one is captured as a graph, which is then replayed."""

    def __init__(self, learner: StackedLearner, store: Store) -> None:
        self._learner, self._store = learner, store
        self._graph: Any = None

    def __call__(self) -> None:
        """Do one update."""
        if self._learner.device.type != "cuda":
            self._update()
            return
        if self._graph is None:
            self._capture()
        self._graph.replay()

    def _update(self) -> None:
        self._store.update()

    def _capture(self) -> None:
        """Capture an update as a graph; warm-up updates on a side stream are undone afterwards."""
        monitors = {"sums": self._learner.sums, "first_diverged": self._learner.first_diverged}
        state = {**self._learner.tensors(), **monitors}
        before = {name: tensor.clone() for name, tensor in state.items()}
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
        for name, tensor in monitors.items():
            tensor.copy_(before[name])
