"""Options of recording, training and evaluation, shared by the command line and by sweeps.

The rules about options that exclude or need each other stand here. Messages name options as Python
does, unless a class sets `NetworkOptions.dashes`. For commands, tyro reads the default values and
help texts from the fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from baselines import REGISTRY
from baselines.registry import parse_scheduler
from marl.benchmark.named import load_dataset
from marl.benchmark.recipes import RECIPES
from marl.data.collect import collect, collect_parallel
from marl.data.dataset import Dataset
from marl.engines.base import Engine
from marl.environment import Environment
from marl.training.rollout import collect_run
from rrm_env import RRMConfig, Scheduler, parse_settings
from rrm_env.config import changed

DEFAULT_SCHEDULER = "itlinq"
"""The scheduler that is recorded if none is named."""

PRESET = "--preset"
"""Another name of --network, as in ``python -m baselines``; not where it names hyperparameters."""


def default_is(meaning: str, *aliases: str, **more: Any) -> Any:
    """An option whose help text explains its default in words.

    Args:
        meaning: what the default does; shown instead of a value that is None or empty.
        aliases: other names of the option.
        more: passed to `tyro.conf.arg`.
    """

    def hint(value: str) -> str:
        return f"(default: {meaning if value in ('None', '', repr('')) else value})"

    return tyro.conf.arg(help_behavior_hint=hint, aliases=aliases or None, **more)


_settings = default_is("change none", name="set", metavar="FIELD=VALUE")
Settings = Annotated[tuple[str, ...], _settings]
"""Fields of the network to change, each as FIELD=VALUE on a command line."""

Changes = Annotated[Mapping[str, Any] | None, tyro.conf.Suppress, tyro.conf.Fixed]
"""Fields of the network to change, by name; a command line has no such option."""


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Which network."""

    dashes: ClassVar[str] = ""
    """Prefix of option names in messages; two hyphens in a command."""
    network: Annotated[str | None, default_is("paper", PRESET)] = None
    """Preset of the network: paper, correlated, wide or dense."""
    settings: Settings = ()
    """Fields of the network to change, such as n_ues=10."""
    changes: Changes = None
    """The same by name, instead of ``settings``."""

    def changed(self) -> dict[str, Any]:
        """The fields to change and their values.

        Raises:
            ValueError: a text is not FIELD=VALUE.
        """
        return dict(parse_settings(self.settings) if self.changes is None else self.changes)

    def config(self, default: RRMConfig | None = None) -> RRMConfig:
        """The configuration of the network, with the changes applied.

        It starts from the preset that is named, else from ``default``, else from ``paper``.

        Raises:
            TypeError, ValueError: the preset or a field does not exist, or a value is not allowed.
        """
        changes = self.changed()
        if self.network is None and default is not None:
            return changed(default.as_dict(), changes)
        return RRMConfig.preset(self.network or "paper", **changes)

    @property
    def of_network(self) -> dict[str, Any]:
        """The given options that apply only to a network, by name."""
        return {name: given for name, given in self._of_network().items() if given}

    def _of_network(self) -> dict[str, Any]:
        """The options that apply only to a network, by name."""
        return {"set": self.settings or self.changes, "network": self.network}

    def _not_with(self, name: str, other: str, why: str = "") -> str:
        """The message that two options exclude each other."""
        return " ".join(f"{self.dashes}{name} {why} does not go with {self.dashes}{other}".split())


@dataclass(frozen=True, kw_only=True)
class EnvironmentOptions(NetworkOptions):
    """Which network, or which other environment."""

    env: Annotated[str | None, default_is("the network")] = None
    """Another PettingZoo environment by module, with options after colons
    (mpe2.simple_spread_v3:max_cycles=50)."""

    def other_environment(self) -> Environment | None:
        """The environment that ``env`` names; None if it names none.

        Raises:
            ValueError: the environment cannot be imported, or options of a network are given too.
        """
        if not self.env:
            return None
        self.require_no_network()
        return Environment.of_module(self.env)

    def require_no_network(self) -> None:
        """Raise ValueError if options are given that apply only to a network."""
        for name in self.of_network:
            raise ValueError(self._not_with(name, "env", "is of the network and"))

    def environment(self, default: RRMConfig | None = None) -> Environment:
        """The environment that ``env`` names, or else the network; ``default`` as for `config`.

        Raises:
            TypeError, ValueError: as `other_environment` and `config`.
        """
        return self.other_environment() or Environment.of_network(self.config(default))


@dataclass(frozen=True, kw_only=True)
class RecordingOptions(EnvironmentOptions):
    """What to record."""

    scheduler: Annotated[str | None, default_is(DEFAULT_SCHEDULER)] = None
    """Whose actions to record: a scheduler of python -m baselines, with options after colons
    (itlinq:tolerance_db=0, random_walk:silence=true)."""
    policy: Annotated[Path | None, default_is("record the scheduler")] = None
    """Folder of a training run to record instead of a scheduler; all its seeds contribute
    equally."""
    sample: bool = False
    """Draw the policy's actions from its actor instead of taking the most probable ones."""
    transitions: int = 100_000
    """How many transitions to record."""
    seed: int = 0
    """Which episodes to record; different seeds share none."""
    env: Annotated[str | None, default_is("the network")] = None
    """Another PettingZoo environment by module, with options after colons
    (mpe2.simple_spread_v3:max_cycles=50). Random legal actions are recorded there, or the
    policy's."""

    @property
    def behaviour(self) -> str:
        """The scheduler to record if neither a policy nor an environment is given."""
        return self.scheduler or DEFAULT_SCHEDULER

    def check(self) -> None:
        """Raise ValueError if options exclude each other or one lacks another that it needs."""
        if self.scheduler is not None and (self.policy or self.env):
            other = "policy" if self.policy else "env"
            raise ValueError(f"{self._not_with('scheduler', other)}, which says who acts")
        if self.sample and not self.policy:
            needs = f"{self.dashes}sample needs {self.dashes}policy"
            raise ValueError(f"{needs}: a scheduler has no actor to draw from")
        if self.env:
            self.require_no_network()

    def record(
        self, progress: Callable[[int], None] | None = None, engine: Engine | None = None
    ) -> Dataset:
        """Record the dataset and return it, in memory.

        Args:
            progress: called with the number of transitions just recorded.
            engine: where to record; this process where None.

        Raises:
            TypeError, ValueError: a value is not allowed, or `check` raises.
        """
        self.check()
        environment = self.environment()
        if self.policy:
            return collect_run(
                self.policy,
                self.transitions,
                self.seed,
                sample=self.sample,
                environment=environment,
                progress=progress,
                engine=engine,
            )
        if environment.make is not None:
            return collect_parallel(
                environment.make, None, self.transitions, self.seed, progress=progress
            )
        return collect(
            parse_scheduler(self.behaviour),
            environment.network,
            self.transitions,
            self.seed,
            name=self.behaviour,
            progress=progress,
            engine=engine,
        )


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(EnvironmentOptions):
    """What to learn from, and where."""

    dataset: Annotated[Path | None, default_is("train online")] = None
    """Learn from the transitions of this file, or, where there is none, of the named dataset, such
    as paper/medium, which is made first if need be (python -m marl datasets)."""
    preset: str = "tuned"
    """Hyperparameters to start from: tuned, or paper (Table III). Options of the learner override
    single ones."""
    network: Annotated[str | None, default_is("the dataset's network; online paper")] = None
    """Preset of the network to train and be evaluated in: paper, correlated, wide or dense."""

    def dataset_given(self, progress: Callable[[int], None] | None = None) -> Dataset | None:
        """The dataset that ``dataset`` names, by its file or its name in the benchmark; or None.

        Args:
            progress: called with the number of transitions just recorded, where it is made.

        Raises:
            DatasetError: there is no such file and no such name, or what was found is no dataset or
                not the published one.
        """
        if self.dataset is None:
            return None
        name = self.dataset.as_posix()
        if not self.dataset.exists() and name in RECIPES:
            return load_dataset(name, progress=progress)
        return Dataset.read(self.dataset)

    def environment_given(self) -> Environment | None:
        """The environment or network that options name.

        None means the dataset's environment, or the preset ``paper`` where there is no dataset.
        """
        return self.environment() if self.env or self.of_network else None


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions(EnvironmentOptions):
    """How to evaluate policies."""

    episodes: int = 128
    """Episodes per policy."""
    seed: int = 0
    """Which evaluation episodes."""
    schedulers: Annotated[str, default_is("none")] = ""
    """Schedulers to compare with, comma-separated, as in python -m baselines; "all" for all."""
    act_on: Annotated[str | None, default_is("as trained")] = None
    """The network on which sac policies are greedy: actor or critic."""
    sample: bool = False
    """Draw actions from the actor instead of taking the most probable ones."""
    network: Annotated[str | None, default_is("the first run's network", PRESET)] = None
    """Preset of the network to evaluate in: paper, correlated, wide or dense."""
    env: Annotated[str | None, default_is("the network")] = None
    """For runs in another PettingZoo environment: its module, as in training."""

    def _of_network(self) -> dict[str, Any]:
        """The options that apply only to a network, by name; schedulers are among them."""
        return {"schedulers": self.schedulers, **super()._of_network()}

    def named_schedulers(self) -> dict[str, Scheduler]:
        """The schedulers to compare with, by name.

        Raises:
            ValueError: a scheduler does not exist, or an option of it is not allowed.
        """
        names = [*REGISTRY] if self.schedulers == "all" else self.schedulers.split(",")
        return {name: parse_scheduler(name) for name in names if name}
