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
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.cli.data import DEFAULT_SCHEDULER, Collect
from marl.cli.learning import Evaluate, Train
from marl.config import LearnerConfig, TrainingConfig
from marl.data.collect import MAX_SEED
from marl.data.dataset import Dataset
from marl.data.sources import make_env
from marl.policy import Policy
from marl.runs.description import CHECKPOINT, DESCRIPTION, describe
from marl.team import team_of
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, nearest, shown
from rrm_env.evaluation import MAX_EPISODES

_LEARNER, _TRAINING = (
    {item.name: item for item in fields(kind)} for kind in (LearnerConfig, TrainingConfig)
)


def _of_command(command: type, *without: str) -> dict[str, Any]:
    """A command's options as a sweep spells them, but for the files and folders, which are the sweep's own, and where to run."""
    names = {
        item.name: item
        for item in fields(command)
        if item.name not in (*without, "where", "learner", "training")
    }
    return {"set" if name == "settings" else name: item for name, item in names.items()}


OPTIONS: dict[str, dict[str, Any]] = {
    "collect": _of_command(Collect, "out"),
    "train": {
        **_of_command(Train, "out", "seeds", "first_seed", "resume"),
        **_LEARNER,
        **_TRAINING,
    },
    "evaluate": _of_command(Evaluate, "runs", "json", "plot"),
}
"""What each section may set: the options of the command of that name."""

Description = dict[str, Any]

CHANGED = "changed since the sweep was declared; the same command declares it again"
"""What is said of a file that no longer is what the cells' names say."""


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
    network: RRMConfig | None
    """What was recorded; None for another environment."""
    file: Path | None = None
    """An existing dataset."""
    recording: Collect | None = None
    """Or the command that records it; its ``out`` is not used."""

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
    network: RRMConfig | None
    """None in another environment."""
    env: str | None

    @property
    def description(self) -> Description:
        """All of it, as JSON can hold it."""
        return {**vars(self), "network": self.network.as_dict() if self.network else None}


@dataclass(frozen=True)
class Point:
    """A point of the grid: everything but the training seeds."""

    varied: Mapping[str, Any]
    """Values of the options that vary, by name."""
    data: Data | None
    learner: LearnerConfig
    training: TrainingConfig
    """On the CPU: another machine may be the one with the GPU."""
    network: RRMConfig | None
    env: str | None
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
            "network": point.network.as_dict() if point.network else None,
            "env": point.env,
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
            "network": chosen.network.as_dict() if chosen.network else None,
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
            data = _recorded(_completed("collect", collect))
    with _section("train"):
        options = _completed("train", train)
        if options["dataset"] is not None:
            data = _existing(Path(options["dataset"]))
        learner, training = _learning(train, options["preset"], data)
        network, env = _world(options, data)
    with _section("evaluate"):
        options = _completed("evaluate", evaluate)
        evaluating, schedulers = _evaluating(options, network, env)
        _check_policy(learner, network, evaluating)
    return Point(varied, data, learner, training, network, env, evaluating, schedulers)


@contextmanager
def _section(name: str) -> Iterator[None]:
    """Errors within say which section they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"[{name}] {error}") from None


def _completed(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """With the command's defaults; texts, truth values and tables are of their kinds."""
    complete = {
        name: {} if name == "set" else item.default
        for name, item in OPTIONS[section].items()
        if item.default is not MISSING
    }
    for name, value in options.items():
        kind = str(OPTIONS[section][name].type).removeprefix("Annotated[")
        if name == "set":
            if not isinstance(value, Mapping):
                raise TypeError(
                    f"set must be a table of network fields, such as {{ n_ues = 10 }}, got {shown(value)}"
                )
        elif kind == "bool" and not isinstance(value, bool):
            raise TypeError(f"{name} must be true or false, got {shown(value)}")
        elif kind.startswith(("str", "Path")) and not (
            isinstance(value, (str, Path)) or (value is None and "None" in kind)
        ):
            raise TypeError(f"{name} must be a text, got {shown(value)}")
    return {**complete, **options}


def _recorded(options: dict[str, Any]) -> Data:
    """A recording still to be made."""
    transitions = bounded_integer("transitions", options["transitions"])
    seed = bounded_integer("seed", options["seed"], MAX_SEED, lowest=0)
    if options["sample"] and not options["policy"]:
        raise ValueError("sample = true needs policy: a scheduler has no actor to draw from")
    network = None
    if options["env"]:
        make_env(options["env"])
        if options["set"] or options["network"]:
            raise ValueError("network and set are of the network and do not go with env")
    else:
        network = RRMConfig.preset(options["network"] or "paper", **options["set"])
    if options["scheduler"] is not None and (options["policy"] or options["env"]):
        raise ValueError("scheduler does not go with policy or env, which say who acts")
    if options["policy"]:
        who = {"policy": _identity(str(options["policy"])), "sample": options["sample"]}
        label = f"{describe(options['policy'])['scheme']}{' sampled' if options['sample'] else ''}"
    elif options["env"]:
        who, label = {"policy": None}, "random actions"
    else:
        label = options["scheduler"] or DEFAULT_SCHEDULER
        parse_scheduler(label, REGISTRY)
        who = {"scheduler": label}
    where: Description = {"env": options["env"], "network": network.as_dict() if network else None}
    settings = tuple(f"{name}={value}" for name, value in options["set"].items())
    rest = {name: value for name, value in options.items() if name not in ("set", "policy")}
    recording = Collect(
        out=Path(),
        settings=settings,
        policy=Path(options["policy"]) if options["policy"] else None,
        **rest,
    )
    return Data(
        {**who, **where, "transitions": transitions, "seed": seed},
        f"{label}-{transitions}",
        network,
        recording=recording,
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
    recorded = dataset.environment
    network = RRMConfig(**recorded["config"]) if recorded.get("kind") == "network" else None
    return Data(
        {"fingerprint": dataset.fingerprint(), "transitions": len(dataset)},
        path.stem,
        network,
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
    if data is None:
        if learner.algorithm == "bc":
            raise ValueError("algorithm = 'bc' needs data: a section [collect], or dataset")
        learner = replace(learner, cql_alpha=0.0)  # online there is no penalty
    return learner, training


def _world(options: dict[str, Any], data: Data | None) -> tuple[RRMConfig | None, str | None]:
    """The network to train in, or the environment."""
    named = bool(options["network"] or options["set"])
    if options["env"]:
        if named:
            raise ValueError("network and set are of the network and do not go with env")
        make_env(options["env"])
        return None, options["env"]
    recorded = data.network if data else RRMConfig()
    network = (
        RRMConfig.preset(options["network"] or "paper", **options["set"]) if named else recorded
    )
    if network is None:
        raise ValueError("env must name the environment that the data were recorded in")
    if recorded is not None and data is not None and team_of(recorded) != team_of(network):
        raise ValueError(f"the data are of {team_of(recorded)}, the network of {team_of(network)}")
    return network, None


def _evaluating(
    options: dict[str, Any], network: RRMConfig | None, env: str | None
) -> tuple[Evaluating, tuple[str, ...]]:
    if options["env"] and options["env"] != env:
        raise ValueError(f"env must be that of training, {env!r}, got {shown(options['env'])}")
    if network is None:
        for name in ("schedulers", "network", "set"):
            if options[name]:
                raise ValueError(f"{name} is of the network and does not go with env")
    elif options["network"]:
        network = RRMConfig.preset(options["network"], **options["set"])
    else:
        network = RRMConfig(**{**network.as_dict(), **options["set"]})
    schedulers = (
        tuple(REGISTRY)
        if options["schedulers"] == "all"
        else tuple(name for name in options["schedulers"].split(",") if name)
    )
    for name in schedulers:
        parse_scheduler(name, REGISTRY)
    episodes = bounded_integer("episodes", options["episodes"], MAX_EPISODES)
    seed = bounded_integer("seed", options["seed"], MAX_SEED, lowest=0)
    return Evaluating(
        episodes, seed, options["act_on"], options["sample"], network, env
    ), schedulers


def _check_policy(
    learner: LearnerConfig, trained_in: RRMConfig | None, evaluating: Evaluating
) -> None:
    """Refuse ways to act that the learner has no network for, and networks that it could not act in."""
    if trained_in is None or evaluating.network is None:
        return
    nothing = torch.zeros(1, 1, 1, 1, 1)
    options = {"act_on": evaluating.act_on, "sample": evaluating.sample}
    policy = Policy(
        learner,
        team_of(trained_in),
        [(nothing, nothing)],
        nothing[0],
        nothing[0],
        **options,  # type: ignore[arg-type]
    )
    policy.require(team_of(evaluating.network))
