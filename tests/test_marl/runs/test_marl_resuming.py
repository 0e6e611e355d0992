"""Interrupted runs are resumed and end as uninterrupted ones; other runs are not continued."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from toys import SMALL, UnequalAgents, assert_same_outcome, checkpoint, records, trained

from baselines import RandomWalk
from marl import Dataset, RunError, collect
from marl.__main__ import main
from marl.environment import Environment
from rrm_env import RRMConfig


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random legal actions in the small network."""
    return collect(RandomWalk(silence=True), SMALL, 200, seed=5)


class PowerCutError(Exception):
    """An error that ends a run as a power cut would."""


Run = Callable[..., Path]


@pytest.fixture(params=["offline sac", "offline bc", "online sac", "online parallel"])
def run(request: pytest.FixtureRequest, dataset: Dataset) -> Run:
    """Trains runs of one kind: twenty updates, a record every 5, a checkpoint every 10."""
    where, what = request.param.split()
    options: dict[str, Any] = {"dataset": dataset} if where == "offline" else {}
    if what == "parallel":
        options["environment"] = Environment.of_factory(UnequalAgents)
    learner = {"algorithm": "dqn" if what == "parallel" else what}

    def make(folder: Path, training: dict[str, Any] | None = None, **changes: Any) -> Path:
        return trained(folder, learner, training, seeds=(3, 1), **{**options, **changes})

    return make


def stop_at(update: int) -> Callable[[int, dict[str, Any]], None]:
    """A report that ends the run after a record and before the checkpoint of the same update."""

    def report(updates: int, record: dict[str, Any]) -> None:
        if updates == update:
            raise PowerCutError

    return report


@pytest.mark.parametrize("update", [5, 10, 15, 20])
def test_interrupted_run_resumes_to_the_same_outcome(update: int, run: Run, tmp_path: Path) -> None:
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", report=stop_at(update))
    assert records(tmp_path / "cut")[-1]["update"] == update
    assert_same_outcome(run(tmp_path / "cut", resume=True), run(tmp_path / "whole"))


def test_run_interrupted_again_and_again_still_ends_alike(run: Run, tmp_path: Path) -> None:
    longer = {"updates": 40}
    for k, update in enumerate((15, 15, 25, 25, 40)):
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", longer, resume=k > 0, report=stop_at(update))
    assert_same_outcome(run(tmp_path / "cut", longer, resume=True), run(tmp_path / "whole", longer))


def test_finished_run_resumed_stays_as_it_is_and_can_be_made_longer(
    run: Run, tmp_path: Path
) -> None:
    run(tmp_path / "grown")
    before = (tmp_path / "grown" / "log.jsonl").read_text()
    run(tmp_path / "grown", resume=True)
    assert (tmp_path / "grown" / "log.jsonl").read_text() == before
    longer = {"updates": 30}
    assert_same_outcome(
        run(tmp_path / "grown", longer, resume=True), run(tmp_path / "whole", longer)
    )
    assert json.loads((tmp_path / "grown" / "config.json").read_text())["training"]["updates"] == 30


@pytest.mark.parametrize("nth", [1, 2])
def test_interrupted_checkpoint_leaves_the_one_before(
    nth: int, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, moved = os.replace, []

    def fail(source: str, target: Path) -> None:
        if target.name in ("checkpoint.safetensors", "replay-20.safetensors"):
            moved.append(target.name)
            if len(moved) == nth + 1:  # the first one is the checkpoint at update 10
                raise PowerCutError
        replace(source, target)

    with monkeypatch.context() as failing:
        failing.setattr(os, "replace", fail)
        with pytest.raises(PowerCutError):
            run(tmp_path / "cut", {"updates": 30})
    assert int(checkpoint(tmp_path / "cut")["updates"]) in (10, 20)
    assert_same_outcome(
        run(tmp_path / "cut", {"updates": 30}, resume=True),
        run(tmp_path / "whole", {"updates": 30}),
    )


def test_only_the_last_replay_is_kept(tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", {"replay_capacity": 30})
    assert [file.name for file in folder.glob("*replay*")] == ["replay-20.safetensors"]
    replay = load_file(folder / "replay-20.safetensors")
    assert (int(replay["added"]), replay["reward"].shape) == (2 * 28, (1, 30))


def test_half_a_record_at_the_log_s_end_is_dropped(run: Run, tmp_path: Path) -> None:
    with pytest.raises(PowerCutError):
        run(tmp_path / "cut", report=stop_at(15))
    log = tmp_path / "cut" / "log.jsonl"
    log.write_text(log.read_text()[:-30])
    assert_same_outcome(run(tmp_path / "cut", resume=True), run(tmp_path / "whole"))


# --- Killed for real ---


def killed(arguments: list[str], run: Path) -> int:
    """Start a long training, kill it after some checkpoints, and return the log's last update."""
    command = [
        sys.executable,
        "-m",
        "marl",
        "train",
        "--out",
        str(run),
        *arguments,
        "--updates",
        "1000000",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    log, deadline = run / "log.jsonl", time.monotonic() + 120
    while (log.read_text().count("\n") if log.exists() else 0) < 8:
        assert process.poll() is None, process.communicate()[1].decode()
        assert time.monotonic() < deadline, "no progress"
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return int(json.loads(log.read_text().splitlines()[-2])["update"])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("where", ["offline", "online"])
def test_killed_command_resumes_to_the_same_outcome(
    where: str, dataset: Dataset, tmp_path: Path
) -> None:
    dataset.write(tmp_path / "data.safetensors")
    common = [
        "--seeds",
        "2",
        "--hidden-sizes",
        "16",
        "--batch-size",
        "8",
        "--log-every",
        "5",
        "--checkpoint-every",
        "15",
    ]
    common += ["--evaluate-every", "30", "--evaluation-episodes", "1"]
    kinds = {
        "offline": ["--dataset", str(tmp_path / "data.safetensors"), "--algorithm", "sac"],
        "online": [
            "--algorithm",
            "dqn",
            "--learning-starts",
            "16",
            "--envs-per-seed",
            "2",
            "--exploration-updates",
            "50",
        ],
    }
    arguments = common + kinds[where]
    if where == "online":
        arguments += [
            "--set",
            *(
                f"{name}={getattr(SMALL, name)}"
                for name in ("n_aps", "n_ues", "n_candidates", "episode_length")
            ),
        ]
    updates = str(killed(arguments, tmp_path / "cut") + 22)
    assert int(checkpoint(tmp_path / "cut")["updates"]) >= 30
    assert (
        main(
            ["train", "--out", str(tmp_path / "cut"), *arguments, "--updates", updates, "--resume"]
        )
        == 0
    )
    assert main(["train", "--out", str(tmp_path / "whole"), *arguments, "--updates", updates]) == 0
    assert_same_outcome(tmp_path / "cut", tmp_path / "whole")


# --- Runs that are not continued ---


@pytest.mark.parametrize(
    ("learner", "training", "options", "message"),
    [
        ({"discount": 0.5}, {}, {}, "with another learner: discount was 0.9, now 0.5"),
        (
            {"paradigm": "i", "n_critics": 1},
            {},
            {},
            "with another learner: paradigm was 'c', now 'i'; n_critics was 2, now 1",
        ),
        (
            {"hidden_sizes": (8, 8)},
            {},
            {},
            "with another learner: hidden_sizes was [16], now [8, 8]",
        ),
        ({}, {"envs_per_seed": 3}, {}, "with another training: envs_per_seed was 2, now 3"),
        ({}, {"checkpoint_every": 5}, {}, "with another training: checkpoint_every was 10, now 5"),
        ({}, {}, {"seeds": (0, 1)}, "with another seeds: [0], now [0, 1]"),
        (
            {},
            {},
            {"environment": RRMConfig(**{**SMALL.as_dict(), "n_ues": 9})},
            "with another environment: n_ues was 6, now 9",
        ),
        (
            {},
            {},
            {"environment": Environment.of_factory(UnequalAgents)},
            "with another team: n_features was 4, now 5; n_actions was 3, now 4",
        ),
        ({}, {"updates": 15}, {}, "has done 20 updates already; updates = 15 asks for fewer"),
    ],
)
def test_another_run_is_not_continued_and_the_difference_is_named(
    learner: dict[str, Any],
    training: dict[str, Any],
    options: dict[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    folder = trained(tmp_path / "run", {"discount": 0.9})
    before = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    with pytest.raises(RunError, match=re.escape(message)):
        trained(folder, {"discount": 0.9, **learner}, training, resume=True, **options)
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before


def test_another_dataset_is_not_learned_from(dataset: Dataset, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run", dataset=dataset)
    other = collect(RandomWalk(silence=True), SMALL, 200, seed=6)
    for changed in (other, dataset.subset(199)):
        with pytest.raises(
            RunError,
            match=r"cannot be resumed with another data: .*fingerprint was '\w+', now '\w+'",
        ):
            trained(folder, dataset=changed, resume=True)
    with pytest.raises(RunError, match="cannot be resumed with another"):
        trained(folder, resume=True)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "replay-20.safetensors"])
def test_checkpoint_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run")
    content, log = (folder / name).read_bytes(), records(folder)
    (folder / name).write_bytes(content[:-5])
    with pytest.raises(RunError, match=re.escape(f"{str(folder)!r} has no readable checkpoint")):
        trained(folder, {}, {"updates": 30}, resume=True)
    (folder / name).write_bytes(content)
    assert records(folder) == log
    assert_same_outcome(
        trained(folder, {}, {"updates": 30}, resume=True),
        trained(tmp_path / "whole", {}, {"updates": 30}),
    )
