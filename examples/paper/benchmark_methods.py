"""The methods of the benchmark's table, each a configuration of a learner of the package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marl.config import NEED_DATA, LearnerConfig, TrainingConfig, environment_steps

MAX_JOINT_ACTIONS = 1024
"""Largest joint action space in which centralised learners are in the table: each of their updates
takes time in proportion."""

COMMON: dict[str, Any] = {
    "hidden_sizes": (128, 128),
    "batch_size": 128,
    "critic_learning_rate": 1e-3,
    "actor_learning_rate": 1e-3,
    "discount": 0.1,
    "n_critics": 1,
    "normalise_rewards": True,
    "reward_scale": 1.0,
}
"""Of all learners. What is decided now changes averages over the whole episode by little, so that
short horizons learn best: docs/benchmark.md has the numbers."""


@dataclass(frozen=True)
class _Learner:
    """A configuration of `marl.LearnerConfig`."""

    label: str
    changes: Mapping[str, Any]
    """Fields that it changes beside `COMMON`."""

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of its configuration."""
        return {**COMMON, **self.changes}

    def fits(self, joint_actions: int) -> bool:
        """Whether it is in the table of a network with so many joint actions."""
        return self.fields.get("paradigm", "c") != "c" or joint_actions <= MAX_JOINT_ACTIONS


@dataclass(frozen=True)
class Offline(_Learner):
    """A learner from data.

    An actor that clones acts by drawing, as whoever it clones did: each AP's most probable action
    is often silence, and so all would be silent.
    """

    @property
    def draws(self) -> bool:
        """Whether its policies draw their actions instead of taking the most probable ones."""
        return self.fields["algorithm"] in NEED_DATA


@dataclass(frozen=True)
class Online(_Learner):
    """A learner that acts itself."""

    training: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `marl.TrainingConfig`."""

    def updates(self, steps: int) -> int:
        """Updates after which each seed has taken the most steps that are not above ``steps``."""
        learner, training = LearnerConfig(**self.fields), TrainingConfig(**self.training)
        low, high = 1, steps
        while low < high:
            middle = (low + high + 1) // 2
            fits = environment_steps(middle, learner, training) <= steps
            low, high = (middle, high) if fits else (low, middle - 1)
        return low


@dataclass(frozen=True)
class _Graph:
    """A graph policy that is trained from data alone."""

    label: str

    def fits(self, joint_actions: int) -> bool:  # noqa: ARG002 - it enumerates none of them
        """Whether it is in the table of a network with so many joint actions."""
        return True


class Clone(_Graph):
    """Prices under which the recorded decisions are the best ones."""


class Dual(_Graph):
    """Prices that lower the dual function at the recorded gains."""


Method = Offline | Online | Clone | Dual

_IQL = {"algorithm": "iql", "advantage_weight": 1.0}
_ONLINE = {"learning_starts": 12_800}
"""One episode of all environments, from which observations and rewards are normalised."""
_DQN = {**_ONLINE, "algorithm": "dqn", "paradigm": "ctde", "exploration_updates": 1_500}
_PPO = {**_ONLINE, "algorithm": "ppo", "batch_size": 800}
METHODS: dict[str, Method] = {
    "bc-i": Offline("cloning, independent", {"algorithm": "bc", "paradigm": "i"}),
    "bc-sequence": Offline(
        "cloning, one after the other",
        {"algorithm": "bc", "paradigm": "i", "observes": "sequence"},
    ),
    "bc-c": Offline("cloning, centralised", {"algorithm": "bc"}),
    "cql-c": Offline("CQL (DQN), centralised", {"algorithm": "dqn"}),
    "cql-sac-c": Offline("CQL (SAC), centralised", {"algorithm": "sac"}),
    "sac-bc-c": Offline(
        "SAC with cloning, centralised",
        {"algorithm": "sac", "cql_alpha": 0.0, "cloning_weight": 0.3},
    ),
    "cql-ctde": Offline("CQL (DQN), CTDE", {"algorithm": "dqn", "paradigm": "ctde"}),
    "cfcql": Offline(
        "CFCQL, monotone mixture",
        {
            "algorithm": "dqn",
            "paradigm": "ctde",
            "mixing": "monotone",
            "cql_reduction": "weighted",
        },
    ),
    "iql-c": Offline("IQL, centralised", _IQL),
    "omiga": Offline(
        "OMIGA", {**_IQL, "algorithm": "omiga", "paradigm": "ctde", "mixing": "weighted"}
    ),
    "graph-clone": Clone("graph policy, cloning"),
    "graph-dual": Dual("graph policy, dual function"),
    "sac": Online("SAC, centralised", {**_ONLINE, "algorithm": "sac"}),
    "vdn": Online("VDN", _DQN),
    "qmix": Online("QMIX", {**_DQN, "mixing": "monotone"}),
    "ippo": Online("IPPO", {**_PPO, "paradigm": "i"}),
    "mappo": Online("MAPPO", {**_PPO, "paradigm": "ctde"}),
}
"""The methods by name."""
