"""The search among neighbours: joint actions of high weighted rate."""

from __future__ import annotations

import math
from typing import Any

import naive_graph
import numpy as np
import pytest
from gains import drawn, links_of, permuted, random_gains
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from baselines.links import Links
from baselines.neighbour_search import ACTIVITY, AUDIBLE, RAYLEIGH, choose, choose_own
from rrm_env import SILENT

sizes = st.tuples(st.integers(1, 7), st.sampled_from([1, 4, 9]), st.integers(1, 5))
fadings = st.sampled_from([1.0, RAYLEIGH])

Episode = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float64]]


def episodes(seed: int, n_aps: int, n_ues: int, b: int = 1, unwanted: float = 0.2) -> Episode:
    """Gains, associations, and weights of which some are 0."""
    generator = np.random.default_rng(seed)
    gain, association = random_gains(generator, b, n_aps, n_ues)
    weight = generator.exponential(size=(b, n_ues))
    weight[generator.random((b, n_ues)) < unwanted] = 0.0
    return gain, association, weight


def reference(episode: Episode, k: int, fading: float, b: int = 0) -> naive_graph.Value:
    gain, association, weight = (x[b].tolist() for x in episode)
    return naive_graph.Value(gain, association, k, weight, fading)


def test_constants_are_those_of_the_reference() -> None:
    assert (ACTIVITY, AUDIBLE) == (naive_graph.ACTIVITY, naive_graph.AUDIBLE)
    mean_of_log = -0.5772156649015329  # of |h|^2 ~ Exp(1): Euler's constant
    assert math.isclose(RAYLEIGH, math.exp(mean_of_log))


@given(drawn, sizes, fadings, st.sampled_from([1, 4]))
def test_the_choice_serves_own_users_of_positive_weight_and_states_their_rates(
    seed: int, size: tuple[int, int, int], fading: float, rounds: int
) -> None:
    n_aps, n_ues, k = size
    episode = episodes(seed, n_aps, n_ues)
    gain, association, weight = episode
    served, rate = choose(links_of(gain, association, k), weight, fading, rounds)
    value, on = reference(episode, k, fading), (served[0] != SILENT).tolist()
    for i, j in enumerate(served[0]):
        if j == SILENT:
            assert rate[0, i] == 0
        else:
            assert association[0, j] == i
            assert weight[0, j] > 0
            assert math.isclose(rate[0, i], value.rate(int(j), on), rel_tol=1e-5)
    action = served[0].tolist()
    assert math.isclose(value.of_action(action), value.of_set(on), rel_tol=1e-5)
    reported = sum(weight[0, j] * rate[0, i] for i, j in enumerate(served[0]) if j != SILENT)
    assert math.isclose(reported, value.of_action(action), rel_tol=1e-5)


@given(drawn, sizes, fadings)
def test_no_ap_improves_the_choice_by_joining_or_leaving(
    seed: int, size: tuple[int, int, int], fading: float
) -> None:
    n_aps, n_ues, k = size
    episode = episodes(seed, n_aps, n_ues)
    gain, association, weight = episode
    served, _ = choose(links_of(gain, association, k), weight, fading, 200)
    value, on = reference(episode, k, fading), (served[0] != SILENT).tolist()
    found = value.of_set(on)
    for i in range(n_aps):
        changed = [*on[:i], not on[i], *on[i + 1 :]]
        assert value.of_set(changed) <= found * (1 + 1e-5) + value.slack(i, on)


def test_it_comes_near_the_best_joint_action() -> None:
    episode = episodes(0, 5, 15, b=64)
    gain, association, weight = episode
    found = choose(links_of(gain, association, 4), weight).served
    of_best = []
    for b in range(64):
        value = reference(episode, 4, RAYLEIGH, b)
        of_best.append(value.of_action(found[b].tolist()) / value.best())
    assert max(of_best) <= 1 + 1e-6
    assert np.mean(of_best) > 0.97
    assert np.mean(np.array(of_best) > 1 - 1e-6) > 0.5


def cells(distance_db: float) -> Links:
    """Two APs with two users each at 20 dB, whose other link is weaker by a number of dB."""
    own, other = 100.0, 100.0 * 10 ** (-distance_db / 10)
    gain = np.array([[[own, own, other, other], [other, other, own, own]]], np.float32)
    return links_of(gain, [[0, 0, 1, 1]], 1)


def test_two_far_cells_are_both_on_and_serve_their_users_of_highest_weight() -> None:
    served, rate = choose(cells(60.0), np.array([[1.0, 2.0, 2.0, 1.0]]))
    assert served.tolist() == [[1, 2]]
    np.testing.assert_allclose(rate, math.log2(1 + RAYLEIGH * 100 / (1 + RAYLEIGH * 1e-4)))


def test_of_two_coincident_cells_one_is_on() -> None:
    served, rate = choose(cells(0.0), np.array([[1.0, 1.0, 1.0, 1.1]]))
    assert served.tolist() == [[SILENT, 3]]
    np.testing.assert_allclose(rate, [[0, math.log2(1 + RAYLEIGH * 100)]])


def test_an_ap_leaves_where_others_that_joined_later_are_worth_more() -> None:
    # The first AP has the most to offer alone, and disturbs both others.
    gain = np.full((1, 3, 3), 1e-6, np.float32)
    gain[0, [0, 1, 2], [0, 1, 2]] = 1000.0
    gain[0, 1:, 0] = gain[0, 0, 1:] = 30.0
    weight = np.array([[1.01, 1.0, 1.0]])
    links = links_of(gain, [[0, 1, 2]], 2)
    assert choose(links, weight, rounds=1).served.tolist() == [[0, 1, 2]]
    assert choose(links, weight).served.tolist() == [[SILENT, 1, 2]]
    value = naive_graph.Value(gain[0].tolist(), [0, 1, 2], 2, weight[0].tolist(), RAYLEIGH)
    assert math.isclose(value.of_action([SILENT, 1, 2]), value.best())


def test_one_ap_serves_its_user_of_highest_weighted_rate() -> None:
    links = links_of(np.array([[[1.0, 3.0, 15.0]]], np.float32), [[0, 0, 0]], 4)
    assert choose(links, np.array([[1.0, 2.5, 1.0]]), 1.0).served.tolist() == [[1]]
    assert choose(links, np.array([[1.0, 2.5, 1.3]]), 1.0).served.tolist() == [[2]]


def test_aps_without_users_and_users_of_weight_0_are_silent() -> None:
    gain = np.full((1, 3, 4), 10.0, np.float32)
    links = links_of(gain, [[0, 0, 2, 2]], 2)
    assert choose(links, np.zeros((1, 4))).served.tolist() == [[SILENT] * 3]
    served = choose(links, np.array([[0.0, 0.0, 0.0, 1.0]])).served
    assert served.tolist() == [[SILENT, SILENT, 3]]


def test_absent_users_are_not_served() -> None:
    links = cells(60.0)
    links = links._replace(present=np.array([[True, False, False, True]]))
    assert choose(links, np.array([[1.0, 2.0, 2.0, 1.0]])).served.tolist() == [[0, 3]]
    on = np.array([[1, 2]])
    assert choose_own(links, on, np.array([[1.0, 2.0, 2.0, 1.0]])).tolist() == [[0, 3]]


def test_aps_that_are_no_neighbours_are_noise_for_a_share_of_the_time() -> None:
    gain = np.array([[[100.0, 1.0], [0.5, 100.0]]], np.float32)
    links = links_of(gain, [[0, 1]], 1)._replace(
        neighbours=np.full((1, 2, 1), -1),
        cross=np.zeros((1, 2, 1), np.float32),
        rest=np.array([[0.5, 1.0]], np.float32),
    )
    rate = choose(links, np.ones((1, 2)), 1.0).rate
    expected = [[math.log2(1 + 100 / (1 + 0.3 * 0.5)), math.log2(1 + 100 / (1 + 0.3 * 1.0))]]
    np.testing.assert_allclose(rate, expected, rtol=1e-6)


@given(drawn, sizes)
def test_permuted_users_and_aps_are_chosen_alike(seed: int, size: tuple[int, int, int]) -> None:
    n_aps, n_ues, k = size
    gain, association, weight = episodes(seed, n_aps, n_ues)
    association[0] = np.arange(n_ues) % n_aps
    generator = np.random.default_rng(seed)
    aps, users = generator.permutation(n_aps), generator.permutation(n_ues)
    moved = permuted(gain, association, aps, users)
    one = choose(links_of(gain, association, k), weight).served[0, aps]
    other = choose(links_of(*moved, k), weight[:, users]).served[0]
    np.testing.assert_array_equal(np.where(other >= 0, users[other], SILENT), one)


@given(drawn, sizes, fadings)
def test_an_episode_is_decided_alike_alone_and_in_a_batch(
    seed: int, size: tuple[int, int, int], fading: float
) -> None:
    n_aps, n_ues, k = size
    gain, association, weight = episodes(seed, n_aps, n_ues, b=3)
    links = links_of(gain, association, k)
    together = choose(links, weight, fading)
    own = choose_own(links, together.served, weight[:, ::-1].copy(), fading)
    for b in range(3):
        alone = links.at(np.array([b]))
        served, rate = choose(alone, weight[b : b + 1], fading)
        np.testing.assert_array_equal(served[0], together.served[b])
        np.testing.assert_array_equal(rate[0], together.rate[b])
        again = choose_own(alone, served, weight[b : b + 1, ::-1].copy(), fading)
        np.testing.assert_array_equal(again[0], own[b])


@given(drawn, sizes, fadings)
def test_aps_that_transmit_choose_their_best_users(
    seed: int, size: tuple[int, int, int], fading: float
) -> None:
    n_aps, n_ues, k = size
    episode = episodes(seed, n_aps, n_ues)
    gain, association, weight = episode
    links, generator = links_of(gain, association, k), np.random.default_rng(seed)
    first = np.full((1, n_aps), SILENT)
    for i in range(n_aps):
        users = np.flatnonzero(association[0] == i)
        if len(users) and generator.random() < 0.7:
            first[0, i] = generator.choice(users)
    before = first.copy()
    found = choose_own(links, first, weight, fading)
    np.testing.assert_array_equal(first, before)  # which the caller keeps
    value, on = reference(episode, k, fading), (first[0] != SILENT).tolist()
    best = value.best_users(on)
    wanted = [j if j != SILENT else int(first[0, i]) for i, j in enumerate(best)]
    assert found[0].tolist() == wanted


@pytest.mark.parametrize("best", [True, False])
def test_of_equal_users_the_lower_one_is_chosen(best: bool) -> None:
    links, weight = cells(60.0), np.ones((1, 4))
    served: Any = choose(links, weight).served
    if not best:
        served = choose_own(links, np.array([[1, 3]]), weight)
    assert served.tolist() == [[0, 2]]
