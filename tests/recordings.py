"""Small recorded datasets that differ in how their rows follow one another."""

from __future__ import annotations

import torch
from toys import SMALL, Match, UnequalAgents, arrays, made_up

from baselines import RandomWalk
from marl import Dataset, collect, collect_parallel
from rrm_env import RRMConfig

CROWDED_OUT = RRMConfig(n_aps=2, n_ues=3, n_candidates=2, episode_length=10)
"""Fewer users than candidates: access points have empty slots."""


def recorded(transitions: int = 45, seed: int = 0, config: RRMConfig = SMALL) -> Dataset:
    """Episodes of ten steps; the last one may be cut."""
    return collect(RandomWalk(silence=True), config, transitions, seed)


def kinds() -> dict[str, Dataset]:
    """A dataset of each kind, by name."""
    whole = recorded()
    always = torch.ones(6, dtype=torch.uint8)
    return {
        "whole episodes": whole,
        "subset": whole.subset(20, seed=1),
        "mixture": Dataset.mix([whole, recorded(seed=1)], 30),
        "several behaviours": Dataset.concatenate([whole, recorded(seed=1)]),
        "another environment": collect_parallel(UnequalAgents, None, 50),
        "one step": collect_parallel(Match, None, 7),
        "random numbers": made_up(),
        "both flags": Dataset(**{**arrays(), "terminated": always, "truncated": always.clone()}),
    }


KINDS = kinds()


def assert_equal(one: Dataset, other: Dataset) -> None:
    """Assert equal arrays, to the bit, and equal metadata."""
    for name, tensor in one.tensors().items():
        found = other.tensors()[name]
        assert tensor.dtype == found.dtype
        assert tensor.numpy().tobytes() == found.numpy().tobytes(), name
    assert one.metadata == other.metadata
    assert one.fingerprint() == other.fingerprint()
