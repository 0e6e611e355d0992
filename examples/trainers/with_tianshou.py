"""Tianshou: DQN with one network that all access points share, and with action masks.

``python examples/trainers/with_tianshou.py`` trains through Tianshou's `PettingZooEnv`, and
compares. Needs ``pip install -e ".[tianshou]"``; ``--help`` shows the options.

In Tianshou agents act one after the other, and the next agent's observation is stored as the one
that follows an action. An agent's own next observation comes as many steps later as there are
agents, and exactly one of these steps carries the reward of all. So returns over that many steps
give each agent its own target. The reward is the utility gained: the paper's reward also pays a
policy that starves users, as an untrained greedy network may do.
"""

from __future__ import annotations

import random
import sys
import time
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Dict, MultiBinary, Space
from numpy.typing import NDArray
from pettingzoo.utils import BaseWrapper
from report import TrainerOptions, print_closing_line, print_policy, print_versions, run_example

from rrm_env import RRMConfig
from rrm_env import env as rrm
from rrm_env.provenance import install_hint

try:
    import torch
    from tianshou.algorithm import DQN
    from tianshou.algorithm.modelfree.dqn import DiscreteQLearningPolicy
    from tianshou.algorithm.multiagent.marl import MultiAgentOffPolicyAlgorithm
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Batch, Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.env.pettingzoo_env import PettingZooEnv
    from tianshou.trainer import OffPolicyTrainerParams
    from tianshou.utils.net.common import Net
except Exception as error:  # a library whose import fails may raise anything
    sys.exit(f"error: {error}; this example needs {install_hint('tianshou')}")

NETWORK = RRMConfig(reward="utility")
DISCOUNT = 0.9  # per step of the network
REWARD_SCALE = 0.05


@dataclass(frozen=True)
class Options(TrainerOptions):
    """Options of training and comparison."""

    steps: int = 100_000
    """Steps of the network; every access point makes a transition of each."""
    envs: int = 10
    """Networks side by side."""
    quick: bool = False
    """Train for seconds only: 3,000 steps, 16 episodes."""

    least: ClassVar[dict[str, int]] = {**TrainerOptions.least, "steps": 1000}


class Masked(BaseWrapper[str, Any, Any]):
    """Puts masks into the observations, where Tianshou looks for them, and scales rewards.

    Agents act one after the other.
    """

    def observation_space(self, agent: str) -> Space[Any]:
        """Space of the agent's observation and mask."""
        return Dict(
            {
                "observation": self.env.observation_space(agent),
                "action_mask": MultiBinary(int(self.env.action_space(agent).n)),
            }
        )

    def observe(self, agent: str) -> dict[str, NDArray[Any]]:
        """The agent's observation and mask."""
        return {
            "observation": self.env.observe(agent),
            "action_mask": self.env.infos[agent]["action_mask"],
        }

    @property
    def rewards(self) -> dict[str, float]:
        """Rewards, scaled to the size of values that networks start with."""
        return {agent: REWARD_SCALE * reward for agent, reward in self.env.rewards.items()}


def environment() -> PettingZooEnv:
    """Make one network for Tianshou's collector."""
    return PettingZooEnv(Masked(rrm(reward=NETWORK.reward)))


def learner() -> tuple[MultiAgentOffPolicyAlgorithm, DiscreteQLearningPolicy[Any]]:
    """One DQN for all agents, and its policy."""
    one = environment()
    space, n_agents = one.env.unwrapped.observation_space(one.agents[0]), len(one.agents)
    net = Net(state_shape=space.shape, action_shape=int(one.action_space.n), hidden_sizes=(64, 64))
    policy: DiscreteQLearningPolicy[Any] = DiscreteQLearningPolicy(
        model=net, action_space=one.action_space, observation_space=space, eps_training=0.1
    )
    dqn: DQN[Any] = DQN(
        policy=policy,
        optim=AdamOptimizerFactory(lr=1e-3),
        gamma=DISCOUNT ** (1 / n_agents),
        n_step_return_horizon=n_agents,
        target_update_freq=100,
    )
    return MultiAgentOffPolicyAlgorithm(algorithms=[dqn] * n_agents, env=one), policy


def train(algorithm: MultiAgentOffPolicyAlgorithm, steps: int, options: Options) -> None:
    """Collect and update alternately, with one update per fifty transitions."""
    envs = DummyVectorEnv([environment] * options.envs)
    envs.seed(options.seed)
    collector: Collector[Any] = Collector(
        algorithm, envs, VectorReplayBuffer(100_000, options.envs), exploration_noise=True
    )
    collector.reset()
    transitions, per_update = steps * len(environment().agents), 10 * options.envs
    algorithm.run_training(
        OffPolicyTrainerParams(
            max_epochs=1,
            epoch_num_steps=transitions,
            training_collector=collector,
            collection_step_num_env_steps=per_update,
            batch_size=256,
            update_step_num_gradient_steps_per_sample=0.02,
            multi_agent_return_reduction=lambda returns: returns.mean(-1),
            verbose=False,
            show_progress=False,
        )
    )


def main(options: Options) -> None:
    """Train, and compare with the baselines."""
    steps, episodes = (3000, 16) if options.quick else (options.steps, options.episodes)
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - Tianshou explores with it
    torch.manual_seed(options.seed)
    algorithm, policy = learner()

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        seen = Batch(
            obs=observation.reshape(-1, observation.shape[-1]),
            mask=mask.reshape(-1, mask.shape[-1]),
        )
        with torch.no_grad():
            chosen: NDArray[np.int64] = policy(Batch(obs=seen, info={})).act.reshape(mask.shape[:2])
        return chosen

    print_versions("torch", "tianshou")
    print_policy("untrained", act, episodes, NETWORK)
    began = time.perf_counter()
    train(algorithm, steps, options)
    print_closing_line(
        "DQN with shared parameters",
        print_policy("trained", act, episodes, NETWORK),
        time.perf_counter() - began,
    )


if __name__ == "__main__":
    run_example(main, Options, __doc__)
