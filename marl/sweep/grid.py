"""Declaration of a sweep, in TOML or Python: a grid of options and seeds.

The options are those of the commands collect, train and evaluate; `marl.sweep.run` runs the sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from marl.config import TrainingConfig
from marl.data.collect import MAX_SEEDS
from marl.environment import MAX_SEED
from marl.sweep.cells import Cell, Point
from marl.sweep.points import OPTIONS, check_options, make_point
from rrm_env.checks import bounded_integer, nearest, shown

MAX_POINTS = 10_000
"""Most points that a grid may have."""


@dataclass(frozen=True)
class Sweep:
    """A grid of learners.

    An option whose value is a list is an axis of the grid. ``hidden_sizes`` takes a list as one
    value, so its axis is a list of lists.

    Args:
        train: options of ``python -m marl train``, spelled with underscores; ``set`` is a mapping
            of network fields.
        collect: options of ``collect``, which records the data. Where None, learners train on the
            option ``dataset`` of ``train``, or online without one.
        evaluate: options of ``evaluate``.
        seeds: the training seeds, or their number, counted from 0.
        seeds_per_cell: how many of them one learner trains side by side; all where None.

    Raises:
        TypeError, ValueError: an unknown option (the nearest known is named), or a value that its
            command would refuse; the message names section, option, value and what is allowed.
    """

    train: Mapping[str, Any] = field(default_factory=dict)
    collect: Mapping[str, Any] | None = None
    evaluate: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | Sequence[int] = 1
    seeds_per_cell: int | None = None

    def __post_init__(self) -> None:
        for section in OPTIONS:
            check_options(section, self._section(section))
        if self.seeds_per_cell is not None:
            bounded_integer("seeds_per_cell", self.seeds_per_cell)
        size = prod(len(values) for values in self._axes.values())
        if size > MAX_POINTS:
            axes = " × ".join(
                f"{len(values)} of {name}" for (_, name), values in self._axes.items()
            )
            raise ValueError(
                f"the grid has {size:,} points, allowed: up to {MAX_POINTS:,}; it is {axes}"
            )
        _ = self.all_seeds, self.points  # making them checks them

    @classmethod
    def read(cls, path: str | Path) -> Sweep:
        """Read a sweep from a TOML file.

        Above the sections collect, train and evaluate stand ``seeds`` and ``seeds_per_cell``.

        Raises:
            TypeError, ValueError: there is no such file, it is no TOML, or as for the class.
        """
        try:
            import tomllib
        except ImportError:  # before Python 3.11
            import tomli as tomllib  # type: ignore[no-redef,import-not-found,unused-ignore]

        known = [item.name for item in fields(cls)]
        try:
            declared = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            for name in declared:
                if name not in known:
                    raise ValueError(f"unknown section or option {nearest(name, known)}")
            return cls(**declared)
        except OSError as error:
            raise ValueError(f"{str(path)!r} cannot be read: {error.strerror or error}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{str(path)!r} is no TOML: {error}") from None
        except RecursionError:
            raise ValueError(
                f"{str(path)!r} cannot be read: values are nested too deeply"
            ) from None
        except (TypeError, ValueError) as error:
            raise type(error)(f"{str(path)!r}: {error}") from None

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """The points of the grid; the last axis varies fastest."""
        return tuple(self._point(values) for values in product(*self._axes.values()))

    @cached_property
    def all_seeds(self) -> tuple[int, ...]:
        """The training seeds."""
        if isinstance(self.seeds, (list, tuple)):
            seeds = tuple(bounded_integer("seeds", seed, MAX_SEED, lowest=0) for seed in self.seeds)
            if not seeds or len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds must be at least one, all different, got {self.seeds}")
            return seeds
        return tuple(range(bounded_integer("seeds", self.seeds, MAX_SEEDS)))

    def cells(self, point: Point) -> list[Cell]:
        """A point's cells, which share out its seeds in order."""
        size = self.seeds_per_cell or len(self.all_seeds)
        return [
            Cell(point, self.all_seeds[start : start + size])
            for start in range(0, len(self.all_seeds), size)
        ]

    @property
    def varied(self) -> list[str]:
        """Names of the options that vary, with the section where two share a name."""
        return [self._label(*axis) for axis in self._axes]

    @property
    def device(self) -> str:
        """The device to train on, cpu or cuda."""
        return str(self.train.get("device", TrainingConfig.device))

    # --- Inside ---

    def _section(self, name: str) -> Mapping[str, Any]:
        section: Mapping[str, Any] | None = getattr(self, name)
        return {} if section is None else section

    @cached_property
    def _axes(self) -> dict[tuple[str, str], Sequence[Any]]:
        """Values of the axes by section and option."""
        return {
            (section, name): _axis(section, name, values)
            for section in OPTIONS
            for name, values in self._section(section).items()
            if _is_axis(name, values)
        }

    def _label(self, section: str, name: str) -> str:
        return f"{section}.{name}" if sum(other == name for _, other in self._axes) > 1 else name

    def _point(self, values: tuple[Any, ...]) -> Point:
        chosen = dict(zip(self._axes, values, strict=True))
        options = {section: dict(self._section(section)) for section in OPTIONS}
        for (section, name), value in chosen.items():
            options[section][name] = value
        varied = {self._label(*axis): value for axis, value in chosen.items()}
        return make_point(
            varied,
            options["collect"] if self.collect is not None else None,
            options["train"],
            options["evaluate"],
        )


def _is_axis(name: str, value: Any) -> bool:
    """Whether an option's value lists several values."""
    if not isinstance(value, (list, tuple)):
        return False
    return name != "hidden_sizes" or any(isinstance(item, (list, tuple)) for item in value)


def _axis(section: str, name: str, values: Sequence[Any]) -> Sequence[Any]:
    """The values of an axis, checked to be different and not too many."""
    if name == "device":
        raise ValueError(
            f"[{section}] device must be one for all cells, got {list(values)}: "
            "where a cell runs is no property of it"
        )
    if not values:
        raise ValueError(f"[{section}] {name} is an axis without values: give at least one")
    if len(values) > MAX_POINTS:  # comparing them below takes quadratic time
        raise ValueError(
            f"[{section}] {name} has {len(values):,} values, allowed: up to {MAX_POINTS:,}"
        )
    for k, value in enumerate(values):
        if value in values[:k]:
            raise ValueError(f"[{section}] {name} holds {shown(value)} twice")
    return values
