"""Every scheduler by name, and the one parser of ``name:option=value:option=value``."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from baselines.debts import Debts
from baselines.fluid import Fluid
from baselines.fplinq import FPLinQ
from baselines.greedy import Greedy
from baselines.greedy_max_weight import GreedyMaxWeight
from baselines.itlinq import ITLinQ
from baselines.long_memory import LongMemory
from baselines.max_weight import MaxWeight
from baselines.power_control import PowerControl
from baselines.proportional_fair import ProportionalFair
from baselines.random_walk import RandomWalk
from baselines.reuse import Reuse
from baselines.scheduler import Baseline
from baselines.tdm import TDM, NetworkTDM
from baselines.turn_taking import TurnTaking
from baselines.wmmse import WMMSE
from rrm_env.checks import nearest
from rrm_env.optional import reason

REGISTRY: dict[str, type[Baseline]] = {
    "random_walk": RandomWalk,
    "greedy": Greedy,
    "tdm": TDM,
    "network_tdm": NetworkTDM,
    "proportional_fair": ProportionalFair,
    "itlinq": ITLinQ,
    "max_weight": MaxWeight,
    "greedy_max_weight": GreedyMaxWeight,
    "turn_taking": TurnTaking,
    "reuse": Reuse,
    "power_control": PowerControl,
    "fplinq": FPLinQ,
    "wmmse": WMMSE,
    "long_memory": LongMemory,
    "debts": Debts,
    "fluid": Fluid,
}
"""Every baseline by name."""

COMPARED = (
    "random_walk",
    "greedy",
    "tdm",
    "network_tdm",
    "proportional_fair",
    "itlinq",
    "max_weight",
    "greedy_max_weight",
    "turn_taking",
)
"""The baselines that are compared where no scheduler is named."""


ENTRY_POINTS = "rrm_env.schedulers"
"""Group of entry points by which an installed package adds schedulers of its own, by name."""


def added_schedulers() -> dict[str, EntryPoint]:
    """Schedulers that installed packages add, by name; those of `REGISTRY` keep their names."""
    found = entry_points(group=ENTRY_POINTS)
    return {entry.name: entry for entry in found if entry.name not in REGISTRY}


def split_options(text: str) -> tuple[str, list[tuple[str, str | None]]]:
    """The parts of ``name:option=value:option=value``.

    Returns:
        the name, and every option with its value, None where it has no ``=``.
    """
    name, *options = text.split(":")
    parts = (option.partition("=") for option in options)
    return name, [(key, value if separator else None) for key, separator, value in parts]


def parse_scheduler(text: str) -> Baseline:
    """A scheduler from its name and options.

    Args:
        text: such as ``itlinq`` or ``itlinq:tolerance_db=0:exponent=0.5``.
            Names are those of `REGISTRY` and `added_schedulers`.

    Raises:
        ValueError: an unknown scheduler or option (the error names the nearest one), a value that
            it does not take, an option given twice, or a scheduler whose package cannot be
            imported.
        TypeError: a value that the scheduler refuses.
    """
    name, options = split_options(text)
    found: Any = REGISTRY.get(name)
    if found is None:
        added = added_schedulers()
        if name not in added:
            raise ValueError(f"unknown scheduler {nearest(name, [*REGISTRY, *added])}")
        found = _loaded(added[name])
    parameters = inspect.signature(found).parameters
    arguments: dict[str, Any] = {}
    for key, given in options:
        if key not in parameters:
            raise ValueError(f"unknown option of {name}: {nearest(key, parameters)}")
        if key in arguments:
            raise ValueError(f"{key} of {name} is given twice")
        default = parameters[key].default
        kind = float if default is None else type(default)
        value = given or ""
        try:
            arguments[key] = (
                {"true": True, "false": False}[value.lower()] if kind is bool else kind(value)
            )
        except (KeyError, ValueError):
            raise ValueError(f"{key} of {name} must be {kind.__name__}, got {value!r}") from None
    scheduler: Baseline = found(**arguments)
    return scheduler


def _loaded(entry: EntryPoint) -> Any:
    """What an entry point names."""
    try:
        return entry.load()
    except (Exception, SystemExit) as error:  # a package of others may raise anything
        raise ValueError(
            f"scheduler {entry.name}, {entry.value}, cannot be imported ({reason(error)})"
        ) from error
