"""What files say of themselves, checked before anybody acts on it: a dataset's environment and behaviours, a run's description."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from marl.team import Team, team_of
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, shown
from rrm_env.files import is_utf8


def check_environment(environment: Any, team: Team) -> None:
    """Refuse what describes no environment, or a network of other sizes (ValueError, TypeError)."""
    if not check_mapping("environment", environment):
        return
    kind = environment.get("kind")
    if kind not in ("network", "parallel"):
        raise ValueError(f"environment: kind must be 'network' or 'parallel', got {shown(kind)}")
    if kind == "parallel":
        check_text("environment: name", environment.get("name"))
        return
    try:
        found = team_of(RRMConfig(**check_mapping("config", environment.get("config"))))
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
        raise ValueError(
            f"behaviour must be from 0 to {len(behaviours) - 1}, which the metadata describe, got {highest}"
        )
    for k, behaviour in enumerate(behaviours):
        where = f"behaviours[{k}]"
        known = check_mapping(where, behaviour)
        if "name" in known:
            check_text(f"{where}: name", known["name"])
        if known.get("seed") is not None:
            bounded_integer(f"{where}: seed", known["seed"], 2**64 - 1, lowest=0)
        if "transitions" in known:
            bounded_integer(f"{where}: transitions", known["transitions"], 2**63 - 1, lowest=0)
        for name, value in check_mapping(f"{where}: kpis", known.get("kpis", {})).items():
            check_number(f"{where}: kpis: {name}", value)


def check_versions(versions: Any) -> None:
    """Refuse what is no mapping of names to versions (TypeError)."""
    for name, version in check_mapping("versions", versions).items():
        check_text(f"versions: {name}", version)


# --- Experience ---


# --- Equal descriptions ---


# --- Kinds of values ---


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """The value, if it is a mapping of names (TypeError)."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a mapping of names, got {shown(value)}")
    return value


def check_text(name: str, value: Any) -> None:
    """Refuse what is no text (TypeError), or one that UTF-8 cannot hold (ValueError)."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {shown(value)}")
    if not is_utf8(value):
        raise ValueError(f"{name} must be a text that UTF-8 can hold, got {shown(value)}")


def check_number(name: str, value: Any) -> None:
    """Refuse what is no number (TypeError), or none that is finite (ValueError)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a finite number, got {shown(value)}")
    if not -1e300 < value < 1e300 or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {shown(value)}")
