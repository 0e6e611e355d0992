"""Reference implementations of every equation of the network and every baseline in plain Python.

They were written from the paper and the design, not from the kernels, with lists, floats and
`math`. Only the layout of the generator's counters is shared, so that values can be compared.
`gain[i][j]` is received power over noise from AP i at UE j, linear; positions are (x, y) in metres.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Point = tuple[float, float]
Matrix = Sequence[Sequence[float]]
Wave = tuple[float, float, float]

SILENT = -1
FADING, SHADOWING, AP_POSITION, UE_POSITION, HEADING, PLANE_WAVES, SUCCESSOR, POLICY = range(8)
N_WAVES = 16
SPEED_OF_LIGHT_MPS = 299_792_458.0

# --- The generator ---


def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]:
    """Philox4x32-10 (Salmon et al., SC'11): four 32-bit words of four counter and two key words."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * a, 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c, 2**32)
        a, b, c, d = high1 ^ b ^ left, low1, high0 ^ d ^ right, low0
        left, right = (left + 0x9E3779B9) % 2**32, (right + 0xBB67AE85) % 2**32
    return a, b, c, d


def words(
    seed: int, stream: int, index: int, group: int = 0, t: int = 0
) -> tuple[int, int, int, int]:
    """The block of one item of a stream, keyed by the episode seed; t is taken modulo 2^32."""
    return philox((index, group, t % 2**32, stream), (seed % 2**32, seed // 2**32))


def uniform(word: int) -> float:
    """The centre of the word's cell among 2^32 cells of (0, 1)."""
    return (word + 0.5) / 2**32


def coarse_uniform(word: int) -> float:
    """The centre of the word's cell among 2^23 cells of (0, 1), all exact in float32."""
    return (word // 2**9 + 0.5) / 2**23


def successor_seed(seed: int) -> int:
    """The 62-bit seed of the episode that follows when none is given."""
    first, second, _, _ = words(seed, SUCCESSOR, 0)
    return first * 2**30 + second // 4


def policy_uniforms(seed: int, t: int, stream: int, n: int) -> list[float]:
    """Uniform numbers for policies that randomise."""
    return [coarse_uniform(words(seed, POLICY, k, stream, t)[0]) for k in range(n)]


# --- Once per episode ---


def draw_position(
    seed: int, stream: int, index: int, obstacles: Sequence[Point], distance: float, side: float
) -> Point:
    """The first of the uniform positions that is farther than `distance` from every obstacle."""
    for attempt in itertools.count():
        first, second, _, _ = words(seed, stream, index, attempt)
        point = side * uniform(first), side * uniform(second)
        if all(math.dist(point, obstacle) > distance for obstacle in obstacles):
            return point
    raise AssertionError


def deploy(
    seed: int, n_aps: int, n_ues: int, side: float, d0: float, d1: float
) -> tuple[list[Point], list[Point]]:
    """Eqs. 1 and 2: APs more than d0 from each other, UEs more than d1 from every AP."""
    aps: list[Point] = []
    for i in range(n_aps):
        aps.append(draw_position(seed, AP_POSITION, i, aps, d0, side))
    return aps, [draw_position(seed, UE_POSITION, j, aps, d1, side) for j in range(n_ues)]


def heading(seed: int, j: int) -> float:
    """The direction in which UE j sets out, in radians."""
    return 2 * math.pi * uniform(words(seed, HEADING, j)[0])


def shadowing_db(seed: int, i: int, j: int, std_db: float) -> float:
    """Log-normal shadowing of link (i, j) by Box-Muller; APs 4k ... 4k + 3 share a random block."""
    block = words(seed, SHADOWING, j, i // 4)
    u, v = (uniform(word) for word in block[i % 4 // 2 * 2 :][:2])
    turn = math.cos(2 * math.pi * v) if i % 2 == 0 else math.sin(2 * math.pi * v)
    return std_db * math.sqrt(-2 * math.log(u)) * turn


def path_loss_db(
    distance: float,
    d1: float,
    intercept_db: float = 15.3,
    slope_db: float = 37.6,
    wall_db: float = 10.0,
) -> float:
    """Eq. 4: 15.3 + 37.6 log10(d) + 10 dB, d never below d1."""
    return intercept_db + slope_db * math.log10(max(distance, d1)) + wall_db


def noise_dbm(psd_dbm_hz: float, bandwidth_hz: float, figure_db: float) -> float:
    """Noise power over the bandwidth."""
    return psd_dbm_hz + 10 * math.log10(bandwidth_hz) + figure_db


def large_scale_gain(
    power_dbm: float, noise_power_dbm: float, loss_db: float, shadowing: float
) -> float:
    """Received power over noise without fading, linear; positive shadowing in dB raises it."""
    return float(10 ** ((power_dbm - loss_db + shadowing - noise_power_dbm) / 10))


def associate(gain: Matrix) -> list[int]:
    """Eq. 5: each UE to the AP it receives best at t = 0, ties to the lower AP."""
    columns = [[row[j] for row in gain] for j in range(len(gain[0]))]
    return [column.index(max(column)) for column in columns]


# --- Motion and fading ---


def reflect(x: float, v: float, side: float) -> Point:
    """Coordinate and velocity after one step between walls at 0 and `side`."""
    if x + v < 0:
        return -(x + v), -v
    if x + v > side:
        return 2 * side - (x + v), -v
    return x + v, v


def iid_fading(seed: int, i: int, j: int, t: int) -> float:
    """Power of Rayleigh fading, Exp(1), by inversion; APs 4k ... 4k + 3 share a block."""
    return -math.log(coarse_uniform(words(seed, FADING, j, i // 4, t)[i % 4]))


def plane_waves(seed: int, link: int, doppler_turns: float) -> list[Wave]:
    """(amplitude, phase at t = 0, phase advance per step) of a link's plane waves, phases in turns.

    Directions are evenly spaced from a random first one; weights are complex Gaussian, of variance
    1 / N_WAVES.
    """
    offset = uniform(words(seed, PLANE_WAVES, link, 0, 1)[0])
    waves = []
    for m in range(N_WAVES):
        phase, magnitude, _, _ = words(seed, PLANE_WAVES, link, m)
        amplitude = math.sqrt(-math.log(coarse_uniform(magnitude)) / N_WAVES)
        direction = 2 * math.pi * (m + offset) / N_WAVES
        waves.append((amplitude, phase / 2**32, -doppler_turns * math.cos(direction)))
    return waves


def jakes_fading(waves: Sequence[Wave], t: int) -> float:
    """Power of the sum of plane waves at step t."""
    angles = [2 * math.pi * (phase + advance * t) for _, phase, advance in waves]
    real = sum(wave[0] * math.cos(angle) for wave, angle in zip(waves, angles, strict=True))
    imaginary = sum(wave[0] * math.sin(angle) for wave, angle in zip(waves, angles, strict=True))
    return real**2 + imaginary**2


def doppler_hz(speed_mps: float, carrier_hz: float) -> float:
    """The maximum Doppler shift."""
    return speed_mps * carrier_hz / SPEED_OF_LIGHT_MPS


# --- Every step ---


def sinr(gain: Matrix, ap: int, ue: int, transmitting: Sequence[int]) -> float:
    """Eq. 7: signal over noise and the interference of the other APs that transmit."""
    return gain[ap][ue] / (1 + sum(gain[k][ue] for k in transmitting if k != ap))


def rate(ratio: float) -> float:
    """Eq. 6: log2(1 + SINR), bit/s/Hz."""
    return math.log1p(ratio) / math.log(2)


def rates(gain: Matrix, served: Sequence[int]) -> list[float]:
    """Eqs. 6 and 7 for every UE; 0 for those not served."""
    transmitting = [i for i, ue in enumerate(served) if ue != SILENT]
    result = [0.0] * len(gain[0])
    for i in transmitting:
        result[served[i]] = rate(sinr(gain, i, served[i], transmitting))
    return result


def reference_sinr(gain: Matrix, association: Sequence[int]) -> list[float]:
    """Eq. 7 for every UE from its own AP while all APs transmit."""
    return [sinr(gain, ap, ue, range(len(gain))) for ue, ap in enumerate(association)]


def weight(average: float) -> float:
    """Eq. 13: one over the long-term rate."""
    return 1 / average


def newest_weight(step: int, average: str, rate_ema: float, prior: float) -> float:
    """Eq. 13's eta in the first, second, ... step of an episode."""
    return rate_ema if average == "ema" else 1 / (step + prior)


def mean_since_start(first: float, all_rates: Sequence[float], prior: float) -> float:
    """The mean of a user's rates, with a first value that counts for `prior` rates more."""
    return (prior * first + sum(all_rates)) / (prior + len(all_rates))


def updated_average(average: float, new_rate: float, eta: float, floor: float) -> float:
    """Eq. 13: the long-term rate after a step, never below the floor."""
    return max((1 - eta) * average + eta * new_rate, floor)


def pf_ratio(new_rate: float, average: float, exponent: float = 1) -> float:
    """Eq. 14: weight times rate, for the exponent 1; otherwise a power of the weight."""
    return float(weight(average) ** exponent) * new_rate


def candidates(ratios: Sequence[float], association: Sequence[int], ap: int, n: int) -> list[int]:
    """The AP's n UEs of highest PF ratio, best first, ties to the lower index, -1 where missing."""
    own = [ue for ue, serving in enumerate(association) if serving == ap]
    best = sorted(own, key=lambda ue: (-ratios[ue], ue))[:n]
    return best + [-1] * (n - len(best))


def reward(all_rates: Sequence[float], averages: Sequence[float], exponent: float) -> float:
    """Eq. 16: the sum of w^lambda C, w from before the step."""
    return sum(
        float(weight(average) ** exponent) * new_rate
        for new_rate, average in zip(all_rates, averages, strict=True)
    )


def utility(average: float, exponent: float) -> float:
    """Alpha-fair utility of a long-term rate, alpha = lambda."""
    return (
        math.log(average)
        if exponent == 1
        else math.exp((1 - exponent) * math.log(average)) / (1 - exponent)
    )


def utility_growth(
    before: Sequence[float], after: Sequence[float], exponent: float, last_eta: float
) -> float:
    """The reward `utility`: how much the users' utility grew, over the last step's eta."""
    return (
        sum(
            utility(new, exponent) - utility(old, exponent)
            for old, new in zip(before, after, strict=True)
        )
        / last_eta
    )


def turn_holder(association: Sequence[int], n_aps: int, t: int, turns: str) -> int:
    """The AP whose turn it is: APs in a circle, or the APs of all users in a circle."""
    circle = list(range(n_aps)) if turns == "equal" else list(association)
    return circle[t % len(circle)]


def quantised(value: float, low: float, high: float, bits: int) -> float:
    """The middle of the value's cell among 2^bits equal cells from low to high.

    Values outside are in the outermost cells.
    """
    width: float = (high - low) / 2**bits
    cell: int = min(max(math.floor((value - low) / width), 0), 2**bits - 1)
    return low + (cell + 0.5) * width


def clip(x: float, low: float, high: float) -> float:
    """The nearest number to x in [low, high]."""
    return min(max(x, low), high)


def observation(
    slots: Sequence[int], ratios: Sequence[float], averages: Sequence[float], floor: float
) -> list[float]:
    """(log10 SINR, log10 w) of each candidate within the bounds; empty slots hold the lower ones.

    SINR lies in 1e-6 ... 1e12, weights between one over the rate at that highest SINR and one over
    the floor.
    """
    lowest, highest = -math.log10(rate(1e12)), -math.log10(floor)
    seen = []
    for ue in slots:
        if ue == -1:
            seen += [-6.0, lowest]
        else:
            snr = math.log10(ratios[ue]) if ratios[ue] > 0 else -math.inf
            seen += [clip(snr, -6, 12), clip(math.log10(weight(averages[ue])), lowest, highest)]
    return seen


def measurements(ue: int, gains: Sequence[Sequence[float]]) -> list[float]:
    """log10 of a candidate's gains from all APs within the bounds; gains[i][j] is linear.

    An empty slot holds the lower bound.
    """
    return [
        -6.0 if ue == -1 or row[ue] == 0 else clip(math.log10(row[ue]), -6, 12) for row in gains
    ]


# --- Key performance indicators of an episode ---


def sum_rate(ue_rates: Sequence[float]) -> float:
    """Eq. 9."""
    return sum(ue_rates)


def worst_rate(ue_rates: Sequence[float]) -> float:
    """The lowest of the users' rates."""
    lowest = math.inf
    for rate in ue_rates:
        lowest = rate if rate < lowest else lowest
    return lowest


def tail_rate(ue_rates: Sequence[float]) -> float:
    """Eq. 10: the largest rate that at least 95 % of the users reach."""
    return max(c for c in ue_rates if 100 * sum(r >= c for r in ue_rates) >= 95 * len(ue_rates))


def score(ue_rates: Sequence[float], mu1: float, mu2: float) -> float:
    """Eq. 11."""
    return mu1 * sum_rate(ue_rates) + mu2 * tail_rate(ue_rates)


def minimum_score(ue_rates: Sequence[float], mu1: float, mu2: float) -> float:
    """Eq. 11 with the worst user's rate as the tail."""
    return mu1 * sum_rate(ue_rates) + mu2 * worst_rate(ue_rates)


def jain(ue_rates: Sequence[float]) -> float:
    """Jain's fairness index, 1 where no user got anything."""
    squares = sum(r**2 for r in ue_rates)
    return sum(ue_rates) ** 2 / (len(ue_rates) * squares) if squares > 0 else 1.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of the values lies, by linear interpolation between ranks."""
    ordered, place_among = sorted(values), share * (len(values) - 1)
    below = min(math.floor(place_among), len(values) - 2) if len(values) > 1 else 0
    above = min(below + 1, len(values) - 1)
    return ordered[below] + (place_among - below) * (ordered[above] - ordered[below])


# --- Baselines; `slots[i]` are the candidates of AP i ---


def greedy(slots: Sequence[Sequence[int]], ratios: Sequence[float]) -> list[int]:
    """The candidate of highest SINR at each AP, ties to the better PF ratio."""
    return [
        max((ue for ue in own if ue != -1), key=lambda ue: ratios[ue], default=SILENT)
        for own in slots
    ]


def proportional_fair(slots: Sequence[Sequence[int]]) -> list[int]:
    """The first candidate at each AP."""
    return [own[0] for own in slots]


def tdm(association: Sequence[int], n_aps: int, t: int) -> list[int]:
    """The UE whose turn it is at each AP, in order of index."""
    queues = [[ue for ue, serving in enumerate(association) if serving == i] for i in range(n_aps)]
    return [queue[t % len(queue)] if queue else SILENT for queue in queues]


def network_tdm(association: Sequence[int], n_aps: int, t: int) -> list[int]:
    """The one UE of the network whose turn it is, in order of index."""
    turn = t % len(association)
    return [turn if association[turn] == i else SILENT for i in range(n_aps)]


def longest_waiting(slots: Sequence[int], last_served: Sequence[int]) -> int:
    """The candidate served longest ago, ties to the lower index."""
    return min(
        (ue for ue in slots if ue != -1), key=lambda ue: (last_served[ue], ue), default=SILENT
    )


def itlinq(
    slots: Sequence[Sequence[int]],
    ratios: Sequence[float],
    gain: Matrix,
    tolerance_db: float,
    exponent: float,
) -> list[int]:
    """APs join by descending best PF ratio where interference stays within M SNR^exponent.

    It counts both ways: caused and suffered.
    """
    active: dict[int, int] = {}
    for i in sorted(
        (i for i in range(len(slots)) if slots[i][0] != -1), key=lambda i: (-ratios[slots[i][0]], i)
    ):
        for ue in (ue for ue in slots[i] if ue != -1):
            suffered = [gain[k][ue] for k in active]
            caused = [gain[i][other] for other in active.values()]
            if (
                max(suffered + caused, default=0.0)
                <= 10 ** (tolerance_db / 10) * gain[i][ue] ** exponent
            ):
                active[i] = ue
                break
    return [active.get(i, SILENT) for i in range(len(slots))]


def weighted_sum(
    served: Sequence[int], gain: Matrix, averages: Sequence[float], exponent: float
) -> float:
    """Eq. 15's objective, sum of w^lambda C."""
    return reward(rates(gain, served), averages, exponent)


def max_weight(
    slots: Sequence[Sequence[int]], gain: Matrix, averages: Sequence[float], exponent: float
) -> float:
    """Eq. 15: the objective's largest value over every joint action of candidates and silence."""
    choices = [[ue for ue in own if ue != -1] + [SILENT] for own in slots]
    return max(
        weighted_sum(served, gain, averages, exponent) for served in itertools.product(*choices)
    )


def greedy_max_weight(
    slots: Sequence[Sequence[int]],
    gain: Matrix,
    averages: Sequence[float],
    exponent: float,
    starts: int,
    improvement: float = 1e-9,
) -> list[int]:
    """Eq. 15 by greedy insertion and local search from each of the best links alone.

    The best local optimum counts, ties to the first found.
    """

    def value(served: Sequence[int]) -> float:
        return weighted_sum(served, gain, averages, exponent)

    def changed(served: Sequence[int], ap: int, ue: int) -> list[int]:
        return [ue if i == ap else other for i, other in enumerate(served)]

    silence = [SILENT] * len(slots)
    links = [changed(silence, ap, ue) for ap, own in enumerate(slots) for ue in own if ue != SILENT]
    best = silence
    for served in sorted(links, key=value, reverse=True)[:starts]:
        while True:
            joined = [
                changed(served, ap, ue)
                for ap, own in enumerate(slots)
                if served[ap] == SILENT
                for ue in own
                if ue != SILENT
            ]
            better = max(joined, key=value, default=silence)
            if value(better) <= value(served) * (1 + improvement):
                break
            served = better
        before = None
        while served != before:
            before = served
            for ap, own in enumerate(slots):
                better = max(
                    (
                        changed(served, ap, ue)
                        for ue in [ue for ue in own if ue != SILENT] + [SILENT]
                    ),
                    key=value,
                )
                if value(better) > value(served) * (1 + improvement):
                    served = better
        if value(served) > value(best) * (1 + improvement):
            best = served
    return best
