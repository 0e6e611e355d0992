"""Models of TR 38.901 against published values, plain Python and their own statistics."""

from __future__ import annotations

import math
from typing import Any

import naive
import naive_propagation as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import placed_configs, reset_network, seeds

from rrm_env import Network, RRMConfig
from rrm_env.config import PROPAGATION_MODELS
from rrm_env.propagation import MODELS, path_loss

models = st.sampled_from([*MODELS])
SEVERAL = 5000

PUBLISHED = {
    ("uma", True, 25.0): [(10, 72.9380), (100, 86.2362), (1000, 109.7252), (5000, 137.6794)],
    ("uma", False, 25.0): [(10, 82.5131), (100, 106.1356), (1000, 144.7641), (5000, 172.0753)],
    ("umi", True, 10.0): [(10, 69.8591), (100, 88.4122), (1000, 119.3114), (5000, 147.2696)],
    ("umi", False, 10.0): [(10, 76.7563), (100, 107.9432), (1000, 143.1886), (5000, 167.8617)],
    ("inh_office", True, 3.0): [(1, 50.8072), (10, 63.7630), (50, 75.7750), (100, 80.9802)],
    ("inh_office", False, 3.0): [(1, 50.8072), (10, 73.1894), (50, 99.7824), (100, 111.3062)],
}
"""Path loss in dB by model, line of sight and height of the access point, and distance in metres.

At 5 GHz with users 1.5 m high, from the test suite of ns-3's
``three-gpp-propagation-loss-model``.
"""


# --- Formulas ---


@pytest.mark.parametrize(("case", "values"), PUBLISHED.items(), ids=str)
def test_path_loss_is_the_published_one(
    case: tuple[str, bool, float], values: list[tuple[float, float]]
) -> None:
    model, has_los, height = case
    distances = [distance for distance, _ in values]
    los, nlos, _ = path_loss(model, distances, carrier_hz=5e9, ap_height_m=height, ue_height_m=1.5)
    expected = [loss for _, loss in values]
    np.testing.assert_allclose(los if has_los else nlos, expected, rtol=0, atol=2e-4)


@given(
    models,
    st.lists(st.floats(0.1, 6000), min_size=1, max_size=20),
    st.floats(0.5e9, 100e9),
    st.floats(2, 40),
    st.floats(1.5, 13),
)
def test_path_loss_and_probability_are_those_of_the_standard(
    model: str, distances: list[float], carrier: float, ap_height: float, ue_height: float
) -> None:
    heights = {"ap_height_m": ap_height, "ue_height_m": ue_height}
    los, nlos, probability = path_loss(model, distances, carrier_hz=carrier, **heights)
    limit = reference.breakpoint_m(ap_height, ue_height, carrier / 1e9)
    for k, d2 in enumerate(distances):
        expected = reference.losses(model, d2, ap_height, ue_height, carrier / 1e9)
        if abs(d2 - limit) > 1e-4 * limit:  # float32 may see the other side
            np.testing.assert_allclose((los[k], nlos[k]), expected, rtol=0, atol=1e-3)
        np.testing.assert_allclose(probability[k], reference.los_probability(model, d2), atol=1e-4)


@pytest.mark.parametrize("model", MODELS)
def test_heights_of_none_are_the_models_own(model: str) -> None:
    own: Any = {"ap_height_m": MODELS[model].ap_height_m, "ue_height_m": MODELS[model].ue_height_m}
    drawn = Network(RRMConfig(propagation=model))
    stated = Network(RRMConfig(propagation=model, **own))
    drawn.reset(3)
    stated.reset(3)
    assert np.array_equal(drawn.large_scale_gain, stated.large_scale_gain)


# --- Whole channels ---


def expected_gain(config: RRMConfig, seed: int, ap: int, place: naive.Point, q: naive.Point) -> Any:
    """Gain over noise of a link in dB, its line of sight, and how clear the latter is."""
    model = MODELS[config.propagation]
    heights = (
        model.ap_height_m if config.ap_height_m is None else config.ap_height_m,
        model.ue_height_m if config.ue_height_m is None else config.ue_height_m,
    )
    distance = max(math.dist(place, q), config.min_ue_distance_m)
    los, nlos = reference.losses(config.propagation, distance, *heights, config.carrier_hz / 1e9)
    probability, side = reference.los_probability(config.propagation, distance), config.area_side_m
    state = reference.field(seed, ap, reference.STATE, q, model.state_correlation_m, side)
    drawn = reference.is_los(state, probability)
    has_los = {"drawn": drawn, "always": True, "never": False}[config.los]
    margin = abs((1 + math.erf(state / math.sqrt(2))) / 2 - probability)
    which = reference.LOS_SHADOWING if has_los else reference.NLOS_SHADOWING
    distances = (model.los_correlation_m, model.nlos_correlation_m)
    shadowing = reference.field(seed, ap, which, q, distances[not has_los], side)
    std = (model.los_std_db if has_los else model.nlos_std_db) * (config.shadowing_std_db > 0)
    budget = config.tx_power_dbm - config.noise_dbm
    return budget - (los if has_los else nlos) + std * shadowing, has_los, margin


@settings(max_examples=25)
@given(
    placed_configs(
        propagation=models, wrap_around=st.just("none"), n_ues=st.sampled_from([1, 5, 9])
    ),
    seeds,
)
def test_gains_and_lines_of_sight_are_those_of_plain_python_along_walks(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed)
    for _ in range(2):
        gain_db = 10 * np.log10(network.large_scale_gain[0].astype(float))
        visible = network.line_of_sight
        assert visible is not None
        aps, ues = network.ap_positions[0].tolist(), network.ue_positions[0].tolist()
        for i, j in np.ndindex(gain_db.shape):
            expected, has_los, margin = expected_gain(config, seed, i, aps[i], ues[j])
            if margin > 5e-4 or config.los != "drawn":
                assert visible[0, i, j] == has_los
                assert gain_db[i, j] == pytest.approx(max(expected, -301), abs=0.02)
        if not network.done:
            network.step(np.full((1, config.n_aps), -1))


# --- Statistics ---


def fixed(model: str, ues: Any, aps: Any = ((50.0, 50.0),), **fields: Any) -> Network:
    """Many episodes of given places without fading, at t = 0."""
    config = RRMConfig(
        propagation=model,
        ap_positions=tuple(map(tuple, aps)),
        ue_positions=tuple(map(tuple, ues)),
        n_aps=len(aps),
        n_ues=len(ues),
        fading="none",
        **{"area_side_m": 1000.0, **fields},
    )
    return reset_network(config, 0, SEVERAL)


@pytest.mark.parametrize("los", ["always", "never"])
@pytest.mark.parametrize("model", MODELS)
def test_shadowing_has_the_models_deviation_and_correlation_distance(model: str, los: str) -> None:
    numbers = MODELS[model]
    std, correlation = {
        "always": (numbers.los_std_db, numbers.los_correlation_m),
        "never": (numbers.nlos_std_db, numbers.nlos_correlation_m),
    }[los]
    steps = np.array([0.0, 0.2, 1.0, 3.0]) * correlation
    aps = np.stack([np.full(4, 500.0), [480, 490, 500, 510]], axis=1)
    network = fixed(model, [(300 + step, 400.0) for step in steps], aps, los=los)
    shadowing = 10 * np.log10(network.large_scale_gain.astype(float))
    shadowing -= shadowing.mean(axis=0)
    flat = shadowing.reshape(-1, 4)  # access points are independent: 20,000 draws
    np.testing.assert_allclose(flat.std(axis=0), std, rtol=0.02)
    between = np.corrcoef(flat.T)[0]
    np.testing.assert_allclose(between, np.exp(-steps / correlation), atol=0.03)
    of_aps = np.corrcoef(shadowing[:, :, 0].T)
    np.testing.assert_allclose(of_aps, np.eye(4), atol=0.05)
    scaled = flat[:, 0] / std
    assert np.mean(scaled**4) == pytest.approx(3, abs=0.3)  # as a normal number


@pytest.mark.parametrize("model", MODELS)
def test_the_share_of_lines_of_sight_is_their_probability(model: str) -> None:
    distances = np.array([1.0, 5.0, 20.0, 60.0, 200.0])
    network = fixed(model, [(50 + d, 50.0) for d in distances])
    visible = network.line_of_sight
    assert visible is not None
    expected = [reference.los_probability(model, d) for d in distances]
    np.testing.assert_allclose(visible[:, 0].mean(axis=0), expected, atol=0.03)


def test_line_of_sight_is_alike_for_neighbours_and_changes_on_longer_ways() -> None:
    spread = [(150.0, 50.0), (150.5, 50.0), (250.0, 150.0)]
    visible = fixed("uma", spread).line_of_sight
    assert visible is not None
    near, far = (visible[:, 0, 0] != visible[:, 0, k] for k in (1, 2))
    assert near.mean() < 0.1
    assert far.mean() > 0.3


def test_line_of_sight_comes_and_goes_along_a_walk() -> None:
    config = RRMConfig(propagation="umi", ue_speed_mps=20.0, episode_length=40, fading="none")
    network = reset_network(config, 0, 50)
    seen = [network.line_of_sight]
    while not network.done:
        network.step(np.full((50, 4), -1))
        seen.append(network.line_of_sight)
    changes = np.diff(np.array(seen, dtype=int), axis=0) != 0
    assert 0.002 < changes.mean() < 0.2
    assert (changes.sum(axis=0) >= 2).any()


def test_no_distance_is_taken_below_the_least_one() -> None:
    near = fixed("inh_office", [(50.0, 50.0), (53.0, 50.0)], min_ue_distance_m=3.0, los="always")
    far = fixed("inh_office", [(50.0, 50.0), (53.0, 50.0)], min_ue_distance_m=0.01, los="always")
    at_3_m, _, _ = path_loss("inh_office", 3.0, carrier_hz=2.4e9)
    mean_db = 10 * np.log10(near.large_scale_gain[:, 0].astype(float)).mean(axis=0)
    np.testing.assert_allclose(mean_db, 114 - at_3_m, atol=0.2)
    assert 10 * np.log10(far.large_scale_gain[:, 0, 0].astype(float)).mean() > mean_db[0] + 1


def test_users_at_one_place_have_one_large_scale_gain() -> None:
    network = fixed("umi", [(70.0, 90.0)] * 3)
    assert (network.large_scale_gain == network.large_scale_gain[:, :, :1]).all()
    assert len(np.unique(network.large_scale_gain[:, 0, 0])) > SEVERAL / 2


@pytest.mark.parametrize("model", PROPAGATION_MODELS)
def test_line_of_sight_is_none_where_it_is_not_modelled(model: str) -> None:
    network = reset_network(RRMConfig(propagation=model), 0)
    visible = network.line_of_sight
    assert (visible is None) == (model == "log_distance")
    if visible is not None:
        assert visible.shape == (1, 4, 20)


def test_shadowing_of_zero_turns_it_off() -> None:
    places = [(80.0, 50.0), (50.0, 80.0)]
    network = fixed("uma", places, los="never", shadowing_std_db=0.0)
    assert len(np.unique(network.large_scale_gain)) == 1
    assert len(np.unique(fixed("uma", places, los="never").large_scale_gain)) > SEVERAL


@pytest.mark.parametrize("hexagonal", [False, True])
def test_shadowing_has_no_seam_where_the_area_wraps_round(hexagonal: bool) -> None:
    config = RRMConfig(
        propagation="uma",
        los="never",
        wrap_around="torus",
        ap_deployment="hexagonal" if hexagonal else "uniform",
        n_aps=7,
        n_ues=200,
        area_side_m=200.0,
        ue_speed_mps=2.0,
        episode_length=400,
        fading="none",
    )
    network = reset_network(config, 5)
    places, gains = [network.ue_positions[0].copy()], [network.large_scale_gain[0].copy()]
    while not network.done:
        network.step(np.full((1, 7), -1))
        places.append(network.ue_positions[0].copy())
        gains.append(network.large_scale_gain[0].copy())
    changes = np.abs(np.diff(10 * np.log10(np.array(gains, float)), axis=0)).mean(axis=1)
    crossed = np.abs(np.diff(np.array(places), axis=0)).max(axis=-1) > 1
    assert crossed.sum() > 20
    assert changes[crossed].mean() < 2 * changes[~crossed].mean()  # a seam would be some 6 dB
