"""Stacked multilayer perceptrons: all roles, seeds and heads in one tensor per layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

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


LARGE_PRODUCT = 2**22
"""Multiply-adds from which on a matrix product is worth the work of all threads."""


def _shares(n: int, operations: int, like: Tensor) -> list[slice]:
    """How n networks, whose largest matrix product has so many multiply-adds, take turns.

    On a CPU each thread takes whole matrices of float32. A single network that is left over has
    products of its own, which the threads share. One thread alone takes four networks through all
    layers before the next ones, so that their values stay in the cache; several would wait for each
    other too often.
    """
    if not like.is_cpu or like.dtype != torch.float32 or operations < LARGE_PRODUCT:
        return [slice(n)]
    threads = torch.get_num_threads()
    if threads == 1:
        return [slice(first, min(first + 4, n)) for first in range(0, n, 4)]
    return [slice(n - 1), slice(n - 1, n)] if n > 1 and n % threads == 1 else [slice(n)]


class _Layer(NamedTuple):
    """Views of what one layer of n networks reads and writes.

    They are made once, since making them takes longer than a small product. Those of the backward
    pass are empty where nothing trains, and `signal_before` is in the first layer.
    """

    biases: Tensor
    """(n, 1, outputs)."""
    inputs: Tensor
    """(n, rows, inputs)."""
    weights: Tensor
    """(n, inputs, outputs)."""
    outputs: Tensor
    """(n, rows, outputs)."""
    signal: Tensor
    """(n, rows, outputs), the gradient of the loss by the outputs."""
    signal_before: Tensor
    """(n, rows, inputs), that by the inputs."""
    weight_gradient: Tensor
    bias_gradient: Tensor
    turned_inputs: Tensor
    """(n, inputs, rows)."""
    turned_weights: Tensor
    """(n, outputs, inputs)."""


def _layer(
    parameters: tuple[Tensor, Tensor],
    inputs: Tensor,
    outputs: Tensor,
    signal: Tensor,
    signal_before: Tensor,
    gradients: tuple[Tensor, Tensor],
) -> _Layer:
    """The layer of all networks, from parameters and gradients (N, S, K, ...), and buffers."""
    weights, biases = (tensor.flatten(0, 2) for tensor in parameters)
    return _Layer(
        biases,
        inputs,
        weights,
        outputs,
        signal,
        signal_before,
        gradients[0].flatten(0, 2),
        gradients[1].flatten(0, 2),
        inputs.mT,
        weights.mT,
    )


class Workspace:
    """Forward and backward passes of stacked networks for a fixed batch size.

    Each layer is one batched matrix product; large networks take turns, a few at a time. All
    intermediate results have buffers that are allocated once. The backward pass is written out
    instead of recorded by torch: at these sizes, new memory for every intermediate result would
    cost a fifth of an update. Because of the buffers, only one thread may use a workspace at a
    time.

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
        n_roles, n_seeds, n_networks = layers[0][0].shape[:3]
        rows = batch * n_heads // n_networks
        first = layers[0][0]

        def empty(features: int) -> Tensor:
            return first.new_empty(n_roles * n_seeds * n_networks, rows, features)

        def stacked(buffer: Tensor) -> Tensor:
            return buffer.view(n_roles, n_seeds, n_heads, batch, -1)

        self.gradients = [
            (torch.empty_like(weights), torch.empty_like(biases))
            for weights, biases in layers
            if trains
        ]
        outputs = [empty(weights.shape[-1]) for weights, _ in layers]
        inputs = [empty(first.shape[-2]), *outputs[:-1]]
        signals = [torch.empty_like(values) if trains else values[:0] for values in outputs]
        before = [signals[0][:0], *signals[:-1]]
        slopes = self.gradients or roles(layers, slice(0))
        columns = zip(layers, inputs, outputs, signals, before, slopes, strict=True)
        stack = [_layer(*column) for column in columns]
        largest = rows * max(weights.shape[-2] * weights.shape[-1] for weights, _ in layers)
        self._turns = [
            [_Layer(*(tensor[share] for tensor in layer)) for layer in stack]
            for share in _shares(len(inputs[0]), largest, first)
        ]
        self._inputs = stacked(inputs[0])
        self._outputs = stacked(outputs[-1])
        self._signal = stacked(signals[-1]) if trains else signals[-1]

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, S, K, B, outputs) for inputs (S, K, B, features).

        The next call overwrites the outputs.
        """
        self._inputs.copy_(inputs)
        for layers in self._turns:
            for layer in layers:
                torch.baddbmm(layer.biases, layer.inputs, layer.weights, out=layer.outputs)
                if layer is not layers[-1]:
                    layer.outputs.relu_()
        return self._outputs.detach()

    def backward(self, *signals: Tensor) -> Layers:
        """The `gradients` of a loss with respect to all parameters.

        ``signals`` are the gradients of the loss with respect to the outputs of the last `forward`,
        (n, S, K, B, outputs) for each n successive roles, which are N together.
        """
        torch.cat(signals, out=self._signal)
        for layers in self._turns:
            for layer in reversed(layers):
                torch.bmm(layer.turned_inputs, layer.signal, out=layer.weight_gradient)
                torch.sum(layer.signal, 1, keepdim=True, out=layer.bias_gradient)
                if layer is layers[0]:
                    break
                before = torch.bmm(layer.signal, layer.turned_weights, out=layer.signal_before)
                torch.ops.aten.threshold_backward.grad_input(
                    before, layer.inputs, 0, grad_input=before
                )
        return self.gradients
