"""Losses equal published numbers and the reference implementation, alone and in a learner."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_learner import NaiveLearner
from torch import Tensor
from worlds import SCHEMES, make_learner, random_batch, random_mask, scatter_parameters

from marl.config import MIXINGS, Algorithm, Paradigm
from marl.data.transitions import Transitions
from marl.learner import losses
from marl.learner.heads import ILLEGAL
from marl.learner.learner import Learner
from marl.learner.mixing import apart, total
from marl.team import Team

CONSERVATIVE = 2.009102370871855
DOUBLE_HALF_SQUARED = 4.118258370871855
DOUBLE_HUBER = 3.076591704205188
"""The value that d3rlpy computes."""
MAX_HALF_SQUARED = 4.702853370871855
"""The value that TorchRL computes."""
WRONG_CONSERVATIVE = 2.0674357
"""The value with the mean of Q over all actions in place of Q of the data's action."""
Q = [[1, 2, 0.5, -1], [0, 0.3, 3, 1], [2, 2, -2, 0.5]]
NEXT_ONLINE = [[0.2, 1.1, 0.4, 0], [2, -1, 0.7, 1.5], [9, 9, 9, 9]]
NEXT_TARGET = [[0.5, 0.6, 0.9, 0.1], [1, 0, 2.5, 1.2], [8, 8, 8, 8]]
ACTIONS, REWARDS, TERMINATED, DISCOUNT = [1, 0, 3], [1, -0.5, 4], [0, 0, 1], 0.99
FORMS: list[tuple[dict[str, Any], float]] = [
    ({}, DOUBLE_HALF_SQUARED),
    ({"td_loss": "huber"}, DOUBLE_HUBER),
    ({"double_q": False}, MAX_HALF_SQUARED),
]

Nested = list[list[float]]
"""(B, M)."""


def as_stack(values: Any) -> Tensor:
    """Reshape (B, M) to float64 (C, S, K, B, M) with C = S = K = 1."""
    return torch.tensor(values, dtype=torch.float64)[None, None, None]


# --- Numbers computed elsewhere ---


def test_the_conservative_penalty_subtracts_the_value_of_the_datas_action() -> None:
    q = as_stack(Q)
    penalty = float(losses.conservative_penalty(q, torch.tensor(ACTIONS)[None, None]))
    assert penalty == pytest.approx(CONSERVATIVE, abs=1e-12)
    assert float((q.logsumexp(-1) - q.mean(-1)).mean()) == pytest.approx(
        WRONG_CONSERVATIVE, abs=1e-7
    )
    assert abs(penalty - WRONG_CONSERVATIVE) > 0.05


@pytest.mark.parametrize(("form", "expected"), FORMS)
def test_losses_equal_those_of_other_libraries(form: dict[str, Any], expected: float) -> None:
    online, target, chosen = (
        as_stack(NEXT_ONLINE),
        as_stack(NEXT_TARGET),
        torch.tensor(ACTIONS)[None, None],
    )
    value = (
        losses.double_q_value(online, target)
        if form.get("double_q", True)
        else losses.max_value(target)
    )
    reward, terminated = (
        torch.tensor(values, dtype=torch.float64)[None] for values in (REWARDS, TERMINATED)
    )
    errors = losses.take(as_stack(Q), chosen) - losses.td_target(
        reward, value, terminated, DISCOUNT
    )
    loss = losses.td_loss(
        errors, form.get("td_loss", "half_squared")
    ) + losses.conservative_penalty(as_stack(Q), chosen)
    assert float(loss) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("form", "expected"), FORMS)
@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_a_learner_of_one_agent_has_the_losses_of_other_libraries(
    paradigm: Paradigm, form: dict[str, Any], expected: float
) -> None:
    learner = make_learner(
        paradigm,
        "dqn",
        Team(1, 6, 4),
        hidden_sizes=(),
        batch_size=3,
        n_critics=1,
        reward_scale=1.0,
        discount=DISCOUNT,
        **form,
    )
    weights, biases = learner.layers[0]
    biases.zero_()
    weights[0].copy_(torch.tensor([*Q, *NEXT_ONLINE]))
    weights[1].copy_(torch.tensor([*Q, *NEXT_TARGET]))
    every, seen = torch.ones(1, 3, 1, 4, dtype=torch.uint8), torch.eye(6).view(2, 1, 3, 1, 6)
    chosen, reward, terminated = (
        torch.tensor(ACTIONS).view(1, 3, 1),
        torch.tensor([REWARDS]),
        torch.tensor([TERMINATED]),
    )
    learner.update(Transitions(seen[0], every, chosen, reward, seen[1], every, terminated))
    parts = dict(zip(learner.parts, learner.sums[:, 0].tolist(), strict=True))
    assert parts["penalty"] == pytest.approx(CONSERVATIVE, rel=1e-6)
    assert parts["td_loss"] + parts["penalty"] == pytest.approx(expected, rel=1e-6)
    assert parts["q"] == pytest.approx((2 + 0 + 0.5) / 3, rel=1e-6)


# --- Plain-Python twins ---


class Case:
    """Random values (C, B, M) and logits (B, M) of one seed and head, a mask and chosen actions.

    The chosen action of every row is legal.
    """

    def __init__(
        self, seed: int, critics: int, batch: int, actions: int, spread: float, temperature: float
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.temperature = temperature
        self.mask = random_mask(generator, batch, actions)
        self.chosen = self.mask.float().multinomial(1, generator=generator).squeeze(-1)
        self.values, self.online = (
            spread * torch.randn(critics, batch, actions, generator=generator).double()
            for _ in range(2)
        )
        self.logits = spread * torch.randn(batch, actions, generator=generator).double()

    def masked(self, values: Tensor) -> Tensor:
        """Values as learners pass them on: (..., 1, 1, B, M), with `ILLEGAL` added."""
        return (values + (1 - self.mask.double()) * ILLEGAL).unsqueeze(-3).unsqueeze(-3)

    @property
    def policy(self) -> losses.Distribution:
        """The softmax of the logits of the legal actions, (1, 1, B, M)."""
        return losses.Distribution.of(self.masked(self.logits))

    def rows(self) -> list[tuple[dict[int, float], dict[int, float], dict[int, float], int]]:
        """Probability, smallest value and smallest online value of each legal action.

        Yields one row for each transition, with the chosen action.
        """
        found = []
        for b in range(len(self.mask)):
            legal = [a for a in range(self.mask.shape[1]) if self.mask[b, a]]
            top = max(float(self.logits[b, a]) for a in legal)
            weights = {a: math.exp(float(self.logits[b, a]) - top) for a in legal}
            probability = {a: weight / sum(weights.values()) for a, weight in weights.items()}
            smallest, online = (
                {a: min(float(q[b, a]) for q in values) for a in legal}
                for values in (self.values, self.online)
            )
            found.append((probability, smallest, online, int(self.chosen[b])))
        return found


def entropy_of(probability: dict[int, float]) -> float:
    return -sum(p * math.log(p) for p in probability.values() if p > 0)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


cases = st.builds(
    Case,
    seed=st.integers(0, 2**32),
    critics=st.integers(1, 3),
    batch=st.integers(1, 4),
    actions=st.integers(1, 5),
    spread=st.sampled_from([0.0, 1.0, 30.0]),
    temperature=st.sampled_from([0.01, 0.5, 3.0]),
)


@given(cases)
def test_next_values_equal_their_plain_twins(case: Case) -> None:
    target_q, online_q = case.masked(case.values), case.masked(case.online)
    temperature = torch.full((1, 1), case.temperature, dtype=torch.float64)
    greedy, double, expected, counted = [], [], [], []
    for probability, smallest, online, _ in case.rows():
        greedy.append(max(smallest.values()))
        double.append(smallest[max(online, key=lambda a: (online[a], -a))])
        expected.append(sum(p * smallest[a] for a, p in probability.items()))
        counted.append(expected[-1] + case.temperature * entropy_of(probability))
    assert losses.max_value(target_q).flatten().tolist() == pytest.approx(greedy)
    assert losses.double_q_value(online_q, target_q).flatten().tolist() == pytest.approx(double)
    for soft_backup, twin in ((False, expected), (True, counted)):
        value = losses.soft_value(target_q, case.policy, temperature, soft_backup=soft_backup)
        assert value.flatten().tolist() == pytest.approx(twin)


@given(cases)
def test_policy_losses_equal_their_plain_twins(case: Case) -> None:
    temperature, q = (
        torch.full((1, 1), case.temperature, dtype=torch.float64),
        case.masked(case.values).amin(0),
    )
    actor, cloning, entropies, missing = [], [], [], []
    for probability, smallest, _, chosen in case.rows():
        actor.append(
            sum(
                p * (case.temperature * math.log(p) - smallest[a])
                for a, p in probability.items()
                if p > 0
            )
        )
        cloning.append(-math.log(probability[chosen]) if probability[chosen] > 0 else math.inf)
        entropies.append(entropy_of(probability))
        missing.append(entropies[-1] - 0.4 * math.log(len(probability)))
    target_entropy = 0.4 * case.mask.sum(-1).double().log()[None, None]
    assert float(losses.actor_loss(case.policy, q, temperature)) == pytest.approx(mean(actor))
    assert losses.entropy(case.policy).flatten().tolist() == pytest.approx(entropies)
    assert float(losses.cloning_loss(case.policy.log, case.chosen[None, None])) == pytest.approx(
        mean(cloning)
    )
    loss = losses.temperature_loss(temperature.log(), losses.entropy(case.policy), target_entropy)
    assert float(loss) == pytest.approx(case.temperature * mean(missing), abs=1e-12)


@given(cases)
def test_the_penalty_pulls_down_likely_actions_and_no_illegal_ones(case: Case) -> None:
    q = case.masked(case.values).requires_grad_()
    penalty = losses.conservative_penalty(q, case.chosen[None, None])
    (gradient,) = torch.autograd.grad(penalty.sum(), q)
    for c, values in enumerate(case.values):
        sums = []
        for b, row in enumerate(values.tolist()):
            legal = [a for a in range(len(row)) if case.mask[b, a]]
            top = max(row[a] for a in legal)
            total, chosen = sum(math.exp(row[a] - top) for a in legal), int(case.chosen[b])
            sums.append(top + math.log(total) - row[chosen])
            for a in range(len(row)):
                slope = float(gradient[c, 0, 0, b, a])
                if a in legal:
                    assert slope == pytest.approx(
                        (math.exp(row[a] - top) / total - (a == chosen)) / len(values), abs=1e-9
                    )
                else:
                    assert slope == 0
        assert float(penalty[c].detach()) == pytest.approx(mean(sums), abs=1e-9)


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_the_penalty_has_the_slope_of_finite_differences(first: float, second: float) -> None:
    def penalty(q: Tensor) -> Tensor:
        return losses.conservative_penalty(q[None, None, None], torch.tensor([[[1, 0]]])).sum()

    assert torch.autograd.gradcheck(
        penalty, (torch.tensor([[first, second, 0.3], [0.1, first, 2]]).double().requires_grad_(),)
    )


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=5))
def test_td_losses_equal_their_plain_twins(errors: list[float]) -> None:
    stacked = torch.tensor(errors, dtype=torch.float64)[None, None, None]
    huber = [abs(d) - 0.5 if abs(d) > 1 else d * d / 2 for d in errors]
    assert float(losses.td_loss(stacked, "half_squared")) == pytest.approx(
        mean([d * d / 2 for d in errors])
    )
    assert float(losses.td_loss(stacked, "huber")) == pytest.approx(mean(huber))


def test_values_of_heads_add_up_only_where_they_are_mixed() -> None:
    values = torch.arange(24.0).view(2, 1, 3, 4)
    assert torch.equal(apart(values), values)
    assert torch.equal(
        total(values),
        (values[:, :, 0] + values[:, :, 1] + values[:, :, 2]).unsqueeze(2),
    )


# --- All together ---


@st.composite
def learners(draw: st.DrawFn, paradigm: Paradigm, algorithm: Algorithm) -> Learner:
    """Learners of two seeds whose networks, normalisers and temperatures all differ."""
    learner = make_learner(
        paradigm,
        algorithm,
        Team(draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        seeds=(0, 1),
        batch_size=4,
        hidden_sizes=draw(st.sampled_from([(), (5,), (4, 3)])),
        n_critics=draw(st.integers(1, 2)),
        cql_alpha=draw(st.sampled_from([0.0, 0.7])),
        cql_reduction=draw(st.sampled_from(["sum", "mean", "weighted"])),
        cloning_weight=draw(st.sampled_from([0.0, 0.6])),
        deviation_weight=draw(st.sampled_from([0.0, 1.5])),
        mixing=draw(st.sampled_from(MIXINGS[algorithm] if paradigm == "ctde" else ["sum"])),
        mixing_width=3,
        td_loss=draw(st.sampled_from(["half_squared", "huber"])),
        double_q=draw(st.booleans()),
        soft_backup=draw(st.booleans()),
        automatic_temperature=draw(st.booleans()),
        reward_scale=draw(st.sampled_from([0.1, 2.0])),
        expectile=draw(st.sampled_from([0.5, 0.9])),
        advantage_weight=draw(st.sampled_from([0.0, 0.3, 3.0])),
        largest_weight=draw(st.sampled_from([2.0, 100.0])),
        observes="own" if paradigm == "c" else draw(st.sampled_from(["own", "all"])),
    )
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    scatter_parameters(learner, generator.initial_seed())
    for tensor in (learner.shift, learner.scale, learner.log_temperature.detach()):
        tensor.copy_(0.5 + 0.3 * torch.randn(tensor.shape, generator=generator))
    return learner


def assert_gradient(own: Tensor, expected: Tensor) -> None:
    """A gradient in float32, whose small entries may be what large terms leave of each other."""
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    atol = 1e-5 * max(1.0, 0.1 * largest)
    torch.testing.assert_close(own.double(), expected, rtol=1e-3, atol=atol)


@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
@settings(max_examples=15)
@given(data=st.data())
def test_an_update_follows_the_gradient_of_the_naive_twins_loss(
    paradigm: Paradigm, algorithm: Algorithm, data: st.DataObject
) -> None:
    learner = data.draw(learners(paradigm, algorithm))
    batch = random_batch(learner.team, 2, 4, data.draw(st.integers(0, 2**32)))
    twins = [NaiveLearner(learner, s) for s in range(2)]
    slopes: list[tuple[Tensor, ...]] = []
    totals: list[Tensor] = []
    for twin in twins:
        leaves = [tensor for layer in twin.parameters + twin.mixing for tensor in layer]
        leaves.append(twin.log_temperature)
        totals.append(twin.loss(batch))
        slopes.append(
            torch.autograd.grad(totals[-1], leaves, allow_unused=True, materialize_grads=True)
        )
    learner.update(batch)
    if not learner._adapts_temperature and not learner.roles.behaviour:
        if algorithm == "sac":
            learner.sums[learner.parts.index("cloning_loss")] *= learner.config.cloning_weight
        parts = dict(zip(learner.parts, learner.sums.double(), strict=True))
        critics = (
            learner.roles.critics
            * (parts["td_loss"] + learner.config.cql_alpha * parts.get("penalty", 0))
            if learner.roles.critics
            else 0
        )
        logged = critics + sum(
            parts[name] for name in ("actor_loss", "cloning_loss", "value_loss") if name in parts
        )
        torch.testing.assert_close(logged, torch.stack(totals).detach(), rtol=1e-3, atol=1e-4)
    for s, slope in enumerate(slopes):
        for depth, (weights, biases) in enumerate(learner._trained.gradients):
            for own, expected in (
                (weights[:, s], slope[2 * depth]),
                (biases[:, s, :, 0], slope[2 * depth + 1]),
            ):
                assert_gradient(own, expected[: learner.roles.trained])
                assert not expected[learner.roles.trained :].any()
        mixing = learner.mixing.gradients if learner.mixing else []
        for depth, (weights, biases) in enumerate(mixing, len(learner.layers)):
            for own, expected in (
                (weights[:, s, 0], slope[2 * depth]),
                (biases[:, s, 0, 0], slope[2 * depth + 1]),
            ):
                n = learner.roles.critics
                assert_gradient(own, expected[:n])
                assert not expected[n:].any()
        torch.testing.assert_close(
            learner._temperature_gradient[s].double(), slope[-1], rtol=1e-3, atol=1e-5
        )
