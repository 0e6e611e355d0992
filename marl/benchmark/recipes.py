"""Recipes of the named datasets: who acted, in how many episodes, on which channels.

A dataset is ``network/tier``, such as ``paper/medium``. A tier names its behaviours and the shares
of the episodes that each plays. Episodes are recorded whole, and no two datasets of a network share
one, nor do two behaviours of a dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from baselines.registry import parse_scheduler
from marl.benchmark.networks import NETWORKS
from marl.benchmark.snapshots import snapshots
from marl.data.collect import Recording, record
from marl.data.dataset import Dataset
from marl.engines.base import Engine
from rrm_env import RRMConfig, Scheduler
from rrm_env.checks import nearest


@dataclass(frozen=True)
class Behaviour:
    """Who acts in a part of a dataset."""

    name: str
    """Its name in the dataset's metadata."""
    scheduler: Scheduler
    share: int = 1
    """Its part of the episodes, in proportion to the shares of the others."""


Behaviours = Callable[[str], Sequence[Behaviour]]
"""Gives the behaviours of a tier in the network of this name."""


def schedulers(*specifications: str | Mapping[str, str]) -> Behaviours:
    """Behaviours that are schedulers with equal shares, named as in ``python -m baselines``.

    Args:
        specifications: a scheduler for every network, or the scheduler of each network by its name.
    """

    def named(network: str) -> list[Behaviour]:
        names = [one if isinstance(one, str) else one[network] for one in specifications]
        return [Behaviour(name, parse_scheduler(name)) for name in names]

    return named


def learner(network: str) -> list[Behaviour]:
    """Behaviours that are an online learner at several moments of its training."""
    return [Behaviour(name, snapshot, share) for name, snapshot, share in snapshots(network)]


@dataclass(frozen=True)
class Tier:
    """A quality of data."""

    about: str
    """What was recorded, for tables and cards."""
    behaviours: Behaviours
    seed: int
    """Seed of the recordings; no two tiers have the same."""


RANDOM, MEDIUM = "random_walk:silence=true", "itlinq:tolerance_db=-10"
EXPERT = {
    "paper": "long_memory",
    "wide": "long_memory",
    "power": "max_weight:csi=large_scale:exponent=4",
}
"""Max-weight with averages over the whole episode; that of ``power`` searches through levels."""

TIERS = {
    "random": Tier("uniformly random legal actions", schedulers(RANDOM), 1001),
    "poor": Tier(
        "the paper's baselines, a quarter each",
        schedulers("random_walk", "greedy", "tdm", "itlinq"),
        1002,
    ),
    "medium": Tier("ITLinQ at its best tolerance", schedulers(MEDIUM), 1003),
    "replay": Tier("all experience of an online learner", learner, 1004),
    "mixed": Tier(
        "random, medium and expert, a third each", schedulers(RANDOM, MEDIUM, EXPERT), 1005
    ),
    "expert": Tier("long-memory max-weight (in `power` with levels)", schedulers(EXPERT), 1006),
    "optimal": Tier("the fluid optimum, played", schedulers("fluid"), 1007),
}
"""The tiers by name, in the order of tables."""

TRANSITIONS = {"paper": 100_000, "wide": 100_000, "power": 100_000}
"""Transitions of each dataset of a network, so that none takes more than 250 MB of memory."""


@dataclass(frozen=True)
class Recipe:
    """How a named dataset is made."""

    network: str
    """A name in `marl.benchmark.networks.NETWORKS`."""
    tier: str
    """A name in `TIERS`."""
    transitions: int
    """Number of transitions, in whole episodes."""

    @property
    def name(self) -> str:
        """The name of the dataset."""
        return f"{self.network}/{self.tier}"

    @property
    def config(self) -> RRMConfig:
        """The network's configuration."""
        return NETWORKS[self.network]

    @property
    def about(self) -> str:
        """What was recorded."""
        return TIERS[self.tier].about

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return -(-self.transitions // self.config.episode_length)

    def recordings(self) -> list[Recording]:
        """The recordings that the dataset joins, one for each behaviour.

        Behaviours divide the episodes in proportion to their shares; episode numbers follow on.
        """
        behaviours = TIERS[self.tier].behaviours(self.network)
        shares = [behaviour.share for behaviour in behaviours]
        bounds = [
            round(self.episodes * sum(shares[:k]) / sum(shares)) for k in range(len(shares) + 1)
        ]
        return [
            Recording(
                behaviour.scheduler,
                self.config,
                (bounds[k + 1] - bounds[k]) * self.config.episode_length,
                TIERS[self.tier].seed,
                first_episode=bounds[k],
                name=behaviour.name,
                keeps_episodes=True,
            )
            for k, behaviour in enumerate(behaviours)
        ]

    def record(
        self, engine: Engine | None = None, progress: Callable[[int], None] | None = None
    ) -> Dataset:
        """Record the dataset, the same to the bit whatever the engine.

        Args:
            engine: where to record; this process where None.
            progress: called with the number of transitions just recorded.
        """
        return Dataset.concatenate(record(self.recordings(), engine, progress))


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(network, tier, TRANSITIONS[network]) for network in NETWORKS for tier in TIERS
    )
}
"""The recipes of all named datasets."""


def recipe_of(name: str) -> Recipe:
    """The recipe of a dataset (ValueError: there is none of this name)."""
    if name not in RECIPES:
        raise ValueError(f"unknown dataset {nearest(str(name), RECIPES)}")
    return RECIPES[name]


def names_of(patterns: Sequence[str]) -> list[str]:
    """The datasets that names and patterns stand for, each once, in the order of `RECIPES`.

    Args:
        patterns: names, ``network/*``, ``*/tier`` or ``all``.

    Raises:
        ValueError: no dataset has this name, or none fits the pattern.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = {*RECIPES} if pattern == "all" else {n for n in RECIPES if fnmatchcase(n, pattern)}
        if not found:
            raise ValueError(f"unknown dataset {nearest(pattern, RECIPES)}")
        chosen |= found
    return [name for name in RECIPES if name in chosen]
