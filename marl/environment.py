"""The environment of a dataset, a run or an evaluation: a network of ours, or any parallel one."""

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

MAX_SEED = 2**30 - 1
"""The largest seed of a recording, a training or an evaluation."""

Act = Callable[[NDArray[np.float32], NDArray[np.uint8]], NDArray[Any]]
"""Maps observations (B, I, D) and masks (B, I, A) to legal actions (B, I)."""


@runtime_checkable
class Actor(Scheduler, Protocol):
    """A policy for any parallel environment, and a scheduler; see `marl.Policy`."""

    sample: bool

    def actions(
        self,
        observation: NDArray[Any],
        mask: NDArray[Any],
        uniform: NDArray[np.float32] | None = None,
    ) -> NDArray[np.int64]:
        """Legal actions (B, I)."""

    def n_uniform_of(self, n_agents: int) -> int:
        """Random numbers per decision of a policy that samples."""

    def require(self, team: Team) -> None:
        """Refuse an environment of other sizes (ValueError)."""


@dataclass(frozen=True)
class Environment:
    """A network of ours, or another parallel environment; make one by a class method.

    One that was read from a file may be known by name alone: it has a name and no means to make
    it, so that nothing can act in it.
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
        """A network of ours."""
        return cls(network=config)

    @classmethod
    def of_module(cls, text: str) -> Environment:
        """Another environment by its module and options, ``mpe2.simple_spread_v3:max_cycles=50``.

        Raises:
            ValueError: no such module, one without ``parallel_env``, or an option that is no
                FIELD=VALUE.
        """
        make_env(text)
        return cls(module=text)

    @classmethod
    def of_factory(cls, make: MakeEnv) -> Environment:
        """Another environment that ``make()`` makes."""
        return cls(factory=make)

    @classmethod
    def from_dict(cls, values: Any) -> Environment:
        """The environment that `as_dict` described; network options that it lacks are defaults.

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
        """What files say of the environment; empty where nothing is known."""
        if self.network is not None:
            return {"kind": "network", "config": self.network.as_dict()}
        return {} if self.name is None else {"kind": "parallel", "name": self.name}

    @cached_property
    def make(self) -> MakeEnv | None:
        """The function that makes another environment; None of the network, or of a mere name."""
        return make_env(self.module) if self.module is not None else self.factory

    @cached_property
    def name(self) -> str | None:
        """What another environment calls itself in its metadata."""
        if self.make is None:
            return self.known_name
        return str(self.make().metadata.get("name", "unknown"))

    @cached_property
    def team(self) -> Team | None:
        """Its sizes; None where the environment is known by name alone.

        Raises:
            ValueError: SuperSuit is missing.
        """
        if self.network is not None:
            return team_of(self.network)
        return None if self.make is None else ParallelSource(self.make, 1).team

    def require(self, team: Team) -> None:
        """Refuse recorded arrays of another network's sizes (ValueError)."""
        if self.network is not None and team_of(self.network) != team:
            raise ValueError(
                f"environment: its config is of {team_of(self.network)}, the arrays are of {team}"
            )

    def source(self, n: int) -> Source:
        """``n`` copies side by side, to act in.

        Raises:
            ValueError: the environment is known by name alone, or SuperSuit is missing.
        """
        if self.network is not None:
            return NetworkSource(self.network, n)
        return ParallelSource(self._require_make(), n)

    @known_torch
    def evaluate(self, policy: Scheduler, episodes: int, seed: int = 0) -> dict[str, list[float]]:
        """KPIs on unseen episodes, a number for each; the return where this is no network.

        Args:
            policy: a trained policy; in a network any scheduler.
            episodes: how many.
            seed: which.

        Raises:
            TypeError: a scheduler in another environment than a network.
            ValueError: a policy trained for other sizes, or an environment known by name alone.
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
        """Whether anybody can act in it."""
        return self.network is not None or self.make is not None

    def _require_make(self) -> MakeEnv:
        if self.make is None:
            raise ValueError(f"{self.known_name!r} is known by name alone: nothing can act in it")
        return self.make

    def __getstate__(self) -> Mapping[str, Any]:
        """Its fields: what was made from a module stays behind, as modules cannot travel."""
        names = ("network", "module", "factory", "known_name")
        return {name: getattr(self, name) for name in names}


def environment_of(given: Environment | RRMConfig) -> Environment:
    """An environment, where a network's configuration may stand for the network."""
    return Environment.of_network(given) if isinstance(given, RRMConfig) else given


def acting(policy: Actor, seed: int = 0) -> Act:
    """What a trained policy does, as a function; a sampling one draws from a generator of this seed."""
    generator = np.random.default_rng(seed)

    def act(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[Any]:
        drawn = len(observation), policy.n_uniform_of(observation.shape[1])
        uniform = generator.random(drawn, np.float32) if policy.sample else None
        return policy.actions(observation, mask, uniform)

    return act


@known_torch
def episode_returns(policy: Actor, make: MakeEnv, episodes: int, seed: int = 0) -> list[float]:
    """Returns, averaged over agents, of a policy's first episodes in a parallel environment.

    Args:
        policy: who acts.
        make: makes one environment; the episodes are played in as many, side by side.
        episodes: how many.
        seed: 0 ... 2^30 - 1; which episodes, none of which training sees.

    Raises:
        ValueError: the policy was trained for other sizes.
    """
    source = ParallelSource(make, bounded_integer("episodes", episodes), evaluates=True)
    policy.require(source.team)
    source.reset(bounded_integer("seed", seed, MAX_SEED, lowest=0), 0)
    running, done, act = np.zeros(episodes), np.zeros(episodes, bool), acting(policy, seed)
    while not done.all():
        outcome = source.step(act(source.observation, source.mask))
        running += np.where(done, 0, outcome.reward)
        done |= (outcome.terminated | outcome.truncated).astype(bool)
    return list(running)
