"""Configurations, learners and sweeps that nobody would write, each judged in this process.

Each must be refused by an error that names what is wrong, or be accepted and work.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import numpy as np
import torch
from damage import BYTES, edit_list, pick, place
from fuzz_commands import commands, judge_command
from fuzz_networks import judge_network, networks
from fuzz_section import Section
from hypothesis import strategies as st

from baselines import ITLinQ
from marl import Dataset, DivergenceError, Learner, LearnerConfig, Policy, TrainingConfig, collect
from marl.config import PRESETS
from marl.sweep.grid import Sweep
from marl.sweep.points import OPTIONS
from marl.training.stores import DatasetStore, Updates
from rrm_env import RRMConfig
from rrm_env.checks import shown


def some(draw: st.DrawFn, names: Sequence[str], *sizes: int) -> list[str]:
    """Draw that many different names."""
    size = pick(draw, *sizes)
    drawn = st.lists(st.sampled_from(names), min_size=size, max_size=size, unique=True)
    return draw(drawn)


def check_refusal(error: Exception, names: Sequence[str]) -> str:
    """Check that an error is one of ours, names one of these, and is short."""
    if type(error) not in (TypeError, ValueError):
        raise error
    if len(str(error)) > 3000 or not any(name in str(error) for name in names):
        raise AssertionError(f"{names} not named, or at length") from error
    return "refused"


# --- Configurations ---


class _Nameless:
    """Has no repr."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


_WORDS = "cpu cuda cuda:99 c ctde sac iid jakes 1 nan"
_REALS = (0.0, -0.0, 0.5, 1.0, 2.5, float("nan"), float("inf"), -float("inf"))
_REAL_TYPES = (float, np.float64, np.float32, np.float16, np.longdouble)
_JUNK = st.one_of(
    st.sampled_from([0, 1, -1, 2, 7, 1000, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400]),
    st.sampled_from([kind(real) for kind in _REAL_TYPES for real in _REALS]),
    st.sampled_from([kind(number) for kind in (np.int8, np.uint64, bool) for number in range(8)]),
    st.sampled_from([1e-320, 1e308, 10**5000, Fraction(1, 3), Fraction(10**400), complex(2, 1)]),
    st.sampled_from([None, ..., NotImplemented, object(), _Nameless(), int, len, slice(3)]),
    st.sampled_from([np.array(0.5), np.array(np.nan), np.arange(3), np.array([]), range(3)]),
    st.sampled_from([np.datetime64("nat"), torch.tensor(1.0), torch.ones(3), b"", bytearray(b"1")]),
    st.sampled_from([*_WORDS.split(), "", "\x00", "\ud800", "é" * 9999]),
    st.sampled_from([[], (), {}, set(), [1, 2], (64, 64), [[1]], {"n_aps": 4}, [[]] * 5000]),
    st.sampled_from([[None], [True], [2.0], [0], [10**400], np.bool_(True), np.bool_(False)]),
)
"""Values that are seldom allowed in a field, and now and then are."""


class Call(SimpleNamespace):
    """Call of ``make(*arguments, **values)``; an error must contain one of the ``names``."""

    def __repr__(self) -> str:
        values = [f"{name}={shown(value)}" for name, value in self.values.items()]
        return f"{self.make.__qualname__}({', '.join([*map(shown, self.arguments), *values])})"


_MAKERS: tuple[tuple[type, Callable[..., Any]], ...] = (
    *((kind, kind) for kind in (RRMConfig, LearnerConfig, TrainingConfig)),
    *((kind, kind.preset) for kind in (RRMConfig, LearnerConfig)),
)


@st.composite
def configurations(draw: st.DrawFn) -> Call:
    """A configuration with arbitrary values, rarely of a field that does not exist."""
    kind, make = pick(draw, *_MAKERS)
    known = [item.name for item in fields(kind)]
    values = {name: draw(_JUNK) for name in some(draw, known, 1, 1, 1, 2, 4)}
    names = [*values]
    arguments: tuple[Any, ...] = ()
    if draw(st.integers(0, 9)) == 9:
        name = pick(draw, *known)
        near = name.upper(), name + "s", name[:-1], name[::-1], "ñ_aps", "self_", "preset"
        wrong = pick(draw, *near, "", " ", "__class__", "\x00", "x" * 400)
        if wrong not in known:
            values[wrong] = 1
            names += ["unknown", "unexpected"]
    if "preset" in values or (make is not kind and draw(st.integers(0, 4)) == 4):
        values.pop("preset", None)
        arguments = (draw(_JUNK),) if make is not kind else ()
        names.append("preset")
    return Call(make=make, arguments=arguments, values=values, names=names)


def judge_configuration(call: Call) -> str:
    """Make a configuration: it names what it refuses, or survives JSON."""
    try:
        config = call.make(*call.arguments, **call.values)
    except (TypeError, ValueError) as error:
        return check_refusal(error, call.names)
    described = vars(config) if call.make is TrainingConfig else config.as_dict()
    text = json.dumps(described, allow_nan=False)
    assert call.make(**json.loads(text)) == config, f"{config} does not survive JSON"
    return "fine"


# --- Learners ---


def _positive(highest: float) -> st.SearchStrategy[float]:
    """A number of any magnitude up to the highest; an extreme now and then."""
    extremes = st.sampled_from([5e-324, highest, 1e-38, min(highest, 1e300)])
    return st.floats(-8, min(3.0, float(np.log10(highest)))).map(lambda power: 10**power) | extremes


_SMALL = {"batch_size": 64, "n_critics": 4, "common_features": 12}
_SHARES = ("discount", "target_rate", "entropy_ratio", "epsilon_final")
_MAY_BE_ZERO = ("cql_alpha", "entropy_ratio", "epsilon_final")


def _hyperparameter(name: str, type_: Any) -> st.SearchStrategy[Any]:
    if name == "hidden_sizes":
        return st.lists(st.sampled_from([1, 2, 7, 32]), max_size=3).map(tuple)
    if name in _SMALL:
        return st.integers(1, _SMALL[name])
    if type_ is int:
        return st.sampled_from([1, 2, 3, 1000, 2**31, 2**63 - 1, 2**63, 10**30])
    if type_ is float:
        numbers = _positive(1.0 if name in _SHARES else 1.7e308)
        zeros = [st.just(0.0)] if name in _MAY_BE_ZERO else []
        return st.one_of(numbers, numbers, numbers, *zeros)
    return st.from_type(type_)  # words and truth values


_HYPERPARAMETERS = {
    name: _hyperparameter(name, type_) for name, type_ in get_type_hints(LearnerConfig).items()
}
_ALWAYS = ["paradigm", "algorithm", "batch_size", "hidden_sizes"]


@st.composite
def learners(draw: st.DrawFn) -> tuple[str, dict[str, Any], list[int]]:
    """A preset, hyperparameters beside it, and seeds."""
    others = [name for name in _HYPERPARAMETERS if name not in _ALWAYS]
    names = [*_ALWAYS, *some(draw, others, 1, 2, 4, len(others))]
    values = {name: draw(_HYPERPARAMETERS[name]) for name in names}
    seeds = st.lists(st.integers(0, 2**30), min_size=1, max_size=3, unique=True)
    return pick(draw, *PRESETS), values, draw(seeds)


@cache
def _dataset() -> Dataset:
    sizes: Any = {"n_aps": 2, "n_ues": 5, "n_candidates": 2, "episode_length": 10}
    return collect(ITLinQ(), RRMConfig(**sizes, messages="best", min_ap_distance_m=10), 64)


def judge_learner(case: tuple[str, dict[str, Any], list[int]]) -> str:
    """Do a few updates: parameters stay finite and actions legal, or divergence is noticed."""
    preset, values, seeds = case
    dataset = _dataset()
    try:
        learner = Learner(LearnerConfig.preset(preset, **values), dataset.team, seeds)
        update = Updates(learner, DatasetStore(dataset, learner))
        for _ in range(4):
            update()
        learner.check()
        learner.check_finite()
    except DivergenceError:
        return "refused"
    except (TypeError, ValueError) as error:
        return check_refusal(error, [*values])
    stored = dataset.transitions()
    observations, mask = stored.observation[:8].numpy(), stored.mask[:8].numpy()
    for k in range(len(seeds)):
        actions = np.asarray(Policy.of_learner(learner, k).actions(observations, mask))
        legal = np.take_along_axis(mask, actions[..., None], -1).all()
        assert legal, f"illegal actions {actions.tolist()}"
    return "fine"


# --- Sweeps ---

_TOML_WORDS = """
true false "" "é" 'x' 0 1 3 -1 -0.0 0.5 nan inf 1e400 0x10 1979-05-27 07:32:00 [] [[]] [1,2] [1,1]
[1,'a'] [nan,nan] {} {n_ues=10} {a={b=[1]}} [{},{}] [[8],[8,8]] "\\u0000" "c" "sac" "bc" "missing"
"mpe2.nothing" ["c","i"] ["max_weight","itlinq"] "itlinq:tolerance_db=0" "wide" "cuda" [0.1,1e300]
"""
_TOML_LONG = ("9" * 30, "9" * 5000, "[" * 3000 + "]" * 3000, "{a=" * 3000, f'"{"x" * 5000}"')
_TOML_VALUES = (*_TOML_WORDS.split(), *_TOML_LONG)
_LONG = f"[{', '.join(map(str, range(100_000)))}]"
"""An axis far beyond what a grid may have."""
_HEADINGS = ("[collect]", "[train]", "[evaluate]", "[[train]]", "[train.set]", "[collect.set]",
             "[other]", "[]", "[train", "[seeds]")  # fmt: skip
_OPTIONS = [name for section in OPTIONS.values() for name in section]
_OPTIONS += ["seeds", "seeds_per_cell", "colour", "a.b", '""', "é"]
_COLLECT = """[collect]
scheduler = "max_weight"
transitions = [40, 200]
seed = 1
set = { n_ues = 10 }
"""
_SWEEP = """seeds = 2
seeds_per_cell = 1
{collect}[train]
paradigm = ["c", "ctde"]
updates = 30
log_every = 10
evaluate_every = 10
checkpoint_every = 10
{axis}[evaluate]
episodes = 2
schedulers = "max_weight,itlinq\""""


_MARKS = (b"\xff\xfe", b"\x00", b"\n", b'"', b"'''", b"[", b"=", b"#", b"\xef\xbb\xbf", b"\r")


@st.composite
def _lines(draw: st.DrawFn) -> str:
    """A heading, or a value for an option."""
    value = _LONG if draw(st.integers(0, 99)) == 99 else pick(draw, *_TOML_VALUES)
    option = f"{pick(draw, *_OPTIONS)} = {value}"
    return str(pick(draw, option, option, pick(draw, *_HEADINGS)))


@st.composite
def sweeps(draw: st.DrawFn) -> bytes:
    """A small valid sweep in TOML, damaged in its structure and perhaps in its bytes."""
    axis = pick(draw, "", "hidden_sizes = [[8], [16, 16]]\n", "discount = [0.5, 0.9]\n")
    collect = pick(draw, _COLLECT, _COLLECT, _COLLECT, "")
    lines = _SWEEP.replace("{collect}", collect).replace("{axis}", axis).split("\n")
    for _ in range(pick(draw, 1, 1, 2, 4)):
        k, new = place(draw, len(lines)), draw(_lines())
        (option, sign, value), (other, _sign, another) = lines[k].partition("="), new.partition("=")
        what = draw(st.integers(0, 3))
        if what < 2 or not sign:
            edit_list(draw, lines, _lines())
        else:
            lines[k] = f"{option}={another}" if what == 2 else f"{other}={value}"
    content = "\n".join(lines).encode()
    if draw(st.integers(0, 9)) > 6:
        content = BYTES[pick(draw, *BYTES)](draw, content, content)
        k = place(draw, len(content))
        content = content[:k] + bytes(pick(draw, b"", *_MARKS)) + content[k:]
    return content


def judge_sweep(content: bytes) -> str:
    """Read a sweep: an error names the file, or all cells have names."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.toml"
        path.write_bytes(content)
        try:
            sweep = Sweep.read(path)
            names = {cell.name for point in sweep.points for cell in sweep.cells(point)}
        except (TypeError, ValueError) as error:
            return check_refusal(error, [str(path)])
    assert names, "a sweep without cells"
    return "fine"


SECTIONS = {
    "configurations": Section(configurations(), judge_configuration),
    "networks": Section(networks(), judge_network),
    "learners": Section(learners(), judge_learner),
    "command lines": Section(commands(), judge_command),
    "TOML": Section(sweeps(), judge_sweep),
}
