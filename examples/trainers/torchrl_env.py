"""The network for TorchRL's wrapper of PettingZoo environments, and for what builds on it."""

from __future__ import annotations

import warnings
from typing import Any

from pettingzoo.utils import BaseParallelWrapper

from rrm_env import RRMConfig, parallel_env

GROUP = "ap"
"""Name under which TorchRL stacks ap_0, ap_1, ...: the common part of their names."""

# TorchRL is tested with PettingZoo 1.24, and warns of any other version.
warnings.filterwarnings("ignore", message="PettingZoo in TorchRL is tested", category=UserWarning)


class MasksAlone(BaseParallelWrapper[str, Any, int]):  # type: ignore[misc]  # without type hints
    """Leaves nothing but the masks in the infos.

    TorchRL takes the first infos for what all have; an episode's last ones hold its KPIs too, which
    ends its wrapper in an error.
    """

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start a new episode."""
        observations, infos = super().reset(seed=seed, options=options)
        return observations, _masks(infos)

    def step(self, actions: dict[str, Any]) -> Any:
        """Advance the network by one step."""
        *results, infos = super().step(actions)
        return (*results, _masks(infos))


def _masks(infos: dict[str, Any]) -> dict[str, Any]:
    return {agent: {"action_mask": info["action_mask"]} for agent, info in infos.items()}


def torchrl_env(config: RRMConfig | None = None, **options: Any) -> Any:
    """The network in TorchRL's wrapper, with integers as actions and masks.

    Args:
        config: the network; the preset ``paper`` where None.
        **options: of TorchRL's wrapper.
    """
    from torchrl.envs import PettingZooWrapper

    env = parallel_env(config=RRMConfig() if config is None else config)
    return PettingZooWrapper(MasksAlone(env), categorical_actions=True, **options)
