"""Bootstrap intervals cover what they should, and paired ones use the pairing."""

from __future__ import annotations

import numpy as np
import pytest

from baselines import ITLinQ, ProportionalFair
from baselines.comparison import summarise
from rrm_env import RRMConfig, evaluate, metrics


def test_interval_of_a_mean_matches_the_normal_one_on_many_values() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, 4000)
    low, high = metrics.mean_interval(values)
    standard_error = values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * standard_error, abs=0.1 * standard_error)
    assert high == pytest.approx(values.mean() + 1.96 * standard_error, abs=0.1 * standard_error)


def test_interval_covers_the_true_mean_about_19_times_in_20() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        low, high = metrics.mean_interval(generator.exponential(1.0, 100), resamples=500)
        covered += low <= 1.0 <= high
    assert 0.90 <= covered / 400 <= 0.98  # the percentile bootstrap of a skewed sample of 100 falls a little short of 0.95


def test_interval_does_not_depend_on_how_resamples_are_batched() -> None:
    values = np.random.default_rng(2).random(50)
    wide = np.repeat(values[:, None], 2_000, axis=1)
    low, high = metrics.bootstrap_interval(wide, lambda sample: sample.mean(axis=(1, 2)), resamples=200)
    assert (low, high) == pytest.approx(metrics.mean_interval(values, resamples=200))


def test_pooled_interval_resamples_episodes_not_users() -> None:
    rates = np.repeat(np.linspace(0.1, 1.0, 10)[:, None], 40, axis=1)  # all users of an episode alike
    low, high = metrics.pooled_tail_interval(rates)
    assert low == pytest.approx(0.1)
    assert high >= 0.3  # resampling users one by one would pin the percentile near 0.1


def test_paired_difference_is_tighter_than_the_scores_it_compares() -> None:
    config = RRMConfig(episode_length=50)
    evaluations = {"itlinq": evaluate(ITLinQ(), config, 64), "pf": evaluate(ProportionalFair(), config, 64)}
    summary = summarise(evaluations)
    other = next(row for row in summary.values() if not row["best"])
    paired = other["score_minus_best"]
    assert paired["high"] - paired["low"] < 0.5 * (other["score"]["high"] - other["score"]["low"])
    assert paired["mean"] == pytest.approx(-abs(float((evaluations["itlinq"].score - evaluations["pf"].score).mean())))
