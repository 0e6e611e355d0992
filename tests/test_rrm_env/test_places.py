"""Deployments: what holds of all of them, grids, wrap-around distances and hot spots."""

from __future__ import annotations

import copy
import math
import pickle
import tempfile
from pathlib import Path
from typing import Any

import naive
import naive_propagation as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import (
    BATCH,
    configs,
    placed_configs,
    random_service,
    replaced,
    reset_network,
    seeds,
)

from rrm_env import Network, RRMConfig, record_trace
from rrm_env.places import copies_of, extent_of, rings_of, site_distance_of, sites
from rrm_env.propagation_source import PropagationSource
from rrm_env.state import allocate

SILENT = -1
CHANNEL = ["ap_positions", "ue_positions", "association", "large_scale_gain", "gain"]


def copies(config: RRMConfig) -> list[naive.Point]:
    """Where the copies of a configuration's area are."""
    if config.wrap_around == "none":
        return [(0.0, 0.0)]
    if config.ap_deployment == "uniform":
        return reference.square_lattice(config.area_side_m)
    return reference.lattice(rings_of(config.n_aps), site_distance_of(config))


def in_area(config: RRMConfig, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points (n, 2) are in the area, the cells of a wrapped grid counted by their sites."""
    slack = 1e-9 * config.area_side_m
    inside: Any = ((points >= -slack) & (points <= config.area_side_m + slack)).all(axis=1)
    if config.wrap_around == "torus" and config.ap_deployment == "hexagonal":
        aps = config.area_side_m / 2 + sites(config.n_aps, site_distance_of(config))
        others = [
            ap + np.array(shift) for shift in copies(config) if shift != (0.0, 0.0) for ap in aps
        ]
        own = np.linalg.norm(points[:, None] - aps, axis=-1).min(axis=1)
        other = np.linalg.norm(points[:, None] - np.array(others), axis=-1).min(axis=1)
        edge = own <= site_distance_of(config) / math.sqrt(3) + slack
        inside &= edge & (own <= other + slack)
    result: NDArray[np.bool_] = inside
    return result


# --- The kernels' own places ---


@given(configs(), seeds)
def test_a_source_of_a_default_deployment_writes_what_the_kernels_write(
    config: RRMConfig, seed: int
) -> None:
    network = reset_network(config, seed, 3)
    source, state = PropagationSource(config, 3), allocate(config, 3)
    state.key[:] = network._state.key
    source.reset(state, network.seeds, 0, 3)
    while True:
        assert np.array_equal(state.ap_positions, network.ap_positions)
        assert np.array_equal(state.ue_positions.swapaxes(1, 2), network.ue_positions)
        assert np.array_equal(
            state.large_scale_gain.reshape(network.gain.shape), network.large_scale_gain
        )
        if network.done:
            break
        source.advance(state, network.t + 1, 0, 3)
        network.step(np.full((3, config.n_aps), SILENT))


@given(configs(), seeds)
def test_given_the_positions_that_it_would_draw_a_network_is_the_same(
    config: RRMConfig, seed: int
) -> None:
    drawn, given_places = reset_network(config, seed, 2), Network(config, 2)
    given_places.reset(
        seed,
        ap_positions=drawn.ap_positions,
        ue_positions=drawn.ue_positions,
        association=drawn.association,
    )
    generator = np.random.default_rng(seed)
    while not drawn.done:
        for name in CHANNEL:
            assert np.array_equal(getattr(drawn, name), getattr(given_places, name)), name
        served = random_service(drawn, generator)
        for one, other in zip(drawn.step(served), given_places.step(served), strict=True):
            assert np.array_equal(one, other)
    drawn.reset(seed + 1)
    given_places.reset(seed + 1)
    for name in CHANNEL:
        assert np.array_equal(getattr(drawn, name), getattr(given_places, name)), name


# --- What holds of every deployment ---


@settings(max_examples=40)
@given(placed_configs(), seeds, st.integers(2, BATCH), st.integers(1, 3), st.data())
def test_a_slot_equals_the_single_network_of_its_seed(
    config: RRMConfig, seed: int, num_envs: int, num_threads: int, data: st.DataObject
) -> None:
    network = reset_network(config, seed, num_envs, num_threads)
    slot = data.draw(st.integers(0, num_envs - 1))
    single = reset_network(config, seed + slot)
    for _ in range(2):
        while not network.done:
            for name in CHANNEL:
                one, other = getattr(network, name)[slot], getattr(single, name)[0]
                assert np.array_equal(one, other), name
            network.step(np.full((num_envs, config.n_aps), SILENT))
            single.step(single.candidates[:, :, 0].astype(np.int64))  # whatever is served
        network.reset()
        single.reset()


@settings(max_examples=20)
@given(placed_configs(), seeds)
def test_copies_continue_alike(config: RRMConfig, seed: int) -> None:
    network = reset_network(config, seed, 2)
    others = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(network, protocol=5, buffer_callback=buffers.append)
    others.append(pickle.loads(pickled, buffers=[bytes(buffer) for buffer in buffers]))
    for _ in range(2):
        while not network.done:
            for each in (network, *others):
                each.step(np.full((2, config.n_aps), SILENT))
        for other in others:
            for name in CHANNEL:
                assert np.array_equal(getattr(network, name), getattr(other, name)), name
        for each in (network, *others):
            each.reset()


@given(placed_configs(), seeds)
def test_places_are_inside_and_keep_their_distances_and_steps_their_length(
    config: RRMConfig, seed: int
) -> None:
    network, shifts = reset_network(config, seed), copies(config)
    aps = network.ap_positions[0].tolist()
    for i, k in np.ndindex(config.n_aps, config.n_aps):
        if i < k:
            distance = reference.nearest_copy(aps[i], aps[k], shifts)
            assert distance > config.min_ap_distance_m * (1 - 1e-12)
    for place in network.ue_positions[0].tolist():
        for ap in aps:
            distance = reference.nearest_copy(place, ap, shifts)
            assert distance > config.min_ue_distance_m * (1 - 1e-9)
    before = network.ue_positions[0].copy()
    while not network.done:
        assert in_area(config, before).all()
        network.step(np.full((1, config.n_aps), SILENT))
        after = network.ue_positions[0].copy()
        if config.wrap_around == "torus":
            for old, new in zip(before.tolist(), after.tolist(), strict=True):
                walked = reference.nearest_copy(old, new, shifts)
                assert walked == pytest.approx(config.step_length_m, abs=1e-9 * config.area_side_m)
        before = after


@given(
    placed_configs(
        propagation=st.just("log_distance"),
        shadowing_std_db=st.just(0.0),
        fading="none",
        n_ues=st.sampled_from([1, 5, 20]),
    ),
    seeds,
)
def test_distances_are_those_to_the_nearest_copy(config: RRMConfig, seed: int) -> None:
    network, shifts = reset_network(config, seed), copies(config)
    aps, ues = network.ap_positions[0].tolist(), network.ue_positions[0].tolist()
    for i, j in np.ndindex(config.n_aps, config.n_ues):
        distance = reference.nearest_copy(ues[j], aps[i], shifts)
        assert distance <= math.dist(ues[j], aps[i]) * (1 + 1e-12)
        assert distance == pytest.approx(reference.nearest_copy(aps[i], ues[j], shifts))
        loss = naive.path_loss_db(
            distance, config.min_ue_distance_m, slope_db=config.path_loss_slope_db
        )
        expected = naive.large_scale_gain(config.tx_power_dbm, config.noise_dbm, loss, 0.0)
        assert network.large_scale_gain[0, i, j] == pytest.approx(expected, rel=1e-4)


@settings(max_examples=15)
@given(placed_configs(), seeds)
def test_a_recorded_trace_plays_the_same_channels(config: RRMConfig, seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        trace = record_trace(config, seed, episodes=1).save(Path(folder) / "trace.npz")
        fields: dict[str, Any] = {**trace.config_fields, "trace_split": "none"}
        fields |= {"csi_delay": config.csi_delay, "episode_length": config.episode_length}
        drawn, recorded = reset_network(config, seed), reset_network(RRMConfig(**fields), 0)
        while True:
            for name in CHANNEL:
                assert np.array_equal(getattr(drawn, name), getattr(recorded, name)), name
            if drawn.done:
                break
            for network in (drawn, recorded):
                network.step(np.full((1, config.n_aps), SILENT))


# --- Hexagons ---


@pytest.mark.parametrize("n_aps", [1, 2, 6, 7, 8, 19, 20, 37, 61])
def test_sites_are_a_spiral_of_hexagons(n_aps: int) -> None:
    np.testing.assert_allclose(sites(n_aps, 3.0), reference.spiral(n_aps, 3.0), atol=1e-12)
    if n_aps > 1:
        distances = np.linalg.norm(sites(n_aps, 3.0)[:, None] - sites(n_aps, 3.0), axis=-1)
        distances[np.diag_indices(n_aps)] = np.inf
        np.testing.assert_allclose(distances.min(axis=1), 3.0)


@pytest.mark.parametrize("n_aps", [1, 7, 19, 37])
def test_copies_of_a_cluster_tile_the_plane(n_aps: int) -> None:
    rings = rings_of(n_aps)
    around = copies_of(rings, 2.0)
    assert around.shape == (7, 2)
    np.testing.assert_allclose(np.linalg.norm(around[1:], axis=1), 2.0 * math.sqrt(n_aps))
    together = (around[:, None] + sites(n_aps, 2.0)).reshape(-1, 2)
    distances = np.linalg.norm(together[:, None] - together, axis=-1)
    distances[np.diag_indices(len(together))] = np.inf
    np.testing.assert_allclose(distances.min(axis=1), 2.0)  # no gap, and no site twice


@pytest.mark.parametrize("n_aps", [1, 7, 19])
def test_every_site_of_a_wrapped_cluster_sees_the_same_network(n_aps: int) -> None:
    config = RRMConfig(
        n_aps=n_aps, ap_deployment="hexagonal", wrap_around="torus", area_side_m=1000.0, n_ues=n_aps
    )
    distance = site_distance_of(config)
    assert distance == pytest.approx(1000 / extent_of(rings_of(n_aps)))
    ues = 500 + sites(n_aps, distance) + [0.1 * distance, 0.2 * distance]
    network = Network(replaced(config, shadowing_std_db=0.0, fading="none"))
    network.reset(0, ue_positions=ues)
    profiles = np.sort(network.large_scale_gain[0], axis=0)
    np.testing.assert_allclose(profiles, np.repeat(profiles[:, :1], n_aps, axis=1), rtol=1e-3)


# --- Hot spots ---


def test_hot_spots_hold_their_share_of_the_users_within_their_radius() -> None:
    config = RRMConfig(
        ue_deployment="hot_spots", n_hot_spots=3, hot_spot_radius_m=5.0, hot_spot_share=0.6
    )
    network = reset_network(config, 0, 500)
    source = network._source
    assert isinstance(source, PropagationSource)
    spots = source._held.hot_spots
    assert spots.shape == (500, 3, 2)
    distances = np.linalg.norm(network.ue_positions[:, :, None] - spots[:, None], axis=-1)
    within = distances.min(axis=2) <= 5.0
    by_chance = 3 * math.pi * 25 / 100**2
    assert within.mean() == pytest.approx(0.6 + 0.4 * by_chance, abs=0.02)
    fullest = (distances <= 5.0).sum(axis=1).mean(axis=0)
    np.testing.assert_allclose(fullest, 20 * (0.2 + 0.8 * math.pi * 25 / 1e4), rtol=0.1)
    np.testing.assert_allclose(spots.mean(axis=(0, 1)), 50, atol=3)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_shares_of_none_and_all(share: float) -> None:
    network = reset_network(
        RRMConfig(ue_deployment="hot_spots", hot_spot_share=share, n_hot_spots=1), 0, 20
    )
    spread = np.ptp(network.ue_positions, axis=1)
    if share == 0:
        uniform = reset_network(RRMConfig(), 0, 20)
        assert np.array_equal(network.ue_positions, uniform.ue_positions)
    else:
        assert (spread <= 2 * 10.0).all()
