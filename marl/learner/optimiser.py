"""Adam over slices of stacked networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from marl.learner.networks import Layers, roles


def group_of(layers: Layers, gradients: Layers, which: slice, rate: float) -> dict[str, Any]:
    """The parameters of a range of roles as a group of the optimiser.

    Args:
        layers: stacked networks.
        gradients: those of their first roles.
        which: the roles.
        rate: Adam's step size.
    """
    parameters = []
    pairs = zip(roles(layers, which), roles(gradients, which), strict=True)
    for layer, slopes in pairs:
        for parameter, gradient in zip(layer, slopes, strict=True):
            parameter.grad = gradient
            parameters.append(parameter)
    return {"params": parameters, "lr": rate}


def adam(groups: list[dict[str, Any]], device: torch.device) -> torch.optim.Adam:
    """Adam with moments from the start.

    Adam would make its moments at the first step, but captured graphs and loaded checkpoints need
    them before that.
    """
    optimiser = torch.optim.Adam(groups, fused=True, capturable=device.type == "cuda")
    for group in groups:
        parameters: list[Tensor] = group["params"]
        for parameter in parameters:
            optimiser.state[parameter] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
    return optimiser
