"""The keyword arguments with which the functions of `rrm_env.rrm_v0` describe a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

from rrm_env.config import RRMConfig, changed
from rrm_env.keywords import ConfigFields, Unpack

_Function = TypeVar("_Function", bound=Callable[..., Any])


class NetworkArguments(ConfigFields, total=False):
    """The keyword arguments that describe a network, all of them optional."""

    config: RRMConfig | None
    """A whole configuration in place of a preset."""
    preset: str | None
    """The name of a preset; ``paper`` where None."""
    max_cycles: int | None
    """PettingZoo's name for ``episode_length``."""


def arguments_shown(function: _Function) -> _Function:
    """Let `inspect.signature` and `help` list all `NetworkArguments` in place of ``**network``."""
    found = inspect.signature(function, eval_str=True)
    own = [parameter for parameter in found.parameters.values() if parameter.name != "network"]
    fields_of_config = inspect.signature(RRMConfig).parameters
    kinds = {
        name: kind
        for name, kind in get_type_hints(NetworkArguments).items()
        if name not in fields_of_config
    }
    others = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in kinds.items()
    ]
    shown = found.replace(parameters=[*own, *others, *fields_of_config.values()])
    vars(function)["__signature__"] = shown
    return function


def config_of(
    config: RRMConfig | None = None,
    preset: str | None = None,
    max_cycles: int | None = None,
    **overrides: Unpack[ConfigFields],
) -> RRMConfig:
    """The configuration that the arguments of `parallel_env` describe.

    Raises:
        TypeError, ValueError: those of `parallel_env`.
    """
    if max_cycles is not None:
        length = overrides.get("episode_length", max_cycles)
        if length != max_cycles:
            raise ValueError(
                f"max_cycles = {max_cycles} contradicts episode_length = {length}; give one"
            )
        overrides["episode_length"] = max_cycles
    if config is None:
        return RRMConfig.preset("paper" if preset is None else preset, **overrides)
    if not isinstance(config, RRMConfig):
        raise TypeError(f"config must be an RRMConfig, got {config!r}")
    if preset is not None:
        raise ValueError(f"preset = {preset!r} contradicts config = {config!r}; give one")
    return changed(config.as_dict(), overrides)
