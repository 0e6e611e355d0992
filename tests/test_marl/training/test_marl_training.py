"""Training of every scheme: the files of a run, and its reproducibility."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from toys import (
    PARADIGMS,
    SMALL,
    UnequalAgents,
    assert_same_outcome,
    checkpoint,
    records,
    small_learner,
    small_training,
    trained,
)

from baselines import RandomWalk
from marl import (
    Dataset,
    Policy,
    RunError,
    TrainingConfig,
    collect,
    collect_parallel,
    episode_returns,
    load_policies,
    train,
)
from marl.config import ACT_AND_LEARN, Algorithm
from marl.environment import Environment
from marl.learner.objectives import OBJECTIVES
from marl.team import Team, team_of
from marl.training.rollout import CURVE_SEED
from rrm_env import evaluate


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random legal actions in the small network."""
    return collect(RandomWalk(silence=True), SMALL, 200, seed=5)


@pytest.fixture(scope="module")
def parallel_dataset() -> Dataset:
    """Random legal actions of two agents that differ."""
    return collect_parallel(UnequalAgents, transitions=100, seed=5)


def check_records(run: Path, algorithm: str, kpis: set[str], n_seeds: int = 2) -> None:
    """Check a log of twenty updates.

    It has a record every 5 updates, with every part for every seed, and evaluations every 10.
    """
    log = records(run)
    assert [record["update"] for record in log] == [5, 10, 15, 20]
    assert [record["update"] for record in log if "evaluation" in record] == (
        [10, 20] if kpis else []
    )
    for record in log:
        assert set(record) - {"update", "evaluation", "environment_steps"} == set(
            OBJECTIVES[algorithm].parts
        )
        values = {**record, **record.get("evaluation", {})}
        assert set(record.get("evaluation", kpis)) == kpis
        for name in (*OBJECTIVES[algorithm].parts, *record.get("evaluation", {})):
            assert len(values[name]) == n_seeds
            assert np.isfinite(values[name]).all()
    assert int(checkpoint(run)["updates"]) == 20


OFFLINE = [algorithm for algorithm in get_args(Algorithm) if algorithm not in ACT_AND_LEARN]
KPIS = {"sum_rate", "tail_rate", "worst_rate", "score"}


# --- Every scheme, everywhere ---


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("algorithm", OFFLINE)
def test_every_scheme_trains_offline(
    paradigm: str, algorithm: str, dataset: Dataset, tmp_path: Path
) -> None:
    run = trained(
        tmp_path / "run",
        {"paradigm": paradigm, "algorithm": algorithm},
        seeds=(3, 1),
        dataset=dataset,
    )
    check_records(run, algorithm, KPIS)
    penalties = [record.get("penalty", [1])[0] for record in records(run)]
    assert min(penalties) > 0
    last = [
        evaluate(policy, SMALL, 2, seed=CURVE_SEED).score.mean() for policy in load_policies(run)
    ]
    assert records(run)[-1]["evaluation"]["score"] == last


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_every_scheme_trains_online(paradigm: str, algorithm: str, tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {"paradigm": paradigm, "algorithm": algorithm}, seeds=(3, 1))
    check_records(run, algorithm, KPIS)
    assert {penalty for record in records(run) for penalty in record["penalty"]} == {0.0}
    assert json.loads((run / "config.json").read_text())["learner"]["cql_alpha"] == 0


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("offline", [False, True])
def test_agents_that_differ_are_trained(
    paradigm: str, offline: bool, parallel_dataset: Dataset, tmp_path: Path
) -> None:
    data = parallel_dataset if offline else None
    run = trained(
        tmp_path / "run",
        {"paradigm": paradigm},
        seeds=(0, 1),
        dataset=data,
        environment=Environment.of_factory(UnequalAgents),
    )
    check_records(run, "sac", {"return"})
    last = [
        np.mean(episode_returns(policy, UnequalAgents, 2, seed=CURVE_SEED))
        for policy in load_policies(run)
    ]
    assert records(run)[-1]["evaluation"]["return"] == last


def test_recorded_environment_that_is_not_at_hand_is_trained_without_a_curve(
    parallel_dataset: Dataset, tmp_path: Path
) -> None:
    run = trained(tmp_path / "run", {"paradigm": "i"}, dataset=parallel_dataset, environment=None)
    check_records(run, "sac", set(), n_seeds=1)
    assert Policy.load(run).team == Team(2, 5, 4)


# --- The folder ---


def test_a_dataset_that_does_not_say_its_environment_is_trained_from(
    dataset: Dataset, tmp_path: Path
) -> None:
    nameless = Dataset(**dataset.tensors(), metadata={})
    run = trained(tmp_path / "run", dataset=nameless, environment=None)
    assert Policy.load(run).team == dataset.team
    assert json.loads((run / "config.json").read_text())["environment"] == {}
    assert "evaluation" not in records(run)[-1]
    with pytest.raises(ValueError, match="environment None is not known"):
        nameless.environment.source(1)


def test_run_says_what_it_is(dataset: Dataset, tmp_path: Path) -> None:
    learner, training = {"paradigm": "ctde", "algorithm": "dqn"}, {"updates": 5}
    run = train(
        tmp_path / "deep" / "run",
        small_learner(**learner),
        small_training(**training),
        seeds=[2, 7],
        dataset=dataset,
    )
    description = json.loads((run / "config.json").read_text())
    assert description["scheme"] == "CTDE-MARL-CQL (DQN)"
    assert description["learner"] == small_learner(**learner).as_dict()
    assert TrainingConfig(**description["training"]) == small_training(**training)
    assert description["seeds"] == [2, 7]
    assert Team(**description["team"]) == team_of(SMALL)
    assert description["environment"] == {"kind": "network", "config": SMALL.as_dict()}
    assert description["data"]["fingerprint"] == dataset.fingerprint()
    assert description["data"]["transitions"] == 200
    assert description["data"]["behaviours"] == dataset.metadata["behaviours"]
    assert {"torch", "numpy", "rrm_env"} <= set(description["versions"])
    assert {file.name for file in run.iterdir()} - {"tensorboard"} == {
        "config.json",
        "log.jsonl",
        "checkpoint.safetensors",
    }


def test_last_update_is_logged_evaluated_and_saved_wherever_it_falls(
    dataset: Dataset, tmp_path: Path
) -> None:
    reported: list[int] = []
    run = trained(
        tmp_path / "run",
        {},
        {"updates": 13},
        dataset=dataset,
        report=lambda updates, _: reported.append(updates),
    )
    log = records(run)
    assert reported == [record["update"] for record in log] == [5, 10, 13]
    assert ["evaluation" in record for record in log] == [False, True, True]
    assert int(checkpoint(run)["updates"]) == 13


@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_records_are_means_over_the_updates_since_the_last(
    algorithm: str, dataset: Dataset, tmp_path: Path
) -> None:
    options = {"updates": 13, "evaluate_every": 20, "checkpoint_every": 20}
    runs = [
        trained(
            tmp_path / str(k),
            {"algorithm": algorithm},
            {**options, "log_every": k},
            dataset=dataset,
        )
        for k in (1, 5)
    ]
    single, grouped = map(records, runs)
    for record, rows in zip(grouped, (single[:5], single[5:10], single[10:13]), strict=True):
        for part in OBJECTIVES[algorithm].parts:
            assert record[part] == pytest.approx(
                np.mean([row[part] for row in rows], axis=0), rel=1e-5
            )


def test_run_is_not_overwritten(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    with pytest.raises(
        RunError,
        match=re.escape(f"{str(run)!r} holds a run already; resume it, or choose another folder"),
    ):
        trained(run, {"algorithm": "dqn"})
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before


# --- The same again ---

ONLINE = [("sac", "network"), ("dqn", "network"), ("sac", "parallel"), ("dqn", "parallel")]


@pytest.mark.parametrize("algorithm", OFFLINE)
def test_offline_runs_repeat_to_the_bit(algorithm: str, dataset: Dataset, tmp_path: Path) -> None:
    assert_same_outcome(
        *(
            trained(tmp_path / k, {"algorithm": algorithm}, seeds=(3, 1), dataset=dataset)
            for k in "ab"
        )
    )


@pytest.mark.parametrize(("algorithm", "where"), ONLINE)
def test_online_runs_repeat_to_the_bit(algorithm: str, where: str, tmp_path: Path) -> None:
    options: dict[str, Any] = (
        {"environment": Environment.of_factory(UnequalAgents)} if where == "parallel" else {}
    )
    assert_same_outcome(
        *(trained(tmp_path / k, {"algorithm": algorithm}, seeds=(3, 1), **options) for k in "ab")
    )


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize(("algorithm", "where"), ONLINE)
def test_seeds_side_by_side_learn_what_each_learns_alone(
    paradigm: str, algorithm: str, where: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = (
        {"environment": Environment.of_factory(UnequalAgents)} if where == "parallel" else {}
    )
    learner = {"algorithm": algorithm, "paradigm": paradigm}
    together = trained(tmp_path / "together", learner, seeds=(3, 1), **options)
    for k, seed in enumerate((3, 1)):
        alone = trained(tmp_path / str(seed), learner, seeds=(seed,), **options)
        for left, right in zip(records(together), records(alone), strict=True):
            for part in OBJECTIVES[algorithm].parts:
                assert left[part][k] == pytest.approx(right[part][0], rel=1e-4, abs=1e-5)
        tensors = checkpoint(alone)
        for name, tensor in checkpoint(together).items():
            if name.startswith("layers"):
                torch.testing.assert_close(tensor[:, k], tensors[name][:, 0], rtol=1e-4, atol=1e-5)
    losses = records(together)[-1]["td_loss"]
    assert losses[0] != pytest.approx(losses[1])
