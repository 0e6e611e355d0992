"""Parts of several commands: the options of engines, and the network of a run."""

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
    """With ray: the cluster's address, such as 10.0.0.1:6379; auto: this machine's cluster."""

    def open(self, listen: Listen) -> Engine:
        """Open the engine, which calls ``listen`` with its events.

        Raises:
            ValueError: the options do not go together, or there is no such engine or cluster.
        """
        return open_engine(self.engine, self.workers, self.address, listen)


def trained_in(run: Path) -> RRMConfig:
    """The network that a run was trained in.

    Raises:
        ValueError: it was trained in another environment.
    """
    environment = Environment.from_dict(describe(run)["environment"])
    if environment.network is None:
        raise ValueError(
            f"{str(run)!r} was trained in {environment.name!r}: name it with --env MODULE"
        )
    return environment.network
