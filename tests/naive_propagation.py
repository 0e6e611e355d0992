"""Reference implementations of TR 38.901's models, random fields and deployments, plain Python.

They were written from the standard and from the definitions, not from the kernels. Carriers are in
GHz here, as in the standard; `d2` is the distance in the plane and `d3` that in space, in metres.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from naive import Point, uniform, words

FIELD_WAVES, DEPLOYMENT_DRAWN, HOT_SPOT, HOT_SPOT_USER = range(8, 12)
STATE, LOS_SHADOWING, NLOS_SHADOWING = range(3)
N_WAVES = 16
UNITS = 2**22

# --- Table 7.4.1-1: path loss, dB ---


def breakpoint_m(ap_height: float, ue_height: float, carrier_ghz: float) -> float:
    """Note 1: d'BP = 4 h'BS h'UT fc / c, effective heights 1 m lower, c = 3e8 m/s."""
    return 4 * (ap_height - 1) * (ue_height - 1) * carrier_ghz * 1e9 / 3e8


def inh_los(d3: float, carrier_ghz: float) -> float:
    """InH, line of sight."""
    return 32.4 + 17.3 * math.log10(d3) + 20 * math.log10(carrier_ghz)


def inh_nlos(d3: float, carrier_ghz: float) -> float:
    """InH, no line of sight: the larger of its formula and that of line of sight."""
    return max(
        inh_los(d3, carrier_ghz), 38.3 * math.log10(d3) + 17.30 + 24.9 * math.log10(carrier_ghz)
    )


def umi_los(d2: float, ap_height: float, ue_height: float, carrier_ghz: float) -> float:
    """UMi street canyon, line of sight: PL1 up to the breakpoint, then PL2."""
    d3, limit = (
        math.hypot(d2, ap_height - ue_height),
        breakpoint_m(ap_height, ue_height, carrier_ghz),
    )
    if d2 <= limit:
        return 32.4 + 21 * math.log10(d3) + 20 * math.log10(carrier_ghz)
    return (
        32.4
        + 40 * math.log10(d3)
        + 20 * math.log10(carrier_ghz)
        - 9.5 * math.log10(limit**2 + (ap_height - ue_height) ** 2)
    )


def umi_nlos(d2: float, ap_height: float, ue_height: float, carrier_ghz: float) -> float:
    """UMi street canyon, no line of sight."""
    d3 = math.hypot(d2, ap_height - ue_height)
    formula = 35.3 * math.log10(d3) + 22.4 + 21.3 * math.log10(carrier_ghz)
    return max(umi_los(d2, ap_height, ue_height, carrier_ghz), formula - 0.3 * (ue_height - 1.5))


def uma_los(d2: float, ap_height: float, ue_height: float, carrier_ghz: float) -> float:
    """UMa, line of sight: PL1 up to the breakpoint, then PL2."""
    d3, limit = (
        math.hypot(d2, ap_height - ue_height),
        breakpoint_m(ap_height, ue_height, carrier_ghz),
    )
    if d2 <= limit:
        return 28.0 + 22 * math.log10(d3) + 20 * math.log10(carrier_ghz)
    return (
        28.0
        + 40 * math.log10(d3)
        + 20 * math.log10(carrier_ghz)
        - 9 * math.log10(limit**2 + (ap_height - ue_height) ** 2)
    )


def uma_nlos(d2: float, ap_height: float, ue_height: float, carrier_ghz: float) -> float:
    """UMa, no line of sight."""
    d3 = math.hypot(d2, ap_height - ue_height)
    formula = 13.54 + 39.08 * math.log10(d3) + 20 * math.log10(carrier_ghz)
    return max(uma_los(d2, ap_height, ue_height, carrier_ghz), formula - 0.6 * (ue_height - 1.5))


def losses(
    model: str, d2: float, ap_height: float, ue_height: float, carrier_ghz: float
) -> tuple[float, float]:
    """Path loss of a model with and without line of sight, distances taken into its range."""
    if model == "inh_office":
        d3 = max(1.0, math.hypot(d2, ap_height - ue_height))
        return inh_los(d3, carrier_ghz), inh_nlos(d3, carrier_ghz)
    los, nlos = (umi_los, umi_nlos) if model == "umi" else (uma_los, uma_nlos)
    place = max(d2, 10.0), ap_height, ue_height, carrier_ghz
    return los(*place), nlos(*place)


# --- Table 7.4.2-1: probability of line of sight ---


def los_probability(model: str, d2: float) -> float:
    """Of indoor mixed offices, UMi, and UMa with users of up to 13 m."""
    if model == "inh_office":
        if d2 <= 1.2:
            return 1.0
        if d2 < 6.5:
            return math.exp(-(d2 - 1.2) / 4.7)
        return math.exp(-(d2 - 6.5) / 32.6) * 0.32
    if d2 <= 18:
        return 1.0
    return 18 / d2 + math.exp(-d2 / (36 if model == "umi" else 63)) * (1 - 18 / d2)


# --- Random fields ---


def field(seed: int, ap: int, which: int, place: Point, correlation_m: float, side: float) -> float:
    """A sum of plane waves in a square of a side without a wrap: a standard normal number."""
    total = 0.0
    first = uniform(words(seed, FIELD_WAVES, which * N_WAVES, ap)[3])
    for m in range(N_WAVES):
        phase, size, share, _ = words(seed, FIELD_WAVES, which * N_WAVES + m, ap)
        amplitude = math.sqrt(-2 * math.log(uniform(size)) / N_WAVES)
        u = (m + uniform(share)) / N_WAVES
        k = math.sqrt(u**-2 - 1) / correlation_m
        angle = 2 * math.pi * (first + m * (math.sqrt(5) - 1) / 2)
        waves = (k * math.cos(angle) / (2 * math.pi), k * math.sin(angle) / (2 * math.pi))
        # Turns per 2^-22 of the side, rounded down to 2^-32 turns.
        steps = [math.floor(side * wave * 2**32 / UNITS) for wave in waves]
        units = [math.floor(coordinate / side * UNITS) for coordinate in place]
        turns = sum(step * unit for step, unit in zip(steps, units, strict=True)) + phase - 2**31
        total += amplitude * math.cos(2 * math.pi * (turns % 2**32) / 2**32)
    return total


def is_los(value: float, probability: float) -> bool:
    """Whether the normal distribution function of a field's value lies below a probability."""
    return (1 + math.erf(value / math.sqrt(2))) / 2 < probability


# --- Deployments ---


def spiral(n_aps: int, distance: float) -> list[Point]:
    """Middles of hexagons around the origin: the one in the middle, then ring by ring."""
    corners = [
        (math.cos(math.pi / 3 * k) * distance, math.sin(math.pi / 3 * k) * distance)
        for k in range(6)
    ]
    points = [(0.0, 0.0)]
    for ring in itertools.count(1):
        if len(points) >= n_aps:
            return points[:n_aps]
        for k in range(6):
            x, y = corners[k]
            step_x, step_y = corners[(k + 2) % 6]
            points += [(ring * x + n * step_x, ring * y + n * step_y) for n in range(ring)]
    raise AssertionError


def lattice(rings: int, distance: float, reach: int = 3) -> list[Point]:
    """Where the copies of a cluster of whole rings are: all of them within some clusters."""
    first = ((rings + 1) + rings / 2, rings * math.sqrt(3) / 2)
    second = (
        first[0] / 2 - first[1] * math.sqrt(3) / 2,
        first[0] * math.sqrt(3) / 2 + first[1] / 2,
    )
    return [
        (distance * (a * first[0] + b * second[0]), distance * (a * first[1] + b * second[1]))
        for a in range(-reach, reach + 1)
        for b in range(-reach, reach + 1)
    ]


def square_lattice(side: float, reach: int = 2) -> list[Point]:
    """Where the copies of a square are."""
    steps = range(-reach, reach + 1)
    return [(a * side, b * side) for a in steps for b in steps]


def nearest_copy(p: Point, q: Point, copies: Sequence[Point]) -> float:
    """The distance of p and the nearest copy of q."""
    return min(math.dist(p, (q[0] + x, q[1] + y)) for x, y in copies)


def row_of(seed: int, count: int) -> int:
    """Which of several given deployments the episode of a seed has."""
    return words(seed, DEPLOYMENT_DRAWN, 0)[0] % count if count > 1 else 0
