"""Files of earlier revisions are refused, since none of those was released."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from toys import SMALL, trained

from baselines import RandomWalk
from marl import Dataset, Policy, RunError, collect
from rrm_env import RRMConfig

LATER_OPTIONS = {
    "turns",
    "messages",
    "message_bits",
    "reward",
    "average",
    "average_prior_steps",
    "pf_exponent",
}


def without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    """A configuration that lacks options which were added later."""
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
    """A dataset as an older version recorded it."""
    environment = {
        "kind": "network",
        "config": without(dataset.metadata["environment"]["config"], *LATER_OPTIONS),
    }
    return Dataset(**dataset.tensors(), metadata={**dataset.metadata, "environment": environment})


def test_a_run_that_lacks_an_option_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {}, {"updates": 10})
    aged(run, "share_parameters")
    with pytest.raises(RunError, match=r"share_parameters was False, now None"):
        Policy.load(run)
    with pytest.raises(RunError, match=r"another learner: share_parameters was None, now False"):
        trained(run, {}, {"updates": 20}, resume=True)


def test_a_checkpoint_without_checksum_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", {}, {"updates": 10})
    for name in ("checkpoint.safetensors", "replay-10.safetensors"):
        save_file(load_file(run / name), run / name)
    with pytest.raises(RunError, match=r"its metadata lack checksum, description"):
        Policy.load(run)
    with pytest.raises(RunError, match=r"its metadata lack checksum, description"):
        trained(run, {}, {"updates": 20}, resume=True)


def test_recordings_of_older_versions_join_newer_ones_and_have_their_fingerprint() -> None:
    dataset = collect(RandomWalk(), SMALL, 30)
    assert older(dataset).metadata["environment"] != dataset.metadata["environment"]
    assert older(dataset).fingerprint() == dataset.fingerprint()
    assert len(Dataset.concatenate([older(dataset), dataset])) == 60
    assert older(dataset).environment.network == SMALL


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
