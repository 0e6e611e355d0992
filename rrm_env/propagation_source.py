"""The source of channels with other deployments, wrap-around distances or models of TR 38.901."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rrm_env import deployment, propagation
from rrm_env.compiling import Direct
from rrm_env.config import RRMConfig
from rrm_env.deployment import CLUSTER, NO_LAW, SQUARE, TORUS, Held, Place, Plan
from rrm_env.places import (
    Given,
    copies_of,
    extent_of,
    given_by,
    refuse_deployment,
    rings_of,
    site_distance_of,
    sites,
)
from rrm_env.propagation import MODELS, N_FIELDS, N_WAVES, law_of
from rrm_env.state import State, parameters_of

_OWN: tuple[Literal["WRITEABLE", "ALIGNED"], ...] = ("WRITEABLE", "ALIGNED")

_move_episodes = Direct(deployment.move_episodes)


class PropagationSource:
    """Writes positions, motion and large-scale gains of B episodes (`rrm_env.source.Source`).

    Args:
        config: the network.
        num_envs: B, episodes side by side.
    """

    def __init__(self, config: RRMConfig, num_envs: int) -> None:
        self.config = config
        self._parameters = parameters_of(config)
        self._law = NO_LAW if config.propagation == "log_distance" else _law(config)
        self._place = _place(config)
        self._held = _held(config, num_envs)
        self._configured = given_by(config)
        self._plan = _plan(config, self._configured)
        self._is_changed = False

    def give(self, given: Given | None) -> None:
        """Set what the next episodes are given; None is what the configuration gives.

        What is not given is as the configuration says.
        """
        if given is not None or self._is_changed:
            configured = self._configured
            self._plan = _plan(self.config, given.or_else(configured) if given else configured)
            self._is_changed = given is not None

    @property
    def gives_association(self) -> bool:
        """Whether users have a given access point in the next episodes."""
        return bool(self._plan.association.shape[0])

    @property
    def line_of_sight(self) -> NDArray[np.int32]:
        """(B, I, J) 1 where a link has line of sight; (B, I, 0) where that is not modelled."""
        return self._held.line

    @property
    def nbytes(self) -> int:
        """Bytes held of all episodes."""
        return sum(array.nbytes for array in self._held)

    def reset(self, state: State, seeds: NDArray[np.uint64], start: int, stop: int) -> None:
        """Write step 0 of the episodes start ... stop - 1.

        Raises:
            DeploymentError: no place was found for an access point, a hot spot or a user.
        """
        slot, ap, spot, ue = deployment.start_episodes(
            state,
            self._held,
            self._plan,
            self._place,
            self._law,
            self._parameters,
            start,
            stop,
        )
        refuse_deployment(self.config, int(seeds[slot]), ap, spot, ue)
        self._write_gains(state, 0, start, stop)

    def advance(self, state: State, t: int, start: int, stop: int) -> None:
        """Move the users of the episodes start ... stop - 1 to step t and write its gains."""
        del t  # steps come one after the other
        self._write_gains(state, 1, start, stop)

    def _write_gains(self, state: State, moves: int, start: int, stop: int) -> None:
        scratch = np.empty((3, self.config.n_ues), np.float32)  # of this call, as threads need
        _move_episodes.call(
            state.ap_positions,
            state.ue_positions,
            state.ue_velocity,
            state.static_gain,
            state.large_scale_gain,
            self._held,
            scratch,
            self._plan,
            self._place,
            self._law,
            self._parameters,
            moves,
            start,
            stop,
        )

    def __setstate__(self, values: dict[str, Any]) -> None:
        """Copy arrays that unpickling leaves in read-only memory."""
        vars(self).update(values)
        self._parameters = parameters_of(self.config)
        self._held = Held._make(np.require(array, None, _OWN) for array in self._held)
        self._plan = Plan._make(
            np.require(part, None, _OWN) if isinstance(part, np.ndarray) else part
            for part in self._plan
        )


def _law(c: RRMConfig) -> propagation.Law:
    return law_of(
        c.propagation,
        c.carrier_hz,
        c.ap_height_m,
        c.ue_height_m,
        los=c.los,
        nearest_m=c.min_ue_distance_m,
        budget_db=c.tx_power_dbm - c.noise_dbm,
        shadowing=c.shadowing_std_db > 0,
    )


def _place(c: RRMConfig) -> Place:
    hexagonal = c.ap_deployment == "hexagonal"
    area = SQUARE if c.wrap_around == "none" else CLUSTER if hexagonal else TORUS
    rings = rings_of(c.n_aps)
    distance = site_distance_of(c)
    extent = distance * extent_of(rings) if area == CLUSTER else c.area_side_m
    has_spots = c.ue_deployment == "hot_spots"
    return Place(
        area=area,
        side=c.area_side_m,
        low=(c.area_side_m - extent) / 2,
        extent=extent,
        site_distance=distance,
        rings=rings,
        n_hot_spots=c.n_hot_spots if has_spots else 0,
        hot_spot_radius=c.hot_spot_radius_m,
        hot_spot_share=c.hot_spot_share,
    )


def _plan(c: RRMConfig, given: Given) -> Plan:
    place, side = _place(c), c.area_side_m
    aps = given.ap_positions
    if c.ap_deployment == "hexagonal":
        aps = side / 2 + sites(c.n_aps, place.site_distance)[None]
    shifts, basis, origin = np.zeros((1, 2)), side * np.eye(2), np.zeros(2)
    if place.area == TORUS:
        steps = np.array([0.0, -side, side])
        shifts = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    elif place.area == CLUSTER:
        shifts = copies_of(place.rings, place.site_distance)
        basis, origin = shifts[1:3].copy(), np.full(2, side / 2)
    model = None if c.propagation == "log_distance" else MODELS[c.propagation]
    correlation = (
        [model.state_correlation_m, model.los_correlation_m, model.nlos_correlation_m]
        if model
        else []
    )
    return Plan(
        np.zeros((0, c.n_aps, 2)) if aps is None else aps,
        np.zeros((0, c.n_ues, 2)) if given.ue_positions is None else given.ue_positions,
        np.zeros((0, c.n_ues), np.int32) if given.association is None else given.association,
        given.by_slot,
        shifts,
        basis,
        np.linalg.inv(basis.T).astype(np.float64, order="C"),
        origin,
        np.array(correlation),
    )


def _held(c: RRMConfig, num_envs: int) -> Held:
    modelled = c.propagation != "log_distance"
    fields = (N_FIELDS, N_WAVES) if modelled else (0, 0)
    n_ues = c.n_ues if modelled else 0
    n_spots = c.n_hot_spots if c.ue_deployment == "hot_spots" else 0
    n, i32 = num_envs, np.int32
    return Held(
        np.zeros((n, max(n_spots, 1), 2)),
        np.zeros((n, c.n_aps, fields[0], 2, fields[1]), np.uint32),
        np.zeros((n, c.n_aps, *fields), np.uint32),
        np.zeros((n, c.n_aps, *fields), np.float32),
        np.zeros((n, 2, n_ues), i32),
        np.zeros((n, c.n_aps, n_ues), i32),
    )
