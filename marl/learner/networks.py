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


def _shares(outputs: Tensor, n_inputs: int) -> tuple[slice, ...]:
    """How n matrix products with outputs (n, rows, columns) are divided into batched products.

    On a CPU each thread takes whole matrices of float32. A single matrix that is left over becomes
    a product of its own, since the threads share one that stands alone.
    """
    n, rows, columns = outputs.shape
    divides = outputs.is_cpu and outputs.dtype == torch.float32
    left_over = divides and n > 1 and n % torch.get_num_threads() == 1
    if left_over and rows * columns * n_inputs >= LARGE_PRODUCT:
        return slice(n - 1), slice(n - 1, n)
    return (slice(n),)


class _Layer(NamedTuple):
    """What one layer of all networks reads and writes, with n = N S K networks.

    The tuples hold the operands of each batched product: views that are made once, since making
    them takes longer than a small product.
    """

    forward: list[tuple[Tensor, Tensor, Tensor, Tensor]]
    """Biases, inputs, weights and outputs."""
    outputs: Tensor
    """(n, rows, outputs)."""
    signal: Tensor
    """(n, rows, outputs) the gradient of the loss by the outputs; empty where nothing trains."""
    bias_gradient: Tensor
    """(n, 1, outputs)."""
    to_weights: list[tuple[Tensor, Tensor, Tensor]]
    """Transposed inputs, signal and the weights' gradient."""
    to_inputs: list[tuple[Tensor, Tensor, Tensor]]
    """Signal, transposed weights and the signal of the layer before; empty in the first layer."""


class Workspace:
    """Forward and backward passes of stacked networks for a fixed batch size.

    Each layer is one batched matrix product, or two where one thread would be left with a network
    more than the others. All intermediate results have buffers that are allocated once. The
    backward pass is written out instead of recorded by torch: at these sizes, new memory for every
    intermediate result would cost a fifth of an update. Because of the buffers, only one thread may
    use a workspace at a time.

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

        self.gradients = []
        if trains:
            self.gradients = [
                (torch.empty_like(weights), torch.empty_like(biases)) for weights, biases in layers
            ]
        values = inputs = empty(first.shape[-2])
        signal = inputs[:0]
        self._layers: list[_Layer] = []
        for depth, (weights, biases) in enumerate(layers):
            before, values = values, empty(weights.shape[-1])
            signal_before, signal = signal, torch.empty_like(values) if trains else values[:0]
            slopes = self.gradients[depth] if trains else (weights[:0], biases[:0])
            parameters = weights.flatten(0, 2), biases.flatten(0, 2)
            self._layers.append(
                _layer(parameters, (before, values), (signal_before, signal), slopes)
            )
        self._inputs = stacked(inputs)
        self._outputs = stacked(values)
        self._signal = stacked(signal) if trains else signal

    def forward(self, inputs: Tensor) -> Tensor:
        """Outputs (N, S, K, B, outputs) for inputs (S, K, B, features).

        The next call overwrites the outputs.
        """
        self._inputs.copy_(inputs)
        for layer in self._layers:
            for biases, values, weights, out in layer.forward:
                torch.baddbmm(biases, values, weights, out=out)
            if layer is not self._layers[-1]:
                layer.outputs.relu_()
        return self._outputs.detach()

    def backward(self, *signals: Tensor) -> Layers:
        """The `gradients` of a loss with respect to all parameters.

        ``signals`` are the gradients of the loss with respect to the outputs of the last `forward`,
        (n, S, K, B, outputs) for each n successive roles, which are N together.
        """
        torch.cat(signals, out=self._signal)
        for layer, before in zip(
            reversed(self._layers), [*self._layers[-2::-1], None], strict=True
        ):
            for values, signal, gradient in layer.to_weights:
                torch.bmm(values, signal, out=gradient)
            torch.sum(layer.signal, 1, keepdim=True, out=layer.bias_gradient)
            if before is None:
                break
            for signal, weights, out in layer.to_inputs:
                torch.bmm(signal, weights, out=out)
            torch.ops.aten.threshold_backward.grad_input(
                before.signal, before.outputs, 0, grad_input=before.signal
            )
        return self.gradients


def _layer(
    parameters: tuple[Tensor, Tensor],
    values: tuple[Tensor, Tensor],
    signals: tuple[Tensor, Tensor],
    slopes: tuple[Tensor, Tensor],
) -> _Layer:
    """A layer of a workspace.

    Args:
        parameters: weights (n, inputs, outputs) and biases (n, 1, outputs).
        values: buffers of the layer's inputs and outputs.
        signals: buffers of the loss's gradients by these; that of the inputs is empty in the first
            layer, both are where nothing trains.
        slopes: buffers (N, S, K, ...) of the gradients of the parameters, or empty.
    """
    (weights, biases), (inputs, outputs), (signal_before, signal) = parameters, values, signals
    weight_gradient, bias_gradient = (slope.flatten(0, 2) for slope in slopes)
    shares = _shares(outputs, weights.shape[1])
    return _Layer(
        [(biases[of], inputs[of], weights[of], outputs[of]) for of in shares],
        outputs,
        signal,
        bias_gradient,
        [(inputs[of].mT, signal[of], weight_gradient[of]) for of in shares if len(signal)],
        [(signal[of], weights[of].mT, signal_before[of]) for of in shares if len(signal_before)],
    )
