"""Scores measured against the optimum of the same episodes, and against a random walk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.joint_actions import EXACT_APS
from baselines.optimum import Optimum, Schedules, optimum
from baselines.optimum.results import check, require_solver
from baselines.random_walk import RandomWalk
from rrm_env import Evaluation, RRMConfig, evaluate, metrics

Floats = NDArray[np.float64]

RANDOM_WALK = "random_walk"
"""The scheduler at 0 of the normalised score, by its name in `baselines.REGISTRY`."""


def refuse_impossible(config: RRMConfig, information: str = "large_scale") -> None:
    """Refuse, before any work, a network in which scores have no share of an optimum.

    Args:
        config: the network.
        information: as for `optimum`; a command's option ``--information``.

    Raises:
        ValueError: what `optimum` refuses, also without scipy; both weights of the score are 0.
    """
    if config.sum_weight == config.score_tail_weight == 0:
        raise ValueError(
            "score_sum_weight = 0 and score_tail_weight = 0 make every score 0, also the optimum; "
            "one must be above 0"
        )
    check(config, information, instead="--information channel")
    require_solver()


def quick_optimum(config: RRMConfig, seed: int) -> float | None:
    """The optimum of the first evaluation episode; None where it is unknown.

    It is known if the network fits, scipy is there and there are up to 10 APs, which takes seconds
    at most.
    """
    if config.n_aps > EXACT_APS:
        return None
    try:
        refuse_impossible(config)
        best = optimum(config, seed, 1)
        return float(best.score.value[0]) if best.is_bound else None
    except (ValueError, RuntimeError):
        return None


def share_of_optimum(scores: Floats, best: Floats) -> dict[str, float]:
    """The ratio of mean scores to the mean optimum, with its 95 % bootstrap interval.

    Args:
        scores: (episodes,) or (training seeds, episodes).
        best: (episodes,) the optimum of the same episodes.

    Returns:
        ``mean``, ``low`` and ``high``; 1 is the optimum.
    """
    low, high = metrics.ratio_interval(scores, best)
    return {"mean": float(scores.mean() / best.mean()), "low": low, "high": high}


@dataclass(frozen=True, eq=False)
class ScoreScale:
    """The scores of a random walk and of the optimum in the same episodes."""

    optimum: Optimum
    random_walk: Floats
    """(episodes,) score of the random walk."""

    @classmethod
    def of(
        cls, best: Optimum, evaluations: Mapping[str, Evaluation], num_threads: int = 1
    ) -> ScoreScale:
        """The scale of evaluations by scheduler, of the optimum's episodes.

        The random walk is taken from them, and evaluated where it is not among them.
        """
        walk = evaluations.get(RANDOM_WALK)
        if walk is None:
            walk = evaluate(
                RandomWalk(), best.config, best.episodes, best.seed, num_threads=num_threads
            )
        return cls(best, walk.score)

    def share(self, scores: Floats) -> dict[str, float]:
        """`share_of_optimum` of these scores."""
        return share_of_optimum(scores, self.optimum.score.value)

    def normalised(self, scores: Floats) -> float | None:
        """The mean score on the scale of random walk = 0, optimum = 100.

        It is None where the random walk is as good as the optimum.
        """
        zero = float(self.random_walk.mean())
        span = float(self.optimum.score.value.mean()) - zero
        return 100 * (float(scores.mean()) - zero) / span if span > 0 else None

    @property
    def name(self) -> str:
        """What tables call the optimum: that, or ``best known`` where it is not proven."""
        return "optimum" if self.optimum.is_bound else "best known"

    @property
    def schedules(self) -> dict[str, Schedules]:
        """The best schedules by name: for the score, and with everybody counted if that differs."""
        best = {self.name: self.optimum.score}
        if self._left_out:
            best[f"{self.name}, everybody counted"] = self.optimum.minimum_score
        return best

    @property
    def notes(self) -> list[str]:
        """What the optimum means, as sentences under a table."""
        values, bounds = self.optimum.score.value.mean(), self.optimum.score.bound.mean()
        known = "all gains, but not the present fading"
        foreseen = self.optimum.information == "channel"
        if self.optimum.is_bound:
            gap = float(bounds / values) - 1
            within = f" (proven within {100 * gap:.1f} %)" if gap >= 0.0005 else ""
            first = (
                f"Optimum{within}: that of a scheduler that knows the channels of all steps "
                "beforehand, fading included. No scheduler exceeds it."
                if foreseen
                else f"Optimum{within}: no scheduler that knows {known}, exceeds it but by luck."
            )
        else:
            first = f"Best known: the best schedule found for {known}; no bound is known."
            if self.optimum.config.n_power_levels > 1:
                first = (
                    "Best known: the best schedule found that switches APs between their highest "
                    "power level and silence; the optimum with all levels may be higher."
                )
        notes = [
            first,
            f"Share: mean score by mean {self.name}, paired by episode. "
            f"Normalised: random walk = 0, {self.name} = 100.",
        ]
        if self._left_out:
            whom = "a user" if self._left_out == 1 else f"{self._left_out} users"
            used = int((self.optimum.score.left_out >= 0).any(axis=1).sum())
            notes.append(
                f"The score's tail (Eq. 10) leaves out {whom}; the {self.name} uses that in "
                f"{used} of {self.optimum.episodes} episodes. In the worst-user score everybody "
                "counts: the worst user's rate is the tail."
            )
        return notes

    def as_dict(self) -> dict[str, Any]:
        """What results files state of the optimum, in JSON's types; unknown bounds are None."""
        best = self.optimum
        return {
            "is_bound": best.is_bound,
            "information": best.information,
            "blocks": best.blocks,
            **{name: _interval(getattr(best, name).value) for name in _OBJECTIVES},
            "random_walk_score": float(self.random_walk.mean()),
            "per_episode": {
                name: {
                    "value": getattr(best, name).value.tolist(),
                    "bound": _known(getattr(best, name).bound),
                }
                for name in _OBJECTIVES
            },
        }

    @property
    def _left_out(self) -> int:
        """How many users Eq. 10 leaves out."""
        return metrics.n_below_tail(self.optimum.config.n_ues)


_OBJECTIVES = ("score", "minimum_score")


def _interval(values: Floats) -> dict[str, float]:
    low, high = metrics.mean_interval(values)
    return {"mean": float(values.mean()), "low": low, "high": high}


def _known(bounds: Floats) -> list[float | None]:
    return [float(bound) if np.isfinite(bound) else None for bound in bounds]
