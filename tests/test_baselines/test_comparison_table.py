"""The comparison in a terminal: columns that fit, whole numbers and names, no trailing blanks.

Speeds do not count compilation.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

import baselines.__main__ as command
from baselines import REGISTRY, Greedy
from baselines.comparison import output_width, show, summarise
from rrm_env import Evaluation, Network, RRMConfig, metrics

LONG = "max_weight:csi=large_scale:exponent=2"
LEARNER = "C-MARL-CQL (SAC), max_weight:csi=large_scale-100000"
CORE = ("Sum", "5-percentile", "Worst user's", "Score")


@pytest.fixture(scope="module")
def summary() -> dict[str, dict[str, Any]]:
    """Of rows with short and long names."""
    rates = np.random.default_rng(0).gamma(2, 0.3, (12, 20))
    names = (*REGISTRY, LONG, LEARNER)
    return summarise(
        {
            name: Evaluation(
                RRMConfig(), 0, rates * (1 + k / 9), np.full(12, 0.25), rates.sum(1), 0.002
            )
            for k, name in enumerate(names)
        }
    )


def printed(
    summary: dict[str, dict[str, Any]],
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """The table where COLUMNS is this."""
    monkeypatch.setenv("COLUMNS", str(width))
    show(summary, "4 APs [and] 20 UEs", ["a note [in brackets]"])
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 100, 119, 120, 140, 200])
def test_the_comparison_fits_and_cuts_nothing(
    width: int,
    summary: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(summary, width, monkeypatch, capsys)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    assert not [line for line in lines if line != line.rstrip()]
    assert "…\n" not in text
    for name, row in summary.items():
        assert re.sub(r"[\s:]", "", name)[:30] in re.sub(r"[\s:]", "", without_numbers(text)), name
        for kpi in metrics.LEARNERS_KPIS:
            value, digits = row[kpi], metrics.KPIS[kpi].digits
            assert f"{value['mean']:.{digits}f}" in text
            assert f"{value['low']:.{digits}f}…{value['high']:.{digits}f}" in text
    assert all(heading in text for heading in CORE)
    assert "4 APs [and] 20 UEs" in lines[0]
    assert "a note [in brackets]" in lines[-1]


def without_numbers(text: str) -> str:
    """First column of a table: what stands before the first run of three blanks."""
    return "\n".join(re.split(r"(?<=\S) {3}", line)[0] for line in text.splitlines())


@pytest.mark.parametrize(("width", "shown"), [(80, 4), (100, 6), (120, 7), (200, 11)])
def test_narrow_terminals_get_fewer_columns_and_are_told_which_are_missing(
    width: int,
    shown: int,
    summary: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(summary, width, monkeypatch, capsys)
    (greedy,) = (line for line in text.splitlines() if line.startswith("greedy "))
    assert len(greedy.split()) == 1 + shown
    missing = re.search(
        r"More columns in a wider terminal, or with COLUMNS=200: (.*?)\.\n", text, re.DOTALL
    )
    assert (missing is None) == (shown == 11)
    if missing:
        assert len(re.split(r",\s", missing[1])) == 11 - shown
        assert "Steps/s" in missing[1]


def test_a_terminal_narrower_than_the_core_columns_loses_no_digit(
    summary: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(summary, 30, monkeypatch, capsys)
    assert all(
        f"{row['score']['low']:.3f}…{row['score']['high']:.3f}" in text for row in summary.values()
    )


def test_output_that_is_no_terminal_is_80_wide_or_as_columns_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((211, 50)))
    monkeypatch.delenv("COLUMNS", raising=False)
    assert output_width() == 80
    monkeypatch.setenv("COLUMNS", "133")
    assert output_width() == 133


# --- Speed ---


class Compiling(Greedy):
    """Takes half a second for the first step of each batch size and number of threads."""

    seen: ClassVar[set[tuple[int, int]]] = set()

    def schedule(self, network: Network) -> NDArray[np.int64]:
        """As `Greedy`."""
        case = network.num_envs, network.num_threads
        if case not in self.seen:
            self.seen.add(case)
            time.sleep(0.5)
        return super().schedule(network)


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_per_second_exclude_compilation(
    threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REGISTRY, "compiling", Compiling)
    monkeypatch.setattr(Compiling, "seen", set())
    path = tmp_path / "out.json"
    arguments = [
        "--episodes",
        "24",
        "--set",
        "episode_length=20",
        "--threads",
        str(threads),
        "--json",
        str(path),
    ]
    assert command.main(["--schedulers", "compiling", *arguments]) == 0
    row = json.loads(path.read_text())["schedulers"]["compiling"]
    assert Compiling.seen == {(24, threads)}
    assert row["steps_per_second"] > 24 * 20 / 0.5
