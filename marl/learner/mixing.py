"""How the values of several heads become the values that are trained, in each paradigm."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Mix = Callable[[Tensor], Tensor]
"""A function from values of heads (..., K, B) to the values that are trained.

These are (..., K, B) where each head is trained by itself, and (..., 1, B) where heads are mixed.
"""


def apart(values: Tensor) -> Tensor:
    """The values of the heads as they are (independent and centralised learners)."""
    return values


def total(values: Tensor) -> Tensor:
    """The sum over heads, for CTDE (Eqs. 23, 24).

    This is value decomposition (P. Sunehag et al., "Value-decomposition networks for cooperative
    multi-agent learning", AAMAS 2018).
    """
    return values.sum(-2, keepdim=True)
