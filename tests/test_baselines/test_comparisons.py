"""Differences, interquartile means and probabilities of improvement, against loops."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rrm_env import metrics

Values = NDArray[np.float64]


def learner(seeds: int, episodes: int, seed: int) -> Values:
    """Values (seeds, episodes) in which both matter."""
    generator = np.random.default_rng(seed)
    return (
        generator.gamma(1.0, size=(seeds, episodes))
        + np.linspace(0, 2, seeds)[:, None]
        + np.linspace(0, 3, episodes)
    )


def resampled(
    statistic: Callable[[Values, Values], float], first: Values, second: Values, n: int = 6_000
) -> tuple[float, float]:
    """95 % interval by the book: episodes drawn for both together, seeds for each on its own."""
    generator, drawn = np.random.default_rng(99), []
    for _ in range(n):
        episodes = generator.integers(first.shape[1], size=first.shape[1])
        parts = [
            values[np.ix_(generator.integers(len(values), size=len(values)), episodes)]
            for values in (first, second)
        ]
        drawn.append(statistic(*parts))
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def width(interval: tuple[float, float]) -> float:
    """From its low to its high end."""
    return interval[1] - interval[0]


# --- Differences ---


def test_interval_of_a_difference_resamples_episodes_together_and_seeds_apart() -> None:
    first, second = learner(5, 12, 0), learner(3, 12, 1)
    interval = metrics.difference_interval(first, second)
    expected = resampled(lambda left, right: float(left.mean() - right.mean()), first, second)
    assert interval == pytest.approx(expected, abs=0.04 * width(expected))
    assert interval == metrics.difference_interval(first, second)
    assert interval != metrics.difference_interval(first, second, seed=1)


def test_interval_of_a_difference_is_paired_by_episode() -> None:
    generator = np.random.default_rng(2)
    episodes = generator.normal(0, 10, 200)
    first, second = (mean + episodes + generator.normal(0, 0.1, (4, 200)) for mean in (1.0, 0.5))
    low, high = metrics.difference_interval(first, second)
    assert low < 0.5 < high
    assert 0 < high - low < 0.03 * width(metrics.mean_interval(first))
    shuffled = second[:, generator.permutation(200)]
    assert width(metrics.difference_interval(first, shuffled)) > 30 * (high - low)


def test_interval_of_a_ratio_resamples_episodes_together_and_seeds_apart() -> None:
    first, second = learner(5, 12, 0), learner(3, 12, 1)
    interval = metrics.ratio_interval(first, second)
    expected = resampled(lambda left, right: float(left.mean() / right.mean()), first, second)
    assert interval == pytest.approx(expected, abs=0.04 * width(expected))
    assert interval == metrics.ratio_interval(first, second)
    assert metrics.ratio_interval(0.4 * second[0], second[0]) == pytest.approx((0.4, 0.4))


def test_interval_of_a_difference_covers_the_truth_about_19_times_in_20() -> None:
    generator, covered, shape = np.random.default_rng(3), 0, (20, 30)
    for _ in range(300):
        episodes = generator.normal(0, 3, (1, 30))
        first, second = (
            generator.normal(mean, 1, (20, 1))
            + generator.normal(0, 1, (1, 30))
            + episodes
            + generator.normal(0, 1, shape)
            for mean in (2.0, 1.5)
        )
        low, high = metrics.difference_interval(first, second, resamples=400)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 300 <= 0.98  # resampling 20 seeds falls a little short of 0.95


def test_interval_of_a_difference_does_not_shrink_with_copies_of_a_seed_or_of_an_episode() -> None:
    first, second = learner(1, 50, 4), learner(1, 50, 5)
    interval = metrics.difference_interval(first, second)
    copied = metrics.difference_interval(np.tile(first, (30, 1)), np.tile(second, (20, 1)))
    assert copied == pytest.approx(interval, abs=0.04 * width(interval))
    first, second = first[0, :6, None], second[0, :6, None]
    interval = metrics.difference_interval(first, second)
    copied = metrics.difference_interval(np.tile(first, 40), np.tile(second, 40))
    assert copied == pytest.approx(interval, abs=0.04 * width(interval))


def test_values_of_one_dimension_are_those_of_one_seed() -> None:
    first, second = learner(1, 30, 6), learner(1, 30, 7)
    several = learner(3, 30, 8)
    assert metrics.difference_interval(first[0], second[0]) == metrics.difference_interval(
        first, second
    )
    assert metrics.difference_interval(first[0], several) == metrics.difference_interval(
        first, several
    )
    paired = metrics.difference_interval(first[0], second[0])
    assert paired == pytest.approx(
        metrics.mean_interval(first[0] - second[0]), abs=0.04 * width(paired)
    )
    assert metrics.probability_of_improvement(
        first[0], several
    ) == metrics.probability_of_improvement(first, several)
    assert metrics.interquartile_mean_interval(first[0]) == metrics.interquartile_mean_interval(
        first
    )


def test_difference_the_other_way_round_has_the_opposite_interval() -> None:
    first, second = learner(4, 25, 9), learner(4, 25, 10)
    low, high = metrics.difference_interval(first, second)
    assert metrics.difference_interval(second, first) == pytest.approx(
        (-high, -low), abs=0.04 * (high - low)
    )
    assert metrics.difference_interval(first[0], second[0]) == pytest.approx(
        tuple(-bound for bound in reversed(metrics.difference_interval(second[0], first[0])))
    )
    assert metrics.difference_interval(first[0], first[0]) == (0, 0)


# --- Interquartile means ---


@pytest.mark.parametrize("shape", [(1,), (3,), (4,), (5,), (97,), (1, 8), (5, 16), (3, 7)])
def test_interquartile_mean_is_that_of_the_middle_half(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(11).exponential(1.0, shape)
    ordered = sorted(float(value) for value in values.reshape(-1))
    middle = ordered[len(ordered) // 4 : len(ordered) - len(ordered) // 4]
    assert metrics.interquartile_mean(values) == pytest.approx(sum(middle) / len(middle))
    assert metrics.interquartile_mean(values) == pytest.approx(
        float(stats.trim_mean(values, 0.25, axis=None))
    )


def test_interquartile_mean_forgets_outliers_and_changes_nothing() -> None:
    values = np.array([[8.0, -1e9, 3.0, 5.0], [6.0, 4.0, 1e9, 1.0]])
    before = values.copy()
    assert metrics.interquartile_mean(values) == 4.5
    np.testing.assert_array_equal(values, before)


def test_interval_of_the_interquartile_mean_resamples_seeds_and_episodes() -> None:
    values = learner(5, 12, 12) ** 3  # skewed, so that the mean is another
    interval = metrics.interquartile_mean_interval(values, resamples=4_000)
    expected = resampled(
        lambda sample, _: float(stats.trim_mean(sample, 0.25, axis=None)), values, values, 4_000
    )
    assert interval == pytest.approx(expected, abs=0.06 * width(expected))
    assert metrics.interquartile_mean_interval(values) == metrics.interquartile_mean_interval(
        values
    )
    assert metrics.interquartile_mean_interval(values) != metrics.interquartile_mean_interval(
        values, seed=1
    )


def test_interval_of_the_interquartile_mean_does_not_shrink_with_copies() -> None:
    episodes = learner(1, 40, 13)
    interval = metrics.interquartile_mean_interval(episodes)
    assert metrics.interquartile_mean_interval(np.tile(episodes, (10, 1))) == pytest.approx(
        interval, abs=0.1 * width(interval)
    )
    seeds = episodes.T[:9]
    interval = metrics.interquartile_mean_interval(seeds)
    assert metrics.interquartile_mean_interval(np.tile(seeds, 10)) == pytest.approx(
        interval, abs=0.1 * width(interval)
    )


def test_interval_of_the_interquartile_mean_covers_it_about_19_times_in_20() -> None:
    generator, covered = np.random.default_rng(14), 0
    for _ in range(200):
        low, high = metrics.interquartile_mean_interval(
            generator.uniform(0, 2, (1, 60)), resamples=150
        )
        covered += low <= 1.0 <= high
    assert 0.89 <= covered / 200 <= 0.985


# --- Probability of improvement ---


def test_probability_of_improvement_counts_pairs_of_seeds_in_every_episode() -> None:
    generator = np.random.default_rng(15)
    first, second = (generator.integers(0, 5, (seeds, 7)).astype(float) for seeds in (4, 3))
    wins = 0.0
    for i, j, k in itertools.product(range(4), range(3), range(7)):
        wins += 1.0 if first[i, k] > second[j, k] else 0.5 if first[i, k] == second[j, k] else 0.0
    probability, low, high = metrics.probability_of_improvement(first, second)
    assert probability == pytest.approx(wins / (4 * 3 * 7))
    assert low < probability < high
    other, other_low, other_high = metrics.probability_of_improvement(second, first)
    assert probability + other == pytest.approx(1.0)
    assert (other_low, other_high) == pytest.approx((1 - high, 1 - low), abs=0.04 * (high - low))


def test_probability_of_improvement_is_one_where_all_is_better_and_half_where_all_is_equal() -> (
    None
):
    values = learner(3, 9, 16)
    assert metrics.probability_of_improvement(values + 10, values) == pytest.approx((1.0, 1.0, 1.0))
    assert metrics.probability_of_improvement(values, values + 10) == pytest.approx((0.0, 0.0, 0.0))
    equal = np.tile(np.arange(9.0), (3, 1))
    assert metrics.probability_of_improvement(equal, equal[:2]) == pytest.approx((0.5, 0.5, 0.5))


def test_probability_of_improvement_compares_within_episodes() -> None:
    episodes = np.random.default_rng(17).normal(0, 100, 50)
    assert metrics.probability_of_improvement(episodes + 0.1, episodes) == pytest.approx(
        (1.0, 1.0, 1.0)
    )


def test_interval_of_the_probability_of_improvement_resamples_episodes_together() -> None:
    first, second = learner(5, 12, 18), learner(3, 12, 19)
    first[:, :5] += 9  # so that it matters which episodes are drawn

    def share(left: Values, right: Values) -> float:
        return float(np.mean([(one > other).mean() for one in left for other in right]))

    probability, *interval = metrics.probability_of_improvement(first, second)
    assert probability == pytest.approx(share(first, second))
    low, high = resampled(share, first, second)
    assert interval == pytest.approx([low, high], abs=0.06 * (high - low))
    few = metrics.probability_of_improvement(first, second, resamples=15)
    assert few == metrics.probability_of_improvement(first, second, resamples=15)
    assert few != metrics.probability_of_improvement(first, second, resamples=15, seed=1)


# --- Rank correlation ---


def test_rank_correlation_is_spearman_s() -> None:
    generator = np.random.default_rng(5)
    first = generator.normal(size=40)
    second = first + generator.normal(size=40)
    assert metrics.rank_correlation(first, second) == pytest.approx(
        stats.spearmanr(first, second).statistic
    )
    assert metrics.rank_correlation(first, np.exp(first)) == pytest.approx(1)
    assert metrics.rank_correlation(first, -first) == pytest.approx(-1)
