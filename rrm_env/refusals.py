"""Refusal of input that an environment would ignore: reset options and changed settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from rrm_env.checks import as_integer, nearest, shown
from rrm_env.config import RRMConfig

PLACES = ("ap_positions", "ue_positions", "association")
"""Options of `reset` that `Network.reset` takes as arguments."""


def is_option_of_api_tests(options: Any) -> bool:
    """Whether options are the ``{"options": 1}`` that PettingZoo's API tests pass."""
    is_dict = isinstance(options, Mapping)
    return is_dict and [*options] == ["options"] and as_integer(options["options"]) == 1


def check_reset_options(options: Any, allowed: Iterable[str] = ()) -> None:
    """Refuse options that `reset` would ignore.

    Raises:
        TypeError: ``options`` is neither a mapping nor None.
        ValueError: an option that is not in ``allowed``; the error names it.
    """
    if options is None:
        return
    if not isinstance(options, Mapping):
        raise TypeError(f"options must be a dict or None, got {shown(options)}")
    for name in options:
        if name not in allowed:
            text = name if isinstance(name, str) else shown(name)
            known = nearest(text, allowed) if allowed else f"{text!r}; allowed: none"
            raise ValueError(
                f"unknown option of reset {known}. Give settings when the environment is made"
            )


def places_in(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The positions and associations among checked options, as arguments of `Network.reset`."""
    return {name: options[name] for name in PLACES if name in options} if options else {}


class FixedSettings:
    """Mixin that refuses to change an environment's settings, since changes would do nothing."""

    _SETTINGS = frozenset({"config", "render_mode", "autoreset_mode", "num_envs", "network"})
    _OF_CONFIG = frozenset({item.name for item in fields(RRMConfig)} | {"preset", "flat_actions"})

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute.

        Raises:
            AttributeError: a setting that has its value already, or a field of `RRMConfig`.
        """
        if name in self._OF_CONFIG or (name in self._SETTINGS and name in vars(self)):
            raise AttributeError(
                f"{name} cannot be changed to {shown(value)}: settings are fixed when the "
                "environment is made; make another one"
            )
        super().__setattr__(name, value)
