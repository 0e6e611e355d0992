"""The loss of cloning judges each access point's action beside the recorded ones of all others."""

from __future__ import annotations

import math
from typing import Any

import naive_graph
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scripted import drawn, links_of, random_gains

from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH
from marl.graph.cloning import cloning_loss, counterfactual_values
from rrm_env import SILENT

sizes = st.sampled_from([(1, 3, 2), (2, 5, 1), (3, 7, 2), (4, 9, 3), (6, 14, 2), (5, 3, 4)])
fadings = st.sampled_from([1.0, RAYLEIGH])


class Decision:
    """Random gains and weights of an episode, and a random joint action."""

    def __init__(self, seed: int, size: tuple[int, int, int], spread_db: float = 20.0) -> None:
        n_aps, n_ues, k = size
        generator = np.random.default_rng(seed)
        gain, association = random_gains(generator, 1, n_aps, n_ues, spread_db)
        self.gain, self.association, self.k = gain[0].tolist(), association[0].tolist(), k
        self.links = links_of(gain, association, k)
        self.weight = generator.exponential(size=n_ues)
        self.served = [
            int(generator.choice([SILENT, *np.flatnonzero(association[0] == i)]))
            for i in range(n_aps)
        ]

    @property
    def action(self) -> NDArray[np.int64]:
        """(1, I) the recorded joint action."""
        return np.array([self.served])

    @property
    def weights(self) -> torch.Tensor:
        """(1, J) the weights."""
        return torch.from_numpy(self.weight[None].copy())

    def own(self, ap: int) -> list[int]:
        """The users of an AP."""
        return [user for user, x in enumerate(self.association) if x == ap]

    def values(self, fading: float) -> list[dict[int, float]]:
        """Of each AP, the total value of every action beside the recorded ones of all others."""
        value = naive_graph.Value(self.gain, self.association, self.k, self.weight.tolist(), fading)
        found = []
        for ap in range(len(self.served)):
            exchanged = {}
            for action in [SILENT, *self.own(ap)]:
                joint = [*self.served[:ap], action, *self.served[ap + 1 :]]
                exchanged[action] = value.of_action(joint)
            found.append(exchanged)
        return found

    def loss(self, fading: float) -> float:
        """By enumeration: the mean of log sum exp of all actions less the recorded one."""
        terms = [
            math.log(math.fsum(math.exp(v - q[action]) for v in q.values()))
            for q, action in zip(self.values(fading), self.served, strict=True)
        ]
        return math.fsum(terms) / len(terms)


@given(drawn, sizes, fadings)
def test_values_are_total_values_with_one_action_exchanged(
    seed: int, size: tuple[int, int, int], fading: float
) -> None:
    decision = Decision(seed, size)
    alone, harm = counterfactual_values(decision.links, decision.action, decision.weights, fading)
    for ap, values in enumerate(decision.values(fading)):
        for user in decision.own(ap):
            found = float(alone[0, user] - harm[0, ap])
            assert found == pytest.approx(values[user] - values[SILENT], rel=1e-4, abs=1e-5)


@given(drawn, sizes, fadings)
def test_the_loss_is_that_of_an_enumeration(
    seed: int, size: tuple[int, int, int], fading: float
) -> None:
    decision = Decision(seed, size)
    found = cloning_loss(decision.links, decision.action, decision.weights, fading)
    assert found.shape == (1,)
    assert found.item() == pytest.approx(decision.loss(fading), rel=1e-4, abs=1e-5)


@settings(max_examples=20)
@given(drawn, sizes)
def test_gradients_are_those_of_finite_differences(seed: int, size: tuple[int, int, int]) -> None:
    decision = Decision(seed, size)
    weight = decision.weights.requires_grad_()
    cloning_loss(decision.links, decision.action, weight).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    step = 1e-6
    for user in range(size[1]):
        ends = []
        for sign in (1, -1):
            moved = decision.weights.detach().clone()
            moved[0, user] += sign * step
            ends.append(cloning_loss(decision.links, decision.action, moved).item())
        slope = (ends[0] - ends[1]) / (2 * step)
        assert weight.grad[0, user].item() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def padded(links: Links, generator: np.random.Generator, n_places: int = 3) -> Links:
    """The same links and some places without users, whose numbers are anything."""
    b, _, k = links.cross.shape
    n_aps = links.neighbours.shape[1]

    def more(array: NDArray[Any], value: Any) -> NDArray[Any]:
        return np.concatenate([array, value.astype(array.dtype)], 1)

    return Links(
        own=more(links.own, generator.exponential(1e4, (b, n_places))),
        cross=more(links.cross, generator.exponential(1e3, (b, n_places, k))),
        rest=more(links.rest, generator.exponential(1e3, (b, n_places))),
        association=more(links.association, generator.integers(0, n_aps, (b, n_places))),
        neighbours=links.neighbours,
        present=more(links.present, np.zeros((b, n_places))),
    )


@given(drawn, sizes)
def test_places_without_users_change_nothing(seed: int, size: tuple[int, int, int]) -> None:
    decision, generator = Decision(seed, size), np.random.default_rng(seed)
    links = padded(decision.links, generator)
    weight = torch.cat([decision.weights, torch.full((1, 3), 7.0)], 1).requires_grad_()
    loss = cloning_loss(links, decision.action, weight)
    wanted = cloning_loss(decision.links, decision.action, decision.weights)
    torch.testing.assert_close(loss, wanted)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert bool(weight.grad.isfinite().all())
    assert weight.grad[0, -3:].tolist() == [0, 0, 0]


def test_each_decision_of_a_batch_has_its_own_loss() -> None:
    decisions = [Decision(seed, (3, 7, 2)) for seed in range(4)]
    links = Links._make(
        np.concatenate(arrays)
        for arrays in zip(*(decision.links for decision in decisions), strict=True)
    )
    together = cloning_loss(
        links,
        np.concatenate([decision.action for decision in decisions]),
        torch.cat([decision.weights for decision in decisions]),
    )
    for found, decision in zip(together.tolist(), decisions, strict=True):
        assert found == pytest.approx(decision.loss(RAYLEIGH), rel=1e-4, abs=1e-5)


def test_one_ap_chooses_among_its_users_and_silence() -> None:
    links = links_of([[[1.0, 3.0]]], [[0, 0]], 2)
    weight = torch.tensor([[2.0, 0.5]], dtype=torch.float64)  # so values are 2 and 1
    total = math.exp(2) + math.exp(1) + 1
    for action, value in ((0, 2.0), (1, 1.0), (SILENT, 0.0)):
        loss = cloning_loss(links, np.array([[action]]), weight, fading=1.0)
        assert loss.item() == pytest.approx(math.log(total) - value)
    _, harm = counterfactual_values(links, np.array([[0]]), weight, fading=1.0)
    assert harm.tolist() == [[0.0]]


def test_where_all_are_silent_nobody_is_harmed_and_aps_without_users_cost_nothing() -> None:
    decision = Decision(3, (4, 6, 3))
    decision.association = [0, 0, 1, 1, 2, 2]
    decision.links = links_of([decision.gain], [decision.association], 3)
    decision.served = [SILENT] * 4
    _, harm = counterfactual_values(decision.links, decision.action, decision.weights)
    assert harm.tolist() == [[0.0] * 4]
    loss = cloning_loss(decision.links, decision.action, decision.weights)
    assert loss.item() == pytest.approx(decision.loss(RAYLEIGH), rel=1e-5)
    # The last AP has one action, which is certain; the others have three.
    nothing = cloning_loss(decision.links, decision.action, torch.zeros(1, 6))
    assert nothing.item() == pytest.approx(math.log(3) * 3 / 4, rel=1e-6)


def test_high_values_do_not_overflow() -> None:
    decision = Decision(1, (3, 7, 2))
    weight = (1e5 * decision.weights).requires_grad_()
    loss = cloning_loss(decision.links, decision.action, weight)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert bool(loss.isfinite().all())
    assert weight.grad is not None
    assert bool(weight.grad.isfinite().all())


def test_a_cloned_policy_serves_whom_the_recorded_one_served() -> None:
    """Weights that are learned from decisions of known weights decide like these."""
    n_aps, n_ues, k, b = 3, 6, 2, 160
    generator = np.random.default_rng(0)
    gain, _ = random_gains(generator, b, n_aps, n_ues, 8.0)
    association = [0, 0, 1, 1, 2, 2]
    truth = [0.3, 3.0, 2.5, 0.4, 0.2, 2.0]

    def best(b: int, weight: list[float]) -> list[int]:
        value = naive_graph.Value(gain[b].tolist(), association, k, weight, RAYLEIGH)
        joint = [value.best_users(on) for on in naive_graph.sets(n_aps)]
        return max(joint, key=value.of_action)

    links = links_of(gain, [association] * b, k)
    served = np.array([best(episode, truth) for episode in range(b)])
    log_weight = torch.zeros(1, n_ues, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([log_weight], 0.1)
    for _ in range(150):
        optimiser.zero_grad()
        loss = cloning_loss(links, served, log_weight.exp().expand(b, -1)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    learned = log_weight.detach().exp()[0].tolist()

    def agreement(weight: list[float]) -> float:
        return float(np.mean([best(n, weight) == served[n].tolist() for n in range(60)]))

    assert agreement(learned) > 0.75
    assert agreement(learned) > agreement([1.0] * n_ues) + 0.3
