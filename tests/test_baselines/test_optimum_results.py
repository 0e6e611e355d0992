"""Results of `optimum`: kept on the disk, and refused where they would be wrong."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken import REASONS, break_library, remove_library
from folders import ROOT

from baselines.optimum import Optimum, cache, optimum, results, solve
from baselines.optimum.solve import OBJECTIVES
from rrm_env import RRMConfig

pytest.importorskip("scipy.optimize")

CONFIG = RRMConfig(n_aps=2, n_ues=20, episode_length=6)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for results."""
    monkeypatch.setenv("RRM_ENV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_said", set())
    return tmp_path / "cache"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The episodes solved, one entry for each call of the solver: its number."""
    calls: list[int] = []
    solve_episode = solve.solve_episode

    def solve_and_count(*arguments: Any) -> Any:
        calls.append(len(calls))
        return solve_episode(*arguments)

    monkeypatch.setattr(results, "solve_episode", solve_and_count)
    return calls


def assert_same(one: Optimum, other: Optimum, episodes: int) -> None:
    """The first episodes of both have the same results."""
    assert one.episodes >= episodes
    for name in OBJECTIVES:
        for part, array in vars(getattr(one, name)).items():
            expected = getattr(getattr(other, name), part)[:episodes]
            np.testing.assert_array_equal(array[:episodes], expected)


def test_networks_with_power_levels_are_read_from_the_disk_too(counted: list[int]) -> None:
    config = replace(CONFIG, power_levels_dbm=(10.0, 0.0))
    first = optimum(config, 3, 2)
    assert_same(optimum(config, 3, 2), first, 2)
    assert len(counted) == 2


@pytest.mark.parametrize(
    "view", [{"clock": "elapsed"}, {"n_neighbours": 3}, {"message_range": "neighbours"}]
)
def test_another_view_of_the_network_is_read_from_the_disk(
    view: dict[str, Any], counted: list[int]
) -> None:
    first = optimum(CONFIG, 3, 2)
    assert_same(optimum(replace(CONFIG, **view), 3, 2), first, 2)
    assert len(counted) == 2


def test_the_second_call_reads_from_the_disk(folder: Path, counted: list[int]) -> None:
    heard: list[int] = []
    first = optimum(CONFIG, 3, 4, progress=heard.append)
    assert (len(counted), heard) == (4, [1] * 4)
    second = optimum(CONFIG, 3, 4, progress=heard.append)
    assert (len(counted), heard) == (4, [1] * 4 + [4])
    assert_same(first, second, 4)
    assert (second.episodes, second.seed, second.config) == (4, 3, CONFIG)
    assert second.score.set_share.shape == (4, 4)
    assert second.score.left_out.dtype.kind == "i"
    (file,) = folder.iterdir()
    assert file.suffix == ".npz"
    # Fewer are its beginning, and need no scipy either.
    assert_same(optimum(CONFIG, 3, 2), first, 2)
    assert len(counted) == 4


def test_known_results_need_no_scipy(counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    first = optimum(CONFIG, 0, 2)
    remove_library("scipy", monkeypatch)
    assert_same(optimum(CONFIG, 0, 2), first, 2)
    with pytest.raises(ValueError, match="the optimum needs scipy"):
        optimum(CONFIG, 0, 3)


def test_more_episodes_extend_the_file(folder: Path, counted: list[int]) -> None:
    few = optimum(CONFIG, 0, 2)
    more = optimum(CONFIG, 0, 5)
    assert len(counted) == 5
    assert len(list(folder.iterdir())) == 1
    assert_same(more, few, 2)
    assert_same(more, optimum(CONFIG, 0, 5, cached=False), 5)


def test_batches_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    together = optimum(CONFIG, 0, 4, cached=False)
    monkeypatch.setattr(results, "BATCH_BYTES", 1)
    assert_same(optimum(CONFIG, 0, 4, cached=False), together, 4)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(path.read_bytes().replace(b"PK", b"QK")),
        lambda path: np.savez(path, other=np.ones(3)),
        lambda path: np.savez(path, **{**dict(np.load(path)), "score/value": np.ones(1)}),
        lambda path: np.savez(path, **{**dict(np.load(path)), "subject": np.zeros(9, np.uint8)}),
    ],
)
def test_a_damaged_file_counts_as_missing(
    damage: Callable[[Path], None], folder: Path, counted: list[int]
) -> None:
    first = optimum(CONFIG, 0, 2)
    (file,) = folder.iterdir()
    damage(file)
    assert_same(optimum(CONFIG, 0, 2), first, 2)
    assert len(counted) == 4
    assert_same(optimum(CONFIG, 0, 2), first, 2)
    assert len(counted) == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda: optimum(CONFIG, 1, 1),
        lambda: optimum(replace(CONFIG, tx_power_dbm=11.0), 0, 1),
        lambda: optimum(replace(CONFIG, score_tail_weight=2.0), 0, 1),
        lambda: optimum(CONFIG, 0, 1, blocks=3),
        lambda: optimum(CONFIG, 0, 1, information="channel"),
        lambda: optimum(CONFIG, 0, 1, search="greedy"),
    ],
)
def test_what_changes_the_result_gets_another_file(
    call: Callable[[], Optimum], folder: Path, counted: list[int]
) -> None:
    optimum(CONFIG, 0, 1)
    call()
    assert len(counted) == 2
    assert len(list(folder.iterdir())) == 2


def test_what_changes_nothing_shares_the_file(folder: Path, counted: list[int]) -> None:
    first = optimum(CONFIG, 0, 1)
    other = replace(CONFIG, n_candidates=1, csi_delay=5, average="episode", pf_exponent=2.0)
    second = optimum(other, 0, 1, search="exact")
    assert_same(first, second, 1)
    assert_same(first, optimum(other, 0, 1, cached=False), 1)
    assert second.config == other
    assert (len(counted), len(list(folder.iterdir()))) == (2, 1)


def test_nothing_is_left_where_results_are_not_wanted(folder: Path, counted: list[int]) -> None:
    optimum(CONFIG, 0, 1, cached=False)
    optimum(CONFIG, 0, 1, cached=False)
    assert len(counted) == 2
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_to_is_named_once(
    folder: Path, counted: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING, "rrm_env"):
        first = optimum(CONFIG, 0, 1)
        assert_same(optimum(CONFIG, 0, 1), first, 1)
    (line,) = caplog.messages
    assert line.startswith("the optimum is not kept on the disk (")
    assert line.endswith("); RRM_ENV_CACHE_DIR names another folder")
    assert len(counted) == 2


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "jakes": ({"fading": "jakes"}, {}, "fading = 'jakes' has memory.*information='channel'"),
    "no delay": ({"csi_delay": 0}, {}, "csi_delay = 0 lets.*allowed: at least 1"),
    "information": ({}, {"information": "all"}, "unknown information 'all'.*large_scale"),
    "search": ({}, {"search": "exat"}, "unknown search 'exat'.*exact"),
    "no blocks": (
        {},
        {"blocks": 0},
        "blocks must be an integer of at least 1 and at most 6, got 0",
    ),
    "many blocks": (
        {},
        {"blocks": 7},
        "blocks must be an integer of at least 1 and at most 6, got 7",
    ),
    "blocks of steps": (
        {},
        {"blocks": 3, "information": "channel"},
        "blocks must be None or episode_length = 6",
    ),
    "exact": (
        {"n_aps": 21, "min_ap_distance_m": 0.0},
        {"search": "exact"},
        "search = 'exact' takes up to 20 APs, got n_aps = 21",
    ),
    "channel": (
        {"n_aps": 11, "min_ap_distance_m": 0.0},
        {"information": "channel"},
        "it needs n_aps up to 10 .* got n_aps = 11",
    ),
    "no fading": (
        {"fading": "none"},
        {"search": "greedy"},
        "search 'auto' or 'exact', got n_aps = 2 and search = 'greedy'",
    ),
    "episodes": ({}, {"episodes": 0}, "episodes must be an integer of at least 1"),
    "seed": ({}, {"seed": -1}, "seed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_bound_or_no_meaning_is_refused_by_name(
    case: str, folder: Path, counted: list[int]
) -> None:
    fields, arguments, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        optimum(replace(CONFIG, **fields), **arguments)
    assert counted == []
    assert not folder.exists()


def test_values_of_another_type_are_refused() -> None:
    arguments: dict[str, Any]
    for arguments, message in (
        ({"config": "paper"}, "config must be an RRMConfig, got 'paper'"),
        ({"config": CONFIG, "episodes": 2.5}, "episodes must be an integer"),
        ({"config": CONFIG, "blocks": "all"}, "blocks must be an integer"),
        ({"config": CONFIG, "seed": "one"}, "seed"),
    ):
        with pytest.raises(TypeError, match=message):
            optimum(**arguments)


@pytest.mark.parametrize("kind", REASONS)
def test_a_broken_scipy_is_refused_with_the_reason(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_library("scipy", kind, tmp_path / "broken", monkeypatch)
    with pytest.raises(
        ValueError,
        match=rf"^the optimum needs scipy, which is installed but cannot be imported \({kind}: ",
    ):
        optimum(CONFIG, 0, 1)


def test_a_missing_scipy_is_refused_with_the_way_to_install_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_library("scipy", monkeypatch)
    with pytest.raises(
        ValueError, match=r'^the optimum needs scipy: pip install -e "\.\[optimum\]"$'
    ):
        optimum(CONFIG, 0, 1)
    assert not folder.exists()


def test_importing_it_imports_no_solver() -> None:
    """Numba imports scipy alone, where it is installed."""
    program = "import sys, baselines.optimum; assert 'scipy.optimize' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
