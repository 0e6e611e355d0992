"""d3rlpy: DiscreteCQL learns from a dataset of this package, all access points as one agent.

d3rlpy 2.8 pins Gymnasium 1.0.0, and this package needs 1.1. So this script runs d3rlpy in a virtual
environment of its own. There it reads the arrays of `marl.exchange.d3rlpy.mdp_arrays` from a file,
and leaves its greedy policy as TorchScript, which torch runs without d3rlpy.

``python examples/trainers/with_d3rlpy.py`` makes that environment for the run; ``--peer-venv
FOLDER`` uses an existing one (``pip install 'd3rlpy>=2.8,<2.9' 'torch>=2.6,<2.14'``). Needs
``pip install -e ".[marl]"``; ``--help`` shows the options.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

WORKER = "--peer-worker"
STAGES = "untrained", "trained"

if WORKER not in sys.argv:  # d3rlpy's interpreter has none of these
    sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
    from d3rlpy_peer import interpreter  # the benchmark of learners uses it too
    from numpy.typing import NDArray
    from report import Act, print_closing_line, print_policy, print_versions, run_example

    from baselines.registry import parse_scheduler
    from marl import LearnerConfig, collect
    from marl.exchange.d3rlpy import mdp_arrays
    from rrm_env import RRMConfig
    from rrm_env.joint import JointActions


@dataclass(frozen=True)
class Options:
    """What to learn from, how long, and where d3rlpy is."""

    scheduler: str = "max_weight"
    """Scheduler whose decisions are recorded, as in python -m baselines."""
    transitions: int = 100_000
    """Size of the dataset."""
    updates: int = 10_000
    """Gradient updates."""
    episodes: int = 128
    """Unseen episodes for the comparison."""
    seed: int = 0
    """Seed of dataset and learner."""
    peer_venv: Path | None = None
    """Virtual environment that holds d3rlpy 2.8 (default: pip makes one for this run)."""
    quick: bool = False
    """Train for seconds only: 10,000 transitions, 500 updates, 16 episodes."""

    def __post_init__(self) -> None:
        for name, low in (("transitions", 1), ("updates", 1), ("episodes", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"--{name} must be at least {low}, got {getattr(self, name)}")
        if self.peer_venv and not (self.peer_venv / "bin" / "python").exists():
            raise ValueError(f"--peer-venv {self.peer_venv} must hold bin/python")


def peer_worker(folder: Path) -> None:
    """Train on ``arrays.npz`` as ``settings.json`` says, and save a policy of each of `STAGES`.

    d3rlpy's interpreter runs this.
    """
    import d3rlpy

    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    arrays = dict(np.load(folder / "arrays.npz"))
    d3rlpy.seed(settings["seed"])
    dataset = d3rlpy.dataset.MDPDataset(
        **arrays, action_space=d3rlpy.ActionSpace.DISCRETE, action_size=settings["n_actions"]
    )
    observations = arrays["observations"]
    algorithm = d3rlpy.algos.DiscreteCQLConfig(
        observation_scaler=d3rlpy.preprocessing.StandardObservationScaler(
            mean=observations.mean(0), std=observations.std(0)
        ),
        reward_scaler=d3rlpy.preprocessing.MultiplyRewardScaler(settings["reward_scale"]),
        encoder_factory=d3rlpy.models.encoders.VectorEncoderFactory(settings["hidden_sizes"]),
        learning_rate=settings["learning_rate"],
        batch_size=settings["batch_size"],
        gamma=settings["discount"],
        target_update_interval=200,
    ).create()
    algorithm.build_with_dataset(dataset)
    algorithm.save_policy(str(folder / "untrained.pt"))
    n, quiet = settings["updates"], d3rlpy.logging.NoopAdapterFactory()
    began = time.perf_counter()
    algorithm.fit(
        dataset, n_steps=n, n_steps_per_epoch=n, show_progress=False, logger_adapter=quiet
    )
    seconds = time.perf_counter() - began
    algorithm.save_policy(str(folder / "trained.pt"))
    (folder / "done.json").write_text(
        json.dumps(
            {"d3rlpy": d3rlpy.__version__, "its torch": torch.__version__, "seconds": seconds}
        ),
        encoding="utf-8",
    )


def train(python: Path, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Run `peer_worker`; return the content of its ``done.json``."""
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    # d3rlpy's environment must not see this one's packages.
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [python, __file__, WORKER, folder], env=alone, capture_output=True, encoding="utf-8"
    )
    if result.returncode:
        sys.exit(f"error: d3rlpy stopped:\n{result.stderr[-2000:]}")
    done: dict[str, Any] = json.loads((folder / "done.json").read_text(encoding="utf-8"))
    return done


def acting(path: Path) -> Act:
    """The policy in a file of d3rlpy, which chooses a joint action and knows no masks."""
    policy = torch.jit.load(path)  # type: ignore[no-untyped-call]
    joint = JointActions(RRMConfig(), flat=True)

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[Any]:  # noqa: ARG001 - an interface for all policies
        with torch.no_grad():
            return joint.per_access_point(policy(torch.from_numpy(observation).flatten(1)).numpy())

    return act


def main(options: Options) -> None:
    """Record a dataset, train, and compare with the baselines."""
    transitions, updates, episodes = (
        (10_000, 500, 16)
        if options.quick
        else (options.transitions, options.updates, options.episodes)
    )
    learner = LearnerConfig()
    settings = {
        "n_actions": RRMConfig().n_joint_actions,
        "updates": updates,
        "seed": options.seed,
        "reward_scale": learner.reward_scale,
        "hidden_sizes": learner.hidden_sizes,
        "learning_rate": learner.critic_learning_rate,
        "batch_size": learner.batch_size,
        "discount": learner.discount,
    }
    dataset = collect(
        parse_scheduler(options.scheduler), transitions=transitions, seed=options.seed
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "arrays.npz", **mdp_arrays(dataset))  # type: ignore[arg-type]  # arrays, not its switches
        done = train(interpreter(options.peer_venv, folder), folder, settings)
        print_versions("torch")
        print(f"in an environment of its own: d3rlpy {done['d3rlpy']}, torch {done['its torch']}")
        for stage in STAGES:
            evaluation = print_policy(stage, acting(folder / f"{stage}.pt"), episodes)
    print_closing_line(
        f"DiscreteCQL from {transitions:,} transitions of {options.scheduler}",
        evaluation,
        done["seconds"],
    )


if __name__ == "__main__":
    if WORKER in sys.argv:
        peer_worker(Path(sys.argv[-1]))
    else:
        run_example(main, Options, __doc__)
