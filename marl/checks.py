"""Checks of values that come from files and may have any type."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rrm_env.checks import shown
from rrm_env.files import is_utf8


def check_mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return the value, or raise TypeError if it is not a mapping whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a mapping of names, got {shown(value)}")
    return value


def check_text(name: str, value: Any) -> None:
    """Raise TypeError if the value is not a string, ValueError if UTF-8 cannot encode it."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {shown(value)}")
    if not is_utf8(value):
        raise ValueError(f"{name} must be a text that UTF-8 can hold, got {shown(value)}")


def check_number(name: str, value: Any) -> None:
    """Raise TypeError if the value is not a number, ValueError if it is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a finite number, got {shown(value)}")
    if not -1e300 < value < 1e300 or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, got {shown(value)}")
