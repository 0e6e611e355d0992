"""Points of a sweep's grid, made from the options of its sections collect, train and evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from baselines.registry import parse_scheduler
from marl.benchmark.named import dataset_path, load_dataset
from marl.benchmark.recipes import RECIPES
from marl.config import LearnerConfig, TrainingConfig
from marl.data.dataset import Dataset
from marl.environment import MAX_SEED, Environment
from marl.options import EvaluationOptions, NetworkOptions, RecordingOptions, TrainingOptions
from marl.policy import Policy
from marl.runs.description import describe
from marl.sweep.cells import (
    Data,
    Description,
    Evaluating,
    Point,
    environment_description,
    file_stamp,
    run_identity,
)
from marl.team import team_of
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, nearest, shown
from rrm_env.evaluation import MAX_EPISODES

_LEARNER = {item.name: item for item in fields(LearnerConfig)}
_TRAINING = {item.name: item for item in fields(TrainingConfig)}


def _command_options(options: type) -> dict[str, Any]:
    """The fields of a command's options by their names in a sweep."""
    names = {item.name: item for item in fields(options) if item.name != "changes"}
    return {"set" if name == "settings" else name: item for name, item in names.items()}


OPTIONS: dict[str, dict[str, Any]] = {
    "collect": _command_options(RecordingOptions),
    "train": {**_command_options(TrainingOptions), **_LEARNER, **_TRAINING},
    "evaluate": _command_options(EvaluationOptions),
}
"""What each section may set: the options of the command of that name."""


def check_options(section: str, options: Any) -> None:
    """Check that the section has all the options.

    Raises:
        TypeError, ValueError: it is no table, or an option is unknown; the nearest known is named.
    """
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
    """A point of the grid.

    Args:
        varied: values of the options that vary, by name.
        collect: options of that section, one value each; None where nothing is recorded.
        train: likewise.
        evaluate: likewise.

    Raises:
        TypeError, ValueError: a value that the command would refuse, or values that do not go
            together; the message names the section.
    """
    data = None
    if collect is not None:
        with _section("collect"):
            if train.get("dataset") is not None:
                raise ValueError(
                    "there must be either this section or dataset in [train], not both"
                )
            data = _data_to_record(_parsed(RecordingOptions, "collect", collect))
    with _section("train"):
        training_options = _parsed(TrainingOptions, "train", train)
        if training_options.dataset is not None:
            data = _existing_data(training_options.dataset)
        learner, training = _configs(train, training_options.preset, data)
        environment = _environment(training_options, data)
    with _section("evaluate"):
        evaluation_options = _parsed(EvaluationOptions, "evaluate", evaluate)
        evaluating = _evaluating(evaluation_options, environment)
        schedulers = tuple(evaluation_options.named_schedulers())
        _check_policy(learner, environment, evaluating)
    return Point(varied, data, learner, training, environment, evaluating, schedulers)


@contextmanager
def _section(name: str) -> Iterator[None]:
    """Put the section's name in front of errors."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"[{name}] {error}") from None


Kind = TypeVar("Kind", bound=NetworkOptions)


def _parsed(kind: type[Kind], section: str, given: Mapping[str, Any]) -> Kind:
    """A command's options, those not given at their defaults.

    Options of learner and training are checked by their configurations and left out here.

    Raises:
        TypeError: a text, flag or table is something else.
    """
    own = {item.name for item in fields(kind)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        declared = str(OPTIONS[section][name].type).removeprefix("Annotated[")
        if name == "set":
            if not isinstance(value, Mapping):
                example = "such as { n_ues = 10 }"
                raise TypeError(
                    f"set must be a table of network fields, {example}, got {shown(value)}"
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


def _data_to_record(options: RecordingOptions) -> Data:
    transitions = bounded_integer("transitions", options.transitions)
    seed = bounded_integer("seed", options.seed, MAX_SEED, lowest=0)
    options.check()
    environment = options.environment()
    behaviour: Description
    if options.policy:
        behaviour = {"policy": run_identity(str(options.policy)), "sample": options.sample}
        label = f"{describe(options.policy)['scheme']}{' sampled' if options.sample else ''}"
    elif options.env:
        behaviour = {"policy": None}
        label = "random actions"
    else:
        label = options.behaviour
        parse_scheduler(label)
        behaviour = {"scheduler": label}
    description = {
        **behaviour,
        **environment_description(environment),
        "transitions": transitions,
        "seed": seed,
    }
    return Data(description, f"{label}-{transitions}", environment, recording=options)


def _existing_data(path: Path) -> Data:
    """The data of a file, or of a named dataset of the benchmark, which is made where missing."""
    name = path.as_posix()
    if path.exists() or name not in RECIPES:
        return _read_data(path, file_stamp(path))
    return _named_data(name, dataset_path(name).absolute())


@lru_cache(maxsize=256)
def _named_data(name: str, path: Path) -> Data:
    load_dataset(name)
    return replace(_read_data(path, file_stamp(path)), label=name.replace("/", "-"))


@lru_cache(maxsize=256)
def _read_data(
    path: Path,
    stamp: tuple[int, ...],  # noqa: ARG001 - a key of the cache
) -> Data:
    dataset = Dataset.read(path)
    description = {"fingerprint": dataset.fingerprint(), "transitions": len(dataset)}
    return Data(description, path.stem, dataset.environment, file=path.absolute())


def _configs(
    given: Mapping[str, Any], preset: str, data: Data | None
) -> tuple[LearnerConfig, TrainingConfig]:
    """The configurations of learner and training; the latter without the device."""
    of_learner = {name: value for name, value in given.items() if name in _LEARNER}
    learner = LearnerConfig.preset(preset, **of_learner)
    of_training = {
        name: value for name, value in given.items() if name in _TRAINING and name != "device"
    }
    training = TrainingConfig(**of_training)
    if given.get("device", "cpu") not in ("cpu", "cuda"):
        raise ValueError(
            f"device must be cpu or cuda, whichever is free, got {shown(given['device'])}"
        )
    return learner.for_data(offline=data is not None), training


def _environment(options: TrainingOptions, data: Data | None) -> Environment:
    """Where to train: as given, else where the data were recorded, else the preset ``paper``."""
    given = options.environment_given()
    recorded = data.environment if data else None
    if given is None:
        if recorded is not None and recorded.network is None:
            raise ValueError("env must name the environment that the data were recorded in")
        return recorded or Environment.of_network(RRMConfig())
    if given.network and recorded and recorded.network and recorded.team != given.team:
        raise ValueError(f"the data are of {recorded.team}, the network of {given.team}")
    return given


def _evaluating(options: EvaluationOptions, environment: Environment) -> Evaluating:
    """How to evaluate: in the training environment, or in a network changed by the options."""
    if options.env and options.env != environment.module:
        allowed = f"env must be that of training, {environment.module!r}"
        raise ValueError(f"{allowed}, got {shown(options.env)}")
    if environment.network is not None:
        environment = Environment.of_network(options.config(environment.network))
    else:
        options.require_no_network()
    episodes = bounded_integer("episodes", options.episodes, MAX_EPISODES)
    seed = bounded_integer("seed", options.seed, MAX_SEED, lowest=0)
    return Evaluating(episodes, seed, options.act_on, options.sample, environment)


def _check_policy(learner: LearnerConfig, trained_in: Environment, evaluating: Evaluating) -> None:
    """Check that the learner's policies can act as asked, and in the network of evaluation.

    Raises:
        ValueError: it has no network to act on like that, or the sizes differ.
    """
    if trained_in.network is None or evaluating.environment.network is None:
        return
    empty = torch.zeros(1, 1, 1, 1, 1)
    policy = Policy(
        learner,
        team_of(trained_in.network),
        [(empty, empty)],
        empty[0],
        empty[0],
        act_on=evaluating.act_on,
        sample=evaluating.sample,
    )
    policy.require(team_of(evaluating.environment.network))
