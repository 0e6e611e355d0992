"""Ergodic rates equal other integrations and simulated means, and behave as rates do."""

from __future__ import annotations

import itertools
import math
from typing import Any

import naive_optimum
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs, reset_network, seeds

from baselines import ergodic_rate
from baselines.ergodic import (
    COARSE,
    PRECISE,
    nodes_and_weights,
    rates_of_set,
    rates_of_sets,
)
from rrm_env import Network, RRMConfig

gains = st.floats(-6, 10).map(lambda power: 10.0**power)
sizes: Any = {"n_aps": st.sampled_from([1, 2, 3, 5]), "n_ues": st.sampled_from([1, 3, 7])}
sizes |= {"fading": "iid", "episode_length": 1}


def by_scipy(signal: float, interference: list[float]) -> float:
    """Integration of P(SINR > z) / (1 + z) in log z by scipy, between the kinks."""
    integrate: Any = pytest.importorskip("scipy.integrate")

    def integrand(u: float) -> float:
        z = math.exp(u)
        return naive_optimum.probability_above(z, signal, interference) * z / (1 + z)

    kinks = [signal, 1.0, *(signal / other for other in interference)]
    ends = sorted({-60.0, math.log(700 * signal), *(math.log(kink) for kink in kinks)})
    ends = [end for end in ends if end <= math.log(700 * signal)]
    pieces = [
        integrate.quad(integrand, *piece, epsabs=1e-12, epsrel=1e-11, limit=200)[0]
        for piece in itertools.pairwise(ends)
    ]
    return float(sum(pieces)) / math.log(2)


@settings(max_examples=100)
@given(gains, st.lists(gains, max_size=5))
def test_rate_equals_integration_by_scipy(signal: float, interference: list[float]) -> None:
    expected = by_scipy(signal, interference)
    rate = float(ergodic_rate(signal, interference))
    assert abs(rate - expected) < 1e-6 * min(1, expected)
    assert abs(ergodic_rate(signal, interference, coarse=True) - expected) < 1e-4 * min(1, expected)


@settings(max_examples=10)
@given(gains, st.lists(gains, max_size=4))
def test_rate_equals_its_reference(signal: float, interference: list[float]) -> None:
    expected = naive_optimum.ergodic_rate(signal, interference)
    assert ergodic_rate(signal, interference) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("signal", "interference"),
    [(0.01, []), (1.0, [1.0]), (300.0, [10.0, 0.2]), (2.0, [500.0, 3.0]), (1e7, [1e5, 1e3, 1e6])],
)
def test_rate_is_the_mean_over_simulated_fading(signal: float, interference: list[float]) -> None:
    fading = np.random.default_rng(0).exponential(size=(1_000_000, 1 + len(interference)))
    rates = np.log2(1 + signal * fading[:, 0] / (1 + fading[:, 1:] @ np.array(interference)))
    error = rates.std(ddof=1) / math.sqrt(rates.size)
    assert abs(rates.mean() - ergodic_rate(signal, interference)) < 4 * error


@given(
    gains,
    st.lists(gains, min_size=1, max_size=4),
    st.floats(0.0, 3.0).map(lambda power: 10.0**power),
    st.booleans(),
)
def test_rate_rises_with_the_signal_and_falls_with_interference(
    signal: float, interference: list[float], ratio: float, coarse: bool
) -> None:
    rounding = 1e-9 if not coarse else 1e-5
    rate = ergodic_rate(signal, interference, coarse=coarse)
    assert ergodic_rate(signal * ratio, interference, coarse=coarse) >= rate * (1 - rounding)
    for k in range(len(interference)):
        louder = [other * ratio if i == k else other for i, other in enumerate(interference)]
        assert ergodic_rate(signal, louder, coarse=coarse) <= rate * (1 + rounding)
    assert ergodic_rate(signal, interference[1:], coarse=coarse) >= rate * (1 - rounding)


def test_known_values() -> None:
    # Without interference the rate is exp(1 / g) E1(1 / g) / ln 2; E1(1) = 0.21938393439552029.
    assert ergodic_rate(1, []) == pytest.approx(
        math.e * 0.21938393439552029 / math.log(2), abs=1e-8
    )
    # Far above the noise, one interferer of the same power leaves the mean of log2(1 + X / Y).
    assert ergodic_rate(1e9, [1e9]) == pytest.approx(1 / math.log(2), abs=1e-6)
    assert ergodic_rate(0, [3.0]) == 0
    assert ergodic_rate(5, [0, 0]) == pytest.approx(ergodic_rate(5, []), rel=1e-12)


def test_arguments_are_broadcast() -> None:
    signals, interference = [1.0, 10.0], [[0.1, 2.0], [0.0, 0.0], [5.0, 7.0]]
    rates = ergodic_rate(np.array(signals)[:, None], interference)
    assert rates.shape == (2, 3)
    for row, column in np.ndindex(2, 3):
        expected = float(ergodic_rate(signals[row], interference[column]))
        assert rates[row, column] == pytest.approx(expected, rel=1e-12)
    assert ergodic_rate(np.empty((0, 3)), np.empty((3, 2))).shape == (0, 3)


@given(configs(**sizes), seeds, st.booleans())
def test_rates_of_all_sets_are_rates_of_each(config: RRMConfig, seed: int, coarse: bool) -> None:
    network = reset_network(config, seed, 2)
    gain = network.large_scale_gain.astype(np.float64)
    rates = rates_of_sets(gain, network.association, coarse=coarse)
    assert rates.shape == (2, config.n_ues, 2 ** (config.n_aps - 1))
    for members in range(2**config.n_aps):
        active = np.array([members >> k & 1 == 1 for k in range(config.n_aps)])
        of_set = rates_of_set(
            gain, network.association, np.broadcast_to(active, (2, config.n_aps)), coarse=coarse
        )
        for b, j in np.ndindex(2, config.n_ues):
            ap = network.association[b, j]
            if not active[ap]:
                assert of_set[b, j] == 0
                continue
            others = active.copy()
            others[ap] = False
            expected = ergodic_rate(gain[b, ap, j], gain[b, others, j], coarse=coarse)
            index = members & (2**ap - 1) | members >> ap + 1 << ap
            # Nodes depend on the gains of all APs, so results differ by the rule's error.
            tolerance = 1e-4 if coarse else 1e-6
            assert rates[b, j, index] == pytest.approx(float(expected), rel=tolerance)
            assert of_set[b, j] == pytest.approx(rates[b, j, index], rel=1e-12)


def test_nodes_and_weights_serve_loops_of_ones_own() -> None:
    for coarse, tolerance in ((False, 1e-6), (True, 1e-4)):
        nodes, weights = nodes_and_weights(1e4 + 30 + 5, coarse=coarse)
        rate = np.sum(weights * 1e4 / (1 + nodes * 1e4) / (1 + nodes * 30) / (1 + nodes * 5))
        assert rate == pytest.approx(float(ergodic_rate(1e4, [30, 5])), rel=tolerance)
    assert len(nodes) < len(nodes_and_weights(1e20)[0]) < len(PRECISE.nodes)
    assert len(nodes_and_weights(1.0)[0]) > 3
    assert len(COARSE.nodes) < len(PRECISE.nodes)


@pytest.mark.parametrize(
    ("signal", "interference", "message"),
    [
        (-1.0, [], "signal must be from 0 to 1e\\+36, got -1.0"),
        (math.nan, [], "signal must be from 0 to 1e\\+36, got nan"),
        (1.0, [math.inf], "interference must be from 0 to 1e\\+36, got inf"),
        (1.0, 2.0, r"interference must have shape \(..., K\), got a number"),
        ([1.0, 2.0], [[1.0]] * 3, r"interference must have shape \(..., K\) that fits signal"),
    ],
)
def test_values_that_are_no_gains_are_refused(signal: Any, interference: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ergodic_rate(signal, interference)


def test_values_of_another_type_or_shape_are_refused() -> None:
    network = Network(RRMConfig(), 2)
    network.reset(0)
    gain, association = network.large_scale_gain, network.association
    active: NDArray[np.bool_] = np.ones((2, 4), bool)
    with pytest.raises(TypeError, match="signal must be real numbers, got 'loud'"):
        ergodic_rate("loud", [])
    with pytest.raises(ValueError, match=r"gain must have shape \(B, I, J\), got \(4, 20\)"):
        rates_of_sets(gain[0], association)
    with pytest.raises(ValueError, match=r"association must be integers of shape \(2, 20\)"):
        rates_of_sets(gain, association[:, :3])
    with pytest.raises(ValueError, match="association must hold APs from 0 to 3"):
        rates_of_sets(gain, association + 1)
    with pytest.raises(ValueError, match=r"transmits must be truth values of shape \(2, 4\)"):
        rates_of_set(gain, association, active.astype(int))
    with pytest.raises(ValueError, match="gain has 17 APs, allowed: up to 16"):
        rates_of_sets(np.ones((1, 17, 3)), np.zeros((1, 3), int))
