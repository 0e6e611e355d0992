"""What several commands share: how help states defaults, the network's options, where tasks run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from marl.engines import open_engine
from marl.engines.base import Engine, Listen
from marl.runs.description import describe
from rrm_env import RRMConfig, parse_settings


def default_is(meaning: str, *aliases: str, **more: Any) -> Any:
    """How help texts state a default: by what it means where the value itself, None or nothing, says little."""

    def hint(value: str) -> str:
        return f"(default: {meaning if value in ('None', '', repr('')) else value})"

    return tyro.conf.arg(help_behavior_hint=hint, aliases=aliases or None, **more)


PRESET = "--preset"
"""Understood for --network, as for ``python -m baselines``; not where --preset names hyperparameters."""


_settings = default_is("change none", name="set", metavar="FIELD=VALUE")


Settings = Annotated[tuple[str, ...], _settings]


@dataclass(frozen=True)
class EngineOptions:
    """Where tasks run."""

    engine: Annotated[Literal["local", "ray"] | None, default_is("this process alone")] = None
    """local: processes on this machine. ray: a Ray cluster."""
    workers: Annotated[int | None, default_is("one per core of the machine, or of the cluster")] = (
        None
    )
    """Tasks at once."""
    address: Annotated[str | None, default_is("start a cluster on this machine")] = None
    """With ray: the cluster's address, such as 10.0.0.1:6379, or auto for the one that this machine belongs to."""

    def open(self, listen: Listen) -> Engine:
        """The engine, which tells ``listen`` what happens (ValueError: options that do not go together, or no such cluster)."""
        return open_engine(self.engine, self.workers, self.address, listen)


def network_of(run: Path, preset: str | None, settings: tuple[str, ...]) -> RRMConfig:
    """The network named, or else the one a run was trained in, with fields changed."""
    changes = parse_settings(settings)
    if preset:
        return RRMConfig.preset(preset, **changes)
    environment = describe(run)["environment"]
    if environment.get("kind") != "network":
        raise ValueError(
            f"{str(run)!r} was trained in {environment.get('name')!r}: name it with --env MODULE"
        )
    return RRMConfig(**{**environment["config"], **changes})
