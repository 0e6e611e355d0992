"""Claims: measurement and interval of each comparison, and verdicts from comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from claims import (
    BEST_ITLINQ,
    CLASSICAL,
    PAPER_BASELINES,
    About,
    Above,
    Alike,
    Claim,
    Comparison,
    gains,
    ordered,
    over,
)
from numpy.typing import NDArray

from baselines.registry import parse_scheduler
from rrm_env import Evaluation, RRMConfig, metrics

CONFIG = RRMConfig(n_aps=2, n_ues=4, n_candidates=1)


def rated(sum_rates: Sequence[float] | NDArray[np.float64]) -> Evaluation:
    """An evaluation of sum rates, per episode or per seed and episode, equal among four users."""
    totals = np.asarray(sum_rates, float)
    return Evaluation(
        CONFIG,
        0,
        np.repeat(totals[..., None] / 4, 4, axis=-1),
        np.zeros_like(totals),
        np.zeros_like(totals),
        1.0,
    )


def around(mean: float, spread: float, episodes: int = 8) -> Evaluation:
    """Episodes on both sides of a mean."""
    return rated(mean + spread * np.tile([-1.0, 1.0], episodes // 2))


CHANNELS = np.random.default_rng(0).uniform(2, 20, 30)
"""What episodes differ by, whoever acts in them."""

EVALUATIONS = {
    "best": rated(CHANNELS + 1.0),
    "good": rated(CHANNELS + 0.5),
    "poor": rated(CHANNELS),
    "lucky": rated(
        CHANNELS + np.tile([3.0, -2.5], 15)
    ),  # better on average than poor, but not surely
    "copied": rated(np.stack([CHANNELS + 1.0] * 3)),
}


# --- Above ---


def test_above_holds_where_the_whole_interval_is_above_zero() -> None:
    judged = Above("sum_rate", "best", "poor").judge(EVALUATIONS)
    assert judged["holds"]
    assert [judged["mean"], judged["low"], judged["high"]] == pytest.approx([1.0, 1.0, 1.0])
    assert judged["text"] == "sum_rate: best minus poor"


def test_above_does_not_hold_the_other_way_round_or_of_equals() -> None:
    judged = Above("sum_rate", "poor", "best").judge(EVALUATIONS)
    assert not judged["holds"]
    assert [judged["mean"], judged["low"], judged["high"]] == pytest.approx([-1.0, -1.0, -1.0])
    assert not Above("sum_rate", "best", "best").judge(EVALUATIONS)["holds"]


def test_comparison_that_is_undecided_does_not_hold_either_way() -> None:
    for first, second in (("lucky", "poor"), ("poor", "lucky")):
        judged = Above("sum_rate", first, second).judge(EVALUATIONS)
        assert judged["low"] < 0 < judged["high"]
        assert not judged["holds"]
    assert Above("sum_rate", "lucky", "poor").judge(EVALUATIONS)["mean"] == pytest.approx(0.25)


def test_above_is_paired_by_episode() -> None:
    judged = Above("sum_rate", "good", "poor").judge(EVALUATIONS)
    low, high = metrics.mean_interval(EVALUATIONS["poor"].sum_rate)
    assert judged["holds"]
    assert judged["high"] - judged["low"] < 1e-9 < 1 < high - low
    elsewhere = {"good": rated(np.sort(CHANNELS) + 0.5), "poor": rated(np.sort(CHANNELS)[::-1])}
    assert not Above("sum_rate", "good", "poor").judge(elsewhere)["holds"]


def test_above_takes_one_seed_or_several_on_either_side() -> None:
    assert Above("sum_rate", "copied", "poor").judge(EVALUATIONS)["mean"] == pytest.approx(1.0)
    assert Above("sum_rate", "copied", "good").judge(EVALUATIONS)["holds"]
    assert not Above("sum_rate", "good", "copied").judge(EVALUATIONS)["holds"]
    seeds = {
        "divided": rated(np.repeat([[9.0], [9.0], [1.0]], 30, axis=1)),
        "even": rated(np.full(30, 6.0)),
    }
    judged = Above("sum_rate", "divided", "even").judge(seeds)
    assert judged["mean"] == pytest.approx(19 / 3 - 6)
    assert judged["low"] < 0 < judged["high"]
    assert not judged["holds"]


def test_above_a_multiple_asks_for_more_than_that_multiple() -> None:
    evaluations = {"first": rated([12.0, 24.0, 36.0]), "second": rated([10.0, 20.0, 30.0])}
    for factor, holds in ((1.0, True), (1.19, True), (1.21, False), (1.5, False)):
        judged = Above("sum_rate", "first", "second", factor).judge(evaluations)
        assert judged["holds"] == holds
        assert judged["mean"] == pytest.approx(24 - factor * 20)
        assert judged["low"] <= judged["mean"] <= judged["high"]
    assert (
        Above("sum_rate", "first", "second", 1.15).judge(evaluations)["text"]
        == "sum_rate: first minus 1.15 times second"
    )


def test_comparisons_are_of_the_kpi_they_name() -> None:
    uneven = Evaluation(
        CONFIG, 0, np.tile([0.0, 0.0, 0.0, 9.0], (5, 1)), np.zeros(5), np.zeros(5), 1.0
    )
    evaluations = {"uneven": uneven, "even": rated(np.full(5, 4.0))}
    assert Above("sum_rate", "uneven", "even").judge(evaluations)["mean"] == pytest.approx(5.0)
    assert Above("tail_rate", "uneven", "even").judge(evaluations)["mean"] == pytest.approx(-1.0)
    assert Alike("fairness", "uneven", "even").judge(evaluations)["mean"] == pytest.approx(0.25 - 1)
    assert About("tail_rate", "even", 1.0).judge(evaluations)["holds"]
    assert not About("sum_rate", "even", 1.0).judge(evaluations)["holds"]


# --- Alike and about ---


@pytest.mark.parametrize(
    ("first", "within", "holds"),
    [
        (10.4, 0.05, True),
        (9.6, 0.05, True),
        (10.6, 0.05, False),
        (9.4, 0.05, False),
        (10.6, 0.1, True),
        (10.4, 0.02, False),
    ],
)
def test_alike_holds_within_a_share_of_the_second(first: float, within: float, holds: bool) -> None:
    judged = Alike("sum_rate", "first", "second", within).judge(
        {"first": rated([first] * 6), "second": rated([10.0] * 6)}
    )
    assert judged["holds"] is holds
    assert [judged["mean"], judged["low"], judged["high"]] == pytest.approx([first / 10 - 1] * 3)


def test_alike_is_measured_against_the_second_and_within_five_percent_by_default() -> None:
    evaluations = {"large": rated([10.0] * 6), "small": rated([9.51] * 6)}
    assert Alike("sum_rate", "small", "large").judge(evaluations)["holds"]
    judged = Alike("sum_rate", "large", "small").judge(evaluations)
    assert not judged["holds"]
    assert judged["low"] == pytest.approx(0.49 / 9.51)
    assert judged["text"] == "sum_rate: (large minus small) / small, alike within 5%"


def test_alike_that_is_undecided_does_not_hold() -> None:
    evaluations = {
        "noisy": around(10.0, 2.0),
        "low": around(9.2, 2.0),
        "steady": around(10.0, 0.1),
        "second": rated([10.0] * 8),
    }
    judged = Alike("sum_rate", "noisy", "second").judge(evaluations)
    assert judged["mean"] == pytest.approx(0.0, abs=1e-12)
    assert judged["low"] < -0.05 < 0.05 < judged["high"]
    assert not judged["holds"]
    assert not Alike("sum_rate", "low", "second", 0.15).judge(evaluations)["holds"]
    assert Alike("sum_rate", "steady", "second").judge(evaluations)["holds"]


def test_alike_is_paired_by_episode() -> None:
    judged = Alike("sum_rate", "good", "best").judge(EVALUATIONS)
    assert judged["holds"]
    assert judged["high"] - judged["low"] < 1e-9
    assert judged["mean"] == pytest.approx(-0.5 / (CHANNELS.mean() + 1))


@pytest.mark.parametrize(
    ("mean", "spread", "within", "holds"),
    [
        (10.9, 0.0, 0.1, True),
        (9.1, 0.0, 0.1, True),
        (11.1, 0.0, 0.1, False),
        (8.9, 0.0, 0.1, False),
        (10.4, 0.0, 0.03, False),
        (10.0, 5.0, 0.1, False),
        (10.9, 0.5, 0.1, False),
        (9.1, 0.5, 0.1, False),
    ],
)
def test_about_holds_where_the_whole_interval_is_close_to_the_value(
    mean: float, spread: float, within: float, holds: bool
) -> None:
    evaluations = {"someone": around(mean, spread)}
    judged = About("sum_rate", "someone", 10.0, within).judge(evaluations)
    assert judged["holds"] is holds
    assert judged["mean"] == pytest.approx(mean)
    assert (judged["low"], judged["high"]) == metrics.mean_interval(evaluations["someone"].sum_rate)
    assert judged["text"] == f"sum_rate of someone, 10 within {within:.0%}"


def test_alike_to_nothing_is_only_nothing() -> None:
    evaluations = {
        "none": rated([0.0, 0.0]),
        "also none": rated([0.0, 0.0]),
        "some": rated([0.01, 0.01]),
    }
    assert Alike("sum_rate", "also none", "none").judge(evaluations)["holds"]
    judged = Alike("sum_rate", "some", "none", 0.1).judge(evaluations)
    assert not judged["holds"]
    assert judged["mean"] == pytest.approx(0.01)


# --- Claims ---

TRUE, FALSE, UNDECIDED = (
    Above("sum_rate", "best", "good"),
    Above("sum_rate", "poor", "good"),
    Above("sum_rate", "lucky", "poor"),
)


@pytest.mark.parametrize(
    ("comparisons", "verdict"),
    [
        ((TRUE,), "holds"),
        ((TRUE, About("sum_rate", "poor", CHANNELS.mean(), 0.9)), "holds"),
        ((TRUE, FALSE), "holds in part"),
        ((UNDECIDED, FALSE, TRUE), "holds in part"),
        ((FALSE,), "does not hold"),
        ((UNDECIDED,), "does not hold"),
        ((FALSE, UNDECIDED), "does not hold"),
    ],
)
def test_claim_holds_if_all_comparisons_do_and_in_part_if_some_do(
    comparisons: tuple[Comparison, ...], verdict: str
) -> None:
    judged = Claim("some words", comparisons).judge(EVALUATIONS)
    assert judged["claim"] == "some words"
    assert judged["verdict"] == verdict
    assert judged["evidence"] == [comparison.judge(EVALUATIONS) for comparison in comparisons]


def test_ranking_compares_each_with_the_next() -> None:
    assert ordered("score", "a", "b", "c") == (Above("score", "a", "b"), Above("score", "b", "c"))
    assert (
        Claim("", ordered("sum_rate", "best", "good", "poor")).judge(EVALUATIONS)["verdict"]
        == "holds"
    )
    assert (
        Claim("", ordered("sum_rate", "good", "best", "poor")).judge(EVALUATIONS)["verdict"]
        == "holds in part"
    )
    assert (
        Claim("", ordered("sum_rate", "poor", "good", "best")).judge(EVALUATIONS)["verdict"]
        == "does not hold"
    )


def test_over_compares_each_with_each_but_nobody_with_themselves() -> None:
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    assert over("score", ("a", "b"), ("b", "c"), 1.5) == tuple(
        Above("score", *pair, 1.5) for pair in pairs
    )
    assert over("sum_rate", ("a",), ("a",)) == ()
    assert over("sum_rate", ("a",), ("b",)) == (Above("sum_rate", "a", "b", 1.0),)


def test_gains_are_claimed_over_every_baseline_of_the_paper() -> None:
    assert [claim.words for claim in gains("Mine", "mine")] == [
        "Mine scores more than 15% above the four baselines",
        "Mine scores more than 50% above the four baselines",
    ]
    for factor, holds in ((1.1, [0, 0]), (1.2, [4, 0]), (1.6, [4, 4])):
        evaluations = {"mine": rated(factor * CHANNELS)} | {
            name: rated(CHANNELS) for name in PAPER_BASELINES
        }
        assert [
            sum(item["holds"] for item in claim.judge(evaluations)["evidence"])
            for claim in gains("Mine", "mine")
        ] == holds


def test_claims_about_classical_schedulers_can_be_judged_and_can_hold_and_fail() -> None:
    for name in (*PAPER_BASELINES, BEST_ITLINQ):
        parse_scheduler(name)
    # Rates of three users, and of the worst one.
    rates = {
        "random_walk": (2.0, 0.2),
        "greedy": (8.0, 0.1),
        "tdm": (2.2, 2.0),
        "itlinq": (7.0, 1.5),
        BEST_ITLINQ: (7.0, 1.9),
    }

    def someone(most: float, least: float) -> Evaluation:
        return Evaluation(
            CONFIG, 0, np.tile([most, most, most, least], (5, 1)), np.zeros(5), np.zeros(5), 1.0
        )

    judged = [
        claim.judge({name: someone(*rate) for name, rate in rates.items()}) for claim in CLASSICAL
    ]
    assert [item["verdict"] for item in judged] == [
        "holds",
        "holds",
        "holds in part",
        "holds",
        "holds",
    ]
    assert [item["text"] for item in judged[2]["evidence"] if not item["holds"]] == [
        "tail_rate: greedy minus random_walk"
    ]
    equal = dict.fromkeys(rates, someone(1.0, 1.0))
    assert {claim.judge(equal)["verdict"] for claim in CLASSICAL} == {"does not hold"}


def test_claim_about_someone_who_was_not_evaluated_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        Claim("", (TRUE, Above("sum_rate", "nobody", "best"))).judge(EVALUATIONS)
