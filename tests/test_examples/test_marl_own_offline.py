"""The file to start from when an algorithm of your own learns from a dataset."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import torch
from folders import ROOT, examples

from baselines import RandomWalk
from marl import collect
from rrm_env import RRMConfig

SCRIPT = ROOT / "examples" / "own_offline.py"
LINE = r"{}: score (\d\.\d\d), normalised -?\d+, worst user \d\.\d\d"


def test_the_file_learns_from_the_named_dataset_without_a_warning() -> None:
    command = [sys.executable, "-W", "error", str(SCRIPT), "--updates", "500", "--episodes", "8"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    learned, walk, _, expert = (
        re.fullmatch(LINE.format(name), line)
        for name, line in zip(
            ("learned", r"random_walk\S*", r"itlinq\S*", "long_memory"), lines[-5:-1], strict=True
        )
    )
    assert learned
    assert walk
    assert expert
    assert float(walk[1]) + 0.2 < float(learned[1]) < float(expert[1])
    assert re.fullmatch(r"the dataset's behaviours on average: score \d\.\d\d", lines[-1])


def test_advantages_are_what_observations_do_not_explain_of_later_rewards() -> None:
    config = RRMConfig(n_aps=2, n_ues=6, n_candidates=2, episode_length=10)
    data = collect(RandomWalk(silence=True), config, 400, seed=5)
    with examples():
        import own_offline
    features = data.observation.flatten(1).numpy().astype(float)
    found = own_offline.advantages(data, 10, data.observation).numpy()
    later = np.array([sum(data.reward[k : k - k % 10 + 10].tolist()) for k in range(400)]).reshape(
        -1, 10
    )
    earned = ((later - later.mean(0)) / later.std(0, ddof=1)).ravel()
    known = np.column_stack([features, np.ones(400)])
    penalty = own_offline.RIDGE * 400 * np.eye(known.shape[1])
    expected = earned - known @ np.linalg.solve(known.T @ known + penalty, known.T @ earned)
    np.testing.assert_allclose(found, expected / expected.std(ddof=1), atol=1e-3)
    assert torch.isfinite(torch.as_tensor(found)).all()
