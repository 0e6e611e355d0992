"""Path loss, line of sight and shadowing by name, from 3GPP TR 38.901 (release 16).

Each model is one function: `inh_office`, `umi` (street canyon) and `uma`. It gives the path loss
with and without line of sight (Table 7.4.1-1) and the probability of line of sight
(Table 7.4.2-1). `MODELS` holds its numbers: heights, standard deviations and correlation distances.

Three random fields over the plane belong to every access point: whether a place is in its line of
sight, and the shadowing of places that are and that are not. A field is a sum of plane waves, a
function of place, access point and episode seed alone. So two users at one place have the same
shadowing, neighbouring ones nearly the same, and both change along a walk.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rrm_env import kernels
from rrm_env.compiling import compiled, inlined
from rrm_env.kernels import _FIELD_WAVES, exp2, log2, random_block, sine_turns, uniform64

f32, i32, i64, u64 = np.float32, np.int32, np.int64, np.uint64

LOG_DISTANCE, INH_OFFICE, UMI, UMA = 0, 1, 2, 3
DRAWN, ALWAYS, NEVER = 0, 1, 2
STATE, LOS_SHADOWING, NLOS_SHADOWING = 0, 1, 2
N_FIELDS = 3
"""Random fields of an access point: line of sight, and shadowing with and without it."""
N_WAVES = 16
"""Plane waves in a field."""
UNITS = 2**22
"""Parts into which a side of the area is divided, so that phases are exact in 32-bit integers."""
CARRIERS_HZ = 0.5e9, 100e9
"""Carriers for which the models are valid (TR 38.901, Table 7.4.1-1, note 2 and section 6)."""

_SPEED_OF_LIGHT = 3.0e8  # m/s, as TR 38.901 rounds it in note 1 of Table 7.4.1-1
_ENVIRONMENT_M = 1.0  # effective height of the environment, for users up to 13 m
_GOLDEN = (math.sqrt(5) - 1) / 2
_ZERO, _HALF, _ONE = f32(0), f32(0.5), f32(1)

_options: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "fastmath": {"contract"}}
_compile: Any = compiled(uses=(kernels,), nogil=True, **_options)
_inline: Any = inlined(**_options)
# Sums over plane waves may be reordered, so that vector instructions can form them.
_inline_sum: Any = inlined(**{**_options, "fastmath": {"contract", "reassoc", "nsz"}})


class Model(NamedTuple):
    """The numbers of a model. Table numbers are those of TR 38.901."""

    number: int
    ap_height_m: float  # default; Tables 7.2-1 and 7.2-2
    ue_height_m: float
    ap_heights_m: tuple[float, float]  # allowed
    ue_heights_m: tuple[float, float]  # Table 7.4.1-1
    los_std_db: float  # standard deviation of shadowing; Table 7.4.1-1
    nlos_std_db: float
    los_correlation_m: float  # correlation distance of shadowing; Table 7.5-6
    nlos_correlation_m: float
    state_correlation_m: float  # of line of sight; Table 7.6.3.1-2
    has_breakpoint: bool


MODELS: dict[str, Model] = {
    "inh_office": Model(
        INH_OFFICE, 3.0, 1.0, (0.1, 100.0), (0.1, 100.0), 3.0, 8.03, 10.0, 6.0, 10.0, False
    ),
    "umi": Model(UMI, 10.0, 1.5, (1.5, 150.0), (1.5, 22.5), 4.0, 7.82, 10.0, 13.0, 50.0, True),
    "uma": Model(UMA, 25.0, 1.5, (1.5, 150.0), (1.5, 13.0), 4.0, 6.0, 37.0, 50.0, 50.0, True),
}
"""The models by the names that `RRMConfig.propagation` takes."""


class Law(NamedTuple):
    """The scalars of a configuration that the loops over links need."""

    model: int
    los: int
    log_carrier: np.float32  # log10 of the carrier in GHz
    height_difference: np.float32  # m
    ue_height: np.float32  # m
    breakpoint: np.float32  # d'BP, m
    nearest: np.float32  # m; no distance in the plane is taken below it
    budget_db: np.float32  # transmit power over noise
    los_std_db: np.float32
    nlos_std_db: np.float32


def law_of(
    name: str,
    carrier_hz: float,
    ap_height_m: float | None = None,
    ue_height_m: float | None = None,
    *,
    los: str = "drawn",
    nearest_m: float = 0.0,
    budget_db: float = 0.0,
    shadowing: bool = True,
) -> Law:
    """The law of one of `MODELS`; heights of None are the model's own."""
    model = MODELS[name]
    ap = model.ap_height_m if ap_height_m is None else ap_height_m
    ue = model.ue_height_m if ue_height_m is None else ue_height_m
    # Table 7.4.1-1, note 1: d'BP = 4 h'BS h'UT fc / c with effective heights h' = h - hE.
    breakpoint_m = (
        4 * (ap - _ENVIRONMENT_M) * (ue - _ENVIRONMENT_M) * carrier_hz / _SPEED_OF_LIGHT
        if model.has_breakpoint
        else 0.0
    )
    return Law(
        model.number,
        ("drawn", "always", "never").index(los),
        f32(math.log10(carrier_hz / 1e9)),
        f32(ap - ue),
        f32(ue),
        f32(breakpoint_m),
        f32(nearest_m),
        f32(budget_db),
        f32(model.los_std_db * shadowing),
        f32(model.nlos_std_db * shadowing),
    )


@_inline
def log10(x):
    """log10 of a positive normal float32."""
    return f32(math.log10(2)) * log2(x)


@_inline
def exp(x):
    """e^x, for |x| up to 69."""
    return exp2(f32(1 / math.log(2)) * x)


# --- The models: path loss with and without line of sight in dB, and the probability of it ---


@_inline
def inh_office(squared, law):
    """Indoor office (mixed), of the squared distance in the plane, m^2.

    Table 7.4.1-1, InH, valid for 1 m <= d3D <= 150 m: d3D is never taken below 1 m, and beyond
    150 m the formulas are extrapolated. Table 7.4.2-1, indoor mixed office.
    """
    space = squared + law.height_difference * law.height_difference
    log_d = _HALF * log10(space if space > _ONE else _ONE)
    los = f32(32.4) + f32(17.3) * log_d + f32(20) * law.log_carrier
    nlos = f32(38.3) * log_d + f32(17.3) + f32(24.9) * law.log_carrier
    d = np.sqrt(squared)
    near = d < f32(6.5)
    probability = exp((f32(1.2) - d) / f32(4.7) if near else (f32(6.5) - d) / f32(32.6))
    probability = probability if near else f32(0.32) * probability
    return los, nlos if nlos > los else los, _ONE if d <= f32(1.2) else probability


@_inline
def umi(squared, law):
    """Urban micro, street canyon, of the squared distance in the plane, m^2.

    Table 7.4.1-1, UMi, valid for 10 m <= d2D <= 5 km: path loss never takes d2D below 10 m, and
    beyond 5 km it is extrapolated. Table 7.4.2-1, UMi.
    """
    plane = squared if squared > f32(100) else f32(100)
    height, limit = law.height_difference, law.breakpoint
    log_d, of_carrier = _HALF * log10(plane + height * height), f32(20) * law.log_carrier
    before = f32(32.4) + f32(21) * log_d + of_carrier
    beyond = f32(32.4) + f32(40) * log_d + of_carrier
    beyond -= f32(9.5) * log10(limit * limit + height * height)
    los = before if plane <= limit * limit else beyond
    nlos = f32(35.3) * log_d + f32(22.4) + f32(21.3) * law.log_carrier
    nlos -= f32(0.3) * (law.ue_height - f32(1.5))
    d = np.sqrt(squared)
    probability = f32(18) / d + exp(-d / f32(36)) * (_ONE - f32(18) / d)
    return los, nlos if nlos > los else los, _ONE if d <= f32(18) else probability


@_inline
def uma(squared, law):
    """Urban macro, of the squared distance in the plane, m^2, for users up to 13 m high.

    Table 7.4.1-1, UMa, valid for 10 m <= d2D <= 5 km: path loss never takes d2D below 10 m, and
    beyond 5 km it is extrapolated. Table 7.4.2-1, UMa, with C' = 0; hE = 1 m (note 1).
    """
    plane = squared if squared > f32(100) else f32(100)
    height, limit = law.height_difference, law.breakpoint
    log_d, of_carrier = _HALF * log10(plane + height * height), f32(20) * law.log_carrier
    before = f32(28) + f32(22) * log_d + of_carrier
    beyond = f32(28) + f32(40) * log_d + of_carrier
    beyond -= f32(9) * log10(limit * limit + height * height)
    los = before if plane <= limit * limit else beyond
    nlos = f32(13.54) + f32(39.08) * log_d + of_carrier
    nlos -= f32(0.6) * (law.ue_height - f32(1.5))
    d = np.sqrt(squared)
    probability = f32(18) / d + exp(-d / f32(63)) * (_ONE - f32(18) / d)
    return los, nlos if nlos > los else los, _ONE if d <= f32(18) else probability


@_inline
def losses(row, nlos, probability, law):
    """Path loss with and without line of sight, dB, and its probability, by the law's model.

    `row` holds squared distances in the plane, m^2, and then path loss with line of sight.
    """
    nearest = law.nearest * law.nearest
    for k in range(row.size):
        row[k] = row[k] if row[k] > nearest else nearest
    # A loop for each model, since a choice within the loop would keep it from being vectorised.
    if law.model == INH_OFFICE:
        for k in range(row.size):
            row[k], nlos[k], probability[k] = inh_office(row[k], law)
    elif law.model == UMI:
        for k in range(row.size):
            row[k], nlos[k], probability[k] = umi(row[k], law)
    elif law.model == UMA:
        for k in range(row.size):
            row[k], nlos[k], probability[k] = uma(row[k], law)


# --- Random fields ---


@_inline
def draw_fields(frequency, phase, amplitude, key, basis, correlation, periodic):
    """The plane waves of all fields: a Gaussian field with autocorrelation exp(-distance / d).

    The spectrum of that autocorrelation in the plane gives a wave number k the distribution
    P(k < x) = 1 - (1 + x^2 d^2)^(-1/2). Waves take evenly spaced shares of it, each at random
    within its share, and directions by the golden ratio from a random first one. A Rayleigh
    amplitude and a uniform phase make each wave Gaussian, so the field is exactly Gaussian at
    every place.

    Args:
        frequency: (I, fields, 2, waves) 2^-32 turns per unit along each side, written.
        phase: (I, fields, waves) 2^-32 turns, written.
        amplitude: (I, fields, waves), written.
        key: (2,) the halves of the episode seed.
        basis: (2, 2) the sides of the area, m; `UNITS` units each.
        correlation: (fields,) the correlation distances d, m.
        periodic: a whole number of waves fits each side, so that the field has no seam where the
            area is wrapped round.
    """
    n_waves = phase.shape[2]
    for i in range(phase.shape[0]):
        for field in range(phase.shape[1]):
            _, _, _, word3 = random_block(field * n_waves, i, 0, _FIELD_WAVES, key)
            first = uniform64(word3)
            for m in range(n_waves):
                index = field * n_waves + m
                word0, word1, word2, _ = random_block(index, i, 0, _FIELD_WAVES, key)
                phase[i, field, m] = word0
                share = math.log(uniform64(word1)) * -2 / n_waves
                amplitude[i, field, m] = f32(math.sqrt(share))
                u = (m + uniform64(word2)) / n_waves
                k = math.sqrt(1 / (u * u) - 1) / correlation[field]  # radians per metre
                direction = 2 * math.pi * (first + m * _GOLDEN)
                kx, ky = k * math.cos(direction), k * math.sin(direction)
                for side in range(2):
                    turns = (kx * basis[side, 0] + ky * basis[side, 1]) / (2 * math.pi)
                    scale = 2.0**32 / UNITS
                    whole = math.floor(turns + 0.5) * scale if periodic else turns * scale
                    frequency[i, field, side, m] = i64(math.floor(whole)) & 0xFFFFFFFF


@_inline
def in_units(units, ue_positions, origin, inverse):
    """The places of users in `UNITS` of both sides, (2, J) int32."""
    for j in range(units.shape[1]):
        x, y = ue_positions[0, j] - origin[0], ue_positions[1, j] - origin[1]
        units[0, j] = i32(math.floor(UNITS * (inverse[0, 0] * x + inverse[0, 1] * y)))
        units[1, j] = i32(math.floor(UNITS * (inverse[1, 0] * x + inverse[1, 1] * y)))


@_inline_sum
def field_at(frequency, phase, amplitude, x, y):
    """A field's value, standard normal, at a place in units."""
    total = f32(0)
    for m in range(N_WAVES):
        turns = i64(x) * i64(frequency[0, m]) + i64(y) * i64(frequency[1, m]) + i64(phase[m])
        part = f32(i32((turns & 0xFFFFFFFF) - 0x80000000)) * f32(2.0**-32)
        total += amplitude[m] * sine_turns(f32(0.25) - abs(part))
    return total


# --- Links ---


@_inline
def is_los(value, probability):
    """Whether a place whose field of line of sight has this value is in line of sight.

    It is where the normal distribution function of the value lies below the probability. The
    function is taken as 1 / (1 + exp(-1.5976 v - 0.070566 v^3)), whose error is below 2e-4.
    """
    power = value * (f32(1.5976) + f32(0.070566) * value * value)
    return probability * exp(-power) > _ONE - probability


@_inline
def model_gain(row, line, scratch, frequency, phase, amplitude, units, law):
    """Replace squared distances (J,) of one access point, m^2, by gains over noise, linear.

    Args:
        row: (J,) squared distances in the plane, then gains.
        line: (J,) int32 scratch; afterwards 1 where there is line of sight.
        scratch: (3, J).
        frequency: (fields, 2, waves) of `draw_fields`; so are the next two.
        phase: (fields, waves).
        amplitude: (fields, waves).
        units: (2, J) places of users.
        law: the model.
    """
    n_ues = row.size
    values, nlos, probability = scratch[0], scratch[1], scratch[2]
    losses(row, nlos, probability, law)
    if law.los == DRAWN:
        frequencies, phases, amplitudes = frequency[STATE], phase[STATE], amplitude[STATE]
        for j in range(n_ues):
            values[j] = field_at(frequencies, phases, amplitudes, units[0, j], units[1, j])
        for j in range(n_ues):
            line[j] = 1 if is_los(values[j], probability[j]) else 0
    else:
        for j in range(n_ues):
            line[j] = 1 if law.los == ALWAYS else 0
    for j in range(n_ues):
        row[j] = law.budget_db - (row[j] if line[j] == 1 else nlos[j])
    if law.nlos_std_db > _ZERO:
        for j in range(n_ues):
            field = LOS_SHADOWING if line[j] == 1 else NLOS_SHADOWING
            values[j] = field_at(
                frequency[field], phase[field], amplitude[field], units[0, j], units[1, j]
            )
        for j in range(n_ues):
            row[j] += (law.los_std_db if line[j] == 1 else law.nlos_std_db) * values[j]
    for j in range(n_ues):
        row[j] = exp2(f32(math.log2(10) / 10) * row[j])


@_compile
def _losses(row, nlos, probability, law):
    losses(row, nlos, probability, law)


def path_loss(
    name: str,
    distance_m: ArrayLike,
    *,
    carrier_hz: float,
    ap_height_m: float | None = None,
    ue_height_m: float | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Path loss with line of sight and without, dB, and the probability of line of sight.

    Args:
        name: one of `MODELS`.
        distance_m: distances in the plane, above 0, any shape.
        carrier_hz: the carrier frequency.
        ap_height_m: height of the access point; None is the model's.
        ue_height_m: height of the user; None is the model's.

    Raises:
        KeyError: another model.
    """
    law = law_of(name, carrier_hz, ap_height_m, ue_height_m)
    squared = np.square(np.asarray(distance_m, np.float64)).astype(np.float32)
    los, nlos, probability = squared.flatten(), *np.empty((2, squared.size), np.float32)
    _losses(los, nlos, probability, law)
    shape = squared.shape
    return los.reshape(shape), nlos.reshape(shape), probability.reshape(shape)
