"""Nodes of a Ray cluster are killed at work: reports name the loss, and results are unchanged.

``pytest tests/test_marl/engines/test_marl_cluster.py -v``
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ray")

import ray
from numpy.typing import NDArray
from ray.cluster_utils import Cluster
from sweeps import COLLECT, LONGER, TRAIN, checkpointed_log, small
from toys import SMALL, assert_same_outcome, run
from workers import EventRecorder, is_alive, wait_until

import marl.runs.checkpoint
import marl.sweep.run
import marl.sweep.work
from baselines import TDM
from marl import Dataset, collect
from marl.data.collect import Recording
from marl.engines.local import Local
from marl.engines.ray import Ray
from marl.sweep.run import SweepRun
from marl.sweep.work import TrainingTask
from rrm_env import Network

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 80 * 2**20}


@pytest.fixture(name="cluster")
def head_alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A cluster of one node, this machine; it is removed after the test in any case."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    # Nodes import what is defined in this file.
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    monkeypatch.setenv("PYTHONPATH", path)
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    processes: list[int] = []
    try:
        yield cluster
    finally:
        processes = [process.pid for node in nodes_of(cluster) for process in processes_of(node)]
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call,unused-ignore]
    wait_until(lambda: not any(is_alive(pid) for pid in processes))


def nodes_of(cluster: Cluster) -> list[Any]:
    return list(cluster.list_all_nodes())  # type: ignore[no-untyped-call,unused-ignore]


def processes_of(node: Any) -> list[Any]:
    return [
        information.process for of_kind in node.all_processes.values() for information in of_kind
    ]


# --- What happens on the nodes ---


class VictimChooser:
    """Shares with the nodes, through a folder, which of them will be killed."""

    def __init__(self, folder: Path) -> None:
        self._doomed, self._met, self._killed = (
            folder / name for name in ("doomed", "met", "killed")
        )

    def doom(self, node: Any) -> None:
        """Choose the node."""
        self._doomed.write_text(node.node_id)

    def wait_for_kill(self) -> None:
        """Called by tasks: the doomed node never gets past this, the others do once it is dead."""
        if ray.get_runtime_context().get_node_id() == self._doomed.read_text():
            self._met.touch()
            while True:
                time.sleep(1)
        wait_until(self._killed.exists)

    def kill_in_flight(
        self, cluster: Cluster, node: Any, look: Callable[[], object] = lambda: None
    ) -> threading.Thread:
        """Kill the node once it works on a task, and call `look` when it is dead.

        The thread then ends.
        """

        def kill() -> None:
            wait_until(self._met.exists)
            pids = [process.pid for process in processes_of(node)]
            cluster.remove_node(node, allow_graceful=False)
            wait_until(lambda: not any(is_alive(pid) for pid in pids))
            look()
            self._killed.touch()

        thread = threading.Thread(target=kill)
        thread.start()
        return thread

    @property
    def was_in_flight(self) -> bool:
        """Whether the node was killed with work in flight."""
        return self._met.exists() and self._killed.exists()


class KilledOnChosenNode(TDM):
    """A scheduler that is killed in the middle of an episode if its node is the chosen one."""

    def __init__(self, chooser: VictimChooser) -> None:
        self._chooser = chooser

    def schedule_candidates(self, network: Network) -> NDArray[Any]:
        """As any scheduler's."""
        if network.t == 3:
            self._chooser.wait_for_kill()
        return super().schedule_candidates(network)


def train_until_killed(task: TrainingTask) -> Any:
    """Train and evaluate a cell; the chosen node is killed once there is a checkpoint."""
    save, chooser = marl.runs.checkpoint.save_tensors, VictimChooser(task.folder.parent.parent)

    def save_and_wait(*arguments: Any) -> None:
        save(*arguments)
        chooser.wait_for_kill()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marl.runs.checkpoint, "save_tensors", save_and_wait)
        return marl.sweep.work.train_and_evaluate(task)


# --- Collection ---


def test_a_node_that_dies_while_recording_does_not_show_in_the_dataset(
    cluster: Cluster, tmp_path: Path
) -> None:
    """One of two nodes is killed."""
    node, chooser, recorder = cluster.add_node(**NODE), VictimChooser(tmp_path), EventRecorder()
    chooser.doom(node)
    arguments = SMALL, 1_500, 7
    shards = len(Recording(TDM(), *arguments).shards)
    assert shards > 2
    with Ray(cluster.address, listen=recorder) as engine:
        thread = chooser.kill_in_flight(cluster, node)
        recorded = collect(KilledOnChosenNode(chooser), *arguments, name="tdm", engine=engine)
        thread.join()
    assert chooser.was_in_flight
    assert len(recorder.recorded("lost")) == 1
    ((task, _),) = recorder.recorded("lost")
    assert (task, 2) in recorder.recorded("done")
    assert len(recorder.recorded("done")) == shards
    assert any(
        "NodeDied" in event.detail or "WorkerCrashed" in event.detail
        for event in recorder.events
        if event.kind == "lost"
    )
    recorded.write(tmp_path / "there.safetensors")
    collect(TDM(), *arguments, name="tdm").write(tmp_path / "here.safetensors")
    assert (tmp_path / "there.safetensors").read_bytes() == (
        tmp_path / "here.safetensors"
    ).read_bytes()
    # The command, on what is left of the cluster.
    network = "--set", "n_aps=2", "n_ues=6", "n_candidates=2", "episode_length=10"
    options = "--scheduler", "tdm", "--transitions", 1_500, "--seed", 7, *network
    on_cluster = ["--engine", "ray", "--address", cluster.address]
    assert run("collect", "--out", tmp_path / "by_command", *options, *on_cluster) == 0
    assert (tmp_path / "by_command").read_bytes() == (tmp_path / "here.safetensors").read_bytes()
    assert Dataset.read(tmp_path / "by_command")


# --- A sweep ---


def logs_of(folder: Path) -> dict[str, str]:
    """The log of every run up to its checkpoint."""
    return {
        path.parent.name: checkpointed_log(path.parent)
        for path in folder.glob("runs/*/checkpoint.safetensors")
    }


def test_a_node_that_dies_while_training_does_not_show_in_the_results(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of three nodes is killed; another one continues its cell from the checkpoint."""
    nodes = [cluster.add_node(**NODE) for _ in range(2)]
    sweep = small(collect=COLLECT, train={**TRAIN, "paradigm": ["c", "i", "ctde"], **LONGER})
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    recorded: list[str] = []
    logs: dict[str, str] = {}
    """The logs of all runs when the node is dead."""
    work = SweepRun(sweep, there, recorded.append)
    chooser = VictimChooser(there)
    chooser.doom(nodes[0])
    monkeypatch.setattr(marl.sweep.run, "train_and_evaluate", train_until_killed)
    with Ray(cluster.address, listen=work.listen) as engine:
        thread = chooser.kill_in_flight(cluster, nodes[0], lambda: logs.update(logs_of(there)))
        work.run(engine)
        thread.join()
    monkeypatch.undo()
    assert chooser.was_in_flight
    (lost,) = [line for line in recorded if line.startswith("lost: cell ")]
    name = lost.split()[2].rstrip(",")
    assert any(line.startswith("done ") and f"cell {name}, attempt 2 " in line for line in recorded)
    assert logs[name]
    assert (there / "runs" / name / "log.jsonl").read_text().startswith(logs[name])
    plain = SweepRun(sweep, here, lambda _: None)
    with Local(1, plain.listen) as engine:
        plain.run(engine)
    assert (there / "results.json").read_bytes() == (here / "results.json").read_bytes()
    assert len(json.loads((here / "results.json").read_text())["rows"]) == 4
    for folder in (here / "runs").iterdir():
        assert_same_outcome(folder, there / "runs" / folder.name)
