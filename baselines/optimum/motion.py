"""The channels of evaluation episodes along the users' motion."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from baselines.optimum.choice import Floats
from rrm_env import SILENT, Network, RRMConfig

BLOCK_M = 0.25
"""Users move at most this far in a time block, unless that takes too many blocks."""
MAX_BLOCKS = 40
"""Default limit of the number of blocks; see `default_blocks`."""
MAX_BLOCKS_GIVEN = 400
"""Likewise where gains jump: in a trace, and where users walk out of the line of sight."""
MAX_BLOCKS_LARGE = 10
"""The limit in networks with so many APs that their sets cannot be listed."""
MAX_BLOCKS_GREEDY = 5
"""The limit where local search proves nothing; 10 instead raise the score by .2 % in ``paper``."""


def default_blocks(config: RRMConfig, most: int) -> int:
    """The number of time blocks of an episode, at most ``most``, of nearly constant gains.

    Gains that come from a source may jump from step to step, so there are as many as are allowed.
    """
    if config.channel_is_given:
        return min(MAX_BLOCKS_GIVEN if most == MAX_BLOCKS else most, config.episode_length)
    length = config.step_length_m * config.episode_length
    return max(1, min(most, config.episode_length, math.ceil(length / BLOCK_M)))


def edges(config: RRMConfig, blocks: int) -> list[int]:
    """The first step of each block, and the episode's length."""
    return [config.episode_length * b // blocks for b in range(blocks + 1)]


def along_the_motion(
    config: RRMConfig, first_seed: int, episodes: int, blocks: int, *, fading: bool = False
) -> tuple[Floats, NDArray[np.int64]]:
    """The gains in the middle step of each block, and the association.

    Positions, shadowing and fading do not depend on what is served, so a silent network shows them.

    Args:
        config: the network.
        first_seed: the episode seed of the first episode.
        episodes: number of episodes, E.
        blocks: number of time blocks, n.
        fading: whether the gains contain the fading of that step.

    Returns:
        gains (E, n, I, J) over noise, linear, and association (E, J).
    """
    network = Network(config, episodes)
    network.reset(first_seed)
    gain = np.empty((episodes, blocks, config.n_aps, config.n_ues))
    silence = np.full((episodes, config.n_aps), SILENT)
    starts = edges(config, blocks)
    for b in range(blocks):
        middle = (starts[b] + starts[b + 1] - 1) // 2
        while network.t < middle:
            network.step(silence)
        gain[:, b] = network.gain if fading else network.large_scale_gain
    return gain, network.association.astype(np.int64)
