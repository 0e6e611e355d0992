"""The part of a network that owns its arrays and runs the kernels on them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rrm_env import kernels
from rrm_env.compiling import Direct
from rrm_env.places import Given, refuse_deployment
from rrm_env.propagation_source import PropagationSource
from rrm_env.readings import Readings, views_of
from rrm_env.source import Source, source_of
from rrm_env.state import (
    PowerLevels,
    Scratch,
    allocate,
    allocate_levels,
    allocate_scratch,
    allocate_waves,
    association_bias_of,
    parameters_of,
)
from rrm_env.threads import Threads

_OWN: tuple[Literal["WRITEABLE", "ALIGNED"], ...] = ("WRITEABLE", "ALIGNED")
_Arrays = TypeVar("_Arrays", bound=NamedTuple)

# The arrays of all networks have the same types, so these need not look at them in every step.
_step_episodes = Direct(kernels.step_episodes)
_fade_episodes = Direct(kernels.fade_episodes)
_observe_options = Direct(kernels.observe_options)
_transmit_at_levels = Direct(kernels.transmit_at_levels)
_mask_levels = Direct(kernels.mask_levels)


class Episodes(Readings):
    """B episodes side by side, which begin and advance with input that has been checked."""

    num_threads: int
    _scratch: list[Scratch]
    _source: Source | None

    def _allocate(self) -> None:
        """Make the arrays, which hold no episodes yet."""
        config, num_envs = self.config, self.num_envs
        self._parameters = parameters_of(config)
        self._association_bias = association_bias_of(config)
        self._state = allocate(config, num_envs)
        self._views = views_of(self._state)
        self._waves = allocate_waves(config, num_envs)
        self._levels = allocate_levels(config, num_envs)
        self._has_options = config.n_features > 2 * config.n_candidates
        self._seeds = np.zeros(num_envs, np.uint64)
        self._scratch = [allocate_scratch(config) for _ in range(self.num_threads)]
        self._threads = Threads(self.num_threads)
        self._configured = source_of(config, num_envs)
        self._placed = self._configured if isinstance(self._configured, PropagationSource) else None
        self._source = self._configured
        self._t = None
        self._seeded = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave the views out, which would become arrays of their own."""
        return {name: value for name, value in vars(self).items() if name != "_views"}

    def __setstate__(self, values: dict[str, Any]) -> None:
        """Copy arrays that unpickling leaves in read-only memory, as Ray's does."""
        vars(self).update(values)
        self._state = _owned(self._state)
        self._views = views_of(self._state)
        self._association_bias = np.require(self._association_bias, None, _OWN)
        self._seeds = np.require(self._seeds, None, _OWN)
        self._waves = None if self._waves is None else _owned(self._waves)
        self._levels = None if self._levels is None else _owned(self._levels)
        self._scratch = [allocate_scratch(self.config) for _ in range(self.num_threads)]

    # --- The beginning ---

    def _begin(self, given: Given | None) -> None:
        """Begin the episodes of `_seeds`.

        Raises:
            DeploymentError: a position was not found.
        """
        state, seeds = self._state, self._seeds
        self._t, self._source = None, self._source_with(given)
        state.key[:, 0] = seeds & np.uint64(0xFFFFFFFF)
        state.key[:, 1] = seeds >> np.uint64(32)
        if self._levels is not None:
            self._levels.chosen[:], self._levels.power_sum[:] = kernels.SILENT, 0.0
        for slot, ap, ue in self._threads.run(self._begin_part, self.num_envs):
            refuse_deployment(self.config, int(seeds[slot]), ap, -1, ue)
        if self._levels is not None:
            self._mask_levels(self._levels)
        self._t = 0

    def _begin_part(self, thread: int, start: int, stop: int) -> tuple[int, int, int]:
        """Begin the episodes start ... stop - 1; the result is that of `kernels.reset_episodes`."""
        s, p, source = self._state, self._parameters, self._source
        failed: tuple[int, int, int] = -1, -1, -1
        if source is None:
            failed = kernels.reset_episodes(
                s.key,
                s.ap_positions,
                s.ue_positions,
                s.ue_velocity,
                s.static_gain,
                s.large_scale_gain,
                s.association,
                self._association_bias,
                p,
                start,
                stop,
            )
            if failed[0] >= 0:
                return failed
        else:
            source.reset(s, self._seeds, start, stop)
            if p.association == kernels.RSRP:
                kernels.associate_episodes(
                    s.association, s.large_scale_gain, self._association_bias, start, stop
                )
        part = slice(start, stop)
        if p.n_neighbours > 0:
            kernels.rank_neighbours(
                s.neighbours[part],
                self._scratch[thread][3],
                s.association[part],
                s.large_scale_gain[part],
            )
        if self._waves is not None:
            kernels.draw_waves(*self._waves, s.key, p.doppler_turns, start, stop)
        # The first decisions need reports from before; a trace has written its history itself.
        earliest = -1 if p.fading == kernels.OF_TRACE else -p.csi_delay - 1
        unused = s.served, s.reported_rate, np.empty(self.num_envs, np.float32)
        for t in range(earliest, 0):
            decision = kernels.BEFORE if t < -1 else kernels.FIRST
            self._step_part(thread, start, stop, decision, *unused, t)
        return failed

    # --- Steps ---

    def _advance(
        self, chosen: NDArray[np.int64], decision: int, levels: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run a step of all episodes; returns rates (B, J) and reward (B,)."""
        state, source, t = self._state, self._source, self._t
        assert t is not None  # the property asks again, which counts in a step of microseconds
        rates = np.empty((self.num_envs, self.config.n_ues), np.float32)
        reward = np.empty(self.num_envs, np.float32)

        def job(thread: int, start: int, stop: int) -> None:
            if source is not None:
                source.advance(state, t + 1, start, stop)
            self._step_part(thread, start, stop, decision, chosen, rates, reward, t)

        self._t = None  # an interrupted step leaves no episode that could go on
        if self._levels is not None:
            self._transmit_at_levels(self._levels, chosen, decision, levels, rates, t)
            decision = kernels.TRANSMITTED
        self._threads.run(job, self.num_envs)
        if self._levels is not None:
            self._mask_levels(self._levels)
        self._t = t + 1
        return rates, reward

    def _step_part(
        self,
        thread: int,
        start: int,
        stop: int,
        decision: int,
        chosen: NDArray[np.int64],
        rates: NDArray[np.float32],
        reward: NDArray[np.float32],
        t: int,
    ) -> None:
        """Run the kernels of a step that this configuration needs."""
        s, p, scratch = self._state, self._parameters, self._scratch[thread]
        if self._waves is not None:
            _fade_episodes.call(s.wave_fading, scratch[1], *self._waves, t + 1, start, stop)
        _step_episodes.call(s, p, scratch, chosen, decision, rates, reward, t, start, stop)
        if self._has_options and decision != kernels.BEFORE:
            _observe_options.call(
                s.observation,
                s.candidates,
                s.neighbours,
                s.association,
                s.large_scale_gain,
                t + 1,
                p,
                start,
                stop,
            )

    def _transmit_at_levels(
        self,
        powers: PowerLevels,
        chosen: NDArray[np.int64],
        decision: int,
        levels: NDArray[np.int64] | None,
        rates: NDArray[np.float32],
        t: int,
    ) -> None:
        """Write who is served at which level, and the rates, of step t."""
        s = self._state
        gain = s.gain_history[t % (self.config.csi_delay + 1)]
        if decision == kernels.USERS:
            powers.chosen[:] = self.config.highest_level if levels is None else levels

        def job(thread: int, start: int, stop: int) -> None:  # noqa: ARG001 - as all jobs have it
            _transmit_at_levels.call(
                s.served, s.candidates, gain, *powers, chosen, decision, rates, start, stop
            )

        self._threads.run(job, self.num_envs)

    def _mask_levels(self, powers: PowerLevels) -> None:
        """Write the masks of a network whose actions have levels."""
        s, n_levels = self._state, powers.power.size

        def job(thread: int, start: int, stop: int) -> None:  # noqa: ARG001 - as all jobs have it
            _mask_levels.call(s.action_mask, s.candidates, n_levels, start, stop)

        self._threads.run(job, self.num_envs)

    def _source_with(self, given: Given | None) -> Source | None:
        """The source of the next episodes; the parameters are made to fit it."""
        source, has_association = self._configured, self.config.association == "given"
        if given is not None and self._placed is None:
            self._placed = PropagationSource(self.config, self.num_envs)
        if self._placed is not None:
            self._placed.give(given)
            source = self._configured if given is None else self._placed
        if isinstance(source, PropagationSource):
            has_association = source.gives_association
        channel = kernels.GENERATED if source is None else kernels.GIVEN
        if (channel, has_association) != (self._parameters.channel, self._parameters.association):
            self._parameters = self._parameters._replace(
                channel=channel, association=int(has_association)
            )
        return source


def _owned(arrays: _Arrays) -> _Arrays:
    """The arrays, each in memory that can be written to."""
    made: _Arrays = type(arrays)._make(np.require(array, None, _OWN) for array in arrays)
    return made
