"""Stacked multilayer perceptrons: all roles, seeds and heads in one tensor per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]
"""Parameters of N roles, S seeds and K heads.

There are weights (N, S, K, inputs, outputs) and biases (N, S, K, 1, outputs) for each layer.
"""


def layer_sizes(
    n_inputs: int, hidden_sizes: Sequence[int], n_outputs: int
) -> list[tuple[int, int]]:
    """The numbers of inputs and outputs of each layer, first layer first."""
    widths = [n_inputs, *hidden_sizes, n_outputs]
    return list(pairwise(widths))


def initialise(
    sizes: Sequence[tuple[int, int]], n_roles: int, seeds: Sequence[int], n_heads: int
) -> Layers:
    """New networks on the CPU, with weights and biases uniform within +-1 / sqrt(inputs).

    Each seed draws from a generator of its own, so that its networks do not depend on other seeds.

    Args:
        sizes: numbers of inputs and outputs of each layer, as `layer_sizes` gives them.
        n_roles: N.
        seeds: S seeds.
        n_heads: K.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def drawn(rows: int, columns: int, bound: float) -> Tensor:
        """Uniform parameters (N, S, K, rows, columns)."""
        shape = n_roles, n_heads, rows, columns
        return torch.stack(
            [torch.empty(shape).uniform_(-bound, bound, generator=own) for own in generators], 1
        )

    layers = []
    for n_inputs, n_outputs in sizes:
        bound = 1 / math.sqrt(n_inputs)
        weights = drawn(n_inputs, n_outputs, bound)
        biases = drawn(1, n_outputs, bound)
        layers.append((weights, biases))
    return layers


def roles(layers: Layers, which: slice) -> Layers:
    """Views of the networks of a range of roles."""
    return [(weights[which], biases[which]) for weights, biases in layers]


def multiply_adds(sizes: Sequence[tuple[int, int]]) -> int:
    """Multiply-add operations of one network for one input; biases are not counted."""
    return sum(n_inputs * n_outputs for n_inputs, n_outputs in sizes)


class Workspace:
    """Forward and backward passes of stacked networks for a fixed batch size.

    Each layer is one batched matrix product, and all intermediate results have buffers that are
    allocated once. The backward pass is written out instead of recorded by torch: at these sizes,
    new memory for every intermediate result would cost a fifth of an update. Because of the
    buffers, only one thread may use a workspace at a time.

    Args:
        layers: the networks, as `initialise` gives them. They are read at every call, so that
            parameters may change in place between calls.
        n_heads: K; networks with one head may serve several.
        batch: B.
        trains: whether `backward` will be called.
    """

    gradients: Layers
    """Gradients of the parameters that the last `backward` computed; empty without ``trains``."""

    def __init__(self, layers: Layers, n_heads: int, batch: int, *, trains: bool = False) -> None:
        self.n_heads = n_heads
        self.batch = batch
        self._shape = layers[0][0].shape[:3]
        rows = batch * n_heads // self._shape[2]
        self._flat = [(weights.flatten(0, 2), biases.flatten(0, 2)) for weights, biases in layers]
        first = self._flat[0][0]

        def empty(features: int) -> Tensor:
            return first.new_empty(first.shape[0], rows, features)

        outputs = [empty(weights.shape[-1]) for weights, _ in self._flat]
        self._values = [empty(first.shape[1]), *outputs]
        self._signals: list[Tensor] = []
        self.gradients = []
        if trains:
            self._signals = [empty(weights.shape[1]) for weights, _ in self._flat[1:]]
            self.gradients = [
                (torch.empty_like(weights), torch.empty_like(biases)) for weights, biases in layers
            ]

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, S, K, B, outputs) for inputs (S, K, B, features).

        The next call overwrites the outputs.
        """
        self._values[0].view(*self._shape[:2], *inputs.shape[1:]).copy_(inputs)
        last = len(self._flat) - 1
        for depth, (weights, biases) in enumerate(self._flat):
            out = self._values[depth + 1]
            torch.baddbmm(biases, self._values[depth], weights, out=out)
            if depth < last:
                out.relu_()
        outputs = self._values[-1]
        return outputs.view(*self._shape[:2], self.n_heads, self.batch, outputs.shape[-1])

    def backward(self, signal: Tensor) -> Layers:
        """The `gradients` of a loss with respect to all parameters.

        ``signal`` is the gradient of the loss with respect to the outputs of the last `forward`,
        (N, S, K, B, outputs).
        """
        signal = signal.reshape(self._values[-1].shape)
        for depth in reversed(range(len(self._flat))):
            values = self._values[depth]
            weight_gradient, bias_gradient = (
                gradient.view(-1, *gradient.shape[-2:]) for gradient in self.gradients[depth]
            )
            torch.bmm(values.transpose(1, 2), signal, out=weight_gradient)
            torch.sum(signal, 1, keepdim=True, out=bias_gradient)
            if depth > 0:
                weights, _ = self._flat[depth]
                signal = torch.bmm(signal, weights.transpose(1, 2), out=self._signals[depth - 1])
                torch.ops.aten.threshold_backward.grad_input(signal, values, 0, grad_input=signal)
        return self.gradients
