"""The network as arrays, B episodes at once.

`Network` checks its input; `rrm_env.episodes` runs the kernels on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env import kernels
from rrm_env.checks import bounded_integer
from rrm_env.compiling import Direct, plain
from rrm_env.config import RRMConfig
from rrm_env.episodes import Episodes
from rrm_env.places import given_at_reset
from rrm_env.power import PoweredDecision
from rrm_env.seeds import given_seeds, random_seeds

SILENT = kernels.SILENT
"""The entry of ``served`` for an access point that does not transmit."""

_INT64 = np.dtype(np.int64)

# Actions have one type once they are checked, so these need not look at it in every step.
_first_out_of_range = Direct(kernels.first_out_of_range)
_first_foreign = Direct(kernels.first_foreign)


class Network(Episodes):
    """Downlink of I access points and J users on one channel, B episodes side by side.

    Args:
        config: the network; the preset ``paper`` where None.
        num_envs: B, episodes simulated at once. They share the step counter `t`.
        num_threads: threads that share the B episodes; results do not depend on it.

    The channel of an episode (deployment, motion, fading) is a function of configuration and
    episode seed alone: not of what is served, nor of B, the slot or the number of threads. Arrays
    read from a network are read-only views that the next step overwrites; copy what you keep. A
    network belongs to one thread at a time: while one thread is in a step or reset, those of others
    are refused (RuntimeError).

    Raises:
        TypeError, ValueError: an argument of another type or out of range.
    """

    def __init__(
        self, config: RRMConfig | None = None, num_envs: int = 1, num_threads: int = 1
    ) -> None:
        self.config = RRMConfig() if config is None else config
        if not isinstance(self.config, RRMConfig):
            raise TypeError(f"config must be an RRMConfig, got {config!r}")
        self.num_envs = bounded_integer("num_envs", num_envs)
        self.num_threads = min(bounded_integer("num_threads", num_threads), self.num_envs)
        self._highest_action = self.config.n_actions - 1
        self._allocate()

    # --- Episodes ---

    def reset(
        self,
        seed: int | Sequence[int] | NDArray[Any] | None = None,
        *,
        ap_positions: ArrayLike | None = None,
        ue_positions: ArrayLike | None = None,
        association: ArrayLike | None = None,
    ) -> None:
        """Start B episodes.

        Args:
            seed: an int s gives slot k the seed s + k; B ints give each slot its own. None
                continues each slot's chain, in which the next seed is drawn from the present one;
                at the first reset it is drawn from the operating system.
            ap_positions: (I, 2) or (B, I, 2) metres, where the access points of these episodes are.
            ue_positions: (J, 2) or (B, J, 2) metres, where users start; they walk as always.
            association: (J,) or (B, J) integers, the access point of each user.

        What is given holds for these episodes; the next reset starts from the configuration again.
        What is not given is drawn as the configuration says, with the same numbers as without it.
        Given positions must lie in the square; they may be closer than the least distances.

        Raises:
            TypeError, ValueError: no integers, not B of them, or outside 0 ... 2^63 - 1; positions
                or associations of another type or shape, outside the square, or of no access point.
            DeploymentError: no position was found that obeys `min_ap_distance_m` and
                `min_ue_distance_m`.
        """
        given = given_at_reset(self.config, self.num_envs, ap_positions, ue_positions, association)
        if seed is None and self._seeded:
            kernels.successor_seeds(self._seeds, self._state.key)
        else:
            self._seeds[:] = (
                random_seeds(self.num_envs) if seed is None else given_seeds(seed, self.num_envs)
            )
        self._seeded = True
        self._begin(given)

    def step(
        self, served: ArrayLike | PoweredDecision
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Transmit for one step, then move on to the next channel and its reports.

        Args:
            served: (B, I) integers, the UE each AP serves, one of its own, or `SILENT`, at the
                level of highest power; or a `PoweredDecision`, which names the levels too.

        Returns:
            rates (B, J) of this step in bit/s/Hz, 0 for UEs not served, and the shared reward (B,),
            by default sum_j w_j^lambda C_j (Eq. 16); see `RRMConfig.reward`.

        Raises:
            RuntimeError: before `reset`, or after the episode's last step.
            TypeError, ValueError: another type or shape, a UE of another AP, or no such level.
        """
        self._require_running()
        levels = None
        if isinstance(served, PoweredDecision):
            served, levels = served
        chosen = self._integers("served", served)
        flat = _first_foreign.call(chosen, self._state.association)
        if flat >= 0:
            slot, ap = divmod(flat, self.config.n_aps)
            own = np.flatnonzero(self._state.association[slot] == ap).tolist()
            raise ValueError(
                f"served[{slot}, {ap}] = {chosen[slot, ap]} is not a UE of AP {ap}; "
                f"allowed: {SILENT} (silent), {own}. Actions go to step_actions, and "
                "rrm_env.from_actions makes a scheduler of a policy that emits them"
            )
        if levels is not None:
            levels = self._checked_levels(levels, chosen)
        return self._advance(chosen, kernels.USERS, levels)

    def step_actions(self, actions: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Like `step`, from (B, I) actions: a < N L is candidate a // L at level a % L.

        L is the number of power levels, 1 by default. N L is silence, and so is a missing
        candidate.
        """
        self._require_running()
        return self._advance(self.checked_actions(actions), kernels.ACTIONS)

    def _step_checked(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Like `step_actions`, from actions that need no further checks."""
        self._require_running()
        return self._advance(actions, kernels.ACTIONS)

    def checked_actions(self, actions: ArrayLike) -> NDArray[np.int64]:
        """(B, I) actions as int64, as `step_actions` takes them.

        Raises:
            TypeError, ValueError: another type or shape, or out of range.
        """
        chosen = self._integers("actions", actions)
        highest = self._highest_action
        flat = _first_out_of_range.call(chosen, highest)
        if flat >= 0:
            slot, ap = divmod(flat, self.config.n_aps)
            raise ValueError(
                f"actions[{slot}, {ap}] = {chosen[slot, ap]} is out of range; "
                f"allowed: 0 to {highest}"
            )
        return chosen

    def uniform(self, n: int, stream: int = 0) -> NDArray[np.float32]:
        """(B, n) uniform numbers on (0, 1) for policies that randomise.

        They are a function of episode seed, step and `stream` alone.

        Raises:
            TypeError, ValueError: ``n`` is no integer of at least 0, or ``stream`` is none from 0
                to 2^32 - 1.
        """
        self._require_reset()
        n = bounded_integer("n", n, lowest=0)
        stream = bounded_integer("stream", stream, 2**32 - 1, lowest=0)
        out = np.empty((self.num_envs, n), np.float32)
        kernels.policy_uniforms(out, self._state.key, self.t, stream)
        return out

    # --- Private ---

    def _require_running(self) -> None:
        if self._require_reset() >= self.config.episode_length:
            raise RuntimeError(
                f"the episode is over after episode_length = {self.config.episode_length} steps: "
                "call reset()"
            )

    def _integers(self, name: str, values: ArrayLike) -> NDArray[np.int64]:
        shape = self.num_envs, self.config.n_aps
        if type(values) is np.ndarray:
            array = values
        else:
            try:
                array = np.asarray(values)
            except ValueError:  # rows of unequal length
                raise _wrong_shape(name, shape, repr(values)) from None
        if array.shape != shape:
            raise _wrong_shape(name, shape, str(array.shape))
        if array.dtype is _INT64 and array.flags.carray:  # the common case, in every step
            return array
        if array.dtype.kind not in "iu":
            raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
        # As int64, larger numbers would wrap round to negative ones.
        if array.dtype.kind == "u" and array.max() >= 2**63:
            slot, ap = np.argwhere(array >= 2**63)[0]
            highest = {"actions": self.config.n_actions, "level": self.config.n_power_levels}.get(
                name, self.config.n_ues
            ) - 1
            raise ValueError(
                f"{name}[{slot}, {ap}] = {array[slot, ap]} is out of range; allowed: 0 to {highest}"
            )
        return plain(array, np.int64)

    def _checked_levels(self, level: ArrayLike, served: NDArray[np.int64]) -> NDArray[np.int64]:
        """The levels of a decision, checked where an AP transmits; 0 elsewhere."""
        levels = np.where(served == SILENT, 0, self._integers("level", level))
        flat = _first_out_of_range.call(levels, self.config.n_power_levels - 1)
        if flat >= 0:
            slot, ap = divmod(flat, self.config.n_aps)
            raise ValueError(
                f"level[{slot}, {ap}] = {levels[slot, ap]} is no power level; "
                f"allowed: 0 to {self.config.n_power_levels - 1}"
            )
        return levels


def _wrong_shape(name: str, shape: tuple[int, int], found: str) -> ValueError:
    return ValueError(f"{name} must have shape (num_envs, n_aps) = {shape}, got {found}")
