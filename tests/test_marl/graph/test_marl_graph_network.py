"""The network that sets prices, at any number of users and APs."""

from __future__ import annotations

from typing import Any

import naive_graph
import numpy as np
import pytest
import torch
from gains import drawn, links_of, permuted, random_gains, random_links
from graphs import TINY, random_parameters, tiny_configs
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from baselines.debts import NOT_COUNTED, user_weights
from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH
from marl import GraphConfig
from marl.graph.network import (
    Inputs,
    Parameters,
    initialise,
    leave_out,
    log_prices,
)

sizes = st.tuples(st.integers(1, 6), st.sampled_from([1, 4, 9]))


def prices(
    parameters: Parameters, config: GraphConfig, links: Links, counted: Any = None
) -> NDArray[np.float32]:
    """(S, B, J) logarithms of prices; (B, J) may say who is counted."""
    inputs = Inputs.of(links, config)
    shown = inputs.present if counted is None else torch.tensor(counted, dtype=torch.float32)
    found: NDArray[np.float32] = log_prices(parameters, config, inputs, shown).numpy()
    return found


@settings(max_examples=30)
@given(drawn, tiny_configs, sizes, st.sampled_from([1.0, RAYLEIGH]))
def test_prices_agree_with_the_reference(
    seed: int, config: GraphConfig, size: tuple[int, int], fading: float
) -> None:
    generator = np.random.default_rng(seed)
    gain, association = random_gains(generator, 2, *size)
    counted = generator.random(association.shape) < 0.7
    parameters = random_parameters(config, [seed % 1000])
    inputs = Inputs.of(links_of(gain, association, config.n_neighbours), config, fading)
    found = log_prices(parameters, config, inputs, torch.from_numpy(counted).float())[0]
    nested = {name: tensor[0].tolist() for name, tensor in parameters.items()}
    for b in range(2):
        expected = naive_graph.log_prices(
            nested,
            config.as_dict(),
            gain[b].tolist(),
            association[b].tolist(),
            counted[b].tolist(),
            fading,
        )
        wanted = np.where(counted[b], expected, NOT_COUNTED)
        np.testing.assert_allclose(found[b], wanted, rtol=1e-4, atol=1e-4)


@given(drawn, tiny_configs, sizes)
def test_permuted_users_and_aps_have_permuted_prices(
    seed: int, config: GraphConfig, size: tuple[int, int]
) -> None:
    n_aps, n_ues = size
    generator = np.random.default_rng(seed)
    gain, association = random_gains(generator, 1, n_aps, n_ues)
    aps, users = generator.permutation(n_aps), generator.permutation(n_ues)
    moved, parameters = permuted(gain, association, aps, users), random_parameters(config, [0])
    one, other = (
        prices(parameters, config, links_of(episode[0], episode[1], config.n_neighbours))[0, 0]
        for episode in ((gain, association), moved)
    )
    np.testing.assert_allclose(other, one[users], rtol=1e-4, atol=1e-4)


@given(drawn, tiny_configs, sizes, st.integers(1, 5))
def test_padding_changes_no_price(
    seed: int, config: GraphConfig, size: tuple[int, int], more: int
) -> None:
    generator = np.random.default_rng(seed)
    links = random_links(generator, 2, *size, config.n_neighbours)
    padded = random_links(generator, 2, size[0], more, config.n_neighbours)
    joined = [
        np.concatenate([own, other], axis=1)
        for own, other in zip(links[:4], padded[:4], strict=True)
    ]
    present = np.concatenate([links.present, np.zeros((2, more), np.bool_)], axis=1)
    beside = Links._make([*joined, links.neighbours, present])
    parameters = random_parameters(config, [3])
    one = prices(parameters, config, links)
    other = prices(parameters, config, beside)
    np.testing.assert_allclose(other[..., : size[1]], one, rtol=1e-4, atol=1e-4)
    assert (other[..., size[1] :] == np.float32(NOT_COUNTED)).all()


@given(drawn, tiny_configs, sizes)
def test_stacked_networks_set_the_prices_of_each_alone(
    seed: int, config: GraphConfig, size: tuple[int, int]
) -> None:
    links = random_links(np.random.default_rng(seed), 6, *size, config.n_neighbours)
    together = prices(random_parameters(config, [4, 5, 6]), config, links)
    assert together.shape == (3, 2, size[1])
    for n, own in enumerate((4, 5, 6)):
        part = links.at(slice(2 * n, 2 * n + 2))
        alone = prices(random_parameters(config, [own]), config, part)[0]
        np.testing.assert_allclose(together[n], alone, rtol=1e-5, atol=1e-5)


@settings(max_examples=30)
@given(drawn, st.integers(0, 7), st.integers(1, 2))
def test_the_dearest_users_are_left_out_and_no_more(seed: int, n: int, n_seeds: int) -> None:
    links = random_links(np.random.default_rng(seed), 2 * n_seeds, 4, 12, TINY.n_neighbours)
    absent = np.zeros((2 * n_seeds, 12), np.bool_)
    absent[:, 7:9] = True
    links = links._replace(present=~absent)
    parameters, inputs = random_parameters(TINY, range(n_seeds)), Inputs.of(links, TINY)
    counted = leave_out(parameters, TINY, inputs, n).numpy()
    assert ((counted == 0) | (counted == 1)).all()
    assert (counted[absent] == 0).all()
    assert (counted.sum(axis=1) == 10 - n).all()
    if 0 < n < 6:  # all in steps of one user
        left = links.present.astype(np.float64)
        for _ in range(n):
            dearest = prices(parameters, TINY, links, left).reshape(-1, 12).argmax(axis=1)
            left[np.arange(2 * n_seeds), dearest] = 0
        np.testing.assert_array_equal(counted, left)


def test_users_learn_of_one_another_in_rounds_alone() -> None:
    generator = np.random.default_rng(0)
    gain, association = random_gains(generator, 1, 3, 9)
    association[0] = np.arange(9) % 3
    louder = gain.copy()
    louder[0, :, 0] *= 50
    for rounds in (0, 1):
        config = GraphConfig(n_neighbours=2, n_interferers=2, width=8, rounds=rounds)
        parameters = random_parameters(config, [1])
        links = [links_of(gain, association, 2)]
        links.append(links_of(louder, association, 2, links[0].neighbours))
        one, other = (prices(parameters, config, x)[0, 0] for x in links)
        assert one[0] != other[0]
        assert (one[1:] == other[1:]).all() == (rounds == 0)


def test_new_networks_set_equal_prices_and_differ_by_seed() -> None:
    parameters = initialise(TINY, [1, 2])
    links = random_links(np.random.default_rng(0), 2, 4, 9, TINY.n_neighbours)
    assert len(np.unique(prices(parameters, TINY, links))) == 1
    assert {name: tuple(x.shape) for name, x in parameters.items()} == {
        f"{name}.{kind}": (2, rows, outputs)
        for name, (inputs, outputs) in TINY.sizes().items()
        for kind, rows in (("weights", inputs), ("biases", 1))
    }
    for name, tensor in parameters.items():
        bound = TINY.sizes()[name.partition(".weights")[0].partition(".biases")[0]][0] ** -0.5
        assert tensor.abs().max() <= bound
        assert name.startswith("price") or not torch.equal(tensor[0], tensor[1])
        assert torch.equal(tensor[1:], initialise(TINY, [2])[name])


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=9), st.floats(0, 2), st.floats(0, 3))
def test_weights_are_those_of_the_reference(
    log_price: list[float], sum_weight: float, tail_weight: float
) -> None:
    found = user_weights(np.array([log_price]), sum_weight, tail_weight)[0]
    np.testing.assert_allclose(found, naive_graph.weights(log_price, sum_weight, tail_weight))
    np.testing.assert_allclose((found - sum_weight).sum(), tail_weight, atol=1e-12)


def test_users_that_are_not_counted_have_no_price() -> None:
    log_price = np.array([[0.0, NOT_COUNTED, 0.0]], np.float32)
    np.testing.assert_allclose(user_weights(log_price, 0.25, 2.0), [[1.25, 0.25, 1.25]])


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"width": 0}, ValueError, "width must be an integer of at least 1 and at most 4096"),
        ({"width": 2.5}, TypeError, "width must be an integer .*, got 2.5"),
        ({"rounds": -1}, ValueError, "rounds must be an integer of at least 0 and at most 16"),
        ({"n_neighbours": 0}, ValueError, "n_neighbours must be .*, got 0"),
        ({"n_neighbours": 2, "n_interferers": 3}, ValueError, "n_interferers .* at most 2, got 3"),
        ({"widht": 3}, ValueError, "'widht' .did you mean 'width'"),
    ],
)
def test_bad_sizes_are_refused_by_name(
    values: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        GraphConfig.from_dict(values)


def test_sizes_are_described_and_read_again() -> None:
    assert GraphConfig.from_dict(TINY.as_dict()) == TINY
    assert GraphConfig.from_dict({}) == GraphConfig()
