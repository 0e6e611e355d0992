"""Bad input that is no file: values of configurations, whole ranges of networks and learners, command lines, sweeps in TOML.

Each section yields, for every draw, what came of it and, for a finding, how to see it again. Networks and learners are drawn by Hypothesis,
with the strategies and checks of the tests, so this needs a checkout and the extra ``test``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import baselines.__main__
import marl.__main__
import numpy as np
from fuzz_files import SMALL
from fuzz_workers import HangError

from baselines import RandomWalk
from marl import LearnerConfig, TrainingConfig, collect, train
from marl.sweep import Sweep
from rrm_env import RRMConfig

Draws = Iterator[tuple[str, str]]
"""Outcomes, with what to say of findings."""

SECONDS = 30.0
"""Time that a command of small numbers may take."""


# --- Values of configurations ---


class _Unspeakable:
    """An object that cannot be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


_NESTED: list[Any] = []
_NESTED.append(_NESTED)
_VALUES: tuple[Any, ...] = (
    None, True, False, np.True_, 0, 1, -1, 2, 7, 3.5, 0.5, -0.0, float("nan"), float("inf"), -float("inf"), 5e-324, 1e308, 2**31, 2**63, 10**30,
    10**400, 10**5000, -(10**5000), "", "paper", "papre", "iid", "c", "a" * 10**6, "\ud800", b"iid", [], [1], [1, -1], [10**5000], (2, 3), {},
    {"n_aps": 1}, {1}, 1j, Fraction(1, 3), np.float64(3), np.float32("nan"), np.int64(4), np.uint8(2), np.array([1, 2]), np.array(3), np.array("iid"),
    range(3), object, _Unspeakable(), _NESTED, len, np.datetime64("2020-01-01"),
)  # fmt: skip


def values(seed: int, count: int) -> Draws:
    """Arbitrary objects as fields and presets: refused by name, or a configuration that survives JSON."""
    for number in range(count):
        rng = Random(f"values {seed} {number}")
        kind = rng.choice((RRMConfig, RRMConfig, LearnerConfig, TrainingConfig))
        known = [item.name for item in dataclasses.fields(kind)]
        given = {rng.choice(known): rng.choice(_VALUES) for _ in range(rng.choice((1, 1, 2, 5)))}
        if rng.random() < 0.05:
            given[rng.choice(("", "n_ap", "x" * 1000, "__class__"))] = 1
        names, make = [*given], kind
        if kind is not TrainingConfig and rng.random() < 0.1:
            preset = rng.choice(_VALUES)
            names, make = ["preset", *names], lambda kind=kind, preset=preset, **fields: kind.preset(preset, **fields)
        yield _made(make, given, names)


def _made(make: Callable[..., Any], given: dict[str, Any], names: list[str]) -> tuple[str, str]:
    try:
        config = make(**given)
        plain = dataclasses.asdict(config)
        if type(config)(**json.loads(json.dumps(plain))) != config:
            return "finding", f"{given}: another after JSON"
    except (TypeError, ValueError) as error:
        message = str(error)
        if type(error) in (TypeError, ValueError) and any(name[:100] in message for name in names) and len(message) < 5000:
            return "refused", ""
        return "finding", traceback.format_exc()
    except Exception:
        return "finding", traceback.format_exc()
    return "accepted", ""


# --- Whole ranges ---


def networks(seed: int, count: int) -> Draws:
    """Every field of a network from all that it allows: an episode of random actions is finite and inside the spaces, or refused."""
    _tests()
    from strategies import seeds, whole_range_configs
    from whole_ranges import play_network

    return _drawn(play_network, (whole_range_configs(), seeds), seed, count)


def learners(seed: int, count: int) -> Draws:
    """Every field of a learner from all that it allows: updates are finite, or end as divergence; actions are legal always."""
    _tests()
    from hypothesis import strategies as st
    from strategies import whole_range_learners
    from whole_ranges import play_learner

    return _drawn(play_learner, (whole_range_learners(), st.integers(0, 2**30 - 2)), seed, count)


def _tests() -> None:
    folder = str(Path(__file__).resolve().parent.parent / "tests")
    if folder not in sys.path:
        sys.path.append(folder)


def _drawn(play: Callable[..., str], strategies: tuple[Any, ...], seed: int, count: int) -> Draws:
    import hypothesis

    outcomes: list[tuple[str, str]] = []

    @hypothesis.settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.seed(seed)
    @hypothesis.given(*strategies)
    def draw(*drawn: Any) -> None:
        outcomes.append((play(*drawn), ""))

    try:
        draw()
    except Exception:
        outcomes.append(("finding", traceback.format_exc()))
    yield from outcomes


# --- Command lines ---

_LINES = (
    "marl collect --out new.safetensors --scheduler random_walk --transitions 20 --set n_aps=2 n_ues=4 n_candidates=2 episode_length=5",
    "marl collect --out new.safetensors --policy run --transitions 8 --sample --seed 3 --set n_aps=2 n_ues=6 n_candidates=2 episode_length=5",
    "marl train --out new --dataset data.safetensors --algorithm bc --paradigm i --updates 2 --log-every 1 --evaluate-every 2 "
    "--checkpoint-every 2 --evaluation-episodes 1 --hidden-sizes 4 --batch-size 4 --seeds 2 --first-seed 1",
    "marl train --out new --algorithm dqn --updates 2 --log-every 1 --evaluate-every 2 --checkpoint-every 2 --evaluation-episodes 1 "
    "--hidden-sizes 4 --batch-size 4 --learning-starts 8 --replay-capacity 20 --envs-per-seed 2 --set n_aps=2 n_ues=4 episode_length=5",
    "marl train --out run --resume --dataset data.safetensors --updates 2 --log-every 1 --evaluate-every 2 --checkpoint-every 2 "
    "--evaluation-episodes 1 --hidden-sizes 4 --batch-size 4",
    "marl evaluate run --episodes 2 --schedulers tdm,itlinq:tolerance_db=0 --json out.json --seed 1 --act-on critic",
    "marl info run",
    "marl info data.safetensors",
    "marl export data.safetensors --arrays new.npz --card new.md",
    "marl import data.npz --out new.safetensors --set n_aps=2 n_ues=6 n_candidates=2 episode_length=10",
    "baselines --episodes 2 --schedulers tdm,greedy --set n_ues=8 n_aps=2 episode_length=5 --json new.json --seed 1 --threads 1",
    "baselines --preset correlated --episodes 1 --schedulers random_walk --set episode_length=3",
    "baselines --watch tdm --video new.webp --set episode_length=2",
)
_TOKENS = (
    "", "-1", "0", "1", "3", "nan", "1e999", "-inf", "3.5", "0x3", "\u0663", " 2", "1_0", "1" + "0" * 25, "9" * 5000, "None", "true", "x", "[/b]",
    "[red]", "\x1b[2J", "\x00", "../..", ".", "/", "/dev/null", "/dev/zero", "missing/x", "run", "run/config.json", "run/checkpoint.safetensors",
    "data.safetensors", "data.npz", "new.npz", "a" * 300, "--", "-", "-h", "--help", "--out", "@file", "itlinq", "itlinq:tolerance_db",
    "itlinq:tolerance_db=x", ":", ",", "=", "n_aps=", "=2", "n_aps=-1", "n_aps=1e3", "n_ap=2", "fading=none", "min_ap_distance_m=1e6",
    "csi_delay=1000", "n_aps=1024", "json", "no.such.module", "rrm_env.rrm_v0", "{}", "\ud800", "collect", "train", "teach",
)  # fmt: skip


def commands(seed: int, count: int) -> Draws:
    """Valid lines with options missing, doubled, exchanged and of other values, and mere soup: status 0, 1 or 2 and a message."""
    options = sorted({token for line in _LINES for token in line.split() if token.startswith("--")} | {"--env", "--network", "--preset"})
    here, columns = Path.cwd(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "200"
    with tempfile.TemporaryDirectory() as name:
        furnished = _furnished(Path(name) / "furnished")
        try:
            for number in range(count):
                rng, folder = Random(f"commands {seed} {number}"), Path(name) / "here"
                shutil.copytree(furnished, folder)
                os.chdir(folder)
                yield _ran(_line(rng, options))
                os.chdir(here)
                shutil.rmtree(folder)
        finally:
            os.chdir(here)
            os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)


def _furnished(folder: Path) -> Path:
    folder.mkdir()
    dataset = collect(RandomWalk(silence=True), SMALL, 40, name="random [/b]")
    dataset.write(folder / "data.safetensors")
    training = TrainingConfig(updates=2, log_every=1, evaluate_every=2, checkpoint_every=2, evaluation_episodes=1)
    train(folder / "run", LearnerConfig(hidden_sizes=(4,), batch_size=4), training, dataset=dataset)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        marl.__main__.main(["export", "data.safetensors", "--arrays", "data.npz"])
    return folder


def _line(rng: Random, options: list[str]) -> list[str]:
    line = rng.choice(_LINES).split()
    for _ in range(rng.choice((1, 1, 1, 1, 2, 3, 10))):
        k, what = rng.randrange(1, len(line) + 1), rng.random()
        if what < 0.5 and k < len(line):
            line[k] = rng.choice(_TOKENS)
        elif what < 0.6 and k < len(line):
            del line[k]
        elif what < 0.75:
            line.insert(k, rng.choice(_TOKENS))
        elif what < 0.9:
            line.insert(k, rng.choice(options))
        elif k < len(line):
            line[k] = line[rng.randrange(len(line))]
    return line


def _ran(line: list[str]) -> tuple[str, str]:
    main = {"marl": marl.__main__.main, "baselines": baselines.__main__.main}.get(line[0], marl.__main__.main)
    out, err = io.StringIO(), io.StringIO()
    signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    shown = " ".join(map(ascii, line))[:2000]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status: Any = main(line[1:])
    except SystemExit as stopped:
        status = stopped.code
    except HangError:
        endless = line[:2] == ["marl", "train"] and "--updates" not in line
        if endless or any(len(token) > 20 and token.isdigit() for token in line):
            return "asked for very much", ""  # a valid line
        return "finding", f"{shown}: not done after {SECONDS:g} s"
    except BaseException:
        return "finding", f"{shown}: {traceback.format_exc()}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if status == 0:
        return "done", ""
    if status not in (1, 2) or not err.getvalue().strip() or "Traceback" in err.getvalue():
        return "finding", f"{shown}: status {status!r}, {err.getvalue()[-2000:]}"
    return f"refused with status {status}", ""


def _stop(*_: Any) -> None:
    raise HangError


# --- Sweeps ---

_SWEEP = """seeds = [0, 3]
seeds_per_cell = 1
[collect]
scheduler = "itlinq"
transitions = [400, 800]
set = { n_aps = 2, n_ues = 6 }
[train]
paradigm = ["c", "ctde"]
algorithm = "sac"
hidden_sizes = [[4], [8, 8]]
discount = 0.9
updates = 30
log_every = 10
evaluate_every = 10
[evaluate]
episodes = 4
schedulers = "tdm"
"""


def sweeps(seed: int, count: int) -> Draws:
    """TOML files of sweeps with lines and values changed: a grid of limited size, or refused with the file's name."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "sweep.toml"
        for number in range(count):
            rng = Random(f"sweeps {seed} {number}")
            path.write_bytes(_toml(rng))
            yield _read(path)


def _toml(rng: Random) -> bytes:
    lines = _SWEEP.splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        k, what = rng.randrange(len(lines)), rng.random()
        key, separator, _ = lines[k].partition(" = ")
        literals = (
            "nan",
            "-1",
            "0",
            "true",
            '""',
            '"x"',
            "[]",
            "[[]]",
            "[[4], 8]",
            "{}",
            "1979-05-27",
            "9" * 5000,
            "1e999",
            "[" * 2000,
            "3.5",
            "inf",
        )
        if what < 0.5 and separator:
            lines[k] = f"{key} = {rng.choice((*literals, str([*range(rng.choice((3, 200, 20_000)))])))}"
        elif what < 0.65:
            del lines[k]
        elif what < 0.8:
            lines.insert(k, rng.choice(lines))
        else:
            start = rng.randrange(len(lines[k]) + 1)
            lines[k] = lines[k][:start] + rng.choice(("\x00", "=", "]", '"', "\u00e9", "x", "[", "\\u", "#")) + lines[k][start + 1 :]
        lines = lines or ["seeds = 1"]
    content = "\n".join(lines).encode()
    return content[: rng.randrange(len(content))] + b"\xff" if rng.random() < 0.03 else content


def _read(path: Path) -> tuple[str, str]:
    try:
        sweep = Sweep.read(path)
    except (TypeError, ValueError) as error:
        if type(error) in (TypeError, ValueError) and str(path) in str(error) and len(str(error)) < 5000:
            return "refused", ""
        return "finding", f"{ascii(path.read_bytes()[:1000])}\n{traceback.format_exc(-5)[:3000]}"
    except Exception:
        return "finding", f"{ascii(path.read_bytes()[:1000])}\n{traceback.format_exc(-5)[:3000]}"
    return ("accepted", "") if len(sweep.points) <= 10_000 else ("finding", f"{len(sweep.points)} points")


SECTIONS: dict[str, Callable[[int, int], Draws]] = {
    "values": values,
    "networks": networks,
    "learners": learners,
    "commands": commands,
    "sweeps": sweeps,
}
