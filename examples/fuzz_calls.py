"""Calls that nobody would write, for the fuzzer: values of configurations, command lines, sweeps in TOML.

Every draw follows from seed and number. It must be refused by an error that says what is wrong, or do what it says; all else is a finding.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from baselines.__main__ import main as baselines_main
from marl.__main__ import main as marl_main
from marl.config import LearnerConfig, TrainingConfig
from marl.sweep import Sweep
from rrm_env import RRMConfig

Outcome = tuple[str, str]
"""refused, fine or finding; and what happened."""

JUNK: tuple[Any, ...] = (
    *(True, False, None, 0, 1, -1, 3, 2**31, -(2**63), 2**64, 10**400, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf")),
    *("", "x", "4", "c", "sac", "iid", "cuda", "ü\0", "9" * 300, b"sac", [], [1], [[64]], (64, 64), (0,), ("a",), {}, {"n_aps": 4}, {1}),
    *(np.float32(0.25), np.int64(7), np.bool_(True), np.array([1.0, 2.0]), np.array(5), complex(1, 1), object, len),
)
"""Values of every kind that Python programs hold."""

WORDS = (
    *(
        "",
        "x",
        "-",
        "--",
        "=",
        "--out",
        "0",
        "-1",
        "1",
        "nan",
        "1e999",
        "9" * 400,
        "ü\u202e",
        "None",
        "True",
        ".",
        "..",
        "/",
        "*",
        "{}",
        "a=b",
    ),
    *("n_aps=0", "n_aps=x", "fading=jakes", "n_ues=1e9", "=", "reward=utility", "--set", "--help", "--seed", "--json", "no/folder/x.json"),
    *("itlinq:", "itlinq:tolerance_db=x", "tdm,,greedy", "max_weight:csi=none", "unknown", "\n", "'", '"', "$(true)", "%s"),
)
"""What stands in command lines by mistake."""

Line = tuple[Callable[[Sequence[str]], int], tuple[str, ...]]

_SMALL = ("--updates", "1", "--evaluate-every", "1", "--checkpoint-every", "1", "--log-every", "1", "--hidden-sizes", "8")

MADE_FIRST: tuple[Line, ...] = (
    (marl_main, ("collect", "--scheduler", "tdm", "--transitions", "4", "--out", "data.safetensors", "--set", "episode_length=2")),
    (marl_main, ("train", "--out", "run", "--dataset", "data.safetensors", "--batch-size", "2", *_SMALL, "--evaluation-episodes", "1")),
)
"""Lines that make what the others need."""

LINES: tuple[Line, ...] = (
    (baselines_main, ("--episodes", "1", "--schedulers", "tdm,greedy", "--set", "episode_length=2", "--seed", "3")),
    (baselines_main, ("--preset", "paper", "--episodes", "2", "--set", "episode_length=1", "--json", "out.json", "--threads", "1")),
    (marl_main, ("evaluate", "run", "--episodes", "1", "--schedulers", "tdm", "--act-on", "critic")),
    (marl_main, ("sweep", "sweep.toml", "--out", "study", "--workers", "0")),
    (marl_main, ("info", "data.safetensors")),
    (marl_main, ("export", "data.safetensors", "--card", "card.md", "--arrays", "data.npz")),
    (marl_main, ("import", "data.npz", "--out", "d.safetensors", "--network", "paper")),
)
"""Lines to change, each small; the sweep is refused as it stands, since its workers are none."""

TOML = """
seeds = 2
seeds_per_cell = 1

[collect]
scheduler = "itlinq"
transitions = [400, 800]
set = { n_ues = 10 }

[train]
paradigm = ["c", "ctde"]
algorithm = "sac"
hidden_sizes = [[64, 64], [32]]
updates = 100

[evaluate]
episodes = 4
schedulers = "tdm,greedy"
"""


def judged(call: Callable[[], object], named: Sequence[str], what: str) -> Outcome:
    """Run a call; its error must be a TypeError or ValueError that mentions one of ``named``."""
    try:
        call()
    except (TypeError, ValueError) as error:
        if any(name in str(error) for name in named):
            return "refused", str(error)
        return "finding", f"{what}: the error names none of {', '.join(named)}: {error}"
    except Exception as error:  # whatever else comes is what is looked for
        return "finding", f"{what}: {type(error).__name__}: {error}"
    return "fine", what


def configurations(seed: int, count: int) -> Iterator[Outcome]:
    """Fields of the three kinds of configuration, one to three of them with values of any kind."""
    rng = Random(f"configurations {seed}")
    for _ in range(count):
        kind = rng.choice([RRMConfig, LearnerConfig, TrainingConfig])
        known = [item.name for item in fields(kind)]
        chosen = {name: rng.choice(JUNK) for name in rng.sample(known, rng.randint(1, 3))}
        if kind is not TrainingConfig and rng.random() < 0.1:  # its unknown fields are Python's own to refuse
            chosen["n_app"] = 4
        # A field may be refused beside another one, whose name the error then gives.
        yield judged(partial(kind, **chosen), (*chosen, *known), f"{kind.__name__}(**{chosen!r})")


def command_lines(seed: int, count: int) -> Iterator[Outcome]:
    """Valid lines with words dropped, doubled, swapped, replaced or added, in a scratch folder: exit status 0, 1 or 2, and never silent."""
    rng = Random(f"command lines {seed}")
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        try:
            Path("sweep.toml").write_text(TOML)
            for main, line in MADE_FIRST:
                assert _run(main, line)[0] == "fine", line
            for _ in range(count):
                main, line = rng.choice((*LINES, *MADE_FIRST))
                yield _run(main, _changed(rng, list(line)))
        finally:
            os.chdir(before)


def _changed(rng: Random, words: list[str]) -> list[str]:
    for _ in range(rng.randint(1, 2)):
        place = rng.randrange(len(words) + 1)
        change = rng.choice(["drop", "double", "swap", "replace", "add"])
        if change == "add" or place == len(words):
            words.insert(place, rng.choice(WORDS))
        elif change == "drop":
            words.pop(place)
        elif change == "double":
            words.insert(place, words[place])
        elif change == "swap":
            other = rng.randrange(len(words))
            words[place], words[other] = words[other], words[place]
        else:
            words[place] = rng.choice(WORDS)
        words = words or [rng.choice(WORDS)]
    return words


def _run(main: Callable[[Sequence[str]], int], words: Sequence[str]) -> Outcome:
    said, what = io.StringIO(), f"{main.__module__} {words!r}"
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            status: object = main(words)
    except SystemExit as stopped:  # the parsers' own way to end
        status = stopped.code
    except BaseException as error:  # whatever else comes is what is looked for
        return "finding", f"{what}: {type(error).__name__}: {error}"
    if status not in (0, 1, 2, None):
        return "finding", f"{what}: exit status {status}"
    if status and not said.getvalue().strip():
        return "finding", f"{what}: exit status {status} without a word"
    return ("refused" if status else "fine"), said.getvalue()


def sweeps(seed: int, count: int) -> Iterator[Outcome]:
    """A sweep's file with characters and lines changed, read and checked, not run."""
    rng = Random(f"sweeps {seed}")
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "sweep.toml"
        for _ in range(count):
            text = _mutated(rng, TOML)
            path.write_bytes(text)
            yield judged(lambda: Sweep.read(path), ("sweep.toml",), repr(text))


def _mutated(rng: Random, text: str) -> bytes:
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(lines))
        change = rng.choice(["drop", "double", "value", "character", "other line"])
        if change == "drop":
            lines.pop(place)
        elif change == "double":
            lines.insert(place, lines[rng.randrange(len(lines))])
        elif change == "value" and "=" in lines[place]:
            values = (
                "0",
                "-1",
                '""',
                "[]",
                "[[]]",
                "true",
                "nan",
                "inf",
                "1e400",
                "9" * 50,
                '"x"',
                "{}",
                "{ n_ues = -1 }",
                "[1, 'a']",
                "1979-05-27",
            )
            lines[place] = lines[place].partition("=")[0] + "= " + rng.choice(values)
        elif change == "character" and lines[place]:
            at = rng.randrange(len(lines[place]))
            lines[place] = lines[place][:at] + chr(rng.randrange(256)) + lines[place][at + 1 :]
        else:
            lines[place] = rng.choice(
                ["[train]", "[unknown]", "dataset = 'd'", "env = 'os'", "preset = 'paper'", "device = 'cuda'", "seeds = [1, 1]"]
            )
        lines = lines or [""]
    return "\n".join(lines).encode("latin-1" if rng.random() < 0.1 else "utf-8")


SECTIONS: dict[str, Callable[[int, int], Iterator[Outcome]]] = {
    "configurations": configurations,
    "command lines": command_lines,
    "sweeps": sweeps,
}
"""What is drawn besides files."""
