"""The random numbers: published known answers, and the distributions and correlations of the model.

Seeds are fixed, so every test is deterministic. Statistics may lie five standard errors from what
is expected, or have a p-value of 1e-3: no correct generator is likely to fail, and a wrong one
fails by far at these sample sizes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats
from strategies import reset_network

from rrm_env import Network, RRMConfig, kernels

SIGMAS = 5
P_VALUE = 1e-3

# From kat_vectors of the Random123 distribution: counter, key, answer.
KNOWN_ANSWERS = [
    (
        "00000000 00000000 00000000 00000000",
        "00000000 00000000",
        "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
    ),
    (
        "ffffffff ffffffff ffffffff ffffffff",
        "ffffffff ffffffff",
        "408f276d 41c83b0e a20bc7c6 6d5451fd",
    ),
    (
        "243f6a88 85a308d3 13198a2e 03707344",
        "a4093822 299f31d0",
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def fading(network: Network) -> NDArray[np.float64]:
    """(B, I, J) |h|^2 of the present step."""
    return network.gain.astype(float) / network.large_scale_gain


def let_pass(network: Network) -> None:
    """A step in which nobody transmits."""
    network.step(np.full((network.num_envs, network.config.n_aps), -1))


def fading_over_time(network: Network, steps: int) -> NDArray[np.float64]:
    """(steps, B * I * J) |h|^2 from the present step on."""
    recorded = [fading(network).ravel()]
    while len(recorded) < steps:
        let_pass(network)
        recorded.append(fading(network).ravel())
    return np.array(recorded)


def assert_uncorrelated(left: NDArray[Any], right: NDArray[Any]) -> None:
    """The correlation coefficient is zero within its standard error, 1 / sqrt(n) if independent."""
    assert abs(np.corrcoef(left.ravel(), right.ravel())[0, 1]) < SIGMAS / np.sqrt(left.size)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers(counter: str, key: str, answer: str) -> None:
    words = [np.uint64(int(word, 16)) for word in f"{counter} {key}".split()]
    assert " ".join(f"{word:08x}" for word in kernels.philox(*words)) == answer


@pytest.mark.parametrize("model", ["iid", "jakes"])
@pytest.mark.parametrize("t", [0, 3])
def test_fading_power_is_exponential(model: str, t: int) -> None:
    sample = fading_over_time(reset_network(RRMConfig(fading=model), 1, 256), t + 1)[t]
    assert stats.kstest(sample, "expon").pvalue > P_VALUE


def test_fading_over_one_episode_is_exponential_when_iid() -> None:
    sample = fading_over_time(reset_network(RRMConfig(), 2), 200)
    assert stats.kstest(sample.ravel(), "expon").pvalue > P_VALUE


@pytest.mark.parametrize("model", ["iid", "jakes"])
def test_links_fade_independently(model: str) -> None:
    sample = fading(reset_network(RRMConfig(fading=model, n_aps=6, n_ues=12), 3, 4000)).reshape(
        4000, -1
    )
    correlations = np.corrcoef(sample, rowvar=False) - np.eye(72)
    assert abs(correlations).max() < SIGMAS / np.sqrt(4000)


@pytest.mark.parametrize("model", ["iid", "jakes"])
def test_episodes_of_neighbouring_seeds_fade_independently(model: str) -> None:
    sample = fading(reset_network(RRMConfig(fading=model), 4, 1025))
    assert_uncorrelated(sample[1:], sample[:-1])


def test_steps_fade_independently_when_iid() -> None:
    sample = fading_over_time(reset_network(RRMConfig(), 5, 32), 40)
    for lag in (1, 2, 3, 4, 16):
        assert_uncorrelated(sample[lag:], sample[:-lag])


def test_reports_from_before_the_episode_are_fresh_fading() -> None:
    network = reset_network(RRMConfig(csi_delay=1), 6, 256)
    earlier = network.reported_gain.astype(float) / network.large_scale_gain
    assert stats.kstest(earlier.ravel(), "expon").pvalue > P_VALUE
    assert_uncorrelated(earlier, fading(network))


def test_no_fading_leaves_the_large_scale_gain() -> None:
    network = reset_network(RRMConfig(fading="none"), 7, 4)
    assert np.array_equal(network.gain, network.large_scale_gain)


def test_correlated_fading_follows_the_bessel_function() -> None:
    config = RRMConfig.preset("correlated")
    sample = fading_over_time(reset_network(config, 8, 512), config.episode_length) - 1
    for lag in range(0, config.episode_length, 7):
        products = (sample[lag:] * sample[: config.episode_length - lag]).mean(axis=0)
        expected = special.j0(2 * np.pi * config.doppler_hz * config.step_duration_s * lag) ** 2
        # The standard error over links is 0.002 to 0.006; 16 waves meet J0 to 1e-3 at these lags.
        assert abs(products.mean() - expected) < SIGMAS * products.std() / np.sqrt(products.size), (
            lag
        )


def test_correlated_fading_continues_from_the_reports_before_the_episode() -> None:
    network = reset_network(RRMConfig.preset("correlated", csi_delay=3), 9, 64)
    assert (
        np.corrcoef(
            (network.reported_gain / network.large_scale_gain).ravel(), fading(network).ravel()
        )[0, 1]
        > 0.97
    )


def test_correlated_fading_stands_still_with_the_users() -> None:
    sample = fading_over_time(
        reset_network(RRMConfig.preset("correlated", ue_speed_mps=0.0), 10, 4), 5
    )
    assert np.array_equal(sample, np.tile(sample[0], (5, 1)))


def test_shadowing_is_normal_in_db_and_independent_per_link() -> None:
    shadowed, clear = (
        reset_network(
            RRMConfig(shadowing_std_db=std, n_aps=6, min_ap_distance_m=0), 11, 1024
        ).large_scale_gain.astype(float)
        for std in (7.0, 0.0)
    )
    shadowing = 10 * np.log10(shadowed / clear)
    standard_error = 7 / np.sqrt(shadowing.size)
    assert abs(shadowing.mean()) < SIGMAS * standard_error
    assert abs(shadowing.std() - 7) < SIGMAS * standard_error / np.sqrt(2)
    assert stats.kstest(shadowing.ravel() / 7, "norm").pvalue > P_VALUE
    for i in range(5):
        assert_uncorrelated(shadowing[:, i], shadowing[:, i + 1])
    assert_uncorrelated(shadowing[:, :, 1:], shadowing[:, :, :-1])
    assert_uncorrelated(shadowing[1:], shadowing[:-1])


def test_deployment_is_uniform_where_no_distance_is_kept() -> None:
    config = RRMConfig(min_ap_distance_m=0, min_ue_distance_m=1e-3, area_side_m=40.0)
    network = reset_network(config, 12, 1024)
    for positions in (network.ap_positions, network.ue_positions):
        for axis in range(2):
            assert stats.kstest(positions[..., axis].ravel() / 40, "uniform").pvalue > P_VALUE
        assert_uncorrelated(positions[..., 0], positions[..., 1])
        assert_uncorrelated(positions[:, 1:], positions[:, :-1])
        assert_uncorrelated(positions[1:], positions[:-1])


def test_headings_are_uniform() -> None:
    network = reset_network(RRMConfig(area_side_m=1e6), 13, 512)
    start = network.ue_positions.copy()
    let_pass(network)
    step = network.ue_positions - start
    turns = np.arctan2(step[..., 1], step[..., 0]) / (2 * np.pi) % 1
    assert stats.kstest(turns.ravel(), "uniform").pvalue > P_VALUE
    assert_uncorrelated(turns[:, 1:], turns[:, :-1])
    assert_uncorrelated(turns[1:], turns[:-1])


def test_policy_draws_are_uniform_and_differ_by_step_stream_and_episode() -> None:
    network = reset_network(RRMConfig(), 14, 512)
    draws = [network.uniform(8), network.uniform(8, stream=1)]
    let_pass(network)
    draws.append(network.uniform(8))
    for sample in draws:
        assert stats.kstest(sample.ravel(), "uniform").pvalue > P_VALUE
        assert_uncorrelated(sample[1:], sample[:-1])
        assert_uncorrelated(sample[:, 1:], sample[:, :-1])
    assert_uncorrelated(draws[0], draws[1])
    assert_uncorrelated(draws[0], draws[2])
    assert_uncorrelated(draws[0], fading(network)[:, 0, :8])
