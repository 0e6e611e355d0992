"""Gymnasium's vector API for a network of B episodes."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from rrm_env.config import RRMConfig
from rrm_env.joint import JointActions, joint_observation_space
from rrm_env.network import Network
from rrm_env.refusals import PLACES, FixedSettings, check_reset_options, places_in
from rrm_env.rendering import RENDERING, Renderer

Arrays = NDArray[np.float32]


class RRMVectorEnv(FixedSettings, VectorEnv[Arrays, NDArray[Any], NDArray[Any]]):
    """B episodes as one `gymnasium.vector.VectorEnv`, with all access points as one agent.

    A single observation is (I, F), a single action `MultiDiscrete` with A = N L + 1 choices per AP:
    a candidate at a power level, or silence; L is 1 by default. ``infos`` hold ``action_mask``
    (B, I, A) and ``candidates`` (B, I, N), and after the last step the episodes' ``sum_rate``,
    ``tail_rate``, ``worst_rate``, ``score`` (B,) and ``ue_rates`` (B, J). Every episode has the
    same length, so all end together, by truncation.

    Args:
        num_envs: B, episodes side by side.
        config: the network; the preset ``paper`` where None.
        num_threads: threads that share the episodes.
        autoreset_mode: with `SAME_STEP` (default) the step that ends the episodes returns the first
            observations of the next episodes, and ``infos["final_obs"]`` and
            ``infos["final_info"]`` hold the last ones. With `NEXT_STEP` the step after it ignores
            its actions and resets. With `DISABLED` the caller has to reset.
        flat_actions: a single action is `Discrete(A^I)`, as for `RRMJointEnv`; masks are then
            (B, A^I).
        render_mode: with ``rgb_array``, `render` returns a picture of each episode; or None.

    Raises:
        TypeError, ValueError: an argument of another type or value.
    """

    def __init__(
        self,
        num_envs: int,
        config: RRMConfig | None = None,
        *,
        num_threads: int = 1,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        flat_actions: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self.network = Network(config, num_envs, num_threads)
        self.config = self.network.config
        self.num_envs = self.network.num_envs
        if autoreset_mode not in [*AutoresetMode, *(mode.value for mode in AutoresetMode)]:
            raise ValueError(
                f"autoreset_mode must be one of {[mode.value for mode in AutoresetMode]}, "
                f"got {autoreset_mode!r}"
            )
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        if render_mode not in (None, "rgb_array"):
            raise ValueError(
                "render_mode of a vector environment must be 'rgb_array' or None, "
                f"got {render_mode!r}"
            )
        self.metadata = {
            **RENDERING,
            "render_modes": ["rgb_array"],
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = render_mode
        self._renderers = (
            [Renderer(self.config, render_mode, slot) for slot in range(self.num_envs)]
            if render_mode
            else []
        )
        self._joint = JointActions(self.config, flat_actions)
        self.single_observation_space = joint_observation_space(self.network)
        self.single_action_space = self._joint.space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Start B episodes.

        Args:
            seed: as for `Network.reset`: an int s gives slot k the seed s + k.
            options: ``ap_positions`` (I, 2) or (B, I, 2), ``ue_positions`` (J, 2) or (B, J, 2) and
                ``association`` (J,) or (B, J), as for `Network.reset`: they hold for the episodes
                that this reset starts, and automatic resets start from the configuration again.
                Gymnasium's ``reset_mask`` must select all episodes, since they share their step
                counter.

        Raises:
            TypeError, ValueError: another seed or option.
        """
        check_reset_options(options, ["reset_mask", *PLACES])
        mask = (options or {}).get("reset_mask")
        if mask is not None and np.shape(mask) != (self.num_envs,):
            raise ValueError(
                f"options['reset_mask'] must have one entry per episode, {(self.num_envs,)}, "
                f"got {np.shape(mask)}"
            )
        if mask is not None and not np.all(mask):
            raise ValueError("options['reset_mask'] must select all episodes: they run in step")
        self._reset(seed, **places_in(options))
        return self._observation(), self._infos()

    def step(
        self, actions: ArrayLike
    ) -> tuple[Arrays, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Run one step of all episodes.

        Args:
            actions: (B, I) integers 0 ... N L, or (B,) flat joint actions; a masked action means
                silence.

        Returns:
            observations (B, I, F), rewards (B,), terminations (B,), all False, truncations (B,) and
            infos.

        Raises:
            RuntimeError: before `reset`, or after the end of the episodes where autoreset is
                disabled.
            TypeError, ValueError: actions of another type or shape, or out of range.
        """
        no, yes = np.zeros(self.num_envs, np.bool_), np.ones(self.num_envs, np.bool_)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and self.network.done:
            self._reset()
            return self._observation(), np.zeros(self.num_envs), no, no.copy(), self._infos()
        _, rewards = self.network.step_actions(self._joint.per_access_point(actions))
        self._observe()
        done, final = self.network.done, {}
        if done and self.autoreset_mode is AutoresetMode.SAME_STEP:
            final = {"final_obs": self._observation(), "final_info": self._infos()}
            final |= {"_final_obs": yes.copy(), "_final_info": yes.copy()}
            self._reset()
        return (
            self._observation(),
            rewards.astype(np.float64),
            no,
            yes if done else no.copy(),
            {**self._infos(), **final},
        )

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture (720, 1120, 3) of every episode in mode ``rgb_array``."""
        if not self._renderers:
            Renderer(self.config, None).render()
            return None
        frames = (renderer.render() for renderer in self._renderers)
        return tuple(frame for frame in frames if frame is not None)

    def _reset(self, seed: int | list[int] | None = None, **places: Any) -> None:
        self.network.reset(seed, **places)
        self._observe()

    def _observe(self) -> None:
        for renderer in self._renderers:
            renderer.observe(self.network)

    def _observation(self) -> Arrays:
        return self.network.observation.copy()

    def _infos(self) -> dict[str, Any]:
        """Masks, candidates and, at the end, KPIs.

        Gymnasium's ``_key`` arrays say that all episodes have them.
        """
        infos = {
            "action_mask": self._joint.mask(self.network.action_mask),
            "candidates": self.network.candidates.copy(),
            **self.network.episode_infos,
        }
        known = {f"_{name}": np.ones(self.num_envs, np.bool_) for name in infos}
        return {**infos, **known}
