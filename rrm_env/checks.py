"""Checks of arguments, and the texts that say what is wrong with them."""

from __future__ import annotations

import difflib
import math
import numbers
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np


def nearest(name: str, known: Iterable[str]) -> str:
    """`name` quoted, with the closest known name suggested where there is one, and all allowed names."""
    known = list(known)
    close = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    suggestion = f" (did you mean {close[0]!r}?)" if close else ""
    return f"{shown(name)}{suggestion}; allowed: {', '.join(known)}"


def shown(value: Any) -> str:
    """`repr` for error messages: never long, and never an error of its own, as that of an integer of 5000 digits is."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__} without a repr: {type(error).__name__}>"
    return shortened(text)


def as_integer(value: Any) -> int | None:
    """``value`` as an int if it is one integer of any library, and None if it is anything else.

    NumPy scalars and arrays without dimensions are integers here; truth values are not.
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


def shortened(text: str) -> str:
    """A text for an error message, cut where it is long."""
    return text if len(text) <= 500 else f"{text[:200]}... ({len(text):,} characters)"


def bounded_integer(name: str, value: Any, highest: float = math.inf, lowest: int = 1) -> int:
    """`value` as an int within bounds, or an error that names it."""
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
    """`value` as a float within bounds, or an error that names it.

    Kernels are compiled for floats; an integer or a float32 would compile them again.
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number:
        raise TypeError(f"{name} must be a number from {lowest} to {highest}, got {shown(value)}")
    if not lowest <= value <= highest:
        raise ValueError(f"{name} must be from {lowest} to {highest}, got {shown(value)}")
    return float(value)
