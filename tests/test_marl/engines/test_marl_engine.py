"""Engines: tasks, errors, lost workers, GPUs, and datasets that do not depend on the engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from faults import KILL
from folders import ROOT
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from toys import SMALL, random_policy, run, trained
from workers import EventRecorder, is_alive, wait_until

from baselines import TDM, ITLinQ, MaxWeight, RandomWalk
from marl import Dataset, collect
from marl.data.collect import Recording
from marl.engines.base import Engine, LostError, Serial, Task, one_torch_thread
from marl.engines.local import Local
from marl.team import team_of
from rrm_env import Network, RRMConfig

COLLECT = sys.modules[collect.__module__]
DOCS = ROOT / "docs"


# --- Tasks; workers import them from here ---


def square(x: int) -> int:
    return x * x


def pid_and_threads() -> tuple[int, int]:
    return os.getpid(), torch.get_num_threads()


def refuse(x: int) -> None:
    raise ValueError(f"x must not be {x}")


class TwoArguments(Exception):  # noqa: N818 - it says what is odd about it
    """Cannot be unpickled, as exceptions of other packages sometimes cannot."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


def fail_oddly() -> None:
    raise TwoArguments("this", "that")


def die_unless(path: Path) -> int:
    """Be killed in the first attempt, and succeed in the second."""
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), KILL)
    return os.getpid()


def die() -> None:
    os.kill(os.getpid(), KILL)


def wait_for(path: Path, own: Path) -> int:
    """Write the process id to the file ``own``, and wait until the other file exists."""
    own.write_text(str(os.getpid()))
    while not path.exists():
        time.sleep(0.01)
    return os.getpid()


class KilledOnce(TDM):
    """A scheduler whose process is killed once, in its first shard after some steps."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def schedule_candidates(self, network: Network) -> NDArray[np.int64]:
        """As any scheduler's."""
        if network.t == 3 and not self.marker.exists():
            die_unless(self.marker)
        return super().schedule_candidates(network)


@pytest.fixture(name="local", scope="module")
def two_workers() -> Iterator[tuple[Local, EventRecorder]]:
    """Two workers and their events, shared by all tests that do not change them."""
    recorder = EventRecorder()
    engine = Local(2, recorder)
    with engine:
        yield engine, recorder


@pytest.fixture(autouse=True)
def fresh_ears(request: pytest.FixtureRequest) -> None:
    if "local" in request.fixturenames:
        request.getfixturevalue("local")[1].events.clear()


# --- Outcomes ---


@pytest.mark.parametrize("kind", ["serial", "local"])
def test_every_task_ends_once_and_own_errors_are_outcomes_that_are_not_tried_again(
    kind: str, local: tuple[Local, EventRecorder]
) -> None:
    recorder = EventRecorder()
    engine: Engine = Serial(recorder)
    if kind == "local":
        engine, recorder = local
    tasks = [Task("two", square, (2,)), Task("bad", refuse, (7,)), Task("three", square, (3,))]
    outcomes = {outcome.number: outcome for outcome in engine.run(tasks)}
    assert sorted(outcomes) == [0, 1, 2]
    assert [outcomes[0].value, outcomes[2].value] == [4, 9]
    assert isinstance(outcomes[1].error, ValueError)
    assert str(outcomes[1].error) == "x must not be 7"
    assert "in refuse" in outcomes[1].traceback
    assert recorder.recorded("failed") == [("bad", 1)]
    assert sorted(recorder.recorded("done")) == [("three", 1), ("two", 1)]
    assert len(recorder.recorded("submitted")) == 3
    with pytest.raises(ValueError, match="x must not be 7"):
        list(engine.values(tasks))
    assert [value for _, value in engine.values(tasks[:1])] == [4]


def test_an_error_that_cannot_travel_is_told_in_words(local: tuple[Local, EventRecorder]) -> None:
    (outcome,) = local[0].run([Task("odd", fail_oddly, ())])
    assert isinstance(outcome.error, RuntimeError)
    assert str(outcome.error) == "TwoArguments: this and that"


def test_every_task_computes_with_one_torch_thread_and_the_others_come_back(
    local: tuple[Local, EventRecorder],
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        for engine in (Serial(), local[0]):
            (outcome,) = engine.run([Task("threads", pid_and_threads, ())])
            assert outcome.value[1] == 1
            assert (outcome.value[0] == os.getpid()) == isinstance(engine, Serial)
            assert torch.get_num_threads() == 3
        with one_torch_thread():
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_two_workers_work_at_the_same_time(
    local: tuple[Local, EventRecorder], tmp_path: Path
) -> None:
    """Each of two tasks waits until the other runs."""
    tasks = [
        Task(name, wait_for, (tmp_path / other, tmp_path / name))
        for name, other in (("a", "b"), ("b", "a"))
    ]
    outcomes = list(local[0].run(tasks))
    assert len({outcome.value for outcome in outcomes}) == 2


# --- Losses ---


def test_a_killed_worker_s_task_is_started_again_and_the_other_worker_goes_on(
    local: tuple[Local, EventRecorder], tmp_path: Path
) -> None:
    engine, recorder = local
    tasks = [
        Task("mortal", die_unless, (tmp_path / "died",)),
        Task("steady", wait_for, (tmp_path / "died", tmp_path / "steady")),
    ]
    outcomes = {outcome.number: outcome for outcome in engine.run(tasks)}
    assert all(outcome.error is None for outcome in outcomes.values())
    assert recorder.recorded("lost") == [("mortal", 1)]
    assert sorted(recorder.recorded("done")) == [("mortal", 2), ("steady", 1)]
    assert outcomes[1].value == int((tmp_path / "steady").read_text())
    # Killed while it has nothing to do, a worker is replaced as well.
    os.kill(outcomes[1].value, KILL)
    wait_until(lambda: not is_alive(outcomes[1].value))
    assert [
        outcome.error
        for outcome in engine.run([Task("two", square, (2,)), Task("three", square, (3,))])
    ] == [None, None]


def test_a_task_that_is_lost_every_time_is_given_up_and_the_others_go_on() -> None:
    recorder = EventRecorder()
    with Local(1, recorder, attempts=2) as engine:
        first, second = engine.run([Task("deadly", die, ()), Task("two", square, (2,))])
    assert isinstance(first.error, LostError)
    assert "deadly was started 2 times and lost every time: its process was killed" in str(
        first.error
    )
    assert second.value == 4
    assert recorder.recorded("lost") == [("deadly", 1)]
    assert recorder.recorded("failed") == [("deadly", 2)]


def test_what_nobody_waits_for_any_more_is_stopped(
    local: tuple[Local, EventRecorder], tmp_path: Path
) -> None:
    endless = Task("endless", wait_for, (tmp_path / "never", tmp_path / "pid"))
    with pytest.raises(ValueError, match="x must not be 1"):
        list(local[0].values([endless, Task("bad", late_refusal, (tmp_path / "pid",))]))
    wait_until(lambda: not is_alive(int((tmp_path / "pid").read_text())))


def late_refusal(path: Path) -> None:
    """Raise ValueError once the other task runs."""
    while not path.exists() or not path.read_text():
        time.sleep(0.01)
    refuse(1)


def test_workers_die_with_a_driver_that_was_killed(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from marl.engines.base import Task
        from marl.engines.local import Local
        from test_marl_engine import wait_for
        folder = Path({str(tmp_path)!r})
        list(Local(1).run([Task("endless", wait_for, (folder / "never", folder / "pid"))]))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    driver = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=environment)
    try:
        wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        worker = int((tmp_path / "pid").read_text())
        assert is_alive(worker)
    finally:
        driver.kill()
        driver.wait()
    wait_until(lambda: not is_alive(worker))


# --- GPUs ---


def test_as_many_gpu_tasks_run_at_once_as_there_are_gpus(
    local: tuple[Local, EventRecorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of GPUs is pretended here; on a machine without one, workers find none."""
    engine, recorder = local
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert len(list(engine.run([Task(str(k), square, (k,), gpu=True) for k in range(3)]))) == 3
    assert [event.kind == "submitted" for event in recorder.events] == [True, False] * 3


def test_a_gpu_task_without_a_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with (
        Local(1) as engine,
        pytest.raises(ValueError, match="device = 'cuda' is not available on this machine"),
    ):
        list(engine.run([Task("two", square, (2,), gpu=True)]))


# --- Shards ---


@given(
    transitions=st.integers(1, 5_000_000), length=st.integers(1, 3_000), batch=st.integers(1, 512)
)
def test_shards_are_all_slots_once_in_near_equal_parts(
    transitions: int, length: int, batch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(COLLECT, "MAX_BATCH", batch)
        shards = Recording(RandomWalk(), RRMConfig(episode_length=length), transitions).shards
    slots = [slot for shard in shards for slot in shard]
    episodes = -(-transitions // length)
    rounds = -(-episodes // batch)
    assert slots == list(range(-(-episodes // rounds)))
    sizes = {len(shard) for shard in shards}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) < 64
    assert min(sizes) >= min(16, len(slots))
    assert max(sizes) < 2 * max(16, 25_000 // (rounds * length))


def in_one_shard(*arguments: Any, **options: Any) -> Dataset:
    """The recording as one shard."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(COLLECT, "SHARD_SLOTS", 10**6)
        patch.setattr(COLLECT, "SHARD_TRANSITIONS", 10**12)
        return collect(*arguments, **options)


@pytest.mark.parametrize("batch", [512, 40])
@pytest.mark.parametrize("kind", ["tdm", "itlinq", "policy", "sampled"])
def test_a_recording_in_shards_is_the_one_without_to_the_byte(
    kind: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(COLLECT, "MAX_BATCH", batch)
    policies = {
        name: random_policy(team_of(SMALL), sample=name == "sampled")
        for name in ("policy", "sampled")
    }
    scheduler: Any = {"tdm": TDM(), "itlinq": ITLinQ(tolerance_db=0), **policies}[kind]
    arguments = scheduler, SMALL, 1_995, 3
    assert len(Recording(*arguments).shards) == (6 if batch == 512 else 1)
    monkeypatch.setattr(COLLECT, "SHARD_SLOTS", 16)
    assert len(Recording(*arguments).shards) > 1
    whole = in_one_shard(*arguments, first_episode=5, name="who")
    parts = collect(*arguments, first_episode=5, name="who")
    assert parts.fingerprint() == whole.fingerprint()
    assert parts.metadata == whole.metadata
    assert whole.metadata["behaviours"][0]["kpis"]["episodes"] == 199


def test_the_published_checksum_of_a_schedulers_dataset_is_met() -> None:
    (published,) = re.findall(
        r"^\| max_weight-100000 \|.*`(\w+)` \|$",
        (DOCS / "datasets_table.md").read_text(),
        re.MULTILINE,
    )
    assert (
        collect(MaxWeight(), transitions=100_000, name="max_weight").fingerprint()[:16] == published
    )


def test_workers_do_not_show_in_a_dataset_even_if_they_are_killed(
    local: tuple[Local, EventRecorder], tmp_path: Path
) -> None:
    arguments = SMALL, 1_500, 7
    expected = collect(TDM(), *arguments, name="tdm").fingerprint()
    (engine, recorder), done = local, list[int]()
    shards = len(Recording(TDM(), *arguments).shards)
    assert shards > 2
    mortal = collect(
        KilledOnce(tmp_path / "died"), *arguments, name="tdm", engine=engine, progress=done.append
    )
    assert len(recorder.recorded("lost")) == 1
    assert len(recorder.recorded("done")) == shards
    assert sum(done) == 1_500
    assert mortal.fingerprint() == expected


def test_runs_are_recorded_by_workers_as_in_this_process(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The command records all seeds of a run, with actions drawn from their actors."""
    trained(tmp_path / "run", seeds=(0, 1))
    paths = tmp_path / "here.safetensors", tmp_path / "there.safetensors"
    network = "--set", "n_aps=2", "n_ues=6", "n_candidates=2", "episode_length=10"
    options = "--policy", tmp_path / "run", "--sample", "--transitions", 900, *network
    assert run("collect", "--out", paths[0], *options) == 0
    assert run("collect", "--out", paths[1], "--engine", "local", "--workers", 1, *options) == 0
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert "900 transitions" in capfd.readouterr().out
