"""The page on adding a scheduler: its class works, and its changes give it a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from howto import apply_changes, blocks, copy_of, run

from baselines.scheduler import Baseline
from rrm_env import SILENT, Network, evaluate, parallel_env

(SOURCE,) = (block for block in blocks("scheduler.md", "python") if "class Threshold" in block)


@pytest.fixture(name="threshold")
def class_of_the_page() -> type[Baseline]:
    names: dict[str, Any] = {"__name__": "threshold"}
    exec(SOURCE, names)
    found: type[Baseline] = names["Threshold"]
    return found


def test_the_rule_is_the_one_described(threshold: type[Baseline]) -> None:
    scheduler, network = threshold(threshold_db=3.0), Network(num_envs=20)  # type: ignore[call-arg]
    network.reset(seed=0)
    silent = 0
    for _ in range(10):
        served = scheduler.schedule(network)
        for b, i in np.ndindex(served.shape):
            own = [ue for ue in network.candidates[b, i] if ue != SILENT]
            good = any(network.reported_sinr[b, ue] >= 10**0.3 for ue in own)
            assert served[b, i] == (
                min(own, key=lambda ue: network.average_rate[b, ue]) if good else SILENT
            )
            silent += not good
        network.step(served)
    assert 0 < silent < 10 * served.size


def test_it_is_evaluated_and_plays_the_parallel_environment(threshold: type[Baseline]) -> None:
    always, choosy, aloof = (
        evaluate(threshold(threshold_db=level), episodes=64).score.mean()  # type: ignore[call-arg]
        for level in (-20.0, 5.0, 20.0)
    )
    assert 1.15 > choosy > always > aloof
    env = parallel_env()
    env.reset(seed=0)
    assert set(threshold().act(env)) == set(env.agents)
    with pytest.raises(ValueError, match="threshold_db must be finite"):
        threshold(threshold_db=float("nan"))  # type: ignore[call-arg]


def test_the_changes_of_the_page_give_it_a_name_on_the_command_line(tmp_path: Path) -> None:
    folder = copy_of("baselines", tmp_path)
    (folder / "baselines" / "threshold.py").write_text(SOURCE, encoding="utf-8")
    assert apply_changes("scheduler.md", folder) == ["baselines/registry.py"]
    told = run(
        folder,
        "-m",
        "baselines",
        "--schedulers",
        "threshold:threshold_db=0,proportional_fair",
        "--episodes",
        "4",
    )
    assert "threshold:threshold_db=0" in told
