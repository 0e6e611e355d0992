"""RLlib: PPO with action masks and one policy that all access points share.

``python examples/trainers/with_rllib.py`` trains on RLlib's new API stack, through its wrapper of
PettingZoo environments and its own action-masking module. Needs ``pip install -e ".[rllib]"``;
``--help`` shows the options.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict
from numpy.typing import NDArray
from pettingzoo.utils import BaseParallelWrapper
from report import TrainerOptions, print_closing_line, print_policy, print_versions, run_example

from rrm_env import parallel_env
from rrm_env.provenance import install_hint

try:
    import ray
    import torch
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.core.columns import Columns
    from ray.rllib.core.rl_module import MultiRLModuleSpec, RLModuleSpec
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
    from ray.tune.registry import register_env
except Exception as error:  # a library whose import fails may raise anything
    sys.exit(f"error: {error}; this example needs {install_hint('rllib')}")

POLICY = "access_point"
"""Name of the shared policy."""


@dataclass(frozen=True)
class Options(TrainerOptions):
    """Options of training and comparison."""

    quick: bool = False
    """Train for seconds only: 16,000 steps, 16 episodes."""


class MaskedObservations(BaseParallelWrapper[str, Any, int]):
    """Puts each mask beside the observation, and scales rewards to returns of about 10.

    RLlib's modules never see infos, and its action-masking module looks for the mask there. The
    mask is float, because the module takes its logarithm.
    """

    reward_scale = 0.1

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self._spaces = {
            agent: Dict(
                {
                    "action_mask": Box(0, 1, (env.action_space(agent).n,), np.float32),
                    "observations": env.observation_space(agent),
                }
            )
            for agent in env.possible_agents
        }

    def observation_space(self, agent: str) -> Dict:
        """Space of the mask and the observation."""
        return self._spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start a new episode."""
        observations, infos = super().reset(seed=seed, options=options)
        return self._masked(observations, infos), infos

    def step(self, actions: dict[str, Any]) -> Any:
        """Advance the network by one step."""
        observations, rewards, terminations, truncations, infos = super().step(actions)
        scaled = {agent: self.reward_scale * reward for agent, reward in rewards.items()}
        return self._masked(observations, infos), scaled, terminations, truncations, infos

    @staticmethod
    def _masked(observations: dict[str, Any], infos: dict[str, Any]) -> dict[str, Any]:
        return {
            agent: {
                "action_mask": infos[agent]["action_mask"].astype(np.float32),
                "observations": observation,
            }
            for agent, observation in observations.items()
        }


def configuration(options: Options) -> PPOConfig:
    """Configure PPO on the new API stack, with everything in this process."""
    register_env("rrm", lambda _: ParallelPettingZooEnv(MaskedObservations(parallel_env())))
    module = RLModuleSpec(
        module_class=ActionMaskingTorchRLModule,
        model_config=DefaultModelConfig(
            fcnet_hiddens=[64, 64], head_fcnet_hiddens=[], vf_share_layers=False
        ),
    )
    return (
        PPOConfig()
        .environment("rrm")
        .env_runners(
            num_env_runners=0, num_envs_per_env_runner=options.envs, rollout_fragment_length=200
        )
        .multi_agent(policies={POLICY}, policy_mapping_fn=lambda *_, **__: POLICY)
        .rl_module(rl_module_spec=MultiRLModuleSpec(rl_module_specs={POLICY: module}))
        .training(
            train_batch_size_per_learner=200 * options.envs,
            minibatch_size=800,
            num_epochs=5,
            lr=1e-3,
            gamma=0.9,
            lambda_=0.95,
            use_kl_loss=False,
            clip_param=0.2,
            vf_clip_param=float("inf"),
            grad_clip=0.5,
        )
        .debugging(seed=options.seed, log_level="ERROR")
    )


def main(options: Options) -> None:
    """Train, and compare with the baselines."""
    steps, episodes = (16_000, 16) if options.quick else (options.steps, options.episodes)
    print_versions("torch", "ray")
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        configure_logging=False,
        log_to_driver=False,
    )
    algorithm = configuration(options).build_algo()
    module: Any = algorithm.get_module(POLICY)

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        seen = {
            "observations": torch.from_numpy(observation).flatten(0, 1),
            "action_mask": torch.from_numpy(mask).flatten(0, 1).float(),
        }
        with torch.no_grad():
            logits = module.forward_inference({Columns.OBS: seen})[Columns.ACTION_DIST_INPUTS]
        chosen: NDArray[np.int64] = logits.argmax(-1).numpy().reshape(mask.shape[:2])
        return chosen

    print_policy("untrained", act, episodes)
    began = time.perf_counter()
    sampled = 0
    while sampled < steps:
        results = algorithm.train()
        sampled = int(results["env_runners"]["num_env_steps_sampled_lifetime"])
    seconds = time.perf_counter() - began
    print_closing_line(
        "RLlib PPO with masks and shared parameters",
        print_policy("trained", act, episodes),
        seconds,
    )
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    run_example(main, Options, __doc__)
