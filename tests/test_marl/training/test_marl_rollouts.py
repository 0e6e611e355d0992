"""Training of PPO: what rollouts hold, how many steps they take, resuming, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from forward import logits_of, values_of
from numpy.typing import NDArray
from toys import (
    PARADIGMS,
    SMALL,
    Match,
    UnequalAgents,
    assert_same_outcome,
    checkpoint,
    printed,
    records,
    run,
    trained,
)

from baselines import RandomWalk
from marl import Dataset, LearnerConfig, Policy, RunError, TrainingConfig, collect
from marl.config import environment_steps
from marl.environment import Environment
from marl.learner.on_policy import PARTS, OnPolicyLearner
from marl.runs.description import describe, experience
from marl.sources import NetworkSource, Outcome
from marl.training.rollout import CURVE_SEED, collect_run
from marl.training.rollouts import RolloutStore
from rrm_env import evaluate

PPO: dict[str, Any] = {"algorithm": "ppo", "paradigm": "i", "rollout_steps": 6, "epochs": 2}
"""With 2 environments and batches of 4 steps, a rollout serves six updates."""


NAMES = {"c": "C-MARL (PPO)", "i": "IPPO", "ctde": "MAPPO"}


class PowerCutError(Exception):
    """An error that ends a run as a power cut would."""


def ppo(folder: Path, training: dict[str, Any] | None = None, **options: Any) -> Path:
    """A small run of PPO; ``learner`` changes its config."""
    learner = {**PPO, "batch_size": 4, **options.pop("learner", {})}
    return trained(folder, learner, training, **{"seeds": (3, 1), **options})


# --- What a rollout holds ---


class Remembering(NetworkSource):
    """The small network, which remembers all steps that it took."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(SMALL, num_envs)
        self.steps: list[tuple[Any, ...]] = []

    def step(self, actions: NDArray[Any]) -> Outcome:
        """As `NetworkSource.step`."""
        before = self.observation, self.mask, actions
        outcome = super().step(actions)
        self.steps.append((*before, *outcome))
        return outcome


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_rollouts_hold_what_happened_and_bootstrap_from_true_last_observations(
    paradigm: str,
) -> None:
    config = LearnerConfig.from_dict(
        {
            **PPO,
            "paradigm": paradigm,
            "hidden_sizes": (8,),
            "batch_size": 8,
            "learning_starts": 8,
            "rollout_steps": 15,  # episodes have ten steps
            "gae_lambda": 0.0,
            "discount": 0.5,
        }
    )
    sources = [Remembering(2), Remembering(2)]
    learner = OnPolicyLearner(config, sources[0].team, (3, 1))
    remaining = iter(sources)
    store = RolloutStore(learner, TrainingConfig(envs_per_seed=2), lambda: next(remaining))
    store.restart(0)
    for rollout in range(2):
        store.before_update(rollout * 6)
        held = store.memory.stored
        for s, source in enumerate(sources):
            seen, mask, action, reward, following, next_mask, terminated, truncated = (
                torch.from_numpy(np.concatenate(column))
                for column in zip(*source.steps[4 + 15 * rollout :], strict=True)
            )
            assert truncated.any()
            assert not terminated.any()
            assert next_mask.any(-1).all()
            assert torch.equal(held.observation[s], seen)
            assert torch.equal(held.mask[s], mask)
            assert torch.equal(held.action[s], action)
            legal = learner.heads.bias(mask.unsqueeze(0).expand(2, -1, -1, -1))
            logits = logits_of(learner, held.observation) + legal
            chosen = learner.heads.chosen(held.action)[s].unsqueeze(-1)
            taken = logits[s].log_softmax(-1).gather(-1, chosen)[..., 0]
            torch.testing.assert_close(held.log_probability[s].T, taken, rtol=1e-4, atol=1e-5)
            # Critics that are scaled anew keep their values.
            value = values_of(learner, following.unsqueeze(0).expand(2, -1, -1, -1))[s]
            target = config.reward_scale * reward + 0.5 * value
            torch.testing.assert_close(held.target[s].T, target, rtol=1e-3, atol=1e-3)
        for update in range(rollout * 6, rollout * 6 + 6):
            if update % 6:  # the rollout is there already
                store.before_update(update)
            store.update()
    assert store.memory.added == 2 * (4 + 15 * 2)
    assert len(sources[0].steps) == 4 + 15 * 2


def test_each_epoch_takes_every_step_at_most_once() -> None:
    taken: list[list[list[int]]] = []
    config = LearnerConfig.from_dict(
        {**PPO, "batch_size": 5, "hidden_sizes": (4,), "learning_starts": 0, "epochs": 3}
    )
    learner = OnPolicyLearner(config, NetworkSource(SMALL, 1).team, (3, 1))
    store = RolloutStore(learner, TrainingConfig(envs_per_seed=2), lambda: NetworkSource(SMALL, 2))
    store.restart(0)
    batch = store.memory.batch

    def spy(index: torch.Tensor) -> Any:
        taken.append(index.tolist())
        return batch(index)

    store.memory.batch = spy  # type: ignore[method-assign]
    for update in range(12):
        store.before_update(update)
        store.update()
    for s in range(2):
        epochs = [taken[2 * k][s] + taken[2 * k + 1][s] for k in range(6)]
        assert all(len(set(epoch)) == 10 and max(epoch) < 12 for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 6
    assert taken[0][0] != taken[0][1]


# --- Steps and records ---


@pytest.mark.parametrize(
    ("learner", "envs", "expected"),
    [
        ({}, 2, [28, 40, 52, 64]),
        ({"batch_size": 5, "learning_starts": 0}, 3, [18, 36, 54, 72]),
        ({"epochs": 1, "rollout_steps": 3, "learning_starts": 1}, 4, [28, 52, 64, 88]),
    ],
)
def test_environment_steps_are_those_that_were_taken(
    learner: dict[str, Any],
    envs: int,
    expected: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, step = [0], NetworkSource.step

    def counting(self: NetworkSource, actions: Any) -> Outcome:
        count[0] += len(actions)
        return step(self, actions)

    monkeypatch.setattr(NetworkSource, "step", counting)
    counted: list[int] = []
    folder = ppo(
        tmp_path / "run",
        {"envs_per_seed": envs},
        learner=learner,
        report=lambda *_: counted.append(count[0] // 2),
    )
    logged = [record["environment_steps"] for record in records(folder)]
    assert logged == counted
    assert logged == expected
    assert experience(describe(folder)) == f"20 updates, {logged[-1]:,} environment steps"


@pytest.mark.parametrize("paradigm", PARADIGMS)
@pytest.mark.parametrize("shared", [False, True])
def test_every_paradigm_trains_and_can_be_evaluated(
    paradigm: str, shared: bool, tmp_path: Path
) -> None:
    if shared and paradigm == "c":
        pytest.skip("a centralised network is one already")
    learner = {"paradigm": paradigm, "share_parameters": shared}
    folder = ppo(tmp_path / "run", learner=learner)
    log = records(folder)
    assert [record["update"] for record in log] == [5, 10, 15, 20]
    for record in log:
        assert set(record) - {"update", "evaluation", "environment_steps"} == set(PARTS)
        assert all(np.isfinite(record[part]).all() for part in PARTS)
    assert describe(folder)["scheme"] == NAMES[paradigm]
    policies = [Policy.load(folder, k) for k in range(2)]
    last = [evaluate(policy, SMALL, 2, seed=CURVE_SEED).score.mean() for policy in policies]
    assert log[-1]["evaluation"]["score"] == last
    assert policies[0].act_on == "actor"
    with pytest.raises(ValueError, match="act_on of algorithm 'ppo' must be one of actor"):
        Policy.load(folder, act_on="critic")
    recorded = collect_run(folder, 40, sample=True, environment=SMALL)
    assert len(recorded) == 40


def test_commands_know_such_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ppo(tmp_path / "run")
    assert run("info", folder) == 0
    assert "IPPO" in printed(capsys)
    assert run("evaluate", folder, "--episodes", 2, "--sample") == 0
    assert "IPPO: 20 updates, 64 environment steps" in printed(capsys)
    network = ["--set", "n_aps=2", "n_ues=6", "n_candidates=2", "episode_length=10"]
    data = tmp_path / "d.safetensors"
    assert run("collect", "--policy", folder, "--transitions", 20, "--out", data, *network) == 0
    assert len(Dataset.read(data)) == 20


def test_agents_that_differ_and_episodes_that_terminate_are_trained(tmp_path: Path) -> None:
    for name, factory in (("unlike", UnequalAgents), ("match", Match)):
        folder = ppo(tmp_path / name, environment=Environment.of_factory(factory))
        assert len(records(folder)[-1]["evaluation"]["return"]) == 2


def test_both_paradigms_find_the_target(tmp_path: Path) -> None:
    learner = {"hidden_sizes": (32,), "batch_size": 64, "rollout_steps": 8, "epochs": 4}
    rates = {"actor_learning_rate": 0.01, "critic_learning_rate": 0.01}
    for paradigm in ("i", "ctde"):
        folder = trained(
            tmp_path / paradigm,
            {**PPO, **learner, **rates, "paradigm": paradigm},
            {
                "updates": 200,
                "log_every": 200,
                "evaluate_every": 200,
                "checkpoint_every": 200,
                "envs_per_seed": 16,
                "evaluation_episodes": 20,
            },
            seeds=(0, 1),
            environment=Environment.of_factory(Match),
        )
        assert min(records(folder)[-1]["evaluation"]["return"]) > 0.95


# --- The same again ---


def test_seeds_side_by_side_learn_what_each_learns_alone(tmp_path: Path) -> None:
    together = ppo(tmp_path / "together", {"updates": 10})
    for k, seed in enumerate((3, 1)):
        alone = ppo(tmp_path / str(seed), {"updates": 10}, seeds=(seed,))
        tensors = checkpoint(alone)
        for name, tensor in checkpoint(together).items():
            if name.startswith(("layers", "critics")):
                torch.testing.assert_close(tensor[:, k], tensors[name][:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("paradigm", ["i", "ctde"])
@pytest.mark.parametrize("update", [5, 10, 15, 20])
def test_an_interrupted_run_ends_as_one_never_interrupted(
    update: int, paradigm: str, tmp_path: Path
) -> None:
    def cut(updates: int, record: dict[str, Any]) -> None:
        if updates == update:
            raise PowerCutError

    options: dict[str, Any] = {"learner": {"paradigm": paradigm, "share_parameters": True}}
    with pytest.raises(PowerCutError):
        ppo(tmp_path / "cut", report=cut, **options)
    ppo(tmp_path / "cut", resume=True, **options)
    assert_same_outcome(tmp_path / "cut", ppo(tmp_path / "whole", **options))
    # Update 10 is in the middle of a rollout, whose rest the resumed run learns from.
    longer = {"updates": 30}
    ppo(tmp_path / "cut", longer, resume=True, **options)
    assert_same_outcome(tmp_path / "cut", ppo(tmp_path / "longer", longer, **options))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("advantage", float("nan"), "replay: advantage must be finite"),
        ("observation", float("inf"), "replay: observation must be finite, got inf"),
        ("mask", 2, "replay: mask must be 0 or 1, got 2"),
        ("action", 9, "replay: action must be from 0 to 2, got 9"),
    ],
)
def test_a_checkpoint_with_an_impossible_rollout_is_refused(
    name: str, value: float, message: str
) -> None:
    learner = OnPolicyLearner(
        LearnerConfig.from_dict({**PPO, "hidden_sizes": (4,), "batch_size": 8}),
        NetworkSource(SMALL, 1).team,
        (3,),
    )
    store = RolloutStore(learner, TrainingConfig(envs_per_seed=2), lambda: NetworkSource(SMALL, 2))
    store.restart(0)
    store.before_update(0)
    tensors = {key: tensor.clone() for key, tensor in store.memory.tensors().items()}
    store.memory.load(tensors)
    tensors[name].view(-1)[0] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        store.memory.load(tensors)
    with pytest.raises(ValueError, match=r"replay: target must .*, found nothing"):
        store.memory.load({key: tensors[key] for key in tensors if key != "target"})


# --- What is refused ---


def test_ppo_refuses_a_dataset_by_name(tmp_path: Path) -> None:
    dataset = collect(RandomWalk(silence=True), SMALL, 50)
    with pytest.raises(ValueError, match="algorithm = 'ppo' learns online"):
        ppo(tmp_path / "run", dataset=dataset)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("learner", "training", "message"),
    [
        ({}, {"updates_per_step": 2}, "updates_per_step = 2 must be 1 with algorithm = 'ppo'"),
        (
            {"batch_size": 13},
            {},
            "batch_size = 13 must be at most rollout_steps * envs_per_seed = 6 * 2 = 12",
        ),
        ({"clip_range": 0}, {}, "clip_range must be a finite number"),
        ({"gae_lambda": 1.1}, {}, "gae_lambda must be a finite number of at least 0 and at most 1"),
        ({"epochs": 0}, {}, "epochs must be an integer of at least 1"),
    ],
)
def test_values_that_do_not_go_together_are_refused_before_work(
    learner: dict[str, Any], training: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        ppo(tmp_path / "run", training, learner=learner)
    assert not (tmp_path / "run").exists()


def test_another_rollout_is_not_continued(tmp_path: Path) -> None:
    folder = ppo(tmp_path / "run")
    with pytest.raises(RunError, match="epochs was 2, now 3"):
        ppo(folder, resume=True, learner={"epochs": 3})


def test_steps_of_a_config_follow_from_its_fields() -> None:
    learner = LearnerConfig(
        algorithm="ppo", rollout_steps=50, epochs=4, batch_size=256, learning_starts=100
    )
    training = TrainingConfig(envs_per_seed=64)
    updates = 4 * (50 * 64 // 256)
    for done, rollouts in ((0, 0), (1, 1), (updates, 1), (updates + 1, 2), (10 * updates, 10)):
        assert environment_steps(done, learner, training) == 64 * (2 + 50 * rollouts)
