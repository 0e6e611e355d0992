"""Passes of stacked networks whose matrix products multiply numbers rounded to bfloat16."""

from __future__ import annotations

import torch
from torch import Tensor

from marl.config import LearnerConfig
from marl.learner.networks import Layers, Workspace


class RoundedWorkspace(Workspace):
    """A workspace that computes in bfloat16 between inputs and outputs of float32.

    Parameters and gradients stay float32 too: they are rounded to 8 significant bits at each call,
    so that an optimiser's small steps are not lost. Arguments are those of `Workspace`.
    """

    def __init__(self, layers: Layers, n_heads: int, batch: int, *, trains: bool = False) -> None:
        rounded = [(weights.bfloat16(), biases.bfloat16()) for weights, biases in layers]
        super().__init__(rounded, n_heads, batch, trains=trains)
        self._rounded = [
            (small, tensor)
            for pair, layer in zip(rounded, layers, strict=True)
            for small, tensor in zip(pair, layer, strict=True)
        ]
        self._rounded_gradients = self.gradients
        self.gradients = [
            (torch.empty_like(weights), torch.empty_like(biases))
            for weights, biases in layers[: len(self._rounded_gradients)]
        ]
        self._exact = torch.empty_like(self._outputs, dtype=torch.float32)

    def forward(self, inputs: Tensor) -> Tensor:
        """As `Workspace.forward`."""
        for small, tensor in self._rounded:
            small.copy_(tensor)
        return self._exact.copy_(super().forward(inputs)).detach()

    def backward(self, *signals: Tensor) -> Layers:
        """As `Workspace.backward`."""
        super().backward(*(signal.bfloat16() for signal in signals))
        for layer, rounded in zip(self.gradients, self._rounded_gradients, strict=True):
            for gradient, small in zip(layer, rounded, strict=True):
                gradient.copy_(small)
        return self.gradients


def workspace_of(config: LearnerConfig) -> type[Workspace]:
    """The workspace that multiplies as a configuration says."""
    return RoundedWorkspace if config.products == "bfloat16" else Workspace
