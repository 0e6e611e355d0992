"""Deployments: grids, wrap-around distances, hot spots, given positions and associations."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import naive
import naive_propagation as reference
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import BATCH, configs, placed_configs, random_service, reset_network, seeds

from rrm_env import DeploymentError, Network, RRMConfig
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


def replaced(config: RRMConfig, **fields: Any) -> RRMConfig:
    return RRMConfig(**{**config.as_dict(), **fields})


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


# --- Given places ---

PLACES = tuple(
    tuple((float(10 * i + 3 * k), float(90 - 7 * k)) for i in range(4)) for k in range(5)
)


def test_the_seed_draws_one_of_several_deployments() -> None:
    users = tuple(tuple((float(k + 1), float(2 * j + 1)) for j in range(20)) for k in range(5))
    config = RRMConfig(ap_positions=PLACES, ue_positions=users)
    network = reset_network(config, 100, 200)
    rows = [reference.row_of(seed, 5) for seed in range(100, 300)]
    assert set(rows) == set(range(5))
    assert np.array_equal(network.ap_positions, np.array(PLACES)[rows])
    assert np.array_equal(network.ue_positions, np.array(users)[rows])


def test_given_users_walk_from_where_they_start() -> None:
    config = RRMConfig(ue_positions=((50.0, 50.0),) * 20)
    network = reset_network(config, 0, 3)
    assert (network.ue_positions == 50).all()
    assert np.array_equal(network.ap_positions, reset_network(RRMConfig(), 0, 3).ap_positions)
    network.step(np.full((3, 4), SILENT))
    walked = np.linalg.norm(network.ue_positions - 50, axis=-1)
    np.testing.assert_allclose(walked, config.step_length_m)


def test_an_episode_of_a_batch_has_its_own_places() -> None:
    network = Network(RRMConfig(), 5)
    network.reset(7, ap_positions=PLACES, association=np.arange(100).reshape(5, 20) % 4)
    assert np.array_equal(network.ap_positions, np.array(PLACES))
    assert np.array_equal(network.association, np.arange(100).reshape(5, 20) % 4)
    distances = network.ue_positions[:, :, None] - np.array(PLACES)[:, None]
    assert (np.linalg.norm(distances, axis=-1) > network.config.min_ue_distance_m).all()


def test_what_a_reset_does_not_give_is_as_configured() -> None:
    network = Network(RRMConfig(ap_positions=PLACES), 2)
    network.reset(3, ue_positions=np.full((20, 2), 5.0))
    rows = [reference.row_of(seed, 5) for seed in (3, 4)]
    assert np.array_equal(network.ap_positions, np.array(PLACES)[rows])
    assert (network.ue_positions == 5).all()


# --- Association ---


@given(placed_configs(n_aps=st.just(4), hexagonal=st.just(False)) | configs(n_aps=4), seeds)
def test_users_choose_the_biased_strongest_access_point(config: RRMConfig, seed: int) -> None:
    bias = (6.0, 0.0, -3.0, 0.0)
    network = reset_network(replaced(config, association_bias_db=bias), seed, 2)
    plain = reset_network(config, seed, 2)
    assert np.array_equal(network.large_scale_gain, plain.large_scale_gain)
    weighted = network.large_scale_gain * 10 ** (np.array(bias) / 10)[:, None]
    assert np.array_equal(network.association, weighted.argmax(axis=1))


def test_a_given_association_holds_whatever_is_received() -> None:
    given_association = tuple(float(j % 4) for j in range(20))
    config = RRMConfig(association="given", given_association=given_association)
    network = reset_network(config, 0, 2)
    assert np.array_equal(network.association, np.tile(np.arange(20) % 4, (2, 1)))
    assert np.array_equal(network.gain, reset_network(RRMConfig(), 0, 2).gain)
    network.step(np.array([[0, 1, 2, 3]] * 2))
    network.reset(0, association=np.zeros(20, np.int64))
    assert (network.association == 0).all()
    network.reset(0)
    assert network.association[0].tolist() == list(given_association)


# --- Refusals ---


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"los": "never"}, "los = 'never' has no effect with propagation = 'log_distance'"),
        ({"ap_height_m": 10}, "ap_height_m = 10.0 has no effect with propagation = 'log_distance'"),
        (
            {"propagation": "umi", "path_loss_slope_db": 30},
            "path_loss_slope_db = 30.0 has no effect with propagation = 'umi'; leave it 37.6",
        ),
        ({"propagation": "umi", "wall_loss_db": 0}, "wall_loss_db = 0.0 has no effect"),
        ({"propagation": "uma", "shadowing_std_db": 8}, "shadowing_std_db = 8.0 has no effect"),
        (
            {"propagation": "umi", "carrier_hz": 100e6},
            r"carrier_hz = 1e\+08 is outside .* allowed: 5e\+08 to 1e\+11",
        ),
        (
            {"propagation": "uma", "ue_height_m": 20},
            "ue_height_m = 20 is outside .* allowed: 1.5 to 13, or None",
        ),
        ({"inter_site_distance_m": 9}, "inter_site_distance_m = 9.0 has no effect with ap_deploy"),
        (
            {"ap_deployment": "hexagonal", "inter_site_distance_m": 80},
            "inter_site_distance_m = 80 is too large for n_aps = 4 in .* allowed: up to 50, or",
        ),
        (
            {"ap_deployment": "hexagonal", "wrap_around": "torus"},
            r"needs whole rings of sites, n_aps = 1, 7, 19, 37, 61, \.\.\.; got n_aps = 4",
        ),
        (
            {"ap_deployment": "hexagonal", "min_ap_distance_m": 34},
            "inter_site_distance_m = 33.3333 must be above min_ap_distance_m = 34",
        ),
        (
            {"ap_deployment": "hexagonal", "ap_positions": PLACES},
            "ap_positions and ap_deployment = 'hexagonal' both place the access points",
        ),
        (
            {"ap_positions": [[1, 1]]},
            r"ap_positions must have shape \(n_aps, 2\) = \(4, 2\), or \(K, 4, 2\), .* \(1, 2\)",
        ),
        (
            {"ue_positions": [[1, 101]] * 20},
            r"ue_positions\[0, 1\] = 101 is outside the square; allowed: 0 to area_side_m = 100",
        ),
        (
            {"ap_positions": PLACES, "ue_positions": [[[1, 1]] * 20] * 3},
            "must have the same length K; ap_positions has 5, ue_positions has 3",
        ),
        ({"association": "given"}, "association = 'given' needs given_association"),
        ({"given_association": [0] * 20}, "given_association has no effect with association = "),
        (
            {"association": "given", "given_association": [0] * 19 + [4]},
            r"given_association\[19\] = 4 is no access point; allowed: integers from 0 to 3",
        ),
        (
            {"association": "given", "given_association": [0.5] * 20},
            r"given_association\[0\] = 0.5 is no access point",
        ),
        ({"association_bias_db": [1, 2]}, "one number for each of n_aps = 4 access points, got 2"),
        (
            {
                "association": "given",
                "given_association": [0] * 20,
                "association_bias_db": [0, 0, 0, 3],
            },
            "association_bias_db has no effect with association = 'given'",
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_fields_that_contradict_each_other_are_refused(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        RRMConfig(**fields)


@pytest.mark.parametrize(
    ("places", "error", "message"),
    [
        ({"ap_positions": [[1, 1]]}, ValueError, r"\(4, 2\), or \(2, 4, 2\), .*, got \(1, 2\)"),
        ({"ap_positions": np.ones((3, 4, 2))}, ValueError, r"ap_positions .*, got \(3, 4, 2\)"),
        ({"ap_positions": [[1, 1], [1]]}, ValueError, r"ap_positions must have shape"),
        ({"ap_positions": [["a", "b"]] * 4}, TypeError, "ap_positions must be numbers of shape"),
        ({"ue_positions": np.full((20, 2), np.nan)}, ValueError, r"ue_positions\[0, 0\] = nan is"),
        ({"ue_positions": np.full((20, 2), -1)}, ValueError, r"ue_positions\[0, 0\] = -1 is out"),
        ({"association": [4] * 20}, ValueError, r"association\[0\] = 4 is no access point"),
        ({"association": [0.0] * 20}, TypeError, "association must be integers of shape"),
        ({"association": [[0] * 20] * 3}, ValueError, r"or \(2, 20\), .*, got \(3, 20\)"),
    ],
    ids=repr,
)
def test_bad_places_at_a_reset_are_refused_and_change_nothing(
    places: dict[str, Any], error: type[Exception], message: str
) -> None:
    network = reset_network(RRMConfig(), 0, 2)
    before = network.gain.copy()
    with pytest.raises(error, match=message):
        network.reset(1, **places)
    assert np.array_equal(network.gain, before)
    assert network.seeds.tolist() == [0, 1]


def test_positions_at_a_reset_of_a_hexagonal_grid_are_refused() -> None:
    network = Network(RRMConfig(ap_deployment="hexagonal"))
    with pytest.raises(ValueError, match="cannot be given at a reset with ap_deployment = 'hexa"):
        network.reset(0, ap_positions=np.ones((4, 2)))


def test_places_that_cannot_be_found_are_refused_by_name() -> None:
    crowded = RRMConfig(
        ap_positions=((25.0, 25.0), (25.0, 75.0), (75.0, 25.0), (75.0, 75.0)),
        min_ue_distance_m=40.0,
        ue_deployment="hot_spots",
    )
    with pytest.raises(DeploymentError, match="no place found for hot spot 0 farther than min_ue_"):
        Network(crowded).reset(0)
    with pytest.raises(DeploymentError, match="no place found for UE 0 farther than min_ue_dist"):
        Network(replaced(crowded, ue_deployment="uniform")).reset(0)
    torus = RRMConfig(wrap_around="torus", n_aps=20, min_ap_distance_m=24.0)
    with pytest.raises(DeploymentError, match=r"no place found for AP \d+ farther than min_ap"):
        Network(torus).reset(0)
