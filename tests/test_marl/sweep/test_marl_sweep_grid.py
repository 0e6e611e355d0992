"""What a sweep's grid is, what its cells are called, and what is refused before any work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toys
from folders import ROOT
from sweeps import COLLECT, NETWORK, TRAIN, all_cells, names_of_data, small
from toys import SMALL, Match, run, trained

from baselines import REGISTRY, RandomWalk
from marl import LearnerConfig, TrainingConfig, collect
from marl.cli.learning import Evaluate, Train
from marl.options import DEFAULT_SCHEDULER
from marl.sweep.cells import digest
from marl.sweep.grid import MAX_POINTS, Sweep
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
    """Whatever order sets and dictionaries have there."""
    code = "from sweeps import *; print([cell.name for cell in all_cells(small())], names_of_data(small()))"
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


# --- Refusals ---


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"train": {"paradgm": "c"}},
            r"\[train\] unknown option 'paradgm' \(did you mean 'paradigm'\?\)",
        ),
        ({"train": {"out": "x"}}, r"\[train\] unknown option 'out'"),
        ({"train": {"seeds": 3}}, r"\[train\] seeds belongs to the sweep itself"),
        ({"train": 3}, r"\[train\] must be a table of options, got 3"),
        (
            {"train": {"discount": 1.5}},
            r"\[train\] discount must be a finite number of at least 1e-30 and at most 1, got 1.5",
        ),
        ({"train": {"discount": [0.9, "high"]}}, r"\[train\] discount must be .*, got 'high'"),
        ({"train": {"updates": []}}, r"\[train\] updates is an axis without values"),
        ({"train": {"updates": [100, 200, 100]}}, r"\[train\] updates holds 100 twice"),
        (
            {"train": {"device": "tpu"}},
            r"\[train\] device must be cpu or cuda, whichever is free, got 'tpu'",
        ),
        ({"train": {"device": ["cpu", "cuda"]}}, r"\[train\] device must be one for all cells"),
        (
            {"train": {"preset": "papr"}},
            r"\[train\] unknown preset 'papr' \(did you mean 'paper'\?\)",
        ),
        (
            {"train": {"network": "papr"}},
            r"\[train\] unknown preset 'papr' \(did you mean 'paper'\?\)",
        ),
        (
            {"train": {"set": {"n_uess": 3}}},
            r"\[train\] unknown config field 'n_uess' \(did you mean 'n_ues'\?\)",
        ),
        (
            {"train": {"set": "n_ues=3"}},
            r"\[train\] set must be a table of network fields, such as .*, got 'n_ues=3'",
        ),
        ({"train": {"algorithm": "bc"}}, r"\[train\] algorithm = 'bc' needs a dataset"),
        ({"train": {"dataset": "missing"}}, r"\[train\] 'missing' cannot be read"),
        ({"train": {"dataset": 3}}, r"\[train\] dataset must be a text, got 3"),
        (
            {"train": {"env": "no_such_module"}},
            r"\[train\] env = 'no_such_module' cannot be imported",
        ),
        (
            {"train": {"env": "toys", "network": "paper"}},
            r"\[train\] network is of the network and does not go with env",
        ),
        (
            {"train": {"log_every": 7}},
            r"\[train\] evaluate_every = 1000 must be a multiple of log_every = 7",
        ),
        (
            {"train": {"dataset": "a"}, "collect": {}},
            r"\[collect\] there must be either this section or dataset in \[train\]",
        ),
        (
            {"collect": {"scheduler": "itlin"}},
            r"\[collect\] unknown scheduler 'itlin' \(did you mean 'itlinq'\?\)",
        ),
        ({"collect": {"scheduler": 3}}, r"\[collect\] scheduler must be a text, got 3"),
        (
            {"collect": {"transitions": [5, 0]}},
            r"\[collect\] transitions must be an integer of at least 1, got 0",
        ),
        ({"collect": {"seed": -1}}, r"\[collect\] seed must be an integer of at least 0"),
        ({"collect": {"sample": True}}, r"\[collect\] sample needs policy"),
        ({"collect": {"sample": "yes"}}, r"\[collect\] sample must be true or false, got 'yes'"),
        ({"collect": {"policy": "missing"}}, r"\[collect\] 'missing' holds no run"),
        (
            {"collect": {"env": "toys", "set": {"n_ues": 3}}},
            r"\[collect\] set is of the network and does not go with env",
        ),
        (
            {"collect": {"env": "toys"}},
            r"\[train\] env must name the environment that the data were recorded in",
        ),
        (
            {"collect": {}, "train": {"set": {"n_aps": 2}}},
            r"\[train\] the data are of Team\(n_agents=4.*, the network of Team\(n_agents=2",
        ),
        (
            {"evaluate": {"episods": 4}},
            r"\[evaluate\] unknown option 'episods' \(did you mean 'episodes'\?\)",
        ),
        ({"evaluate": {"episodes": 0}}, r"\[evaluate\] episodes must be an integer of at least 1"),
        ({"evaluate": {"schedulers": "itlin"}}, r"\[evaluate\] unknown scheduler 'itlin'"),
        (
            {"evaluate": {"act_on": "best"}},
            r"\[evaluate\] act_on of algorithm 'sac' must be one of actor, critic, got 'best'",
        ),
        (
            {"evaluate": {"act_on": "critic", "sample": True}},
            r"\[evaluate\] sample needs act_on = 'actor'",
        ),
        (
            {"evaluate": {"network": "wide"}},
            r"\[evaluate\] the policy was trained for Team\(n_agents=4",
        ),
        (
            {"evaluate": {"env": "toys"}},
            r"\[evaluate\] env must be that of training, None, got 'toys'",
        ),
        (
            {"train": {"env": "toys"}, "evaluate": {"schedulers": "tdm"}},
            r"\[evaluate\] schedulers is of the network and does not go with env",
        ),
        ({"seeds": 0}, "seeds must be an integer of at least 1"),
        ({"seeds": [1, 1]}, r"seeds must be at least one, all different, got \[1, 1\]"),
        ({"seeds": []}, r"seeds must be at least one, all different, got \[\]"),
        ({"seeds_per_cell": 0}, "seeds_per_cell must be an integer of at least 1"),
        (
            {"train": {"updates": list(range(100, 30_100, 100)), "batch_size": list(range(1, 40))}},
            rf"the grid has 11,700 points, allowed: up to {MAX_POINTS:,}; it is 300 of updates × 39 of batch_size",
        ),
    ],
)
def test_what_a_command_would_refuse_is_refused_before_any_work(
    sections: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toys, "parallel_env", Match, raising=False)
    with pytest.raises((TypeError, ValueError), match=message):
        Sweep(**sections)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        ("seeds = ", "is no TOML: "),
        (b"\xff", "is no TOML: "),
        (
            "[trian]\n",
            "unknown section or option 'trian' (did you mean 'train'?); allowed: train, collect, evaluate, seeds, seeds_per_cell",
        ),
        (
            "[train]\nupdates = 'many'",
            "[train] updates must be an integer of at least 1 and at most 9007199254740992, got 'many'",
        ),
    ],
)
def test_a_wrong_file_is_one_line_and_makes_nothing(
    content: str | bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "study.toml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert run("sweep", path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {str(path)!r}")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
