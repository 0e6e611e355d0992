"""How updates save time: networks take turns, rounded numbers, one step of Adam, fewer slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from worlds import copies, make_learner, random_batch, scatter_parameters

from marl import LearnerConfig, Team
from marl.config import Algorithm, Paradigm
from marl.learner import losses, networks
from marl.learner.heads import ILLEGAL
from marl.learner.networks import Layers, Workspace, initialise, layer_sizes
from marl.learner.optimiser import Adam, Group
from marl.learner.rounded import RoundedWorkspace

TEAM = Team(2, 3, 3)
SIZES = layer_sizes(6, [9, 8], 5)


def normal(seed: int, *shape: int) -> Tensor:
    """Normal float32 numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def passes(workspace: Workspace, inputs: Tensor, *signals: Tensor) -> list[Tensor]:
    """The outputs, and the gradients of all parameters."""
    outputs = workspace.forward(inputs).clone()
    return [outputs, *(slope.clone() for layer in workspace.backward(*signals) for slope in layer)]


def three_networks() -> tuple[Layers, Tensor, Tensor]:
    """Three networks of one seed and head, with inputs and the outputs' signals of a batch."""
    return initialise(SIZES, 3, [4], 1), normal(0, 1, 1, 7, 6), normal(1, 3, 1, 1, 7, 5)


# --- Turns of large networks ---


@pytest.fixture(name="set_threads")
def _set_threads() -> Iterator[Callable[[int], None]]:
    """A function that sets the number of torch's threads, whatever the machine has."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "calls"), [(1, [3] * 5), (2, [2] * 5 + [1] * 5)])
def test_large_networks_take_turns_and_compute_the_same(
    threads: int,
    calls: list[int],
    set_threads: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_threads(threads)
    layers, inputs, signal = three_networks()
    whole = passes(Workspace(layers, 1, 7, trains=True), inputs, signal)
    found_calls: list[int] = []
    product = torch.bmm

    def counted(first: Tensor, second: Tensor, *, out: Tensor) -> Tensor:
        found_calls.append(len(out))
        return product(first, second, out=out)

    monkeypatch.setattr(networks, "LARGE_PRODUCT", 7 * 9 * 8)  # the middle layer's
    divided = Workspace(layers, 1, 7, trains=True)
    monkeypatch.setattr(torch, "bmm", counted)
    found = passes(divided, inputs, signal)
    assert found_calls == calls  # gradients of three layers' weights and two layers' inputs
    for own, expected in zip(found, whole, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("threads", "n", "operations", "dtype", "sizes"),
    [
        (2, 3, 2**24, torch.float32, [2, 1]),
        (2, 1, 2**24, torch.float32, [1]),
        (2, 12, 2**24, torch.float32, [12]),
        (2, 3, 2**21, torch.float32, [3]),
        (2, 3, 2**24, torch.bfloat16, [3]),
        (3, 7, 2**24, torch.float32, [6, 1]),
        (1, 6, 2**24, torch.float32, [4, 2]),
        (1, 3, 2**24, torch.float32, [3]),
        (1, 6, 2**21, torch.float32, [6]),
    ],
)
def test_networks_take_turns_where_products_are_large(
    threads: int,
    n: int,
    operations: int,
    dtype: torch.dtype,
    sizes: list[int],
    set_threads: Callable[[int], None],
) -> None:
    set_threads(threads)
    shares = networks._shares(n, operations, torch.empty(0, dtype=dtype))
    assert [len(range(n)[share]) for share in shares] == sizes
    assert [k for share in shares for k in range(n)[share]] == list(range(n))


def test_signals_may_come_apart_by_roles() -> None:
    layers, inputs, signal = three_networks()
    workspace = Workspace(layers, 1, 7, trains=True)
    whole = passes(workspace, inputs, signal)
    parts = passes(workspace, inputs, signal[:2], signal[2:])
    assert all(torch.equal(own, other) for own, other in zip(whole, parts, strict=True))


# --- Rounded numbers ---


def test_rounded_passes_are_those_of_rounded_numbers() -> None:
    layers, inputs, signal = three_networks()
    exact = passes(Workspace(layers, 1, 7, trains=True), inputs, signal)
    workspace = RoundedWorkspace(layers, 1, 7, trains=True)
    for other in (False, True):
        found = passes(workspace, inputs, signal)
        for own, expected in zip(found, exact, strict=True):
            assert own.dtype == torch.float32
            assert torch.equal(own, own.bfloat16().float())
            assert other or not torch.equal(own, expected)
            error = (own - expected).abs().max() / expected.abs().max()
            assert other or error < 0.03
        for weights, biases in layers:  # they are read at every call
            weights.zero_()
            biases.fill_(1.5)
    assert torch.equal(found[0], torch.full_like(found[0], 1.5))


@pytest.mark.parametrize(("paradigm", "algorithm"), [("c", "sac"), ("ctde", "dqn"), ("i", "iql")])
def test_an_update_with_rounded_products_is_nearly_the_same(
    paradigm: Paradigm, algorithm: Algorithm
) -> None:
    learners = [
        make_learner(paradigm, algorithm, TEAM, (3, 5), batch_size=64, products=products)
        for products in ("float32", "bfloat16")
    ]
    for learner in learners:
        scatter_parameters(learner)
        learner.update(random_batch(TEAM, 2, 64))
        learner.check()
    exact, rounded = (copies(learner) for learner in learners)
    for name, tensor in rounded.items():
        assert tensor.dtype == exact[name].dtype
        if name.startswith("adam") and name.endswith("exp_avg"):
            assert not torch.equal(tensor, exact[name])
            error = (tensor - exact[name]).norm() / exact[name].norm()
            assert error < 0.1, (name, error)


def test_ppo_multiplies_float32() -> None:
    with pytest.raises(ValueError, match="products = 'bfloat16' must not come with algorithm"):
        LearnerConfig(paradigm="i", algorithm="ppo", products="bfloat16")


# --- One step of Adam for all groups ---


@pytest.mark.parametrize("rates", [(0.01, 0.01, 0.01), (0.01, 0.1, 0.01)])
def test_adam_equals_torchs(rates: tuple[float, ...]) -> None:
    own = [normal(k, 2, 3) for k in range(3)]
    gradients = [torch.empty(2, 3) for _ in own]
    twins = [tensor.clone().requires_grad_() for tensor in own]
    adam = Adam([Group([p], [g], rate) for p, g, rate in zip(own, gradients, rates, strict=True)])
    reference = torch.optim.Adam(
        [{"params": [twin], "lr": rate} for twin, rate in zip(twins, rates, strict=True)]
    )
    for step in range(4):
        for k, (gradient, twin) in enumerate(zip(gradients, twins, strict=True)):
            gradient.copy_(normal(10 * step + k, 2, 3))
            twin.grad = gradient.clone()
        adam.step()
        reference.step()
    for tensor, twin in zip(own, twins, strict=True):
        torch.testing.assert_close(tensor, twin.detach(), rtol=1e-5, atol=1e-6)
    assert [float(adam.tensors()[f"adam.{k}.step"]) for k in range(3)] == [4.0] * 3


# --- Slopes that leave the logarithm out ---


@given(st.integers(0, 2**32))
def test_slopes_of_policies_are_those_of_finite_differences(seed: int) -> None:
    logits, q = (normal(seed + k, 1, 2, 3, 4).double() for k in range(2))
    bias = torch.zeros_like(q)
    bias[..., 1:, 3] = ILLEGAL
    temperature = torch.tensor([[0.3, 2.0]]).double()

    def actor(logits: Tensor) -> Tensor:
        policy = losses.Distribution.of(logits + bias)
        return losses.actor_loss(policy, (q + bias).detach(), temperature)

    def entropy(logits: Tensor) -> Tensor:
        return losses.entropy(losses.Distribution.of(logits + bias))

    assert torch.autograd.gradcheck(actor, (logits.requires_grad_(),))
    assert torch.autograd.gradcheck(entropy, (logits,))
