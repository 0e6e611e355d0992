"""Each kernel against its reference implementation in plain Python.

They agree to 1e-5 relative unless a test states and justifies another bound.
"""

from __future__ import annotations

import math
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs, seeds

from rrm_env import Network, RRMConfig, kernels
from rrm_env.state import Parameters

RTOL = 1e-5
f32, u64 = np.float32, np.uint64
words = st.integers(0, 2**32 - 1)
generators = st.integers(0, 2**32 - 1).map(np.random.default_rng)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 40))


def parameters(config: RRMConfig) -> Parameters:
    """What the kernels get of a configuration."""
    return Network(config)._parameters


def key(seed: int) -> NDArray[np.uint64]:
    """The two halves of a seed."""
    return np.array([seed % 2**32, seed // 2**32], u64)


def log_uniform(
    generator: np.random.Generator, low: float, high: float, *shape: int
) -> NDArray[np.float32]:
    """Positive float32 numbers over decades."""
    return (10 ** generator.uniform(math.log10(low), math.log10(high), shape)).astype(f32)


def links(flat: NDArray[Any], n_aps: int) -> list[list[float]]:
    """A flattened link array as `naive` reads it."""
    return [[float(x) for x in row] for row in flat.reshape(n_aps, -1)]


def service(
    generator: np.random.Generator, association: NDArray[np.int32], n_aps: int
) -> NDArray[np.int64]:
    """Silence or one of its UEs for each AP."""
    return np.array(
        [generator.choice([-1, *np.flatnonzero(association == i)]) for i in range(n_aps)], np.int64
    )


def close(actual: Any, expected: Any, atol: float = 0.0, rtol: float = RTOL) -> None:
    """Equal shapes and values within the bounds."""
    np.testing.assert_allclose(
        np.asarray(actual, float), np.asarray(expected, float), rtol=rtol, atol=atol, strict=True
    )


# --- Generator and elementary functions ---


@given(st.tuples(words, words, words, words), st.tuples(words, words))
def test_philox_equals_its_reference_bit_for_bit(
    counter: tuple[int, ...], halves: tuple[int, ...]
) -> None:
    assert kernels.philox(*map(u64, counter), *map(u64, halves)) == naive.philox(counter, halves)


@given(seeds, words, words, st.integers(-1000, 2**31), st.integers(0, 7))
def test_draws_are_counted_by_item_step_and_stream(
    seed: int, index: int, group: int, t: int, stream: int
) -> None:
    assert kernels.random_block(index, group, t, u64(stream), key(seed)) == naive.words(
        seed, stream, index, group, t
    )


@given(words | st.sampled_from([0, 511, 512, 2**32 - 512, 2**32 - 1]))
def test_uniform_numbers_are_exact_and_never_0_or_1(word: int) -> None:
    coarse, fine = kernels.uniform(u64(word)), kernels.uniform64(u64(word))
    assert 0 < coarse == naive.coarse_uniform(word) < 1
    assert 0 < fine == naive.uniform(word) < 1


# The bounds below are 1.5 times the largest errors on dense grids; float32 rounds at 6e-8.


def test_log2_holds_over_all_normal_numbers() -> None:
    near_one = np.geomspace(1e-6, 0.5, 500)
    x = np.concatenate([np.geomspace(1.2e-38, 3.4e38, 5001), 1 + near_one, 1 - near_one]).astype(
        f32
    )
    close([kernels.log2(v) for v in x], [math.log2(v) for v in x], rtol=3.5e-7)
    assert kernels.log2(f32(1)) == 0
    assert kernels.log2(f32(0)) == -127


def test_log2_1p_holds_from_tiny_to_huge() -> None:
    x = np.concatenate(
        [np.geomspace(1.2e-38, 3.4e38, 5001), np.linspace(0.01, 4, 2000), [0.0]]
    ).astype(f32)
    close([kernels.log2_1p(v) for v in x], [naive.rate(float(v)) for v in x], rtol=3.5e-7)


def test_exp2_holds_and_is_clamped_at_100() -> None:
    x = np.concatenate([np.linspace(-100, 100, 5001), np.linspace(-1, 1, 1000)]).astype(f32)
    close([kernels.exp2(v) for v in x], [2 ** float(v) for v in x], rtol=3e-7)
    assert kernels.exp2(f32(1000)) == 2.0**100
    assert kernels.exp2(f32(-1000)) == 2.0**-100


def test_sine_holds_over_the_quarter_turns() -> None:
    x = np.linspace(-0.25, 0.25, 5001).astype(f32)
    close(
        [kernels.sine_turns(v) for v in x],
        [math.sin(2 * math.pi * v) for v in x],
        rtol=0,
        atol=2.5e-7,
    )


# --- Once per episode ---


@given(configs(), seeds)
def test_deployment_is_the_first_sequence_of_draws_that_keeps_the_distances(
    config: RRMConfig, seed: int
) -> None:
    aps, ues = np.zeros((config.n_aps, 2)), np.zeros((2, config.n_ues))
    assert kernels.deploy(aps, ues, key(seed), parameters(config)) == (-1, -1)
    sizes_and_distances = (
        config.n_aps,
        config.n_ues,
        config.area_side_m,
        config.min_ap_distance_m,
        config.min_ue_distance_m,
    )
    expected_aps, expected_ues = naive.deploy(seed, *sizes_and_distances)
    close(aps, expected_aps)
    close(ues.T, expected_ues)


@pytest.mark.parametrize(("d0", "d1", "failed"), [(200.0, 1.0, (1, -1)), (10.0, 200.0, (-1, 0))])
def test_deployment_names_the_ap_or_ue_that_finds_no_place(
    d0: float, d1: float, failed: tuple[int, int]
) -> None:
    p = parameters(RRMConfig())._replace(min_ap_distance=d0, min_ue_distance=d1)
    assert kernels.deploy(np.zeros((4, 2)), np.zeros((2, 20)), key(0), p) == failed


@given(seeds, st.integers(1, 40), st.floats(0, 10))
def test_headings_have_the_step_length(seed: int, n_ues: int, step: float) -> None:
    velocity = np.zeros((2, n_ues))
    kernels.draw_velocities(velocity, key(seed), step)
    angles = [naive.heading(seed, j) for j in range(n_ues)]
    close(
        velocity,
        [[step * math.cos(a) for a in angles], [step * math.sin(a) for a in angles]],
        atol=1e-12,
    )


@given(configs(), seeds)
def test_shadowing_is_log_normal_around_the_link_budget(config: RRMConfig, seed: int) -> None:
    static = np.zeros(config.n_aps * config.n_ues, f32)
    kernels.draw_static_gain(static, key(seed), parameters(config))
    noise = naive.noise_dbm(config.noise_psd_dbm_hz, config.bandwidth_hz, config.noise_figure_db)
    loss, std = naive.path_loss_db(1, 1), config.shadowing_std_db
    shadowing = [
        naive.shadowing_db(seed, i, j, std)
        for i in range(config.n_aps)
        for j in range(config.n_ues)
    ]
    close(static, [naive.large_scale_gain(config.tx_power_dbm, noise, loss, x) for x in shadowing])


@given(sizes, generators)
def test_association_is_the_strongest_ap_and_ties_go_to_the_lower_one(
    size: tuple[int, int], generator: np.random.Generator
) -> None:
    gain = generator.integers(1, 4, size[0] * size[1]).astype(f32)
    association = np.zeros(size[1], np.int32)
    kernels.associate(association, gain, np.ones(size[0]))
    assert association.tolist() == naive.associate(links(gain, size[0]))
    bias = generator.integers(1, 4, size[0]).astype(float)
    kernels.associate(association, gain, bias)
    biased = gain.reshape(size) * bias[:, None]
    assert association.tolist() == naive.associate(biased.tolist())


@settings(max_examples=20)
@given(seeds, st.integers(1, 12), st.floats(0, 50))
def test_plane_waves_equal_their_references(seed: int, n_links: int, doppler_turns: float) -> None:
    phase, frequency = np.zeros((2, kernels.N_SINUSOIDS, n_links), np.uint32)
    amplitude = np.zeros((kernels.N_SINUSOIDS, n_links), f32)
    kernels.draw_plane_waves(phase, frequency, amplitude, key(seed), doppler_turns)
    waves = np.array(
        [naive.plane_waves(seed, link, doppler_turns) for link in range(n_links)]
    ).transpose(2, 1, 0)
    close(amplitude, waves[0])
    assert np.array_equal(phase / 2**32, waves[1])
    turns = frequency / 2**32 - waves[2]
    # A frequency is known modulo one turn, to 2^-32 of it, and to the error of a float32 cosine.
    close(turns - np.round(turns), np.zeros_like(turns), atol=2**-31 + 5e-7 * doppler_turns)


# --- Every step ---


@given(generators, st.integers(1, 40), st.floats(1, 500), st.floats(0, 1))
def test_motion_reflects_at_the_walls(
    generator: np.random.Generator, n_ues: int, side: float, longest: float
) -> None:
    position, velocity = (
        generator.uniform(0, side, (2, n_ues)),
        generator.uniform(-longest, longest, (2, n_ues)) * side,
    )
    start, speed = position.copy(), velocity.copy()
    kernels.move(position, velocity, side)
    for axis, j in np.ndindex(2, n_ues):
        expected = naive.reflect(float(start[axis, j]), float(speed[axis, j]), side)
        close((position[axis, j], velocity[axis, j]), expected, atol=1e-12 * side)


@given(configs(), generators)
def test_large_scale_gain_follows_the_path_loss_in_db(
    config: RRMConfig, generator: np.random.Generator
) -> None:
    side, d1, slope = config.area_side_m, config.min_ue_distance_m, config.path_loss_slope_db
    aps, ues = (
        generator.uniform(0, side, (config.n_aps, 2)),
        generator.uniform(0, side, (2, config.n_ues)),
    )
    ues[:, 0] = aps[0] + d1 / 4
    static = log_uniform(generator, 1e-3, 1e12, config.n_aps * config.n_ues)
    gain = np.zeros_like(static)
    kernels.path_gain(gain, aps, ues, static, parameters(config))
    losses = [naive.path_loss_db(math.dist(ap, ue), d1, 0, slope, 0) for ap in aps for ue in ues.T]
    close(gain, [float(s) * 10 ** (-loss / 10) for s, loss in zip(static, losses, strict=True)])


@given(seeds, sizes, st.integers(-3, 2**31 - 1))
def test_iid_fading_equals_its_reference(seed: int, size: tuple[int, int], t: int) -> None:
    n_aps, n_ues = size
    fading = np.zeros(-(-n_aps // 4) * 4 * n_ues, f32)
    kernels.fade_iid(fading, key(seed), t, n_aps, n_ues)
    close(
        fading[: n_aps * n_ues],
        [naive.iid_fading(seed, i, j, t) for i in range(n_aps) for j in range(n_ues)],
    )


@given(generators, st.integers(1, 20), st.integers(-3, 10**6))
def test_jakes_fading_sums_the_waves(generator: np.random.Generator, n_links: int, t: int) -> None:
    phase, frequency = generator.integers(
        2**32, size=(2, kernels.N_SINUSOIDS, n_links), dtype=np.uint32
    )
    amplitude = generator.rayleigh(0.2, (kernels.N_SINUSOIDS, n_links)).astype(f32)
    fading = np.full(n_links, 7, f32)
    kernels.fade_jakes(fading, np.full(n_links, 7, f32), phase, frequency, amplitude, t)
    for link in range(n_links):
        waves = [
            (float(amplitude[m, link]), phase[m, link] / 2**32, frequency[m, link] / 2**32)
            for m in range(len(phase))
        ]
        # Waves may cancel, so the error of |h|^2 is relative to its value if none did.
        close(
            fading[link],
            naive.jakes_fading(waves, t),
            rtol=0,
            atol=2e-6 * sum(a for a, _, _ in waves) ** 2,
        )


@given(sizes, generators, st.floats(0, 2))
def test_rates_and_reward_of_served_users(
    size: tuple[int, int], generator: np.random.Generator, exponent: float
) -> None:
    n_aps, n_ues = size
    gain = log_uniform(generator, 1e-4, 1e10, n_aps * n_ues)
    served = service(generator, generator.integers(n_aps, size=n_ues, dtype=np.int32), n_aps)
    averages = log_uniform(generator, 1e-4, 30, n_ues)
    rates = np.full(n_ues, 7, f32)
    kernels.achieved_rates(rates, gain, served)
    close(rates, naive.rates(links(gain, n_aps), served.tolist()))
    reward = kernels.weighted_rate(rates, averages, served, f32(exponent))
    close(reward, naive.reward(rates.tolist(), averages.tolist(), float(f32(exponent))))


@given(
    configs(rate_ema=st.floats(1e-6, 1), average_prior_steps=st.floats(0.1, 1e6)),
    st.sampled_from([0, 1, 199, 2**31 - 2]) | st.integers(0, 1000),
)
def test_weight_of_the_newest_rate(config: RRMConfig, t: int) -> None:
    constants = config.average, config.rate_ema, config.average_prior_steps
    close(kernels.newest_weight(t, parameters(config)), naive.newest_weight(t + 1, *constants))


@given(
    generators,
    st.integers(1, 40),
    st.floats(2**-10, 1, width=32),
    st.floats(1e-4, 0.1),
    st.sampled_from([0.0, 1.0, 2.5, 7.5]),
)
def test_average_rates_and_pf_ratios(
    generator: np.random.Generator, n_ues: int, eta: float, floor: float, exponent: float
) -> None:
    averages, rates = (
        log_uniform(generator, floor, 30, n_ues),
        generator.choice([0, 1], n_ues) * log_uniform(generator, 1e-4, 30, n_ues),
    )
    old = averages.tolist()
    kernels.update_average(averages, rates, f32(eta), f32(floor))
    close(
        averages,
        [naive.updated_average(a, float(c), eta, floor) for a, c in zip(old, rates, strict=True)],
    )
    ratios = np.zeros(n_ues, f32)
    kernels.proportional_fair(ratios, rates, averages, f32(exponent))
    pairs = zip(rates.tolist(), averages.tolist(), strict=True)
    # log2 is exact to 3e-7 relative, and the power multiplies its error by up to 7.5 log2(1e4);
    # beyond 2^100 the kernel cuts powers off.
    expected = [naive.pf_ratio(rate, average, exponent) for rate, average in pairs]
    close(ratios, expected, rtol=max(RTOL, 5e-6 * exponent))


@given(sizes, generators)
def test_reference_sinr_and_rate(size: tuple[int, int], generator: np.random.Generator) -> None:
    n_aps, n_ues = size
    gain, association = (
        log_uniform(generator, 1e-6, 1e12, n_aps * n_ues),
        generator.integers(n_aps, size=n_ues, dtype=np.int32),
    )
    ratio, scratch, rate = np.full((3, n_ues), 7, f32)
    kernels.reference_sinr(ratio, scratch, gain, association)
    kernels.shannon_rates(rate, ratio)
    expected = naive.reference_sinr(links(gain, n_aps), association.tolist())
    close(ratio, expected)
    close(rate, [naive.rate(x) for x in expected])


@given(sizes, generators, st.integers(1, 5), st.floats(1e-4, 0.1))
def test_candidates_masks_and_observations(
    size: tuple[int, int], generator: np.random.Generator, n: int, floor: float
) -> None:
    (n_aps, n_ues), config = (
        size,
        RRMConfig(n_aps=size[0], n_ues=size[1], n_candidates=n, min_average_rate=floor),
    )
    association = generator.integers(n_aps, size=n_ues, dtype=np.int32)
    ratios = generator.choice([0, 1e-30, 0.5, 1, 2, 1e30], n_ues).astype(f32)
    slots, mask = np.full((n_aps, n), 7, np.int32), np.full((n_aps, n + 1), 7, np.int8)
    kernels.select_candidates(slots, mask, np.zeros(n_aps * n, np.int64), ratios, association)
    assert slots.tolist() == [
        naive.candidates(ratios.tolist(), association.tolist(), i, n) for i in range(n_aps)
    ]
    assert np.array_equal(mask, np.hstack([slots >= 0, np.ones((n_aps, 1), bool)]))

    ratio, averages = (
        log_uniform(generator, 1e-9, 1e15, n_ues),
        log_uniform(generator, floor / 2, 100, n_ues),
    )
    ratio[0] = 0
    seen = np.full((n_aps, 2 * n), 7, f32)
    kernels.observe(seen, *np.zeros((2, n_ues), f32), slots, ratio, averages, parameters(config))
    expected = [
        naive.observation(row, ratio.tolist(), averages.tolist(), floor) for row in slots.tolist()
    ]
    close(
        seen, expected, atol=1e-6
    )  # a logarithm may be near 0; 1e-6 of it is a relative 2e-6 of what it measures


# --- What policies and resets ask for ---


@given(sizes, generators, st.integers(1, 5), st.integers(1, 4))
def test_actions_name_candidates_and_bad_ones_are_found(
    size: tuple[int, int], generator: np.random.Generator, n: int, n_envs: int
) -> None:
    slots = generator.integers(-1, size[1], (n_envs, size[0], n)).astype(np.int32)
    actions = generator.integers(n + 1, size=(n_envs, size[0]))
    served = np.full_like(actions, 7)
    for pair in zip(served, slots, actions, strict=True):
        kernels.serve_candidates(*pair)
    expected = [
        [int(own[a]) if a < n else -1 for own, a in zip(*pair, strict=True)]
        for pair in zip(slots, actions, strict=True)
    ]
    assert served.tolist() == expected
    assert kernels.first_out_of_range(actions, n) == -1
    wrong = generator.integers(actions.size)
    actions.flat[wrong:] = generator.choice([-1, n + 1])
    assert kernels.first_out_of_range(actions, n) == wrong


@given(sizes, generators, st.integers(1, 4))
def test_the_first_foreign_user_is_found(
    size: tuple[int, int], generator: np.random.Generator, n_envs: int
) -> None:
    n_aps, n_ues = size
    association = generator.integers(n_aps, size=(n_envs, n_ues), dtype=np.int32)
    served = np.array([service(generator, row, n_aps) for row in association])
    assert kernels.first_foreign(served, association) == -1
    b, i = generator.integers(n_envs), generator.integers(n_aps)
    served[b, i] = generator.choice([-2, n_ues, *np.flatnonzero(association[b] != i)])
    assert kernels.first_foreign(served, association) == b * n_aps + i


@given(st.lists(seeds, min_size=1, max_size=4), st.integers(1, 8), st.integers(0, 2**31 - 1), words)
def test_successor_seeds_and_policy_draws(chain: list[int], n: int, t: int, stream: int) -> None:
    keys, successors = np.array([key(seed) for seed in chain]), np.zeros(len(chain), u64)
    kernels.successor_seeds(successors, keys)
    assert successors.tolist() == [naive.successor_seed(seed) for seed in chain]
    uniforms = np.zeros((len(chain), n), f32)
    kernels.policy_uniforms(uniforms, keys, t, stream)
    assert uniforms.tolist() == [naive.policy_uniforms(seed, t, stream, n) for seed in chain]
