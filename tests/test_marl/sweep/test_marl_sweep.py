"""Sweeps: results of cells, failures, lost workers, and what is not computed twice."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toys
from faults import KILL
from sweeps import (
    COLLECT,
    LONGER,
    NETWORK,
    TRAIN,
    checkpointed_log,
    small,
)
from toys import SMALL, Match, assert_same_outcome
from workers import is_alive, wait_until

import marl.environment
import marl.sweep.progress
import marl.sweep.work
from baselines import TDM, RandomWalk
from marl import (
    Dataset,
    LearnerConfig,
    TrainingConfig,
    collect,
    episode_returns,
    load_policies,
    train,
)
from marl.cli.data import Collect
from marl.engines.base import Engine, Event, Serial
from marl.engines.local import Local
from marl.runs.checkpoint import updates_done
from marl.sweep import report
from marl.sweep.grid import Sweep
from marl.sweep.run import SweepRun
from rrm_env import evaluate, metrics


def done(sweep: Sweep, out: Path, engine: Engine | None = None) -> dict[str, Any]:
    """The results of a sweep run in this process."""
    work = SweepRun(sweep, out, lambda _: None)
    return work.run(engine or Serial(work.listen))


def stamps(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# --- Running ---


@pytest.fixture(name="finished", scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the finished sweep `small`."""
    folder = tmp_path_factory.mktemp("finished")
    done(small(), folder)
    return folder


def test_results_are_those_of_training_and_evaluating_by_hand(
    finished: Path, tmp_path: Path
) -> None:
    results = json.loads((finished / "results.json").read_text())
    assert [(row["name"], row["varied"]) for row in results["rows"]] == [
        ("C-MARL-CQL (SAC)", {"transitions": 100, "paradigm": "c"}),
        ("CTDE-MARL-CQL (SAC)", {"transitions": 100, "paradigm": "ctde"}),
        ("C-MARL-CQL (SAC)", {"transitions": 60, "paradigm": "c"}),
        ("CTDE-MARL-CQL (SAC)", {"transitions": 60, "paradigm": "ctde"}),
        ("tdm", {}),
    ]
    assert results["failed"] == {}
    row = results["rows"][3]
    options: dict[str, Any] = {
        name: value for name, value in TRAIN.items() if name in vars(TrainingConfig())
    }
    rest: dict[str, Any] = {name: value for name, value in TRAIN.items() if name not in options}
    learner = LearnerConfig(paradigm="ctde", **rest)
    data = collect(RandomWalk(silence=True), SMALL, 60, name="random_walk:silence=true")
    folder = train(tmp_path / "run", learner, TrainingConfig(**options), seeds=(0, 1), dataset=data)
    assert_same_outcome(folder, finished / "runs" / row["cells"][0].partition("/")[0])
    scores = np.stack([evaluate(policy, SMALL, 4).score for policy in load_policies(folder)])
    assert row["kpis"]["score"]["mean"] == pytest.approx(scores.mean())
    assert row["kpis"]["score"]["per_seed"] == pytest.approx(scores.mean(1).tolist())
    assert [row["kpis"]["score"][key] for key in ("low", "high")] == pytest.approx(
        metrics.mean_interval(scores)
    )
    assert (row["seeds"], row["episodes"]) == (2, 4)
    reference = results["rows"][4]
    assert reference["kpis"]["tail_rate"]["mean"] == pytest.approx(
        evaluate(TDM(), SMALL, 4).tail_rate.mean()
    )
    assert reference["seeds"] is None
    (file,) = [path for path in (finished / "datasets").iterdir() if "-60-" in path.name]
    assert Dataset.read(file).fingerprint() == data.fingerprint()


def test_what_is_done_is_not_done_again(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this is made already")

    before = stamps(finished)
    content = (finished / "results.json").read_bytes()
    monkeypatch.setattr(marl.sweep.work, "train", refuse)
    monkeypatch.setattr(marl.environment, "evaluate", refuse)
    monkeypatch.setattr(Collect, "record", refuse)
    done(small(), finished)
    changed = {path for path, stamp in stamps(finished).items() if before[path] != stamp}
    assert changed == {str(finished / name) for name in ("results.json", "origin.json")}
    assert (finished / "results.json").read_bytes() == content


def test_further_evaluations_use_the_trainings_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = small(collect=COLLECT, train=TRAIN)
    done(one, tmp_path)
    before = [stamp for path, stamp in stamps(tmp_path / "runs").items() if "checkpoint" in path]
    results = done(
        small(collect=COLLECT, train=TRAIN, evaluate={"episodes": 4, "sample": [False, True]}),
        tmp_path,
    )
    assert [
        stamp for path, stamp in stamps(tmp_path / "runs").items() if "checkpoint" in path
    ] == before
    assert len({row["kpis"]["score"]["mean"] for row in results["rows"]}) == 2
    assert [row["varied"] for row in results["rows"]] == [{"sample": False}, {"sample": True}]


@pytest.mark.parametrize(
    "damage", ["evaluation cut", "evaluation of another", "data cut", "all but data"]
)
def test_what_was_damaged_is_made_again(damage: str, tmp_path: Path) -> None:
    sweep = small(collect=COLLECT, train=TRAIN)
    expected = done(sweep, tmp_path)
    (evaluation,), (data,) = (
        list((tmp_path / name).glob(pattern))
        for name, pattern in (("runs", "*/ev*.json"), ("datasets", "*"))
    )
    if damage == "evaluation cut":
        evaluation.write_text(evaluation.read_text()[:100])
    elif damage == "evaluation of another":
        content = json.loads(evaluation.read_text())
        content["of"]["seeds"], content["values"]["score"][0][0] = [7], 1e9
        evaluation.write_text(json.dumps(content))
    else:
        for path in (tmp_path / "runs").glob("*/*"):
            path.unlink()
        if damage == "data cut":
            data.write_bytes(data.read_bytes()[:1000])
    assert done(sweep, tmp_path) == expected
    assert Dataset.read(data)


def test_seeds_in_several_cells_are_one_row(tmp_path: Path) -> None:
    results = done(small(collect=COLLECT, train=TRAIN, seeds=3, seeds_per_cell=2), tmp_path)
    row = results["rows"][0]
    assert len(row["cells"]) == 2
    assert len(row["kpis"]["score"]["per_seed"]) == row["seeds"] == 3
    policies = [
        policy
        for cell in row["cells"]
        for policy in load_policies(tmp_path / "runs" / cell.partition("/")[0])
    ]
    scores = np.stack([evaluate(policy, SMALL, 4).score for policy in policies])
    assert row["kpis"]["score"]["per_seed"] == pytest.approx(scores.mean(1).tolist())
    assert [row["kpis"]["score"][key] for key in ("low", "high")] == pytest.approx(
        metrics.mean_interval(scores)
    )


def test_training_online_and_in_other_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toys, "parallel_env", Match, raising=False)
    results = done(
        Sweep({**TRAIN, "set": NETWORK, "algorithm": ["sac", "dqn"]}, evaluate={"episodes": 2}),
        tmp_path,
    )
    assert [row["name"] for row in results["rows"]] == ["C-MARL (SAC)", "C-MARL (DQN)"]
    elsewhere = Sweep(
        {**TRAIN, "env": "toys"}, {"env": "toys", "transitions": 40}, {"episodes": 5}, seeds=2
    )
    results = done(elsewhere, tmp_path)
    (row,) = results["rows"]
    returns = [
        episode_returns(policy, Match, 5)
        for policy in load_policies(tmp_path / "runs" / row["cells"][0].partition("/")[0])
    ]
    assert row["kpis"]["return"]["per_seed"] == pytest.approx(np.mean(returns, 1).tolist())
    many = {**results, "rows": results["rows"] * (10 * report.MAX_BARS)}
    for rows in (results, many):
        report.write_results(tmp_path / "picture.png", rows)
        assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "picture.png").unlink()


# --- Failures ---


def test_cells_that_fail_are_told_and_the_others_go_on(tmp_path: Path) -> None:
    rates = {**TRAIN, "critic_learning_rate": [0.001, 1e30]}
    lines: list[str] = []
    work = SweepRun(small(collect=COLLECT, train=rates), tmp_path, lines.append)
    results = work.run(Serial(work.listen))
    assert [row["varied"] for row in results["rows"]] == [{"critic_learning_rate": 0.001}, {}]
    ((cell, reason),) = results["failed"].items()
    assert reason.startswith("DivergenceError: update ")
    assert cell.startswith("c-marl-cql-sac-")
    assert sum(line.startswith("failed ") and "DivergenceError" in line for line in lines) == 1
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert any("in train_and_evaluate" in event.get("traceback", "") for event in events)
    again = SweepRun(small(collect=COLLECT, train=rates), tmp_path, lines.append)
    again.run(Serial(again.listen))
    assert lines.count("2 cells: 1 done, 1 begun, 0 to begin") == 1
    assert json.loads((tmp_path / "results.json").read_text()) == results


def test_cells_whose_data_cannot_be_recorded_have_failed(tmp_path: Path) -> None:
    searching = {
        "scheduler": ["max_weight", "tdm"],
        "transitions": 60,
        "network": "dense",
        "set": {"n_aps": 12, "episode_length": 10},
    }
    sweep = Sweep({**TRAIN, "paradigm": "i"}, searching, {"episodes": 2})
    results = done(sweep, tmp_path)
    assert [row["varied"] for row in results["rows"]] == [{"scheduler": "tdm"}]
    (reason,) = results["failed"].values()
    assert reason.startswith("its data: ")
    assert "max_weight" in reason or "joint" in reason


def killed_when_half_done(
    folder: Path, pid_of: Callable[[], int], left: dict[Path, str]
) -> threading.Thread:
    """Kill a worker between the first and the last checkpoint of a run; put its log in `left`."""

    def watch() -> None:
        def half_done() -> list[Path]:
            return [
                path.parent
                for path in folder.glob("runs/*/checkpoint.safetensors")
                if 0 < updates_done(path.parent) < 300
            ]

        wait_until(half_done)
        pid = pid_of()
        os.kill(pid, KILL)
        wait_until(lambda: not is_alive(pid))
        left.update({run: checkpointed_log(run) for run in half_done()})

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_killed_worker_s_cell_goes_on_from_its_checkpoint_and_results_do_not_show_it(
    tmp_path: Path,
) -> None:
    sweep = small(collect=COLLECT, train={**TRAIN, "paradigm": ["c", "i"], **LONGER})
    expected = done(sweep, tmp_path / "here")
    lines: list[str] = []
    left: dict[Path, str] = {}
    work = SweepRun(sweep, tmp_path / "there", lines.append)
    engine = Local(1, work.listen)

    def pid_of() -> int:
        ((worker, _),) = engine._busy.values()
        assert worker._process is not None
        return int(worker._process.result())

    with engine:
        thread = killed_when_half_done(tmp_path / "there", pid_of, left)
        results = work.run(engine)
        thread.join()
    assert results == expected
    assert (tmp_path / "there" / "results.json").read_bytes() == (
        tmp_path / "here" / "results.json"
    ).read_bytes()
    assert (
        sum(line.startswith("lost: cell ") and "its process was killed" in line for line in lines)
        == 1
    )
    assert sum(bool(re.match(r"done \d/3: cell .*, attempt 2 ", line)) for line in lines) == 1
    ((run, log),) = left.items()
    assert log
    assert (run / "log.jsonl").read_text().startswith(log)
    for path in (tmp_path / "here" / "runs").iterdir():
        assert_same_outcome(path, tmp_path / "there" / "runs" / path.name)


def test_progress_of_long_cells_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is read from the logs of runs, so that it is reported wherever they run."""
    monkeypatch.setattr(marl.sweep.progress, "LOOK_S", 0.0)
    monkeypatch.setattr(marl.sweep.progress, "SPEAK_S", 0.0)
    lines: list[str] = []
    reached: list[tuple[int, int]] = []
    work = SweepRun(small(), tmp_path, lines.append, lambda *numbers: reached.append(numbers))
    work.run(Serial(work.listen))
    assert reached[-1][1] == 4 * 20
    assert [done for done, _ in reached] == sorted(done for done, _ in reached)
    assert (60, 80) in reached
    assert "running: 60 of 80 updates" in lines
    work.listen(Event("waiting", "", 0))
