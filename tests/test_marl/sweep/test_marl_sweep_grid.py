"""The grid of a sweep, and the names of its cells and datasets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from folders import ROOT
from sweeps import COLLECT, NETWORK, TRAIN, all_cells, names_of_data, small
from toys import SMALL, trained

from baselines import REGISTRY, RandomWalk
from marl import LearnerConfig, TrainingConfig, collect
from marl.cli.learning import Evaluate, Train
from marl.options import DEFAULT_SCHEDULER
from marl.sweep.cells import digest
from marl.sweep.grid import Sweep
from marl.sweep.points import OPTIONS
from rrm_env import RRMConfig

TESTS = ROOT / "tests"


# --- The grid ---


def test_grid_is_every_combination_and_the_last_axis_varies_fastest() -> None:
    sweep = small(
        train={**TRAIN, "paradigm": ["c", "ctde"], "hidden_sizes": [[16], [16, 8]], "discount": 0.5}
    )
    assert sweep.varied == ["transitions", "hidden_sizes", "paradigm"]
    found = [
        (p.varied["transitions"], p.varied["hidden_sizes"], p.varied["paradigm"])
        for p in sweep.points
    ]
    assert found == [
        (n, sizes, paradigm)
        for n in (100, 60)
        for sizes in ([16], [16, 8])
        for paradigm in ("c", "ctde")
    ]
    for point in sweep.points:
        assert point.learner.hidden_sizes == tuple(point.varied["hidden_sizes"])
        assert point.learner.paradigm == point.varied["paradigm"]
        assert point.learner.discount == 0.5
        assert point.data is not None
        assert point.data.description["transitions"] == point.varied["transitions"]
        assert point.environment.network == point.evaluating.environment.network == SMALL
        assert [cell.seeds for cell in sweep.cells(point)] == [(0, 1)]


def test_a_list_of_sizes_is_a_value_and_options_of_one_name_are_told_apart() -> None:
    sweep = Sweep(
        {**TRAIN, "hidden_sizes": [16, 8]},
        {**COLLECT, "seed": [1, 2]},
        {"seed": [0, 3], "set": [{}, {"n_ues": 8}]},
    )
    assert sweep.varied == ["collect.seed", "evaluate.seed", "set"]
    assert {point.learner.hidden_sizes for point in sweep.points} == {(16, 8)}
    assert [
        point.evaluating.environment.network and point.evaluating.environment.network.n_ues
        for point in sweep.points
    ] == [6, 8] * 4


@pytest.mark.parametrize(
    ("seeds", "per_cell", "expected"),
    [
        (3, None, [(0, 1, 2)]),
        (3, 2, [(0, 1), (2,)]),
        ([5, 0, 9], 1, [(5,), (0,), (9,)]),
        (2, 7, [(0, 1)]),
    ],
)
def test_one_learner_trains_all_seeds_unless_told_otherwise(
    seeds: Any, per_cell: int | None, expected: list[tuple[int, ...]]
) -> None:
    sweep = Sweep(TRAIN, COLLECT, seeds=seeds, seeds_per_cell=per_cell)
    assert [cell.seeds for cell in all_cells(sweep)] == expected


def test_presets_and_networks_are_those_of_the_commands() -> None:
    (point,) = Sweep(
        {"preset": "paper", "algorithm": "dqn", "discount": 0.5, "network": "correlated"}
    ).points
    assert point.learner == LearnerConfig.preset(
        "paper", algorithm="dqn", discount=0.5, cql_alpha=0.0
    )
    assert point.environment.network == RRMConfig.preset("correlated")
    assert point.training == TrainingConfig()
    assert (point.evaluating.episodes, point.evaluating.seed) == (Evaluate.episodes, Evaluate.seed)
    assert point.data is None
    (point,) = Sweep({}, {"transitions": 50}, {"schedulers": "all"}).points
    assert point.data is not None
    assert point.data.description["scheduler"] == DEFAULT_SCHEDULER
    assert point.environment.network == RRMConfig()
    assert point.schedulers == tuple(REGISTRY)
    assert set(OPTIONS["train"]) >= {
        "preset",
        "dataset",
        "network",
        "set",
        "env",
        "paradigm",
        "updates",
        "device",
    }
    assert Train.preset == "tuned"


def test_a_sweep_in_toml_is_the_one_in_python(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text("""
        seeds = [3, 1]
        seeds_per_cell = 1
        [collect]
        scheduler = "random_walk:silence=true"
        transitions = [100, 60]
        set = { n_aps = 2, n_ues = 6, n_candidates = 2, episode_length = 10 }
        [train]
        hidden_sizes = [[16], [8, 8]]
        cql_alpha = [0.0, 1.0]
        [evaluate]
        episodes = 4
    """)
    expected = Sweep(
        {"hidden_sizes": [[16], [8, 8]], "cql_alpha": [0.0, 1.0]},
        {**COLLECT, "transitions": [100, 60]},
        {"episodes": 4},
        seeds=[3, 1],
        seeds_per_cell=1,
    )
    assert [cell.name for cell in all_cells(Sweep.read(path))] == [
        cell.name for cell in all_cells(expected)
    ]
    assert len(all_cells(expected)) == 16


# --- Names ---


def test_names_are_the_same_in_other_processes() -> None:
    """Names do not depend on the hash seed of a process."""
    code = (
        "from sweeps import *; "
        "print([cell.name for cell in all_cells(small())], names_of_data(small()))"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]),
        "PYTHONHASHSEED": "77",
    }
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert told.strip() == f"{[cell.name for cell in all_cells(small())]} {names_of_data(small())}"


def test_a_digest_is_of_what_is_said_and_not_of_how() -> None:
    assert (
        digest({"b": [1, 2.5], "a": None})
        == digest({"a": None, "b": [1, 2.5]})
        != digest({"a": None, "b": [2.5, 1]})
    )
    assert re.fullmatch("[0-9a-f]{16}", digest({}))


CHANGES: dict[str, dict[str, Any]] = {
    "collect": {
        "scheduler": "tdm",
        "transitions": 101,
        "seed": 1,
        "set": {**NETWORK, "wall_loss_db": 5.0},
    },
    "train": {
        "preset": "paper",
        "set": {**NETWORK, "wall_loss_db": 5.0},
        "paradigm": "i",
        "algorithm": "dqn",
        "cql_alpha": 0.5,
        "discount": 0.8,
        "batch_size": 9,
        "hidden_sizes": [17],
        "td_loss": "huber",
        "updates": 40,
        "log_every": 10,
        "evaluate_every": 20,
        "checkpoint_every": 20,
        "evaluation_episodes": 3,
    },
    "evaluate": {
        "episodes": 5,
        "seed": 1,
        "act_on": "critic",
        "sample": True,
        "set": {"wall_loss_db": 5.0},
    },
}


def test_every_option_shows_in_the_name_and_where_it_runs_does_not() -> None:
    given: dict[str, dict[str, Any]] = {
        "collect": COLLECT,
        "train": {**TRAIN, "log_every": 5},
        "evaluate": {},
    }

    def name(**changed: Any) -> str:
        (cell,) = all_cells(Sweep(**{**given, **changed}))
        return cell.name

    plain = name()
    names = {plain, name(seeds=2), name(seeds=[1])}
    for section, changes in CHANGES.items():
        for option, value in changes.items():
            more = (
                {"updates": 40, "evaluate_every": 10, "checkpoint_every": 10}
                if option.endswith("_every")
                else {}
            )
            before = len(names)
            names.add(name(**{section: {**given[section], **more, option: value}}))
            assert len(names) == before + 1, option
    assert name(train={**given["train"], "device": "cuda"}) == plain
    assert name(evaluate={"schedulers": "tdm", "episodes": 128}) == plain
    run_folders = {text.partition("/")[0] for text in (plain, name(evaluate={"episodes": 5}))}
    assert len(run_folders) == 1, "evaluations share their training"


def test_data_are_known_by_their_content_not_by_where_they_lie(tmp_path: Path) -> None:
    runs = [trained(tmp_path / name, seeds=(0,)) for name in ("one", "two")]
    recorded = collect(RandomWalk(silence=True), SMALL, 50)

    def of_policy(folder: Path) -> str:
        return names_of_data(
            Sweep(TRAIN, {"policy": str(folder), "set": NETWORK, "transitions": 30})
        )[0]

    def of_file(folder: Path) -> str:
        recorded.write(folder / "data.safetensors")
        return names_of_data(Sweep({**TRAIN, "dataset": str(folder / "data.safetensors")}))[0]

    assert (
        of_policy(runs[0])
        == of_policy(runs[1])
        != of_policy(trained(tmp_path / "three", seeds=(1,)))
    )
    assert of_file(runs[0]) == of_file(runs[1])
