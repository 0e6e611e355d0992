"""Small parallel environments, datasets, policies and runs for the tests of learners."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, Space
from numpy.typing import NDArray
from pettingzoo import ParallelEnv
from safetensors.torch import load_file
from torch import Tensor

from baselines import RandomWalk
from marl import (
    Dataset,
    Heads,
    LearnerConfig,
    Policy,
    Team,
    TrainingConfig,
    collect,
    train,
)
from marl.__main__ import main
from marl.environment import Environment
from marl.learner.networks import initialise, layer_sizes
from marl.learner.roles import roles_of
from marl.learner.stacked import StackedLearner
from rrm_env import RRMConfig

SMALL = RRMConfig(n_aps=2, n_ues=6, n_candidates=2, episode_length=10)
"""A network on which a few updates take no time."""

PARADIGMS = ("c", "i", "ctde")
EVALUATION = 2**30
"""Where the seeds of evaluation begin in environments that are not ours."""


class UnequalAgents(ParallelEnv[str, Any, int]):  # type: ignore[misc] # published without type hints
    """Two agents that differ in observation size, action count, masks and rewards.

    It refuses illegal actions. An episode lasts 3 or 4 steps. It terminates if the sum of its last
    actions is even, and is truncated otherwise. The first feature of every observation is the seed
    of the last seeded reset, so that a recording tells how to repeat it. Seeds from `EVALUATION` on
    are counted from there, since float32 holds no larger integers.

    Args:
        masks: where masks are given: in "infos", in "observations" or "nowhere", and then every
            action is legal.
    """

    def __init__(self, masks: str = "infos") -> None:
        self.metadata = {"name": "unlike_v0"}
        self.render_mode = None
        self.possible_agents = ["short", "long"]
        self.agents: list[str] = []
        self._masks = masks
        self._features = {"short": 3, "long": 5}
        self._actions = {"short": 2, "long": 4}
        self._observation_spaces = {agent: self._observed(agent) for agent in self.possible_agents}
        self._action_spaces = {agent: Discrete(n) for agent, n in self._actions.items()}
        self._generator = np.random.default_rng()
        self._seed, self._t, self._length = 0, 0, 3

    def _observed(self, agent: str) -> Space[Any]:
        features = Box(-np.inf, np.inf, (self._features[agent],), np.float32)
        if self._masks != "observations":
            return features
        return Dict(
            {"observation": features, "action_mask": Box(0, 1, (self._actions[agent],), np.int8)}
        )

    def observation_space(self, agent: str) -> Space[Any]:
        """As PettingZoo's."""
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> Space[Any]:
        """As PettingZoo's."""
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As PettingZoo's."""
        if seed is not None:
            self._seed, self._generator = seed, np.random.default_rng(seed)
        self.agents, self._t = self.possible_agents[:], 0
        self._length = int(self._generator.integers(3, 5))
        return self._see()

    def step(self, actions: dict[str, int]) -> Any:
        """As PettingZoo's."""
        for agent, action in actions.items():
            assert self.legal[agent][action], f"{agent} took {action} under {self.legal[agent]}"
        self._t += 1
        over, even = self._t == self._length, sum(actions.values()) % 2 == 0
        rewards = {"short": self._t + 10.0 * actions["short"], "long": 100.0 * actions["long"]}
        observations, infos = self._see()
        if over:
            self.agents = []
        ends = [
            dict.fromkeys(self.possible_agents, bool(over and kind)) for kind in (even, not even)
        ]
        return observations, rewards, *ends, infos

    def _see(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Observations and infos, the last agent first, since order must not matter."""
        observations, infos = {}, {}
        self.legal: dict[str, NDArray[np.int8]] = {}
        for agent in reversed(self.possible_agents):
            mask = self._generator.random(self._actions[agent]) < 0.5
            mask[self._generator.integers(len(mask))] = True
            self.legal[agent] = (
                np.ones(len(mask), np.int8) if self._masks == "nowhere" else mask.astype(np.int8)
            )
            seen = np.array(
                [
                    self._seed % EVALUATION,
                    self._t,
                    *self._generator.random(self._features[agent] - 2),
                ],
                np.float32,
            )
            observations[agent] = (
                {"observation": seen, "action_mask": self.legal[agent]}
                if self._masks == "observations"
                else seen
            )
            infos[agent] = {"action_mask": self.legal[agent]} if self._masks == "infos" else {}
        return observations, infos


class Match(ParallelEnv[str, Any, int]):  # type: ignore[misc] # published without type hints
    """One step: both agents see one of three targets, and the reward is 1 where both choose it."""

    def __init__(self) -> None:
        self.metadata = {"name": "match_v0"}
        self.render_mode = None
        self.possible_agents = ["first", "second"]
        self.agents: list[str] = []
        self._observation_space, self._action_space = Box(0, 1, (3,), np.float32), Discrete(3)
        self._generator = np.random.default_rng()
        self._target = 0

    def observation_space(self, agent: str) -> Space[Any]:
        """As PettingZoo's."""
        return self._observation_space

    def action_space(self, agent: str) -> Space[Any]:
        """As PettingZoo's."""
        return self._action_space

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """As PettingZoo's."""
        if seed is not None:
            self._generator = np.random.default_rng(seed)
        self.agents, self._target = self.possible_agents[:], int(self._generator.integers(3))
        return self._see()

    def step(self, actions: dict[str, int]) -> Any:
        """As PettingZoo's."""
        self.agents = []
        reward = float(all(action == self._target for action in actions.values()))
        observations, infos = self._see()
        both = [dict.fromkeys(self.possible_agents, value) for value in (reward, True, False)]
        return observations, *both, infos

    def _see(self) -> tuple[dict[str, Any], dict[str, Any]]:
        seen = np.eye(3, dtype=np.float32)[self._target]
        return {agent: seen.copy() for agent in self.possible_agents}, {
            agent: {} for agent in self.possible_agents
        }


# --- Datasets and policies ---


def arrays(n: int = 6, team: Team = Team(2, 3, 4), seed: int = 0) -> dict[str, Any]:  # noqa: B008 - frozen
    """The tensors of a valid dataset of random numbers.

    Action 0 is always legal, and the reward numbers the transitions.
    """
    generator = torch.Generator().manual_seed(seed)
    seen, masked = (n, team.n_agents, team.n_features), (n, team.n_agents, team.n_actions)
    masks = [
        (torch.rand(masked, generator=generator) < 0.6)
        .to(torch.uint8)
        .index_fill(2, torch.tensor([0]), 1)
        for _ in range(2)
    ]
    likely = torch.rand(masked, generator=generator) + masks[0]
    flags = torch.randint(3, (n,), generator=generator)
    return {
        "observation": torch.randn(seen, generator=generator),
        "mask": masks[0],
        "action": likely.argmax(-1).to(torch.int32),
        "reward": torch.arange(n, dtype=torch.float32),
        "next_observation": torch.randn(seen, generator=generator),
        "next_mask": masks[1],
        "terminated": (flags == 1).to(torch.uint8),
        "truncated": (flags == 2).to(torch.uint8),
        "behaviour": torch.zeros(n, dtype=torch.int32),
    }


def episodes(dataset: Dataset, length: int) -> list[slice]:
    """The rows of each episode; the last one may be cut."""
    return [
        slice(start, min(start + length, len(dataset))) for start in range(0, len(dataset), length)
    ]


def described(name: str = "someone", environment: str = "somewhere") -> dict[str, Any]:
    """Metadata of one behaviour."""
    behaviour = {"name": name, "seed": 0, "transitions": 6, "kpis": {"return": 1.5}}
    return {"environment": {"kind": "parallel", "name": environment}, "behaviours": [behaviour]}


def made_up(n: int = 6, seed: int = 0, **metadata: str) -> Dataset:
    """A dataset of random numbers."""
    return Dataset(**arrays(n, seed=seed), metadata=described(**metadata))


def random_policy(
    team: Team, config: LearnerConfig | None = None, seed: int = 0, **options: Any
) -> Policy:
    """A policy of random networks."""
    config = LearnerConfig(hidden_sizes=(16,)) if config is None else config
    heads = Heads.of(config, team)
    shared = config.share_parameters
    layers = initialise(
        layer_sizes(heads.n_inputs, config.hidden_sizes, heads.n_actions),
        roles_of(config).trained,
        [seed],
        1 if shared else heads.n_heads,
    )
    shape = 1, 1, 1 if shared else team.n_agents, team.n_features
    shift, scale = torch.zeros(shape), torch.ones(shape)
    return Policy(config, team, layers, shift, scale, **options)


# --- Runs ---


def small_learner(**changes: Any) -> LearnerConfig:
    """A learner for a few updates."""
    small = {
        "hidden_sizes": (16,),
        "batch_size": 8,
        "replay_capacity": 60,
        "learning_starts": 16,
        "exploration_updates": 15,
    }
    return LearnerConfig(**{**small, **changes})


def small_training(**changes: Any) -> TrainingConfig:
    """A configuration of twenty updates with every kind of record."""
    small = {
        "updates": 20,
        "log_every": 5,
        "evaluate_every": 10,
        "checkpoint_every": 10,
        "evaluation_episodes": 2,
        "envs_per_seed": 2,
    }
    return TrainingConfig(**{**small, **changes})


def trained(
    run: Path,
    learner: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Train a small run, in the network `SMALL` if no environment is given."""
    options = {"environment": SMALL, **options}
    return train(
        run, small_learner(**(learner or {})), small_training(**(training or {})), **options
    )


def records(run: Path) -> list[dict[str, Any]]:
    """The entries of the log, without times."""
    lines = (run / "log.jsonl").read_text().splitlines()
    return [
        {key: value for key, value in json.loads(line).items() if key != "seconds"}
        for line in lines
    ]


def checkpoint(run: Path) -> dict[str, Tensor]:
    """The tensors in the checkpoint of a run."""
    return load_file(run / "checkpoint.safetensors")


def contents(folder: Path) -> dict[str, bytes]:
    """The content of every file, hidden ones too, without times."""
    return {
        str(path.relative_to(folder)): re.sub(rb'"seconds": [\d.]+', b"", path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


def assert_same_outcome(run: Path, other: Path) -> None:
    """Assert equal logs and, to the bit, equal checkpoints."""
    assert records(run) == records(other)
    left, right = checkpoint(run), checkpoint(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file's content."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


# --- Commands ---


def furnished(folder: Path) -> Path:
    """The folder, filled with a dataset and three runs.

    The runs sac (two seeds) and bc learned from the dataset, the run match (two seeds) learned in
    another environment.
    """
    dataset = collect(RandomWalk(silence=True), SMALL, 100, seed=5, name="random")
    dataset.write(folder / "data.safetensors")
    trained(folder / "sac", seeds=(0, 1), dataset=dataset)
    trained(folder / "bc", {"algorithm": "bc"}, dataset=dataset)
    trained(folder / "match", seeds=(0, 1), environment=Environment.of_factory(Match))
    return folder


def run(*arguments: object) -> int:
    """Run ``python -m marl`` with these arguments, and return its exit status."""
    return main([str(argument) for argument in arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """The standard output since the last call, words separated by single spaces.

    Asserts that standard error is empty.
    """
    captured = capsys.readouterr()
    assert captured.err == ""
    return " ".join(captured.out.split())


def bits(tensor: torch.Tensor) -> bytes:
    """The tensor's bytes: these tell 0.0 from -0.0."""
    return tensor.contiguous().numpy().tobytes()


def assert_same(left: Dataset, right: Dataset) -> None:
    """Assert equal bits, types, shapes and metadata other than versions."""
    for name, tensor in left.tensors().items():
        other = right.tensors()[name]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape), name
        assert bits(tensor) == bits(other), name
    without = [
        {key: value for key, value in dataset.metadata.items() if key != "versions"}
        for dataset in (left, right)
    ]
    assert without[0] == without[1]
    assert left.fingerprint() == right.fingerprint()


def assert_equal_learners(first: StackedLearner, second: StackedLearner) -> None:
    """Assert equal tensors, to the bit."""
    assert first.tensors().keys() == second.tensors().keys()
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name
