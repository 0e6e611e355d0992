"""The page on adding a propagation model: after its changes the model is as the page says."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from folders import ROOT
from howto import apply_changes, blocks, copy_of, run

PROMISED = """
import numpy as np
from rrm_env import RRMConfig
from rrm_env.propagation_source import PropagationSource
from rrm_env.state import allocate

users = tuple((50.0 + d, 50.0) for d in (4.0, 20.0, 40.0))
config = RRMConfig(
    propagation="inh_open", n_aps=1, n_ues=3, ap_positions=((50.0, 50.0),), ue_positions=users
)
source, state = PropagationSource(config, 4000), allocate(config, 4000)
state.key[:, 0] = seeds = np.arange(4000, dtype=np.uint64)
source.reset(state, seeds, 0, 4000)
print(*source.line_of_sight[:, 0].mean(axis=0))
"""
"""A source alone, since the kernels of a whole network would be compiled again too."""


def test_the_changes_of_the_page_make_a_propagation_model(tmp_path: Path) -> None:
    folder = copy_of("rrm_env", tmp_path)
    assert apply_changes("propagation.md", folder) == [
        "rrm_env/config.py",
        "rrm_env/propagation.py",
    ]
    (shown,) = blocks("propagation.md", "text")
    page = (ROOT / "docs" / "development" / "propagation.md").read_text(encoding="utf-8")
    promised = re.search(r"prints `(.+)` and `(.+)`", page)
    assert promised
    told = run(folder, "-c", shown + PROMISED, own_cache=True).splitlines()
    assert told[:2] == [promised[1], promised[2]]
    shares = [float(share) for share in told[2].split()]
    expected = [1.0, *(math.exp((5 - d) / 70.8) for d in (20, 40))]
    assert shares == pytest.approx(expected, abs=0.03)
