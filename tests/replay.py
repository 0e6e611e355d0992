"""Play episodes under given actions, and compare their outputs to the last bit."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rrm_env import RRMConfig

CONFIGS: dict[str, RRMConfig] = {
    "paper": RRMConfig(episode_length=6),
    "correlated": RRMConfig.preset("correlated", episode_length=6),
    "wide": RRMConfig.preset("wide", episode_length=4),
    "dense": RRMConfig.preset("dense", episode_length=4),
    "current_csi_without_fading": RRMConfig(fading="none", csi_delay=0, episode_length=5),
    "old_jakes_reports": RRMConfig(fading="jakes", csi_delay=3, n_aps=5, episode_length=6),
    "one_ap": RRMConfig(n_aps=1, n_ues=7, episode_length=5),
    "one_candidate": RRMConfig(n_aps=2, n_ues=5, n_candidates=1, episode_length=5),
    "empty_aps": RRMConfig(n_aps=6, n_ues=2, episode_length=6),
    "more_candidates_than_users": RRMConfig(n_aps=2, n_ues=3, n_candidates=5, episode_length=6),
}
"""Presets and corner cases, short episodes."""


def random_actions(config: RRMConfig, num_envs: int, seed: int = 0) -> NDArray[np.int64]:
    """Random actions (T, B, I) of whole episodes, including masked ones."""
    shape = (config.episode_length, num_envs, config.n_aps)
    return np.random.default_rng(seed).integers(config.n_actions, size=shape)


def named(env: Any, actions: NDArray[np.int64]) -> dict[str, int]:
    """The action dictionary of (I,) actions."""
    return dict(zip(env.possible_agents, actions.tolist(), strict=True))


def play(env: Any, actions: NDArray[np.int64], seed: int | None = None) -> list[Any]:
    """Copies of all that a parallel environment returns in one episode, `reset` first.

    `actions` has shape (T, I).
    """
    frames: list[Any] = [copy.deepcopy((*env.reset(seed=seed), env.state()))]
    for row in actions:
        frames.append(copy.deepcopy((*env.step(named(env, row)), env.state(), env.agents)))  # noqa: PERF401 (steps have an order)
    return frames


def assert_identical(left: Any, right: Any) -> None:
    """Assert equal structure, types, shapes and bits."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert list(left) == list(right)
        assert_identical(list(left.values()), list(right.values()))
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_identical(one, other)
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right, strict=True)
    else:
        assert left == right
