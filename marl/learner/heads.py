"""Mapping of a team's arrays to network heads and back, for each paradigm.

Shapes: S seeds, B batch, I agents, D observation features, A actions per agent, K heads, M actions
per head. The centralised paradigm has K = 1 and M = A^I. The independent paradigm and CTDE have
K = I and M = A; they differ only in `mixes`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from marl.config import LearnerConfig, Observes, Paradigm
from marl.team import Team

ILLEGAL = -1e9
"""Number added to values and logits of illegal actions.

It is so low that exp() gives exactly 0, but finite, since 0 * -inf would be NaN.
"""

DIVERGED = 1e8
"""Bound of loss parts; one that exceeds it, or is not a number, counts as divergence.

Preferences are clipped to it, so that `ILLEGAL` outweighs them.
"""

MAX_JOINT_ACTIONS = 2**14
"""Largest joint action space of the centralised paradigm, which has an output for each of them."""


@dataclass(frozen=True)
class Heads:
    """The heads of one paradigm for one team.

    Raises:
        ValueError: the centralised paradigm would have more than `MAX_JOINT_ACTIONS` joint actions,
            or there are fewer features than common ones.
    """

    paradigm: Paradigm
    """c: one head for all agents; i, ctde: one head per agent."""
    team: Team
    """Sizes of the environment: I, D and A."""
    common_features: int = 0
    """Number of features that the joint head sees; it sees all observations where 0.

    They are the last features of an observation and the same for all agents.
    """
    observes: Observes = "own"
    """own: a head of one agent sees this agent's observation; all: those of all agents; sequence:
    these, and the actions of the agents before it."""

    @classmethod
    def of(cls, config: LearnerConfig, team: Team) -> Heads:
        """The heads of a learner's configuration; errors as `Heads`."""
        return cls(config.paradigm, team, config.common_features, config.observes)

    def __post_init__(self) -> None:
        if self.joint and self.n_actions > MAX_JOINT_ACTIONS:
            raise ValueError(
                f"paradigm = 'c' would enumerate {self.team.n_actions}^{self.team.n_agents} = "
                f"{self.n_actions:,} joint actions of {self.team.n_agents} agents (n_aps) with "
                f"{self.team.n_actions} actions each; allowed: up to {MAX_JOINT_ACTIONS:,}. Use "
                "paradigm = 'ctde' or 'i', whose networks grow with the number of agents only"
            )
        if self.common_features > self.team.n_features:
            raise ValueError(
                f"common_features = {self.common_features} must be at most the "
                f"{self.team.n_features} features of an observation"
            )

    @property
    def joint(self) -> bool:
        """Whether one head chooses for all agents."""
        return self.paradigm == "c"

    @property
    def mixes(self) -> bool:
        """Whether the TD error is taken of the sum of values over heads (Eqs. 23, 24)."""
        return self.paradigm == "ctde"

    @property
    def n_heads(self) -> int:
        """Number of heads, K."""
        return 1 if self.joint else self.team.n_agents

    @property
    def n_inputs(self) -> int:
        """Features that a head sees: those of its agent, of all agents, or the common ones."""
        if not self.sees_all:
            return self.common_features or self.team.n_features
        before = (self.team.n_agents - 1) * self.team.n_actions if self.in_sequence else 0
        return self.team.n_agents * self.team.n_features + before

    @property
    def in_sequence(self) -> bool:
        """Whether heads choose one after the other, and see what was chosen before."""
        return self.observes == "sequence"

    @property
    def sees_all(self) -> bool:
        """Whether a head sees the observations of all agents."""
        return self.observes != "own" or (self.joint and not self.common_features)

    @property
    def n_actions(self) -> int:
        """Number of actions per head, M."""
        return self.team.n_joint_actions if self.joint else self.team.n_actions

    def inputs(self, observation: Tensor, action: Tensor | None = None) -> Tensor:
        """Inputs of the heads (S, K, B, `n_inputs`), from observations (S, B, I, D).

        Args:
            observation: (S, B, I, D).
            action: (S, B, I), of which each head sees those of the agents before it, if heads
                choose in sequence, and which is not needed otherwise.
        """
        if self.in_sequence:
            assert action is not None, "heads in sequence see actions"
            state = self.state(observation).expand(-1, self.n_heads, -1, -1)
            return torch.cat([state, self._before(action).to(state.dtype)], -1)
        if self.sees_all:
            return self.state(observation).expand(-1, self.n_heads, -1, -1)
        if self.common_features:
            return observation[:, :, 0, -self.common_features :].unsqueeze(1)
        return observation.transpose(1, 2)

    def _before(self, action: Tensor) -> Tensor:
        """What each head sees of the actions before its own, (S, K, B, (I - 1) A), one-hot."""
        every_action = torch.arange(self.team.n_actions, device=action.device)
        agents = torch.arange(self.n_heads, device=action.device)
        one_hot = action[..., :-1, None] == every_action
        earlier = agents[:-1] < agents.unsqueeze(-1)
        seen = one_hot.unsqueeze(1) & earlier[:, None, :, None]
        return seen.flatten(-2)

    @staticmethod
    def state(observation: Tensor) -> Tensor:
        """The observations of all agents side by side, (S, 1, B, I D), from (S, B, I, D)."""
        return observation.flatten(2).unsqueeze(1)

    def bias(self, mask: Tensor) -> Tensor:
        """What to add to values or logits (S, K, B, M), from masks (S, B, I, A).

        It is 0 where a head's action is legal, and `ILLEGAL` or less elsewhere.
        """
        per_agent = (mask == 0) * ILLEGAL
        if not self.joint:
            return per_agent.transpose(1, 2)
        return _sums(per_agent.unbind(2)).unsqueeze(1)

    def log_legal(self, mask: Tensor) -> Tensor:
        """Logarithm of the number of legal actions (S, K, B), from masks (S, B, I, A).

        It is the largest entropy that a policy can have.
        """
        log_counts = mask.sum(-1, dtype=torch.float32).log()
        return log_counts.sum(-1).unsqueeze(1) if self.joint else log_counts.transpose(1, 2)

    def chosen(self, action: Tensor) -> Tensor:
        """Indices of the heads' actions (S, K, B), from actions (S, B, I).

        A joint action is a number to base A, whose most significant digit is the first agent's.
        """
        if not self.joint:
            return action.transpose(1, 2)
        index = action[..., 0]
        for agent in range(1, self.team.n_agents):
            index = index * self.team.n_actions + action[..., agent]
        return index.unsqueeze(1)

    def actions(self, chosen: Tensor) -> Tensor:
        """Actions (S, B, I), from indices of the heads' actions (S, K, B); inverts `chosen`."""
        if not self.joint:
            return chosen.transpose(1, 2)
        index = chosen[:, 0]
        digits = []
        for _ in range(self.team.n_agents):
            digits.append(index % self.team.n_actions)
            index = index // self.team.n_actions
        return torch.stack(digits[::-1], -1)


def _sums(summands: Sequence[Tensor]) -> Tensor:
    """The sums (..., A^I) of one number of each agent, from these (..., A) for I agents.

    The agents are halved again and again, so that the largest sum, which costs most, is of two long
    rows.
    """
    if len(summands) == 1:
        return summands[0]
    half = len(summands) // 2
    first, second = _sums(summands[:half]), _sums(summands[half:])
    return (first.unsqueeze(-1) + second.unsqueeze(-2)).flatten(-2)


def without_divergence(preferred: Tensor) -> Tensor:
    """Values or logits without NaN, clipped so that `Heads.bias` outweighs them.

    The best action is then legal even if the networks have diverged.
    """
    return preferred.nan_to_num(0.0).clamp_(-DIVERGED, DIVERGED)


def preference(q: Tensor, *, mixes: bool) -> Tensor:
    """The values by which actions are chosen, (S, K, B, M), from C critics' q (C, S, K, B, M).

    They are those of the smallest critic, or the mean over critics where heads are mixed. There
    only a critic's sum over heads has a meaning. Critics may divide the same sum differently among
    the heads, so that the smallest values of all heads need not belong to any critic's sum.
    """
    return q.mean(0) if mixes else smallest(q)


def smallest(q: Tensor) -> Tensor:
    """The smallest of the critics' values, (...), from (C, ...); faster than `torch.amin`."""
    return functools.reduce(torch.minimum, q.unbind(0))
