"""Hypothesis strategy for damaged command lines of ``python -m marl`` and ``python -m baselines``.

They run in this process, in a scratch folder. What opens windows (watching without a video), what
starts processes or a cluster (``--engine``) and paths outside the folder are left out.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from unittest.mock import patch

from damage import edit_list, pick
from hypothesis import strategies as st

from baselines.__main__ import main as baselines_main
from marl.__main__ import main as marl_main

_SMALL = "--set n_aps=2 n_ues=5 n_candidates=2 episode_length=10"
_TRAIN = (
    "--dataset data.safetensors --batch-size 4 --hidden-sizes 4 --updates 2 --log-every 2 "
    "--evaluate-every 2 --checkpoint-every 2 --evaluation-episodes 2"
)
_MAKE = (
    f"marl collect --out data.safetensors --transitions 20 {_SMALL}",
    "marl export data.safetensors --arrays arrays.npz",
    f"marl train --out run {_TRAIN}",
)
"""What makes the files that the lines read."""
_LINES = (
    f"marl collect --out new.safetensors --transitions 20 --seed 1 {_SMALL}",
    f"marl train --out new {_TRAIN.replace('sizes 4', 'sizes 4 4')}",
    f"marl train --out run --resume {_TRAIN}",
    "marl evaluate run --episodes 2 --seed 1 --schedulers tdm,itlinq --json new.json",
    "marl export data.safetensors --arrays new.npz --card README.md",
    f"marl import arrays.npz --out new.safetensors {_SMALL}",
    "marl info data.safetensors",
    "marl info run",
    "marl sweep missing.toml --out new",
    f"baselines --schedulers tdm,itlinq --episodes 2 --seed 1 --json new.json {_SMALL}",
    "baselines --info",
)
_WORDS = """
- -- --- --help -h --no --out --set --seed --dataset --colour --seeds --sample --env --algorithm
--paradigm --no-soft-backup --preset --share-parameters --threads --device bc dqn ctde cuda:7
0 1 3 -1 -0 2.5 1e3 1e999 nan inf -inf None True 0x10 ٣ 1_0 ½ é 💥
[ ] [/red] {} %s $HOME ' " a=b = n_ues= =5 n_ues=x n_ues=-1 n_ues=3 fading=jakes fading=x
n_users=3 tx_power_dbm=nan score_sum_weight=none data.safetensors run arrays.npz missing
missing/deep/x .. . text.txt collect train info paper wide tdm itlinq:x=1 itlinq:tolerance_db=nan
max_weight: , ,, all random_walk:silence=true json x.y x.y:z=1
"""
_LONG = ("x" * 5000, "9" * 30, "9" * 5000, "n_aps=" + "9" * 5000)
_JUNK = (*_WORDS.split(), *_LONG, "", " ", "a\nb", "\ud800", "\x00")


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """Words of a valid command line, damaged or replaced by words of others; the program first."""
    program, *words = pick(draw, *_LINES).split(" ")
    if draw(st.integers(0, 4)) == 4:
        known = [word for line in _LINES if line.startswith(program) for word in line.split()[1:]]
        word = st.one_of(*[st.sampled_from(known)] * 3, *[st.sampled_from(_JUNK)] * 2)
        start = [words[0]] if draw(st.integers(0, 4)) else []
        return [program, *start, *draw(st.lists(word, max_size=7))]
    for _ in range(pick(draw, 1, 1, 2, 3)):
        edit_list(draw, words, st.sampled_from(_JUNK))
    return [program, *words]


def judge_command(line: Sequence[str]) -> str:
    """Run a command line.

    Returns:
        "fine" with exit status 0, "refused" with 1 or 2.

    Raises:
        AssertionError: another exit status, a traceback, no word or too many.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inner"
        shutil.copytree(_originals(), folder)
        with _working_in(folder):
            status, output = run_line(line)
    assert status in (0, 1, 2), f"exit status {status!r}: {output[:2000]}"
    assert output.strip(), f"nothing is said, exit status {status}"
    assert "Traceback" not in output, output
    assert not status or len(output) <= 20_000, f"refused at length: {output[:2000]}"
    return "refused" if status else "fine"


def run_line(line: Sequence[str]) -> tuple[object, str]:
    """Run a command line and return its exit status and all its output."""
    # Standard error replaces what it cannot encode, and so does this.
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            status: object = {"marl": marl_main, "baselines": baselines_main}[line[0]](line[1:])
        except SystemExit as ending:
            status = ending.code or 0
    output.seek(0)
    return status, output.read()


@cache
def _originals() -> Path:
    """A folder with a dataset, arrays and a run, all small."""
    folder = Path(tempfile.mkdtemp()) / "originals"
    folder.mkdir()
    with _working_in(folder):
        (folder / "text.txt").write_text("no dataset\n")
        for line in _MAKE:
            status, output = run_line(line.split())
            if status != 0:
                raise RuntimeError(f"{line}: {output}")
    return folder


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Change the current folder, and where Minari's datasets are."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with patch.dict(os.environ, {"MINARI_DATASETS_PATH": str(folder), "COLUMNS": "120"}):
            yield
    finally:
        os.chdir(before)
