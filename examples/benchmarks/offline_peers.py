"""Published offline learners, each from its own code, on named datasets of this package.

- d3rlpy's DiscreteCQL, all access points as one agent with joint actions and without masks, in an
  environment of its own (``--peer-venv``; examples/trainers/with_d3rlpy.py says how it is made).
- OMIGA: X. Wang et al., "Offline multi-agent reinforcement learning with implicit global-to-local
  value regularization", NeurIPS 2023, from a clone of github.com/ZhengYinan-AIR/OMIGA
  (``--omiga``). Its branch for MuJoCo has continuous actions. One class of it is replaced, the
  actor, by one with the same layers that chooses among actions; actions go to its critics as
  one-hot vectors, and at play, illegal ones are left out. Its losses, mixer, sizes and learning
  rate stay. Observations are normalised, and rewards scaled to returns of about 20, as in
  StarCraft.

Final networks play unseen episodes as everything else does. Writes
docs/results/offline_peers.json.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parents[1] / "trainers"))
import with_d3rlpy

import rrm_env
from baselines.comparison import mean_with_interval
from marl import Dataset, LearnerConfig, load_dataset
from marl.exchange.d3rlpy import mdp_arrays
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.joint import JointActions
from rrm_env.provenance import origin

OMIGA_RETURN = 20.0
"""The mean return to which rewards are scaled for OMIGA."""
Act = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Options:
    """Which learners, on what data, for how long."""

    omiga: Path | None = None
    """Clone of OMIGA (default: leave it out)."""
    peer_venv: Path | None = None
    """Virtual environment that holds d3rlpy 2.8 (default: leave it out)."""
    datasets: tuple[str, ...] = ("paper/mixed", "paper/medium")
    """Names of datasets."""
    updates: int = 10_000
    """Gradient updates of each learner."""
    seeds: int = 1
    """Learners of each kind."""
    episodes: int = 256
    """Unseen episodes."""
    json: Path = Path("docs/results/offline_peers.json")
    """File of the results; what it holds of other datasets and learners stays."""

    def __post_init__(self) -> None:
        for name in ("updates", "seeds", "episodes"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}")
        if self.omiga is None and self.peer_venv is None:
            raise ValueError("at least one of --omiga and --peer-venv must be given")
        if self.omiga is not None and not (self.omiga / "algos" / "OMIGA.py").is_file():
            raise ValueError(f"--omiga must hold algos/OMIGA.py, got {self.omiga}")


class DiscreteActor(nn.Module):
    """OMIGA's actor with its layers, for a choice among actions."""

    def __init__(
        self, n_features: int, n_actions: int, n_agents: int, hidden: int, _: object
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(n_features + n_agents, hidden), nn.ReLU()),
            *(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, n_actions)),
        )

    def get_log_density(self, observation: Tensor, action: Tensor) -> Tensor:
        """(B, I) logarithms of the probabilities of one-hot actions (B, I, A)."""
        chances: Tensor = self.layers(observation).log_softmax(-1)
        return (chances * action).sum(-1)


def omiga(code: Path, data: Dataset, updates: int, seed: int) -> Act:
    """Train OMIGA; its policy."""
    if str(code) not in sys.path:
        sys.path.insert(0, str(code))
    module: Any = importlib.import_module("algos.OMIGA")
    configs: Any = importlib.import_module("configs.config")

    module.Actor = DiscreteActor
    torch.manual_seed(seed)
    settings = {**vars(configs.get_parser().parse_args([])), "device": "cpu"}
    team = data.team
    agent = module.OMIGA(team.n_features, team.n_actions, team.n_agents, None, settings)
    mean, deviation = data.observation.mean(0), data.observation.std(0).clamp_min(1e-3)
    length = data.environment.network.episode_length  # type: ignore[union-attr] # named ones
    scale = OMIGA_RETURN / (float(data.reward.mean().abs()) * length)
    for _ in range(updates):
        rows = torch.randint(len(data), (settings["batch_size"],))
        now = (data.observation[rows] - mean) / deviation
        then = (data.next_observation[rows] - mean) / deviation
        action = nn.functional.one_hot(data.action[rows].long(), team.n_actions).float()
        goes_on = 1 - data.terminated[rows, None].float()
        reward = scale * data.reward[rows, None]
        agent.train_step(now, now, action, reward, goes_on, then, then, action)
    identity = torch.eye(team.n_agents)

    def act(observation: Any, mask: Any) -> Any:
        """The most probable legal action of every access point."""
        seen = (torch.tensor(observation) - mean) / deviation
        with torch.no_grad():
            rated = agent._policy_network.layers(
                torch.cat([seen, identity.expand(len(seen), -1, -1)], -1)
            )
        return rated.masked_fill(torch.tensor(mask) == 0, -torch.inf).argmax(-1).numpy()

    return act


def discrete_cql(venv: Path, data: Dataset, updates: int, seed: int) -> Act:
    """Train d3rlpy's DiscreteCQL with the sizes of this package's learners; its policy."""
    learner = LearnerConfig()
    network = data.environment.network
    assert network is not None
    settings = {
        "n_actions": network.n_joint_actions,
        "updates": updates,
        "seed": seed,
        "reward_scale": learner.reward_scale,
        "hidden_sizes": learner.hidden_sizes,
        "learning_rate": learner.critic_learning_rate,
        "batch_size": learner.batch_size,
        "discount": learner.discount,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "arrays.npz", **mdp_arrays(data))  # type: ignore[arg-type]  # arrays, not its switches
        with_d3rlpy.train(venv / "bin" / "python", folder, settings)
        policy = torch.jit.load(folder / "trained.pt")  # type: ignore[no-untyped-call]
    joint = JointActions(network, flat=True)

    def act(observation: Any, mask: Any) -> Any:  # noqa: ARG001 - it knows no masks
        """The joint action of highest value; where it is illegal, silence."""
        with torch.no_grad():
            chosen = policy(torch.tensor(observation).flatten(1)).numpy()
        return joint.per_access_point(chosen)

    return act


def row(learner: Callable[[int], Act], data: Dataset, options: Options) -> dict[str, Any]:
    """What all seeds of a learner reach."""
    network = data.environment.network
    assert network is not None
    scores, worst, began = [], [], time.perf_counter()
    for seed in range(options.seeds):
        policy = rrm_env.from_actions(learner(seed))
        found = rrm_env.evaluate(policy, network, options.episodes)
        scores.append(found.score)
        worst.append(found.worst_rate)
    score = mean_with_interval(np.array(scores))
    return {
        "score": score,
        "normalised": rrm_env.normalised_score(score["mean"], network),
        "worst_rate": mean_with_interval(np.array(worst)),
        "seeds": options.seeds,
        "updates": options.updates,
        "episodes": options.episodes,
        "seconds": time.perf_counter() - began,
    }


def main(options: Options) -> None:
    """Train and evaluate, and write each row when it is done."""
    path = check_writable("--json", options.json)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"rows": {}}
    for name in options.datasets:
        data = load_dataset(name)
        learners: dict[str, Callable[[int], Act]] = {}
        if options.omiga is not None:
            learners["OMIGA"] = partial(omiga, options.omiga, data, options.updates)
        if options.peer_venv is not None:
            venv = options.peer_venv
            learners["d3rlpy DiscreteCQL"] = partial(discrete_cql, venv, data, options.updates)
        for label, learner in learners.items():
            found = row(learner, data, options)
            content["rows"].setdefault(name, {})[label] = found
            write_json(path, {**origin("torch"), "rows": content["rows"]})
            print(f"{name}, {label}: score {found['score']['mean']:.3f}", flush=True)
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
