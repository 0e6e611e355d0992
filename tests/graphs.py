"""Networks that set prices, with random parameters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from marl import GraphConfig, GraphPolicy
from marl.graph.files import write_policy
from marl.graph.network import Parameters, initialise

TINY = GraphConfig(n_neighbours=3, n_interferers=2, width=6)

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
