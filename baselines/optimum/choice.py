"""What the searches for the best joint action have in common."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Choice(NamedTuple):
    """A joint action for each of n time blocks."""

    value: Floats
    """(n,) its weighted sum of rates."""
    bound: Floats
    """(n,) what no joint action exceeds; infinite where the search proves nothing."""
    served: Integers
    """(n, I) the user of each AP, or `SILENT`."""
    rate: Floats
    """(n, I) the rates of those users, bit/s/Hz."""
    level: Integers | None = None
    """(n, I) the power level of each AP, `SILENT` where it is; None where all have one power."""


class Search(Protocol):
    """Finds joint actions of high weighted rate in the time blocks of an episode."""

    shape: tuple[int, int, int]
    """n blocks, I APs, J users."""

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:
        """In each block a joint action of high sum of weight (J,) times rate.

        Args:
            weight: of each user.
            known: (n, I) joint actions, none of which the result falls below.
        """
        ...
