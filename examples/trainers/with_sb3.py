"""Stable-Baselines3: PPO with one network that all access points share, through SuperSuit.

``python examples/trainers/with_sb3.py`` trains sb3-contrib's MaskablePPO; ``--algorithm ppo``
trains Stable-Baselines3's own PPO, which knows no masks and learns that an illegal action means
silence. Policies that share their parameters and see no neighbours avoid each other by chance
alone, so they are evaluated as they act in training: by drawing from their distribution.

Needs ``pip install -e ".[sb3]"``; ``--help`` shows the options.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from report import TrainerOptions, print_closing_line, print_policy, print_versions, run_example

from rrm_env import parallel_env
from rrm_env.provenance import install_hint

try:
    import supersuit
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecEnvWrapper, VecNormalize
except Exception as error:  # a library whose import fails may raise anything
    sys.exit(f"error: {error}; this example needs {install_hint('sb3')}")

DISCOUNT = 0.9  # at 0.99 policies fall silent: rewards of others drown the effect of a choice


@dataclass(frozen=True)
class Options(TrainerOptions):
    """Options of training and comparison."""

    algorithm: Literal["maskable_ppo", "ppo"] = "maskable_ppo"
    """Algorithm, with action masks or without."""
    quick: bool = False
    """Train for seconds only: 16,000 steps, 16 episodes."""


class Agents(VecEnvWrapper):
    """Adds masks, time limits and seeds to SuperSuit's environments, for Stable-Baselines3.

    Every access point of every network counts as one environment.
    """

    def __init__(self, venv: Any) -> None:
        super().__init__(venv)
        self._seed: int | None = None
        self._masks: list[NDArray[np.int8]] = []

    def seed(self, seed: int | None = None) -> list[int | None]:
        """Seed the networks at the next `reset`, consecutively from this seed on.

        SuperSuit's wrapper has no such method.
        """
        self._seed = seed
        return [seed] * self.num_envs

    def reset(self) -> Any:
        """Start new episodes and return their observations."""
        observations, infos = self.venv.venv.reset(seed=self._seed)
        self._seed, self._masks = None, [info["action_mask"] for info in infos]
        return observations

    def step_wait(self) -> Any:
        """Advance all networks by one step.

        The end of an episode is marked as a time limit, so that learners bootstrap there.
        """
        observations, rewards, dones, infos = self.venv.step_wait()
        self._masks = [info["action_mask"] for info in infos]
        for info, done in zip(infos, dones, strict=True):
            info["TimeLimit.truncated"] = bool(done)
        return observations, rewards, dones, infos

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Values of an attribute of SuperSuit's environment, which lacks this method."""
        return [getattr(self.venv, attr_name)] * len(list(self._get_indices(indices)))

    def has_attr(self, attr_name: str) -> bool:
        """Whether environments have an attribute; MaskablePPO asks for ``action_masks``."""
        return attr_name == "action_masks" or hasattr(self.venv, attr_name)

    def env_method(
        self,
        method_name: str,
        *args: Any,  # noqa: ARG002 - SB3 fixes them
        indices: Any = None,  # noqa: ARG002 - likewise
        **kwargs: Any,  # noqa: ARG002 - likewise
    ) -> list[Any]:
        """Masks of all environments, which MaskablePPO asks for before every choice."""
        if method_name != "action_masks":
            raise AttributeError(method_name)
        return self._masks


def environment(options: Options) -> VecNormalize:
    """Networks whose access points are separate environments, with returns scaled to variance 1."""
    agents = supersuit.pettingzoo_env_to_vec_env_v1(parallel_env())
    return VecNormalize(
        Agents(supersuit.concat_vec_envs_v1(agents, options.envs, base_class="stable_baselines3")),
        norm_obs=False,
        gamma=DISCOUNT,
    )


def main(options: Options) -> None:
    """Train, and compare with the baselines."""
    steps, episodes = (16_000, 16) if options.quick else (options.steps, options.episodes)
    masked = options.algorithm == "maskable_ppo"
    env = environment(options)
    settings: dict[str, Any] = {
        "n_steps": 50,
        "batch_size": 400,
        "n_epochs": 5,
        "learning_rate": 1e-3,
        "gamma": DISCOUNT,
        "device": "cpu",
        "seed": options.seed,
    }
    model = (MaskablePPO if masked else PPO)(
        "MlpPolicy", env, policy_kwargs={"net_arch": [64, 64]}, **settings
    )

    def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
        rows = observation.reshape(-1, observation.shape[-1])
        masks = {"action_masks": mask.reshape(len(rows), -1)} if masked else {}
        chosen: NDArray[np.int64] = model.predict(rows, deterministic=False, **masks)[0].reshape(
            mask.shape[:2]
        )
        return chosen

    print_versions("torch", "supersuit", "stable-baselines3", "sb3-contrib")
    print_policy("untrained", act, episodes)
    began = time.perf_counter()
    model.learn(steps * parallel_env().max_num_agents)
    name = f"{type(model).__name__} with shared parameters"
    print_closing_line(name, print_policy("trained", act, episodes), time.perf_counter() - began)


if __name__ == "__main__":
    run_example(main, Options, __doc__)
