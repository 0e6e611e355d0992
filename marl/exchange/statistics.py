"""What a dataset covers and how good it is: episodes, legal actions, state-action coverage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines import RandomWalk
from marl.data.collect import collect
from marl.data.dataset import Dataset
from marl.exchange.d3rlpy import episode_ends

Floats = NDArray[np.float64]

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Quantiles that cards state of a distribution."""

BITS = 12
"""Bits of the hash by which joint observations are discretised, 2^12 cells."""
_HASH_SEED = 0
_ROWS = 8192
"""Rows that are hashed at once."""
_REFERENCE_EPISODES = 20


def episode_values(dataset: Dataset) -> dict[str, Floats]:
    """Return and KPIs of every recorded episode, (episodes,) by name.

    They come from the metadata, which named datasets have (`Recording.keeps_episodes`). Without
    them there is only ``return``: the sums of rewards over the uninterrupted pieces of episodes.
    """
    kept = [behaviour.get("episodes") or {} for behaviour in _behaviours(dataset)]
    if kept and all(kept):
        return {
            name: np.concatenate([np.asarray(episodes[name], np.float64) for episodes in kept])
            for name in kept[0]
        }
    piece = np.concatenate([[0], episode_ends(dataset).cumsum()[:-1]])
    returns = np.zeros(int(piece[-1]) + 1)
    np.add.at(returns, piece, dataset.reward.double().numpy())
    return {"return": returns}


def values_by_behaviour(dataset: Dataset, name: str) -> dict[str, Floats]:
    """A value of `episode_values` for each behaviour by its name; none where it is not kept."""
    found: dict[str, list[float]] = {}
    for k, behaviour in enumerate(_behaviours(dataset)):
        if values := (behaviour.get("episodes") or {}).get(name):
            found.setdefault(str(behaviour.get("name", k)), []).extend(values)
    return {behaviour: np.array(values) for behaviour, values in found.items()}


def _behaviours(dataset: Dataset) -> list[Mapping[str, Any]]:
    return list(dataset.metadata.get("behaviours", []))


def distribution(values: Floats) -> dict[str, float]:
    """Mean, standard deviation (of the sample, with n) and `QUANTILES` of values (n,), n > 0.

    Quantiles are interpolated linearly; their names are ``min``, ``5 %`` ... ``95 %``, ``max``.
    """
    names = ["min", *(f"{100 * q:.0f} %" for q in QUANTILES[1:-1]), "max"]
    quantiles = np.quantile(values, QUANTILES)
    return {
        "mean": float(values.mean()),
        "sd": float(values.std()),
        **{name: float(value) for name, value in zip(names, quantiles, strict=True)},
    }


def legal_actions(dataset: Dataset) -> dict[str, float]:
    """The number of legal actions of one agent: ``mean``, ``min`` and ``max`` over agents and rows.

    ``all`` is the share of decisions in which every action was legal.
    """
    counts = dataset.mask.sum(dim=-1)
    return {
        "mean": float(counts.double().mean()),
        "min": int(counts.min()),
        "max": int(counts.max()),
        "all": float((counts == dataset.team.n_actions).double().mean()),
    }


def state_action_coverage(dataset: Dataset, bits: int = BITS) -> float:
    """Joint state-action coverage: unique joint state-action pairs over transitions, above 0, to 1.

    SACo counts unique state-action pairs (K. Schweighofer et al., "A dataset perspective on offline
    reinforcement learning", CoLLAs 2022, there over those of a reference dataset). Here states and
    actions are joint, and the count is divided by the number of transitions, as in C. Formanek et
    al., "Putting data at the centre of offline multi-agent reinforcement learning", arXiv
    2409.12001.

    Observations are continuous, so states are discretised: the joint observation o is hashed to the
    ``bits`` signs of G (o - m) / s, with a fixed Gaussian matrix G (SimHash; H. Tang et al.,
    "#Exploration", NIPS 2017). m and s, the mean and standard deviation of each feature, are those
    of a random walk in the network, so that all datasets of a network share the cells; of another
    environment they are the dataset's own.

    Args:
        dataset: the dataset.
        bits: number of signs, 1 to 30; more make smaller cells and a higher coverage.
    """
    pairs = hashed_states(dataset, bits)
    for agent in range(dataset.team.n_agents):
        # Numbered anew after every agent, so that no number overflows.
        pairs = pairs * dataset.team.n_actions + dataset.action[:, agent].numpy()
        pairs = np.unique(pairs, return_inverse=True)[1].reshape(-1)
    return float(pairs.max() + 1) / len(dataset)


def hashed_states(dataset: Dataset, bits: int = BITS) -> NDArray[np.int64]:
    """(n,) the cell of each joint observation, as `state_action_coverage` describes."""
    mean, deviation = _scale(dataset)
    size = dataset.team.n_agents * dataset.team.n_features
    matrix = np.random.default_rng(_HASH_SEED).standard_normal((size, bits))
    powers = 2 ** np.arange(bits, dtype=np.int64)
    cells = []
    for start in range(0, len(dataset), _ROWS):
        rows = dataset.observation[start : start + _ROWS].numpy()
        scaled = (rows - mean) / deviation
        cells.append((scaled.reshape(len(rows), size) @ matrix > 0) @ powers)
    return np.concatenate(cells)


def _scale(dataset: Dataset) -> tuple[Floats, Floats]:
    """(D,) mean and standard deviation of each feature, which is 1 where a feature is constant."""
    config = dataset.environment.network
    if config is not None:
        n = _REFERENCE_EPISODES * config.episode_length
        dataset = collect(RandomWalk(silence=True), config, n)
    observation = dataset.observation.double()
    mean = observation.mean(dim=(0, 1)).numpy()
    deviation = observation.std(dim=(0, 1), correction=0).numpy()
    return mean, np.where(deviation > 0, deviation, 1.0)
