"""``python -m baselines`` and the benchmark script, as a user calls them."""

from __future__ import annotations

import importlib.util
import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folders import ROOT

import baselines.__main__ as command
from baselines import REGISTRY, ITLinQ
from baselines.registry import COMPARED
from rrm_env import RRMConfig, evaluate, metrics
from rrm_env.files import write_whole

SMALL = ["--set", "episode_length=20", "--episodes", "12"]


def run(*arguments: str) -> int:
    return command.main(arguments)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """All columns of the table."""
    monkeypatch.setenv("COLUMNS", "200")


def test_table_has_a_row_for_every_scheduler_of_the_default_and_names_the_best(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--episodes", "32") == 0
    out = capsys.readouterr().out
    rows = {
        line.split()[0]: line
        for line in out.splitlines()
        if line.split() and line.split()[0] in REGISTRY
    }
    assert list(rows) == list(COMPARED)
    assert [name for name, line in rows.items() if " best " in line] == ["max_weight"]


def test_table_prints_the_numbers_evaluate_returns(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*SMALL, "--schedulers", "itlinq", "--seed", "3") == 0
    result = evaluate(ITLinQ(), RRMConfig(episode_length=20), 12, 3)
    row = next(
        line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("itlinq")
    )
    expected = [
        f"{result.sum_rate.mean():.2f}",
        f"{result.tail_rate.mean():.3f}",
        f"{result.pooled_tail_rate:.3f}",
        f"{result.worst_rate.mean():.3f}",
        f"{result.score.mean():.3f}",
    ]
    assert row.split()[1:6] == expected


def test_json_holds_config_seed_versions_and_consistent_per_episode_values(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    assert (
        run(*SMALL, "--schedulers", "tdm,itlinq:tolerance_db=0", "--seed", "5", "--json", str(path))
        == 0
    )
    result = json.loads(path.read_text())
    assert RRMConfig(**result["config"]) == RRMConfig(episode_length=20)
    assert result["seed"] == 5
    assert {"python", "numpy", "numba", "rrm_env"} <= set(result["versions"])
    assert set(result["schedulers"]) == {"tdm", "itlinq:tolerance_db=0"}
    scores = {
        name: np.array(row["per_episode"]["score"]) for name, row in result["schedulers"].items()
    }
    best = max(scores, key=lambda name: float(scores[name].mean()))
    for name, row in result["schedulers"].items():
        assert len(scores[name]) == 12
        for kpi in metrics.KPIS:
            assert row[kpi]["mean"] == pytest.approx(np.mean(row["per_episode"][kpi]))
            assert row[kpi]["low"] <= row[kpi]["mean"] <= row[kpi]["high"]
        assert row["sum_rate"]["low"] < row["sum_rate"]["high"]
        assert row["best"] == (name == best)
        assert row["score_minus_best"]["mean"] == pytest.approx(
            (scores[name] - scores[best]).mean()
        )


def test_picture_is_written_whole_with_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    path = tmp_path / "rates.png"
    assert run(*SMALL, "--schedulers", "tdm,greedy", "--plot", str(path)) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
    other = tmp_path / "other"
    other.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(other.stat().st_mode)
    assert {file.name for file in tmp_path.iterdir()} == {"rates.png", "other"}


def test_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")

    def fail(file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_whole(path, fail)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("out.json", "old")]


def test_scheduler_options_change_the_scheduler(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*SMALL, "--schedulers", "itlinq:tolerance_db=-200,proportional_fair") == 0
    silent = {
        line.split()[0]: int(line.split()[-2])
        for line in capsys.readouterr().out.splitlines()
        if re.match(r"(itlinq|prop)", line)
    }
    assert silent["itlinq:tolerance_db=-200"] == 75
    assert silent["proportional_fair"] < 10


def test_network_too_large_for_exhaustive_search_leaves_max_weight_out_unless_it_was_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--network", "dense", "--episodes", "1", "--set", "episode_length=2")
    assert run(*arguments) == 0
    captured = capsys.readouterr()
    assert "max_weight left out" in captured.err
    assert "4,294,967,296" in captured.err
    assert "itlinq" in captured.out
    assert run(*arguments, "--schedulers", "max_weight") == 2
    assert "4,294,967,296" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--network", "papr"], "'papr' (did you mean 'paper'?)"),
        (["--preset", "papr"], "'papr' (did you mean 'paper'?)"),
        (["--set", "n_apps=3"], "'n_apps' (did you mean 'n_aps'?)"),
        (["--set", "n_aps"], "expected FIELD=VALUE, got 'n_aps'"),
        (["--set", "n_aps=three"], "n_aps must be an integer, got 'three'"),
        (["--set", "n_aps=0"], "n_aps must be an integer from 1"),
        (["--set", "min_ap_distance_m=60"], "min_ap_distance_m = 60"),
        (["--schedulers", "itlin"], "'itlin' (did you mean 'itlinq'?)"),
        (["--schedulers", "itlinq:tolerance=1"], "did you mean 'tolerance_db'?"),
        (
            ["--schedulers", "itlinq:tolerance_db=x"],
            "tolerance_db of itlinq must be float, got 'x'",
        ),
        (["--schedulers", "itlinq:exponent=2"], "exponent must be from 0 to 1, got 2"),
        (["--schedulers", "max_weight:csi=none"], "csi must be"),
        (
            ["--schedulers", "max_weight:exponent=high"],
            "exponent of max_weight must be float, got 'high'",
        ),
        (["--schedulers", "max_weight:exponent=11"], "exponent must be from 0 to 10.0, got 11"),
        (["--episodes", "0"], "episodes must be an integer of at least 1"),
        (["--seed", "-1"], "seed must be an integer of at least 0"),
        (["--threads", "0"], "num_threads must be an integer of at least 1"),
        (["--json", "missing/out.json"], "'missing/out.json' must lie in an existing folder"),
        (["--json", "."], "--json must be a file, got the folder '.'"),
        (["--plot", "rates.docx"], "--plot = 'rates.docx' must end in one of"),
    ],
)
def test_wrong_input_is_refused_by_name_before_any_table(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_network_and_preset_are_one_option(capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for name in ("--network", "--preset"):
        assert run(*SMALL, "--schedulers", "tdm", name, "dense") == 0
        printed.append(
            [
                line.split()[:-1]
                for line in capsys.readouterr().out.splitlines()
                if line.startswith("tdm")
            ]
        )
    assert printed[0] == printed[1]
    assert printed[0]


def test_help_is_grouped_and_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    out = capsys.readouterr().out
    assert all(
        f"\n{group}:\n" in out for group in ("network", "comparison", "instead of a comparison")
    )
    assert re.search(
        "--network( PRESET)?, --preset PRESET", out
    )  # Python 3.13 names the value once


def test_help_names_presets_and_schedulers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    out = " ".join(capsys.readouterr().out.split())
    assert all(name in out for name in (*REGISTRY, "paper", "correlated", "wide", "dense"))


def test_benchmark_prints_every_table_and_writes_its_figures(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.json"
    script = ROOT / "examples" / "benchmarks" / "environment.py"
    arguments = ["--rounds", "1", "--batch", "8", "--steps", "4", "--json", str(path)]
    result = subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    figures = json.loads(path.read_text())
    assert [(size["n_aps"], size["n_ues"]) for size in figures["growth"]] == [
        (4, 20),
        (8, 40),
        (16, 80),
        (32, 160),
        (64, 640),
    ]
    assert figures["speed"]["RRMVectorEnv"]["peer"] == "Network, 1 thread"
    assert ("mobile-env, 7 x 15" in figures["speed"]) == (
        importlib.util.find_spec("mobile_env") is not None
    )
    assert set(figures["startup"]) == {
        "import_s",
        "first_step_cold_cache_s",
        "first_step_warm_cache_s",
    }
    for heading in ("Speed", "Growth", "Start", "Reset costs"):
        assert heading in result.stdout
