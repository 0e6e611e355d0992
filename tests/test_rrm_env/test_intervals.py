"""Bootstrap intervals cover what they should, and paired ones use the pairing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from baselines import ITLinQ, ProportionalFair
from baselines.comparison import summarise
from rrm_env import Evaluation, RRMConfig, evaluate, metrics


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
    assert (
        0.90 <= covered / 400 <= 0.98
    )  # the percentile bootstrap of a skewed sample of 100 falls a little short of 0.95


def test_interval_does_not_depend_on_how_resamples_are_batched() -> None:
    values = np.random.default_rng(2).random(50)
    wide = np.repeat(values[:, None], 2_000, axis=1)
    low, high = metrics.bootstrap_interval(
        wide, lambda sample: sample.mean(axis=(1, 2)), resamples=200
    )
    assert (low, high) == pytest.approx(metrics.mean_interval(values, resamples=200))


def test_pooled_interval_resamples_episodes_not_users() -> None:
    rates = np.repeat(
        np.linspace(0.1, 1.0, 10)[:, None], 40, axis=1
    )  # all users of an episode alike
    low, high = metrics.pooled_tail_interval(rates)
    assert low == pytest.approx(0.1)
    assert high >= 0.3  # resampling users one by one would pin the percentile near 0.1


def test_paired_difference_is_tighter_than_the_scores_it_compares() -> None:
    config = RRMConfig(episode_length=50)
    evaluations = {
        "itlinq": evaluate(ITLinQ(), config, 64),
        "pf": evaluate(ProportionalFair(), config, 64),
    }
    summary = summarise(evaluations)
    other = next(row for row in summary.values() if not row["best"])
    paired = other["score_minus_best"]
    assert paired["high"] - paired["low"] < 0.5 * (other["score"]["high"] - other["score"]["low"])
    assert paired["mean"] == pytest.approx(
        -abs(float((evaluations["itlinq"].score - evaluations["pf"].score).mean()))
    )


# --- Several training seeds on the same episodes ---


def test_interval_over_seeds_and_episodes_resamples_both_independently() -> None:
    values = np.random.default_rng(3).gamma(1.0, size=(5, 12)) + np.linspace(0, 3, 5)[:, None]
    generator = np.random.default_rng(4)
    means = []
    for _ in range(20_000):
        seeds, episodes = generator.integers(5, size=5), generator.integers(12, size=12)
        means.append(values[np.ix_(seeds, episodes)].mean())
    low, high = metrics.mean_interval(values)
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])), rel=0.03)
    assert (low, high) == metrics.mean_interval(values)
    assert (low, high) != metrics.mean_interval(values, seed=1)


def test_interval_of_one_seed_is_that_of_its_episodes() -> None:
    values = np.random.default_rng(5).exponential(1.0, 200)
    assert metrics.mean_interval(values[None]) == pytest.approx(
        metrics.mean_interval(values), rel=0.01
    )


def test_interval_does_not_shrink_with_copies_of_a_seed_or_of_an_episode() -> None:
    episodes = np.random.default_rng(6).exponential(1.0, 50)
    low, high = metrics.mean_interval(episodes)
    assert metrics.mean_interval(np.tile(episodes, (30, 1))) == pytest.approx((low, high), rel=0.03)
    seeds = episodes[:6]
    low, high = metrics.mean_interval(seeds)
    assert metrics.mean_interval(np.tile(seeds[:, None], 40)) == pytest.approx(
        (low, high), rel=0.03
    )


def test_interval_over_seeds_and_episodes_covers_the_true_mean() -> None:
    generator, covered = np.random.default_rng(7), 0
    for _ in range(300):
        values = (
            generator.normal(0, 1, (20, 1))
            + generator.normal(0, 1, (1, 30))
            + generator.normal(0, 1, (20, 30))
        )
        low, high = metrics.mean_interval(values, resamples=500)
        covered += low <= 0 <= high
    assert 0.90 <= covered / 300 <= 0.98  # resampling 20 seeds falls a little short of 0.95


CONFIG = RRMConfig(n_aps=2, n_ues=6, episode_length=5, score_sum_weight=0.5, score_tail_weight=2.0)


def stacked(episodes: int = 9) -> tuple[list[Evaluation], Evaluation]:
    """Evaluations of two schedulers, as if they were seeds of one learner, apart and together."""
    apart = [
        evaluate(scheduler, CONFIG, episodes, 3)
        for scheduler in (ITLinQ(), ProportionalFair(), ITLinQ(0))
    ]
    return apart, Evaluation.stack(apart)


def test_stacked_evaluations_have_a_row_per_seed() -> None:
    apart, together = stacked()
    for kpi in (
        "sum_rate",
        "tail_rate",
        "score",
        "fairness",
        "silent_share",
        "returns",
        "ue_rates",
    ):
        np.testing.assert_array_equal(
            getattr(together, kpi), np.stack([getattr(one, kpi) for one in apart]), strict=True
        )
    assert (together.config, together.seed, together.episodes) == (CONFIG, 3, 9)
    assert together.pooled_tail_rate == pytest.approx(
        np.percentile(np.stack([one.ue_rates for one in apart]), 5)
    )
    assert together.seconds == pytest.approx(sum(one.seconds for one in apart))
    assert together.steps_per_second == pytest.approx(3 * 9 * 5 / together.seconds)


@pytest.mark.parametrize(("episodes", "seed", "power"), [(8, 3, 10), (9, 4, 10), (9, 3, 0)])
def test_evaluations_of_different_episodes_do_not_stack(
    episodes: int, seed: int, power: float
) -> None:
    other = evaluate(ITLinQ(), replace(CONFIG, tx_power_dbm=power), episodes, seed)
    with pytest.raises(
        ValueError, match="evaluations must be of the same config, seed and number of episodes"
    ):
        Evaluation.stack([*stacked()[0], other])
    with pytest.raises(ValueError, match="evaluations must hold at least one Evaluation, got none"):
        Evaluation.stack([])


def test_summary_of_stacked_evaluations_is_over_seeds_and_episodes() -> None:
    apart, together = stacked()
    alone = evaluate(ProportionalFair(), CONFIG, 9, 3)
    summary = summarise({"learner": together, "pf": alone})
    for kpi in ("sum_rate", "tail_rate", "score", "fairness"):
        values = np.stack([getattr(one, kpi) for one in apart])
        assert summary["learner"][kpi]["mean"] == pytest.approx(values.mean())
        assert (
            summary["learner"][kpi]["low"],
            summary["learner"][kpi]["high"],
        ) == metrics.mean_interval(values)
    scores = np.stack([one.score for one in apart])
    difference = summary["learner" if summary["pf"]["best"] else "pf"]["score_minus_best"]
    assert difference["mean"] == pytest.approx(
        -abs(float((scores.mean(axis=0) - alone.score).mean()))
    )
    low, high = metrics.pooled_tail_interval(together.ue_rates)
    assert (
        summary["learner"]["pooled_tail_rate"]["low"],
        summary["learner"]["pooled_tail_rate"]["high"],
    ) == (low, high)
    assert low <= together.pooled_tail_rate <= high
    assert summary["learner"]["silent_share"] == pytest.approx(
        np.mean([one.silent_share for one in apart])
    )
