"""The page on adding a KPI: after its changes the comparison of schedulers states the new KPI."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from howto import apply_changes, blocks, copy_of, run

from rrm_env import metrics

NAME = "geometric_mean_rate"
VALUES = """
import numpy as np
from rrm_env import metrics

values = metrics.geometric_mean_rate(np.array([[1.0, 2.0, 4.0, 8.0], [0.0, 2.0, 4.0, 8.0]]))
print(*values)
"""


def test_the_changes_of_the_page_make_a_kpi_that_every_scheduler_has(tmp_path: Path) -> None:
    assert NAME not in metrics.KPIS
    folder = copy_of("rrm_env", tmp_path)
    assert apply_changes("kpi.md", folder) == ["rrm_env/metrics.py", "rrm_env/evaluation.py"]
    values = [float(text) for text in run(folder, "-W", "error", "-c", VALUES).split()]
    assert values == pytest.approx([8 ** (1 / 2), 0])
    (command,) = blocks("kpi.md", "text")
    printed = run(folder, *command.replace("--episodes 16", "--episodes 2").split()[1:])
    assert "proportional_fair" in printed
    schedulers = json.loads((folder / "kpis.json").read_text(encoding="utf-8"))["schedulers"]
    for name in ("proportional_fair", "greedy"):
        kpi = schedulers[name][NAME]
        assert kpi["low"] <= kpi["mean"] <= kpi["high"]
        assert kpi["mean"] <= schedulers[name]["sum_rate"]["mean"] / 20
        assert math.isfinite(kpi["mean"])
    assert schedulers["proportional_fair"][NAME]["mean"] > schedulers["greedy"][NAME]["mean"]
