"""Counter-based random numbers on any device: a function of seed, counter, stream and position alone."""

from __future__ import annotations

import torch
from torch import Tensor

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
