"""Exploration, replay and episodes of online training."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from safetensors.torch import load_file
from toys import (
    SMALL,
    Match,
    UnequalAgents,
    trained,
)

import marl.environment
from marl import (
    Learner,
    Policy,
    episode_returns,
)
from marl.environment import Environment
from marl.sources import NetworkSource
from marl.training.rollout import CURVE_SEED
from rrm_env import Network, RRMConfig, evaluate
from rrm_env.seeds import EVALUATION_SEEDS


def test_actions_are_random_first_and_then_explore_less_and_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []
    explore = Learner.explore

    def spy(self: Learner, observation: Any, mask: Any, step: Any, epsilon: float) -> Any:
        asked.append((int(step), epsilon))
        return explore(self, observation, mask, step, epsilon)

    monkeypatch.setattr(Learner, "explore", spy)
    learner = {
        "algorithm": "dqn",
        "learning_starts": 9,
        "exploration_updates": 8,
        "epsilon_final": 0.2,
    }
    trained(tmp_path / "dqn", learner, {"envs_per_seed": 4, "updates_per_step": 2, "updates": 15})
    steps, epsilons = zip(*asked, strict=True)
    assert epsilons == pytest.approx([1.0] * 3 + [1.0, 0.8, 0.6, 0.4, 0.2, 0.2, 0.2, 0.2])
    assert len(set(steps)) == len(steps)
    asked.clear()
    trained(tmp_path / "sac", {"learning_starts": 8}, {"updates": 5})
    assert [epsilon for _, epsilon in asked] == [1.0] * 4 + [0.0] * 5


@pytest.mark.parametrize("algorithm", ["dqn", "ppo"])
def test_without_random_actions_observations_stay_as_they_are(
    algorithm: str, tmp_path: Path
) -> None:
    learner = {"algorithm": algorithm, "learning_starts": 0, "rollout_steps": 8}
    run = trained(tmp_path / "run", learner)
    tensors = load_file(run / "checkpoint.safetensors")
    assert (tensors["shift"] == 0).all()
    assert (tensors["scale"] == 1).all()


@pytest.mark.parametrize("seed", [0, 6])
def test_replay_holds_what_happened(seed: int, tmp_path: Path) -> None:
    # 8 random steps and 20 more, in 2 environments that restart after the checkpoint of update 10.
    run = trained(tmp_path / "run", {"replay_capacity": 100}, seeds=(seed,))
    replay = load_file(run / "replay-20.safetensors")
    assert int(replay["added"]) == 2 * (8 + 20)
    rows = {
        name: tensor[0].view(28, 2, *tensor.shape[2:]).numpy()
        for name, tensor in replay.items()
        if name != "added"
    }
    network, first = Network(SMALL, 2), 0
    for step in range(28):
        if step in (0, 8 + 10) or network.done:
            first = (8 + 10) * 2 if step == 18 else first
            network.reset(seed * 2**32 + first)
            first += 2
        np.testing.assert_array_equal(rows["observation"][step], network.observation)
        np.testing.assert_array_equal(rows["mask"][step], network.action_mask)
        _, reward = network.step_actions(rows["action"][step])
        np.testing.assert_array_equal(rows["reward"][step], reward)
        np.testing.assert_array_equal(rows["next_observation"][step], network.observation)
        np.testing.assert_array_equal(rows["next_mask"][step], network.action_mask)
    assert not rows["terminated"].any()
    assert len(np.unique(rows["action"][:8])) == SMALL.n_actions


def test_termination_is_remembered(tmp_path: Path) -> None:
    ends = load_file(
        trained(tmp_path / "match", environment=Environment.of_factory(Match))
        / "replay-20.safetensors"
    )["terminated"]
    assert ends.all()
    ends = load_file(
        trained(tmp_path / "unlike", environment=Environment.of_factory(UnequalAgents))
        / "replay-20.safetensors"
    )["terminated"]
    assert 0.05 < ends.mean() < 0.25  # episodes have 3 or 4 steps, and about half of them terminate


@pytest.mark.parametrize("episode_length", [1, 10])
def test_no_episode_is_played_twice_and_none_is_an_evaluations(
    episode_length: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[int] = []
    evaluated: list[int] = []
    step, schedule = NetworkSource.step, Policy.schedule

    def spy_step(self: NetworkSource, actions: Any) -> Any:
        played.extend(self.network.seeds.tolist() if self.network.t == 0 else [])
        return step(self, actions)

    def spy_schedule(self: Policy, network: Network) -> Any:
        evaluated.extend(network.seeds.tolist() if network.t == 0 else [])
        return schedule(self, network)

    monkeypatch.setattr(NetworkSource, "step", spy_step)
    monkeypatch.setattr(Policy, "schedule", spy_schedule)
    config = RRMConfig(**{**SMALL.as_dict(), "episode_length": episode_length})
    seeds = (0, 1, 2**30 - 1)
    run = trained(tmp_path / "run", seeds=seeds, environment=config)
    assert len(set(played)) == len(played) == 3 * 2 * {1: 28, 10: 3}[episode_length]
    assert {seed // 2**32 for seed in played} == set(seeds)
    assert max(played) < EVALUATION_SEEDS <= min(evaluated)
    assert len(set(evaluated)) == 2  # two episodes, the same at every evaluation
    curve = set(evaluated)
    for seed in (0, 1, 2):
        evaluated.clear()
        evaluate(Policy.load(run), config, 4, seed)
        assert not curve & set(evaluated)


class SeedRecorder(Match):
    """Records the seeds that it and all its copies are reset with."""

    seeds: ClassVar[list[int]] = []

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As PettingZoo's."""
        self.seeds.extend([] if seed is None else [seed])
        return super().reset(seed, options)


def test_no_episode_of_a_parallel_environment_is_trained_and_evaluated_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SeedRecorder.seeds.clear()
    with monkeypatch.context() as without_curve:
        without_curve.setattr(marl.environment, "episode_returns", lambda *_: [0.0])
        run = trained(
            tmp_path / "run", seeds=(0, 1), environment=Environment.of_factory(SeedRecorder)
        )
    training = set(SeedRecorder.seeds)
    assert len(training) >= 2 * 2
    for seed in (CURVE_SEED, 0, 1):
        SeedRecorder.seeds.clear()
        episode_returns(Policy.load(run), SeedRecorder, 4, seed)
        assert not training & set(SeedRecorder.seeds), f"evaluation seed {seed}"
