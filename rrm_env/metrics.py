"""Key performance indicators per episode (Section II of the paper) and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 10_000


def sum_rate(ue_rates: Floats) -> Floats:
    """Eq. 9: (episodes, J) rates to their sum over users, (episodes,), bit/s/Hz."""
    total: Floats = ue_rates.sum(axis=-1)
    return total


def tail_rate(ue_rates: Floats) -> Floats:
    """Eq. 10, the 5-percentile rate: the largest rate that at least 95 % of an episode's users reach, (episodes,), bit/s/Hz.

    Of 20 users it is the second-lowest rate; of fewer than 20 the lowest.
    """
    n_ues = ue_rates.shape[-1]
    reached_by = -(-95 * n_ues // 100)
    return np.sort(ue_rates, axis=-1)[..., n_ues - reached_by]


def pooled_tail_rate(ue_rates: Floats) -> float:
    """The 5th percentile (linear interpolation) of all users of all episodes taken together, bit/s/Hz."""
    return float(np.percentile(ue_rates, 5))


def score(ue_rates: Floats, sum_weight: float, tail_weight: float) -> Floats:
    """Eq. 11: mu1 * sum rate + mu2 * 5-percentile rate, (episodes,)."""
    return sum_weight * sum_rate(ue_rates) + tail_weight * tail_rate(ue_rates)


def fairness(ue_rates: Floats) -> Floats:
    """Jain's fairness index (sum x)^2 / (J sum x^2), 1 / J ... 1, (episodes,); 1 where no user got anything."""
    squares = ue_rates.shape[-1] * (ue_rates**2).sum(axis=-1)
    index: Floats = np.divide(sum_rate(ue_rates) ** 2, squares, out=np.ones_like(squares), where=squares > 0)
    return index


def mean_interval(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of the mean of values per episode (episodes,), or per training seed and episode (seeds, episodes).

    Of the latter, seeds and episodes are resampled independently of each other: all seeds were evaluated on the same episodes.
    """
    if values.ndim == 1:
        return bootstrap_interval(values, lambda sample: sample.mean(axis=1), resamples, seed)
    generator = np.random.default_rng(seed)
    n_seeds, n_episodes = values.shape
    seeds = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), resamples)
    episodes = generator.multinomial(n_episodes, np.full(n_episodes, 1 / n_episodes), resamples)
    return _percentiles(((seeds @ values) * episodes).sum(axis=1) / values.size)


def pooled_tail_interval(ue_rates: Floats, resamples: int = 2_000, seed: int = 0) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of `pooled_tail_rate`, resampling whole episodes since users of one are not independent.

    Rates of several training seeds, (seeds, episodes, J), stay together by episode.
    """
    by_episode = np.moveaxis(ue_rates, -2, 0)
    return bootstrap_interval(by_episode, lambda sample: np.percentile(sample.reshape(len(sample), -1), 5, axis=1), resamples, seed)


def bootstrap_interval(
    values: Floats, statistic: Callable[[Floats], Floats], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval over episodes.

    Args:
        values: (episodes, ...).
        statistic: maps a batch of resamples (r, episodes, ...) to (r,).
        resamples: how many.
        seed: of the resampling; equal seeds resample equal episodes, so that intervals of paired values agree.
    """
    generator = np.random.default_rng(seed)
    per_batch = max(1, 4_000_000 // values.size)  # tens of megabytes at a time
    drawn = []
    for start in range(0, resamples, per_batch):
        chosen = generator.integers(len(values), size=(min(per_batch, resamples - start), len(values)))
        drawn.append(statistic(values[chosen]))
    return _percentiles(np.concatenate(drawn))


def _percentiles(drawn: Floats) -> tuple[float, float]:
    low, high = np.percentile(drawn, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)
