"""What a sweep is made of, from the options of its sections: data, trainings, evaluations, each with a name that says all it depends on.

A name ends in a hash of the full description, options left at their defaults included, so it is the same on every machine and another as
soon as anything differs that the outcome depends on. Where a cell runs is not part of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.config import LearnerConfig, TrainingConfig
from marl.data.dataset import Dataset
from marl.environment import MAX_SEED, Environment
from marl.options import EvaluationOptions, NetworkOptions, RecordingOptions, TrainingOptions
from marl.policy import Policy
from marl.runs.description import CHECKPOINT, DESCRIPTION, describe
from marl.team import team_of
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, nearest, shown
from rrm_env.evaluation import MAX_EPISODES

_LEARNER, _TRAINING = (
    {item.name: item for item in fields(kind)} for kind in (LearnerConfig, TrainingConfig)
)


def _of_command(options: type) -> dict[str, Any]:
    """The options of a command as a sweep spells them."""
    names = {item.name: item for item in fields(options) if item.name not in ("changes",)}
    return {"set" if name == "settings" else name: item for name, item in names.items()}


OPTIONS: dict[str, dict[str, Any]] = {
    "collect": _of_command(RecordingOptions),
    "train": {
        **_of_command(TrainingOptions),
        **_LEARNER,
        **_TRAINING,
    },
    "evaluate": _of_command(EvaluationOptions),
}
"""What each section may set: the options of the command of that name."""

Description = dict[str, Any]

CHANGED = "changed since the sweep was declared; the same command declares it again"
"""What is said of a file that no longer is what the cells' names say."""


def _named(environment: Environment) -> Description:
    """What names say of an environment."""
    network = environment.network
    return {"network": network.as_dict() if network else None, "env": environment.module}


def digest(description: Description) -> str:
    """16 hexadecimal digits: equal for equal descriptions, in any order, on any machine."""
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Data:
    """Where a learner's transitions come from."""

    description: Description
    label: str
    """Of it in names, for people."""
    environment: Environment
    """What is recorded."""
    file: Path | None = None
    """An existing dataset."""
    recording: RecordingOptions | None = None
    """Or what to record."""

    @cached_property
    def name(self) -> str:
        """Of its file."""
        return f"{_readable(self.label)}-{digest(self.description)}.safetensors"

    def require_same_policy(self) -> None:
        """Refuse a run to record that is no longer the one of the description (ValueError), as while it is still training."""
        if self.recording is not None and self.recording.policy is not None:
            run = str(self.recording.policy)
            if _identity(run) != self.description["policy"]:
                raise ValueError(f"policy: {run!r} {CHANGED}")


@dataclass(frozen=True)
class Evaluating:
    """How policies are evaluated."""

    episodes: int
    seed: int
    act_on: str | None
    sample: bool
    environment: Environment

    @property
    def description(self) -> Description:
        """All of it, as JSON can hold it."""
        own = {name: getattr(self, name) for name in ("episodes", "seed", "act_on", "sample")}
        return {**own, **_named(self.environment)}


@dataclass(frozen=True)
class Point:
    """A point of the grid: everything but the training seeds."""

    varied: Mapping[str, Any]
    """Values of the options that vary, by name."""
    data: Data | None
    learner: LearnerConfig
    training: TrainingConfig
    """On the CPU: another machine may be the one with the GPU."""
    environment: Environment
    evaluating: Evaluating
    schedulers: tuple[str, ...]
    """To set beside it."""

    @property
    def scheme(self) -> str:
        """What the paper calls the learner."""
        return self.learner.scheme(offline=self.data is not None)


@dataclass(frozen=True)
class Cell:
    """Some seeds of a point: what one learner trains at once, and its evaluation."""

    point: Point
    seeds: tuple[int, ...]

    @cached_property
    def training(self) -> Description:
        """What the trained policies depend on; cells that differ in the evaluation alone share them."""
        point = self.point
        return {
            "data": point.data.description if point.data else None,
            "learner": point.learner.as_dict(),
            "training": {
                name: value for name, value in asdict(point.training).items() if name != "device"
            },
            **_named(point.environment),
            "seeds": list(self.seeds),
        }

    @cached_property
    def description(self) -> Description:
        """What the outcome depends on."""
        return {**self.training, "evaluation": self.point.evaluating.description}

    @cached_property
    def run(self) -> str:
        """Name of the training's folder."""
        return f"{_readable(self.point.scheme)}-{digest(self.training)}"

    @cached_property
    def evaluation(self) -> str:
        """Name of the evaluation's file in that folder."""
        return f"evaluation-{digest(self.description)}.json"

    @property
    def name(self) -> str:
        """Both."""
        return f"{self.run}/{self.evaluation}"


@dataclass(frozen=True)
class Reference:
    """A scheduler to set beside cells, on the same episodes."""

    scheduler: str
    evaluating: Evaluating

    @cached_property
    def description(self) -> Description:
        """What the outcome depends on."""
        chosen = self.evaluating
        return {
            "scheduler": self.scheduler,
            "episodes": chosen.episodes,
            "seed": chosen.seed,
            "network": _named(chosen.environment)["network"],
        }

    @cached_property
    def name(self) -> str:
        """Of its file."""
        return f"{_readable(self.scheduler)}-{digest(self.description)}.json"


def _readable(text: str) -> str:
    """Lower case, with hyphens for what file systems or shells may mind."""
    return re.sub(r"[^a-z0-9_.=]+", "-", text.lower()).strip("-")[:60]


# --- From options ---


def check_options(section: str, options: Any) -> None:
    """Refuse options that the section does not have (TypeError, ValueError), with the nearest that it has."""
    if not isinstance(options, Mapping):
        raise TypeError(f"[{section}] must be a table of options, got {shown(options)}")
    for name in options:
        if name in ("seeds", "seeds_per_cell"):
            raise ValueError(
                f"[{section}] {name} belongs to the sweep itself: in TOML above the first section"
            )
        if name not in OPTIONS[section]:
            raise ValueError(f"[{section}] unknown option {nearest(str(name), OPTIONS[section])}")


def make_point(
    varied: Mapping[str, Any],
    collect: Mapping[str, Any] | None,
    train: Mapping[str, Any],
    evaluate: Mapping[str, Any],
) -> Point:
    """A point of the grid from one value for each option given.

    Raises:
        TypeError, ValueError: a value that the command would refuse, or values that do not go together; the section is named.
    """
    data = None
    if collect is not None:
        with _section("collect"):
            if train.get("dataset") is not None:
                raise ValueError(
                    "there must be either this section or dataset in [train], not both"
                )
            data = _recorded(_options(RecordingOptions, "collect", collect))
    with _section("train"):
        learning = _options(TrainingOptions, "train", train)
        if learning.dataset is not None:
            data = _existing(learning.dataset)
        learner, training = _learning(train, learning.preset, data)
        environment = _environment(learning, data)
    with _section("evaluate"):
        judged = _options(EvaluationOptions, "evaluate", evaluate)
        evaluating = _evaluating(judged, environment)
        schedulers = tuple(judged.named_schedulers())
        _check_policy(learner, environment, evaluating)
    return Point(varied, data, learner, training, environment, evaluating, schedulers)


@contextmanager
def _section(name: str) -> Iterator[None]:
    """Errors within say which section they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"[{name}] {error}") from None


Kind = TypeVar("Kind", bound=NetworkOptions)


def _options(kind: type[Kind], section: str, given: Mapping[str, Any]) -> Kind:
    """Options as given, the others at their defaults; texts, flags and tables must be such."""
    own = {item.name for item in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        declared = str(OPTIONS[section][name].type).removeprefix("Annotated[")
        if name == "set":
            if not isinstance(value, Mapping):
                raise TypeError(
                    f"set must be a table of network fields, such as {{ n_ues = 10 }}, got {shown(value)}"
                )
            values["changes"] = value
            continue
        if declared == "bool" and not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false, got {shown(value)}")
        if declared.startswith(("str", "Path")):
            if not isinstance(value, (str, Path)) and not (value is None and "None" in declared):
                raise TypeError(f"{name} must be a text, got {shown(value)}")
            value = Path(value) if value and declared.startswith("Path") else value
        if name in own:
            values[name] = value
    return kind(**values)


def _recorded(options: RecordingOptions) -> Data:
    """A recording still to be made."""
    transitions = bounded_integer("transitions", options.transitions)
    seed = bounded_integer("seed", options.seed, MAX_SEED, lowest=0)
    options.check()
    environment = options.environment()
    who: Description
    if options.policy:
        who = {"policy": _identity(str(options.policy)), "sample": options.sample}
        label = f"{describe(options.policy)['scheme']}{' sampled' if options.sample else ''}"
    elif options.env:
        who, label = {"policy": None}, "random actions"
    else:
        label = options.behaviour
        parse_scheduler(label, REGISTRY)
        who = {"scheduler": label}
    return Data(
        {**who, **_named(environment), "transitions": transitions, "seed": seed},
        f"{label}-{transitions}",
        environment,
        recording=options,
    )


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes whenever the file is written or replaced; empty where there is none."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _identity(run: str) -> Description:
    """What tells a run's policies from all others."""
    folder = Path(run)
    return _identity_of(run, (_stamp(folder / DESCRIPTION), _stamp(folder / CHECKPOINT)))


@lru_cache(maxsize=256)
def _identity_of(run: str, stamps: tuple[tuple[int, ...], ...]) -> Description:  # noqa: ARG001 - the interface asks for it
    described = describe(run)
    content = (Path(run) / CHECKPOINT).read_bytes() if (Path(run) / CHECKPOINT).exists() else b""
    return {
        **{key: described[key] for key in ("learner", "seeds", "team")},
        "checkpoint": hashlib.sha256(content).hexdigest(),
    }


def _existing(path: Path) -> Data:
    """A dataset that stands there."""
    return _existing_at(path, _stamp(path))


@lru_cache(maxsize=256)
def _existing_at(path: Path, stamp: tuple[int, ...]) -> Data:  # noqa: ARG001 - the interface asks for it
    dataset = Dataset.read(path)
    return Data(
        {"fingerprint": dataset.fingerprint(), "transitions": len(dataset)},
        path.stem,
        dataset.environment,
        file=path.absolute(),
    )


def _learning(
    given: Mapping[str, Any], preset: str, data: Data | None
) -> tuple[LearnerConfig, TrainingConfig]:
    learner = LearnerConfig.preset(
        preset, **{name: value for name, value in given.items() if name in _LEARNER}
    )
    training = TrainingConfig(
        **{name: value for name, value in given.items() if name in _TRAINING and name != "device"}
    )
    if given.get("device", "cpu") not in ("cpu", "cuda"):
        raise ValueError(
            f"device must be cpu or cuda, whichever is free, got {shown(given['device'])}"
        )
    return learner.for_data(offline=data is not None), training


def _environment(options: TrainingOptions, data: Data | None) -> Environment:
    """Where to train: what is named, else what the data were recorded in, else ``paper``."""
    given, recorded = options.environment_given(), data.environment if data else None
    if given is None:
        if recorded is not None and recorded.network is None:
            raise ValueError("env must name the environment that the data were recorded in")
        return recorded or Environment.of_network(RRMConfig())
    if given.network and recorded and recorded.network and recorded.team != given.team:
        raise ValueError(f"the data are of {recorded.team}, the network of {given.team}")
    return given


def _evaluating(options: EvaluationOptions, environment: Environment) -> Evaluating:
    if options.env and options.env != environment.module:
        allowed = f"env must be that of training, {environment.module!r}"
        raise ValueError(f"{allowed}, got {shown(options.env)}")
    if environment.network is not None:
        environment = Environment.of_network(options.config(environment.network))
    elif given := options.of_network:
        raise ValueError(f"{given[0]} is of the network and does not go with env")
    episodes = bounded_integer("episodes", options.episodes, MAX_EPISODES)
    seed = bounded_integer("seed", options.seed, MAX_SEED, lowest=0)
    return Evaluating(episodes, seed, options.act_on, options.sample, environment)


def _check_policy(learner: LearnerConfig, trained_in: Environment, evaluating: Evaluating) -> None:
    """Refuse ways to act that the learner has no network for, and networks that it could not act in."""
    if trained_in.network is None or evaluating.environment.network is None:
        return
    nothing = torch.zeros(1, 1, 1, 1, 1)
    options = {"act_on": evaluating.act_on, "sample": evaluating.sample}
    policy = Policy(
        learner,
        team_of(trained_in.network),
        [(nothing, nothing)],
        nothing[0],
        nothing[0],
        **options,  # type: ignore[arg-type]
    )
    policy.require(team_of(evaluating.environment.network))
