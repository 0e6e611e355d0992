"""The joint view: all access points as one agent of a Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from numpy.typing import ArrayLike, NDArray

from rrm_env.config import RRMConfig
from rrm_env.network import Network
from rrm_env.refusals import PLACES, FixedSettings, check_reset_options, places_in
from rrm_env.rendering import RENDERING, Renderer

MAX_FLAT_ACTIONS = 2**16
"""Largest number of joint actions for a flat action space: every info holds a mask of them all."""


class JointActions:
    """Conversion between joint actions and the actions of I access points with A actions each.

    Args:
        config: the network; A is its `n_actions`.
        flat: a joint action is one number of A^I, from 0, with the first access point's
            action as the most significant digit; otherwise it is one number per access point.

    Raises:
        TypeError: ``flat`` is no bool.
        ValueError: a flat space of more than `MAX_FLAT_ACTIONS` joint actions.
    """

    def __init__(self, config: RRMConfig, flat: bool) -> None:
        if not isinstance(flat, (bool, np.bool_)):
            raise TypeError(f"flat_actions must be True or False, got {flat!r}")
        if flat and config.n_joint_actions > MAX_FLAT_ACTIONS:
            raise ValueError(
                f"flat_actions = True would number {config.n_actions}^{config.n_aps} = "
                f"{config.n_joint_actions:,} joint actions; allowed: up to {MAX_FLAT_ACTIONS:,}. "
                "With flat_actions = False an action is one number per access point"
            )
        self.flat = bool(flat)
        self._shape = (config.n_actions,) * config.n_aps
        self.space: Discrete[Any] | MultiDiscrete[Any] = (
            Discrete(config.n_joint_actions) if flat else MultiDiscrete([*self._shape])
        )

    def per_access_point(self, actions: ArrayLike) -> NDArray[Any]:
        """Actions (..., I) of flat joint actions (...); actions that are not flat as they are.

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
        """The mask (..., A^I) of flat joint actions from masks (..., I, A).

        Where joint actions are not flat, it is a copy of those masks.
        """
        if not self.flat:
            return masks.copy()
        legal: NDArray[np.int8] = masks[..., 0, :].copy()
        for i in range(1, len(self._shape)):
            legal = (legal[..., :, None] * masks[..., i, None, :]).reshape(*masks.shape[:-2], -1)
        return legal


def joint_observation_space(network: Network) -> Box[Any]:
    """Box (I, F) of every access point's observation."""
    low, high = network.observation_bounds
    rows = (network.config.n_aps, 1)
    return Box(np.tile(low, rows), np.tile(high, rows), dtype=np.float32)


def of_slot(infos: dict[str, NDArray[np.float64]], slot: int = 0) -> dict[str, Any]:
    """The infos of one episode: numbers, and ``ue_rates`` (J,)."""
    return {
        name: value[slot] if value.ndim > 1 else float(value[slot]) for name, value in infos.items()
    }


class RRMJointEnv(FixedSettings, gymnasium.Env[NDArray[np.float32], Any]):
    """All access points as one agent, under Gymnasium's API.

    ``gymnasium.make("rrm_env:rrm/rrm-v0", **fields)`` makes it; `rrm_env.rrm_v0` describes
    observations, rewards and options. An observation is (I, F), as `RRMParallelEnv.state` returns
    it. ``info`` holds ``action_mask``, (I, A), or (A^I,) with flat actions, where A is
    `RRMConfig.n_actions`, N + 1 by default; ``candidates`` (I, N); and after the last step the
    episode's ``sum_rate``, ``tail_rate``, ``worst_rate``, ``score`` and ``ue_rates`` (J,). A masked
    action means silence of that access point. Episodes are truncated, never terminated.

    Args:
        config: the network; the preset ``paper`` where None.
        render_mode: ``rgb_array``, ``human`` or None, as for `RRMParallelEnv`.
        flat_actions: the action space is `Discrete(A^I)` in place of
            `MultiDiscrete([A] * I)`, for algorithms that take a single discrete action.

    Raises:
        TypeError, ValueError: an argument of another type or value.
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
            seed: fixes this episode and all that follow; None continues the chain of seeds.
            options: ``ap_positions`` (I, 2) and ``ue_positions`` (J, 2), metres, and
                ``association`` (J,), the access point of each user, for this episode
                (`Network.reset`); all can be left out.

        Raises:
            TypeError, ValueError: another seed (`Network.reset`) or option.
        """
        check_reset_options(options, PLACES)
        self.network.reset(seed, **places_in(options))
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
        """The picture that `RRMParallelEnv.render` returns."""
        return self._renderer.render()

    def close(self) -> None:
        """Close the window, if there is one."""
        self._renderer.close()

    def action_masks(self) -> NDArray[np.bool_]:
        """The present mask, (A^I,) or (I A,), for sb3-contrib's MaskablePPO."""
        return self._joint.mask(self.network.action_mask[0]).astype(np.bool_).ravel()

    def _observation(self) -> NDArray[np.float32]:
        observation: NDArray[np.float32] = self.network.observation[0].copy()
        return observation

    def _info(self) -> dict[str, Any]:
        return {
            "action_mask": self._joint.mask(self.network.action_mask[0]),
            "candidates": self.network.candidates[0].copy(),
            **of_slot(self.network.episode_infos),
        }
