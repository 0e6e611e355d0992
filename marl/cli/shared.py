"""What several commands share: where tasks run, and the network of a run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from marl.engines import open_engine
from marl.engines.base import Engine, Listen
from marl.environment import Environment
from marl.options import default_is
from marl.runs.description import describe
from rrm_env import RRMConfig


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


def trained_in(run: Path) -> RRMConfig:
    """The network that a run was trained in (ValueError: it was another environment)."""
    environment = Environment.from_dict(describe(run)["environment"])
    if environment.network is None:
        raise ValueError(
            f"{str(run)!r} was trained in {environment.name!r}: name it with --env MODULE"
        )
    return environment.network
