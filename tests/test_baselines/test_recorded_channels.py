"""Comparisons, the optimum and pictures of episodes on recorded channels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded import trace_file

import baselines.__main__ as command
from baselines import REGISTRY, TDM, LongMemory
from baselines.optimum import optimum
from rrm_env import Network, RRMConfig, Trace, evaluate, record_trace
from rrm_env.rendering import Renderer, graph_positions
from rrm_env.trace_source import trace_of, windows_of


@pytest.fixture(autouse=True)
def _wide_and_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("RRM_ENV_CACHE_DIR", str(tmp_path / "cache"))


def test_the_command_compares_schedulers_on_a_trace_and_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = trace_file(tmp_path)
    settings = ["--set", f"trace={tmp_path / 'gains.npz'}", "episode_length=6"]
    chosen = ["--schedulers", "tdm,long_memory,random_walk", "--episodes", "9"]
    results = tmp_path / "results.json"
    assert command.main([*settings, *chosen, "--json", str(results)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "3 APs, 7 UEs, 9 episodes of 6 steps" in out
    assert (
        f"trace gains.npz ({trace.checksum[:12]}), its last 40 of 40 steps in 1 of 4 places" in out
    )
    assert "The trace has 5 such episodes without a step in common; 9 overlap" in out
    written = json.loads(results.read_text())
    assert written["config"]["trace_checksum"] == trace.checksum
    config = trace.config(episode_length=6)
    score = evaluate(LongMemory(), config, 9).score
    assert written["schedulers"]["long_memory"]["score"]["mean"] == pytest.approx(score.mean())


def test_the_command_refuses_a_trace_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace_file(tmp_path)
    for settings, message in (
        (["trace=nowhere.npz"], "there is no trace 'nowhere.npz'"),
        ([f"trace={tmp_path / 'gains.npz'}"], "an episode needs csi_delay + episode_length + 1"),
    ):
        assert command.main(["--set", *settings, "--schedulers", "tdm", "--episodes", "2"]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", list(REGISTRY))
def test_every_scheduler_plays_a_trace(tmp_path: Path, name: str) -> None:
    config = trace_file(tmp_path).config(episode_length=4)
    assert (evaluate(REGISTRY[name](), config, 3).ue_rates >= 0).all()


def test_the_optimum_of_a_trace_exceeds_its_schedulers_and_is_kept_by_its_checksum(
    tmp_path: Path,
) -> None:
    pytest.importorskip("scipy")
    trace = trace_file(tmp_path)
    config = trace.config(episode_length=6, fading="iid")
    best = optimum(config, 0, 4)
    assert best.is_bound
    assert best.score.value.mean() > evaluate(TDM(), config, 4).score.mean()
    foreseen = optimum(trace.config(episode_length=6), 0, 4, information="channel")
    for name in ("tdm", "long_memory", "max_weight"):
        played = evaluate(REGISTRY[name](), trace.config(episode_length=6), 4).score
        assert (foreseen.score.value >= played - 1e-9).all()
    with pytest.raises(ValueError, match="fading = 'trace' has memory"):
        optimum(trace.config(episode_length=6), 0, 1)
    kept = len(list((tmp_path / "cache").glob("optimum_*")))
    moved = trace.save(tmp_path / "again.npz").config(episode_length=6, fading="iid")
    np.testing.assert_array_equal(optimum(moved, 0, 4).score.value, best.score.value)
    assert len(list((tmp_path / "cache").glob("optimum_*"))) == kept
    louder: dict[str, Any] = {
        **trace.arrays,
        "gain": 2 * trace.gain,
        "large_scale_gain": 2 * trace.arrays["gain"],
    }
    louder |= {"unit": "snr", "step_duration_s": 0.05}
    other = Trace.from_arrays(**louder).save(tmp_path / "gains.npz")
    unnamed = RRMConfig(**{**config.as_dict(), "trace_checksum": None})
    assert other.checksum != trace.checksum
    assert (optimum(unnamed, 0, 4).score.value != best.score.value).all()


def test_schedulers_and_optimum_of_a_recording_are_those_of_the_network_it_shows(
    tmp_path: Path,
) -> None:
    pytest.importorskip("scipy")
    drawn = RRMConfig(episode_length=20)
    first = 2**62
    trace = record_trace(drawn, first, episodes=3).save(tmp_path / "trace.npz")
    config = trace.config(episode_length=20, trace_split="none", ue_speed_mps=1.0)
    assert windows_of(trace_of(config), config)[2].n_disjoint == 3
    for name in ("tdm", "itlinq", "long_memory", "max_weight", "debts"):
        np.testing.assert_array_equal(
            evaluate(REGISTRY[name](), config, 3).ue_rates,
            evaluate(REGISTRY[name](), drawn, 3).ue_rates,
        )
    np.testing.assert_allclose(
        optimum(config, 0, 3, information="channel").score.value,
        optimum(drawn, 0, 3, information="channel").score.value,
    )


def test_a_network_without_positions_is_drawn_as_a_graph(tmp_path: Path) -> None:
    pytest.importorskip("pygame")
    config = trace_file(tmp_path, ap_positions=None).config(episode_length=5)
    network, renderer = Network(config), Renderer(config, "rgb_array")
    network.reset(0)
    renderer.observe(network)
    network.step_actions(np.zeros((1, 3), int))
    renderer.observe(network)
    frame = renderer.render()
    assert frame is not None
    aps, ues = graph_positions(network.association[0], config)
    for positions in (aps, ues):
        assert ((positions > 0) & (positions < config.area_side_m)).all()
        assert len(np.unique(positions.round(3), axis=0)) == len(positions)
    distance = np.linalg.norm(ues[:, None] - aps[None], axis=-1)
    np.testing.assert_array_equal(distance.argmin(axis=1), network.association[0])
    scale = Renderer(RRMConfig(n_aps=3, n_ues=7), "rgb_array")
    other = Network(RRMConfig(n_aps=3, n_ues=7))
    other.reset(0)
    scale.observe(other)
    bar = scale.render()
    assert bar is not None
    assert (bar[680:, :600] != 255).any()  # the scale in metres, which a graph lacks
    assert (frame[680:, :600] == 255).all()
