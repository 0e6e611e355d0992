"""TorchRL: multi-agent PPO with action masks, a shared actor, and a critic that sees everything.

``python examples/trainers/with_torchrl.py`` trains through TorchRL's wrapper of PettingZoo
environments, which stacks the access points and finds their masks by itself. Needs
``pip install -e ".[torchrl]"``; ``--help`` shows the options.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from report import TrainerOptions, print_closing_line, print_policy, print_versions, run_example
from torchrl_env import GROUP, torchrl_env

from rrm_env import RRMConfig
from rrm_env.provenance import install_hint

try:
    import torch
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    from torchrl.collectors import Collector
    from torchrl.envs import (
        ExplorationType,
        RewardScaling,
        SerialEnv,
        TransformedEnv,
        set_exploration_type,
    )
    from torchrl.modules import MaskedCategorical, MultiAgentMLP, ProbabilisticActor
    from torchrl.objectives.multiagent import MAPPOLoss
    from torchrl.objectives.value import MultiAgentGAE
except Exception as error:  # a library whose import fails may raise anything
    sys.exit(f"error: {error}; this example needs {install_hint('torchrl')}")


@dataclass(frozen=True)
class Options(TrainerOptions):
    """Options of training and comparison."""

    steps: int = 60_000
    """Steps of the network; every access point makes a transition of each."""
    quick: bool = False
    """Train for seconds only: 3,200 steps, 16 episodes."""


def environment(options: Options) -> Any:
    """Make networks side by side, with rewards scaled to returns of about 10."""
    env = SerialEnv(options.envs, torchrl_env)
    env.set_seed(options.seed)
    return TransformedEnv(env, RewardScaling(loc=0.0, scale=0.1, in_keys=[(GROUP, "reward")]))


def networks(config: RRMConfig) -> tuple[Any, Any]:
    """Make the shared actor and the central critic."""
    sizes: dict[str, Any] = {
        "n_agents": config.n_aps,
        "share_params": True,
        "num_cells": [64, 64],
        "activation_class": torch.nn.Tanh,
    }
    actor = MultiAgentMLP(config.n_features, config.n_actions, centralized=False, **sizes)
    critic = MultiAgentMLP(config.n_features, 1, centralized=True, **sizes)
    return (
        ProbabilisticActor(
            TensorDictModule(actor, in_keys=[(GROUP, "observation")], out_keys=[(GROUP, "logits")]),
            in_keys={"logits": (GROUP, "logits"), "mask": (GROUP, "action_mask")},
            out_keys=[(GROUP, "action")],
            distribution_class=MaskedCategorical,
            return_log_prob=True,
        ),
        TensorDictModule(
            critic, in_keys=[(GROUP, "observation")], out_keys=[(GROUP, "state_value")]
        ),
    )


def train(options: Options, steps: int, actor: Any, critic: Any) -> None:
    """Alternate between collecting steps of all networks and improving on them."""
    loss = MAPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.01)
    estimator = MultiAgentGAE(gamma=0.9, lmbda=0.95, value_network=critic)
    keys = {name: (GROUP, name) for name in ("reward", "done", "terminated")} | {
        "value": (GROUP, "state_value")
    }
    loss.set_keys(**keys, action=(GROUP, "action"), sample_log_prob=(GROUP, "action_log_prob"))
    estimator.set_keys(**keys)
    optimiser = torch.optim.Adam(loss.parameters(), lr=1e-3)
    frames = 100 * options.envs
    amount = {"frames_per_batch": frames, "total_frames": -(-steps // frames) * frames}
    for batch in Collector(
        environment(options), actor, auto_register_policy_transforms=False, **amount
    ):
        with torch.no_grad():
            rows = estimator(batch).reshape(-1)
        for _ in range(5):
            for chosen in torch.randperm(frames).chunk(max(1, frames // 200)):
                losses = loss(rows[chosen])
                optimiser.zero_grad()
                sum(
                    losses[name] for name in ("loss_objective", "loss_entropy", "loss_critic")
                ).backward()
                torch.nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
                optimiser.step()


def main(options: Options) -> None:
    """Train, and compare with the baselines."""
    steps, episodes = (3_200, 16) if options.quick else (options.steps, options.episodes)
    torch.manual_seed(options.seed)
    actor, critic = networks(RRMConfig())

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        seen = {
            "observation": torch.from_numpy(observation),
            "action_mask": torch.from_numpy(mask).bool(),
        }
        with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
            chosen: NDArray[np.int64] = actor(TensorDict({GROUP: seen}, [len(observation)]))[
                GROUP, "action"
            ].numpy()
        return chosen

    print_versions("torch", "torchrl", "tensordict")
    print_policy("untrained", act, episodes)
    began = time.perf_counter()
    train(options, steps, actor, critic)
    seconds = time.perf_counter() - began
    print_closing_line(
        "TorchRL MAPPO with masks and a shared actor",
        print_policy("trained", act, episodes),
        seconds,
    )


if __name__ == "__main__":
    run_example(main, Options, __doc__)
