"""``python -m marl``, as a user calls it: what it prints, what it writes, and that both are what the library gives."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from toys import (
    SMALL,
    Match,
    arrays,
    assert_same_outcome,
    furnished,
    printed,
    records,
    run,
    small_learner,
    small_training,
    trained,
)

from baselines import REGISTRY, TDM, ITLinQ, RandomWalk
from marl import (
    Dataset,
    LearnerConfig,
    Policy,
    TrainingConfig,
    collect,
    episode_returns,
    load_policies,
    train,
)
from rrm_env import Network, RRMConfig, evaluate, metrics

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


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal, and an environment for --env."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr(toys, "parallel_env", Match, raising=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what commands take."""
    return furnished(tmp_path_factory.mktemp("home"))


# --- Collecting ---


def test_schedulers_are_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "data.safetensors"
    assert (
        run(
            "collect",
            "--out",
            out,
            "--scheduler",
            "itlinq:tolerance_db=0",
            "--transitions",
            45,
            "--seed",
            3,
            *NETWORK,
        )
        == 0
    )
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
    assert (
        run(
            "collect",
            "--out",
            out,
            "--policy",
            home / "sac",
            "--transitions",
            31,
            "--seed",
            9,
            *options,
        )
        == 0
    )
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
        assert (
            run(
                "collect",
                "--out",
                tmp_path / str(seed),
                "--policy",
                home / "sac",
                "--transitions",
                20,
                "--seed",
                seed,
                *NETWORK,
            )
            == 0
        )
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
    assert (
        run(
            "train",
            "--out",
            tmp_path / "run",
            "--dataset",
            home / "data.safetensors",
            *options,
            *TRAINING,
        )
        == 0
    )
    description = json.loads((tmp_path / "run" / "config.json").read_text())
    expected = LearnerConfig.preset("paper", double_q=False, batch_size=8, **changes)
    assert LearnerConfig.from_dict(description["learner"]) == expected
    assert expected.actor_learning_rate != LearnerConfig().actor_learning_rate
    assert TrainingConfig(**description["training"]) == small_training()
    assert description["seeds"] == [0, 1]


@pytest.mark.parametrize("preset", ["paper", "tuned"])
def test_presets_are_those_of_the_library(preset: str, home: Path, tmp_path: Path) -> None:
    options = ["--hidden-sizes", 16, "--batch-size", 8, *TRAINING]
    assert (
        run(
            "train",
            "--out",
            tmp_path / "run",
            "--preset",
            preset,
            "--dataset",
            home / "data.safetensors",
            *options,
        )
        == 0
    )
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
        assert (
            run(
                "train",
                "--out",
                tmp_path / name,
                "--paradigm",
                "ctde",
                *SPREAD,
                *options,
                *LEARNER,
                *TRAINING,
            )
            == 0
        )
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


# --- Evaluating ---


def test_evaluation_compares_runs_and_schedulers(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, picture = tmp_path / "out.json", tmp_path / "rates.png"
    options = ["--episodes", 12, "--seed", 4, "--schedulers", "tdm,itlinq:tolerance_db=0"]
    assert (
        run("evaluate", home / "sac", home / "bc", *options, "--json", path, "--plot", picture) == 0
    )
    text = printed(capsys)
    assert "2 APs, 6 UEs, 12 episodes, seed 4" in text
    assert f"wrote {path} wrote {picture}" in text
    assert picture.read_bytes().startswith(b"\x89PNG")
    result = json.loads(path.read_text())
    assert RRMConfig(**result["config"]) == SMALL
    assert (result["seed"], result["episodes"]) == (4, 12)
    expected = {
        "C-MARL-CQL (SAC)": [
            evaluate(policy, SMALL, 12, 4) for policy in load_policies(home / "sac")
        ],
        "C-MARL (BC)": [evaluate(policy, SMALL, 12, 4) for policy in load_policies(home / "bc")],
        "tdm": [evaluate(TDM(), SMALL, 12, 4)],
        "itlinq:tolerance_db=0": [evaluate(ITLinQ(tolerance_db=0), SMALL, 12, 4)],
    }
    assert list(result["schedulers"]) == list(expected)
    for name, of_seeds in expected.items():
        row = result["schedulers"][name]
        assert name in text
        for kpi in ("sum_rate", "tail_rate", "score"):
            values = np.array([getattr(evaluation, kpi) for evaluation in of_seeds])
            assert row[kpi]["mean"] == pytest.approx(values.mean())
            interval = metrics.mean_interval(values if name.startswith("C-") else values[0])
            assert (row[kpi]["low"], row[kpi]["high"]) == pytest.approx(interval)
            assert row[kpi]["low"] <= row[kpi]["mean"] <= row[kpi]["high"]
            np.testing.assert_allclose(np.atleast_2d(row["per_episode"][kpi]), values)
        assert f"{row['score']['mean']:.3f}" in text
    scores = {
        name: float(np.mean([evaluation.score for evaluation in of_seeds]))
        for name, of_seeds in expected.items()
    }
    best = max(scores, key=scores.__getitem__)
    assert [name for name, row in result["schedulers"].items() if row["best"]] == [best]
    for name, row in result["schedulers"].items():
        assert row["score_minus_best"]["mean"] == pytest.approx(scores[name] - scores[best])


def test_evaluation_takes_all_schedulers_other_networks_and_ways_to_act(
    home: Path, tmp_path: Path
) -> None:
    means = []
    for k, options in enumerate(
        (
            ["--schedulers", "all"],
            ["--act-on", "critic"],
            ["--sample"],
            ["--set", "tx_power_dbm=20"],
        )
    ):
        path = tmp_path / f"{k}.json"
        assert run("evaluate", home / "sac", "--episodes", 8, "--json", path, *options) == 0
        result = json.loads(path.read_text())
        means.append(result["schedulers"]["C-MARL-CQL (SAC)"]["sum_rate"]["mean"])
        assert len(result["schedulers"]) == (1 + len(REGISTRY) if k == 0 else 1)
        assert result["config"]["tx_power_dbm"] == (20 if k == 3 else 10)
    assert len(set(means)) == 4
    critics = [
        evaluate(policy, SMALL, 8).sum_rate
        for policy in load_policies(home / "sac", act_on="critic")
    ]
    assert means[1] == pytest.approx(np.mean(critics))


def test_evaluation_warms_policies_and_schedulers_up_before_it_takes_the_time(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[type] = set()
    for kind in (Policy, TDM):
        schedule = kind.schedule

        def slow_at_first(self: Any, network: Network, schedule: Any = schedule) -> Any:
            if type(self) not in seen:
                seen.add(type(self))
                time.sleep(0.5)
            return schedule(self, network)

        monkeypatch.setattr(kind, "schedule", slow_at_first)
    path = tmp_path / "out.json"
    assert (
        run("evaluate", home / "sac", "--schedulers", "tdm", "--episodes", 20, "--json", path) == 0
    )
    rows = json.loads(path.read_text())["schedulers"]
    assert seen == {Policy, TDM}
    for row in rows.values():
        assert row["steps_per_second"] > 20 * SMALL.episode_length / 0.5


@pytest.mark.parametrize("names", [("one", "two"), ("one/run", "two/run")])
def test_runs_of_one_scheme_are_told_apart(names: tuple[str, str], tmp_path: Path) -> None:
    runs = [
        trained(tmp_path / name, {}, {"updates": 1}, seeds=(seed,))
        for seed, name in enumerate(names)
    ]
    path = tmp_path / "out.json"
    assert run("evaluate", *runs, "--episodes", 4, "--json", path) == 0
    rows = json.loads(path.read_text())["schedulers"]
    assert len(rows) == 2
    for folder, (name, row) in zip(runs, rows.items(), strict=True):
        assert "C-MARL (SAC)" in name
        assert row["score"]["mean"] == pytest.approx(
            evaluate(load_policies(folder)[0], SMALL, 4).score.mean()
        )


def test_evaluation_in_other_environments_prints_returns(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", home / "match", "--env", "toys", "--episodes", 30, "--seed", 2) == 0
    returns = np.array(
        [episode_returns(policy, Match, 30, 2) for policy in load_policies(home / "match")]
    )
    low, high = metrics.mean_interval(returns)
    assert (
        printed(capsys)
        == f"C-MARL (SAC): return {returns.mean():.3f} ({low:.3f}…{high:.3f}), 2 seeds, 30 episodes"
    )


def test_returns_in_other_environments_are_written(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert run("evaluate", home / "match", "--env", "toys", "--episodes", 30, "--json", path) == 0
    result = json.loads(path.read_text())
    assert (result["environment"], result["seed"], result["episodes"]) == ("toys", 0, 30)
    row = result["runs"]["C-MARL (SAC)"]
    returns = np.array(
        [episode_returns(policy, Match, 30) for policy in load_policies(home / "match")]
    )
    assert row["per_episode"] == returns.tolist()
    low, high = metrics.mean_interval(returns)
    assert row["return"] == pytest.approx({"mean": returns.mean(), "low": low, "high": high})


# --- Help ---


@pytest.mark.parametrize(
    "command", ["collect", "train", "evaluate", "sweep", "watch", "export", "import", "info"]
)
def test_help_says_what_defaults_mean(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(command, "--help")
    text = printed(capsys)
    for nothing in (
        "{None}",
        "(default: None)",
        "(default: )",
        "(default: '')",
        " without. ",
        "without;",
    ):
        assert nothing not in text
    options = (line for line in text.split("--") if line.startswith("network"))
    assert all("aliases" not in option for option in options)
    expected = {
        "train": ["(default: train online)", "learner options", "training options"],
        "collect": ["where options"],
    }
    assert all(phrase in text for phrase in expected.get(command, []))


# --- Describing ---


def test_info_says_what_datasets_and_runs_are(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("info", home / "data.safetensors") == 0
    assert f"{home / 'data.safetensors'}: 100 transitions" in (text := printed(capsys))
    assert "random │ 5 │ 100 │ episodes 10.000, return" in text
    assert run("info", home / "sac") == 0
    text = printed(capsys)
    assert f"{home / 'sac'}: C-MARL-CQL (SAC)" in text
    description = json.loads((home / "sac" / "config.json").read_text())
    words = {True: "yes", False: "no", None: "none"}
    config = description["environment"]["config"]
    for key, value in {
        **description["training"],
        **description["learner"],
        **description["versions"],
        **config,
    }.items():
        shown = (
            words[value]
            if value is None or isinstance(value, bool)
            else ", ".join(map(str, value))
            if isinstance(value, list)
            else value
        )
        assert f"│ {key} │ {shown} │" in text
    assert "│ seeds │ 0, 1 │" in text
    assert "│ trained for │ 20 updates from 100 transitions │" in text
    assert "│ random │ 5 │ 100 │ episodes 10.000, return" in text
    assert not re.search(r"[{}\[\]']", text), "a table, no Python"
    assert run("info", home / "match") == 0
    assert "│ data │ online │" in printed(capsys)


@pytest.mark.parametrize("metadata", [{}, {"behaviours": []}, {"behaviours": [{"name": "mine"}]}])
def test_info_takes_datasets_whose_makers_said_little(
    metadata: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Dataset(**arrays(), metadata=metadata).write(tmp_path / "data.safetensors")
    assert run("info", tmp_path / "data.safetensors") == 0
    assert "6 transitions" in printed(capsys)
