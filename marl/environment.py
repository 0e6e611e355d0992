"""The environment of a dataset, a run or an evaluation: a network, or any `ParallelEnv`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from marl.checks import check_mapping, check_text
from marl.sources import MakeEnv, NetworkSource, ParallelSource, Source, make_env
from marl.team import Team, team_of
from marl.torch_state import known_torch
from rrm_env import RRMConfig, Scheduler, evaluate, metrics
from rrm_env.checks import bounded_integer, shown
from rrm_env.trace_source import identified

MAX_SEED = 2**30 - 1
"""The largest seed of a recording, a training run or an evaluation."""

Act = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[Any]]
"""Maps observations (B, I, D) and masks (B, I, A) to legal actions (B, I)."""


@runtime_checkable
class Actor(Scheduler, Protocol):
    """A policy that acts in any parallel environment and is a scheduler too; see `marl.Policy`."""

    sample: bool
    """Whether actions are drawn at random, so that `actions` needs ``uniform``."""

    def actions(
        self,
        observation: NDArray[Any],
        mask: NDArray[Any],
        uniform: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int64]:
        """Legal actions (B, I) for observations (B, I, D) under masks (B, I, A).

        ``uniform`` holds (B, `n_uniform_of` I) numbers from a uniform distribution on (0, 1).
        """

    def n_uniform_of(self, n_agents: int) -> int:
        """Random numbers that a sampling policy needs per decision of ``n_agents`` agents."""

    def require(self, team: Team) -> None:
        """Raise ValueError if the policy cannot act in an environment of these sizes."""


@dataclass(frozen=True)
class Environment:
    """A network of this package or another parallel environment; use a class method to make one.

    An environment that was read from a file may be known by name alone. Then there is no function
    that makes it, and no policy can act in it.
    """

    network: RRMConfig | None = None
    """The network; None for another environment."""
    module: str | None = None
    """The module of another environment, as `of_module` takes it."""
    factory: MakeEnv | None = None
    """A function that makes another environment."""
    known_name: str | None = None
    """The name of another environment that is known by name alone."""

    @classmethod
    def of_network(cls, config: RRMConfig) -> Environment:
        """The network with this configuration; one with a trace names it by its checksum."""
        return cls(network=identified(config))

    @classmethod
    def of_module(cls, text: str) -> Environment:
        """Another environment by its module and options, ``mpe2.simple_spread_v3:max_cycles=50``.

        Raises:
            ValueError: the module cannot be imported or has no ``parallel_env``, or an option is
                not FIELD=VALUE.
        """
        make_env(text)
        return cls(module=text)

    @classmethod
    def of_factory(cls, make: MakeEnv) -> Environment:
        """Another environment, made by ``make()``."""
        return cls(factory=make)

    @classmethod
    def from_dict(cls, values: Any) -> Environment:
        """The environment that `as_dict` described; missing network options have their defaults.

        Raises:
            TypeError, ValueError: the mapping describes no environment.
        """
        described = check_mapping("environment", values)
        if not described:
            return cls()
        kind = described.get("kind")
        if kind == "parallel":
            check_text("environment: name", described.get("name"))
            return cls(known_name=described["name"])
        if kind != "network":
            raise ValueError(
                f"environment: kind must be 'network' or 'parallel', got {shown(kind)}"
            )
        try:
            return cls(network=RRMConfig(**check_mapping("config", described.get("config"))))
        except (TypeError, ValueError) as error:
            raise type(error)(f"environment: {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """The description of the environment that files hold; empty if nothing is known of it."""
        if self.network is not None:
            return {"kind": "network", "config": self.network.as_dict()}
        return {} if self.name is None else {"kind": "parallel", "name": self.name}

    @cached_property
    def make(self) -> MakeEnv | None:
        """The function that makes another environment; None for a network or a mere name."""
        return make_env(self.module) if self.module is not None else self.factory

    @cached_property
    def name(self) -> str | None:
        """The name in the metadata of another environment; None for a network."""
        if self.make is None:
            return self.known_name
        return str(self.make().metadata.get("name", "unknown"))

    @cached_property
    def team(self) -> Team | None:
        """The sizes of the environment; None if it is known by name alone.

        Raises:
            ValueError: SuperSuit is missing.
        """
        if self.network is not None:
            return team_of(self.network)
        return None if self.make is None else ParallelSource(self.make, 1).team

    def require(self, team: Team) -> None:
        """Raise ValueError if recorded arrays have other sizes than the network."""
        if self.network is not None and team_of(self.network) != team:
            raise ValueError(
                f"environment: its config is of {team_of(self.network)}, the arrays are of {team}"
            )

    def source(self, n: int) -> Source:
        """``n`` copies of the environment that are stepped together.

        Raises:
            ValueError: the environment is known by name alone, or SuperSuit is missing.
        """
        if self.network is not None:
            return NetworkSource(self.network, n)
        return ParallelSource(self._require_make(), n)

    @known_torch
    def evaluate(self, policy: Scheduler, episodes: int, seed: int = 0) -> dict[str, list[float]]:
        """KPIs of a policy on episodes that training never uses.

        Args:
            policy: a trained policy, or in a network any scheduler.
            episodes: number of episodes.
            seed: 0 ... 2^30 - 1; different seeds give different episodes.

        Returns:
            For each KPI a list with one number per episode: `rrm_env.metrics.LEARNERS_KPIS` in a
            network, the return in other environments.

        Raises:
            TypeError: the policy is only a scheduler and the environment is not a network.
            ValueError: the policy was trained for other sizes, or the environment is known by name
                alone.
        """
        if self.network is None:
            if not isinstance(policy, Actor):
                raise TypeError(
                    f"policy must choose actions, as trained policies do, got {policy!r}"
                )
            return {"return": episode_returns(policy, self._require_make(), episodes, seed)}
        result = evaluate(policy, self.network, episodes, seed)
        return {kpi: getattr(result, kpi).tolist() for kpi in metrics.LEARNERS_KPIS}

    @property
    def can_be_made(self) -> bool:
        """Whether the environment is more than a name, so that policies can act in it."""
        return self.network is not None or self.make is not None

    def _require_make(self) -> MakeEnv:
        """The function `make`; ValueError if there is none."""
        if self.make is None:
            known = "not known" if self.known_name is None else "known by name alone"
            raise ValueError(f"environment {self.known_name!r} is {known}: nothing can act in it")
        return self.make

    def __getstate__(self) -> Mapping[str, Any]:
        """The fields without cached properties, which may hold modules that cannot be pickled."""
        names = ("network", "module", "factory", "known_name")
        return {name: getattr(self, name) for name in names}


def environment_of(given: Environment | RRMConfig) -> Environment:
    """The environment itself, or the network of a configuration."""
    return Environment.of_network(given) if isinstance(given, RRMConfig) else given


def acting(policy: Actor, seed: int = 0) -> Act:
    """A function that chooses a trained policy's actions; ``seed`` is for policies that sample."""
    generator = np.random.default_rng(seed)

    def act(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:
        drawn = len(observation), policy.n_uniform_of(observation.shape[1])
        uniform = generator.random(drawn, np.float32) if policy.sample else None
        return policy.actions(observation, mask, uniform)

    return act


@known_torch
def episode_returns(policy: Actor, make: MakeEnv, episodes: int, seed: int = 0) -> list[float]:
    """Returns of a policy in episodes of a parallel environment, averaged over agents.

    Args:
        policy: the policy that acts.
        make: makes one environment; it is called once, and SuperSuit copies the environment so that
            each episode is played in its own.
        episodes: number of episodes.
        seed: 0 ... 2^30 - 1; selects the episodes, none of which training uses.

    Returns:
        One undiscounted return per episode.

    Raises:
        TypeError, ValueError: ``episodes`` or ``seed`` is out of range, the policy was trained for
            other sizes, or SuperSuit is missing.
    """
    source = ParallelSource(make, bounded_integer("episodes", episodes), evaluates=True)
    policy.require(source.team)
    source.reset(bounded_integer("seed", seed, MAX_SEED, lowest=0), 0)
    act = acting(policy, seed)
    returns = np.zeros(episodes)
    done = np.zeros(episodes, bool)
    while not done.all():
        outcome = source.step(act(source.observation, source.mask))
        returns += np.where(done, 0, outcome.reward)
        done |= (outcome.terminated | outcome.truncated).astype(bool)
    return list(returns)
