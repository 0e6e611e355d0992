"""The soak test in miniature: its parts pass, and its checks find what they are there for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rrm_env import Network, RRMConfig, RRMParallelEnv, RRMVectorEnv

SHORT = RRMConfig(episode_length=10)
CORRELATED = RRMConfig.preset("correlated", episode_length=2**31 - 2)


@pytest.fixture(scope="module", name="script")
def modules_of_the_soak() -> ModuleType:
    """tests/reliability/soak.py, imported."""
    pytest.importorskip("tyro", reason="the script's options need tyro, which is not installed")
    pytest.importorskip("psutil")
    import soak

    return soak


@pytest.fixture(name="parts")
def parts_of_the_soak(script: ModuleType) -> ModuleType:
    import soak_parts

    return soak_parts


@pytest.fixture(name="checks")
def checks_of_the_soak(script: ModuleType) -> ModuleType:
    import soak_checks

    return soak_checks


def last(records: Iterator[dict[str, Any]]) -> dict[str, Any]:
    """The last record, after others that count up to one."""
    *progress, result = records
    shares = [record["share"] for record in progress]
    assert shares == sorted(shares)
    assert len(shares) >= 3
    assert shares[-1] <= 1
    return result


@pytest.mark.parametrize("preset", ["paper", "correlated"])
def test_the_network_part_passes(preset: str, parts: ModuleType, script: ModuleType) -> None:
    found = last(parts.network_part(RRMConfig.preset(preset, episode_length=10), 32, 9600, seed=1))
    assert found["env_steps"] == 9600
    assert found["episodes"] == 960
    assert found["arrays_checked"] >= 2 * 30 * 15
    assert len(found["p_values"]) == 2 * 8 * 3
    assert all(np.isfinite(value).all() for value in found["tenths"].values())
    assert script.verdicts({"part": found}) == {"part": "passes"}


def test_the_dictionary_part_passes(parts: ModuleType, script: ModuleType) -> None:
    found = last(parts.dictionary_part(SHORT, 400, seed=1))
    assert (found["env_steps"], found["arrays_checked"]) == (400, 5 * 40)
    assert script.verdicts({"part": found}) == {"part": "passes"}


def test_the_long_episode_part_passes(parts: ModuleType, script: ModuleType) -> None:
    found = last(parts.long_episode_part(CORRELATED, 4, 1000, seed=1))
    assert found["env_steps"] == 4000
    assert all(0.8 < value < 1.2 for value in found["tenths"]["power"])
    assert script.verdicts({"part": found}) == {"part": "passes"}


def test_the_autoreset_part_passes(parts: ModuleType, script: ModuleType) -> None:
    found = last(parts.autoreset_part(SHORT, 4, 300, seed=1))
    assert (found["env_steps"], found["different_seeds"]) == (1200, 31 * 4)
    assert found["simulated_hours"] == pytest.approx(1200 * 0.05 / 3600)
    assert script.verdicts({"part": found}) == {"part": "passes"}


def test_eight_environments_in_eight_threads_end_up_where_serial_ones_do(parts: ModuleType) -> None:
    found = last(parts.threads_part(1000, seed=1))
    assert found["environments_compared"] == 24


def test_threads_that_share_an_environment_would_be_noticed(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """State shared between environments is what would make threads disagree."""
    shared = np.random.default_rng(0)
    monkeypatch.setattr(parts, "_play_dictionaries", lambda _, seed: f"{seed} {shared.random()}")
    with pytest.raises(AssertionError, match="differs between threads and serial"):
        list(parts.threads_part(10, seed=0))


@pytest.mark.parametrize(
    ("array", "value", "named"),
    [
        ("gain_history", np.nan, "gain is not finite"),
        ("large_scale_gain", -1.0, "large_scale_gain is negative"),
        ("ue_positions", 101.0, "ue_positions leaves the square"),
        ("observation", 13.0, "observation leaves its space"),
        ("average_rate", 0.001, "average_rate is below its floor"),
        (
            "candidates",
            0,
            "masks and candidates differ|a candidate belongs to another access point",
        ),
        ("action_mask", 0, "masks and candidates differ"),
        ("neighbours", 0, "neighbours are not different other access points"),
    ],
)
def test_what_must_not_be_in_an_array_is_named(
    array: str, value: float, named: str, checks: ModuleType
) -> None:
    import network_checks as arrays

    network = Network(RRMConfig(measurements="neighbours", n_neighbours=2), 2)
    network.reset(3)
    assert arrays.check_arrays(network) >= 17
    getattr(network._state, array)[:] = value
    with pytest.raises(arrays.CheckError, match=f"{named}.* in step 0 of the episodes from seed 3"):
        arrays.check_arrays(network)


def test_memory_that_grows_is_noticed(checks: ModuleType) -> None:
    def growth(leak: int) -> dict[str, int]:
        memory, kept = checks.Memory(40), []
        for _ in range(40):
            kept.append(bytearray(b"x" * leak))
            memory.sample()
        assert len(kept) == 40
        found: dict[str, int] = memory.growth()
        return found

    assert checks.flat(growth(0))
    assert not checks.flat(growth(4_000_000))
    bounds = {
        "growth_bytes": checks.RSS_BOUND,
        "growth_blocks": checks.BLOCKS_BOUND,
        "growth_objects": checks.OBJECTS_BOUND,
    }
    assert checks.flat(bounds)
    for what, bound in bounds.items():
        assert not checks.flat({**bounds, what: bound + 1})


def test_objects_and_blocks_that_are_left_behind_are_counted(checks: ModuleType) -> None:
    memory, kept = checks.Memory(40), []
    for _ in range(40):
        kept += [[float(k)] for k in range(100)]
        memory.sample()
    found = memory.growth()
    # From the middle of the second tenth to the middle of the last.
    assert found["growth_objects"] == pytest.approx(3400, rel=0.1)
    assert found["growth_blocks"] >= 2 * found["growth_objects"]


def test_drift_is_told_from_chance(checks: ModuleType) -> None:
    generator = np.random.default_rng(0)
    steady = generator.normal(size=5000)
    assert min(checks.drift({"steady": steady, "constant": np.ones(5000)}).values()) > 1e-3
    wider = steady * np.linspace(1, 4, 5000)
    found = checks.drift({"rising": steady + np.linspace(0, 0.5, 5000), "wider": wider})
    assert max(found["rising, mean"], found["rising, trend"], found["wider, distribution"]) < 1e-4
    noise = 0.1 * generator.normal(size=(2, 5000))
    early, late, later = (
        {"power": steady},
        {"power": steady + noise[0] + 0.02},
        {"power": steady + noise[1]},
    )
    assert checks.paired_drift(early, late)["power, paired mean"] < 1e-4
    assert checks.paired_drift(early, later)["power, paired mean"] > 1e-3


def test_verdicts_name_what_failed(script: ModuleType) -> None:
    fine = {
        "env_steps": 1,
        "p_values": {"return, mean": 0.2},
        "memory": dict.fromkeys(("growth_bytes", "growth_blocks", "growth_objects"), 0),
    }
    said = script.verdicts(
        {
            "fine": fine,
            "drifts": {**fine, "p_values": {"return, mean": 1e-9}},
            "leaks": {
                **fine,
                "memory": {"growth_bytes": 2**30, "growth_blocks": 0, "growth_objects": 0},
            },
            "crashed": {"error": "Traceback\nValueError: no"},
            "cut off": {"share": 0.5},
        }
    )
    assert said["fine"] == "passes"
    assert said["drifts"] == "drift of return, mean (p = 1.0e-09)"
    assert said["leaks"].startswith("memory grew")
    assert (said["crashed"], said["cut off"]) == ("ValueError: no", "not finished")


def test_parts_run_in_processes_of_their_own_and_a_crash_is_reported(
    script: ModuleType, tmp_path: Path
) -> None:
    out = tmp_path / "soak.json"
    assert script.main(script.Options(quick=True, only=("threads",), json=out)) == 0
    assert '"verdict": "passes"' in out.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"only must name parts, .*, got 'nothing'"):
        script.main(script.Options(quick=True, only=("nothing",)))


def test_an_episode_that_comes_twice_is_noticed(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    reset = Network.reset
    monkeypatch.setattr(
        Network, "reset", lambda self, seed=None: reset(self, 5 if seed is None else seed)
    )
    with pytest.raises(AssertionError, match="episode seeds came twice"):
        list(parts.autoreset_part(SHORT, 2, 200, seed=0))


def test_an_end_at_the_wrong_step_is_noticed(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RRMVectorEnv.step

    def never_ends(self: RRMVectorEnv, actions: Any) -> Any:
        observation, reward, terminations, truncations, infos = step(self, actions)
        return observation, reward, terminations, truncations & False, infos

    monkeypatch.setattr(RRMVectorEnv, "step", never_ends)
    with pytest.raises(AssertionError, match="end of an episode in step 10"):
        list(parts.autoreset_part(SHORT, 2, 200, seed=0))


def test_a_reward_that_is_no_number_is_noticed(
    parts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = RRMParallelEnv.step

    def sometimes_nan(self: RRMParallelEnv, actions: Any) -> Any:
        observations, rewards, *others = step(self, actions)
        return (
            observations,
            dict.fromkeys(rewards, float("nan") if self.network.t == 7 else 1.0),
            *others,
        )

    monkeypatch.setattr(RRMParallelEnv, "step", sometimes_nan)
    with pytest.raises(AssertionError, match=r"rewards .*nan.* in step 6"):
        list(parts.dictionary_part(SHORT, 200, seed=0))
