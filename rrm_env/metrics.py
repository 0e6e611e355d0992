"""Key performance indicators (KPIs) per episode and their bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rrm_env.config import RRMConfig

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 10_000
RATE_UNIT = "bit/s/Hz"


def sum_rate(ue_rates: Floats) -> Floats:
    """Eq. 9: the sum of an episode's rates (episodes, J) over its users, (episodes,), bit/s/Hz."""
    total: Floats = ue_rates.sum(axis=-1)
    return total


def tail_rate(ue_rates: Floats) -> Floats:
    """Eq. 10: the 5-percentile rate of an episode's users, (episodes,), bit/s/Hz.

    It is the largest rate that at least 95 % of the users reach: of 20 users the second-lowest
    rate, of fewer than 20 the lowest.
    """
    return np.sort(ue_rates, axis=-1)[..., n_below_tail(ue_rates.shape[-1])]


def n_below_tail(n_ues: int) -> int:
    """How many of an episode's users Eq. 10 leaves out: one of 20."""
    reached_by = -(-95 * n_ues // 100)
    return n_ues - reached_by


def worst_rate(ue_rates: Floats) -> Floats:
    """The lowest rate of an episode's users, (episodes,), bit/s/Hz.

    Of 20 users Eq. 10 leaves it out.
    """
    lowest: Floats = ue_rates.min(axis=-1)
    return lowest


def pooled_tail_rate(ue_rates: Floats) -> float:
    """The 5th percentile over all users of all episodes together, bit/s/Hz.

    It is interpolated linearly, as `numpy.percentile` does.
    """
    return float(np.percentile(ue_rates, 5))


def score(ue_rates: Floats, sum_weight: float, tail_weight: float) -> Floats:
    """Eq. 11: mu1 * sum rate + mu2 * 5-percentile rate, (episodes,)."""
    return sum_weight * sum_rate(ue_rates) + tail_weight * tail_rate(ue_rates)


def minimum_score(ue_rates: Floats, sum_weight: float, tail_weight: float) -> Floats:
    """The score with the lowest rate of all users as its tail, (episodes,).

    It counts everybody, so leaving users out never pays.
    """
    return sum_weight * sum_rate(ue_rates) + tail_weight * worst_rate(ue_rates)


def fairness(ue_rates: Floats) -> Floats:
    """Jain's fairness index (sum x)^2 / (J sum x^2), from 1 / J to 1, (episodes,).

    It is 1 where no user got anything.
    """
    squares = ue_rates.shape[-1] * (ue_rates**2).sum(axis=-1)
    index: Floats = np.divide(
        sum_rate(ue_rates) ** 2, squares, out=np.ones_like(squares), where=squares > 0
    )
    return index


@dataclass(frozen=True)
class KPI:
    """A key performance indicator with one value per episode."""

    heading: str
    """Its name in texts, tables and pictures."""
    unit: str
    """Empty where it has none."""
    digits: int
    """Digits after the point in tables."""
    value: Callable[[Floats, RRMConfig], Floats]
    """Computes the KPI (...) from rates (..., J), averaged over the episode."""
    learners: bool = True
    """Whether learning curves, sweeps and results of learners state it too.

    The comparison of schedulers states every KPI.
    """

    @property
    def axis(self) -> str:
        """The heading with the unit, for the axes of plots."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


KPIS = {
    "sum_rate": KPI("sum rate", RATE_UNIT, 2, lambda rates, _: sum_rate(rates)),
    "tail_rate": KPI("5-percentile rate", RATE_UNIT, 3, lambda rates, _: tail_rate(rates)),
    "worst_rate": KPI("worst user's rate", RATE_UNIT, 3, lambda rates, _: worst_rate(rates)),
    "score": KPI("score", "", 3, lambda rates, c: score(rates, c.sum_weight, c.score_tail_weight)),
    "minimum_score": KPI(
        "worst-user score",
        "",
        3,
        lambda rates, c: minimum_score(rates, c.sum_weight, c.score_tail_weight),
        learners=False,
    ),
    "fairness": KPI("Jain's index", "", 2, lambda rates, _: fairness(rates), learners=False),
}
"""All KPIs, by the names of `Evaluation`'s attributes.

Whatever computes, stores, prints or draws KPIs reads this table.
"""

EPISODE_INFOS = ("sum_rate", "tail_rate", "worst_rate", "score")
"""KPIs that the last infos of an episode hold, beside ``ue_rates``."""


def episode_infos(ue_rates: Floats, config: RRMConfig) -> dict[str, Floats]:
    """What an environment's last infos say of an episode: `EPISODE_INFOS` and ``ue_rates``.

    Args:
        ue_rates: (..., J) rates averaged over the episode, bit/s/Hz.
        config: the network.
    """
    kpis = {name: KPIS[name].value(ue_rates, config) for name in EPISODE_INFOS}
    return {**kpis, "ue_rates": ue_rates}


PAPER_KPIS = ("sum_rate", "tail_rate", "score")
"""The KPIs that the paper compares by (Eqs. 9 to 11)."""

LEARNERS_KPIS = tuple(name for name, kpi in KPIS.items() if kpi.learners)
"""The KPIs that learning curves, sweeps and results of learners state."""


def axis_label(name: str) -> str:
    """The heading and unit of a KPI; the name itself of any other quantity, such as the return."""
    return KPIS[name].axis if name in KPIS else name


def mean_interval(values: Floats, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of the mean of values (episodes,) or (seeds, episodes).

    With training seeds, seeds and episodes are resampled independently of each other, since all
    seeds were evaluated on the same episodes.
    """
    if values.ndim == 1:
        return bootstrap_interval(values, lambda sample: sample.mean(axis=1), resamples, seed)
    generator = np.random.default_rng(seed)
    seeds, episodes = (_multiplicities(generator, n, resamples) for n in values.shape)
    return _percentiles(((seeds @ values) * episodes).sum(axis=1) / values.size)


def difference_interval(
    first: Floats, second: Floats, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of mean(first) - mean(second), paired by episode.

    Each is (episodes,) or (seeds, episodes) of the same episodes. Every resample draws episodes for
    both together, and training seeds for each on its own: a stratified bootstrap whose strata are
    the two learners.
    """
    firsts, seconds = _paired_means(first, second, resamples, seed)
    return _percentiles(firsts - seconds)


def ratio_interval(
    first: Floats, second: Floats, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of mean(first) / mean(second), paired by episode.

    Resampled as in `difference_interval`; ``second`` must be positive.
    """
    firsts, seconds = _paired_means(first, second, resamples, seed)
    return _percentiles(firsts / seconds)


def interquartile_mean(values: Floats) -> float:
    """Mean of the middle half of all values, over all training seeds and episodes together.

    Agarwal et al., "Deep reinforcement learning at the edge of the statistical precipice", NeurIPS
    2021.
    """
    return float(_middle_half(np.sort(values, axis=None)).mean())


def interquartile_mean_interval(
    values: Floats, resamples: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of `interquartile_mean`; see `mean_interval`."""
    values = np.atleast_2d(values)
    generator = np.random.default_rng(seed)
    drawn = np.empty(resamples)
    for k in range(resamples):
        seeds, episodes = (generator.integers(n, size=n) for n in values.shape)
        drawn[k] = _middle_half(np.sort(values[np.ix_(seeds, episodes)], axis=None)).mean()
    return _percentiles(drawn)


def probability_of_improvement(
    first: Floats, second: Floats, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float]:
    """Probability that a training seed of the first learner beats one of the second in an episode.

    Agarwal et al. (NeurIPS 2021), with episodes as tasks; equal values count half. Resampled as in
    `difference_interval`.

    Returns:
        the probability, and the bounds of its 95 % bootstrap interval.
    """
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    wins = (first[:, None] > second).astype(float) + 0.5 * (first[:, None] == second)
    generator = np.random.default_rng(seed)
    episodes, firsts, seconds = (
        _multiplicities(generator, n, resamples) for n in (first.shape[1], len(first), len(second))
    )
    by_pair = np.tensordot(episodes, wins, (1, 2))
    drawn = np.einsum("rij,ri,rj->r", by_pair, firsts, seconds) / wins.size
    return float(wins.mean()), *_percentiles(drawn)


def pooled_tail_interval(
    ue_rates: Floats, resamples: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of `pooled_tail_rate`.

    Whole episodes are resampled, since the users of one are not independent. Rates of several
    training seeds, (seeds, episodes, J), stay together by episode.
    """
    by_episode = np.moveaxis(ue_rates, -2, 0)
    return bootstrap_interval(
        by_episode,
        lambda sample: np.percentile(sample.reshape(len(sample), -1), 5, axis=1),
        resamples,
        seed,
    )


def bootstrap_interval(
    values: Floats, statistic: Callable[[Floats], Floats], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval over episodes.

    Args:
        values: (episodes, ...).
        statistic: maps a batch of resamples (r, episodes, ...) to (r,).
        resamples: number of resamples.
        seed: of the resampling; equal seeds resample equal episodes, so that intervals of paired
            values agree.
    """
    generator = np.random.default_rng(seed)
    per_batch = max(1, 4_000_000 // values.size)  # tens of megabytes at a time
    drawn = []
    for start in range(0, resamples, per_batch):
        chosen = generator.integers(
            len(values), size=(min(per_batch, resamples - start), len(values))
        )
        drawn.append(statistic(values[chosen]))
    return _percentiles(np.concatenate(drawn))


def rank_correlation(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation of paired values (n,) without ties."""
    return float(np.corrcoef(first.argsort().argsort(), second.argsort().argsort())[0, 1])


def _multiplicities(generator: np.random.Generator, n: int, resamples: int) -> NDArray[np.int64]:
    """(resamples, n) how often each of n items is drawn when n are drawn with replacement."""
    return generator.multinomial(n, np.full(n, 1 / n), resamples)


def _paired_means(first: Floats, second: Floats, resamples: int, seed: int) -> list[Floats]:
    """(resamples,) means of each over the same episodes, and over training seeds of its own."""
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    generator = np.random.default_rng(seed)
    episodes = _multiplicities(generator, first.shape[1], resamples)
    return [
        ((_multiplicities(generator, len(values), resamples) @ values) * episodes).sum(axis=1)
        / values.size
        for values in (first, second)
    ]


def _middle_half(ordered: Floats) -> Floats:
    cut = ordered.size // 4
    return ordered[cut : ordered.size - cut]


def _percentiles(drawn: Floats) -> tuple[float, float]:
    low, high = np.percentile(drawn, [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)
