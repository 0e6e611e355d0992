"""Every scheme learns a task of one step nearly perfectly within a few hundred updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import PARADIGMS, Match, records

from marl import (
    Dataset,
    LearnerConfig,
    TrainingConfig,
    collect_parallel,
    episode_returns,
    load_policies,
    train,
)
from marl.environment import Environment

EASY: dict[str, Any] = {
    "hidden_sizes": (32,),
    "batch_size": 64,
    "critic_learning_rate": 0.01,
    "actor_learning_rate": 0.01,
    "reward_scale": 1.0,
    "initial_temperature": 0.1,
    "entropy_ratio": 0.1,
    "learning_starts": 320,
    "exploration_updates": 100,
}
ACTING: dict[str, Any] = {"evaluation_episodes": 20, "envs_per_seed": 16, "updates_per_step": 8}


def final_returns(
    run: Path, scheme: dict[str, Any], updates: int, dataset: Dataset | None = None
) -> list[float]:
    """Mean returns of two seeds: 1 is the best, 1/9 what chance gives."""
    training = TrainingConfig(
        updates=updates,
        log_every=updates,
        evaluate_every=updates,
        checkpoint_every=updates,
        **ACTING,
    )
    train(
        run,
        LearnerConfig(**EASY, **scheme),
        training,
        seeds=(0, 1),
        dataset=dataset,
        environment=Environment.of_factory(Match),
    )
    returns = [
        float(np.mean(episode_returns(policy, Match, 40, seed=7))) for policy in load_policies(run)
    ]
    assert records(run)[-1]["evaluation"]["return"] == pytest.approx(returns, abs=0.25)
    return returns


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_online_learners_find_the_target(paradigm: str, algorithm: str, tmp_path: Path) -> None:
    assert (
        min(final_returns(tmp_path / "run", {"paradigm": paradigm, "algorithm": algorithm}, 300))
        > 0.95
    )


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_offline_learners_find_the_target_in_random_actions(
    paradigm: str, algorithm: str, tmp_path: Path
) -> None:
    dataset = collect_parallel(Match, transitions=1500, seed=3)
    assert 0.05 < dataset.reward.mean() < 0.2
    scheme = {"paradigm": paradigm, "algorithm": algorithm, "cql_alpha": 0.1}
    assert min(final_returns(tmp_path / "run", scheme, 300, dataset)) > 0.95


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_cloning_repeats_what_good_and_bad_actors_did(paradigm: str, tmp_path: Path) -> None:
    good = collect_parallel(Match, lambda observation, _: observation.argmax(-1), 300, seed=1)
    bad = collect_parallel(
        Match, lambda observation, _: (observation.argmax(-1) + 1) % 3, 300, seed=1
    )
    scheme = {"paradigm": paradigm, "algorithm": "bc"}
    assert min(final_returns(tmp_path / "good", scheme, 100, good)) == 1
    assert max(final_returns(tmp_path / "bad", scheme, 100, bad)) == 0
