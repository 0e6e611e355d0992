"""Files that change after they were verified: the change has no effect, or it is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from notices import without_notice
from toys import SMALL, assert_same_outcome, made_up, trained

import marl.data.storage
from baselines import Greedy, RandomWalk
from marl import Dataset, DatasetError, Policy, collect
from marl.engines.base import Serial
from marl.runs.checkpoint import load_tensors, read_tensors
from marl.runs.description import RunError, describe
from marl.sweep.grid import Sweep
from marl.sweep.run import SweepRun


def overwritten(path: Path) -> None:
    """Overwrite a file with other content of the same size."""
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)


def truncated(path: Path) -> None:
    """Empty a file."""
    with path.open("r+b") as file:
        file.truncate(0)


CHANGES = {"overwritten": overwritten, "truncated": truncated}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Random legal actions in the small network."""
    return collect(RandomWalk(silence=True), SMALL, 200, seed=5)


@pytest.mark.parametrize("change", CHANGES)
def test_training_uses_the_dataset_that_was_verified(
    change: str, dataset: Dataset, tmp_path: Path
) -> None:
    """The file changes under a separate process: a read beyond its end would kill that."""
    dataset.write(tmp_path / "data.safetensors")
    trained(tmp_path / "undisturbed", dataset=dataset)
    program = f"""
        from pathlib import Path
        from toys import trained
        from test_marl_changing_files import CHANGES
        from marl import Dataset
        path, changed = Path({str(tmp_path / "data.safetensors")!r}), []

        def report(updates, record):
            if not changed:
                changed.append(CHANGES[{change!r}](path))

        trained(Path({str(tmp_path / "disturbed")!r}), dataset=Dataset.read(path), report=report)
        """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, without_notice(done.stderr)) == (0, "")
    assert_same_outcome(tmp_path / "undisturbed", tmp_path / "disturbed")
    assert describe(tmp_path / "disturbed")["data"]["fingerprint"] == dataset.fingerprint()


def test_a_checkpoint_and_a_replay_stay_as_verified(tmp_path: Path) -> None:
    run = trained(tmp_path / "run")
    learner, replay = load_tensors(run, with_replay=True)
    assert replay is not None
    before = [
        {name: tensor.clone() for name, tensor in tensors.items()} for tensors in (learner, replay)
    ]
    for path in run.glob("*.safetensors"):
        overwritten(path)
    for tensors, expected in zip((learner, replay), before, strict=True):
        for name, tensor in tensors.items():
            assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (Dataset.read, DatasetError),
        (lambda path: read_tensors(path, {}), RunError),
    ],
    ids=["dataset", "checkpoint"],
)
def test_a_file_larger_than_the_free_memory_is_refused_by_name(
    read: Callable[[Path], object],
    error: type[Exception],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made_up().write(path := tmp_path / "data.safetensors")
    monkeypatch.setattr(marl.data.storage, "free_bytes", lambda _: 2 * path.stat().st_size - 1)
    too_large = (
        r"data.safetensors' cannot be read.*: its [\d,]+ bytes need .* MiB of memory "
        r"while it is read, .* MiB are free"
    )
    with pytest.raises(error, match=too_large):
        read(path)


def test_a_dataset_that_changes_between_a_sweeps_declaration_and_its_cells_is_refused(
    tmp_path: Path,
) -> None:
    collect(RandomWalk(), SMALL, 60, seed=1).write(path := tmp_path / "data.safetensors")
    tiny = {"updates": 2, "hidden_sizes": (4,), "batch_size": 4, "evaluation_episodes": 1}
    sweep = Sweep(train={"dataset": str(path), **tiny}, evaluate={"episodes": 1})
    work = SweepRun(sweep, tmp_path / "out", say=lambda _: None)
    collect(Greedy(), SMALL, 60, seed=1).write(path)
    assert not work.run(Serial())["rows"]
    assert [
        reason
        for reason in work.failed.values()
        if "changed since the sweep was declared" in reason
    ]


def test_a_dataset_that_changed_makes_other_cells_in_the_same_process(tmp_path: Path) -> None:
    def declared() -> str:
        point = Sweep(train={"dataset": str(path)}, evaluate={}).points[0]
        assert point.data is not None
        return str(point.data.description["fingerprint"])

    (first := collect(RandomWalk(), SMALL, 60, seed=1)).write(path := tmp_path / "data.safetensors")
    assert declared() == first.fingerprint()
    (second := collect(Greedy(), SMALL, 60, seed=1)).write(path)
    assert declared() == second.fingerprint()


def test_a_run_that_trained_on_makes_other_recordings_in_the_same_process(tmp_path: Path) -> None:
    def declared() -> str:
        point = Sweep(collect={"policy": str(run)}, train={}, evaluate={}).points[0]
        assert point.data is not None
        return str(point.data.description["policy"]["checkpoint"])

    run = trained(tmp_path / "run")
    before = declared()
    trained(run, training={"updates": 25}, resume=True)
    assert declared() != before


def test_a_loaded_policy_does_not_follow_its_run(tmp_path: Path) -> None:
    run, generator = trained(tmp_path / "run"), np.random.default_rng(0)
    policy = Policy.load(run)
    team = policy.team
    observation = generator.normal(size=(20, team.n_agents, team.n_features))
    mask = np.ones((20, team.n_agents, team.n_actions))
    before = policy.actions(observation, mask)
    overwritten(run / "checkpoint.safetensors")
    assert np.array_equal(policy.actions(observation, mask), before)
