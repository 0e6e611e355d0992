"""Options, scheduler and printed lines that the examples with other libraries' trainers share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from baselines import REGISTRY
from rrm_env import SILENT, Evaluation, Network, RRMConfig, evaluate
from rrm_env.exit_status import status_of
from rrm_env.provenance import versions

REFERENCES = ("random_walk", "itlinq")
"""Baselines that the closing line compares with."""

Act = Callable[[NDArray[np.float32], NDArray[np.int8]], NDArray[Any]]
"""A policy: maps observations (B, I, D) and masks (B, I, N + 1) of B episodes to actions (B, I).

Actions 0 to N - 1 are candidates, N is silence.
"""


@dataclass(frozen=True)
class TrainerOptions:
    """Options of training and comparison."""

    steps: int = 200_000
    """Steps of the network; every access point makes a transition of each."""
    envs: int = 8
    """Networks side by side."""
    episodes: int = 128
    """Unseen episodes for the comparison."""
    seed: int = 0
    """Seed of learner and networks."""
    quick: bool = False
    """Train for seconds only: few steps, 16 episodes."""

    least: ClassVar[dict[str, int]] = {"steps": 1, "envs": 1, "episodes": 1, "seed": 0}
    """Smallest allowed values."""

    def __post_init__(self) -> None:
        for name, low in self.least.items():
            if getattr(self, name) < low:
                raise ValueError(f"--{name} must be at least {low}, got {getattr(self, name)}")


_Options = TypeVar("_Options")


def run_example(
    main: Callable[[_Options], None], options: type[_Options], description: str | None
) -> None:
    """Run an example's script; wrong options end it with one line on standard error."""
    import tyro

    sys.exit(
        status_of(
            lambda: main(
                tyro.cli(options, description=description, config=(tyro.conf.FlagCreatePairsOff,))
            )
        )
    )


class ActingScheduler:
    """A library's policy as a `rrm_env.Scheduler`, one choice per access point.

    A choice that the mask forbids means silence, as in the environment; `illegal_share` counts
    them.

    Args:
        act: the policy; it may keep its arguments and write to them.
    """

    def __init__(self, act: Act) -> None:
        self._act = act
        self._choices = self._illegal = 0

    def reset(self, network: Network) -> None:
        """Do nothing: the policy sees the present observation alone."""

    def schedule(self, network: Network) -> NDArray[np.int64]:
        """(B, I) UE that each AP serves in this step: one of its candidates, or `SILENT`."""
        mask = network.action_mask.copy()
        actions = np.asarray(self._act(network.observation.copy(), mask), np.int64)[..., None]
        self._choices += actions.size
        self._illegal += actions.size - int(np.take_along_axis(mask, actions, -1).sum())
        ues = np.pad(network.candidates, ((0, 0), (0, 0), (0, 1)), constant_values=SILENT)
        served: NDArray[np.int64] = np.take_along_axis(ues, actions, -1)[..., 0].astype(np.int64)
        return served

    @property
    def illegal_share(self) -> float:
        """Share of choices so far that the mask forbids."""
        return self._illegal / max(self._choices, 1)


def print_versions(*distributions: str) -> None:
    """Print versions of this package, Python, the core dependencies and these distributions."""
    print(
        "versions: "
        + ", ".join(f"{name} {version}" for name, version in versions(*distributions).items()),
        flush=True,
    )


def print_policy(name: str, act: Act, episodes: int, config: RRMConfig | None = None) -> Evaluation:
    """Evaluate a policy on the first unseen episodes, and print a line about it.

    Args:
        name: of the policy, in the line.
        act: the policy.
        episodes: how many.
        config: network, whose reward makes the return (default: the preset ``paper``).
    """
    scheduler = ActingScheduler(act)
    evaluation = evaluate(scheduler, config, episodes)
    print(
        f"{name}: {_kpis(evaluation)}, return {evaluation.returns.mean():.0f}; "
        f"{100 * evaluation.silent_share.mean():.0f} % silent, "
        f"{100 * scheduler.illegal_share:.1f} % of choices illegal",
        flush=True,
    )
    return evaluation


def print_closing_line(name: str, evaluation: Evaluation, seconds: float) -> None:
    """Print KPIs of the trained policy and of `REFERENCES` on the same episodes, and the time."""
    entries = {name: evaluation} | {
        reference: evaluate(REGISTRY[reference](), episodes=evaluation.episodes)
        for reference in REFERENCES
    }
    reached = "; ".join(f"{entry}: {_kpis(result)}" for entry, result in entries.items())
    print(f"{evaluation.episodes} unseen episodes, {seconds:.0f} s of training | {reached}")


def _kpis(evaluation: Evaluation) -> str:
    sum_rate, tail_rate, score = (
        evaluation.sum_rate.mean(),
        evaluation.tail_rate.mean(),
        evaluation.score.mean(),
    )
    return f"sum rate {sum_rate:.2f}, 5-percentile rate {tail_rate:.3f}, score {score:.3f}"
