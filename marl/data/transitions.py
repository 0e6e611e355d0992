"""Transitions: the table of their columns, the tensors that learners read, checks of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from marl.team import Team


class Column(NamedTuple):
    """One column of a dataset, which has a row for each transition."""

    axes: str
    """Axes of a row: I agents, D features of an observation, A actions."""
    dtype: str
    """Type in which the column is stored, by the name that numpy and torch share."""
    meaning: str
    """Explanation for dataset cards."""

    def shape(self, team: Team) -> tuple[int, ...]:
        """The shape of one row for a team."""
        sizes = {"I": team.n_agents, "D": team.n_features, "A": team.n_actions}
        return tuple(sizes[axis] for axis in self.axes)


COLUMNS = {
    "observation": Column("ID", "float32", "what each agent saw"),
    "mask": Column("IA", "uint8", "1 where an action was legal"),
    "action": Column("I", "int32", "what each agent did, legal"),
    "reward": Column("", "float32", "shared by all agents"),
    "next_observation": Column("ID", "float32", "what followed, also where the episode ended"),
    "next_mask": Column("IA", "uint8", "its mask"),
    "terminated": Column("", "uint8", "1 where nothing follows by the environment's rules"),
    "truncated": Column(
        "", "uint8", "1 where the recording of an episode stops for another reason"
    ),
    "behaviour": Column("", "int32", "which of the behaviours below acted"),
}
"""The columns of a dataset by name, in the order in which files store them."""

LEARNED = {"action": torch.int64, "terminated": torch.float32}
"""Types in which learners read columns, where they differ from the stored ones."""


def learned_dtype(name: str) -> torch.dtype:
    """The type in which learners read a column."""
    dtype: torch.dtype = LEARNED.get(name, getattr(torch, COLUMNS[name].dtype))
    return dtype


class Transitions(NamedTuple):
    """Transitions as learners read them, of I agents with D features and A actions each.

    The leading dimensions are (n,) for n stored transitions and (S, B) for a batch.
    """

    observation: Tensor
    """(..., I, D) float32."""
    mask: Tensor
    """(..., I, A) uint8, 1 where an action is legal."""
    action: Tensor
    """(..., I) int64."""
    reward: Tensor
    """(...,) float32, shared by the team."""
    next_observation: Tensor
    """(..., I, D) float32, the next observation of the same episode, also where it ended."""
    next_mask: Tensor
    """(..., I, A) uint8."""
    terminated: Tensor
    """(...,) float32, 1 where the episode ended by the environment's rules and no value follows.

    Truncated episodes count as 0: their next observation has a value.
    """

    def batch(self, index: Tensor) -> Transitions:
        """The stored transitions at ``index`` (S, B), with leading dimensions (S, B)."""
        flat = index.flatten()
        return Transitions(
            *(field.index_select(0, flat).view(*index.shape, *field.shape[1:]) for field in self)
        )


def check_values(fields: Mapping[str, Tensor]) -> None:
    """Check that an environment can have given the values of transitions.

    Args:
        fields: the fields of `Transitions` by name, (n, ...) each, with shapes that fit together;
            ``truncated`` is checked too, other names are ignored.

    Raises:
        ValueError: a value is not finite, a flag is neither 0 nor 1, an agent has no legal action,
            or an action is illegal.
    """
    for name in ("observation", "reward", "next_observation"):
        if not (finite := torch.isfinite(fields[name])).all():
            raise ValueError(f"{name} must be finite, got {fields[name][~finite][0].item()}")
    for name in ("mask", "next_mask", "terminated", "truncated"):
        if name not in fields:
            continue
        wrong = fields[name][(fields[name] != 0) & (fields[name] != 1)]
        if wrong.numel():
            raise ValueError(f"{name} must be 0 or 1, got {wrong.max().item():g}")
    for name in ("mask", "next_mask"):
        if not fields[name].any(-1).all():
            raise ValueError(f"{name} must leave every agent a legal action")
    action, mask = fields["action"], fields["mask"]
    low, high = int(action.min()), int(action.max())
    if low < 0 or high >= mask.shape[-1]:
        raise ValueError(
            f"action must be from 0 to {mask.shape[-1] - 1}, got {low if low < 0 else high}"
        )
    legal = mask.gather(-1, action.unsqueeze(-1).long()).squeeze(-1)
    if not legal.all():
        row, agent = (legal == 0).nonzero()[0].tolist()
        raise ValueError(
            f"action[{row}, {agent}] = {int(action[row, agent])} is illegal under mask "
            f"{mask[row, agent].tolist()}"
        )
