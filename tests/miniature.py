"""Figures of the paper in miniature, for tests of their scripts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import figure
import pytest
import study
import study_options
from figure import Figure, main
from study import Scale, Study

from marl import LearnerConfig
from rrm_env import RRMConfig

TINY = RRMConfig(n_aps=2, n_ues=4, n_candidates=1, episode_length=10)
SCALE = Scale(
    seeds=2,
    online_updates=2,
    offline_updates=2,
    evaluate_every=100,
    curve_episodes=2,
    episodes=4,
    shrink=1,
)
PNG = b"\x89PNG\r\n"


@contextmanager
def miniature() -> Iterator[None]:
    """Small learners in a small network."""
    small = partial(
        LearnerConfig, hidden_sizes=(16,), batch_size=8, learning_starts=64, replay_capacity=300
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "LearnerConfig", small)
        patch.setattr(figure, "Study", partial(Study, network=TINY))
        patch.setattr(study_options, "QUICK", SCALE)
        yield


def call(figure: Figure, *arguments: object) -> None:
    """The figure's script with these arguments."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["figure.py", *map(str, arguments)])
        main(figure, "What the script does.")
