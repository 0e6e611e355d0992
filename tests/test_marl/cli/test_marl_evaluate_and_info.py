"""Evaluating and describing with ``python -m marl``, and its help."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import (
    SMALL,
    Match,
    arrays,
    printed,
    run,
    trained,
)

from baselines import REGISTRY, TDM, ITLinQ, RandomWalk
from baselines.optimum import optimum
from marl import (
    Dataset,
    Policy,
    episode_returns,
    load_policies,
)
from rrm_env import Network, RRMConfig, evaluate, metrics

SPREAD = ["--env", "mpe2.simple_spread_v3:max_cycles=10"]


pytestmark = pytest.mark.usefixtures("surroundings")


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


def test_evaluation_states_shares_of_the_optimum_of_the_same_episodes(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "out.json"
    options = ["--episodes", 6, "--seed", 4, "--schedulers", "tdm", "--optimum"]
    assert run("evaluate", home / "sac", *options, "--json", path) == 0
    text, result = printed(capsys), json.loads(path.read_text())
    best = optimum(SMALL, 4, 6)
    walk = evaluate(RandomWalk(), SMALL, 6, 4).score.mean()
    value = best.score.value.mean()
    learnt = np.array(
        [evaluate(policy, SMALL, 6, 4).score for policy in load_policies(home / "sac")]
    )
    for name, scores in (
        ("C-MARL-CQL (SAC)", learnt),
        ("tdm", evaluate(TDM(), SMALL, 6, 4).score),
    ):
        row = result["schedulers"][name]
        low, high = metrics.ratio_interval(scores, best.score.value)
        share = {"mean": scores.mean() / value, "low": low, "high": high}
        assert row["share_of_optimum"] == pytest.approx(share)
        assert row["normalised_score"] == pytest.approx(
            100 * (scores.mean() - walk) / (value - walk)
        )
        assert f"{100 * scores.mean() / value:.1f}" in text
    assert result["optimum"]["per_episode"]["score"]["value"] == best.score.value.tolist()
    assert "Optimum: no scheduler" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "csi_delay=0"], "csi_delay = 0 lets schedulers know the present fading"),
        (["--set", "csi_delay=0"], "--information channel bounds them too"),
        (["--information", "chanel"], "unknown information 'chanel' (did you mean 'channel'?)"),
        (["--env", "toys"], "--optimum is of the network and does not go with --env"),
    ],
)
def test_optimum_is_refused_where_there_is_none(
    options: list[str], message: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of = home / ("match" if "--env" in options else "sac")
    assert run("evaluate", run_of, "--episodes", 4, "--optimum", *options) == 2
    assert message in capsys.readouterr().err


def test_optimum_may_know_every_channel_where_policies_know_the_fading(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, options = tmp_path / "out.json", ["--episodes", 3, "--set", "csi_delay=0"]
    known = ["--information", "channel"]
    assert run("evaluate", home / "sac", *options, "--optimum", *known, "--json", path) == 0
    stated = json.loads(path.read_text())["optimum"]
    best = optimum(replace(SMALL, csi_delay=0), 0, 3, information="channel")
    assert stated["information"] == "channel"
    assert stated["per_episode"]["score"]["value"] == best.score.value.tolist()
    assert run("evaluate", home / "sac", *options, *known) == 2
    assert "--information needs --optimum" in capsys.readouterr().err


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
    # A terminal may break the line within the title.
    assert f"{home / 'sac'}:C-MARL-CQL(SAC)" in text.replace(" ", "")
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
