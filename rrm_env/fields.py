"""The kinds of fields of a configuration: how they are declared, checked and read from text."""

from __future__ import annotations

import json
import math
import numbers
from dataclasses import Field, field
from typing import Any, TypeAlias

from rrm_env.checks import nearest, shown

Numbers: TypeAlias = tuple[float, ...]
"""Several numbers."""
Positions: TypeAlias = tuple[tuple[Any, ...], ...]
"""Positions (n, 2) or (K, n, 2) as nested tuples of floats."""


# --- Declarations ---


def bounded(
    default: Any,
    doc: str,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    none: bool = False,
) -> Any:
    """A numeric field in [low, high], or (low, high] with `above`; `none` allows None."""
    return field(
        default=default,
        metadata={"doc": doc, "low": low, "high": high, "above": above, "none": none},
    )


def choice(default: str, allowed: tuple[str, ...], doc: str) -> Any:
    """A field that holds one of the allowed words."""
    return field(default=default, metadata={"doc": doc, "allowed": allowed})


def numbers_of(doc: str, *, low: float, high: float, dimensions: tuple[int, ...]) -> Any:
    """A field that holds an array of numbers in [low, high] as nested tuples, or None."""
    about = {"doc": doc, "low": low, "high": high, "above": False, "none": True}
    return field(default=None, metadata={**about, "dimensions": dimensions})


def text_of(doc: str) -> Any:
    """A field that holds a text, or None."""
    return field(default=None, metadata={"doc": doc, "text": True, "none": True})


# --- Checks ---


def checked(item: Field[Any], value: Any) -> Any:
    """The value as plain Python of the field's type.

    Raises:
        TypeError, ValueError: the error names field, value and what is allowed.
    """
    about = item.metadata
    if "allowed" in about:
        if not isinstance(value, str) or value not in about["allowed"]:
            text = value if isinstance(value, str) else shown(value)
            raise ValueError(f"unknown {item.name} {nearest(text, about['allowed'])}")
        return str(value)
    if value is None and about.get("none"):
        return None
    if "text" in about:
        if not isinstance(value, str) or not value:
            raise TypeError(f"{item.name} must be {allowed_of(item)}, got {shown(value)}")
        return str(value)
    if "dimensions" in about:
        return _checked_array(item, value)
    return _checked_number(item, item.name, value)


def _checked_number(item: Field[Any], name: str, value: Any) -> int | float:
    low, high, above = item.metadata["low"], item.metadata["high"], item.metadata["above"]
    integral = item.type == "int"
    allowed = f"{'an integer' if integral else 'a finite number'} {_range(item)}"
    if isinstance(value, bool) or not isinstance(
        value, numbers.Integral if integral else numbers.Real
    ):
        raise TypeError(f"{name} must be {allowed}, got {shown(value)}")
    try:
        number = int(value) if isinstance(value, numbers.Integral) and integral else float(value)
    except OverflowError:  # an integer beyond float
        number = math.inf
    if not low <= number <= high or (above and number == low):  # large integers compare exactly
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return number


def _checked_array(item: Field[Any], value: Any) -> tuple[Any, ...]:
    """Nested tuples of floats, from nested sequences or a NumPy array; rows have equal lengths."""

    def tuples(name: str, part: Any) -> tuple[Any, int]:
        """A part of the value, and its number of dimensions."""
        if hasattr(part, "tolist"):
            part = part.tolist()
        if not isinstance(part, (list, tuple)):
            return _checked_number(item, name, part), 0
        rows = [tuples(f"{name}[{k}]", row) for k, row in enumerate(part)]
        found = tuple(row for row, _ in rows)
        depths = {depth for _, depth in rows}
        even = len(depths) == 1 and (depths == {0} or len({len(row) for row in found}) == 1)
        if not even:
            raise ValueError(
                f"{name} must be rows of equal length, at least one, got {shown(part)}"
            )
        return found, depths.pop() + 1

    whole, dimensions = tuples(item.name, value)
    if dimensions not in item.metadata["dimensions"]:
        raise ValueError(
            f"{item.name} must have {_dimensions(item)}, got {shown(value)} with {dimensions}"
        )
    return tuple(whole)


def _dimensions(item: Field[Any]) -> str:
    one_of = item.metadata["dimensions"]
    return " or ".join(map(str, one_of)) + (" dimension" if one_of == (1,) else " dimensions")


def _range(item: Field[Any]) -> str:
    about = item.metadata
    bounds = about["low"], about["high"]
    low, high = (str(bound) if isinstance(bound, int) else f"{bound:g}" for bound in bounds)
    first = "above" if about["above"] else "from"
    alone = about["none"] and "dimensions" not in about
    return f"{first} {low} up to {high}" + (", or None" if alone else "")


def allowed_of(item: Field[Any]) -> str:
    """What a field may hold, as error messages and the table of all options state it."""
    about = item.metadata
    if "allowed" in about:
        return ", ".join(f"`{word}`" for word in about["allowed"])
    if "text" in about:
        return "a text that is not empty, or None"
    if "dimensions" in about:
        return f"numbers {_range(item)} in {_dimensions(item)}, or None"
    return _range(item)


# --- Texts of command lines ---


def parsed(item: Field[Any], text: str) -> Any:
    """The value of a field from a text such as ``8``, ``none``, ``jakes`` or ``10,0,-10``.

    Positions are JSON: ``[[10, 20], [30, 40]]``. The value is not checked yet.

    Raises:
        ValueError: the text is not of the field's type.
    """
    about = item.metadata
    if "allowed" in about:
        return text
    if about.get("none") and text.lower() == "none":
        return None
    if "text" in about:
        return text
    integral = item.type == "int"
    try:
        if "dimensions" in about:
            return json.loads(text if text.lstrip().startswith("[") else f"[{text}]")
        return int(text) if integral else float(text)
    except ValueError:
        wanted = "an integer" if integral else "a number"
        if "dimensions" in about:
            wanted = "numbers with commas between them, or JSON"
        raise ValueError(f"{item.name} must be {wanted}, got {text!r}") from None
