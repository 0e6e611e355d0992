"""Damages valid command lines of ``python -m marl`` and ``python -m baselines``, and runs them in this process in a scratch folder.

Left out: what opens windows (watching without a video), starts processes or a cluster (``--engine``), and paths outside the folder.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from unittest.mock import patch

from baselines.__main__ import main as baselines_main
from marl.__main__ import main as marl_main

_SMALL = ("--set", "n_aps=2", "n_ues=5", "n_candidates=2", "episode_length=10")
_TRAIN = (
    "--updates",
    "2",
    "--log-every",
    "2",
    "--evaluate-every",
    "2",
    "--checkpoint-every",
    "2",
    "--evaluation-episodes",
    "2",
)
_LINES: tuple[tuple[str, ...], ...] = (
    ("marl", "collect", "--out", "new.safetensors", "--transitions", "20", "--seed", "1", *_SMALL),
    (
        "marl",
        "train",
        "--out",
        "new",
        "--dataset",
        "data.safetensors",
        "--batch-size",
        "4",
        "--hidden-sizes",
        "4",
        "4",
        *_TRAIN,
    ),
    (
        "marl",
        "train",
        "--out",
        "run",
        "--dataset",
        "data.safetensors",
        "--batch-size",
        "4",
        "--hidden-sizes",
        "4",
        "--resume",
        *_TRAIN,
    ),
    (
        "marl",
        "evaluate",
        "run",
        "--episodes",
        "2",
        "--seed",
        "1",
        "--schedulers",
        "tdm,itlinq",
        "--json",
        "new.json",
    ),
    ("marl", "export", "data.safetensors", "--arrays", "new.npz", "--card", "README.md"),
    ("marl", "import", "arrays.npz", "--out", "new.safetensors", *_SMALL),
    ("marl", "info", "data.safetensors"),
    ("marl", "info", "run"),
    ("marl", "sweep", "missing.toml", "--out", "new"),
    (
        "baselines",
        "--schedulers",
        "tdm,itlinq",
        "--episodes",
        "2",
        "--seed",
        "1",
        "--json",
        "new.json",
        *_SMALL,
    ),
    ("baselines", "--info"),
)
_JUNK = (
    *(
        "",
        " ",
        "-",
        "--",
        "---",
        "--help",
        "-h",
        "--no",
        "--out",
        "--set",
        "--seed",
        "--dataset",
        "--colour",
        "--seeds",
        "--sample",
        "--env",
    ),
    *(
        "0",
        "1",
        "3",
        "-1",
        "-0",
        "2.5",
        "1e3",
        "1e999",
        "nan",
        "inf",
        "-inf",
        "None",
        "True",
        "0x10",
        "٣",
        "1_0",
        "9" * 30,
        "9" * 5000,
        "½",
    ),
    *(
        "é",
        "\ud800",
        "\x00",
        "a\nb",
        "💥",
        "x" * 5000,
        "[",
        "]",
        "[/red]",
        "{}",
        "%s",
        "$HOME",
        "'",
        '"',
        "a=b",
        "=",
        "n_ues=",
        "=5",
        "n_ues=x",
    ),
    *(
        "n_ues=-1",
        "n_ues=3",
        "fading=jakes",
        "fading=x",
        "n_aps=" + "9" * 5000,
        "n_users=3",
        "tx_power_dbm=nan",
        "score_sum_weight=none",
    ),
    *(
        "data.safetensors",
        "run",
        "arrays.npz",
        "missing",
        "missing/deep/x",
        "..",
        ".",
        "text.txt",
        "collect",
        "train",
        "info",
        "paper",
        "wide",
    ),
    *(
        "tdm",
        "itlinq:x=1",
        "itlinq:tolerance_db=nan",
        "max_weight:",
        ",",
        ",,",
        "all",
        "random_walk:silence=true",
        "json",
        "x.y",
        "x.y:z=1",
    ),
    *(
        "--algorithm",
        "bc",
        "dqn",
        "--paradigm",
        "ctde",
        "--no-soft-backup",
        "--preset",
        "--share-parameters",
        "--threads",
        "--device",
        "cuda:7",
    ),
)


def judge_command(rng: Random) -> tuple[str, str]:
    """What came of a damaged command line: exit status 0, 1 or 2, and words on standard output or error."""
    line = [*rng.choice(_LINES)]
    line = line[:1] + (_soup(rng, line) if rng.random() < 0.2 else _damaged(rng, line[1:]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inner"
        shutil.copytree(_originals(), folder)
        with _elsewhere(folder):
            try:
                status, told = run_line(line)
            except Exception:
                return "finding", f"{_shown(line)}: {traceback.format_exc()[-5000:]}"
    if status not in (0, 1, 2) or not told.strip() or (status and len(told) > 20_000):
        return "finding", f"{_shown(line)}: exit status {status!r}, told {told[:2000]!r}"
    return ("fine" if status == 0 else "refused"), told


def run_line(line: Sequence[str]) -> tuple[object, str]:
    """The exit status of a command line, and all that it says."""
    said = io.TextIOWrapper(
        io.BytesIO(), encoding="utf-8", errors="backslashreplace"
    )  # as standard error is
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            status: object = {"marl": marl_main, "baselines": baselines_main}[line[0]](line[1:])
        except SystemExit as ending:
            status = ending.code or 0
    said.seek(0)
    return status, said.read()


def _soup(rng: Random, line: Sequence[str]) -> list[str]:
    """Words of all lines and junk, behind a command or none."""
    words = [word for other in _LINES if other[0] == line[0] for word in other[1:]]
    start = [line[1]] if rng.random() < 0.8 else []
    return start + [
        rng.choice(words if rng.random() < 0.6 else _JUNK) for _ in range(rng.randrange(8))
    ]


def _damaged(rng: Random, words: list[str]) -> list[str]:
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not words:
            break
        k, other = rng.randrange(len(words)), rng.randrange(len(words))
        kind = rng.randrange(6)
        if kind == 0:
            del words[k]
        elif kind == 1:
            words.insert(other, words[k])
        elif kind == 2:
            words[k], words[other] = words[other], words[k]
        elif kind == 3:
            words.insert(k, rng.choice(_JUNK))
        else:
            words[k] = rng.choice(_JUNK)
    return words


@cache
def _originals() -> Path:
    """A folder with a dataset, arrays and a run, all small."""
    folder = Path(tempfile.mkdtemp()) / "originals"
    folder.mkdir()
    with _elsewhere(folder):
        (folder / "text.txt").write_text("no dataset\n")
        for line in (
            ["marl", "collect", "--out", "data.safetensors", "--transitions", "20", *_SMALL],
            ["marl", "export", "data.safetensors", "--arrays", "arrays.npz"],
            [
                "marl",
                "train",
                "--out",
                "run",
                "--dataset",
                "data.safetensors",
                "--batch-size",
                "4",
                "--hidden-sizes",
                "4",
                *_TRAIN,
            ],
        ):
            status, told = run_line(line)
            if status != 0:
                raise RuntimeError(f"{line}: {told}")
    return folder


@contextlib.contextmanager
def _elsewhere(folder: Path) -> Iterator[None]:
    """Work in a folder, Minari's datasets too."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with patch.dict(os.environ, {"MINARI_DATASETS_PATH": str(folder), "COLUMNS": "120"}):
            yield
    finally:
        os.chdir(before)


def _shown(line: Sequence[str]) -> str:
    return " ".join(repr(word)[:80] for word in line)
