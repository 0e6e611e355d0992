"""Recorded decisions are what a network says, and prices are learned from them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from strategies import random_actions, reset_network
from toys import Match

from baselines import LongMemory
from baselines.links import Links
from marl import Dataset, GraphConfig, GraphPolicy, collect, collect_parallel
from marl.graph.network import Parameters, initialise
from marl.graph.recorded import NEEDED, Recorded
from marl.graph.training import Decisions, Gains, Progress, train_prices_on
from rrm_env import SILENT, Network, RRMConfig, evaluate

SEEN: dict[str, Any] = {**NEEDED, "n_neighbours": 2}
NETWORK = RRMConfig(n_aps=4, n_ues=13, n_candidates=6, episode_length=10, **SEEN)
CONFIG = GraphConfig(n_neighbours=2, n_interferers=2, width=8)


# --- What is read from observations ---


def decisions(
    config: RRMConfig, b: int = 3
) -> Iterator[tuple[Network, Recorded, NDArray[np.int64], NDArray[np.float32]]]:
    """A network before each step of random actions, what is read of it, actions, first averages."""
    network, generator = reset_network(config, 5, b), np.random.default_rng(0)
    first = network.average_rate.copy()
    while not network.done:
        actions = random_actions(network, generator)
        actions = np.where(
            np.take_along_axis(network.action_mask, actions[..., None], 2)[..., 0] > 0,
            actions,
            config.n_candidates,
        )
        read = Recorded.of_observations(
            network.observation.copy(), network.action_mask.copy(), actions, config
        )
        yield network, read, actions, first
        network.step_actions(actions)


@pytest.mark.parametrize(
    "config",
    [
        NETWORK,
        replace(NETWORK, n_candidates=2),  # not all users are seen
        replace(NETWORK, n_neighbours=5, turns="by_load"),  # more than there are, and a turn
        replace(NETWORK, n_aps=6, messages="best"),
        replace(NETWORK, n_aps=1, n_ues=3),
    ],
    ids=["plain", "few candidates", "missing neighbours", "messages", "one AP"],
)
def test_decisions_are_what_the_network_says(config: RRMConfig) -> None:
    n, k, prior = config.n_candidates, config.n_neighbours, config.average_prior_steps
    for network, read, actions, first in decisions(config):
        gain, t = network.large_scale_gain, network.t
        links = read.links
        np.testing.assert_array_equal(links.neighbours, network.neighbours)
        np.testing.assert_allclose(read.steps, t, rtol=1e-6)
        for b, i in np.ndindex(*actions.shape):
            near = [m for m in network.neighbours[b, i] if m >= 0]
            far = [m for m in range(config.n_aps) if m != i and m not in near]
            for slot, user in enumerate(network.candidates[b, i]):
                place = i * n + slot
                assert links.association[b, place] == i
                assert links.present[b, place] == (user >= 0)
                if user < 0:
                    assert read.rate_sum[b, place] == 0
                    assert (links.cross[b, place] == 0).all() or near
                    continue
                np.testing.assert_allclose(links.own[b, place], gain[b, i, user], rtol=1e-4)
                cross = [*gain[b, near, user], *[0.0] * (k - len(near))]
                np.testing.assert_allclose(links.cross[b, place], cross, rtol=1e-4, atol=2e-6)
                rest = float(gain[b, far, user].sum())
                np.testing.assert_allclose(links.rest[b, place], rest, rtol=1e-4, atol=2e-6)
                got = network.ue_rate_sum[b, user]
                average = (prior * first[b, user] + got) / (prior + t)
                np.testing.assert_allclose(read.rate_sum[b, place], t * average, rtol=1e-3)
            chosen = actions[b, i]
            if chosen == n:
                assert read.served[b, i] == SILENT
            else:
                assert read.served[b, i] == i * n + chosen
                assert links.present[b, read.served[b, i]]
        averages = [
            network.average_rate[b, network.candidates[b][network.candidates[b] >= 0]].mean()
            for b in range(len(actions))
        ]
        np.testing.assert_allclose(read.level[:, 0], averages, rtol=1e-4)


def test_links_are_those_of_the_network_in_other_places() -> None:
    """So a policy that learned from observations decides alike in a network."""
    for network, read, _, _ in decisions(NETWORK):
        links = Links.of_network(network, 2, network.neighbours.astype(np.int64))
        for b in range(3):
            users = network.candidates[b].ravel()
            known = users >= 0
            assert known.sum() == len(set(users[known])) >= 12
            for name in ("own", "cross", "rest"):
                np.testing.assert_allclose(
                    getattr(read.links, name)[b][known],
                    getattr(links, name)[b][users[known]],
                    rtol=1e-4,
                    atol=2e-6,
                )


def test_some_of_the_decisions_are_chosen_together() -> None:
    read = next(iter(decisions(NETWORK)))[1]
    some = read.at(np.array([2, 0]))
    np.testing.assert_array_equal(some.served, read.served[[2, 0]])
    np.testing.assert_array_equal(some.links.own, read.links.own[[2, 0]])
    np.testing.assert_array_equal(some.level, read.level[[2, 0]])


def recording(config: RRMConfig = NETWORK, transitions: int = 300) -> Dataset:
    return collect(LongMemory(), config, transitions)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Decisions of long memory in the tiny network."""
    return recording()


def test_a_dataset_s_decisions_are_those_of_its_columns(dataset: Dataset) -> None:
    read, network = Recorded.of_dataset(dataset, 2)
    assert network == NETWORK
    assert len(read.served) == len(dataset) == 300
    observation, mask, action = (tensor.numpy() for tensor in dataset.transitions()[:3])
    again = Recorded.of_observations(observation, mask, action, NETWORK)
    np.testing.assert_array_equal(read.served, again.served)
    np.testing.assert_array_equal(read.links.own, again.links.own)
    assert set(np.rint(read.steps).ravel()) == set(range(10))
    on = read.served != SILENT
    assert np.take_along_axis(read.links.present, np.maximum(read.served, 0), 1)[on].all()
    assert 0.2 < on.mean() < 1


# --- Refusals ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measurements": "large_scale"}, "measurements = 'neighbours', it has 'large_scale'"),
        ({"clock": "none"}, "clock = 'elapsed', it has 'none'"),
        ({"average": "ema"}, "average = 'episode', it has 'ema'"),
        ({"n_neighbours": 3}, "n_neighbours = 2, it has 3"),
    ],
)
def test_datasets_of_other_observations_are_refused(changes: dict[str, Any], message: str) -> None:
    other = recording(replace(NETWORK, **changes), 20)
    with pytest.raises(ValueError, match=f"the dataset's network must have {message}"):
        Recorded.of_dataset(other, 2)


def test_datasets_of_other_environments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"graph policies need a dataset of a network of rrm_env"):
        train_prices_on(collect_parallel(Match, None, 7), CONFIG, [0], clone=True)


# --- Training ---


def trained(dataset: Dataset, *, clone: bool, seeds: tuple[int, ...] = (0,), **more: Any) -> Any:
    """Parameters, and the first and the last report."""
    reports: list[Progress] = []
    how = {"updates": 60, "batch_size": 32, **more}
    parameters = train_prices_on(dataset, CONFIG, seeds, clone=clone, report=reports.append, **how)
    return parameters, reports[0].reached, reports[-1].reached


def total_loss(dataset: Dataset, parameters: Parameters, *, clone: bool) -> float:
    """The mean loss over all of the dataset, at a temperature that is not learned."""
    read, network = Recorded.of_dataset(dataset, 2)
    source = Decisions(read, network) if clone else Gains(read.links, network)
    fixed = {**parameters, "log_temperature": torch.full((1, 1, 1), math.log(0.5))}
    with torch.no_grad():
        return float(source.loss(fixed, CONFIG, np.arange(source.size), 0)[1][0])


@pytest.mark.parametrize("clone", [True, False])
def test_training_lowers_its_loss(dataset: Dataset, clone: bool) -> None:
    parameters, first, last = trained(dataset, clone=clone)
    assert last[0] < first[0]
    assert set(parameters) == set(initialise(CONFIG, [0]))
    before = total_loss(dataset, initialise(CONFIG, [0]), clone=clone)
    assert total_loss(dataset, parameters, clone=clone) < (0.99 if clone else 0.995) * before


@pytest.mark.parametrize("clone", [True, False])
def test_training_is_reproducible_and_seeds_differ(dataset: Dataset, clone: bool) -> None:
    one, again, other = (
        trained(dataset, clone=clone, seeds=(seed,), updates=4)[0] for seed in (3, 3, 4)
    )
    for name, tensor in one.items():
        assert torch.equal(tensor, again[name])
        assert not torch.equal(tensor, other[name])


def test_what_was_decided_matters_to_clones_alone(dataset: Dataset) -> None:
    silent = replace(dataset, action=torch.full_like(dataset.action, NETWORK.n_candidates))
    for clone in (True, False):
        one, other = (
            trained(each, clone=clone, updates=4)[0]["price.weights"] for each in (dataset, silent)
        )
        assert torch.equal(one, other) != clone


@pytest.mark.parametrize("clone", [True, False])
def test_it_learns_where_a_table_of_joint_actions_has_more_entries_than_atoms(clone: bool) -> None:
    config = RRMConfig(
        n_aps=16,
        n_ues=80,
        n_candidates=10,
        episode_length=5,
        area_side_m=200.0,
        **{**SEEN, "n_neighbours": 4},
    )
    sizes = GraphConfig(n_neighbours=4, n_interferers=4, width=8)
    assert config.n_actions**config.n_aps > 1e16
    reports: list[Progress] = []
    parameters = train_prices_on(
        recording(config, 40),
        sizes,
        [0],
        clone=clone,
        updates=20,
        batch_size=16,
        report=reports.append,
    )
    assert reports[-1].updates == 20
    assert all(math.isfinite(value) for report in reports for value in report.reached)
    played = evaluate(GraphPolicy.of(sizes, parameters), config, episodes=1)
    assert (played.sum_rate > 0).all()
