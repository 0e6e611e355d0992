"""Centralised, independent, CTDE: how a team's arrays map to the heads of the networks and back.

Shapes: S seeds, B batch, I agents, D observation features, A actions per agent, K heads, M actions per head.
Centralised: K = 1, M = A^I. Independent and CTDE: K = I, M = A; they differ in `mixes` alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from marl.config import Paradigm
from marl.team import Team

ILLEGAL = -1e9
"""Added to values and logits of illegal actions: exp() gives exactly 0, and 0 * ILLEGAL is no NaN as 0 * -inf would be."""

DIVERGED = 1e8
"""A loss part beyond this, or not a number, counts as divergence; preferences are kept within it, so that `ILLEGAL` outweighs them."""

MAX_JOINT_ACTIONS = 2**14
"""Largest joint action space the centralised paradigm enumerates; beyond it one output layer outgrows everything else."""


@dataclass(frozen=True)
class Heads:
    """The heads of one paradigm for one team.

    Raises:
        ValueError: the centralised paradigm with more than `MAX_JOINT_ACTIONS` joint actions, or more common features than there are.
    """

    paradigm: Paradigm
    team: Team
    common_features: int = 0
    """The joint head sees only so many features, the last of each agent's observation, which all agents observe alike; 0: everything."""

    def __post_init__(self) -> None:
        if self.joint and self.n_actions > MAX_JOINT_ACTIONS:
            raise ValueError(
                f"paradigm = 'c' would enumerate {self.team.n_actions}^{self.team.n_agents} = {self.n_actions:,} joint actions of "
                f"{self.team.n_agents} agents (n_aps) with {self.team.n_actions} actions each; allowed: up to {MAX_JOINT_ACTIONS:,}. Use "
                "paradigm = 'ctde' or 'i', whose networks grow with the number of agents only"
            )
        if self.common_features > self.team.n_features:
            raise ValueError(
                f"common_features = {self.common_features} must be at most the {self.team.n_features} features of an observation"
            )

    @property
    def joint(self) -> bool:
        """Whether one head chooses for all agents."""
        return self.paradigm == "c"

    @property
    def mixes(self) -> bool:
        """Whether chosen values are summed over heads before the temporal-difference error (Eqs. 23, 24)."""
        return self.paradigm == "ctde"

    @property
    def n_heads(self) -> int:
        """K."""
        return 1 if self.joint else self.team.n_agents

    @property
    def n_inputs(self) -> int:
        """Features a head sees: all agents' observations, what all observe alike, or its own agent's."""
        if not self.joint:
            return self.team.n_features
        return self.common_features or self.team.n_agents * self.team.n_features

    @property
    def n_actions(self) -> int:
        """M."""
        return self.team.n_joint_actions if self.joint else self.team.n_actions

    def inputs(self, observation: Tensor) -> Tensor:
        """(S, B, I, D) observations to (S, K, B, features)."""
        if not self.joint:
            return observation.transpose(1, 2)
        seen = (
            observation[:, :, 0, -self.common_features :]
            if self.common_features
            else observation.flatten(2)
        )
        return seen.unsqueeze(1)

    def bias(self, mask: Tensor) -> Tensor:
        """(S, B, I, A) masks to (S, K, B, M): 0 where a head's action is legal, `ILLEGAL` or less elsewhere."""
        per_agent = (1 - mask.to(torch.float32)) * ILLEGAL
        if not self.joint:
            return per_agent.transpose(1, 2)
        total = per_agent[:, :, 0]
        for agent in range(1, self.team.n_agents):
            total = (total.unsqueeze(-1) + per_agent[:, :, agent].unsqueeze(-2)).flatten(-2)
        return total.unsqueeze(1)

    def log_legal(self, mask: Tensor) -> Tensor:
        """(S, B, I, A) masks to (S, K, B): logarithm of the number of legal actions, the largest entropy a policy can have."""
        log_counts = mask.sum(-1, dtype=torch.float32).log()
        return log_counts.sum(-1).unsqueeze(1) if self.joint else log_counts.transpose(1, 2)

    def chosen(self, action: Tensor) -> Tensor:
        """(S, B, I) actions to (S, K, B) indices; of a joint action the first agent's is the most significant digit."""
        if not self.joint:
            return action.transpose(1, 2)
        index = action[..., 0]
        for agent in range(1, self.team.n_agents):
            index = index * self.team.n_actions + action[..., agent]
        return index.unsqueeze(1)

    def actions(self, chosen: Tensor) -> Tensor:
        """(S, K, B) indices to (S, B, I) actions; the inverse of `chosen`."""
        if not self.joint:
            return chosen.transpose(1, 2)
        index, digits = chosen[:, 0], []
        for _ in range(self.team.n_agents):
            digits.append(index % self.team.n_actions)
            index = index // self.team.n_actions
        return torch.stack(digits[::-1], -1)


def without_divergence(preferred: Tensor) -> Tensor:
    """Values or logits of networks gone astray, such that with `Heads.bias` added a legal action still has the largest."""
    return preferred.nan_to_num(0.0).clamp_(-DIVERGED, DIVERGED)


def preference(q: Tensor, *, mixes: bool) -> Tensor:
    """What actions are chosen by, (S, K, B, M) of q (C, S, K, B, M): the smallest critic.

    Where heads are mixed, only a critic's sum over heads has a meaning: two critics may share it out among the heads differently, so
    that the smallest value per head would belong to no sum. There it is the critics' mean.
    """
    return q.mean(0) if mixes else q.amin(0)
