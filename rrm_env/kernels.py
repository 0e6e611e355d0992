"""The network's numba functions: plain arrays and scalars in, one equation each, no validation.

`Network` has checked everything before `rrm_env.episodes` calls them. All kernels live in this file
because numba's cache on the disk notices edits only in the file of the function that it caches.
Constants that belong to a configuration come in as arguments (`Parameters`). Integers are narrowed
and floats typed explicitly: numba widens int32 arithmetic to int64 and float32 times a literal to
float64, either of which halves the width of the vector instructions.

Arrays of one episode have J users and I access points; links are flattened to l = i * J + j, so
that one loop covers them all.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rrm_env.compiling import compiled, inlined

f32, i32, u64 = np.float32, np.int32, np.uint64

SILENT = -1
"""The entry of `served` for an access point that does not transmit."""
IID, JAKES, NO_FADING, OF_TRACE = 0, 1, 2, 3
GENERATED, GIVEN = 0, 1
RSRP = 0
N_SINUSOIDS = 16
"""Plane waves per link in Jakes fading.

A link's own autocorrelation is then within 4e-3 of J0 while 2 pi f_D tau < 10.
"""
MAX_DRAWS = 10_000
"""Positions tried for one access point or user before the deployment is refused."""
EMA, EPISODE = 0, 1
WEIGHTED_RATE, UTILITY = 0, 1
USERS, ACTIONS, TRANSMITTED, BEFORE, FIRST = 0, 1, 2, 3, 4
"""What a decision is for `step_episodes`: UEs, actions, or carried out already.

None is made `BEFORE` the episode and at t = -1, whose channel the `FIRST` decision follows.
"""
LARGE_SCALE, OF_NEIGHBOURS = 1, 2
TO_ALL, TO_NEIGHBOURS = 0, 1
NO_CLOCK, ELAPSED = 0, 1
NO_TURNS, EQUAL_TURNS, TURNS_BY_LOAD = 0, 1, 2
MESSAGE_RANGES = (f32(-1), f32(4)), (f32(-0.5), f32(1)), (f32(0), f32(7))
"""Ranges of log10 SINR, weight and gain in messages; at most 1 % of each lies outside."""
LOG10_SINR_MIN, LOG10_SINR_MAX = f32(-6), f32(12)
"""Observed SINRs and gains are clipped to -60 dB ... 120 dB, far beyond what link budgets yield."""

# Streams of the generator, one for each purpose, so that no draw depends on how many numbers
# another purpose has drawn.
_FADING, _SHADOWING, _AP_POSITION, _UE_POSITION, _HEADING, _PLANE_WAVES, _SUCCESSOR, _POLICY = (
    u64(k) for k in range(8)
)
# Those of `propagation` and `deployment`, which stand here so that none is taken twice.
_FIELD_WAVES, _DEPLOYMENT_DRAWN, _HOT_SPOT, _HOT_SPOT_USER = (u64(k) for k in range(8, 12))

_LN2, _LOG10_2 = f32(math.log(2)), f32(math.log10(2))
_ZERO, _HALF, _ONE, _TWO = f32(0), f32(0.5), f32(1), f32(2)

# Arrays are borrowed from `Network`, so numba's reference counting (two atomic operations per row
# taken) is turned off; nothing may be allocated in a kernel. Of fastmath only "contract" (fused
# multiply-add) is on, since the full set drops NaN checks.
_options: dict[str, Any] = {"_nrt": False, "error_model": "numpy", "fastmath": {"contract"}}
_compile: Any = compiled(nogil=True, **_options)
_inline: Any = inlined(**_options)


# --- Random numbers and elementary functions ---


@_inline
def philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10 (Salmon et al., SC'11): four 32-bit words, in uint64, from counter and key."""
    for _ in range(10):
        product0 = u64(0xD2511F53) * c0
        product1 = u64(0xCD9E8D57) * c2
        c0 = (product1 >> u64(32)) ^ c1 ^ k0
        c2 = (product0 >> u64(32)) ^ c3 ^ k1
        c1 = product1 & u64(0xFFFFFFFF)
        c3 = product0 & u64(0xFFFFFFFF)
        k0 = (k0 + u64(0x9E3779B9)) & u64(0xFFFFFFFF)
        k1 = (k1 + u64(0xBB67AE85)) & u64(0xFFFFFFFF)
    return c0, c1, c2, c3


@_inline
def random_block(index, group, t, stream, key):
    """Four random words for an item of a stream at a step; steps before the episode have t < 0."""
    return philox(u64(index), u64(group), u64(t & 0xFFFFFFFF), stream, key[0], key[1])


@_inline
def uniform(word):
    """Uniform on (0, 1), never 0 or 1: the centres of 2^23 cells, all exact in float32."""
    return (f32(i32(word >> u64(9))) + _HALF) * f32(2.0**-23)


@_inline
def uniform64(word):
    """Uniform on (0, 1) in float64: the centres of 2^32 cells."""
    return (float(word) + 0.5) * 2.0**-32


@_inline
def _log2_reduced(exponent, f):
    """The sum of exponent and log2(1 + f) for 1 + f in [0.707, 1.414).

    It is the series of 2 artanh(s) / ln 2 with s = f / (2 + f), |s| < 0.172.
    """
    s = f / (_TWO + f)
    z = s * s
    p = f32(2 / math.log(2) / 9) * z + f32(2 / math.log(2) / 7)
    p = p * z + f32(2 / math.log(2) / 5)
    p = p * z + f32(2 / math.log(2) / 3)
    return exponent + (p * z + f32(2 / math.log(2))) * s


@_inline
def _split(x):
    """Exponent and f of x = 2^exponent (1 + f), 1 + f in [0.707, 1.414), x a normal float32 > 0."""
    bits = f32(x).view(np.int32)
    exponent = i32(i32(bits - i32(0x3F3504F3)) >> i32(23))  # 0x3F3504F3 holds the bits of sqrt(1/2)
    mantissa = i32(bits - i32(exponent << i32(23)))
    return f32(exponent), mantissa.view(np.float32) - _ONE


@_inline
def log2(x):
    """log2 of a positive normal float32, to 3e-7 relative; finite (about -127) at 0."""
    exponent, f = _split(x)
    return _log2_reduced(exponent, f)


@_inline
def log2_1p(x):
    """log2(1 + x) for x >= 0, to 3e-7 relative; a small x is never rounded by adding it to 1."""
    exponent, f = _split(_ONE + x)
    small = x < f32(0.414)
    return _log2_reduced(_ZERO if small else exponent, x if small else f)


@_inline
def exp2(x):
    """2^x to 2e-7 relative; x is clamped to +-100, so that products of gains stay in float32."""
    x = x if x > f32(-100) else f32(-100)
    x = x if x < f32(100) else f32(100)
    exponent = i32(i32(x + f32(128.5)) - i32(128))
    y = (x - f32(exponent)) * _LN2
    p = f32(1 / 5040) * y + f32(1 / 720)
    p = p * y + f32(1 / 120)
    p = p * y + f32(1 / 24)
    p = p * y + f32(1 / 6)
    p = p * y + _HALF
    p = p * y + _ONE
    p = p * y + _ONE
    return p * i32(i32(exponent + i32(127)) << i32(23)).view(np.float32)


@_inline
def sine_turns(x):
    """sin(2 pi x) for |x| <= 1/4, by its series; absolute error below 2e-7."""
    y = x * f32(2 * math.pi)
    z = y * y
    p = f32(-1 / 39916800) * z + f32(1 / 362880)
    p = p * z + f32(-1 / 5040)
    p = p * z + f32(1 / 120)
    p = p * z + f32(-1 / 6)
    return (p * z + _ONE) * y


# --- Once per episode ---


@_inline
def draw_position(obstacles, n_obstacles, distance, index, stream, key, side):
    """Eqs. 1 and 2: a uniform position in the square, farther than `distance` from each obstacle.

    Returns whether one was found in `MAX_DRAWS` draws, and its coordinates.
    """
    for attempt in range(MAX_DRAWS):
        word0, word1, _, _ = random_block(index, attempt, 0, stream, key)
        x, y = side * uniform64(word0), side * uniform64(word1)
        apart = True
        for k in range(n_obstacles):
            dx, dy = obstacles[k, 0] - x, obstacles[k, 1] - y
            apart = apart and dx * dx + dy * dy > distance * distance
        if apart:
            return True, x, y
    return False, 0.0, 0.0


@_inline
def deploy(ap_positions, ue_positions, key, p):
    """Draw APs more than d0 apart, one after the other, then UEs more than d1 from every AP.

    Returns the AP and the UE for which no position was found, -1 for none.
    """
    for i in range(p.n_aps):
        found, x, y = draw_position(
            ap_positions, i, p.min_ap_distance, i, _AP_POSITION, key, p.side
        )
        if not found:
            return i, -1
        ap_positions[i, 0], ap_positions[i, 1] = x, y
    for j in range(p.n_ues):
        found, x, y = draw_position(
            ap_positions, p.n_aps, p.min_ue_distance, j, _UE_POSITION, key, p.side
        )
        if not found:
            return -1, j
        ue_positions[0, j], ue_positions[1, j] = x, y
    return -1, -1


@_inline
def draw_velocities(ue_velocity, key, step_length):
    """A uniform heading for each UE, held until a reflection, as metres per step."""
    for j in range(ue_velocity.shape[1]):
        word, _, _, _ = random_block(j, 0, 0, _HEADING, key)
        angle = 2 * math.pi * uniform64(word)
        ue_velocity[0, j] = step_length * math.cos(angle)
        ue_velocity[1, j] = step_length * math.sin(angle)


@_inline
def draw_static_gain(static_gain, key, p):
    """Eq. 4: SNR at 1 m, the link budget plus log-normal shadowing per link, by Box-Muller."""
    for group in range((p.n_aps + 3) // 4):
        for j in range(p.n_ues):
            words = random_block(j, group, 0, _SHADOWING, key)
            for half in range(2):
                radius = math.sqrt(-2 * math.log(uniform64(words[2 * half])))
                angle = 2 * math.pi * uniform64(words[2 * half + 1])
                for part in range(2):
                    i = 4 * group + 2 * half + part
                    if i < p.n_aps:
                        normal = radius * (math.sin(angle) if part else math.cos(angle))
                        gain_db = p.link_budget_db + p.shadowing_std_db * normal
                        static_gain[i * p.n_ues + j] = f32(math.exp(math.log(10) / 10 * gain_db))


@_inline
def associate(association, large_scale_gain, bias):
    """Eq. 5: associate each UE with the AP of highest RSRP without fading, ties to the lower AP.

    The received power of each AP counts times its bias (I,), 1 for none (cell range expansion).
    """
    n_ues = association.size
    for j in range(n_ues):
        best, highest = 0, bias[0] * large_scale_gain[j]
        for i in range(1, large_scale_gain.size // n_ues):
            received = bias[i] * large_scale_gain[i * n_ues + j]
            if received > highest:
                best, highest = i, received
        association[j] = best


@_inline
def find_neighbours(neighbours, shares, association, large_scale_gain):
    """Each AP's k neighbours: the other APs that disturb its UEs most without fading.

    The strength of AP m at AP i is the sum over i's UEs of g_mj / (g_ij + g_mj + 1), m's share of
    what a UE receives when those two transmit. Strongest first, ties to the lower index, -1 where
    there are fewer other APs. `shares` is scratch for I strengths and, behind them, those of all
    neighbours found so far.
    """
    n_aps, k = neighbours.shape
    n_ues = association.size
    strength, held = shares[:n_aps], shares[n_aps:]
    neighbours[:] = -1
    held[:] = -1.0
    for m in range(n_aps):
        strength[:] = 0.0
        for j in range(n_ues):
            i, other = association[j], float(large_scale_gain[m * n_ues + j])
            own = float(large_scale_gain[i * n_ues + j])
            strength[i] += other / (own + other + 1.0)
        for i in range(n_aps):
            if i != m and strength[i] > held[i * k + k - 1]:
                place = k - 1
                while place > 0 and strength[i] > held[i * k + place - 1]:
                    held[i * k + place] = held[i * k + place - 1]
                    neighbours[i, place] = neighbours[i, place - 1]
                    place -= 1
                held[i * k + place] = strength[i]
                neighbours[i, place] = m


@_inline
def draw_plane_waves(phase, frequency, amplitude, key, doppler_turns):
    """The plane waves of each link for Jakes fading.

    They come from evenly spaced directions with one random offset and have complex Gaussian
    weights. Gaussian weights make h exactly Rayleigh at every step; the random offset makes its
    autocorrelation J0 on average.
    """
    for m in range(N_SINUSOIDS):
        for link in range(phase.shape[1]):
            word0, word1, _, _ = random_block(link, m, 0, _PLANE_WAVES, key)
            # The same offset is drawn for each m, since only the loop over links is vectorised.
            offset, _, _, _ = random_block(link, 0, 1, _PLANE_WAVES, key)
            phase[m, link] = word0
            amplitude[m, link] = np.sqrt(f32(-math.log(2) / N_SINUSOIDS) * log2(uniform(word1)))
            direction = (m + uniform64(offset)) / N_SINUSOIDS  # turns
            turns = doppler_turns * sine_turns(f32(0.25) - abs(f32(direction - 0.5)))
            frequency[m, link] = np.int64(math.floor(turns * 2.0**32)) & 0xFFFFFFFF


# --- Every step ---


@_inline
def move(ue_positions, ue_velocity, side):
    """Move each UE one step along its heading and reflect it at the border.

    Steps are no longer than the side, so one reflection suffices.
    """
    for axis in range(2):
        position, velocity = ue_positions[axis], ue_velocity[axis]
        for j in range(position.size):
            v = velocity[j]
            straight = position[j] + v
            reflected = -straight if straight < 0.0 else 2 * side - straight
            outside = (straight < 0.0) | (straight > side)
            velocity[j] = -v if outside else v
            position[j] = reflected if outside else straight


@_inline
def path_gain(large_scale_gain, ap_positions, ue_positions, static_gain, p):
    """Eq. 4: static gain times d^-(slope / 10), d never below d1.

    Coordinates are subtracted in float64, since float32 would make short links inexact.
    """
    xs, ys = ue_positions[0], ue_positions[1]
    for i in range(p.n_aps):
        ap_x, ap_y = ap_positions[i, 0], ap_positions[i, 1]
        row = large_scale_gain[i * p.n_ues : (i + 1) * p.n_ues]
        for j in range(p.n_ues):
            dx, dy = f32(xs[j] - ap_x), f32(ys[j] - ap_y)
            row[j] = dx * dx + dy * dy
    distance_law(large_scale_gain, static_gain, p)


@_inline
def distance_law(large_scale_gain, static_gain, p):
    """Eq. 4 of squared distances, which the gains replace."""
    nearest = f32(p.min_ue_distance * p.min_ue_distance)
    for link in range(large_scale_gain.size):
        squared = large_scale_gain[link]
        squared = squared if squared > nearest else nearest
        large_scale_gain[link] = -p.half_slope * log2(squared)
    for link in range(large_scale_gain.size):
        large_scale_gain[link] = static_gain[link] * exp2(large_scale_gain[link])


@_inline
def fade_iid(fading, key, t, n_aps, width):
    """Rayleigh fading, fresh each step: |h|^2 ~ Exp(1) per link, an AP's links in a row of `width`.

    One random block serves four APs; `fading` has room for all four.
    """
    # Read once, since the compiler cannot know that the rows written do not overlap the key.
    halves = (key[0], key[1])
    for group in range((n_aps + 3) // 4):
        first = 4 * group * width
        row0 = fading[first : first + width]
        row1 = fading[first + width : first + 2 * width]
        row2 = fading[first + 2 * width : first + 3 * width]
        row3 = fading[first + 3 * width : first + 4 * width]
        for j in range(width):
            word0, word1, word2, word3 = random_block(j, group, t, _FADING, halves)
            row0[j], row1[j] = uniform(word0), uniform(word1)
            row2[j], row3[j] = uniform(word2), uniform(word3)
    for link in range(n_aps * width):
        fading[link] = -_LN2 * log2(fading[link])


@_inline
def fade_jakes(fading, quadrature, phase, frequency, amplitude, t):
    """|sum of plane waves|^2 per link at step t.

    Phases are 32-bit fractions of a turn, which are exact at any t and wrap round by themselves.
    """
    n_links = phase.shape[1]
    fading[:n_links], quadrature[:n_links] = _ZERO, _ZERO
    for m in range(phase.shape[0]):
        phases, frequencies, amplitudes = phase[m], frequency[m], amplitude[m]
        for link in range(n_links):
            turns = (np.int64(phases[link]) + np.int64(frequencies[link]) * t) & 0xFFFFFFFF
            x = f32(i32(turns - 0x80000000)) * f32(2.0**-32)
            size = abs(x)
            folded = size if size < f32(0.25) else _HALF - size
            fading[link] += amplitudes[link] * sine_turns(f32(0.25) - size)
            quadrature[link] += amplitudes[link] * sine_turns(folded if x > _ZERO else -folded)
    for link in range(n_links):
        fading[link] = fading[link] * fading[link] + quadrature[link] * quadrature[link]


@_inline
def serve_candidates(served, candidates, actions):
    """The UE that each AP serves under its action: a candidate, or SILENT.

    The last action and missing candidates mean SILENT.
    """
    n = candidates.shape[1]
    for i in range(served.size):
        # It is read in any case, since a choice between two values needs no branch.
        serves = actions[i] < n
        candidate = candidates[i, actions[i] if serves else n - 1]
        served[i] = candidate if serves else SILENT


@_inline
def achieved_rates(rates, gain, served):
    """Eqs. 6 and 7: log2(1 + SINR) of each served UE, 0 of all others.

    The other APs that transmit interfere.
    """
    rates[:] = _ZERO
    n_ues = rates.size
    for i in range(served.size):
        j = served[i]
        if j >= 0:
            interference = _ZERO
            for k in range(served.size):
                if k != i and served[k] >= 0:
                    interference += gain[k * n_ues + j]
            rates[j] = log2_1p(gain[i * n_ues + j] / (_ONE + interference))


@_inline
def weighted_rate(rates, average_rate, served, fairness_exponent):
    """Eq. 16: the shared reward, the sum of w^lambda C with w = 1 / C~ of the step before."""
    reward = _ZERO
    for i in range(served.size):
        j = served[i]
        if j >= 0:
            reward += exp2(-fairness_exponent * log2(average_rate[j])) * rates[j]
    return reward


@_inline
def newest_weight(t, p):
    """Eq. 13's eta in step t: a constant, or that of the mean since the episode began.

    A mean of t + 1 rates with a prior that counts for `average_prior_steps` more gives the newest
    rate the weight 1 / (t + 1 + prior).
    """
    return p.rate_ema if p.average == EMA else f32(1 / (t + 1 + p.average_prior_steps))


@_inline
def next_average(average, rate, eta, floor):
    """Eq. 13's long-term rate: C~ <- (1 - eta) C~ + eta C, never below the floor."""
    updated = (_ONE - eta) * average + eta * rate
    return updated if updated > floor else floor


@_inline
def utility_growth(rates, average_rate, eta, last_eta, p):
    """The growth of sum_j U(C~_j) in a step, over the eta of the episode's last step.

    U(x) = x^(1 - lambda) / (1 - lambda), or ln x for lambda = 1. Summed over an episode the growth
    telescopes to the utility gained. To first order in eta it is Eq. 16 less the drift
    sum_j w_j^lambda C~_j, times eta / last_eta. It is computed as U(b) - U(a) = a^(1 - lambda)
    expm1((1 - lambda) ln(b / a)) / (1 - lambda), which keeps its digits where b is close to a.
    """
    growth, power = 0.0, 1.0 - p.fairness_exponent
    for j in range(rates.size):
        before = average_rate[j]
        ratio = math.log(next_average(before, rates[j], eta, p.min_average_rate) / before)
        growth += (
            ratio
            if power == 0
            else math.exp(power * math.log(before)) * math.expm1(power * ratio) / power
        )
    return f32(growth / last_eta)


@_inline
def update_average(average_rate, rates, eta, floor):
    """Replace the long-term rate of every UE by that after the step (Eq. 13)."""
    for j in range(average_rate.size):
        average_rate[j] = next_average(average_rate[j], rates[j], eta, floor)


@_inline
def reference_sinr(sinr, interference, gain, association):
    """SINR of each UE from its AP while every AP transmits (Eq. 7); `interference` is scratch.

    Interference is summed directly, since total minus own power would cancel in float32.
    """
    n_ues = sinr.size
    for j in range(n_ues):
        sinr[j] = _ZERO
        interference[j] = _ONE
    for i in range(gain.size // n_ues):
        row, this_ap = gain[i * n_ues : (i + 1) * n_ues], i32(i)
        for j in range(n_ues):
            received, own = row[j], association[j] == this_ap
            sinr[j] += received if own else _ZERO
            interference[j] += _ZERO if own else received
    for j in range(n_ues):
        sinr[j] = sinr[j] / interference[j]


@_inline
def shannon_rates(rate, sinr):
    """Eq. 6: log2(1 + SINR) of every UE."""
    for j in range(rate.size):
        rate[j] = log2_1p(sinr[j])


@_inline
def proportional_fair(pf_ratio, rate, average_rate, exponent):
    """The PF ratio w^exponent C with w = 1 / C~; Eq. 14's has the exponent 1."""
    if exponent == _ONE:  # needs no powers
        for j in range(rate.size):
            pf_ratio[j] = rate[j] / average_rate[j]
    else:
        for j in range(rate.size):
            pf_ratio[j] = exp2(-exponent * log2(average_rate[j])) * rate[j]


@_inline
def select_candidates(candidates, action_mask, best, pf_ratio, association):
    """Each AP's N associated UEs of highest PF ratio, best first, ties to the lower index.

    Missing candidates are -1, with mask 0. A non-negative float orders like its bits, so ratio and
    index share one integer key. Bubbling every key through its AP's sorted row takes no branch that
    depends on data; an early exit would be mispredicted often enough to cost more.
    """
    n_aps, n = candidates.shape
    best[:] = -1
    for j in range(pf_ratio.size):
        key = (np.int64(f32(pf_ratio[j]).view(np.int32)) << 32) | (0x7FFFFFFF - j)
        first = association[j] * n
        for slot in range(first, first + n):
            held = best[slot]
            # `max` and `min` would be compiled as functions of their own.
            larger = key > held
            best[slot], key = key if larger else held, held if larger else key
    for i in range(n_aps):
        for slot in range(n):
            key = best[i * n + slot]
            candidates[i, slot] = 0x7FFFFFFF - (key & 0x7FFFFFFF) if key >= 0 else -1
            action_mask[i, slot] = 1 if key >= 0 else 0
        action_mask[i, n] = 1


@_inline
def observe(observation, log_sinr, log_weight, candidates, sinr, average_rate, p):
    """(log10 SINR, log10 w) of each candidate, clipped; empty slots hold the lower bounds."""
    for j in range(sinr.size):
        x = _LOG10_2 * log2(sinr[j])
        x = x if x > LOG10_SINR_MIN else LOG10_SINR_MIN
        log_sinr[j] = x if x < LOG10_SINR_MAX else LOG10_SINR_MAX
        w = -_LOG10_2 * log2(average_rate[j])
        w = w if w > p.lowest_log_weight else p.lowest_log_weight
        log_weight[j] = w if w < p.highest_log_weight else p.highest_log_weight
    for i in range(candidates.shape[0]):
        for slot in range(candidates.shape[1]):
            j = candidates[i, slot]
            first = slot * p.candidate_features
            observation[i, first] = log_sinr[j] if j >= 0 else LOG10_SINR_MIN
            observation[i, first + 1] = log_weight[j] if j >= 0 else p.lowest_log_weight


@_inline
def log_gain(gain):
    """log10 of a gain, clipped to the space; the lower bound for none."""
    x = _LOG10_2 * log2(gain)
    x = x if x > LOG10_SINR_MIN else LOG10_SINR_MIN
    return x if x < LOG10_SINR_MAX else LOG10_SINR_MAX


@_inline
def observe_gains(observation, candidates, large_scale_gain, p):
    """log10 of each candidate's gains from all APs, behind its weight, clipped to the space.

    Empty slots hold the lower bound.
    """
    for i in range(candidates.shape[0]):
        for slot in range(candidates.shape[1]):
            j, first = candidates[i, slot], slot * p.candidate_features + 2
            for k in range(p.n_aps):
                gain = large_scale_gain[k * p.n_ues + j] if j >= 0 else _ZERO
                observation[i, first + k] = log_gain(gain)


@_inline
def observe_neighbours(observation, candidates, neighbours, large_scale_gain, p):
    """log10 of each candidate's gains from its AP, its AP's neighbours, and the rest together.

    They stand behind its weight, clipped to the space. Empty slots and missing neighbours hold the
    lower bound. The rest are the APs that are no neighbours; their gains are summed directly, since
    a total less the others would cancel. Behind all candidates follow the neighbours' indices, once
    per AP.
    """
    n_aps, k, n = p.n_aps, p.n_neighbours, p.n_candidates
    for i in range(n_aps):
        for slot in range(n):
            j, first = candidates[i, slot], slot * p.candidate_features + 2
            gains = observation[i, first : first + k + 2]
            if j < 0:
                gains[:] = LOG10_SINR_MIN
            else:
                gains[:] = _ZERO
                gains[0] = large_scale_gain[i * p.n_ues + j]
                for place in range(k):
                    m = neighbours[i, place]
                    if m >= 0:
                        gains[1 + place] = large_scale_gain[m * p.n_ues + j]
                for m in range(n_aps):
                    apart = m != i
                    for place in range(k):
                        apart = apart and neighbours[i, place] != m
                    gains[k + 1] += large_scale_gain[m * p.n_ues + j] if apart else _ZERO
                for place in range(k + 2):
                    gains[place] = log_gain(gains[place])
        for place in range(k):
            observation[i, n * p.candidate_features + place] = f32(neighbours[i, place])


@_inline
def turn_holder(association, n_aps, t, turns):
    """The AP whose turn step t is.

    For equal turns the APs take turns in a circle. By load the APs of all users do, which gives
    each AP turns in proportion to its users.
    """
    return t % n_aps if turns == EQUAL_TURNS else association[t % association.size]


@_inline
def quantised(value, bounds, levels):
    """A number as a message transmits it: the middle of its cell, of equal cells between bounds."""
    low, high = bounds
    cell = f32(math.floor((value - low) / (high - low) * levels))
    cell = cell if cell > _ZERO else _ZERO
    cell = cell if cell < levels - _ONE else levels - _ONE
    return low + (cell + _HALF) / levels * (high - low)


@_inline
def observe_messages(observation, own, p):
    """Append the messages of all APs to each observation, behind its first `own` numbers."""
    for sender in range(p.n_aps):
        for k in range(p.message_features):
            bounds = MESSAGE_RANGES[min(k % p.candidate_features, 2)]
            message = quantised(observation[sender, k], bounds, p.message_levels)
            for i in range(p.n_aps):
                observation[i, own + sender * p.message_features + k] = message


@_inline
def observe_neighbours_messages(observation, own, neighbours, p):
    """Append the messages of each AP's neighbours, behind its first `own` numbers.

    In the place of a missing neighbour's message are the lower bounds, which no message holds.
    """
    for i in range(p.n_aps):
        for place in range(p.n_neighbours):
            sender, first = neighbours[i, place], own + place * p.message_features
            for k in range(p.message_features):
                bounds = MESSAGE_RANGES[min(k % p.candidate_features, 2)]
                message = bounds[0]
                if sender >= 0:
                    message = quantised(observation[sender, k], bounds, p.message_levels)
                observation[i, first + k] = message


@_inline
def observe_rest(observation, neighbours, association, t, p):
    """Append turn, clock and messages to what each AP observes of candidates and neighbours."""
    own = p.n_candidates * p.candidate_features
    if p.measurements == OF_NEIGHBOURS:
        own += p.n_neighbours
    if p.turns != NO_TURNS:
        holder = turn_holder(association, p.n_aps, t, p.turns)
        for i in range(p.n_aps):
            observation[i, own] = _ONE if i == holder else _ZERO
        own += 1
    if p.clock != NO_CLOCK:
        for i in range(p.n_aps):
            observation[i, own] = f32(t / p.episode_length)
        own += 1
    if p.message_range == TO_ALL:
        observe_messages(observation, own, p)
    else:
        observe_neighbours_messages(observation, own, neighbours, p)


# --- Episodes ---


@_inline
def _channel(gain, key, large_scale_gain, waves, fading, t, p):
    """Write the true channel of step t; `waves` (I * J) is the fading of plane waves."""
    width = p.n_ues
    if p.fading == IID:
        width = p.draw_width
        fade_iid(fading, key, t, p.n_aps, width)
    elif p.fading == JAKES:
        for link in range(gain.size):
            fading[link] = waves[link]
    else:
        fading[:] = _ONE
    for i in range(p.n_aps):
        row = gain[i * p.n_ues : (i + 1) * p.n_ues]
        large_scale_row = large_scale_gain[i * p.n_ues : (i + 1) * p.n_ues]
        fading_row = fading[i * width : i * width + p.n_ues]
        for j in range(p.n_ues):
            row[j] = large_scale_row[j] * fading_row[j]


@_compile
def reset_episodes(
    key,
    ap_positions,
    ue_positions,
    ue_velocity,
    static_gain,
    large_scale_gain,
    association,
    association_bias,
    p,
    start,
    stop,
):
    """Draw what the episodes start ... stop - 1 have from the beginning, by their keys.

    Returns slot, AP and UE of the first position that could not be found, or three times -1.
    """
    for b in range(start, stop):
        failed_ap, failed_ue = deploy(ap_positions[b], ue_positions[b], key[b], p)
        if failed_ap >= 0 or failed_ue >= 0:
            return b, failed_ap, failed_ue
        draw_velocities(ue_velocity[b], key[b], p.step_length)
        draw_static_gain(static_gain[b], key[b], p)
        path_gain(large_scale_gain[b], ap_positions[b], ue_positions[b], static_gain[b], p)
        if p.association == RSRP:
            associate(association[b], large_scale_gain[b], association_bias)
    return -1, -1, -1


@_compile
def step_episodes(s, p, scratch, chosen, decision, rates, reward, t, start, stop):
    """Run step t of the episodes start ... stop - 1.

    First come rates, reward and averages of step t, then channel and reports of step t + 1. A given
    channel of step t + 1 is there already, apart from the history; so is the fading of plane waves.
    `chosen` (B, I) holds the UEs to serve or actions, as `decision` says; rates (B, J) and reward
    (B,) are written to. After `transmit_at_levels` the decision is TRANSMITTED. With BEFORE and
    FIRST nobody transmits or moves; FIRST begins the averages, and finds the history of a trace.
    """
    fading, quadrature, best, _ = scratch
    eta, last_eta = newest_weight(t if t > 0 else 0, p), newest_weight(p.episode_length - 1, p)
    for b in range(start, stop):
        # Every row is taken once, since each costs time to compile.
        served, association, average_rate = s.served[b], s.association[b], s.average_rate[b]
        large_scale_gain, static_gain = s.large_scale_gain[b], s.static_gain[b]
        reported_sinr, reported_rate = s.reported_sinr[b], s.reported_rate[b]
        candidates, pf_ratio = s.candidates[b], s.pf_ratio[b]
        if decision < BEFORE:
            achieved = rates[b]
            if decision != TRANSMITTED:
                if decision == ACTIONS:
                    serve_candidates(served, candidates, chosen[b])
                else:
                    for i in range(p.n_aps):
                        served[i] = chosen[b, i]
                achieved_rates(achieved, s.gain_history[t % (p.csi_delay + 1), b], served)
            if p.reward == WEIGHTED_RATE:
                reward[b] = weighted_rate(achieved, average_rate, served, p.fairness_exponent)
            else:
                reward[b] = utility_growth(achieved, average_rate, eta, last_eta, p)
            update_average(average_rate, achieved, eta, p.min_average_rate)
            for i in range(p.n_aps):
                j = served[i]
                if j >= 0:
                    s.ue_rate_sum[b, j] += achieved[j]
                else:
                    s.silent_steps[b] += 1
            if p.channel == GENERATED:
                ue_positions = s.ue_positions[b]
                move(ue_positions, s.ue_velocity[b], p.side)
                path_gain(large_scale_gain, s.ap_positions[b], ue_positions, static_gain, p)
        gain = s.gain_history[(t + 1) % (p.csi_delay + 1), b]
        if p.fading != OF_TRACE:
            _channel(gain, s.key[b], large_scale_gain, s.wave_fading[b], fading, t + 1, p)
        elif decision != FIRST:
            for link in range(gain.size):
                gain[link] = static_gain[link]
        if decision == BEFORE:
            continue
        reported = s.gain_history[(t + 1 - p.csi_delay) % (p.csi_delay + 1), b]
        reference_sinr(reported_sinr, quadrature, reported, association)
        shannon_rates(reported_rate, reported_sinr)
        if decision == FIRST:
            for j in range(p.n_ues):
                rate = reported_rate[j]
                average_rate[j] = rate if rate > p.min_average_rate else p.min_average_rate
                s.ue_rate_sum[b, j] = 0.0
            s.silent_steps[b] = 0
            served[:] = SILENT
        proportional_fair(pf_ratio, reported_rate, average_rate, p.pf_exponent)
        select_candidates(candidates, s.action_mask[b], best, pf_ratio, association)
        log_sinr, log_weight = quadrature[: p.n_ues], quadrature[p.n_ues :]
        observe(s.observation[b], log_sinr, log_weight, candidates, reported_sinr, average_rate, p)


# --- What only some configurations need: kernels of their own, which others need not compile ---


@_compile
def associate_episodes(association, large_scale_gain, association_bias, start, stop):
    """Associate the users of the episodes start ... stop - 1, whose gains are given."""
    for b in range(start, stop):
        associate(association[b], large_scale_gain[b], association_bias)


@_compile
def draw_waves(phase, frequency, amplitude, key, doppler_turns, start, stop):
    """Draw the plane waves of the episodes start ... stop - 1, (B, waves, I * J) each."""
    for b in range(start, stop):
        draw_plane_waves(phase[b], frequency[b], amplitude[b], key[b], doppler_turns)


@_compile
def fade_episodes(fading, quadrature, phase, frequency, amplitude, t, start, stop):
    """Write the fading of plane waves (B, I * J) at step t."""
    for b in range(start, stop):
        fade_jakes(fading[b], quadrature, phase[b], frequency[b], amplitude[b], t)


@_compile
def observe_options(
    observation, candidates, neighbours, association, large_scale_gain, t, p, start, stop
):
    """Append to observations (B, I, F) at step t what options say beside SINRs and weights."""
    for b in range(start, stop):
        if p.measurements == LARGE_SCALE:
            observe_gains(observation[b], candidates[b], large_scale_gain[b], p)
        elif p.measurements == OF_NEIGHBOURS:
            observe_neighbours(observation[b], candidates[b], neighbours[b], large_scale_gain[b], p)
        observe_rest(observation[b], neighbours[b], association[b], t, p)


# --- Power levels: kernels beside those above, which stay as fast as without ---


@_inline
def serve_candidates_at_levels(served, levels, candidates, actions, n_levels):
    """The UE that each AP serves under its action, and at which power level.

    Action a stands for candidate a // L at level a % L. The last action and missing candidates mean
    SILENT.
    """
    n = candidates.shape[1]
    for i in range(served.size):
        slot = actions[i] // n_levels
        served[i] = candidates[i, slot] if slot < n else SILENT
        levels[i] = actions[i] % n_levels


@_inline
def achieved_rates_at_levels(rates, gain, served, levels, power):
    """`achieved_rates` where AP i transmits at `power[levels[i]]` times full power."""
    rates[:] = _ZERO
    n_ues = rates.size
    for i in range(served.size):
        j = served[i]
        if j >= 0:
            interference = _ZERO
            for k in range(served.size):
                if k != i and served[k] >= 0:
                    interference += power[levels[k]] * gain[k * n_ues + j]
            rates[j] = log2_1p(power[levels[i]] * gain[i * n_ues + j] / (_ONE + interference))


@_compile
def transmit_at_levels(
    served, candidates, gain, power, level, power_sum, chosen, decision, rates, start, stop
):
    """Transmit in a step of the episodes start ... stop - 1 at the powers of levels.

    It writes who is served (B, I), at which level (B, I), and the rates (B, J), and adds the powers
    to `power_sum` (B,), all before `step_episodes`. `gain` (B, I * J) is the true channel, `power`
    (L,) that of the levels over full power. Where `chosen` (B, I) holds UEs, `level` holds their
    levels already. It takes single arrays, since unpacking all of `State` takes longer than this.
    """
    for b in range(start, stop):
        if decision == ACTIONS:
            serve_candidates_at_levels(served[b], level[b], candidates[b], chosen[b], power.size)
        for i in range(served.shape[1]):
            if decision == USERS:
                served[b, i] = chosen[b, i]
            if served[b, i] >= 0:
                power_sum[b] += power[level[b, i]]
            else:
                level[b, i] = SILENT
        achieved_rates_at_levels(rates[b], gain[b], served[b], level[b], power)


@_compile
def mask_levels(action_mask, candidates, n_levels, start, stop):
    """Mark as legal every level of every candidate that exists, and silence."""
    _, n_aps, n = candidates.shape
    for b in range(start, stop):
        for i in range(n_aps):
            for slot in range(n):
                legal = 1 if candidates[b, i, slot] >= 0 else 0
                for place in range(slot * n_levels, (slot + 1) * n_levels):
                    action_mask[b, i, place] = legal
            action_mask[b, i, n * n_levels] = 1


@_compile
def first_out_of_range(actions, highest):
    """The flat index of the first action outside 0 ... `highest`, or -1."""
    for b in range(actions.shape[0]):
        for i in range(actions.shape[1]):
            if actions[b, i] < 0 or actions[b, i] > highest:
                return b * actions.shape[1] + i
    return -1


@_compile
def first_foreign(served, association):
    """The flat index of the first entry of `served` that is neither SILENT nor a UE of its AP.

    It is -1 where there is none.
    """
    n_envs, n_aps = served.shape
    for b in range(n_envs):
        for i in range(n_aps):
            j = served[b, i]
            if j != SILENT and (j < 0 or j >= association.shape[1] or association[b, j] != i):
                return b * n_aps + i
    return -1


@_compile
def turn_holders(holders, association, n_aps, t, turns):
    """Write `turn_holder` of B episodes into holders (B,)."""
    for b in range(holders.size):
        holders[b] = turn_holder(association[b], n_aps, t, turns)


@_compile
def successor_seeds(seeds, key):
    """Write the seed of the next episode of each slot, for resets without a seed.

    It is 62 bits drawn from the present episode's key, so chains of different first seeds never
    meet, and a slot's chain does not depend on the batch around it.
    """
    for b in range(seeds.size):
        word0, word1, _, _ = random_block(0, 0, 0, _SUCCESSOR, key[b])
        seeds[b] = (word0 << u64(30)) | (word1 >> u64(2))


@_compile
def rank_neighbours(neighbours, shares, association, large_scale_gain):
    """Write the neighbours (B, I, K) at gains (B, I * J); `shares` is of `find_neighbours`."""
    for b in range(neighbours.shape[0]):
        find_neighbours(neighbours[b], shares, association[b], large_scale_gain[b])


@_compile
def policy_uniforms(out, key, t, stream):
    """Write uniform numbers (B, n) on (0, 1) for policies that randomise, by each episode's key."""
    for b in range(out.shape[0]):
        for k in range(out.shape[1]):
            word, _, _, _ = random_block(k, stream, t, _POLICY, key[b])
            out[b, k] = uniform(word)
