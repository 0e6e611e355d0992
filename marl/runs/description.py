"""The description of a training run: its file, its schema, and when two runs are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from marl.checks import check_mapping, check_number, check_text
from marl.config import LearnerConfig, TrainingConfig, environment_steps
from marl.data.metadata import check_versions
from marl.data.storage import read_json
from marl.environment import Environment
from marl.learner.heads import Heads
from marl.team import Team, check_common_features
from rrm_env.checks import bounded_integer, shown

_SECTIONS = ("scheme", "learner", "training", "seeds", "team", "environment", "data")

FREE = ("updates", "device")
"""Training options that may change when a run is resumed."""


def check_run(description: Any) -> None:
    """Check that a value is the description of a training run.

    Raises:
        TypeError, ValueError: it is not; the message names the field and what is allowed.
    """
    found = description if isinstance(description, dict) else {}
    missing = [name for name in _SECTIONS if name not in found]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    check_text("scheme", description["scheme"])
    learner = LearnerConfig.from_dict(check_mapping("learner", description["learner"]))
    training = _checked_training(check_mapping("training", description["training"]))
    environment_steps(training.updates, learner, training)  # refuses values that do not go together
    seeds = description["seeds"]
    if not isinstance(seeds, list) or not seeds:
        raise ValueError(f"seeds must be a list of at least one, got {shown(seeds)}")
    if len({bounded_integer("seeds", seed, 2**63 - 1, lowest=0) for seed in seeds}) < len(seeds):
        raise ValueError(f"seeds must be all different, got {shown(seeds)}")
    sizes = check_mapping("team", description["team"])
    if sizes.keys() != (names := {item.name for item in fields(Team)}):
        raise ValueError(f"team must have {', '.join(sorted(names))}, got {shown([*sizes])}")
    checked = {
        name: bounded_integer(f"team: {name}", size, 2**31 - 1) for name, size in sizes.items()
    }
    team = Team(**checked)
    Heads.of(learner, team)  # refuses sizes that do not fit
    environment = Environment.from_dict(description["environment"])
    environment.require(team)
    check_common_features(learner.common_features, environment.network)
    if description["data"] is not None:
        check_mapping("data", description["data"])
    check_versions(description.get("versions", {}))


def _checked_training(options: Mapping[str, Any]) -> TrainingConfig:
    """The `TrainingConfig` of options; TypeError or ValueError where they are not those of one."""
    known = [item.name for item in fields(TrainingConfig)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"unknown training field {shown(unknown[0])}; allowed: {', '.join(known)}")
    check_text("device", options.get("device", "cpu"))
    return TrainingConfig(**options)


def check_entry(record: Any, last: int) -> None:
    """Check an entry of a run's log.

    Args:
        record: the entry: its update, numbers or lists of numbers by name, and the KPIs of an
            evaluation with one number per seed.
        last: the update of the entry before.

    Raises:
        TypeError, ValueError: it is not such an entry, or not one of a later update than ``last``.
    """
    values = dict(check_mapping("record", record))
    if (update := bounded_integer("update", values.pop("update", None), 2**63 - 1)) <= last:
        raise ValueError(f"update must be above {last}, that of the line before, got {update}")
    curves = check_mapping("evaluation", values.pop("evaluation", {}))
    for name, value in {**values, **curves}.items():
        for number in value if isinstance(value, list) else [value]:
            check_number(name, number)
    lengths = {len(value) if isinstance(value, list) else 0 for value in curves.values()}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(
            f"evaluation must give one number per seed for every KPI, got {shown(curves)}"
        )


def is_online(description: Mapping[str, Any]) -> bool:
    """Whether a run collects its own transitions instead of learning from a dataset."""
    return description["data"] is None


def steps_taken(description: Mapping[str, Any], updates: int) -> int:
    """Environment steps of each seed of an online run after ``updates`` updates."""
    learner = LearnerConfig.from_dict(description["learner"])
    training = TrainingConfig(**description["training"])
    return environment_steps(updates, learner, training)


def experience(description: Mapping[str, Any], updates: int | None = None) -> str:
    """A text that states the updates of each seed and the amount of data they learned from.

    Args:
        description: the run's description.
        updates: the updates done; all planned ones where None.
    """
    done = int(description["training"]["updates"]) if updates is None else updates
    if is_online(description):
        return f"{done:,} updates, {steps_taken(description, done):,} environment steps"
    return f"{done:,} updates from {description['data'].get('transitions', 0):,} transitions"


def identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's description that may not change when the run is resumed.

    It has the values that JSON gives back, so that it can be compared with one from a file.
    """
    training = {name: value for name, value in description["training"].items() if name not in FREE}
    sections = {name: description[name] for name in _SECTIONS}
    kept: dict[str, Any] = json.loads(json.dumps({**sections, "training": training}))
    return kept


def differences(name: str, before: Any, now: Any) -> list[str]:
    """Texts that state each changed value by its innermost name, such as "discount was 1, now 2".

    ``name`` is the name of the value itself.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        return [text for key in keys for text in differences(key, before.get(key), now.get(key))]
    return [f"{name} was {shown(before)}, now {shown(now)}".removeprefix(" was ")]


CHECKPOINT, DESCRIPTION = "checkpoint.safetensors", "config.json"
"""Files in a run's folder: all tensors of the learner, and the description."""


class RunError(ValueError):
    """A folder does not hold a readable run; the message says why."""


def describe(run: str | Path) -> dict[str, Any]:
    """Read and check the description in a run's folder.

    Raises:
        RunError: there is no description, or it cannot be read or does not describe a run.
    """
    path = Path(run) / DESCRIPTION
    try:
        description: dict[str, Any] = read_json(path)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{str(run)!r} holds no run: {path.name} {reason}") from None
    except ValueError as error:
        raise RunError(f"{str(path)!r} is no JSON: {error}") from None
    try:
        check_run(description)
    except (TypeError, ValueError) as error:
        raise RunError(f"{str(path)!r} describes no run: {error}") from None
    return description
