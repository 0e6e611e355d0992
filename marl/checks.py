"""Checks of values that were read from a file, whose types nothing vouches for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rrm_env.checks import shown
from rrm_env.files import is_utf8


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
