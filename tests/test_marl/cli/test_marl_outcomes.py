"""Submissions and marl-eval's JSON of ``python -m marl evaluate``; shipped policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import SMALL, printed, run, trained

from baselines import RandomWalk, submission
from baselines.submission import file_checksum, read_submission
from baselines.submission_checks import check
from marl import collect, load_policies
from marl.cli.policies import shipped_policies
from marl.exchange.marl_eval import Learned, marl_eval_content
from marl.runs.checkpoint import read_log
from rrm_env import RRMConfig, evaluate, metrics, normalised_score, references

pytestmark = pytest.mark.usefixtures("surroundings")

SHORT = 4
"""Episodes that a submission needs in these tests."""


@pytest.fixture(scope="module")
def in_paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two seeds in the preset ``paper``."""
    data = collect(RandomWalk(silence=True), RRMConfig(), 400, seed=5)
    return trained(
        tmp_path_factory.mktemp("runs") / "paper", seeds=(3, 8), dataset=data, environment=None
    )


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Submissions need few episodes."""
    monkeypatch.setattr(submission, "EPISODES", SHORT)


@pytest.mark.usefixtures("_short")
def test_a_run_is_submitted_with_all_its_seeds(
    in_paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    options = ["--submission", path, "--about", "author=A. Name", "bits=896"]
    options += ["--act-on", "critic"]
    assert run("evaluate", in_paper, *options) == 0
    assert f"wrote {path}" in printed(capsys)
    entry, played = check(path)
    assert "trained policy" in played
    policies = load_policies(in_paper, act_on="critic")
    expected = [evaluate(policy, RRMConfig(), SHORT).ue_rates for policy in policies]
    np.testing.assert_array_equal(entry.ue_rates, np.array(expected, np.float32))
    assert entry.policy["seeds"] == [3, 8]
    assert entry.policy["checkpoint"] == file_checksum(in_paper / "checkpoint.safetensors")
    assert entry.about.name == "C-MARL-CQL (SAC)"
    assert entry.about.description.endswith("; greedy on its critic")
    assert "updates" in entry.about.description
    assert (entry.about.author, entry.about.bits) == ("A. Name", 896)
    assert "torch" in entry.origin["versions"]
    # The leaderboard's table has one row for it, over both seeds.
    assert read_submission(path).kpi("score").shape == (2, SHORT)


@pytest.mark.usefixtures("_short")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--about", "author=x"], "--about needs --submission PATH"),
        (["--submission", "x.json", "--schedulers", "tdm"], "needs one run, and no --schedulers"),
        (["--submission", "x.json", "--episodes", 7], "needs episodes = 4, got 7"),
        (["--submission", "x.json", "--seed", 2], "needs seed = 0, got 2"),
        (["--submission", "x.json", "--json", "x.json"], "must be two files"),
        (["--submission", "x.json", "--about", "mine"], "about must be FIELD=TEXT"),
    ],
)
def test_options_of_submissions_are_refused(
    options: list[Any],
    message: str,
    in_paper: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("evaluate", in_paper, *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.json").exists()


def test_a_network_without_references_cannot_be_submitted(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", home / "bc", "--submission", tmp_path / "x.json") == 2
    assert "no references are known for this network" in capsys.readouterr().err


# --- marl-eval ---


def test_marl_eval_gets_learning_curves_and_the_final_evaluation(
    in_paper: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "marl_eval.json"
    assert run("evaluate", in_paper, "--episodes", 3, "--marl-eval", path) == 0
    assert f"wrote {path}" in printed(capsys)
    content = json.loads(path.read_text())
    seeds = content["rrm"]["paper"]["C-MARL-CQL (SAC)"]
    assert list(seeds) == ["seed_3", "seed_8"]
    logged = [entry for entry in read_log(in_paper) if "evaluation" in entry]
    final = [evaluate(policy, RRMConfig(), 3) for policy in load_policies(in_paper)]
    for k, steps in enumerate(seeds.values()):
        assert list(steps) == [*(f"step_{n + 1}" for n in range(len(logged))), "absolute_metrics"]
        for entry, step in zip(logged, steps.values(), strict=False):
            assert step["step_count"] == entry["update"]
            for kpi in metrics.LEARNERS_KPIS:
                assert step[kpi] == [entry["evaluation"][kpi][k]]
            assert step["normalised_score"] == [normalised_score(step["score"][0], "paper")]
        absolute = steps["absolute_metrics"]
        assert absolute["score"] == final[k].score.tolist()
        np.testing.assert_allclose(
            absolute["normalised_score"], normalised_score(final[k].score, "paper")
        )
        assert absolute.keys() == {*metrics.LEARNERS_KPIS, "normalised_score"}


def test_networks_without_a_name_are_their_own_task(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "marl_eval.json"
    assert run("evaluate", home / "bc", "--episodes", 2, "--marl-eval", path) == 0
    (algorithms,) = json.loads(path.read_text())["rrm"].values()
    assert list(json.loads(path.read_text())["rrm"]) == ["own network"]
    (steps,) = algorithms["C-MARL (BC)"].values()
    assert "normalised_score" not in steps["absolute_metrics"]


def test_runs_of_different_sizes_do_not_go_into_one_file(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.json"
    assert run("evaluate", home / "sac", home / "bc", "--episodes", 2, "--marl-eval", path) == 2
    assert "as many seeds and evaluations of every learner" in capsys.readouterr().err


def learned(**changes: Any) -> Learned:
    values: dict[str, Any] = {
        "seeds": [1, 2],
        "steps": np.array([10, 20]),
        "kpis": {"score": np.array([[1.0, 2.0], [3.0, 4.0]]), "return": np.zeros((2, 2))},
        "final": {"score": np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])},
    }
    return Learned(**{**values, **changes})


def test_content_for_marl_eval_is_as_its_page_describes() -> None:
    content = marl_eval_content("paper", {"A, of folder": learned(), "B": learned()})
    expected = {
        "seed_1": {
            "step_1": {"step_count": 10, "score": [1.0]},
            "step_2": {"step_count": 20, "score": [3.0]},
            "absolute_metrics": {"score": [1.0, 2.0, 3.0]},
        },
        "seed_2": {
            "step_1": {"step_count": 10, "score": [2.0]},
            "step_2": {"step_count": 20, "score": [4.0]},
            "absolute_metrics": {"score": [4.0, 5.0, 6.0]},
        },
    }
    assert content == {"rrm": {"paper": {"A of folder": expected, "B": expected}}}
    json.dumps(content)


@pytest.mark.parametrize(
    ("learners", "message"),
    [
        ({}, "at least one, got none"),
        ({"A": learned(steps=np.array([], int))}, "at least one evaluation in its log"),
        ({"A": learned(), "B": learned(seeds=[1])}, "A has 2 and 2, B has 1 and 2"),
        ({"A": learned(kpis={"return": np.zeros((2, 2))})}, "a KPI in common"),
        ({"A,": learned(), "A": learned()}, "must differ without commas"),
    ],
)
def test_what_marl_eval_cannot_compare_is_refused(learners: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        marl_eval_content("paper", learners)


# --- Shipped policies ---


def test_shipped_policies_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("policies") == 0
    text = printed(capsys)
    for entry in shipped_policies():
        assert entry.name in text
        assert f"{entry.numbers:,}" in text
    assert "python -m baselines --schedulers graph" in text
    assert "networks paper and paper:n_aps=6" in text


def test_other_files_in_the_folder_are_described_as_they_are(
    graph_file: str, home: Path, tmp_path: Path
) -> None:
    folder = Path(graph_file).parent
    (graph,) = [entry for entry in shipped_policies(folder) if entry.path == Path(graph_file)]
    assert graph.is_graph
    assert graph.use == "python -m baselines --schedulers graph:policy=random"
    (tmp_path / "replay_1.safetensors").write_bytes(
        (home / "bc" / "checkpoint.safetensors").read_bytes()
    )
    (replay,) = shipped_policies(tmp_path)
    assert (replay.name, replay.is_graph, replay.scores) == ("replay_1", False, "not stated")
    assert "datasets" in replay.use
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="broken"):
        list(shipped_policies(tmp_path))


def test_small_networks_stay_without_a_scale() -> None:
    assert references.known_reference(SMALL) is None
