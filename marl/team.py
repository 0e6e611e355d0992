"""The sizes of a multi-agent environment: agents, observation features and actions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rrm_env import RRMConfig


@dataclass(frozen=True)
class Team:
    """The sizes of an environment that a learner depends on."""

    n_agents: int
    """Number of agents, I."""
    n_features: int
    """Features of one agent's observation, D."""
    n_actions: int
    """Actions of one agent, A."""

    @property
    def n_joint_actions(self) -> int:
        """The number of joint actions A^I, and 2^64 where it is larger.

        The limit keeps sizes from an untrusted file from producing a number that fills the memory.
        """
        if self.n_agents * math.log2(self.n_actions) < 64:
            return int(self.n_actions**self.n_agents)
        return 2**64


def check_common_features(common_features: int, network: RRMConfig | None) -> None:
    """Refuse a learner of common features in a network whose agents receive different messages.

    Args:
        common_features: `LearnerConfig.common_features`.
        network: the network; None for another environment, of which nothing is known.

    Raises:
        ValueError: the last features of observations are not the same for all agents.
    """
    if common_features and network is not None and network.message_range != "all":
        raise ValueError(
            f"common_features = {common_features} must come with message_range = 'all', got "
            f"{network.message_range!r}: only messages of all access points are the same for all "
            "agents"
        )


def team_of(config: RRMConfig) -> Team:
    """The team of a network: one agent per AP, with the network's observations and actions."""
    return Team(config.n_aps, config.n_features, config.n_actions)
