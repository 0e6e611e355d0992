"""The networks that each algorithm has, and in which order they are stacked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from marl.config import Algorithm, LearnerConfig

WAYS_TO_ACT: dict[Algorithm, tuple[str, ...]] = {
    "sac": ("actor", "critic"),
    "dqn": ("critic",),
    "bc": ("actor",),
    "iql": ("actor",),
    "omiga": ("actor",),
    "ppo": ("actor",),
}
"""The networks that a trained policy can act by; the first one where the config does not say."""


class Outputs(NamedTuple):
    """Outputs (n, S, K, B, M) of the trained networks of each role; n is 0 where there are none."""

    critics: Tensor
    value: Tensor
    behaviour: Tensor
    actor: Tensor


@dataclass(frozen=True)
class Roles:
    """The number of networks of each role, in the order in which they are stacked.

    Trained networks come first, target networks last. Targets are copies of the first networks.
    """

    critics: int = 0
    """Q-networks, C."""
    value: int = 0
    """Networks of a state's value V, which is the mean of their outputs."""
    behaviour: int = 0
    """Networks that estimate the data's policy."""
    actor: int = 0
    """Policy networks."""
    targets: int = 0
    """Target networks."""

    @property
    def trained(self) -> int:
        """Number of trained networks."""
        return self.critics + self.value + self.behaviour + self.actor

    def split(self, outputs: Tensor) -> Outputs:
        """Views of the outputs (N, S, K, B, M) of the trained networks, by role."""
        sizes = [self.critics, self.value, self.behaviour, self.actor]
        return Outputs(*torch.split(outputs, sizes))

    @property
    def total(self) -> int:
        """Number of all networks."""
        return self.trained + self.targets


def roles_of(config: LearnerConfig) -> Roles:
    """The networks of a configuration's algorithm."""
    critics = config.n_critics
    behaviour = int(config.cql_reduction == "weighted" and config.cql_alpha > 0)
    table = {
        "sac": Roles(critics=critics, behaviour=behaviour, actor=1, targets=critics),
        "dqn": Roles(critics=critics, behaviour=behaviour, targets=critics),
        "bc": Roles(actor=1),
        "iql": Roles(critics=critics, value=1, actor=1, targets=critics),
        "omiga": Roles(critics=critics, value=1, actor=1, targets=critics + 1),
        "ppo": Roles(actor=1),  # its critics have other sizes and stand apart
    }
    return table[config.algorithm]
