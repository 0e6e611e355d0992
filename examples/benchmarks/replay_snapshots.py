"""Train the learner of the tier ``replay`` in each network of the benchmark, and keep snapshots.

``python examples/benchmarks/replay_snapshots.py`` writes ``replay_NETWORK.safetensors`` in
``marl/policies`` for every network. Each holds the policy of one learner (PPO, small networks) at
equally spaced moments of its training, the untrained one included. Each snapshot stands for the
experience nearest to it in time, so the first and the last count half. Scores are of drawn actions
on the episodes of learning curves, which no dataset and no evaluation has.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marl import LearnerConfig, TrainingConfig, train
from marl.benchmark.networks import NETWORKS
from marl.benchmark.snapshots import snapshots, write_snapshots
from marl.config import environment_steps
from marl.graph.files import FOLDER, SNAPSHOTS, SUFFIX
from marl.learner.on_policy import OnPolicyLearner
from marl.runs.checkpoint import load_tensors
from marl.team import team_of
from marl.training.rollout import CURVE_SEED
from rrm_env import evaluate
from rrm_env.config import changed
from rrm_env.exit_status import status_of

COUNT = 6
"""Snapshots of each learner."""
SHARES = (1, *[2] * (COUNT - 2), 1)
SEED = 0
COMMON: dict[str, Any] = {
    "algorithm": "ppo",
    "discount": 0.1,
    "actor_learning_rate": 1e-3,
    "critic_learning_rate": 1e-3,
    "batch_size": 800,
    "learning_starts": 12_800,  # whole episodes of all environments
}
LEARNERS: dict[str, dict[str, Any]] = {
    "paper": {"paradigm": "c", "hidden_sizes": (24, 24)},
    "wide": {"paradigm": "i", "share_parameters": True, "hidden_sizes": (64, 64)},
    "power": {"paradigm": "ctde", "observes": "all", "hidden_sizes": (20, 20)},
}
"""Centralised where joint actions are few; networks are so small that files take under 150 kB."""
FAIRNESS = {"wide": 1.5}
"""Exponent of the reward while training, where it is not the network's own.

Under the reward of ``wide`` (0.8) returns grow and scores do not. Recordings have the network's own
reward.
"""
UPDATES = {"paper": 3200, "wide": 3200, "power": 4800}
"""Updates of each learner, of which 16 belong to a rollout of 3,200 steps."""


def main() -> None:
    """Train and write the snapshots of the networks that options name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--networks", nargs="+", choices=[*NETWORKS], default=[*NETWORKS], help="default: all"
    )
    parser.add_argument(
        "--updates", type=int, help="updates of each learner, at least 5; default: as published"
    )
    parser.add_argument(
        "--episodes", type=int, default=64, help="episodes for scores; default: %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, default=FOLDER, help="folder of the files; default: the package's"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    for network in options.networks:
        updates = options.updates or UPDATES[network]
        path = options.out / f"{SNAPSHOTS}{network}{SUFFIX}"
        write(network, updates, path)
        for name, snapshot, share in snapshots(network, path):
            found = evaluate(snapshot, NETWORKS[network], options.episodes, CURVE_SEED)
            score, worst = found.score.mean(), found.worst_rate.mean()
            print(f"{network}, {name}: share {share}, score {score:.3f}, worst user {worst:.3f}")
        print(f"wrote {path}, {path.stat().st_size:,} bytes", flush=True)


def write(network: str, updates: int, path: Path) -> None:
    """Train the learner of a network, and write its snapshots."""
    config, environment = learner(network), NETWORKS[network]
    if network in FAIRNESS:
        environment = changed(environment.as_dict(), {"fairness_exponent": FAIRNESS[network]})
    every = updates // (COUNT - 1)
    done = [every * k for k in range(COUNT)]
    kept = [OnPolicyLearner(config, team_of(environment), [SEED]).tensors()]
    training = TrainingConfig()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for k, until in enumerate(done[1:]):
            training = TrainingConfig(
                updates=until,
                log_every=every,
                evaluate_every=done[-1],
                evaluation_episodes=1,
                checkpoint_every=every,
            )
            train(run, config, training, seeds=[SEED], environment=environment, resume=k > 0)
            kept.append(load_tensors(run, with_replay=False)[0])
    steps = [environment_steps(one, config, training) for one in done]
    command = shlex.join(
        ["python", "examples/benchmarks/replay_snapshots.py", "--networks", network]
    )
    description = {
        "command": command,
        "learner": config.as_dict(),
        "updates": done,
        "network": environment.as_dict(),
    }
    write_snapshots(path, stacked(kept), steps, SHARES, description)


def learner(network: str) -> LearnerConfig:
    """The learner of a network."""
    return LearnerConfig(**COMMON, **LEARNERS[network])


def stacked(kept: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a file of snapshots, from those of checkpoints.

    All snapshots see observations as the learner normalised them before its first update.
    """
    last = kept[-1]
    tensors = {name: last[name][0, 0] for name in ("shift", "scale")}
    for depth in range(sum(name.startswith("layers") for name in last) // 2):
        weights, biases = (f"layers.{depth}.{kind}" for kind in ("weights", "biases"))
        tensors[f"weights.{depth}"] = torch.stack([one[weights][0, 0] for one in kept])
        tensors[f"biases.{depth}"] = torch.stack([one[biases][0, 0, :, 0] for one in kept])
    return tensors


if __name__ == "__main__":
    sys.exit(status_of(main))
