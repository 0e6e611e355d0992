"""What a learner must know of its environment: how many agents, features and actions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rrm_env import RRMConfig


@dataclass(frozen=True)
class Team:
    """What a learner must know of its environment."""

    n_agents: int
    n_features: int
    """Features of one agent's observation, D."""
    n_actions: int
    """Actions of one agent, A."""

    @property
    def n_joint_actions(self) -> int:
        """A^I, or 2^64 where it is more still: of a team that a file makes up, the power itself could fill the memory."""
        return (
            int(self.n_actions**self.n_agents)
            if self.n_agents * math.log2(self.n_actions) < 64
            else 2**64
        )


def team_of(config: RRMConfig) -> Team:
    """The sizes of a network, as learners need them."""
    return Team(config.n_aps, config.n_features, config.n_actions)
