"""The numba functions behind `PropagationSource`: where access points and users are, and gains.

Hexagonal areas wrap round: users who leave one side of a cluster of hexagons enter on the other,
and a distance is that to the nearest of the access point's seven copies.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rrm_env import kernels, propagation
from rrm_env.compiling import compiled, inlined
from rrm_env.kernels import (
    _AP_POSITION,
    _DEPLOYMENT_DRAWN,
    _HOT_SPOT,
    _HOT_SPOT_USER,
    _UE_POSITION,
    MAX_DRAWS,
    distance_law,
    draw_static_gain,
    draw_velocities,
    move,
    random_block,
    uniform64,
)
from rrm_env.propagation import LOG_DISTANCE, Law, draw_fields, in_units, model_gain

f32, i64, u64 = np.float32, np.int64, np.uint64

SQUARE, TORUS, CLUSTER = 0, 1, 2
"""Areas: a square with walls, a square that wraps round, a cluster of hexagons that does."""

_SQRT3 = math.sqrt(3)
_options: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "fastmath": {"contract"}}
_compile: Any = compiled(uses=(kernels, propagation), nogil=True, **_options)
_inline: Any = inlined(**_options)


class Place(NamedTuple):
    """The scalars of an area and of what is drawn in it."""

    area: int
    side: float  # m, of the square that holds the area
    low: float  # m, where in both axes the area begins
    extent: float  # m, of the square around the area
    site_distance: float  # m, between neighbouring hexagons of a cluster
    rings: int  # of hexagons around the one in the middle
    n_hot_spots: int  # 0 for none
    hot_spot_radius: float  # m
    hot_spot_share: float


class Plan(NamedTuple):
    """The arrays of a configuration or a reset that do not change within an episode.

    Positions and associations are of K deployments, of which the seed draws one, or of B episodes
    where `by_slot`. No deployments mean that they are drawn.
    """

    ap_positions: NDArray[np.float64]  # (K, I, 2) m
    ue_positions: NDArray[np.float64]  # (K, J, 2) m
    association: NDArray[np.int32]  # (K, J)
    by_slot: tuple[bool, bool, bool]  # positions of APs and UEs, and association
    shifts: NDArray[np.float64]  # (copies, 2) m: where the copies of the area are, its own first
    basis: NDArray[np.float64]  # (2, 2) m: sides of the area, for random fields
    inverse: NDArray[np.float64]  # (2, 2) 1 / m: from positions to shares of both sides
    origin: NDArray[np.float64]  # (2,) m
    correlation: NDArray[np.float64]  # (fields,) m


class Held(NamedTuple):
    """What the source holds of B episodes beside `rrm_env.state.State`."""

    hot_spots: NDArray[np.float64]  # (B, spots, 2) m
    frequency: NDArray[np.uint32]  # (B, I, fields, 2, waves)
    phase: NDArray[np.uint32]  # (B, I, fields, waves)
    amplitude: NDArray[np.float32]  # (B, I, fields, waves)
    units: NDArray[np.int32]  # (B, 2, J)
    line: NDArray[np.int32]  # (B, I, J) 1 where there is line of sight


# --- Places ---


@_inline
def in_cluster(x, y, site_distance, rings):
    """Whether a place, relative to the middle, is in one of a cluster's hexagons.

    Hexagons are found by rounding cube coordinates, of which one with the largest rounding error is
    made the negative sum of the others.
    """
    q = (x - y / _SQRT3) / site_distance
    r = 2 * y / (_SQRT3 * site_distance)
    s = -q - r
    whole_q, whole_r, whole_s = math.floor(q + 0.5), math.floor(r + 0.5), math.floor(s + 0.5)
    error_q, error_r, error_s = abs(whole_q - q), abs(whole_r - r), abs(whole_s - s)
    if error_q > error_r and error_q > error_s:
        whole_q = -whole_r - whole_s
    elif error_r > error_s:
        whole_r = -whole_q - whole_s
    else:
        whole_s = -whole_q - whole_r
    return max(abs(whole_q), abs(whole_r), abs(whole_s)) <= rings


@_inline
def inside(x, y, place):
    """Whether a place is in the area."""
    if x < 0 or y < 0 or x > place.side or y > place.side:
        return False
    if place.area != CLUSTER:
        return True
    middle = place.side / 2
    return in_cluster(x - middle, y - middle, place.site_distance, place.rings)


@_inline
def nearest_squared(dx, dy, shifts):
    """The squared distance to the nearest copy, m^2."""
    best = math.inf
    for k in range(shifts.shape[0]):
        x, y = dx + shifts[k, 0], dy + shifts[k, 1]
        squared = x * x + y * y
        best = squared if squared < best else best
    return best


@_inline
def apart(x, y, obstacles, n_obstacles, distance, shifts):
    """Whether a place is farther than a distance from all obstacles and their copies."""
    for k in range(n_obstacles):
        squared = nearest_squared(obstacles[k, 0] - x, obstacles[k, 1] - y, shifts)
        if squared <= distance * distance:
            return False
    return True


@_inline
def draw_place(middle, radius, obstacles, n_obstacles, distance, index, stream, key, place, shifts):
    """A uniform place in the area, farther than a distance from each obstacle.

    With a radius it lies in the disc of that radius around the middle, otherwise anywhere.

    Returns whether one was found in `MAX_DRAWS` draws, and its coordinates.
    """
    for attempt in range(MAX_DRAWS):
        word0, word1, _, _ = random_block(index, attempt, 0, stream, key)
        u, v = uniform64(word0), uniform64(word1)
        if radius > 0:
            angle, length = 2 * math.pi * v, radius * math.sqrt(u)
            x, y = middle[0] + length * math.cos(angle), middle[1] + length * math.sin(angle)
        else:
            x, y = place.low + place.extent * u, place.low + place.extent * v
        if inside(x, y, place) and apart(x, y, obstacles, n_obstacles, distance, shifts):
            return True, x, y
    return False, 0.0, 0.0


@_inline
def row_of(b, count, by_slot, key):
    """Which of `count` given deployments an episode has: that of its slot, or one by its seed."""
    if count == 1:
        return i64(0)
    word, _, _, _ = random_block(0, 0, 0, _DEPLOYMENT_DRAWN, key)
    return i64(b) if by_slot else i64(word % u64(count))


@_inline
def place_aps(ap_positions, b, key, plan, place, p):
    """Take the given access points, or draw them. Returns the first without a place, or -1."""
    if plan.ap_positions.shape[0] > 0:
        row = row_of(b, plan.ap_positions.shape[0], plan.by_slot[0], key)
        for i in range(p.n_aps):
            ap_positions[i, 0] = plan.ap_positions[row, i, 0]
            ap_positions[i, 1] = plan.ap_positions[row, i, 1]
        return -1
    for i in range(p.n_aps):
        found, x, y = draw_place(
            ap_positions[i],
            0.0,
            ap_positions,
            i,
            p.min_ap_distance,
            i,
            _AP_POSITION,
            key,
            place,
            plan.shifts,
        )
        if not found:
            return i
        ap_positions[i, 0], ap_positions[i, 1] = x, y
    return -1


@_inline
def place_hot_spots(hot_spots, ap_positions, key, plan, place, p):
    """Draw the middles of hot spots. Returns the first without a place, or -1."""
    for k in range(place.n_hot_spots):
        found, x, y = draw_place(
            hot_spots[k],
            0.0,
            ap_positions,
            p.n_aps,
            p.min_ue_distance,
            k,
            _HOT_SPOT,
            key,
            place,
            plan.shifts,
        )
        if not found:
            return k
        hot_spots[k, 0], hot_spots[k, 1] = x, y
    return -1


@_inline
def place_ues(ue_positions, b, ap_positions, hot_spots, key, plan, place, p):
    """Take the given users, or draw them. Returns the first without a place, or -1."""
    if plan.ue_positions.shape[0] > 0:
        row = row_of(b, plan.ue_positions.shape[0], plan.by_slot[1], key)
        for j in range(p.n_ues):
            ue_positions[0, j] = plan.ue_positions[row, j, 0]
            ue_positions[1, j] = plan.ue_positions[row, j, 1]
        return -1
    for j in range(p.n_ues):
        radius, spot = 0.0, 0
        if place.n_hot_spots > 0:
            word0, word1, _, _ = random_block(j, 0, 0, _HOT_SPOT_USER, key)
            radius = place.hot_spot_radius if uniform64(word0) < place.hot_spot_share else 0.0
            spot = i64(word1 % u64(place.n_hot_spots))
        found, x, y = draw_place(
            hot_spots[spot],
            radius,
            ap_positions,
            p.n_aps,
            p.min_ue_distance,
            j,
            _UE_POSITION,
            key,
            place,
            plan.shifts,
        )
        if not found:
            return j
        ue_positions[0, j], ue_positions[1, j] = x, y
    return -1


# --- Motion ---


@_inline
def wrap(ue_positions, place, shifts):
    """Bring users who have left a wrapped area in on its other side."""
    for j in range(ue_positions.shape[1]):
        x, y = ue_positions[0, j], ue_positions[1, j]
        if not inside(x, y, place):
            for k in range(1, shifts.shape[0]):
                if inside(x + shifts[k, 0], y + shifts[k, 1], place):
                    ue_positions[0, j], ue_positions[1, j] = x + shifts[k, 0], y + shifts[k, 1]
                    break


@_inline
def walk(ue_positions, ue_velocity, place, shifts):
    """Move each user one step along its heading, and reflect it or wrap it round at the border."""
    if place.area == SQUARE:
        move(ue_positions, ue_velocity, place.side)
    else:
        for axis in range(2):
            for j in range(ue_positions.shape[1]):
                ue_positions[axis, j] += ue_velocity[axis, j]
        wrap(ue_positions, place, shifts)


# --- Gains ---


@_inline
def squared_distances(row, ap_x, ap_y, ue_positions, shifts):
    """The squared distances (J,) of users to the nearest copy of an access point, m^2."""
    xs, ys = ue_positions[0], ue_positions[1]
    for j in range(row.size):
        dx, dy = f32(xs[j] - ap_x), f32(ys[j] - ap_y)
        row[j] = dx * dx + dy * dy
    for k in range(1, shifts.shape[0]):
        shift_x, shift_y = shifts[k, 0], shifts[k, 1]
        for j in range(row.size):
            dx, dy = f32(xs[j] - ap_x + shift_x), f32(ys[j] - ap_y + shift_y)
            row[j] = min(row[j], dx * dx + dy * dy)


@_inline
def write_gains(gain, ap_positions, ue_positions, static_gain, held, scratch, b, plan, law, p):
    """Write the large-scale gains (I * J) of an episode at its present places."""
    for i in range(p.n_aps):
        row = gain[i * p.n_ues : (i + 1) * p.n_ues]
        x, y = ap_positions[i, 0], ap_positions[i, 1]
        squared_distances(row, x, y, ue_positions, plan.shifts)
    if law.model == LOG_DISTANCE:
        distance_law(gain, static_gain, p)
    else:
        in_units(held.units[b], ue_positions, plan.origin, plan.inverse)
        for i in range(p.n_aps):
            model_gain(
                gain[i * p.n_ues : (i + 1) * p.n_ues],
                held.line[b, i],
                scratch,
                held.frequency[b, i],
                held.phase[b, i],
                held.amplitude[b, i],
                held.units[b],
                law,
            )


@_compile
def start_episodes(state, held, plan, place, law, p, start, stop):
    """Places of the episodes start ... stop - 1 at t = 0, and what their gains follow from.

    Returns slot, AP, hot spot and UE of the first place that was not found, or four times -1.
    """
    for b in range(start, stop):
        key, aps, ues = state.key[b], state.ap_positions[b], state.ue_positions[b]
        failed = place_aps(aps, b, key, plan, place, p)
        if failed >= 0:
            return b, failed, -1, -1
        failed = place_hot_spots(held.hot_spots[b], aps, key, plan, place, p)
        if failed >= 0:
            return b, -1, failed, -1
        failed = place_ues(ues, b, aps, held.hot_spots[b], key, plan, place, p)
        if failed >= 0:
            return b, -1, -1, failed
        if place.area != SQUARE:
            wrap(ues, place, plan.shifts)
        draw_velocities(state.ue_velocity[b], key, p.step_length)
        if law.model == LOG_DISTANCE:
            draw_static_gain(state.static_gain[b], key, p)
        else:
            draw_fields(
                held.frequency[b],
                held.phase[b],
                held.amplitude[b],
                key,
                plan.basis,
                plan.correlation,
                place.area != SQUARE,
            )
        if plan.association.shape[0] > 0:
            row = row_of(b, plan.association.shape[0], plan.by_slot[2], key)
            for j in range(p.n_ues):
                state.association[b, j] = plan.association[row, j]
    return -1, -1, -1, -1


@_compile
def move_episodes(
    ap_positions,
    ue_positions,
    ue_velocity,
    static_gain,
    large_scale_gain,
    held,
    scratch,
    plan,
    place,
    law,
    p,
    moves,
    start,
    stop,
):
    """Write the gains of the episodes start ... stop - 1; before that, users move if `moves` is 1.

    They do not at t = 0.
    """
    for b in range(start, stop):
        if moves == 1:
            walk(ue_positions[b], ue_velocity[b], place, plan.shifts)
        write_gains(
            large_scale_gain[b],
            ap_positions[b],
            ue_positions[b],
            static_gain[b],
            held,
            scratch,
            b,
            plan,
            law,
            p,
        )


NO_LAW = Law(LOG_DISTANCE, 0, *(f32(0),) * 8)
"""The law where path loss depends on distance alone; the kernels' parameters hold its numbers."""
