"""Offline learning in one file: a start for algorithms of your own that learn from a dataset.

``python examples/own_offline.py`` trains for about a minute on one core on the named dataset
paper/mixed, a third each of random actions, a heuristic and a good scheduler, and evaluates the
policy on unseen episodes beside these. It clones recorded joint actions, and weights each by how
much more its episode earned from there on than was to be expected. docs/train_your_own.md says what
matters.

Q. Wang et al., "Exponentially weighted imitation learning for batched historical data", NeurIPS
2018 (MARWIL).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import Any

import torch
from torch import nn

import marl
import rrm_env
from baselines.registry import parse_scheduler
from rrm_env.exit_status import status_of

BATCH, WIDTH, LEARNING_RATE = 128, 128, 2e-3
TEMPERATURE, LARGEST_WEIGHT = 3.0, 50.0
"""Weights are exp(TEMPERATURE * advantage), advantages counted in standard deviations."""
RIDGE = 0.01


def advantages(data: marl.Dataset, length: int, observation: torch.Tensor) -> torch.Tensor:
    """(n,) how much more was earned from each step to the episode's end than was to be expected.

    Episodes of this length stand whole in the dataset, one after the other, and are cut at their
    end, never lost. What is to be expected depends on the step, and on the observations by least
    squares: some deployments earn more than others whatever is done in them.
    """
    reward = data.reward.view(-1, length)
    earned = reward.flip(1).cumsum(1).flip(1)
    earned = ((earned - earned.mean(0)) / (earned.std(0) + 1e-8)).flatten().double()
    features = observation.flatten(1).double()
    features = torch.cat([features, torch.ones(len(features), 1).double()], 1)
    penalty = RIDGE * len(features) * torch.eye(features.shape[1]).double()
    weights = torch.linalg.solve(features.T @ features + penalty, features.T @ earned)
    advantage: torch.Tensor = earned - features @ weights
    return (advantage / advantage.std()).float()


def main() -> None:
    """Train, and evaluate on unseen episodes beside the schedulers that were recorded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=6000, help="default: %(default)s")
    parser.add_argument(
        "--episodes", type=int, default=64, help="unseen episodes; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    data = marl.load_dataset("paper/mixed")
    config = data.environment.network
    assert config is not None  # named datasets are of networks
    n, n_agents, n_features = data.observation.shape
    n_actions, k = config.n_actions, config.n_neighbours
    # Features have different scales; some are the same in all rows.
    mean, deviation = data.observation.mean(0), data.observation.std(0).clamp_min(1e-3)
    normalised = (data.observation - mean) / deviation
    weight = (TEMPERATURE * advantages(data, config.episode_length, normalised)).exp()
    weight = weight.clamp_max(LARGEST_WEIGHT)
    weight = weight / weight.mean()
    # All joint actions (J, I), who is on in them, and which of them each recorded action is.
    joint = torch.tensor([*itertools.product(range(n_actions), repeat=n_agents)])
    on = (joint != n_actions - 1).long()
    recorded = (data.action.long() * n_actions ** torch.arange(n_agents - 1, -1, -1)).sum(1)
    network = nn.Sequential(
        *(nn.Linear(n_features, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()),
        nn.Linear(WIDTH, n_actions * 2**k),
    )
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    decay = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, options.updates)

    def log_policy(observation: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Logarithms of the probabilities of all joint actions (B, J); illegal ones have none.

        Access points interfere: what is good for one depends on who else transmits. So one network,
        the same for all, rates each action of an access point (B, I, A) for every set of its k
        neighbours that transmit, and a joint action counts for the sum of its ratings.
        """
        rated = network((observation - mean) / deviation).unflatten(-1, (n_actions, 2**k))
        rated = rated.masked_fill(mask[..., None] == 0, -1e9)
        neighbours = observation[..., -1 - k : -1].long()  # their indices, before the clock
        sets = (on.T[neighbours] * 2 ** torch.arange(k)[:, None]).sum(2)  # (B, I, J)
        rows = torch.arange(len(observation))[:, None]
        total = torch.zeros(len(observation), len(joint))
        for i in range(n_agents):
            total = total + rated[:, i][rows, joint[:, i][None], sets[:, i]]
        return total.log_softmax(-1)

    for update in range(options.updates):
        rows = torch.randint(n, (BATCH,))
        chosen = log_policy(data.observation[rows], data.mask[rows])
        chosen = chosen.gather(1, recorded[rows, None])[:, 0]
        loss: Any = -(weight[rows] * chosen).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
        if update % 1000 == 999:
            print(f"update {update + 1}: loss {loss:.2f}", flush=True)

    def act(observation: Any, mask: Any) -> Any:
        """The most probable joint action."""
        with torch.no_grad():  # a network's arrays are read-only, which torch does not take
            best = log_policy(torch.tensor(observation), torch.tensor(mask)).argmax(-1)
        return joint[best].numpy()

    policies = {"learned": rrm_env.from_actions(act)}
    policies |= {
        entry["name"]: parse_scheduler(entry["name"]) for entry in data.metadata["behaviours"]
    }
    reached = []
    for name, policy in policies.items():
        found = rrm_env.evaluate(policy, config, options.episodes)
        reached.append(found.score.mean())
        of_optimum = rrm_env.normalised_score(reached[-1], config)
        worst = found.worst_rate.mean()
        print(
            f"{name}: score {reached[-1]:.2f}, normalised {of_optimum:.0f}, worst user {worst:.2f}"
        )
    print(f"the dataset's behaviours on average: score {sum(reached[1:]) / len(reached[1:]):.2f}")


if __name__ == "__main__":
    sys.exit(status_of(main))
