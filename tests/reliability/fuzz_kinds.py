"""Valid files of every kind that the package reads, how each is loaded, and what may damage it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from damage import BYTES, HEADERS, JSON, Bytes, Mutation
from forgeries import (
    call_something,
    forge_arrays,
    forge_description,
    forge_minari,
    forge_tensors,
    unsigned,
)

from baselines import ITLinQ, RandomWalk
from marl import (
    Dataset,
    LearnerConfig,
    TrainingConfig,
    collect,
    load_policies,
    train,
)
from marl.config import ACT_AND_LEARN, Algorithm, Paradigm
from marl.data.replay import Replay
from marl.environment import Environment
from marl.exchange.card import behaviours, dataset_card
from marl.exchange.d3rlpy import MDP_ARRAYS, from_mdp_arrays, mdp_arrays, read_mdp_arrays
from marl.exchange.minari import from_minari, to_minari
from marl.learner.learner import Learner
from marl.learner.on_policy import OnPolicyLearner
from marl.runs.checkpoint import load_tensors, read_log
from marl.runs.description import describe
from marl.team import Team
from marl.training.curves import learning_curve
from marl.training.rollouts import RolloutMemory
from rrm_env import RRMConfig, rrm_v0

SMALL = RRMConfig(n_aps=2, n_ues=6, n_candidates=2, episode_length=10)
TALKING = RRMConfig(
    n_aps=3,
    n_ues=5,
    n_candidates=1,
    episode_length=7,
    messages="best",
    turns="by_load",
    measurements="large_scale",
)

Content = dict[str, Any]
"""What was loaded, by name: texts, numbers, lists of numbers and tensors."""


@dataclass(frozen=True)
class Kind:
    """Files of one kind."""

    pattern: str
    """Where it is in its folder."""
    load: Callable[[Path], Content]
    """Loads the folder."""
    mutations: Mapping[str, Mutation]
    forged: tuple[str, ...] = ()
    """Mutations that may make other valid content; behind any other only equal content may load."""
    names: tuple[str, ...] = ()
    """What errors may call the file by, other than its path."""
    weight: int = 1
    """Its share of all files."""


@dataclass(frozen=True, eq=False)
class Original:
    """A valid file."""

    kind: str
    folder: Path
    """Everything that is loaded together with it."""
    file: str
    """Its place there."""
    content: Bytes


# --- Loading, and using what was loaded ---


def use_dataset(dataset: Dataset) -> Content:
    """Return a dataset's arrays and fingerprint after everything that may be done with it."""
    dataset_card(dataset)
    assert sum(behaviour.transitions for behaviour in behaviours(dataset)) == len(dataset)
    assert torch.isfinite(dataset.transitions().observation).all()
    assert dataset.subset(1).team == dataset.team
    return {**dataset.tensors(), "fingerprint": dataset.fingerprint()}


def load_dataset(folder: Path) -> Content:
    """Load a dataset's file."""
    return use_dataset(Dataset.read(folder / "data.safetensors"))


def load_run(folder: Path) -> Content:
    """Load a run: its description, policies, their actions, and what training resumes from."""
    run = folder / "run"
    description = describe(run)
    policies = load_policies(run)
    acting = []
    for policy in policies:
        team, generator = policy.team, np.random.default_rng(0)
        mask = (generator.random((16, team.n_agents, team.n_actions)) < 0.5).astype(np.uint8)
        mask[..., -1] = 1
        chosen = policy.actions(generator.normal(size=(16, team.n_agents, team.n_features)), mask)
        assert np.take_along_axis(mask, chosen[..., None], -1).all(), "illegal action"
        acting.append(chosen.tolist())
    online = description["data"] is None
    tensors, replay = load_tensors(run, with_replay=online)
    config, team = LearnerConfig.from_dict(description["learner"]), Team(**description["team"])
    if config.algorithm in ACT_AND_LEARN:
        player = OnPolicyLearner(config, team, description["seeds"])
        player.load(tensors)
        steps = config.rollout_steps * description["training"]["envs_per_seed"]
        RolloutMemory(player, steps).load(replay or {})
    else:
        learner = Learner(config, team, description["seeds"])
        learner.load(tensors)
        if replay is not None:
            Replay(team, len(learner.seeds), config.replay_capacity, learner.device).load(replay)
    return {
        "config": config,
        "scheme": description["scheme"],
        "acting": acting,
        "tensors": tensors,
        "replay": replay or {},
    }


def load_log(folder: Path) -> Content:
    """Load a run and its log."""
    content = load_run(folder)
    learning_curve(folder / "run")
    return {**content, "log": list(read_log(folder / "run"))}


def load_arrays(folder: Path) -> Content:
    """Load d3rlpy's arrays."""
    return use_dataset(from_mdp_arrays(read_mdp_arrays(folder / "data.npz"), SMALL))


def load_minari(folder: Path) -> Content:
    """Load a Minari dataset."""
    os.environ["MINARI_DATASETS_PATH"] = str(folder)
    return use_dataset(from_minari("fuzz-v0"))


# --- Kinds ---

_TENSOR_FILE = {**BYTES, **HEADERS}
KINDS: dict[str, Kind] = {
    "dataset": Kind(
        "data.safetensors",
        load_dataset,
        {
            **_TENSOR_FILE,
            "description forged": forge_description,
            "tensors forged": forge_tensors,
        },
        ("description forged", "tensors forged"),
        weight=44,
    ),
    "checkpoint": Kind(
        "run/checkpoint.safetensors",
        load_run,
        {
            **_TENSOR_FILE,
            "tensors forged": forge_tensors,
            "owner forged": forge_description,
            "unsigned": unsigned,
        },
        ("tensors forged",),
        ("checkpoint: ",),
        weight=36,
    ),
    "replay": Kind(
        "run/replay-*",
        load_run,
        {**_TENSOR_FILE, "tensors forged": forge_tensors, "unsigned": unsigned},
        ("tensors forged",),
        ("replay: ",),
        weight=8,
    ),
    "config.json": Kind("run/config.json", load_run, {**BYTES, **JSON}, weight=10),
    "log.jsonl": Kind("run/log.jsonl", load_log, BYTES, (*BYTES,), weight=3),
    "arrays.npz": Kind(
        "data.npz",
        load_arrays,
        {**BYTES, "arrays forged": forge_arrays},
        ("arrays forged",),
        (*MDP_ARRAYS, *Dataset.__dataclass_fields__),
        weight=5,
    ),
    "Minari, HDF5": Kind(
        "fuzz-v0/data/main_data.hdf5",
        load_minari,
        {**BYTES, "arrays forged": forge_minari},
        names=("'fuzz-v0'",),
        weight=2,
    ),
    "Minari, JSON": Kind(
        "fuzz-v0/data/metadata.json",
        load_minari,
        {**BYTES, **JSON, "code named": call_something},
        (*BYTES, *JSON, "code named"),
        ("'fuzz-v0'",),
        weight=2,
    ),
}
"""Everything that the package loads.

Logs and Minari's own metadata have no checksum, so there other content may load if it is valid.
"""


# --- Originals ---


def build(folder: Path) -> list[Original]:
    """Write small valid files of every kind, in folders of their own."""
    recorded = collect(RandomWalk(silence=True), SMALL, 45, seed=1)
    foreign = {"environment": {"kind": "parallel", "name": "some_v0"}}
    datasets = {
        "network": recorded,
        "mixed": Dataset.mix([recorded, collect(ITLinQ(), SMALL, 30, seed=2)], 20),
        "talking": collect(RandomWalk(), TALKING, 12),
        "parallel": Dataset(**recorded.tensors(), metadata=foreign),
        "one row": recorded.subset(1),
    }
    for name, dataset in datasets.items():
        (folder / f"dataset {name}").mkdir()
        dataset.write(folder / f"dataset {name}" / "data.safetensors")
    _train(folder, recorded)
    (folder / "arrays").mkdir()
    arrays: dict[str, Any] = dict(mdp_arrays(recorded))
    np.savez(folder / "arrays" / "data.npz", **arrays)
    for name in ("network", "parallel"):
        os.environ["MINARI_DATASETS_PATH"] = str(folder / f"minari {name}")
        to_minari(datasets[name], "fuzz-v0")
    return [
        Original(name, where, str(path.relative_to(where)), Bytes(path.read_bytes()))
        for name, kind in KINDS.items()
        for where in sorted(folder.iterdir())
        for path in where.glob(kind.pattern)
    ]


def _train(folder: Path, dataset: Dataset) -> None:
    """Train runs of every scheme, offline and online."""
    every_second: Any = dict.fromkeys(("updates", "evaluate_every", "checkpoint_every"), 2)
    training = TrainingConfig(log_every=1, evaluation_episodes=1, envs_per_seed=2, **every_second)
    tiny = {"hidden_sizes": (4,), "batch_size": 4, "replay_capacity": 20, "learning_starts": 8}
    offline: dict[str, Any] = {"dataset": dataset}
    other = Environment.of_factory(lambda: rrm_v0.parallel_env(**SMALL.as_dict()))
    schemes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"paradigm": paradigm, "algorithm": algorithm}, offline)
        for paradigm in get_args(Paradigm)
        for algorithm in get_args(Algorithm)
        if algorithm not in ACT_AND_LEARN
    ]
    schemes += [
        ({"paradigm": "ctde", "share_parameters": True}, {**offline, "seeds": (0, 5)}),
        ({"common_features": 2, "hidden_sizes": ()}, offline),
        ({"algorithm": "dqn"}, {"environment": SMALL, "seeds": (3, 1)}),
        ({"algorithm": "ppo", "rollout_steps": 4}, {"environment": SMALL, "seeds": (3, 1)}),
        ({"paradigm": "i"}, {"environment": other}),
    ]
    for k, (learner, options) in enumerate(schemes):
        config = LearnerConfig(**{**tiny, **learner})
        train(folder / f"run {k}" / "run", config, training, **options)
