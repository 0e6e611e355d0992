"""Training: what a run writes, that it repeats to the bit, which episodes it plays, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from toys import (
    PARADIGMS,
    SMALL,
    Match,
    Unlike,
    assert_same_outcome,
    checkpoint,
    made_up,
    records,
    small_learner,
    small_training,
    trained,
)

import marl.environment
from baselines import RandomWalk
from marl import (
    Dataset,
    DivergenceError,
    Learner,
    Policy,
    RunError,
    TrainingConfig,
    UnfinishedRunWarning,
    collect,
    collect_parallel,
    episode_returns,
    load_policies,
    train,
)
from marl.environment import Environment
from marl.learner.learner import PARTS
from marl.sources import NetworkSource
from marl.team import Team, team_of
from marl.training.rollout import CURVE_SEED
from rrm_env import Network, RRMConfig, evaluate
from rrm_env.network import EVALUATION_SEEDS


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random legal actions in the small network."""
    return collect(RandomWalk(silence=True), SMALL, 200, seed=5)


@pytest.fixture(scope="module")
def parallel_dataset() -> Dataset:
    """Random legal actions of two agents that differ."""
    return collect_parallel(Unlike, transitions=100, seed=5)


def check_records(run: Path, algorithm: str, kpis: set[str], n_seeds: int = 2) -> None:
    """Twenty updates: a record every 5, with every part for every seed, and evaluations every 10."""
    log = records(run)
    assert [record["update"] for record in log] == [5, 10, 15, 20]
    assert [record["update"] for record in log if "evaluation" in record] == (
        [10, 20] if kpis else []
    )
    for record in log:
        assert set(record) - {"update", "evaluation", "environment_steps"} == set(PARTS[algorithm])
        values = {**record, **record.get("evaluation", {})}
        assert set(record.get("evaluation", kpis)) == kpis
        for name in (*PARTS[algorithm], *record.get("evaluation", {})):
            assert len(values[name]) == n_seeds
            assert np.isfinite(values[name]).all()
    assert int(checkpoint(run)["updates"]) == 20


KPIS = {"sum_rate", "tail_rate", "worst_rate", "score"}


# --- Every scheme, everywhere ---


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("algorithm", ["sac", "dqn", "bc"])
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
        environment=Environment.of_factory(Unlike),
    )
    check_records(run, "sac", {"return"})
    last = [
        np.mean(episode_returns(policy, Unlike, 2, seed=CURVE_SEED))
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
        for part in PARTS[algorithm]:
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


@pytest.mark.parametrize("algorithm", ["sac", "dqn", "bc"])
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
        {"environment": Environment.of_factory(Unlike)} if where == "parallel" else {}
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
        {"environment": Environment.of_factory(Unlike)} if where == "parallel" else {}
    )
    learner = {"algorithm": algorithm, "paradigm": paradigm}
    together = trained(tmp_path / "together", learner, seeds=(3, 1), **options)
    for k, seed in enumerate((3, 1)):
        alone = trained(tmp_path / str(seed), learner, seeds=(seed,), **options)
        for left, right in zip(records(together), records(alone), strict=True):
            for part in PARTS[algorithm]:
                assert left[part][k] == pytest.approx(right[part][0], rel=1e-4, abs=1e-5)
        tensors = checkpoint(alone)
        for name, tensor in checkpoint(together).items():
            if name.startswith("layers"):
                torch.testing.assert_close(tensor[:, k], tensors[name][:, 0], rtol=1e-4, atol=1e-5)
    losses = records(together)[-1]["td_loss"]
    assert losses[0] != pytest.approx(losses[1])


# --- Acting and remembering ---


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


@pytest.mark.parametrize("seed", [0, 6])
def test_replay_holds_what_happened(seed: int, tmp_path: Path) -> None:
    # 8 random steps, 20 more, in 2 environments that start anew when the checkpoint at update 10 was written.
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
        trained(tmp_path / "unlike", environment=Environment.of_factory(Unlike))
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


class Noted(Match):
    """Writes down the seeds that it and all its copies are given."""

    seeds: ClassVar[list[int]] = []

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        """As PettingZoo's."""
        self.seeds.extend([] if seed is None else [seed])
        return super().reset(seed, options)


def test_no_episode_of_a_parallel_environment_is_trained_and_evaluated_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Noted.seeds.clear()
    with monkeypatch.context() as without_curve:
        without_curve.setattr(marl.environment, "episode_returns", lambda *_: [0.0])
        run = trained(tmp_path / "run", seeds=(0, 1), environment=Environment.of_factory(Noted))
    training = set(Noted.seeds)
    assert len(training) >= 2 * 2
    for seed in (CURVE_SEED, 0, 1):
        Noted.seeds.clear()
        episode_returns(Policy.load(run), Noted, 4, seed)
        assert not training & set(Noted.seeds), f"evaluation seed {seed}"


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
    ("options", "evaluate_every"), [({}, 20), ({"environment": Environment.of_factory(Unlike)}, 1)]
)
def test_parameters_that_are_not_finite_are_neither_acted_on_nor_saved(
    options: Any, evaluate_every: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "marl.config._LARGEST", 1e39
    )  # beyond float32, so that parameters are lost in one update
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
            environment=Environment.of_factory(Unlike),
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
