"""AgileRL: independent PPO, with one network per access point.

``python examples/trainers/with_agilerl.py`` trains with AgileRL's own loop for multi-agent
environments. Two faults of its version 2.58 shape this example. Where agents share a network, as
all agents with one prefix do, it matches observations with other agents' advantages; so the access
points are renamed. Masks given as arrays end in an error; so none are given, and policies learn
that an illegal action means silence. Needs ``pip install -e ".[agilerl]"``; ``--help`` shows the
options.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pettingzoo.utils import BaseParallelWrapper
from report import TrainerOptions, print_closing_line, print_policy, print_versions, run_example

from rrm_env import parallel_env
from rrm_env.provenance import install_hint

try:
    import torch
    from agilerl.algorithms import IPPO
    from agilerl.training.train_multi_agent_on_policy import train_multi_agent_on_policy
    from agilerl.vector import AsyncPettingZooVecEnv
except Exception as error:  # a library whose import fails may raise anything
    sys.exit(f"error: {error}; this example needs {install_hint('agilerl')}")


@dataclass(frozen=True)
class Options(TrainerOptions):
    """Options of training and comparison."""

    steps: int = 60_000
    """Steps of the network; every access point makes a transition of each."""
    envs: int = 4
    """Networks side by side, each a process."""
    seed: int = 0
    """Seed of the learner; AgileRL gives its networks no seeds."""
    quick: bool = False
    """Train for seconds only: 3,200 steps, 16 episodes."""


class OwnNetworks(BaseParallelWrapper[str, Any, int]):
    """Renames ap_0 to ap0, so that AgileRL sees no group, scales rewards, and leaves infos empty.

    Returns are about 1 after scaling, because IPPO's critic moves by at most 0.2 per round of
    learning.
    """

    reward_scale = 0.01

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._names = {agent.replace("_", ""): agent for agent in env.possible_agents}
        self.possible_agents = list(self._names)

    @property
    def agents(self) -> list[str]:
        """Agents that are still in the episode."""
        return [new for new, old in self._names.items() if old in self.env.agents]

    def observation_space(self, agent: str) -> Any:
        """Observation space of an agent, by its new name."""
        return self.env.observation_space(self._names[agent])

    def action_space(self, agent: str) -> Any:
        """Action space of an agent, by its new name."""
        return self.env.action_space(self._names[agent])

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start a new episode."""
        observations, _ = self.env.reset(seed=seed, options=options)
        return self._renamed(observations), {new: {} for new in self._names}

    def step(self, actions: dict[str, Any]) -> Any:
        """Advance the network by one step."""
        observations, rewards, *ended, _ = self.env.step(
            {self._names[new]: action for new, action in actions.items()}
        )
        scaled = {agent: self.reward_scale * reward for agent, reward in rewards.items()}
        return *(self._renamed(values) for values in (observations, scaled, *ended)), {
            new: {} for new in self._names
        }

    def _renamed(self, values: dict[str, Any]) -> dict[str, Any]:
        return {new: values[old] for new, old in self._names.items()}


def train(options: Options, steps: int, learner: IPPO) -> None:
    """Train one learner, without evolution."""
    env = AsyncPettingZooVecEnv([lambda: OwnNetworks(parallel_env()) for _ in range(options.envs)])
    train_multi_agent_on_policy(
        env, "rrm_v0", "IPPO", [learner], max_steps=steps, evo_steps=steps, verbose=False
    )


def main(options: Options) -> None:
    """Train, and compare with the baselines."""
    steps, episodes = (3_200, 16) if options.quick else (options.steps, options.episodes)
    torch.manual_seed(options.seed)
    env = OwnNetworks(parallel_env())
    learner = IPPO(
        [env.observation_space(agent) for agent in env.possible_agents],
        [env.action_space(agent) for agent in env.possible_agents],
        env.possible_agents,
        net_config={
            "latent_dim": 64,
            "encoder_config": {"hidden_size": [64]},
            "head_config": {"hidden_size": [64]},
        },
        batch_size=200,
        lr=1e-3,
        learn_step=800,
        gamma=0.9,
        update_epochs=5,
    )

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        chosen = np.empty(mask.shape[:2], np.int64)
        for i, actor in enumerate(learner.actors.values()):
            with torch.no_grad():
                actor(torch.from_numpy(observation[:, i]))
            chosen[:, i] = actor.head_net.dist.logits.argmax(-1).numpy()
        return chosen

    print_versions("torch", "agilerl")
    print_policy("untrained", act, episodes)
    began = time.perf_counter()
    train(options, steps, learner)
    seconds = time.perf_counter() - began
    print_closing_line(
        "AgileRL IPPO, a network for each access point",
        print_policy("trained", act, episodes),
        seconds,
    )


if __name__ == "__main__":
    run_example(main, Options, __doc__)
