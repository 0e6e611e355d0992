"""The networks that each algorithm has, and in which order they are stacked."""

from __future__ import annotations

from dataclasses import dataclass

from marl.config import Algorithm, LearnerConfig

WAYS_TO_ACT: dict[Algorithm, tuple[str, ...]] = {
    "sac": ("actor", "critic"),
    "dqn": ("critic",),
    "bc": ("actor",),
    "iql": ("actor",),
    "ppo": ("actor",),
}
"""The networks that a trained policy can act by; the first one where the config does not say."""


@dataclass(frozen=True)
class Roles:
    """The number of networks of each role, in the order in which they are stacked.

    Trained networks come first, target networks last. Targets are copies of the critics.
    """

    critics: int = 0
    """Q-networks, C."""
    value: int = 0
    """Networks of a state's value V, which is the mean of their outputs."""
    actor: int = 0
    """Policy networks."""
    targets: int = 0
    """Target networks."""

    @property
    def trained(self) -> int:
        """Number of trained networks."""
        return self.critics + self.value + self.actor

    @property
    def total(self) -> int:
        """Number of all networks."""
        return self.trained + self.targets


def roles_of(config: LearnerConfig) -> Roles:
    """The networks of a configuration's algorithm."""
    critics = config.n_critics
    table = {
        "sac": Roles(critics=critics, actor=1, targets=critics),
        "dqn": Roles(critics=critics, targets=critics),
        "bc": Roles(actor=1),
        "iql": Roles(critics=critics, value=1, actor=1, targets=critics),
        "ppo": Roles(actor=1),  # its critics have other sizes and stand apart
    }
    return table[config.algorithm]
