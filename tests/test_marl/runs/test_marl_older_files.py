"""Runs and datasets written before an option existed: they did what its default does, and still belong to what is made now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from toys import SMALL, assert_same_outcome, trained

from baselines import RandomWalk
from marl import Dataset, Policy, RunError, collect
from rrm_env import RRMConfig

LATER_OPTIONS = {"turns", "messages", "message_bits", "reward"}


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """A config as it was before some options existed."""
    return {name: value for name, value in values.items() if name not in names}


def aged(run: Path, *learner: str) -> None:
    """Rewrite a run's description as one of an older version."""
    description = json.loads((run / "config.json").read_text())
    description["learner"] = without(description["learner"], *learner)
    description["environment"]["config"] = without(
        description["environment"]["config"], *LATER_OPTIONS
    )
    (run / "config.json").write_text(json.dumps(description))


def older(dataset: Dataset) -> Dataset:
    """The recording of an older version."""
    environment = {
        "kind": "network",
        "config": without(dataset.metadata["environment"]["config"], *LATER_OPTIONS),
    }
    return Dataset(**dataset.tensors(), metadata={**dataset.metadata, "environment": environment})


def test_a_run_from_before_an_option_existed_is_gone_on_with(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {}, {"updates": 10})
    aged(run, "share_parameters", "common_features")
    assert Policy.load(run).config.share_parameters is False
    assert_same_outcome(
        trained(run, {}, {"updates": 20}, resume=True),
        trained(tmp_path / "whole", {}, {"updates": 20}),
    )


def test_a_run_from_before_checksums_is_loaded_and_gone_on_with(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {}, {"updates": 10})
    for name in ("checkpoint.safetensors", "replay-10.safetensors"):
        save_file(load_file(run / name), run / name)
    assert Policy.load(run).config.algorithm == "sac"
    assert_same_outcome(
        trained(run, {}, {"updates": 20}, resume=True),
        trained(tmp_path / "whole", {}, {"updates": 20}),
    )


def test_a_run_from_before_an_option_existed_did_what_its_default_does(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {"discount": 0.8}, {"updates": 10})
    aged(
        run, "discount"
    )  # as if the default had been all there was, which is not what the new run asks for
    with pytest.raises(RunError, match=r"with another learner: discount was 0\.9, now 0\.8"):
        trained(run, {"discount": 0.8}, {"updates": 20}, resume=True)


def test_recordings_of_older_versions_join_newer_ones_and_have_their_fingerprint() -> None:
    dataset = collect(RandomWalk(), SMALL, 30)
    assert older(dataset).metadata["environment"] != dataset.metadata["environment"]
    assert older(dataset).fingerprint() == dataset.fingerprint()
    assert len(Dataset.concatenate([older(dataset), dataset])) == 60
    assert older(dataset).environment["config"] == SMALL.as_dict()


def test_fingerprints_tell_networks_apart() -> None:
    plain, talking = (
        collect(RandomWalk(), RRMConfig(n_ues=6, messages=messages, reward="utility"), 30)
        for messages in ("none", "best")
    )
    assert plain.fingerprint() != talking.fingerprint()
    relabelled = Dataset(
        **plain.tensors(),
        metadata={**plain.metadata, "environment": {"kind": "network", "config": {"n_ues": 6}}},
    )
    assert relabelled.fingerprint() != plain.fingerprint()
