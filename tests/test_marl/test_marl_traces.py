"""Datasets, runs and policies of networks that play recorded channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recorded import trace_file
from toys import small_learner, small_training

from baselines import RandomWalk
from marl import Dataset, collect, load_policies, train
from marl.environment import Environment
from marl.graph.policy import GraphPolicy
from rrm_env import RRMConfig, evaluate


def test_datasets_and_runs_name_their_trace_by_its_checksum(tmp_path: Path) -> None:
    trace = trace_file(tmp_path)
    named = trace.config(episode_length=5)
    config = RRMConfig(**{**named.as_dict(), "trace_checksum": None})
    dataset = collect(RandomWalk(silence=True), config, 60, seed=1)
    dataset.write(tmp_path / "data.safetensors")
    described = Dataset.read(tmp_path / "data.safetensors").metadata["environment"]["config"]
    assert described["trace_checksum"] == trace.checksum
    assert described["trace"] == str(tmp_path / "gains.npz")
    run = tmp_path / "run"
    train(
        run, small_learner(), small_training(), seeds=[0, 1], dataset=dataset,
        environment=config,
    )  # fmt: skip
    policies = load_policies(run)
    assert evaluate(policies[0], named, 3).score.shape == (3,)
    assert (evaluate(GraphPolicy(), named, 3).ue_rates > 0).any()


def test_recordings_never_show_what_evaluations_play(tmp_path: Path) -> None:
    trace = trace_file(tmp_path)
    config = trace.config(episode_length=5, measurements="large_scale")
    dataset = collect(RandomWalk(silence=True), config, 400, seed=0)
    shown = dataset.observation.numpy().reshape(-1, config.n_features)
    gains = set(np.round(np.asarray(shown[:, 2:5], float), 4).ravel())
    slow = np.log10(trace.arrays["large_scale_gain"])
    evaluated = set(np.round(slow[3].astype(float), 4).ravel())
    trained = set(np.round(slow[:2].astype(float), 4).ravel())
    assert not (gains - trained) & evaluated
    assert len(gains & trained) > 50


def test_a_description_outlives_the_file(tmp_path: Path) -> None:
    environment = Environment.of_network(trace_file(tmp_path).config(episode_length=5))
    (tmp_path / "gains.npz").unlink()
    again = Environment.from_dict(environment.as_dict())
    assert again == environment
    assert again.team is not None
    with pytest.raises(ValueError, match="there is no trace"):
        again.source(1)
