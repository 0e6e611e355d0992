"""Walks of users over a map of gains, for scenes that are known at fixed positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TRIES = 64
"""Headings that a walker tries at a wall before standing still for a step."""


def walk(
    allowed: NDArray[np.bool_],
    cell_m: float,
    n_users: int,
    n_steps: int,
    step_m: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Positions (T, J, 2) in metres of users who walk straight on and turn at counted.

    Users start at random allowed cells with random headings. Where the next step would leave the
    allowed cells, a user draws a new heading.

    Args:
        allowed: (X, Y) cells that may be entered; cell (x, y) begins at (x, y) * cell_m.
        cell_m: side of a cell.
        n_users: J.
        n_steps: T.
        step_m: distance per step.
        generator: of starts and headings.

    Raises:
        ValueError: no cell is allowed.
    """
    free = np.argwhere(allowed)
    if not len(free):
        raise ValueError("the map has no position where users may walk")
    place = (free[generator.integers(len(free), size=n_users)] + 0.5) * cell_m
    heading = generator.uniform(0, 2 * np.pi, n_users)
    positions = np.empty((n_steps, n_users, 2))
    for t in range(n_steps):
        positions[t] = place
        blocked = np.arange(n_users)
        for _ in range(TRIES):
            step = step_m * np.stack([np.cos(heading[blocked]), np.sin(heading[blocked])], axis=1)
            is_free = _inside(allowed, cell_m, place[blocked] + step)
            place[blocked[is_free]] += step[is_free]
            blocked = blocked[~is_free]
            if not len(blocked):
                break
            heading[blocked] = generator.uniform(0, 2 * np.pi, len(blocked))
    return positions


def gains_along(
    gain_db: NDArray[np.floating],
    known: NDArray[np.bool_],
    cell_m: float,
    positions: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Gains in dB (T, I, J) along walks, between cell centres by bilinear interpolation in dB.

    Cells that are not known take no part; the weights of the others are scaled up.

    Args:
        gain_db: (I, X, Y) the map.
        known: (X, Y) cells whose gains count; the cell of every position is one of them.
        cell_m: side of a cell.
        positions: (T, J, 2) in metres.
    """
    corner = positions / cell_m - 0.5
    low = np.floor(corner).astype(np.int64)
    share = corner - low
    total = np.zeros((len(gain_db), *positions.shape[:2]))
    weights = np.zeros(positions.shape[:2])
    counted = np.where(known, gain_db, 0.0)
    for dx, dy in ((0, 0), (0, 1), (1, 0), (1, 1)):
        x, y = low[..., 0] + dx, low[..., 1] + dy
        inside = (x >= 0) & (y >= 0) & (x < known.shape[0]) & (y < known.shape[1])
        x, y = np.where(inside, x, 0), np.where(inside, y, 0)
        weight = np.abs(1 - dx - share[..., 0]) * np.abs(1 - dy - share[..., 1])
        weight = np.where(inside & known[x, y], weight, 0.0)
        total += weight * counted[:, x, y]
        weights += weight
    return np.moveaxis(total / weights, 0, 1)


def _inside(
    allowed: NDArray[np.bool_], cell_m: float, places: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether places (K, 2) lie in allowed cells."""
    cells = np.floor(places / cell_m).astype(np.int64)
    inside = np.asarray(((cells >= 0) & (cells < allowed.shape)).all(axis=1))
    cells = np.where(inside[:, None], cells, 0)
    found: NDArray[np.bool_] = inside & allowed[cells[:, 0], cells[:, 1]]
    return found
