"""Networks that set prices, with random parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
from folders import ROOT
from hypothesis import strategies as st

from baselines import registry
from marl import GraphConfig
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


def declare_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let entry points be those that this tree declares, whichever revision is installed."""
    group = registry.ENTRY_POINTS
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition(f'[project.entry-points."{group}"]\n')[2].partition("\n\n")[0]
    found = [
        EntryPoint(name, value, group)
        for name, value in re.findall(r'(?m)^(\w+) = "(.*)"', section)
    ]
    monkeypatch.setattr(
        registry, "entry_points", lambda **given: found if given == {"group": group} else []
    )
