"""BenchMARL: the network as a task, with action masks, for its MAPPO, IPPO and QMIX.

``python examples/trainers/with_benchmarl.py`` defines the task, which `Rrm` is, and trains with
BenchMARL's own algorithm and network. ``--algorithm qmix`` chooses another one. Needs
``pip install -e ".[benchmarl]"``; ``--help`` shows the options.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from report import TrainerOptions, print_closing_line, print_policy, print_versions, run_example
from torchrl_env import GROUP, torchrl_env

from rrm_env import RRMConfig
from rrm_env.provenance import install_hint

try:
    import torch
    from benchmarl.algorithms import IppoConfig, MappoConfig, QmixConfig
    from benchmarl.environments import Task, TaskClass
    from benchmarl.experiment import Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig
    from tensordict import TensorDict
    from torchrl.envs import ExplorationType, RewardScaling, set_exploration_type
except Exception as error:  # a library whose import fails may raise anything
    sys.exit(f"error: {error}; this example needs {install_hint('benchmarl')}")

ALGORITHMS = {"mappo": MappoConfig, "ippo": IppoConfig, "qmix": QmixConfig}
REWARD_SCALE = 0.1


@dataclass(frozen=True)
class Options(TrainerOptions):
    """Options of training and comparison."""

    algorithm: Literal["mappo", "ippo", "qmix"] = "mappo"
    """Which of BenchMARL's algorithms."""
    steps: int = 60_000
    """Steps of the network; every access point makes a transition of each."""
    quick: bool = False
    """Train for seconds only: 4,800 steps, 16 episodes."""


class RrmClass(TaskClass):  # type: ignore[misc]  # its library has no types
    """A network as BenchMARL's task; ``config`` holds the fields of its `RRMConfig`."""

    @property
    def network(self) -> RRMConfig:
        """The network."""
        return RRMConfig(**self.config)

    def get_env_fun(
        self,
        num_envs: int,  # noqa: ARG002 - BenchMARL puts several side by side itself
        continuous_actions: bool,  # noqa: ARG002 - BenchMARL's signature
        seed: int | None,
        device: Any,
    ) -> Callable[[], Any]:
        """A function that makes an environment."""
        network = self.network
        return lambda: torchrl_env(network, seed=seed, device=device)

    def get_env_transforms(self, env: Any) -> list[Any]:  # noqa: ARG002 - BenchMARL's signature
        """Rewards scaled to returns of hundreds."""
        return [RewardScaling(loc=0.0, scale=REWARD_SCALE, in_keys=[(GROUP, "reward")])]

    def supports_continuous_actions(self) -> bool:
        """It has none."""
        return False

    def supports_discrete_actions(self) -> bool:
        """It has them."""
        return True

    def max_steps(self, env: Any) -> int:  # noqa: ARG002 - BenchMARL's signature
        """Steps of an episode."""
        return self.network.episode_length

    def has_render(self, env: Any) -> bool:  # noqa: ARG002 - BenchMARL's signature
        """Pictures are drawn elsewhere."""
        return False

    def group_map(self, env: Any) -> dict[str, list[str]]:
        """All access points are one group."""
        groups: dict[str, list[str]] = env.group_map
        return groups

    def observation_spec(self, env: Any) -> Any:
        """What each access point observes."""
        return _only(env, "observation")

    def action_mask_spec(self, env: Any) -> Any:
        """Which actions are legal."""
        return _only(env, "action_mask")

    def action_spec(self, env: Any) -> Any:
        """What each access point does."""
        return env.full_action_spec

    def info_spec(self, env: Any) -> None:
        """Nothing else is handed on."""

    def state_spec(self, env: Any) -> None:
        """Critics and mixers see all observations."""

    @staticmethod
    def env_name() -> str:
        """Name of the environment."""
        return "rrm"


class Rrm(Task):  # type: ignore[misc]  # its library has no types
    """The tasks: ``Rrm.PAPER.get_task(config={})``; config may hold any fields of `RRMConfig`."""

    PAPER = None

    @staticmethod
    def associated_class() -> type[RrmClass]:
        """The class of the tasks."""
        return RrmClass


def _only(env: Any, name: str) -> Any:
    """The part of an environment's observations of this name."""
    spec = env.observation_spec.clone()
    for key in [*spec[GROUP].keys()]:
        if key != name:
            del spec[GROUP, key]
    return spec


def experiment(options: Options, steps: int, folder: str) -> Any:
    """BenchMARL's experiment: its defaults but for sizes, discount and learning rate."""
    config = ExperimentConfig.get_from_yaml()
    frames = 200 * options.envs
    config.max_n_frames = -(-steps // frames) * frames
    config.on_policy_collected_frames_per_batch = frames
    config.off_policy_collected_frames_per_batch = frames
    config.on_policy_n_envs_per_worker = config.off_policy_n_envs_per_worker = options.envs
    config.on_policy_n_minibatch_iters, config.on_policy_minibatch_size = 5, 200
    config.off_policy_n_optimizer_steps = 40
    config.gamma, config.lr = 0.9, 1e-3
    config.evaluation, config.render, config.loggers = False, False, []
    config.create_json, config.save_folder = False, folder
    model = MlpConfig.get_from_yaml()
    model.num_cells = [64, 64]
    algorithm = ALGORITHMS[options.algorithm].get_from_yaml()
    if hasattr(algorithm, "entropy_coef"):
        algorithm.entropy_coef = 0.01
    return Experiment(
        task=Rrm.PAPER.get_task(config={}),  # type: ignore[attr-defined]  # an enumeration
        algorithm_config=algorithm,
        model_config=model,
        seed=options.seed,
        config=config,
    )


def main(options: Options) -> None:
    """Train, and compare with the baselines."""
    steps, episodes = (4_800, 16) if options.quick else (options.steps, options.episodes)
    with tempfile.TemporaryDirectory() as folder:
        trial = experiment(options, steps, folder)

        def act(observation: NDArray[np.float32], mask: NDArray[np.int8]) -> NDArray[np.int64]:
            seen = {
                "observation": torch.from_numpy(observation),
                "action_mask": torch.from_numpy(mask).bool(),
            }
            batch = TensorDict(
                {GROUP: TensorDict(seen, [len(observation), mask.shape[1]])}, [len(observation)]
            )
            with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
                chosen: NDArray[np.int64] = trial.policy(batch)[GROUP, "action"].numpy()
            return chosen

        print_versions("torch", "torchrl", "tensordict", "benchmarl")
        print_policy("untrained", act, episodes)
        began = time.perf_counter()
        trial.run()
        seconds = time.perf_counter() - began
        print_closing_line(
            f"BenchMARL {options.algorithm.upper()} with masks and shared parameters",
            print_policy("trained", act, episodes),
            seconds,
        )


if __name__ == "__main__":
    run_example(main, Options, __doc__)
