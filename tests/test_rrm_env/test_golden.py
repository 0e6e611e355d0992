"""Golden episodes: the physics of this version of the environment are those that it promises."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest

from rrm_env import PRESETS, RRMConfig, provenance
from rrm_env.rrm_v0 import ENV_ID

STORED = golden.stored()
Episode = dict[str, Any]


def test_every_preset_of_this_version_of_the_environment_has_a_golden_episode() -> None:
    assert STORED["environment"] == ENV_ID
    assert STORED["seed"] == golden.SEED
    assert [*STORED["episodes"]] == [*PRESETS]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_golden_episode_is_played_again(preset: str) -> None:
    """Bit for bit where this process gives the same bits, within 1e-5 everywhere else."""
    found = golden.played(preset)
    same_bits = provenance.gives_same_bits(STORED)
    wrong = golden.differences(STORED["episodes"][preset], found, same_bits=same_bits)
    assert not wrong, "\n".join([*wrong, golden.RULE])


@pytest.fixture
def episode() -> Episode:
    """A copy of what is promised for the preset paper, to be changed."""
    return copy.deepcopy(STORED["episodes"]["paper"])


def differences(found: Episode, *, same_bits: bool = False) -> str:
    return "\n".join(golden.differences(STORED["episodes"]["paper"], found, same_bits=same_bits))


def test_differences_beyond_the_tolerance_are_named(episode: Episode) -> None:
    assert differences(episode, same_bits=True) == ""
    episode["rewards"][7] *= 1 + 1.1e-5
    assert differences(episode).startswith("rewards[7] is ")
    assert "1 of 200 differ by more than 1e-05, allowed: 0" in differences(episode)
    episode["rewards"][7] = float("nan")
    assert differences(episode).startswith("rewards[7] is nan")


@pytest.mark.parametrize("name", ["ue_rates", "kpis"])
def test_rates_and_kpis_are_compared(name: str, episode: Episode) -> None:
    key: Any = "score" if name == "kpis" else 3
    episode[name][key] += 2e-5
    assert differences(episode).startswith("score is" if name == "kpis" else "ue_rates[3] is")


def test_missing_steps_and_kpis_are_noticed(episode: Episode) -> None:
    del episode["rewards"][-1], episode["kpis"]["score"]
    assert "rewards[0] is" in differences(episode)
    assert "the KPIs are sum_rate" in differences(episode)


def test_a_few_observations_may_differ_elsewhere_and_none_where_bits_are_the_same(
    episode: Episode,
) -> None:
    for t in range(4):
        episode["observations"][t] += 1
    assert differences(episode) == ""
    episode["observations"][4] += 1
    assert differences(episode).startswith("observations[0] is")


def test_other_bits_are_refused_only_where_they_must_be_the_same(episode: Episode) -> None:
    episode["checksum"] = "0" * 64
    assert differences(episode) == ""
    assert differences(episode, same_bits=True).startswith("the bits differ")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of the committed one; playing gives what is committed."""
    monkeypatch.setattr(golden, "FILE", tmp_path / "golden.json")
    monkeypatch.setattr(golden, "played", lambda preset: STORED["episodes"][preset])
    return golden.FILE


def test_the_command_refuses_other_physics_under_the_same_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copy.deepcopy(STORED)
    changed["episodes"]["dense"]["rewards"][0] += 1
    file.write_text(json.dumps(changed), encoding="utf-8")
    assert golden.main([]) == golden.main(["--write"]) == 1
    assert "dense: rewards[0] is" in capsys.readouterr().err
    assert json.loads(file.read_text(encoding="utf-8")) == changed
    changed["environment"] = "rrm/rrm-v-before"
    file.write_text(json.dumps(changed), encoding="utf-8")
    assert golden.main(["--write"]) == 0
    assert json.loads(file.read_text(encoding="utf-8"))["episodes"] == STORED["episodes"]
    changed["environment"] = ENV_ID
    changed["episodes"] = {**STORED["episodes"], "gone": STORED["episodes"]["paper"]}
    file.write_text(json.dumps(changed), encoding="utf-8")
    assert golden.main(["--write"]) == 1
    assert "gone: the preset is gone" in capsys.readouterr().err


def test_the_command_refuses_other_bits_where_they_must_be_the_same(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = copy.deepcopy(STORED)
    changed["episodes"]["paper"]["checksum"] = "0" * 64
    file.write_text(json.dumps(changed), encoding="utf-8")
    monkeypatch.setattr(golden, "gives_same_bits", lambda made_by: made_by == changed)
    assert golden.main(["--write"]) == 1
    assert "paper: the bits differ" in capsys.readouterr().err


def test_the_command_writes_other_bits_of_other_libraries_and_new_presets(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = copy.deepcopy(STORED)
    before["versions"]["numba"] = "0.1"
    before["episodes"]["paper"]["checksum"] = "0" * 64
    del before["episodes"]["wide"]
    file.write_text(json.dumps(before), encoding="utf-8")
    assert golden.main(["--write"]) == 0
    assert "paper: other bits, apart by 0.0e+00\ncorrelated: the same bits" in (
        capsys.readouterr().out
    )
    assert json.loads(file.read_text(encoding="utf-8"))["episodes"] == STORED["episodes"]
    file.unlink()
    assert golden.main(["--write"]) == 0
    assert json.loads(file.read_text(encoding="utf-8"))["episodes"] == STORED["episodes"]


def test_decisions_do_not_depend_on_the_order_of_candidates() -> None:
    config = RRMConfig(n_aps=3, n_candidates=4, n_ues=9, power_levels_dbm=(3.0, 0.0))
    rows = np.array([[4, 1, 7, -1], [-1, -1, -1, -1], [8, 2, 0, 3]])
    turned = np.array([[7, 4, 1, -1], [-1, -1, -1, -1], [0, 3, 8, 2]])
    served = set()
    for t in range(40):
        users, levels = [], []
        for candidates in (rows, turned):
            slot, level = np.divmod(golden.decision(candidates, t, config), 2)
            silent = slot == config.n_candidates
            chosen = np.take_along_axis(candidates, np.minimum(slot, 3)[:, None], axis=1)[:, 0]
            users.append(np.where(silent, -1, chosen).tolist())
            levels.append(np.where(silent, 0, level).tolist())
        assert users[0] == users[1]
        assert levels[0] == levels[1]
        served |= set(users[0]) if t else set()
        assert t > 0 or users[0] == [-1, -1, -1]
    assert served == {-1, 0, 1, 2, 3, 4, 7, 8}


# --- Where bits must be the same ---

ORIGIN = {"processor": "A Processor 1", "versions": provenance.versions()}


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "machine", lambda: {"processor": "A Processor 1", "cores": 2})


@pytest.mark.usefixtures("_here")
def test_the_same_processor_and_versions_give_the_same_bits() -> None:
    assert provenance.gives_same_bits(ORIGIN)
    assert not provenance.gives_same_bits({**ORIGIN, "processor": "A Processor 2"})
    unimportant = {**provenance.versions(), "rrm_env": "9", "python": "3.0"}
    assert provenance.gives_same_bits({**ORIGIN, "versions": unimportant})


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize("name", ["numpy", "numba", "llvmlite"])
def test_other_versions_may_give_other_bits(name: str) -> None:
    others = {**provenance.versions(), name: "0.1"}
    assert not provenance.gives_same_bits({**ORIGIN, "versions": others})
    del others[name]
    assert not provenance.gives_same_bits({**ORIGIN, "versions": others})


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("setting", "value"),
    [("CPU_NAME", "generic"), ("CPU_FEATURES", "-fma"), ("DISABLE_JIT", 1)],
)
def test_code_for_another_processor_may_give_other_bits(
    setting: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"numba.config.{setting}", value)
    assert not provenance.gives_same_bits(ORIGIN)


@pytest.mark.parametrize("name", ["", "arm", "x86_64"])
def test_the_name_of_an_architecture_is_no_processor(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "machine", lambda: {"processor": name, "cores": 2})
    assert not provenance.gives_same_bits({**ORIGIN, "processor": name})
