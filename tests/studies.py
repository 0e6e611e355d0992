"""Studies for tests: the paper's pipeline in a small network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import study
from study import Scale, Study
from toys import SMALL, small_learner


@contextmanager
def small_study(folder: Path) -> Iterator[Study]:
    """A study of one seed in a small network, of learners as small as those of `small_learner`."""
    scale = Scale(
        seeds=1,
        online_updates=300,
        offline_updates=300,
        evaluate_every=100,
        curve_episodes=2,
        episodes=3,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "LearnerConfig", small_learner)
        yield Study(folder, scale, SMALL)
