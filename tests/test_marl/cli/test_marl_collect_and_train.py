"""Recording and training with ``python -m marl``: its files are those that the library gives."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from toys import (
    SMALL,
    assert_same_outcome,
    printed,
    records,
    run,
    small_learner,
    small_training,
)

from baselines import ITLinQ, RandomWalk
from marl import (
    Dataset,
    LearnerConfig,
    TrainingConfig,
    collect,
    load_policies,
    train,
)
from rrm_env import RRMConfig

NETWORK = [
    "--set",
    *(
        f"{name}={getattr(SMALL, name)}"
        for name in ("n_aps", "n_ues", "n_candidates", "episode_length")
    ),
]
LEARNER = [
    "--hidden-sizes",
    "16",
    "--batch-size",
    "8",
    "--replay-capacity",
    "60",
    "--learning-starts",
    "16",
    "--exploration-updates",
    "15",
]
TRAINING = [
    "--updates",
    "20",
    "--log-every",
    "5",
    "--evaluate-every",
    "10",
    "--checkpoint-every",
    "10",
    "--evaluation-episodes",
    "2",
]
TRAINING += ["--envs-per-seed", "2"]
"""`SMALL`, `small_learner` and `small_training` as options."""
SPREAD = ["--env", "mpe2.simple_spread_v3:max_cycles=10"]


pytestmark = pytest.mark.usefixtures("surroundings")


# --- Collecting ---


def test_schedulers_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data.safetensors"
    arguments = ["--scheduler", "itlinq:tolerance_db=0", "--transitions", 45, "--seed", 3, *NETWORK]
    assert run("collect", "--out", out, *arguments) == 0
    expected = collect(ITLinQ(tolerance_db=0), SMALL, 45, seed=3, name="itlinq:tolerance_db=0")
    assert Dataset.read(out).fingerprint() == expected.fingerprint()
    text = printed(capsys)
    for part in (
        f"{out}: 45 transitions",
        "itlinq:tolerance_db=0 │ 3 │ 45 │",
        "2 agents, 4 features and 3 actions each",
        f"wrote {out}",
    ):
        assert part in text
    for name, value in expected.metadata["behaviours"][0]["kpis"].items():
        assert f"{name} {value:,.3f}" in text


def test_random_walk_with_silence_and_other_presets_are_recorded(tmp_path: Path) -> None:
    out = tmp_path / "data.safetensors"
    options = [
        "--scheduler",
        "random_walk:silence=true",
        "--network",
        "correlated",
        "--set",
        "n_ues=6",
    ]
    assert run("collect", "--out", out, "--transitions", 30, *options) == 0
    config = RRMConfig.preset("correlated", n_ues=6)
    expected = collect(RandomWalk(silence=True), config, 30, name="random_walk:silence=true")
    assert Dataset.read(out).fingerprint() == expected.fingerprint()


@pytest.mark.parametrize("sample", [False, True])
def test_all_seeds_of_a_run_are_recorded_equally(sample: bool, home: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.safetensors"
    options = [*NETWORK, *(["--sample"] if sample else [])]
    arguments = ["--policy", home / "sac", "--transitions", 31, "--seed", 9, *options]
    assert run("collect", "--out", out, *arguments) == 0
    dataset = Dataset.read(out)
    assert dataset.behaviour.bincount().tolist() == [16, 15]
    names = [behaviour["name"] for behaviour in dataset.metadata["behaviours"]]
    assert names == [f"C-MARL-CQL (SAC), seed {k}" for k in (0, 1)]
    for k, policy in enumerate(load_policies(home / "sac")):
        rows = dataset.behaviour == k
        best = policy.actions(dataset.observation[rows].numpy(), dataset.mask[rows].numpy())
        assert (best.tolist() == dataset.action[rows].tolist()) != sample


def test_different_seeds_of_a_run_s_recording_share_no_episodes(home: Path, tmp_path: Path) -> None:
    firsts = []
    for seed in (0, 1):
        arguments = ["--policy", home / "sac", "--transitions", 20, "--seed", seed, *NETWORK]
        assert run("collect", "--out", tmp_path / str(seed), *arguments) == 0
        firsts += [row.tobytes() for row in Dataset.read(tmp_path / str(seed)).observation.numpy()]
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize("sample", [False, True])
def test_all_seeds_of_a_run_are_recorded_equally_in_other_environments_too(
    sample: bool, home: Path, tmp_path: Path
) -> None:
    out = tmp_path / "data.safetensors"
    options = ["--env", "toys", *(["--sample"] if sample else [])]
    assert (
        run("collect", "--out", out, "--policy", home / "match", "--transitions", 40, *options) == 0
    )
    dataset = Dataset.read(out)
    assert dataset.metadata["environment"] == {"kind": "parallel", "name": "match_v0"}
    assert dataset.behaviour.bincount().tolist() == [20, 20]


# --- Training ---


@pytest.mark.parametrize("offline", [True, False])
def test_training_is_that_of_the_library(
    offline: bool, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--dataset", home / "data.safetensors"] if offline else NETWORK
    scheme = ["--paradigm", "ctde", "--algorithm", "dqn", "--seeds", 2, "--first-seed", 7]
    assert run("train", "--out", tmp_path / "run", *data, *scheme, *LEARNER, *TRAINING) == 0
    expected = train(
        tmp_path / "expected",
        small_learner(paradigm="ctde", algorithm="dqn"),
        small_training(),
        seeds=(7, 8),
        dataset=Dataset.read(home / "data.safetensors") if offline else None,
        environment=None if offline else SMALL,
    )
    assert_same_outcome(tmp_path / "run", expected)
    descriptions = [
        json.loads((tmp_path / name / "config.json").read_text()) for name in ("run", "expected")
    ]
    assert descriptions[0] == descriptions[1]
    lines = []
    for record in records(expected):
        if "evaluation" in record:
            kpis = " ".join(
                f"{name} {np.mean(values):.3f}" for name, values in record["evaluation"].items()
            )
            steps = "" if offline else f" ({record['environment_steps']:,} environment steps)"
            lines.append(f"update {record['update']}{steps}: {kpis}")
    assert len(lines) == 2
    assert printed(capsys) == f"{' '.join(lines)} wrote {tmp_path / 'run'}"


@pytest.mark.parametrize("place", [0, 4, 14])
def test_presets_keep_options_given_explicitly(place: int, home: Path, tmp_path: Path) -> None:
    # Options that the preset changes, three of them given the value they have without it.
    changes = {
        "n_critics": 2,
        "critic_learning_rate": 0.02,
        "automatic_temperature": True,
        "reward_scale": 0.1,
        "hidden_sizes": (16,),
    }
    options = [
        "--n-critics",
        2,
        "--critic-learning-rate",
        0.02,
        "--automatic-temperature",
        "--reward-scale",
        0.1,
        "--no-double-q",
    ]
    options += ["--seeds", 2, *LEARNER[:4]]
    options[place:place] = ["--preset", "paper"]
    arguments = ["--dataset", home / "data.safetensors", *options, *TRAINING]
    assert run("train", "--out", tmp_path / "run", *arguments) == 0
    description = json.loads((tmp_path / "run" / "config.json").read_text())
    expected = LearnerConfig.preset("paper", double_q=False, batch_size=8, **changes)
    assert LearnerConfig.from_dict(description["learner"]) == expected
    assert expected.actor_learning_rate != LearnerConfig().actor_learning_rate
    assert TrainingConfig(**description["training"]) == small_training()
    assert description["seeds"] == [0, 1]


@pytest.mark.parametrize("preset", ["paper", "tuned"])
def test_presets_are_those_of_the_library(preset: str, home: Path, tmp_path: Path) -> None:
    options = ["--hidden-sizes", 16, "--batch-size", 8, *TRAINING]
    arguments = ["--preset", preset, "--dataset", home / "data.safetensors", *options]
    assert run("train", "--out", tmp_path / "run", *arguments) == 0
    description = json.loads((tmp_path / "run" / "config.json").read_text())
    assert LearnerConfig.from_dict(description["learner"]) == LearnerConfig.preset(
        preset, hidden_sizes=(16,), batch_size=8
    )


def test_simple_spread_is_recorded_and_trained_online_and_offline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data.safetensors"
    assert run("collect", "--out", data, "--transitions", 60, *SPREAD) == 0
    assert "random actions" in printed(capsys)
    for name, options in (("online", []), ("offline", ["--dataset", data])):
        arguments = ["--paradigm", "ctde", *SPREAD, *options, *LEARNER, *TRAINING]
        assert run("train", "--out", tmp_path / name, *arguments) == 0
        assert re.search(
            r"update 10.*: return -\d+\.\d{3} update 20.*: return -\d+\.\d{3} wrote",
            printed(capsys),
        )
        assert [len(record["td_loss"]) for record in records(tmp_path / name)] == [1] * 4
        assert run("evaluate", tmp_path / name, "--episodes", 3, *SPREAD) == 0
        assert re.search(
            r"CTDE-MARL.*: return -\d+\.\d{3} \(-\d+\.\d{3}…-\d+\.\d{3}\)", printed(capsys)
        )


def test_divergence_is_one_line_and_another_exit_code(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--dataset",
        home / "data.safetensors",
        *LEARNER,
        *TRAINING,
        "--critic-learning-rate",
        "1e30",
    ]
    assert run("train", "--out", tmp_path / "run", *arguments) == 1
    assert re.fullmatch(r"error: update \d+: \w+ of seed 0 diverged .*\n", capsys.readouterr().err)
