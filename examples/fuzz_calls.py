"""draws"""

from __future__ import annotations

from collections.abc import Callable, Iterator

SECTIONS: dict[str, Callable[[int, int], Iterator[tuple[str, str]]]] = {}
