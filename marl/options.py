"""What recordings, trainings and evaluations can be told, for the command line and for sweeps.

The rules about options that do not go together stand here. Messages name options as Python does;
where a class is of a command, tyro reads defaults and help texts from its fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.data.collect import collect, collect_parallel
from marl.data.dataset import Dataset
from marl.engines.base import Engine
from marl.environment import Environment
from marl.training.rollout import collect_run
from rrm_env import RRMConfig, Scheduler, parse_settings

DEFAULT_SCHEDULER = "itlinq"
"""Whose actions are recorded where nobody is named."""

PRESET = "--preset"
"""Understood for --network, as for ``python -m baselines``; not where it names hyperparameters."""


def default_is(meaning: str, *aliases: str, **more: Any) -> Any:
    """The help text of a default, by what it means where the value, None or nothing, says little."""

    def hint(value: str) -> str:
        return f"(default: {meaning if value in ('None', '', repr('')) else value})"

    return tyro.conf.arg(help_behavior_hint=hint, aliases=aliases or None, **more)


_settings = default_is("change none", name="set", metavar="FIELD=VALUE")
Settings = Annotated[tuple[str, ...], _settings]
"""Fields of the network to change, as a command line spells them."""

Changes = Annotated[Mapping[str, Any] | None, tyro.conf.Suppress, tyro.conf.Fixed]
"""Fields of the network to change, by name; no option of a command line."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Which network."""

    dashes: ClassVar[str] = ""
    """What stands before the names of options in messages: two hyphens in a command."""
    network: Annotated[str | None, default_is("paper", PRESET)] = None
    """Preset of the network: paper, correlated, wide or dense."""
    settings: Settings = ()
    """Fields of the network to change, such as n_ues=10."""
    changes: Changes = None
    """The same by name, instead of ``settings``."""

    def changed(self) -> dict[str, Any]:
        """The fields to change, with their values (ValueError: a text that is no FIELD=VALUE)."""
        return dict(parse_settings(self.settings) if self.changes is None else self.changes)

    def config(self, default: RRMConfig | None = None) -> RRMConfig:
        """The network named, or else the default, or else the preset ``paper``; with changes."""
        changes = self.changed()
        if self.network is None and default is not None:
            return RRMConfig(**{**default.as_dict(), **changes})
        return RRMConfig.preset(self.network or "paper", **changes)

    @property
    def of_network(self) -> list[str]:
        """The names of the options given that are of a network alone."""
        return [name for name, given in self._of_network().items() if given]

    def _of_network(self) -> dict[str, Any]:
        return {"set": self.settings or self.changes, "network": self.network}

    def _not_with(self, name: str, other: str, why: str = "") -> str:
        return " ".join(f"{self.dashes}{name} {why} does not go with {self.dashes}{other}".split())


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions(NetworkOptions):
    """Which network, or which other environment."""

    env: Annotated[str | None, default_is("the network")] = None
    """Another PettingZoo environment by module, with options after colons
    (mpe2.simple_spread_v3:max_cycles=50)."""

    def other_environment(self) -> Environment | None:
        """The environment that ``env`` names (ValueError: it goes with options of the network)."""
        if not self.env:
            return None
        if given := self.of_network:
            raise ValueError(self._not_with(given[0], "env", "is of the network and"))
        return Environment.of_module(self.env)

    def environment(self, default: RRMConfig | None = None) -> Environment:
        """The environment or the network named; ``default`` as for `config`."""
        return self.other_environment() or Environment.of_network(self.config(default))


@dataclass(frozen=True, kw_only=True)
class RecordingOptions(EnvironmentOptions):
    """What to record."""

    scheduler: Annotated[str | None, default_is(DEFAULT_SCHEDULER)] = None
    """Whose actions to record: a scheduler of python -m baselines, with options after colons
    (itlinq:tolerance_db=0, random_walk:silence=true)."""
    policy: Annotated[Path | None, default_is("record the scheduler")] = None
    """Folder of a training run to record instead of a scheduler; all its seeds contribute equally."""
    sample: bool = False
    """Draw the policy's actions from its actor instead of taking the most probable ones."""
    transitions: int = 100_000
    """How many transitions to record."""
    seed: int = 0
    """Which episodes; different seeds share none."""
    env: Annotated[str | None, default_is("the network")] = None
    """Another PettingZoo environment by module, with options after colons
    (mpe2.simple_spread_v3:max_cycles=50). Random legal actions are recorded there, or the
    policy's."""

    @property
    def behaviour(self) -> str:
        """The name of the scheduler that acts where neither a policy nor an environment is given."""
        return self.scheduler or DEFAULT_SCHEDULER

    def check(self) -> None:
        """Refuse options that do not go together (ValueError)."""
        if self.scheduler is not None and (self.policy or self.env):
            other = "policy" if self.policy else "env"
            raise ValueError(f"{self._not_with('scheduler', other)}, which says who acts")
        if self.sample and not self.policy:
            needs = f"{self.dashes}sample needs {self.dashes}policy"
            raise ValueError(f"{needs}: a scheduler has no actor to draw from")
        if self.env and self.of_network:
            self.other_environment()

    def record(
        self, progress: Callable[[int], None] | None = None, engine: Engine | None = None
    ) -> Dataset:
        """The dataset, in memory; ``progress`` is called with the transitions just recorded.

        Raises:
            TypeError, ValueError: options that do not go together, or values that do not exist.
        """
        self.check()
        place = self.environment()
        if self.policy:
            return collect_run(
                self.policy,
                self.transitions,
                self.seed,
                sample=self.sample,
                environment=place,
                progress=progress,
                engine=engine,
            )
        if place.make is not None:
            return collect_parallel(
                place.make, None, self.transitions, self.seed, progress=progress
            )
        name = self.behaviour
        scheduler = parse_scheduler(name, REGISTRY)
        return collect(
            scheduler,
            place.network,
            self.transitions,
            self.seed,
            name=name,
            progress=progress,
            engine=engine,
        )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(EnvironmentOptions):
    """What to learn from, and where."""

    dataset: Annotated[Path | None, default_is("train online")] = None
    """Learn from the transitions of this file."""
    preset: str = "tuned"
    """Hyperparameters to start from: tuned, or paper (Table III). Options of the learner change
    single ones."""
    network: Annotated[str | None, default_is("the dataset's network; online paper")] = None
    """Preset of the network to act and be evaluated in: paper, correlated, wide or dense."""

    def environment_given(self) -> Environment | None:
        """The environment or the network named; None where none is: the dataset's, or ``paper``."""
        return self.environment() if self.env or self.of_network else None


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(EnvironmentOptions):
    """How to evaluate policies."""

    episodes: int = 128
    """Episodes per policy."""
    seed: int = 0
    """Which evaluation episodes."""
    schedulers: Annotated[str, default_is("none")] = ""
    """Schedulers to set beside them, comma-separated, as in python -m baselines; "all" for all."""
    act_on: Annotated[str | None, default_is("as trained")] = None
    """Make sac policies greedy on their actor or on their critic."""
    sample: bool = False
    """Draw actions from the actor instead of taking the most probable ones."""
    network: Annotated[str | None, default_is("the first run's network", PRESET)] = None
    """Preset of the network to evaluate in: paper, correlated, wide or dense."""
    env: Annotated[str | None, default_is("the network")] = None
    """For runs in another PettingZoo environment: its module, as in training."""

    def _of_network(self) -> dict[str, Any]:
        return {"schedulers": self.schedulers, **super()._of_network()}

    def named_schedulers(self) -> dict[str, Scheduler]:
        """The schedulers by name (ValueError: one that does not exist)."""
        texts = [*REGISTRY] if self.schedulers == "all" else self.schedulers.split(",")
        return {name: parse_scheduler(name, REGISTRY) for name in texts if name}
