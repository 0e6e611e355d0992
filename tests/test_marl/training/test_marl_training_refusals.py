"""Divergence, and arguments that training refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import (
    SMALL,
    Match,
    UnequalAgents,
    checkpoint,
    made_up,
    records,
    trained,
)

from baselines import RandomWalk
from marl import (
    Dataset,
    DivergenceError,
    LearnerConfig,
    Policy,
    RunError,
    UnfinishedRunWarning,
    collect,
)
from marl.environment import Environment
from rrm_env import RRMConfig, evaluate


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random legal actions in the small network."""
    return collect(RandomWalk(silence=True), SMALL, 200, seed=5)


# --- Divergence ---


def test_divergence_names_update_part_and_seed_and_leaves_the_last_good_checkpoint(
    dataset: Dataset, tmp_path: Path
) -> None:
    often = {"log_every": 1, "evaluate_every": 1, "checkpoint_every": 1}
    with pytest.raises(
        DivergenceError, match=r"^update 2: (td_loss|td_error|q|penalty) of seed [39] diverged"
    ):
        trained(
            tmp_path / "run", {"critic_learning_rate": 1e30}, often, seeds=(3, 9), dataset=dataset
        )
    run = tmp_path / "run"
    assert [record["update"] for record in records(run)] == [1]
    tensors = checkpoint(run)
    assert int(tensors["updates"]) == 1
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    with pytest.warns(UnfinishedRunWarning, match="of the checkpoint of update 1 of 20"):
        kept = Policy.load(run, 1)
    assert evaluate(kept, SMALL, 2).ue_rates.shape == (2, 6)


@pytest.mark.parametrize("rate", [1e29, 1e30])
def test_divergence_between_records_is_found_before_anything_is_written(
    rate: float, dataset: Dataset, tmp_path: Path
) -> None:
    with pytest.raises(DivergenceError, match=r"^update [23]: "):
        trained(
            tmp_path / "run", {"algorithm": "dqn", "critic_learning_rate": rate}, dataset=dataset
        )
    assert not (tmp_path / "run" / "log.jsonl").exists()
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "evaluate_every"),
    [({}, 20), ({"environment": Environment.of_factory(UnequalAgents)}, 1)],
)
def test_parameters_that_are_not_finite_are_neither_acted_on_nor_saved(
    options: Any, evaluate_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = LearnerConfig.__dataclass_fields__["critic_learning_rate"]
    # Beyond float32, so that parameters are lost in one update.
    monkeypatch.setattr(rate, "metadata", {"low": 0.0, "high": 1e39})
    often = {"log_every": 1, "evaluate_every": evaluate_every, "checkpoint_every": 1}
    with pytest.raises(
        DivergenceError, match=r"^update 1: layers\.\d\.(weights|biases) is not finite"
    ):
        trained(
            tmp_path / "run", {"algorithm": "dqn", "critic_learning_rate": 1e39}, often, **options
        )
    assert not (tmp_path / "run" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize("algorithm", ["sac", "dqn"])
def test_diverged_learner_acts_legally_until_it_is_found(algorithm: str, tmp_path: Path) -> None:
    rates = {"critic_learning_rate": 1e30, "actor_learning_rate": 1e30}
    with pytest.raises(DivergenceError, match=r"^update \d: "):
        trained(
            tmp_path / "run",
            {"algorithm": algorithm, "epsilon_final": 0.0, "exploration_updates": 1, **rates},
            environment=Environment.of_factory(UnequalAgents),
        )


# --- What is refused ---

WIDE = RRMConfig(**{**SMALL.as_dict(), "n_aps": 3})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda run: trained(run, seeds=(1, 1)),
            ValueError,
            "seeds must be at least one, all different, got [1, 1]",
        ),
        (
            lambda run: trained(run, seeds=()),
            ValueError,
            "seeds must be at least one, all different, got []",
        ),
        (
            lambda run: trained(run, seeds=(-1,)),
            ValueError,
            "seeds must be an integer of at least 0 and at most 1073741823, got -1",
        ),
        (
            lambda run: trained(run, seeds=(2**30,)),
            ValueError,
            "seeds must be an integer of at least 0 and at most 1073741823",
        ),
        (
            lambda run: trained(run, seeds=(0.5,)),
            TypeError,
            "seeds must be an integer of at least 0 and at most 1073741823, got 0.5",
        ),
        (
            lambda run: trained(run, {"algorithm": "bc"}),
            ValueError,
            "algorithm = 'bc' needs a dataset",
        ),
        (
            lambda run: trained(run, {}, {"log_every": 3}),
            ValueError,
            "evaluate_every = 10 must be a multiple of log_every = 3",
        ),
        (
            lambda run: trained(run, {}, {"checkpoint_every": 12}),
            ValueError,
            "checkpoint_every = 12 must be a multiple of log_every = 5",
        ),
        (
            lambda run: trained(run, {}, {"updates": 0}),
            ValueError,
            "updates must be an integer of at least 1 and at most 9007199254740992, got 0",
        ),
        (
            lambda run: trained(run, {}, {"envs_per_seed": 2.0}),
            TypeError,
            "envs_per_seed must be an integer of at least 1 and at most 9007199254740992, got 2.0",
        ),
        (
            lambda run: trained(run, {}, {"device": "gpu"}),
            ValueError,
            "device must be cpu, cuda or cuda:N, got 'gpu'",
        ),
        (
            lambda run: trained(run, {}, {"device": "meta"}),
            ValueError,
            "device must be cpu, cuda or cuda:N, got 'meta'",
        ),
        (
            lambda run: trained(run, environment=WIDE, dataset=made_up()),
            ValueError,
            "the dataset is of Team(n_agents=2, n_features=3",
        ),
        (
            lambda run: trained(run, environment=Environment.of_factory(Match), dataset=made_up()),
            ValueError,
            "the environment of Team(n_agents=2, n_features=3",
        ),
        (
            lambda run: trained(run, {"paradigm": "c"}, environment=RRMConfig(n_aps=9)),
            ValueError,
            "4^9 = 262,144 joint actions",
        ),
        (lambda run: trained(run, resume=True), RunError, "holds no run: config.json No such file"),
    ],
)
def test_bad_arguments_are_refused_by_name_and_write_nothing(
    call: Callable[[Path], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_missing_cuda_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"device = 'cuda:1' is not available: torch .* finds no CUDA device"
    ):
        trained(tmp_path / "run", {}, {"device": "cuda:1"})
    assert not (tmp_path / "run").exists()


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match=re.escape(f"the folder {str(run)!r} cannot be made: ")):
            trained(run)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_folder_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(RunError, match=r"run' .*Permission denied"):
        trained(tmp_path / "run")
