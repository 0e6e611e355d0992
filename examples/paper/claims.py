"""Claims about learners and schedulers, judged by one rule from evaluations on the same episodes.

A comparison holds if its whole 95 % bootstrap interval, over training seeds and episodes, lies
where the claim says. A claim holds if all its comparisons do, holds in part if some do, and does
not hold if none does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Protocol

from rrm_env import Evaluation, metrics


class Comparison(Protocol):
    """A statement about KPIs that evaluations support or do not support."""

    @property
    def names(self) -> tuple[str, ...]:
        """Rows that it compares."""

    def judge(self, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
        """The comparison as ``text``, measured ``mean``, ``low`` and ``high``, and ``holds``."""


@dataclass(frozen=True)
class Above:
    """The mean KPI of ``first`` is above ``factor`` times that of ``second``."""

    kpi: str
    first: str
    second: str
    factor: float = 1.0

    @property
    def names(self) -> tuple[str, ...]:
        """Rows that it compares."""
        return self.first, self.second

    def judge(self, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
        """Measure the difference, paired by episode."""
        first, second = (getattr(evaluations[name], self.kpi) for name in (self.first, self.second))
        low, high = metrics.difference_interval(first, self.factor * second)
        times = "" if self.factor == 1 else f"{self.factor:g} times "
        return {
            "text": f"{self.kpi}: {self.first} minus {times}{self.second}",
            "mean": float(first.mean() - self.factor * second.mean()),
            "low": low,
            "high": high,
            "holds": low > 0,
        }


@dataclass(frozen=True)
class Alike:
    """The mean KPIs of ``first`` and ``second`` differ by at most ``within`` of the second's."""

    kpi: str
    first: str
    second: str
    within: float = 0.05

    @property
    def names(self) -> tuple[str, ...]:
        """Rows that it compares."""
        return self.first, self.second

    def judge(self, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
        """Measure the difference, paired by episode, as a share of the second's mean.

        Where that mean is 0, it is the difference itself, and holds only if it is 0.
        """
        first, second = (getattr(evaluations[name], self.kpi) for name in (self.first, self.second))
        unit = float(second.mean()) or 1.0
        low, high = (bound / unit for bound in metrics.difference_interval(first, second))
        allowed = self.within if second.mean() else 0.0
        return {
            "text": f"{self.kpi}: ({self.first} minus {self.second}) / {self.second}, "
            f"alike within {self.within:.0%}",
            "mean": float((first.mean() - second.mean()) / unit),
            "low": float(low),
            "high": float(high),
            "holds": bool(-allowed <= low and high <= allowed),
        }


@dataclass(frozen=True)
class About:
    """The mean KPI differs from ``value`` by at most ``within`` of it."""

    kpi: str
    name: str
    value: float
    within: float = 0.1

    @property
    def names(self) -> tuple[str, ...]:
        """Rows that it compares."""
        return (self.name,)

    def judge(self, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
        """Measure the mean."""
        values = getattr(evaluations[self.name], self.kpi)
        low, high = metrics.mean_interval(values)
        return {
            "text": f"{self.kpi} of {self.name}, {self.value:g} within {self.within:.0%}",
            "mean": float(values.mean()),
            "low": low,
            "high": high,
            "holds": bool(
                self.value * (1 - self.within) <= low and high <= self.value * (1 + self.within)
            ),
        }


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the comparisons that decide it."""

    words: str
    comparisons: tuple[Comparison, ...]

    @property
    def names(self) -> set[str]:
        """Rows that its comparisons need."""
        return {name for comparison in self.comparisons for name in comparison.names}

    def judge(self, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
        """The claim's words, verdict and evidence.

        Args:
            evaluations: by name, of every row in `names`.
        """
        evidence = [comparison.judge(evaluations) for comparison in self.comparisons]
        holding = sum(item["holds"] for item in evidence)
        verdict = (
            "holds" if holding == len(evidence) else "holds in part" if holding else "does not hold"
        )
        return {"claim": self.words, "verdict": verdict, "evidence": evidence}


def ordered(kpi: str, *names: str) -> tuple[Above, ...]:
    """Comparisons of a ranking, best first: each name is above the next."""
    return tuple(Above(kpi, first, second) for first, second in pairwise(names))


def over(
    kpi: str, firsts: Iterable[str], seconds: Iterable[str], factor: float = 1.0
) -> tuple[Above, ...]:
    """Comparisons of each of the first with ``factor`` times each other one of the second."""
    return tuple(
        Above(kpi, first, second, factor)
        for first, second in product(firsts, seconds)
        if first != second
    )


PAPER_BASELINES = ("random_walk", "greedy", "tdm", "itlinq")
"""The four schedulers of the paper; ITLinQ at the tolerance of the literature, 25 dB."""

BEST_ITLINQ = "itlinq:tolerance_db=-10"
"""ITLinQ at the best tolerance of the sweep in figure_4.py, on the preset ``paper``."""

CLASSICAL = (
    Claim(
        "Greedy has the highest sum rate of the four baselines, at the tail's expense",
        over("sum_rate", ("greedy",), PAPER_BASELINES)
        + over("tail_rate", PAPER_BASELINES, ("greedy",)),
    ),
    Claim(
        "TDM favours the tail over the sum",
        (*over("tail_rate", ("tdm",), PAPER_BASELINES), Above("sum_rate", "greedy", "tdm")),
    ),
    Claim(
        "RW is worst of the four in all three",
        tuple(
            item
            for kpi in metrics.PAPER_KPIS
            for item in over(kpi, PAPER_BASELINES, ("random_walk",))
        ),
    ),
    Claim(
        "ITLinQ, at its 25 dB, has the best score of the four",
        over("score", ("itlinq",), PAPER_BASELINES),
    ),
    Claim(
        "The same of ITLinQ at the best tolerance of a sweep",
        over("score", (BEST_ITLINQ,), ("random_walk", "greedy", "tdm")),
    ),
)
"""The paper's claims about the classical schedulers."""


def gains(label: str, name: str) -> tuple[Claim, ...]:
    """The paper's claims of more than 15 % and more than 50 % over the four baselines in score."""
    return tuple(
        Claim(
            f"{label} scores more than {gain - 1:.0%} above the four baselines",
            over("score", (name,), PAPER_BASELINES, gain),
        )
        for gain in (1.15, 1.5)
    )
