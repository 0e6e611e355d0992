"""Networks that set prices, with random parameters, and random links for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import World

from marl import GraphConfig, GraphPolicy
from marl.graph.files import write_policy
from marl.graph.links import Links
from marl.graph.network import Parameters, initialise
from rrm_env import RRMConfig

TINY = GraphConfig(n_neighbours=3, n_interferers=2, width=6)

drawn = st.integers(0, 2**32 - 1)
"""Seeds of the generators of tests."""
tiny_configs = st.builds(
    GraphConfig,
    n_neighbours=st.sampled_from([2, 3, 5]),
    n_interferers=st.sampled_from([1, 2]),
    width=st.sampled_from([1, 4]),
    rounds=st.sampled_from([0, 1, 2]),
)


def random_parameters(config: GraphConfig, seeds: Sequence[int], scale: float = 0.7) -> Parameters:
    """Parameters of S networks whose prices differ widely."""
    parameters = initialise(config, seeds)
    for name, tensor in sorted(parameters.items()):
        for row, seed in zip(tensor, seeds, strict=True):
            generator = torch.Generator().manual_seed(seed * 1000 + len(name))
            row += scale * torch.randn(row.shape, generator=generator)
    return parameters


def policy_file(path: Path, config: GraphConfig = TINY, seed: int = 0) -> str:
    """A file with a policy of random parameters."""
    write_policy(path, config, random_parameters(config, [seed]), 0, {})
    return str(path)


def random_policy(
    folder: Path, config: GraphConfig = TINY, seed: int = 0, **options: Any
) -> GraphPolicy:
    """A policy of random parameters."""
    return GraphPolicy(policy_file(folder / f"{seed}.safetensors", config, seed), **options)


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


# --- Policies in episodes that a test writes ---


def plan_of(policy: GraphPolicy, network: Any) -> Any:
    return policy._plans[network]


def world(seed: int, length: int = 25, n_aps: int = 3, n_ues: int = 9, b: int = 2) -> World:
    """Episodes with random gains, in which every AP has users."""
    generator = np.random.default_rng(seed)
    config = RRMConfig(n_aps=n_aps, n_ues=n_ues, episode_length=length)
    gain = random_gains(generator, b, n_aps, n_ues, spread_db=8.0)[0]
    return World(config, gain.astype(np.float64), np.tile(np.arange(n_ues) % n_aps, (b, 1)))


def played(policy: GraphPolicy, world: World, rates: Any, later: Any = None) -> NDArray[np.int64]:
    """(T, B, I) decisions under rates (T, B, J), with other gains after the first step."""
    policy.reset(world)  # type: ignore[arg-type]
    decisions = []
    for t in range(world.config.episode_length):
        if later is not None and t == 1:
            world.large_scale_gain = later
        decisions.append(policy.schedule(world))  # type: ignore[arg-type]
        world.step(rates[t])
    return np.array(decisions)


def random_rates(seed: int, world: World) -> NDArray[np.float64]:
    shape = world.config.episode_length, *world.association.shape
    return np.random.default_rng(seed).exponential(size=shape)
