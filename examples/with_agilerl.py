"""AgileRL: independent PPO with one network that all access points share.

``python examples/with_agilerl.py`` trains with AgileRL's own loop for multi-agent environments; from the names ap_0, ap_1, ... AgileRL sees that the
access points are alike. ``--masks`` hands it the action masks, which it keeps when it acts but not when it learns (2.58); without them the
policy learns that an illegal action means silence. Needs ``pip install 'rrm-env[agilerl]'``; ``--help`` shows the options.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pettingzoo.utils import BaseParallelWrapper
from trainer_report import print_closing_line, print_policy, print_versions

from rrm_env import parallel_env

try:
    import torch
    import tyro
    from agilerl.algorithms import IPPO
    from agilerl.training.train_multi_agent_on_policy import train_multi_agent_on_policy
    from agilerl.vector import AsyncPettingZooVecEnv
except ImportError as error:
    sys.exit(f"error: {error}; this example needs pip install 'rrm-env[agilerl]'")

GROUP = "ap"
"""What AgileRL calls the agents ap_0, ap_1, ..."""


@dataclass(frozen=True)
class Options:
    """How to train and compare."""

    steps: int = 60_000
    """Steps of the network; every access point makes a transition of each."""
    envs: int = 4
    """Networks side by side, each a process."""
    masks: bool = False
    """Hand over the action masks."""
    episodes: int = 128
    """Unseen episodes for the comparison."""
    seed: int = 0
    """Of the learner; AgileRL gives its networks no seeds."""
    quick: bool = False
    """Some seconds: 3,200 steps, 16 episodes."""

    def __post_init__(self) -> None:
        for name, low in (("steps", 1), ("envs", 1), ("episodes", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"--{name} must be at least {low}, got {getattr(self, name)}")


class ForAgileRL(BaseParallelWrapper[str, Any, int]):
    """Scales rewards to returns of about 1 and leaves only what AgileRL reads in infos.

    IPPO lets its critic move by 0.2 per round of learning and no more.
    """

    reward_scale = 0.01

    def __init__(self, env: Any, masks: bool) -> None:
        super().__init__(env)
        self._read = ("action_mask",) if masks else ()

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """A new episode."""
        observations, infos = super().reset(seed=seed, options=options)
        return observations, self._kept(infos)

    def step(self, actions: dict[str, Any]) -> Any:
        """One step of all agents."""
        observations, rewards, terminations, truncations, infos = super().step(actions)
        scaled = {agent: self.reward_scale * reward for agent, reward in rewards.items()}
        return observations, scaled, terminations, truncations, self._kept(infos)

    def _kept(self, infos: dict[str, Any]) -> dict[str, Any]:
        return {agent: {name: info[name] for name in self._read} for agent, info in infos.items()}


def train(options: Options, steps: int, learner: IPPO) -> None:
    """One learner, no evolution."""
    env = AsyncPettingZooVecEnv([lambda: ForAgileRL(parallel_env(), options.masks) for _ in range(options.envs)])
    train_multi_agent_on_policy(env, "rrm_v0", "IPPO", [learner], max_steps=steps, evo_steps=steps, verbose=False)


def main(options: Options) -> None:
    """Train and compare."""
    steps, episodes = (3_200, 16) if options.quick else (options.steps, options.episodes)
    torch.manual_seed(options.seed)
    env = parallel_env()
    learner = IPPO(
        [env.observation_space(agent) for agent in env.possible_agents],
        [env.action_space(agent) for agent in env.possible_agents],
        env.possible_agents,
        net_config={"latent_dim": 64, "encoder_config": {"hidden_size": [64]}, "head_config": {"hidden_size": [64]}},
        batch_size=800,
        lr=1e-3,
        learn_step=1600,
        gamma=0.9,
        update_epochs=5,
    )

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        actor, rows = learner.actors[GROUP], torch.from_numpy(observation).flatten(0, 1)
        with torch.no_grad():
            actor(rows, action_mask=mask.reshape(len(rows), -1) if options.masks else None)
            chosen: NDArray[np.int64] = actor.head_net.dist.logits.argmax(-1).reshape(mask.shape[:2]).numpy()
        return chosen

    print_versions("torch", "agilerl")
    print_policy("untrained", act, episodes)
    began = time.perf_counter()
    train(options, steps, learner)
    seconds = time.perf_counter() - began
    print_closing_line("AgileRL IPPO with shared parameters", print_policy("trained", act, episodes), seconds)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,)))
    except (TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
