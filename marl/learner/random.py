"""Counter-based random numbers on any device, with SplitMix64 (Steele, Lea, Flood, OOPSLA 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

Bits = Any
"""64-bit integers in an array of numpy or a tensor, whose operators are the same."""

# Weyl increment and the two multipliers of SplitMix64, as signed 64-bit integers.
_WEYL = 0x9E3779B97F4A7C15 - 2**64
_MULTIPLIER_1 = 0xBF58476D1CE4E5B9 - 2**64
_MULTIPLIER_2 = 0x94D049BB133111EB - 2**64


def random_bits(seeds: Tensor, counter: Tensor, n: int, stream: int) -> Tensor:
    """Random integers (S, n), uniform on 0 ... 2^63 - 1.

    Each number is a function of seed, counter, stream and position alone. A resumed run, a run that
    trains other seeds too, and a captured graph therefore draw the same numbers.

    Args:
        seeds: (S,) int64.
        counter: () int64, such as the number of updates done.
        n: numbers per seed.
        stream: separates draws for different purposes that share a counter.
    """
    if seeds.is_cpu:  # numpy takes a third of the time for so few numbers
        positions = np.arange(1, n + 1, dtype=np.int64)
        return torch.from_numpy(_bits(seeds.numpy()[:, None], counter.numpy(), positions, stream))
    bits: Tensor = _bits(
        seeds.unsqueeze(-1), counter, torch.arange(1, n + 1, device=seeds.device), stream
    )
    return bits


def _bits(seeds: Bits, counter: Bits, position: Bits, stream: int) -> Bits:
    """Random integers (S, n) of seeds (S, 1), a counter () and positions (n,)."""
    offset = (_WEYL * (stream + 1) + 2**63) % 2**64 - 2**63  # wraps like 64-bit arithmetic
    keyed = _scramble(_scramble(seeds + offset) + counter)
    return _scramble(keyed + position * _WEYL) & (2**63 - 1)


def random_uniform(seeds: Tensor, counter: Tensor, n: int, stream: int) -> Tensor:
    """Random float32 numbers (S, n), uniform on (0, 1); arguments as `random_bits`."""
    return ((random_bits(seeds, counter, n, stream) >> 40).to(torch.float32) + 0.5) * 2.0**-23


def _scramble(bits: Bits) -> Bits:
    """The output function of SplitMix64; masks turn arithmetic right shifts into logical ones."""
    bits = (bits ^ ((bits >> 30) & (2**34 - 1))) * _MULTIPLIER_1
    bits = (bits ^ ((bits >> 27) & (2**37 - 1))) * _MULTIPLIER_2
    return bits ^ ((bits >> 31) & (2**33 - 1))
