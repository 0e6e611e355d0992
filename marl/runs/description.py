"""A run's description: its schema, and which runs are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from marl.config import LearnerConfig, TrainingConfig, environment_steps
from marl.data.metadata import (
    check_environment,
    check_mapping,
    check_number,
    check_text,
    check_versions,
)
from marl.data.storage import read_json
from marl.learner.heads import Heads
from marl.team import Team
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, shown

_SECTIONS = ("scheme", "learner", "training", "seeds", "team", "environment", "data")


FREE = ("updates", "device")
"""Training options that may change when a run is resumed."""


def check_run(description: Any) -> None:
    """Refuse what describes no training run (ValueError, TypeError)."""
    missing = (
        [key for key in _SECTIONS if key not in description]
        if isinstance(description, dict)
        else [*_SECTIONS]
    )
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    check_text("scheme", description["scheme"])
    learner = LearnerConfig.from_dict(check_mapping("learner", description["learner"]))
    _check_training(check_mapping("training", description["training"]))
    seeds = description["seeds"]
    if not isinstance(seeds, list) or not seeds:
        raise ValueError(f"seeds must be a list of at least one, got {shown(seeds)}")
    if len({bounded_integer("seeds", seed, 2**63 - 1, lowest=0) for seed in seeds}) < len(seeds):
        raise ValueError(f"seeds must be all different, got {shown(seeds)}")
    sizes = check_mapping("team", description["team"])
    if sizes.keys() != (names := {item.name for item in fields(Team)}):
        raise ValueError(f"team must have {', '.join(sorted(names))}, got {shown([*sizes])}")
    team = Team(
        **{name: bounded_integer(f"team: {name}", size, 2**31 - 1) for name, size in sizes.items()}
    )
    Heads(learner.paradigm, team, learner.common_features)
    check_environment(description["environment"], team)
    if description["data"] is not None:
        check_mapping("data", description["data"])
    check_versions(description.get("versions", {}))


def _check_training(options: Mapping[str, Any]) -> None:
    known = [item.name for item in fields(TrainingConfig)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"unknown training field {shown(unknown[0])}; allowed: {', '.join(known)}")
    check_text("device", options.get("device", "cpu"))
    TrainingConfig(**{**options, "device": "cpu"})  # where it was trained need not be here


def check_record(record: Any, last: int) -> None:
    """Refuse what is no record of a run's log, one after the update ``last`` (ValueError, TypeError)."""
    values = dict(check_mapping("record", record))
    if (update := bounded_integer("update", values.pop("update", None), 2**63 - 1)) <= last:
        raise ValueError(f"update must be above {last}, that of the line before, got {update}")
    curves = check_mapping("evaluation", values.pop("evaluation", {}))
    for name, value in {**values, **curves}.items():
        for number in value if isinstance(value, list) else [value]:
            check_number(name, number)
    if (
        len(lengths := {len(value) if isinstance(value, list) else 0 for value in curves.values()})
        > 1
        or 0 in lengths
    ):
        raise ValueError(
            f"evaluation must give one number per seed for every KPI, got {shown(curves)}"
        )


def is_online(description: Mapping[str, Any]) -> bool:
    """Whether a run collects its transitions itself, and has no dataset."""
    return description["data"] is None


def steps_taken(description: Mapping[str, Any], updates: int) -> int:
    """Environment steps that each seed of an online run has taken after so many updates."""
    learner = LearnerConfig.from_dict(description["learner"])
    training = TrainingConfig(**{**description["training"], "device": "cpu"})
    return environment_steps(updates, learner, training)


def experience(description: Mapping[str, Any], updates: int | None = None) -> str:
    """The updates of each seed of a run (those that it was started for where None), and what they learned from."""
    done = int(description["training"]["updates"]) if updates is None else updates
    if is_online(description):
        return f"{done:,} updates, {steps_taken(description, done):,} environment steps"
    return f"{done:,} updates from {description['data'].get('transitions', 0):,} transitions"


def identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same in a run's description as long as it is that run."""
    training = {name: value for name, value in description["training"].items() if name not in FREE}
    kept: dict[str, Any] = json.loads(
        json.dumps({**{name: description[name] for name in _SECTIONS}, "training": training})
    )
    return kept


def completed(description: Mapping[str, Any]) -> dict[str, Any]:
    """An identity with the options that did not exist yet when it was written, at their defaults: those are what it did."""
    environment = description["environment"]
    if environment.get("kind") == "network":
        environment = {**environment, "config": RRMConfig(**environment["config"]).as_dict()}
    defaults = {name: value for name, value in asdict(TrainingConfig()).items() if name not in FREE}
    return {
        **description,
        "learner": LearnerConfig.from_dict(description["learner"]).as_dict(),
        "training": {**defaults, **description["training"]},
        "environment": environment,
    }


def differences(name: str, before: Any, now: Any) -> list[str]:
    """What changed, by the innermost names."""
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return [text for key in keys for text in differences(key, before.get(key), now.get(key))]
    return [f"{name} was {shown(before)}, now {shown(now)}".removeprefix(" was ")]


CHECKPOINT, DESCRIPTION = "checkpoint.safetensors", "config.json"
"""Files of a run's folder: every tensor of the learner, and what it is."""


class RunError(ValueError):
    """A folder that holds no readable run; the message says what is wrong."""


def describe(run: str | Path) -> dict[str, Any]:
    """What a run's folder says it is.

    Raises:
        RunError: no such folder, or its config cannot be read or describes no run.
    """
    path = Path(run) / DESCRIPTION
    try:
        description: dict[str, Any] = read_json(path)
    except OSError as error:
        raise RunError(
            f"{str(run)!r} holds no run: {path.name} {error.strerror or error}"
        ) from None
    except ValueError as error:
        raise RunError(f"{str(path)!r} is no JSON: {error}") from None
    try:
        check_run(description)
    except (TypeError, ValueError) as error:
        raise RunError(f"{str(path)!r} describes no run: {error}") from None
    return description
