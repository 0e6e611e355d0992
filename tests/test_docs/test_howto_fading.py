"""The page on adding a fading model: after its changes fading has the stated distribution."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from folders import ROOT
from howto import apply_changes, blocks, copy_of, run

PROMISED = """
import numpy as np
from rrm_env import Network, RRMConfig, parallel_env, rrm_v0

network = Network(RRMConfig(fading="nakagami", nakagami_m=2, n_aps=5), num_envs=500)
network.reset(seed=0)
steps = []
for _ in range(2):
    steps.append((network.gain / network.large_scale_gain).astype(float))
    network.step(np.full((500, 5), -1))
first, second = (power.ravel() for power in steps)
by_ap = steps[0].transpose(1, 0, 2).reshape(5, -1)
between_aps = np.abs(np.corrcoef(by_ap) - np.eye(5)).max()
print(first.mean(), first.var(), np.corrcoef(first, second)[0, 1], between_aps)
print("nakagami" in rrm_v0.__doc__, parallel_env(fading="nakagami").config.nakagami_m)
"""


def test_the_changes_of_the_page_make_a_fading_model(tmp_path: Path) -> None:
    folder = copy_of("rrm_env", tmp_path)
    assert apply_changes("fading.md", folder) == [
        "rrm_env/config.py",
        "rrm_env/keywords.py",
        "rrm_env/state.py",
        "rrm_env/kernels.py",
        "rrm_env/rrm_v0.py",
    ]
    (shown,) = blocks("fading.md", "text")
    page = (ROOT / "docs" / "development" / "fading.md").read_text(encoding="utf-8")
    promised = re.search(r"prints `(.+)`", page)
    assert promised
    told = run(folder, "-c", shown + PROMISED, own_cache=True).splitlines()
    assert told[0] == promised[1]
    mean, variance, between_steps, between_aps = map(float, told[1].split())
    assert mean == pytest.approx(1, abs=0.02)
    assert variance == pytest.approx(0.5, abs=0.03)  # 50,000 draws: five standard errors
    assert abs(between_steps) < 0.03
    assert between_aps < 0.06
    assert told[2] == "True 2"
