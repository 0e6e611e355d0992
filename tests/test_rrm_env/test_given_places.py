"""Given positions and associations, biases, and refusals of places that contradict each other."""

from __future__ import annotations

from typing import Any

import naive_propagation as reference
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import configs, placed_configs, replaced, reset_network, seeds

from rrm_env import DeploymentError, Network, RRMConfig

SILENT = -1

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


def test_users_given_outside_the_cells_of_a_wrapped_grid_are_at_the_same_place_inside() -> None:
    config = RRMConfig(ap_deployment="hexagonal", wrap_around="torus", n_aps=7)
    corners = [(0.0, 0.0), (0.0, 100.0), (100.0, 0.0), (100.0, 100.0)] * 5
    network = Network(config)
    network.reset(0, ue_positions=corners)
    shifts = reference.lattice(1, 100 / 3)
    for given_place, place in zip(corners, network.ue_positions[0].tolist(), strict=True):
        assert place != list(given_place)
        assert reference.nearest_copy(given_place, place, shifts) == pytest.approx(0, abs=1e-9)


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
