"""What files say of themselves, checked before anybody acts on it: a dataset's environment and behaviours, a run's description."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from marl.config import LearnerConfig, TrainingConfig, environment_steps
from marl.paradigms import Heads, Team, team_of
from rrm_env import RRMConfig
from rrm_env.config import shown
from rrm_env.files import is_utf8
from rrm_env.network import bounded_integer

_SECTIONS = ("scheme", "learner", "training", "seeds", "team", "environment", "data")
FREE = ("updates", "device")
"""Training options that may change when a run is resumed."""


def check_environment(environment: Any, team: Team) -> None:
    """Refuse what describes no environment, or a network of other sizes (ValueError, TypeError)."""
    if not _mapping("environment", environment):
        return
    kind = environment.get("kind")
    if kind not in ("network", "parallel"):
        raise ValueError(f"environment: kind must be 'network' or 'parallel', got {shown(kind)}")
    if kind == "parallel":
        check_text("environment: name", environment.get("name"))
        return
    try:
        found = team_of(RRMConfig(**_mapping("config", environment.get("config"))))
    except (TypeError, ValueError) as error:
        raise type(error)(f"environment: {error}") from None
    if found != team:
        raise ValueError(f"environment: its config is of {found}, the arrays are of {team}")


def check_behaviours(behaviours: Any, highest: int) -> None:
    """Refuse a list of behaviours that is none, or lacks one of the rows' (ValueError, TypeError).

    Args:
        behaviours: per id a mapping with ``name``, ``seed``, ``transitions`` and ``kpis``, each of which may be missing; or no ids at all.
        highest: the highest id of a row.
    """
    if not isinstance(behaviours, Sequence) or isinstance(behaviours, str):
        raise TypeError(f"behaviours must be a list, got {shown(behaviours)}")
    if behaviours and highest >= len(behaviours):
        raise ValueError(f"behaviour must be from 0 to {len(behaviours) - 1}, which the metadata describe, got {highest}")
    for k, behaviour in enumerate(behaviours):
        where = f"behaviours[{k}]"
        known = _mapping(where, behaviour)
        if "name" in known:
            check_text(f"{where}: name", known["name"])
        if known.get("seed") is not None:
            bounded_integer(f"{where}: seed", known["seed"], 2**64 - 1, lowest=0)
        if "transitions" in known:
            bounded_integer(f"{where}: transitions", known["transitions"], 2**63 - 1, lowest=0)
        for name, value in _mapping(f"{where}: kpis", known.get("kpis", {})).items():
            _number(f"{where}: kpis: {name}", value)


def check_versions(versions: Any) -> None:
    """Refuse what is no mapping of names to versions (TypeError)."""
    for name, version in _mapping("versions", versions).items():
        check_text(f"versions: {name}", version)


def check_run(description: Any) -> None:
    """Refuse what describes no training run (ValueError, TypeError)."""
    missing = [key for key in _SECTIONS if key not in description] if isinstance(description, dict) else [*_SECTIONS]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    check_text("scheme", description["scheme"])
    learner = LearnerConfig.from_dict(_mapping("learner", description["learner"]))
    _check_training(_mapping("training", description["training"]))
    seeds = description["seeds"]
    if not isinstance(seeds, list) or not seeds:
        raise ValueError(f"seeds must be a list of at least one, got {shown(seeds)}")
    if len({bounded_integer("seeds", seed, 2**63 - 1, lowest=0) for seed in seeds}) < len(seeds):
        raise ValueError(f"seeds must be all different, got {shown(seeds)}")
    sizes = _mapping("team", description["team"])
    if sizes.keys() != (names := {item.name for item in fields(Team)}):
        raise ValueError(f"team must have {', '.join(sorted(names))}, got {shown([*sizes])}")
    team = Team(**{name: bounded_integer(f"team: {name}", size, 2**31 - 1) for name, size in sizes.items()})
    Heads(learner.paradigm, team, learner.common_features)
    check_environment(description["environment"], team)
    if description["data"] is not None:
        _mapping("data", description["data"])
    check_versions(description.get("versions", {}))


def _check_training(options: Mapping[str, Any]) -> None:
    known = [item.name for item in fields(TrainingConfig)]
    if unknown := [name for name in options if name not in known]:
        raise ValueError(f"unknown training field {shown(unknown[0])}; allowed: {', '.join(known)}")
    check_text("device", options.get("device", "cpu"))
    TrainingConfig(**{**options, "device": "cpu"})  # where it was trained need not be here


def check_record(record: Any, last: int) -> None:
    """Refuse what is no record of a run's log, one after the update ``last`` (ValueError, TypeError)."""
    values = dict(_mapping("record", record))
    if (update := bounded_integer("update", values.pop("update", None), 2**63 - 1)) <= last:
        raise ValueError(f"update must be above {last}, that of the line before, got {update}")
    curves = _mapping("evaluation", values.pop("evaluation", {}))
    for name, value in {**values, **curves}.items():
        for number in value if isinstance(value, list) else [value]:
            _number(name, number)
    if len(lengths := {len(value) if isinstance(value, list) else 0 for value in curves.values()}) > 1 or 0 in lengths:
        raise ValueError(f"evaluation must give one number per seed for every KPI, got {shown(curves)}")


# --- Experience ---


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


# --- Equal descriptions ---


def identity(description: Mapping[str, Any]) -> dict[str, Any]:
    """What stays the same in a run's description as long as it is that run."""
    training = {name: value for name, value in description["training"].items() if name not in FREE}
    kept: dict[str, Any] = json.loads(json.dumps({**{name: description[name] for name in _SECTIONS}, "training": training}))
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
    return [f"{name} was {before!r}, now {now!r}".removeprefix(" was ")]


# --- Kinds of values ---


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a mapping of names, got {shown(value)}")
    return value


def check_text(name: str, value: Any) -> None:
    """Refuse what is no text (TypeError), or one that UTF-8 cannot hold (ValueError)."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {shown(value)}")
    if not is_utf8(value):
        raise ValueError(f"{name} must be a text that UTF-8 can hold, got {shown(value)}")


def _number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a finite number, got {shown(value)}")
    if not -1e300 < value < 1e300 or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {shown(value)}")
