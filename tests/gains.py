"""Random gains and their links, and episodes in which schedulers decide by them."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import World

from baselines import Debts
from baselines.links import Links
from rrm_env import RRMConfig

drawn = st.integers(0, 2**32 - 1)
"""Seeds of the generators of tests."""


def random_gains(
    generator: np.random.Generator, b: int, n_aps: int, n_ues: int, spread_db: float = 20.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gains (B, I, J) and the APs of the users (B, J), which need not be the strongest."""
    gain = 10 ** (generator.normal(10, spread_db, (b, n_aps, n_ues)) / 10)
    return gain.astype(np.float32), generator.integers(0, n_aps, (b, n_ues))


def links_of(gain: Any, association: Any, n_neighbours: int, neighbours: Any = None) -> Links:
    """The links of gains (B, I, J) and associations (B, J), arrays or lists."""
    return Links.of_gains(
        np.asarray(gain, np.float32), np.asarray(association), n_neighbours, neighbours
    )


def random_links(
    generator: np.random.Generator, b: int, n_aps: int, n_ues: int, n_neighbours: int
) -> Links:
    return Links.of_gains(*random_gains(generator, b, n_aps, n_ues), n_neighbours)


def permuted(
    gain: NDArray[Any], association: NDArray[Any], aps: NDArray[Any], users: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same episodes whose AP i was called aps[i] before, and whose user j users[j]."""
    return gain[:, aps][:, :, users], np.argsort(aps)[association[:, users]]


# --- Schedulers in episodes that a test writes ---


def plan_of(scheduler: Debts, network: Any) -> Any:
    return scheduler._plans[network]


def world(seed: int, length: int = 25, n_aps: int = 3, n_ues: int = 9, b: int = 2) -> World:
    """Episodes with random gains, in which every AP has users."""
    generator = np.random.default_rng(seed)
    config = RRMConfig(n_aps=n_aps, n_ues=n_ues, episode_length=length)
    gain = random_gains(generator, b, n_aps, n_ues, spread_db=8.0)[0]
    return World(config, gain.astype(np.float64), np.tile(np.arange(n_ues) % n_aps, (b, 1)))


def played(scheduler: Debts, world: World, rates: Any, later: Any = None) -> NDArray[np.int64]:
    """(T, B, I) decisions under rates (T, B, J), with other gains after the first step."""
    scheduler.reset(world)  # type: ignore[arg-type]
    decisions = []
    for t in range(world.config.episode_length):
        if later is not None and t == 1:
            world.large_scale_gain = later
        decisions.append(scheduler.schedule(world))  # type: ignore[arg-type]
        world.step(rates[t])
    return np.array(decisions)


def random_rates(seed: int, world: World) -> NDArray[np.float64]:
    shape = world.config.episode_length, *world.association.shape
    return np.random.default_rng(seed).exponential(size=shape)
