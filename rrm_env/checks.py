"""Checks of arguments, and the parts of their error messages.

First come the texts: how values, long texts and misspelt names appear in an error. Then come the
checks of numbers.
"""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

# --- Texts of error messages ---


def shown(value: Any) -> str:
    """`repr` of a value for an error message, shortened.

    It raises no error of its own, as `repr` does for an integer of 5000 digits.
    """
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} without a repr: {type(error).__name__}>"
    return shortened(text)


def shortened(text: str) -> str:
    """A text for an error message, cut where it is long."""
    return text if len(text) <= 500 else f"{text[:200]}... ({len(text):,} characters)"


def nearest(name: str, known: Iterable[str]) -> str:
    """`name` quoted, followed by the closest known name, if there is one, and all known names."""
    known = list(known)
    close = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    suggestion = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{shown(name)}{suggestion}; allowed: {', '.join(known)}"


# --- Numbers ---


def as_integer(value: Any) -> int | None:
    """`value` as an int if it is one integer of any library, otherwise None.

    NumPy scalars and arrays without dimensions count as integers; truth values do not.
    """
    if type(value) is int:  # the common case, in every step
        return value
    if isinstance(value, (int, np.integer)):
        return None if isinstance(value, bool) else int(value)
    # Some libraries let truth values and arrays of one element through `operator.index`.
    if getattr(value, "shape", ()) != () or str(getattr(value, "dtype", "")).endswith("bool"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def bounded_integer(name: str, value: Any, highest: float = math.inf, lowest: int = 1) -> int:
    """`value` as an int within bounds.

    Raises:
        TypeError: it is no integer; the error calls it `name`.
        ValueError: it is out of bounds.
    """
    allowed = f"an integer of at least {lowest}" + (
        f" and at most {highest}" if highest < math.inf else ""
    )
    number = as_integer(value)
    if number is None:
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    if not lowest <= number <= highest:
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def bounded_number(name: str, value: Any, lowest: float, highest: float) -> float:
    """`value` as a float within bounds.

    Kernels are compiled for floats; an integer or a float32 would compile them again.

    Raises:
        TypeError: it is no real number; the error calls it `name`.
        ValueError: it is out of bounds.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number:
        raise TypeError(f"{name} must be a number from {lowest} to {highest}, got {shown(value)}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be from {lowest} to {highest}, got {shown(value)}")
    return float(value)
