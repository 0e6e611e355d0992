"""The command that trains graph policies, which run in networks of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from baselines.registry import split_options
from marl.cli.progress import Bar, progress
from marl.data.dataset import Dataset
from marl.graph.files import SUFFIX, write_policy
from marl.graph.network import GraphConfig, Parameters
from marl.graph.training import Progress, train_prices, train_prices_on
from marl.options import default_is
from rrm_env import RRMConfig, parse_settings
from rrm_env.checks import bounded_integer
from rrm_env.files import check_writable

DEFAULT_NETWORKS = ("paper",)


def network_of(text: str) -> RRMConfig:
    """A network from a preset's name and fields, such as ``paper:n_aps=8:n_ues=40``.

    Raises:
        TypeError, ValueError: no such preset or field, or a value that it does not allow.
    """
    name, options = split_options(text)
    settings = parse_settings(f"{key}={value}" for key, value in options)
    return RRMConfig.preset(name, **settings)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Train a graph policy, which runs in networks of any size: the scheduler graph:policy=FILE."""

    out: Path
    """File to write, such as policy.safetensors."""
    networks: Annotated[tuple[str, ...], default_is("paper")] = DEFAULT_NETWORKS
    """Networks to train in: presets, with fields behind colons (paper:n_aps=8:n_ues=40)."""
    data: Annotated[Path | None, default_is("simulate the networks")] = None
    """Train from this dataset alone, which says itself what network it is of."""
    clone: bool = False
    """Clone the dataset's decisions, instead of learning prices from its gains."""
    updates: int = 800
    """Gradient updates."""
    batch_size: int = 64
    """Gains or decisions in an update."""
    episodes: int = 4096
    """Training episodes of each network whose gains are seen."""
    seed: int = 0
    """Of initial parameters and batches."""
    n_neighbours: int = GraphConfig.n_neighbours
    """Neighbours of an AP whose gains are seen."""
    n_interferers: int = GraphConfig.n_interferers
    """The strongest of them, which a user's features list one by one."""
    width: int = GraphConfig.width
    """Features of users and APs in hidden layers."""
    rounds: int = GraphConfig.rounds
    """Rounds in which users and APs learn of one another."""

    def run(self) -> None:
        """Train, and write the policy's file."""
        if self.out.suffix != SUFFIX:
            raise ValueError(f"--out = {str(self.out)!r} must end in {SUFFIX}")
        out = check_writable("--out", self.out)
        for name in ("updates", "batch_size", "episodes"):
            bounded_integer(name, getattr(self, name), 10**9)
        bounded_integer("seed", self.seed, 2**63 - 1, 0)
        if self.clone and self.data is None:
            raise ValueError("--clone needs the decisions of a dataset: --data FILE")
        if self.data is not None and self.networks != DEFAULT_NETWORKS:
            raise ValueError("--networks does not go with --data: a dataset names its network")
        if not self.networks:
            raise ValueError("--networks must name at least one network")
        sizes = GraphConfig(**{item.name: getattr(self, item.name) for item in fields(GraphConfig)})
        networks = [network_of(text) for text in self.networks]
        with progress("updates", self.updates) as bar:
            parameters, reached = self._trained(networks, sizes, bar)
        write_policy(out, sizes, parameters, 0, {"options": self._options()})
        what = "loss of cloning" if self.clone else "bound of the score"
        print(f"wrote {out}; {what}: {reached[0]:.4g}")

    def _trained(
        self, networks: Sequence[RRMConfig], sizes: GraphConfig, bar: Bar
    ) -> tuple[Parameters, Sequence[float]]:
        """The parameters, and what training reached in its last twentieth."""
        last: list[Progress] = []

        def report(reached: Progress) -> None:
            bar.reach(reached.updates, self.updates)
            last[:] = [reached]

        how: dict[str, Any] = {
            "updates": self.updates,
            "batch_size": self.batch_size,
            "report": report,
        }
        if self.data is None:
            parameters = train_prices(networks, sizes, [self.seed], episodes=self.episodes, **how)
        else:
            dataset = Dataset.read(self.data)
            parameters = train_prices_on(dataset, sizes, [self.seed], clone=self.clone, **how)
        return parameters, last[0].reached

    def _options(self) -> dict[str, Any]:
        """The options that made the policy, for its file."""
        options: dict[str, Any] = {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in ("out", "data", "networks", *GraphConfig().as_dict())
        }
        if self.data is not None:
            return {**options, "data": self.data.name}
        return {**options, "networks": list(self.networks)}
