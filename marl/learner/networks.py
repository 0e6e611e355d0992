"""Stacked multilayer perceptrons: every network of every seed, head and role in one tensor per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

Layers = list[tuple[Tensor, Tensor]]
"""Per layer: weights (N, S, K, inputs, outputs) and biases (N, S, K, 1, outputs) of N roles, S seeds and K heads."""


def layer_sizes(
    n_inputs: int, hidden_sizes: Sequence[int], n_outputs: int
) -> list[tuple[int, int]]:
    """(inputs, outputs) of each layer."""
    widths = [n_inputs, *hidden_sizes, n_outputs]
    return list(pairwise(widths))


def initialise(
    sizes: Sequence[tuple[int, int]], n_roles: int, seeds: Sequence[int], n_heads: int
) -> Layers:
    """Fresh networks, on the CPU: weights and biases uniform within 1 / sqrt(inputs).

    Each seed draws from a generator of its own, so a seed's networks do not depend on the seeds beside it.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    layers = []
    for n_inputs, n_outputs in sizes:
        bound = 1 / math.sqrt(n_inputs)
        drawn = [
            [
                torch.empty(n_roles, n_heads, rows, n_outputs).uniform_(
                    -bound, bound, generator=generator
                )
                for generator in generators
            ]
            for rows in (n_inputs, 1)
        ]
        layers.append((torch.stack(drawn[0], 1), torch.stack(drawn[1], 1)))
    return layers


def roles(layers: Layers, which: slice) -> Layers:
    """Views of the networks of some roles."""
    return [(weights[which], biases[which]) for weights, biases in layers]


def multiply_adds(sizes: Sequence[tuple[int, int]]) -> int:
    """Multiply-adds of one network for one input."""
    return sum(n_inputs * n_outputs for n_inputs, n_outputs in sizes)


class Workspace:
    """Forward and backward pass of a stack of networks over a fixed batch size, one batched matmul per layer, in buffers made once.

    The backward pass is written out, not recorded: at these sizes fresh memory for every intermediate result costs a fifth of an update.
    The buffers make it a thing of one thread.

    Args:
        layers: the networks, as `initialise` gives them; read at every call, so parameters may change in place between calls.
        n_heads: K; networks made for one head may serve several.
        batch: B.
        trains: whether `backward` will be called.
    """

    def __init__(self, layers: Layers, n_heads: int, batch: int, *, trains: bool = False) -> None:
        self.n_heads, self.batch = n_heads, batch
        self._shape = layers[0][0].shape[:3]
        rows = batch * n_heads // self._shape[2]
        self._flat = [(weights.flatten(0, 2), biases.flatten(0, 2)) for weights, biases in layers]
        first = self._flat[0][0]

        def empty(features: int) -> Tensor:
            return first.new_empty(first.shape[0], rows, features)

        self._values = [empty(first.shape[1])] + [
            empty(weights.shape[-1]) for weights, _ in self._flat
        ]
        self._signals = [empty(weights.shape[1]) for weights, _ in self._flat[1:]] if trains else []
        self.gradients: Layers = (
            [(torch.empty_like(weights), torch.empty_like(biases)) for weights, biases in layers]
            if trains
            else []
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, S, K, B, outputs) for inputs (S, K, B, features); the next call overwrites them."""
        self._values[0].view(*self._shape[:2], *inputs.shape[1:]).copy_(inputs)
        last = len(self._flat) - 1
        for depth, (weights, biases) in enumerate(self._flat):
            values = torch.baddbmm(
                biases, self._values[depth], weights, out=self._values[depth + 1]
            )
            if depth < last:
                values.relu_()
        return self._values[-1].view(
            *self._shape[:2], self.n_heads, self.batch, self._values[-1].shape[-1]
        )

    def backward(self, signal: Tensor) -> Layers:
        """`gradients` of a loss by all parameters, from its gradient (N, S, K, B, outputs) by the last outputs."""
        flowing = signal.reshape(self._values[-1].shape)
        for depth in reversed(range(len(self._flat))):
            values, (weight_gradient, bias_gradient) = self._values[depth], self.gradients[depth]
            torch.bmm(
                values.transpose(1, 2),
                flowing,
                out=weight_gradient.view(-1, *weight_gradient.shape[-2:]),
            )
            torch.sum(
                flowing, 1, keepdim=True, out=bias_gradient.view(-1, *bias_gradient.shape[-2:])
            )
            if depth > 0:
                flowing = torch.bmm(
                    flowing, self._flat[depth][0].transpose(1, 2), out=self._signals[depth - 1]
                )
                torch.ops.aten.threshold_backward.grad_input(flowing, values, 0, grad_input=flowing)
        return self.gradients
