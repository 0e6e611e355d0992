"""Draws configurations, networks, learners, command lines and sweeps, each in this process under limits of time and memory.

A draw is the same for the same seed and number. It must be refused by an error of ours, or be accepted and work; all else is a finding.
"""

from __future__ import annotations

import contextlib
import json
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, get_args

import numpy as np
import torch
from fuzz_commands import judge_command
from fuzz_networks import judge_network
from fuzz_sweeps import judge_sweep
from fuzz_workers import HangError

from baselines import ITLinQ
from marl import Dataset, DivergenceError, Learner, LearnerConfig, Policy, TrainingConfig, collect
from marl.config import PRESETS, Algorithm, Paradigm
from marl.training.stores import DatasetStore, Updates
from rrm_env import RRMConfig

SECONDS, MEGABYTES = 30.0, 2048
"""What one draw may take; compiling a kernel is part of the first."""
Judge = Callable[[Random], tuple[str, str]]


def _section(name: str, judge: Judge) -> Callable[[int, int], Iterator[tuple[str, str]]]:
    """Judge draws one after the other; what a draw raises is a finding."""

    def draws(seed: int, count: int) -> Iterator[tuple[str, str]]:
        for number in range(count):
            try:
                with _limits(), warnings.catch_warnings():
                    warnings.simplefilter("error")
                    outcome, detail = judge(Random(f"{seed} {number} {name}"))
            except HangError:
                outcome, detail = "finding", f"hang: not done after {SECONDS:g} s"
            except Exception:
                outcome, detail = "finding", traceback.format_exc()
            yield outcome, f"{name}, seed {seed}, draw {number}: {detail}"

    return draws


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def hang(*_: Any) -> None:
        raise HangError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    if Path("/proc/self/statm").exists():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEGABYTES * 2**20, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# --- Configurations ---


class _Nameless:
    """Has no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


def _junk(rng: Random) -> Any:
    """A value that is seldom a field's, and now and then is."""
    number = rng.choice(
        (0, 1, -1, 2, 7, 1000, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 10**5000)
    )
    real = rng.choice(
        (0.0, -0.0, 0.5, 1.0, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), 2.5)
    )
    choices: tuple[Callable[[], Any], ...] = (
        lambda: number,
        lambda: real,
        lambda: rng.choice(
            (True, False, None, Ellipsis, NotImplemented, object(), _Nameless(), int, len)
        ),
        lambda: rng.choice((np.float64, np.float32, np.float16, np.longdouble))(
            real if abs(real) < 6e4 else 1.0
        ),
        lambda: rng.choice((np.int8, np.uint64, np.bool_))(min(abs(number), 100)),
        lambda: rng.choice(
            (
                np.array(real),
                np.arange(3),
                np.array([]),
                np.datetime64("nat"),
                torch.tensor(1.0),
                torch.ones(3),
            )
        ),
        lambda: rng.choice(
            (
                Fraction(1, 3),
                Fraction(10**400),
                complex(real, 1),
                b"cpu",
                bytearray(b"1"),
                range(3),
                slice(3),
            )
        ),
        lambda: rng.choice(
            (
                "",
                "cpu",
                "cuda",
                "cuda:99",
                "c",
                "ctde",
                "sac",
                "iid",
                "jakes",
                "1",
                "nan",
                "\x00",
                "\ud800",
                "é" * 9999,
            )
        ),
        lambda: rng.choice(
            (
                [],
                (),
                {},
                set(),
                [1, 2],
                (64, 64),
                [[1]],
                {"n_aps": 4},
                [None],
                [True],
                [2.0],
                [0],
                [10**400],
                [[]] * 5000,
            )
        ),
    )
    return rng.choice(choices)()


def _wrong_name(rng: Random, known: list[str]) -> str:
    name = rng.choice(known)
    wrong = (
        name.upper(),
        name + "s",
        name[:-1],
        name[::-1],
        "",
        " ",
        "__class__",
        "\x00",
        "ñ_aps",
        "x" * 400,
        "self_",
        "preset",
    )
    return rng.choice(wrong)


_MAKERS: tuple[tuple[type, Callable[..., Any]], ...] = (
    (RRMConfig, RRMConfig),
    (RRMConfig, RRMConfig.preset),
    (LearnerConfig, LearnerConfig),
    (LearnerConfig, LearnerConfig.preset),
    (TrainingConfig, TrainingConfig),
)


def judge_configuration(rng: Random) -> tuple[str, str]:
    """What came of a configuration with arbitrary values: an error that names one of them, or a configuration that survives JSON."""
    kind, make = rng.choice(_MAKERS)
    known = [item.name for item in fields(kind)]
    values = {name: _junk(rng) for name in rng.sample(known, rng.choice((1, 1, 1, 2, 4)))}
    told = list(values)
    arguments: tuple[Any, ...] = ()
    if rng.random() < 0.1 and (wrong := _wrong_name(rng, known)) not in known:
        values[wrong] = 1
        told = [*told, "unknown", "unexpected"]
    if "preset" in values or (make is not kind and rng.random() < 0.2):
        values.pop("preset", None)
        arguments = (_junk(rng),) if make is not kind else ()
        told = [*told, "preset"]
    try:
        config = make(*arguments, **values)
    except (TypeError, ValueError) as error:
        message = str(error)
        if (
            type(error) not in (TypeError, ValueError)
            or len(message) > 3000
            or not any(name in message for name in told)
        ):
            return (
                "finding",
                f"{told} not named, or at length, or of another type: {traceback.format_exc()}",
            )
        return "refused", message
    described = config.as_dict() if kind is not TrainingConfig else vars(config)
    if make(**json.loads(json.dumps(described, allow_nan=False))) != config:
        return "finding", f"does not survive JSON: {config}"
    return "fine", ""


# --- Learners ---


@cache
def _dataset() -> Dataset:
    config = RRMConfig(
        n_aps=2, n_ues=5, n_candidates=2, episode_length=10, messages="best", min_ap_distance_m=10
    )
    return collect(ITLinQ(), config, 64)


def _positive(rng: Random, highest: float) -> float:
    """A number of any magnitude up to the highest; an extreme now and then."""
    return rng.choice(
        (
            5e-324,
            highest,
            1e-38,
            min(highest, 1e300),
            *(10 ** rng.uniform(-8, min(3, np.log10(highest))) for _ in range(4)),
        )
    )


def _drawn(rng: Random, name: str, default: Any) -> Any:
    small = {"batch_size": 64, "n_critics": 4, "common_features": 12}
    words = {
        "paradigm": get_args(Paradigm),
        "algorithm": get_args(Algorithm),
        "cql_reduction": ("sum", "mean"),
    }
    words |= {"td_loss": ("half_squared", "huber"), "act_on": ("actor", "critic")}
    if name in words:
        return rng.choice(words[name])
    if name == "hidden_sizes":
        return tuple(rng.choice((1, 2, 7, 32)) for _ in range(rng.randrange(4)))
    if isinstance(default, bool):
        return rng.random() < 0.5
    if isinstance(default, int):
        return (
            rng.randint(1, small[name])
            if name in small
            else rng.choice((1, 2, 3, 1000, 2**31, 2**63 - 1, 2**63, 10**30))
        )
    at_most_one = name in ("discount", "target_rate", "entropy_ratio", "epsilon_final")
    zero = rng.random() < 0.1 and name in ("cql_alpha", "entropy_ratio", "epsilon_final")
    return 0.0 if zero else _positive(rng, 1.0 if at_most_one else 1.7e308)


def judge_learner(rng: Random) -> tuple[str, str]:
    """What came of a few updates with drawn hyperparameters: finite parameters and legal actions, or divergence noticed."""
    defaults = {item.name: item.default for item in fields(LearnerConfig)}
    always = ("paradigm", "algorithm", "batch_size", "hidden_sizes")
    others = [name for name in defaults if name not in always]
    names = [*always, *rng.sample(others, rng.choice((1, 2, 4, len(others))))]
    values = {name: _drawn(rng, name, defaults[name]) for name in names}
    try:
        config = LearnerConfig.preset(rng.choice([*PRESETS]), **values)
        dataset = _dataset()
        learner = Learner(config, dataset.team, rng.sample(range(2**30), rng.randint(1, 3)))
        update = Updates(learner, DatasetStore(dataset, learner))
        for _ in range(4):
            update()
        learner.check()
        learner.check_finite()
    except (TypeError, ValueError, DivergenceError) as error:
        named = type(error) in (TypeError, ValueError, DivergenceError) and (
            isinstance(error, DivergenceError) or any(name in str(error) for name in names)
        )
        return ("refused", str(error)) if named else ("finding", traceback.format_exc())
    stored = dataset.transitions()
    for k in range(len(learner.seeds)):
        actions = Policy.of_learner(learner, k).actions(
            stored.observation[:8].numpy(), stored.mask[:8].numpy()
        )
        if not np.take_along_axis(
            stored.mask[:8].numpy(), np.asarray(actions)[..., None], -1
        ).all():
            return "finding", f"illegal actions {actions.tolist()} of {config}"
    return "fine", ""


SECTIONS: dict[str, Callable[[int, int], Iterator[tuple[str, str]]]] = {
    "configurations": _section("configurations", judge_configuration),
    "networks": _section("networks", judge_network),
    "learners": _section("learners", judge_learner),
    "command lines": _section("command lines", judge_command),
    "TOML": _section("TOML", judge_sweep),
}
"""Draws of each section by its name: outcome, and what happened, of ``count`` draws from a seed on."""
