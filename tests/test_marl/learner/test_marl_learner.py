"""Learners of every scheme: gradients, seeds, updates, divergence, saving, loading and devices."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from toys import assert_equal_learners
from worlds import (
    FORMS,
    SCHEMES,
    copies,
    make_learner,
    outputs,
    random_batch,
    scatter_parameters,
    stored,
)

from marl import DivergenceError, Learner, Policy, Team
from marl.config import Algorithm, Paradigm
from marl.data.transitions import Transitions
from marl.learner.networks import Workspace, initialise, layer_sizes, multiply_adds, roles

TEAM = Team(2, 3, 3)
SEEDS = (0, 1, 2**30 - 1)


def train(learner: Learner, updates: int, n: int = 50) -> Learner:
    """The learner after some updates on transitions that all its seeds share."""
    rows, first = stored(TEAM, n), torch.zeros(len(learner.seeds), dtype=torch.int64)
    for _ in range(updates):
        learner.update_from(rows, torch.tensor(n), first)
    return learner


def fit_to(learner: Learner, rows: Transitions) -> None:
    """Normalise as for transitions (n, ...) that all seeds share."""
    learner.fit_normaliser(rows.observation.unsqueeze(0), rows.reward.unsqueeze(0))


# --- Networks ---


@given(
    sizes=st.tuples(*[st.integers(1, 4)] * 6),
    hidden=st.lists(st.integers(1, 5), max_size=3),
    seed=st.integers(0, 2**32),
    shared=st.booleans(),
)
def test_forward_and_backward_equal_autograds(
    sizes: tuple[int, ...], hidden: list[int], seed: int, shared: bool
) -> None:
    n_roles, n_seeds, n_heads, batch, n_inputs, n_outputs = sizes
    generator = torch.Generator().manual_seed(seed)
    layers = initialise(
        layer_sizes(n_inputs, hidden, n_outputs), n_roles, range(n_seeds), 1 if shared else n_heads
    )
    inputs = torch.randn(n_seeds, n_heads, batch, n_inputs, generator=generator)
    signal = torch.randn(n_roles, n_seeds, n_heads, batch, n_outputs, generator=generator)
    leaves = [tensor.double().requires_grad_() for layer in layers for tensor in layer]
    values = inputs.double().expand(n_roles, -1, -1, -1, -1)
    for depth in range(len(layers)):
        values = (values.relu() if depth else values) @ leaves[2 * depth] + leaves[2 * depth + 1]
    expected = torch.autograd.grad(values, leaves, signal.double())
    workspace = Workspace(layers, n_heads, batch, trains=True)
    for _ in range(2):
        torch.testing.assert_close(
            workspace.forward(inputs).double(), values.detach(), rtol=1e-4, atol=1e-5
        )
        gradients = [tensor for layer in workspace.backward(signal) for tensor in layer]
        for own, twin in zip(gradients, expected, strict=True):
            torch.testing.assert_close(own.double(), twin, rtol=1e-4, atol=1e-5)


def test_fresh_networks_are_uniform_within_bounds_and_depend_on_their_seed_alone() -> None:
    sizes = layer_sizes(16, [40, 30], 5)
    assert sizes == [(16, 40), (40, 30), (30, 5)]
    assert multiply_adds(sizes) == 16 * 40 + 40 * 30 + 30 * 5
    both, alone = initialise(sizes, 3, [7, 9], 2), initialise(sizes, 3, [9], 2)
    for (n_inputs, n_outputs), layer, own in zip(sizes, both, alone, strict=True):
        assert layer[0].shape == (3, 2, 2, n_inputs, n_outputs)
        assert layer[1].shape == (3, 2, 2, 1, n_outputs)
        bound = n_inputs**-0.5
        assert (
            stats.kstest(layer[0].flatten().numpy(), stats.uniform(-bound, 2 * bound).cdf).pvalue
            > 1e-3
        )
        assert all(tensor.abs().max() <= bound for tensor in layer)
        assert all(
            torch.equal(tensor[:, 1:], single) for tensor, single in zip(layer, own, strict=True)
        )
        assert all(len(set(tensor.flatten().tolist())) > 0.99 * tensor.numel() for tensor in layer)


def test_views_of_roles_share_their_parameters() -> None:
    layers = initialise([(2, 3)], 4, [0], 1)
    part = roles(layers, slice(1, 3))
    part[0][0].fill_(5)
    assert (layers[0][0][1:3] == 5).all()
    assert (layers[0][0][[0, 3]] != 5).all()


# --- Seeds side by side ---


@pytest.mark.parametrize(("paradigm", "algorithm", "options"), FORMS)
def test_stacked_seeds_learn_what_each_learns_alone(
    paradigm: Paradigm, algorithm: Algorithm, options: dict[str, Any]
) -> None:
    together = train(make_learner(paradigm, algorithm, TEAM, SEEDS, **options), 6).tensors()
    for s, seed in enumerate(SEEDS):
        alone = train(make_learner(paradigm, algorithm, TEAM, (seed,), **options), 6).tensors()
        for name in together:
            if name.startswith(("layers", "mixing")):
                torch.testing.assert_close(
                    together[name][:, s], alone[name][:, 0], rtol=1e-4, atol=1e-6
                )
        torch.testing.assert_close(
            together["log_temperature"][s], alone["log_temperature"][0], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(("paradigm", "algorithm", "options"), FORMS)
def test_equal_runs_are_equal_to_the_bit(
    paradigm: Paradigm, algorithm: Algorithm, options: dict[str, Any]
) -> None:
    first, second = (
        train(make_learner(paradigm, algorithm, TEAM, SEEDS, **options), 5) for _ in range(2)
    )
    assert_equal_learners(first, second)
    assert torch.equal(first.sums, second.sums)


# --- One update ---


@pytest.mark.parametrize(("paradigm", "algorithm", "options"), FORMS)
@pytest.mark.parametrize("rate", [0.005, 1.0])
def test_an_update_moves_every_parameter_and_targets_by_their_rate(
    paradigm: Paradigm, algorithm: Algorithm, options: dict[str, Any], rate: float
) -> None:
    learner = make_learner(
        paradigm, algorithm, TEAM, SEEDS, batch_size=256, target_rate=rate, **options
    )
    scatter_parameters(learner)
    for networks in (learner.layers, learner.mixing.layers if learner.mixing else []):
        for _, biases in networks[:1]:
            biases.add_(4)  # so that no hidden unit is always off
    before = copies(learner)
    batch = random_batch(TEAM, len(SEEDS), 256)
    # Weights of what a head never sees, such as actions after its own, stay.
    seen = (learner.head_inputs(batch.observation, batch.action) != 0).any(2)[..., None]
    learner.update(batch)
    n, critics = learner.roles.trained, learner.roles.critics
    weighs = options.get("cql_reduction") == "weighted"
    assert n == {"sac": 3, "dqn": 2, "bc": 1, "iql": 4, "omiga": 4}[algorithm] + weighs
    for name, tensor in learner.tensors().items():
        if name.startswith("layers"):
            copied = learner.roles.targets
            assert copied == critics + (algorithm == "omiga")
            assert len(tensor) == n + copied
            moves = torch.ones_like(tensor[:n], dtype=torch.bool)
            if name == "layers.0.weights":
                moves &= seen
            assert torch.equal(tensor[:n] != before[name][:n], moves), name
            expected = before[name][n:] + rate * (tensor[:copied] - before[name][n:])
            torch.testing.assert_close(tensor[n:], expected, rtol=1e-5, atol=1e-7)
        if name.startswith("mixing"):
            assert len(tensor) == 2 * critics
            assert (tensor[:critics] != before[name][:critics]).all(), name
            old = before[name][critics:]
            expected = old + rate * (tensor[:critics] - old)
            torch.testing.assert_close(tensor[critics:], expected, rtol=1e-5, atol=1e-7)
    assert (learner.log_temperature != before["log_temperature"]).all() == (algorithm == "sac")
    assert int(learner.updates) == 1


@pytest.mark.parametrize(("n_seeds", "size"), [(3, 15), (2, 16), (1, 16)])
def test_a_batch_of_another_size_is_refused(n_seeds: int, size: int) -> None:
    learner = make_learner("c", "dqn", TEAM, SEEDS)
    before = copies(learner)
    with pytest.raises(
        ValueError,
        match=r"^batch must hold \(seeds, batch_size\) = \(3, 16\) transitions, "
        rf"got \({n_seeds}, {size}\)$",
    ):
        learner.update(random_batch(TEAM, n_seeds, size))
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.tensors().items())


def test_targets_start_as_copies_of_their_critics() -> None:
    for weights, biases in make_learner("ctde", "sac", TEAM, SEEDS).layers:
        for tensor in (weights, biases):
            assert torch.equal(tensor[3:], tensor[:2])
            assert not torch.equal(tensor[0], tensor[1])


def test_targets_move_in_every_period_once() -> None:
    learner = make_learner("c", "dqn", TEAM, target_period=3, target_rate=1.0)
    targets = [learner.layers[0][0][2:].clone()]
    for _ in range(6):
        train(learner, 1)
        targets.append(learner.layers[0][0][2:].clone())
        if int(learner.updates) % 3 == 0:
            assert torch.equal(targets[-1], learner.layers[0][0][:2])
    assert [not torch.equal(a, b) for a, b in pairwise(targets)] == [
        False,
        False,
        True,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("automatic", [True, False])
def test_a_first_step_is_as_long_as_the_learning_rate_of_its_part(automatic: bool) -> None:
    rates = {
        "critic_learning_rate": 1e-2,
        "actor_learning_rate": 1e-3,
        "temperature_learning_rate": 1e-4,
    }
    learner = make_learner(
        "i", "sac", TEAM, SEEDS, automatic_temperature=automatic, batch_size=256, **rates
    )
    before = copies(learner)
    learner.update(random_batch(TEAM, len(SEEDS), 256))
    for name in ("layers.0.weights", "layers.1.biases"):
        moved = (learner.tensors()[name] - before[name]).abs()
        assert float(moved[:2].max()) == pytest.approx(1e-2, rel=1e-2)
        assert float(moved[2].max()) == pytest.approx(1e-3, rel=1e-2)
    moved = (learner.log_temperature.detach() - before["log_temperature"]).abs()
    torch.testing.assert_close(
        moved, torch.full_like(moved, 1e-4 if automatic else 0), rtol=1e-2, atol=0
    )


@pytest.mark.parametrize("shared", [True, False])
def test_the_normaliser_makes_features_standard_and_constant_ones_zero(shared: bool) -> None:
    learner = make_learner("c", "sac", TEAM, SEEDS, normalise_observations=True)
    observation = 5 + 3 * torch.randn(
        1 if shared else len(SEEDS), 200, 2, 3, generator=torch.Generator().manual_seed(0)
    )
    observation[..., 0, 1] = 7
    learner.fit_normaliser(observation, torch.zeros(observation.shape[:2]))
    seen = learner.head_inputs(observation.expand(len(SEEDS), -1, -1, -1))
    assert seen.shape == (3, 1, 200, 6)
    spread, mean = torch.std_mean(seen, dim=2, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)
    torch.testing.assert_close(
        spread, torch.tensor([1.0, 0, 1, 1, 1, 1]).expand_as(spread), rtol=1e-5, atol=0
    )
    fixed = make_learner("c", "sac", TEAM, normalise_observations=False)
    fixed.fit_normaliser(observation, torch.zeros(observation.shape[:2]))
    assert torch.equal(fixed.head_inputs(observation[:1]), observation[:1].flatten(2).unsqueeze(1))


# --- Supervision ---


@pytest.mark.parametrize(
    ("paradigm", "algorithm", "field", "value", "part"),
    [
        ("c", "sac", "reward", 1e30, "td_loss"),
        ("ctde", "dqn", "reward", -1e30, "td_loss"),
        ("ctde", "dqn", "next_observation", float("nan"), "td_loss"),
        ("i", "bc", "observation", float("nan"), "cloning_loss"),
    ],
)
def test_divergence_is_reported_with_update_part_and_seed_and_harms_no_other_seed(
    paradigm: Paradigm, algorithm: Algorithm, field: str, value: float, part: str
) -> None:
    learner, healthy = (make_learner(paradigm, algorithm, TEAM, (10, 11, 12)) for _ in range(2))
    for update in range(4):
        batch = random_batch(TEAM, 3, 16, update)
        healthy.update(batch)
        if update == 1:
            getattr(batch, field)[1, 3] = value
        learner.update(batch)
        if update == 0:
            learner.check()
            learner.check_finite()
    with pytest.raises(DivergenceError, match=f"^update 2: {part} of seed 11 diverged"):
        learner.check()
    healthy.check()
    for own, other in zip(learner.layers, healthy.layers, strict=True):
        assert torch.equal(own[0][:, [0, 2]], other[0][:, [0, 2]])


def test_the_first_of_several_divergences_is_reported() -> None:
    learner = make_learner("c", "dqn", TEAM, (10, 11))
    for update, spoiled in enumerate([None, 1, 0]):
        batch = random_batch(TEAM, 2, 16, update)
        if spoiled is not None:
            batch.reward[spoiled] = float("nan")
        learner.update(batch)
    with pytest.raises(DivergenceError, match=r"^update 2: td_loss of seed 11"):
        learner.check()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_spoiled_parameter_is_found_by_name(value: float) -> None:
    learner = make_learner("i", "sac", TEAM, SEEDS)
    learner.layers[1][0][0, 0, 0, 0, 0] = value
    with pytest.raises(DivergenceError, match=r"^update 0: layers\.1\.weights is not finite"):
        learner.check_finite()
    learner.update(random_batch(TEAM, len(SEEDS), 16))
    with pytest.raises(DivergenceError, match=r"^update 1: td_loss of seed 0 diverged"):
        learner.check()


# --- Saving and loading ---


@pytest.mark.parametrize(("paradigm", "algorithm", "options"), FORMS)
def test_a_loaded_learner_continues_to_the_bit(
    paradigm: Paradigm, algorithm: Algorithm, options: dict[str, Any]
) -> None:
    changes = {"normalise_observations": True, "target_period": 2, **options}
    learner = make_learner(paradigm, algorithm, TEAM, SEEDS, **changes)
    fit_to(learner, stored(TEAM, 50))
    saved = copies(train(learner, 3))
    loaded = make_learner(paradigm, algorithm, TEAM, SEEDS, **changes)
    loaded.load(saved)
    assert_equal_learners(loaded, learner)
    assert_equal_learners(train(loaded, 3), train(learner, 3))


def test_loading_refuses_what_does_not_fit_by_name_and_changes_nothing() -> None:
    learner = make_learner("c", "sac", TEAM)
    before, wider = copies(learner), copies(make_learner("c", "sac", TEAM, hidden_sizes=(9,)))
    with pytest.raises(
        ValueError,
        match=r"layers\.0\.weights must be torch\.float32 of shape \(5, 1, 1, 6, 8\), "
        r"found torch\.float32 of shape \(5, 1, 1, 6, 9\)",
    ):
        learner.load(wider)
    for name in before:
        with pytest.raises(ValueError, match=rf"{name} must .*, found nothing"):
            learner.load({other: 2 * tensor for other, tensor in before.items() if other != name})
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.tensors().items())


@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
def test_a_policy_keeps_what_was_learned_when_it_was_taken(
    paradigm: Paradigm, algorithm: Algorithm
) -> None:
    learner = train(make_learner(paradigm, algorithm, TEAM, SEEDS, normalise_observations=True), 1)
    fit_to(learner, stored(TEAM, 50))
    batch = random_batch(TEAM, len(SEEDS), 30)
    values = outputs(learner, batch.observation)
    critics = values[:2].mean(0) if paradigm == "ctde" else values[:2].amin(0)
    preferred = critics if algorithm == "dqn" else values[learner.roles.trained - 1]
    greedy = learner.heads.actions((preferred + learner.heads.bias(batch.mask)).argmax(-1))
    policies = [Policy.of_learner(learner, k) for k in range(len(SEEDS))]
    learner.shift += 1
    train(learner, 3)
    for k, policy in enumerate(policies):
        assert np.array_equal(
            policy.actions(batch.observation[k].numpy(), batch.mask[k].numpy()), greedy[k]
        )


# --- Devices ---


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("paradigm", "algorithm"), SCHEMES)
def test_cpu_and_cuda_agree(paradigm: Paradigm, algorithm: Algorithm) -> None:
    on_cpu, on_cuda = (
        make_learner(paradigm, algorithm, TEAM, SEEDS, device=device) for device in ("cpu", "cuda")
    )
    for update in range(3):
        batch = random_batch(TEAM, len(SEEDS), 16, update)
        on_cpu.update(batch)
        on_cuda.update(batch.__class__(*(field.cuda() for field in batch)))
    for name, tensor in on_cpu.tensors().items():
        if not name.startswith("adam"):
            torch.testing.assert_close(on_cuda.tensors()[name].cpu(), tensor, rtol=1e-3, atol=1e-5)
    observation, mask = random_batch(TEAM, len(SEEDS), 40)[:2]
    explored = on_cuda.explore(observation.cuda(), mask.cuda(), torch.tensor(5).cuda(), 1.0)
    assert torch.equal(explored.cpu(), on_cpu.explore(observation, mask, torch.tensor(5), 1.0))
