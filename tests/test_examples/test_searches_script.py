"""examples/benchmarks/searches.py in miniature: its objective, shares and table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import naive
import numpy as np
import pytest
from folders import examples
from strategies import random_service, reset_network

from rrm_env import RRMConfig


@pytest.fixture(scope="module", name="script")
def imported() -> Iterator[ModuleType]:
    """examples/benchmarks/searches.py."""
    with examples():
        import searches

        yield searches


def test_the_objective_is_that_of_the_equation(script: ModuleType) -> None:
    network, generator = reset_network(RRMConfig(n_aps=5, n_ues=14), 2, 6), np.random.default_rng(0)
    served = random_service(network, generator)
    values = script.weighted_rates(network, network.reported_gain, served, 0.8)
    for b in range(6):
        expected = naive.weighted_sum(
            served[b].tolist(),
            network.reported_gain[b].tolist(),
            network.average_rate[b].tolist(),
            0.8,
        )
        assert values[b] == pytest.approx(expected, rel=1e-9)


def test_shares_are_of_exhaustive_search_on_the_same_channel(script: ModuleType) -> None:
    config = RRMConfig(episode_length=10)
    names = ("greedy_max_weight:starts=100", "power_control", "fplinq")
    for csi in ("reported", "present"):
        found = script.shares_of_exact(names, config, csi, 4, 0)
        assert list(found) == ["exact", *names]
        assert (found["exact"]["ratio"] == 1).all()
        for name in names:
            assert found[name]["ratio"].shape == (40,)
            assert (found[name]["ratio"] <= 1 + 1e-9).all()
            assert found[name]["seconds"] > 0
        greedy, power, _ = (found[name]["ratio"].mean() for name in names)
        assert greedy > 0.999
        assert 0.8 < power < 0.97


def test_the_table_is_printed_and_results_written(
    script: ModuleType, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "found.json"
    script.main(script.Options(quick=True, json=path))
    assert "wide, reported" in capsys.readouterr().out
    found = json.loads(path.read_text(encoding="utf-8"))
    assert len(found["shares"]) == 3 * (1 + len(script.SEARCHES))
