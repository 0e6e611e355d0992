"""Links: gains from a user's AP, from this AP's neighbours, and the sum of all others."""

from __future__ import annotations

from typing import Any

import naive_graph
import numpy as np
import pytest
from gains import drawn, links_of, permuted, random_gains
from hypothesis import given
from hypothesis import strategies as st
from strategies import configs, reset_network, seeds

from baselines.links import Links
from rrm_env import RRMConfig

sizes = st.tuples(st.integers(1, 7), st.sampled_from([1, 4, 9]), st.integers(1, 5))


@given(drawn, sizes)
def test_links_agree_with_the_reference(seed: int, size: tuple[int, int, int]) -> None:
    n_aps, n_ues, k = size
    gain, association = random_gains(np.random.default_rng(seed), 2, n_aps, n_ues)
    found = links_of(gain, association, k)
    for b in range(2):
        episode = gain[b].tolist(), association[b].tolist()
        known = naive_graph.neighbours(*episode, k)
        own, cross, rest = naive_graph.links(*episode, known)
        missing = k - len(known[0])
        assert found.neighbours[b].tolist() == [[*row, *[-1] * missing] for row in known]
        np.testing.assert_array_equal(found.own[b], np.array(own, np.float32))
        np.testing.assert_array_equal(found.cross[b], [[*row, *[0.0] * missing] for row in cross])
        np.testing.assert_allclose(found.rest[b], rest, rtol=1e-6)
    np.testing.assert_array_equal(found.association, association)
    assert found.present.all()


def test_neighbours_are_ranked_by_their_share_of_the_power_and_not_by_their_gain() -> None:
    # The second AP is stronger at a user whom it hardly disturbs, the third at one whom it does.
    gain = np.array([[[1e6, 1.0], [1e3, 0.1], [0.1, 10.0]]], np.float32)
    assert links_of(gain, [[0, 0]], 2).neighbours[0, 0].tolist() == [2, 1]


def test_ties_go_to_the_lower_ap() -> None:
    found = links_of(np.ones((1, 4, 8), np.float32), [np.arange(8) % 4], 2)
    assert found.neighbours[0].tolist() == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_aps_without_users_have_neighbours_and_padding_ends_the_list() -> None:
    gain = np.full((1, 3, 2), 5.0, np.float32)
    found = links_of(gain, [[0, 0]], 4)
    assert found.neighbours[0].tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [0, 1, -1, -1]]
    assert (found.cross[..., 2:] == 0).all()
    assert (found.rest == 0).all()


def test_one_ap_has_no_neighbours() -> None:
    found = links_of(np.full((1, 1, 3), 5.0, np.float32), [[0, 0, 0]], 2)
    assert (found.neighbours == -1).all()
    assert (found.cross == 0).all()
    assert (found.rest == 0).all()


@given(drawn, sizes)
def test_permuted_users_and_aps_have_permuted_links(seed: int, size: tuple[int, int, int]) -> None:
    n_aps, n_ues, k = size
    generator = np.random.default_rng(seed)
    gain, association = random_gains(generator, 1, n_aps, n_ues)
    association[0] = np.arange(n_ues) % n_aps  # APs without users have neighbours by ties alone
    aps, users = generator.permutation(n_aps), generator.permutation(n_ues)
    one = links_of(gain, association, k)
    other = links_of(*permuted(gain, association, aps, users), k)
    named = np.where(other.neighbours >= 0, aps[other.neighbours], -1)[0]
    served = np.bincount(association[0], minlength=n_aps) > 0
    np.testing.assert_array_equal(named[served[aps]], one.neighbours[0, aps][served[aps]])
    for before, after in zip(one[:2], other[:2], strict=True):
        np.testing.assert_array_equal(after[0], before[0, users])
    np.testing.assert_allclose(other.rest[0], one.rest[0, users], rtol=1e-6)


def test_far_gains_are_summed_and_not_subtracted_from_the_total() -> None:
    gain = np.array([[[1e8], [1e8], [1.0], [0.25]]], np.float32)
    assert links_of(gain, [[0]], 1).rest.tolist() == [[1.25]]


def test_known_neighbours_are_kept_though_gains_change() -> None:
    generator = np.random.default_rng(0)
    gain, association = random_gains(generator, 2, 6, 12)
    first = links_of(gain, association, 2)
    later = random_gains(generator, 2, 6, 12)[0]
    kept = links_of(later, association, 2, first.neighbours)
    np.testing.assert_array_equal(kept.neighbours, first.neighbours)
    assert (links_of(later, association, 2).neighbours != first.neighbours).any()
    for b, j in np.ndindex(2, 12):
        known = first.neighbours[b, association[b, j]]
        np.testing.assert_array_equal(kept.cross[b, j], later[b, known, j])


@given(configs(), seeds)
def test_links_of_a_network_are_those_of_its_gains(config: RRMConfig, seed: int) -> None:
    network = reset_network(config, seed, 2)
    one = Links.of_network(network, 3)
    other = links_of(network.large_scale_gain, network.association, 3)
    for found, expected in zip(one, other, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("index", [np.array([2, 0, 2]), slice(1, 3)])
def test_some_episodes_are_taken_out(index: Any) -> None:
    gain, association = random_gains(np.random.default_rng(0), 3, 4, 7)
    part = links_of(gain, association, 2).at(index)
    alone = links_of(gain[index], association[index], 2)
    for found, expected in zip(part, alone, strict=True):
        np.testing.assert_array_equal(found, expected)
