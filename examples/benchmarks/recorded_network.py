"""A `Network` whose channels come from elsewhere, so that schedulers can play on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env import SILENT, Network, RRMConfig
from rrm_env.kernels import EMA
from rrm_env.state import parameters_of

Served = NDArray[np.int64]


class RecordedNetwork(Network):
    """Episodes on given channels; rates, averages, reports and candidates are `Network`'s own.

    A scheduler sees what it sees in a `Network`, except for positions, which are drawn at random
    and have nothing to do with the channels.

    Args:
        config: sizes, episode length, `csi_delay` and averages; its deployment, path loss and
            fading are not used. Observations must not hold large-scale gains.
        gain: (W + T, B, I, J) received power over noise, linear, of the W steps before the episode
            and its T = `episode_length` steps; W is at least `csi_delay`.
        large_scale_gain: the same without fading, (W + T, B, I, J), or (B, I, J) if it is constant.
        warm_up: the users served before the episode: a function of the step, -W ... -1, and of the
            association (B, J), to (B, I) users or `SILENT`. Their rates move exponential
            averages, which begin at `min_average_rate`. Without it everybody is silent, and the
            averages begin as in a `Network`; so do those since the episode began.

    Users belong to the access point of highest large-scale gain at the first step of the episode.

    Raises:
        ValueError: arrays of another shape, values that are no positive numbers, or large-scale
            gains as measurements.
    """

    def __init__(
        self,
        config: RRMConfig,
        gain: ArrayLike,
        large_scale_gain: ArrayLike,
        warm_up: Callable[[int, NDArray[np.int32]], Served] | None = None,
    ) -> None:
        given = _gains("gain", gain, 4)
        size = config.n_aps, config.n_ues
        fewest = config.episode_length + config.csi_delay
        if given.shape[2:] != size or len(given) < fewest:
            raise ValueError(
                f"gain must have shape (at least {fewest}, B, {size[0]}, {size[1]}), "
                f"got {given.shape}"
            )
        if config.measurements != "none":
            raise ValueError(
                f"measurements must be 'none' on recorded channels, got {config.measurements!r}"
            )
        constant = np.ndim(large_scale_gain) == 3
        slow = _gains("large_scale_gain", large_scale_gain, 3 if constant else 4)
        if slow.shape != (given.shape[1:] if constant else given.shape):
            raise ValueError(
                f"large_scale_gain must have shape {given.shape} or {given.shape[1:]}, "
                f"got {slow.shape}"
            )
        super().__init__(config, given.shape[1])
        # Without slope and fading the kernels' gain is the gain at 1 m, bit for bit.
        self._parameters = parameters_of(replace(config, fading="none", path_loss_slope_db=0.0))
        self._before = len(given) - config.episode_length
        self._given, self._slow = given, np.broadcast_to(slow, given.shape)
        self._warm_up = warm_up

    @property
    def large_scale_gain(self) -> NDArray[np.float32]:
        """(B, I, J) the given gain without fading of step t, linear."""
        return _read_only(self._slow[self._row(self.t)])

    def reset(self, seed: int | Sequence[int] | NDArray[Any] | None = 0, **places: Any) -> None:
        """Start the episodes, the same ones each time.

        Args:
            seed: of the random numbers that schedulers draw; see `Network.reset`.
            places: likewise; they change no channel.
        """
        super().reset(seed, **places)
        state, parameters = self._state, self._parameters
        state.association[:] = self._slow[self._before].argmax(axis=1)
        state.average_rate[:] = self.config.min_average_rate
        silent = np.full((self.num_envs, self.config.n_aps), SILENT, np.int64)
        self._parameters = parameters._replace(average=EMA)
        self._t = -self._before - 1
        self.step(silent)  # to the first of the given channels
        for t in range(-self._before, 0):
            self.step(silent if self._warm_up is None else self._warm_up(t, self.association))
        if self._warm_up is None or self.config.average == "episode":
            # The averages begin at the first reported rates, which the last step has computed; the
            # step is repeated with averages that do not move, so that candidates follow them.
            state.average_rate[:] = np.maximum(self.reported_rate, parameters.min_average_rate)
            self._parameters = parameters._replace(average=EMA, rate_ema=np.float32(0))
            self._t = -1
            self.step(silent)
        self._parameters = parameters
        state.ue_rate_sum[:], state.silent_steps[:], state.served[:] = 0.0, 0, SILENT
        if self._levels is not None:
            self._levels.chosen[:], self._levels.power_sum[:] = SILENT, 0.0

    def _advance(
        self, chosen: NDArray[np.int64], decision: int, levels: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        following = self._given[self._row(self.t + 1)]
        self._state.static_gain[:] = following.reshape(self.num_envs, -1)
        return super()._advance(chosen, decision, levels)

    def _row(self, t: int) -> int:
        """The row of step t; after the last step its channel is kept."""
        return min(t + self._before, len(self._given) - 1)


def round_robin(t: int, association: NDArray[np.int32], n_aps: int) -> Served:
    """(B, I) the users of step t if each AP serves its users in turn; an AP without is silent."""
    served = np.full((len(association), n_aps), SILENT, np.int64)
    for b, row in enumerate(association):
        for i in range(n_aps):
            own = np.flatnonzero(row == i)
            if len(own):
                served[b, i] = own[t % len(own)]
    return served


def record(network: Network) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The channels of a network's present episodes, which it plays to their end in silence.

    Args:
        network: just reset, with a `csi_delay` of 0 or 1.

    Returns:
        gain and large-scale gain, (csi_delay + T, B, I, J), for a `RecordedNetwork`.
    """
    silent = np.full((network.num_envs, network.config.n_aps), SILENT, np.int64)
    delay = network.config.csi_delay
    gain = [network.reported_gain.copy()] * delay
    slow = [network.large_scale_gain.copy()] * delay
    while not network.done:
        gain.append(network.gain.copy())
        slow.append(network.large_scale_gain.copy())
        network.step(silent)
    return np.stack(gain), np.stack(slow)


def _gains(name: str, values: ArrayLike, dimensions: int) -> NDArray[np.float32]:
    gains = np.asarray(values, np.float32)
    if gains.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimensions, got shape {gains.shape}")
    if not (np.isfinite(gains).all() and (gains > 0).all()):
        raise ValueError(f"{name} must hold positive finite numbers")
    return gains


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
