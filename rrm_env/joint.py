"""The joint view: all access points as one agent. Gymnasium's single-agent environment, and how joint actions are written."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import ArrayLike, NDArray

from rrm_env.config import RRMConfig
from rrm_env.network import Network
from rrm_env.refusals import FixedSettings, check_reset_options
from rrm_env.rendering import RENDERING, Renderer

MAX_FLAT_ACTIONS = 2**16
"""Most joint actions that are numbered one by one: every info holds a mask of all of them."""


class JointActions:
    """Joint actions of I access points with N + 1 actions each: one number per access point, or one number for all.

    Args:
        config: the network.
        flat: number the (N + 1)^I joint actions from 0, the first access point's action being the most significant digit.

    Raises:
        TypeError: ``flat`` is no bool.
        ValueError: more than `MAX_FLAT_ACTIONS` joint actions to number.
    """

    def __init__(self, config: RRMConfig, flat: bool) -> None:
        if not isinstance(flat, (bool, np.bool_)):
            raise TypeError(f"flat_actions must be True or False, got {flat!r}")
        if flat and config.n_joint_actions > MAX_FLAT_ACTIONS:
            raise ValueError(
                f"flat_actions = True would number {config.n_actions}^{config.n_aps} = {config.n_joint_actions:,} joint actions; "
                f"allowed: up to {MAX_FLAT_ACTIONS:,}. With flat_actions = False an action is one number per access point"
            )
        self.flat = bool(flat)
        self._shape = (config.n_actions,) * config.n_aps
        self.space: Discrete[Any] | MultiDiscrete[Any] = (
            Discrete(config.n_joint_actions) if flat else MultiDiscrete([*self._shape])
        )

    def per_access_point(self, actions: ArrayLike) -> NDArray[Any]:
        """Actions (..., I) of joint actions (...) where flat, else as they are.

        Raises:
            TypeError, ValueError: a flat action that is no integer or out of range.
        """
        given = np.asarray(actions)
        if not self.flat:
            return given
        if given.dtype.kind not in "iu":
            raise TypeError(f"actions must be integers, got dtype {given.dtype}")
        count = int(np.prod(self._shape))
        wrong = (given < 0) | (given >= count)
        if wrong.any():
            raise ValueError(
                f"a joint action must be from 0 to {count - 1}, got {given[wrong].flat[0]}"
            )
        return np.stack(np.unravel_index(given.astype(np.int64), self._shape), -1)

    def mask(self, masks: NDArray[np.int8]) -> NDArray[np.int8]:
        """Masks (..., I, N + 1) of the access points as a mask (..., (N + 1)^I) of joint actions where flat, else a copy of them."""
        if not self.flat:
            return masks.copy()
        legal: NDArray[np.int8] = masks[..., 0, :].copy()
        for i in range(1, len(self._shape)):
            legal = (legal[..., :, None] * masks[..., i, None, :]).reshape(*masks.shape[:-2], -1)
        return legal


def joint_observation_space(network: Network) -> Box[Any]:
    """Box (I, F): every access point's observation."""
    low, high = network.observation_bounds
    rows = (network.config.n_aps, 1)
    return Box(np.tile(low, rows), np.tile(high, rows), dtype=np.float32)


class RRMJointEnv(FixedSettings, gymnasium.Env[NDArray[np.float32], Any]):
    """All access points as one agent, under Gymnasium's API; see `rrm_env.rrm_v0` for observations, rewards and options.

    ``gymnasium.make("rrm_env:rrm/rrm-v0", **config)`` makes it. An observation is (I, F), what `RRMParallelEnv.state` returns;
    ``info`` holds ``action_mask``, (I, N + 1), or ((N + 1)^I,) with flat actions, and ``candidates`` (I, N). A masked action
    means silence of that access point. Episodes are truncated, never terminated.

    Args:
        config: the network; the preset ``paper`` where None.
        render_mode: ``rgb_array``, ``human`` or None, as for `RRMParallelEnv`.
        flat_actions: `Discrete((N + 1)^I)` in place of `MultiDiscrete([N + 1] * I)`, for algorithms that know only one action.

    Raises:
        TypeError, ValueError: anything else.
    """

    metadata = RENDERING

    def __init__(
        self,
        config: RRMConfig | None = None,
        render_mode: str | None = None,
        *,
        flat_actions: bool = False,
    ) -> None:
        self.render_mode = render_mode
        self.network = Network(config)
        self.config = self.network.config
        self._joint = JointActions(self.config, flat_actions)
        self._renderer = Renderer(self.config, render_mode)
        self.observation_space = joint_observation_space(self.network)
        self.action_space = self._joint.space

    def reset(
        self,
        *,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start an episode.

        Args:
            seed: fixes this episode and all that follow; None continues the chain.
            options: None or empty, since there are none.

        Raises:
            TypeError, ValueError: another seed (`Network.reset`) or option.
        """
        check_reset_options(options)
        self.network.reset(seed)
        # Gymnasium takes Python's integers only.
        super().reset(seed=None if seed is None else int(self.network.seeds[0]))
        self._renderer.observe(self.network)
        return self._observation(), self._info()

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step of all access points.

        Raises:
            RuntimeError: before `reset`, or after the episode's end.
            TypeError, ValueError: an action outside the space.
        """
        _, reward = self.network.step_actions(self._joint.per_access_point(action)[None])
        self._renderer.observe(self.network)
        return self._observation(), float(reward[0]), False, self.network.done, self._info()

    def render(self) -> Any:
        """As `RRMParallelEnv.render`."""
        return self._renderer.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()

    def action_masks(self) -> NDArray[np.bool_]:
        """The present mask in one row, ((N + 1)^I,) or (I (N + 1),), as sb3-contrib's MaskablePPO asks for it."""
        return self._joint.mask(self.network.action_mask[0]).astype(np.bool_).ravel()

    def _observation(self) -> NDArray[np.float32]:
        observation: NDArray[np.float32] = self.network.observation[0].copy()
        return observation

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self._joint.mask(self.network.action_mask[0]),
            "candidates": self.network.candidates[0].copy(),
        }
