"""Validation of the metadata that files contain: recorded behaviours and library versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from marl.checks import check_mapping, check_number, check_text
from rrm_env.checks import bounded_integer, shown


def check_behaviours(behaviours: Any, highest: int) -> None:
    """Check the list of behaviours in a dataset's metadata.

    Args:
        behaviours: for each id a mapping with ``name``, ``seed``, ``transitions`` and ``kpis``,
            each of which may be missing, and perhaps ``episodes``, lists of equal lengths by name;
            an empty list describes no behaviour.
        highest: the highest id in the dataset's rows.

    Raises:
        TypeError, ValueError: the list is not of this form, or ends before the id ``highest``.
    """
    if not isinstance(behaviours, Sequence) or isinstance(behaviours, str):
        raise TypeError(f"behaviours must be a list, got {shown(behaviours)}")
    if behaviours and highest >= len(behaviours):
        raise ValueError(
            f"behaviour must be from 0 to {len(behaviours) - 1}, which the metadata describe, "
            f"got {highest}"
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
        _check_episodes(f"{where}: episodes", known.get("episodes", {}))


def _check_episodes(where: str, episodes: Any) -> None:
    """Check the values of single episodes: a list of numbers for each name, all equally long."""
    lengths = set()
    for name, values in check_mapping(where, episodes).items():
        if not isinstance(values, list):
            raise TypeError(f"{where}: {name} must be a list, got {shown(values)}")
        for value in values:
            check_number(f"{where}: {name}", value)
        lengths.add(len(values))
    if len(lengths) > 1:
        raise ValueError(f"{where} must hold lists of one length, got {sorted(lengths)}")


def check_versions(versions: Any) -> None:
    """Raise TypeError or ValueError unless ``versions`` maps names to texts."""
    for name, version in check_mapping("versions", versions).items():
        check_text(f"versions: {name}", version)
