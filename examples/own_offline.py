"""Offline learning in one file: a start for algorithms of your own that learn from a dataset.

``python examples/own_offline.py`` trains for about a minute on one core on the named dataset
paper/mixed, a third each of random actions, a heuristic and a good scheduler, and evaluates the
policy on unseen episodes. It is implicit Q-learning with masks: advantage-weighted cloning, whose
advantages come from values of recorded actions alone. docs/train_your_own.md says what matters.

I. Kostrikov, A. Nair, S. Levine, "Offline reinforcement learning with implicit Q-learning", ICLR
2022, arXiv 2110.06169.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from torch import nn

import marl
import rrm_env
from baselines.registry import parse_scheduler
from rrm_env.exit_status import status_of

REWARD_SCALE, DISCOUNT = 0.01, 0.9
EXPECTILE, TEMPERATURE, LARGEST_WEIGHT = 0.8, 3.0, 20.0
BATCH, WIDTH = 256, 256
TARGET_RATE = 0.01
"""How far target values follow in each update."""


def network(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    hidden = nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
    return nn.Sequential(*hidden, nn.Linear(WIDTH, outputs))


def main() -> None:
    """Train, and evaluate on unseen episodes beside the schedulers that were recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="paper/mixed", help="default: %(default)s")
    parser.add_argument("--updates", type=int, default=5000, help="default: %(default)s")
    parser.add_argument(
        "--episodes", type=int, default=64, help="unseen episodes; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    data = marl.load_dataset(options.data)
    config = data.environment.network
    n, n_agents, n_features = data.observation.shape
    n_actions, inputs = data.mask.shape[-1], n_agents * n_features
    # Access points interfere, so the good actions of one depend on those of the others: one policy
    # chooses among all joint actions, of which digit i is the action of access point i.
    digits = n_actions ** torch.arange(n_agents)
    recorded = (data.action.long() * digits).sum(1, keepdim=True)
    # Features have different scales; some are the same in all rows.
    mean, deviation = data.observation.mean(0), data.observation.std(0).clamp_min(1e-3)
    q, target, actor = (network(inputs, n_actions**n_agents) for _ in range(3))
    target.load_state_dict(q.state_dict())
    v = network(inputs, 1)
    parameters = [*q.parameters(), *v.parameters(), *actor.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-3)

    def seen(observation: torch.Tensor) -> torch.Tensor:
        """What networks see: the observations of all access points, normalised."""
        return ((observation - mean) / deviation).flatten(1)

    def log_policy(observation: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logarithms of the probabilities of joint actions; illegal ones have none."""
        legal = torch.ones(len(mask), 1, dtype=torch.bool)
        for i in range(n_agents):
            legal = (legal[:, None] & (mask[:, i, :, None] > 0)).flatten(1)
        return actor(seen(observation)).masked_fill(~legal, -1e9).log_softmax(-1)

    for update in range(options.updates):
        rows = torch.randint(n, (BATCH,))
        now, action = seen(data.observation[rows]), recorded[rows]
        with torch.no_grad():
            good = target(now).gather(1, action)
            # Episodes are cut, not lost: what follows the last step has a value too.
            goes_on = 1 - data.terminated[rows, None].float()
            later = DISCOUNT * goes_on * v(seen(data.next_observation[rows]))
            aim = REWARD_SCALE * data.reward[rows, None] + later
        error = good - v(now)
        slope = torch.where(error > 0, EXPECTILE, 1 - EXPECTILE)
        advantage = error.detach() / (error.detach().std() + 1e-8)
        weight = (TEMPERATURE * advantage).exp().clamp_max(LARGEST_WEIGHT)
        chosen = log_policy(data.observation[rows], data.mask[rows]).gather(1, action)
        wrong = q(now).gather(1, action) - aim
        loss = (slope * error.square() + wrong.square() - weight * chosen).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for kept, new in zip(target.parameters(), q.parameters(), strict=True):
                kept.lerp_(new, TARGET_RATE)
        if update % 1000 == 999:
            print(f"update {update + 1}: log-probability {chosen.mean():.2f}", flush=True)

    def act(observation: Any, mask: Any) -> Any:
        """The most probable action of every access point."""
        with torch.no_grad():  # a network's arrays are read-only, which torch does not take
            best = log_policy(torch.tensor(observation), torch.tensor(mask)).argmax(-1)
        return (best[:, None] // digits % n_actions).numpy()

    policies = {"learned": rrm_env.from_actions(act)}
    policies |= {
        entry["name"]: parse_scheduler(entry["name"]) for entry in data.metadata["behaviours"]
    }
    for name, policy in policies.items():
        found = rrm_env.evaluate(policy, config, options.episodes)
        score, worst = found.score.mean(), found.worst_rate.mean()
        of_optimum = rrm_env.normalised_score(score, config)
        print(f"{name}: score {score:.2f}, normalised {of_optimum:.0f}, worst user {worst:.2f}")


if __name__ == "__main__":
    sys.exit(status_of(main))
