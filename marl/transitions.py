"""Transitions as tensors, and which of them an update sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class Transitions(NamedTuple):
    """Transitions of a team of I agents with D features and A actions each; leading dimensions (n,) where stored, (S, B) in a batch."""

    observation: Tensor
    """(..., I, D) float32."""
    mask: Tensor
    """(..., I, A) uint8, 1 where an action is legal."""
    action: Tensor
    """(..., I) int64."""
    reward: Tensor
    """(...,) float32, shared by the team."""
    next_observation: Tensor
    """(..., I, D) float32, the real next observation, also where the episode ended."""
    next_mask: Tensor
    """(..., I, A) uint8."""
    terminated: Tensor
    """(...,) float32, 1 where nothing follows. Truncated episodes are not terminated: their next observation has a value."""

    def batch(self, index: Tensor) -> Transitions:
        """Those at index (S, B) of the first dimension."""
        flat = index.flatten()
        return Transitions(*(field.index_select(0, flat).view(*index.shape, *field.shape[1:]) for field in self))


def check_values(fields: Mapping[str, Tensor]) -> None:
    """Refuse transitions that no environment gives (ValueError): not finite, flags other than 0 and 1, no legal action or an illegal one.

    Args:
        fields: those of `Transitions` by name, (n, ...) each and of shapes that fit; others are left alone.
    """
    for name in ("observation", "reward", "next_observation"):
        if not (finite := torch.isfinite(fields[name])).all():
            raise ValueError(f"{name} must be finite, got {fields[name][~finite][0].item()}")
    for name in ("mask", "next_mask", "terminated", "truncated"):
        if name in fields and (wrong := fields[name][(fields[name] != 0) & (fields[name] != 1)]).numel():
            raise ValueError(f"{name} must be 0 or 1, got {wrong.max().item():g}")
    for name in ("mask", "next_mask"):
        if not fields[name].any(-1).all():
            raise ValueError(f"{name} must leave every agent a legal action")
    action, mask = fields["action"], fields["mask"]
    low, high = int(action.min()), int(action.max())
    if low < 0 or high >= mask.shape[-1]:
        raise ValueError(f"action must be from 0 to {mask.shape[-1] - 1}, got {low if low < 0 else high}")
    legal = mask.gather(-1, action.unsqueeze(-1).long()).squeeze(-1)
    if not legal.all():
        row, agent = (legal == 0).nonzero()[0].tolist()
        raise ValueError(f"action[{row}, {agent}] = {int(action[row, agent])} is illegal under mask {mask[row, agent].tolist()}")


# Weyl increment and multipliers of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), as signed 64-bit integers.
_WEYL = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


def random_bits(seeds: Tensor, counter: Tensor, n: int, stream: int) -> Tensor:
    """(S, n) integers uniform on 0 ... 2^63 - 1, a function of (seed, counter, stream, position) alone.

    Nothing is remembered between calls: a resumed run, a run with other seeds beside it and a captured graph draw the same numbers.

    Args:
        seeds: (S,) int64.
        counter: () int64, such as the number of updates done.
        n: numbers per seed.
        stream: tells apart draws made for different purposes under one counter.
    """
    offset = (_WEYL * (stream + 1) + 2**63) % 2**64 - 2**63  # as 64-bit arithmetic wraps it
    keyed = _scramble(_scramble(seeds + offset) + counter)
    position = torch.arange(1, n + 1, device=seeds.device)
    return _scramble(keyed.unsqueeze(-1) + position * _WEYL) & (2**63 - 1)


def random_uniform(seeds: Tensor, counter: Tensor, n: int, stream: int) -> Tensor:
    """(S, n) float32 uniform on (0, 1), as `random_bits`."""
    return ((random_bits(seeds, counter, n, stream) >> 40).to(torch.float32) + 0.5) * 2.0**-23


def _scramble(bits: Tensor) -> Tensor:
    """SplitMix64's output function; right shifts are made logical by a mask."""
    bits = (bits ^ ((bits >> 30) & (2**34 - 1))) * _FIRST
    bits = (bits ^ ((bits >> 27) & (2**37 - 1))) * _SECOND
    return bits ^ ((bits >> 31) & (2**33 - 1))
