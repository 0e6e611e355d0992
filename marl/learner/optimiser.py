"""Adam over slices of stacked networks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.optim.adam import adam

from marl.learner.networks import Layers, roles

BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass
class Group:
    """Parameters that Adam moves at one rate, with their gradients and moments."""

    parameters: list[Tensor]
    gradients: list[Tensor]
    rate: float
    """Adam's step size."""
    steps: list[Tensor] = field(init=False)
    first: list[Tensor] = field(init=False)
    second: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        # Moments are there from the start, as captured graphs and loaded checkpoints need them.
        self.steps = [torch.zeros((), device=tensor.device) for tensor in self.parameters]
        self.first = [torch.zeros_like(tensor) for tensor in self.parameters]
        self.second = [torch.zeros_like(tensor) for tensor in self.parameters]


class Adam:
    """Adam (D. P. Kingma and J. Ba, arXiv 1412.6980), one fused operation for each rate.

    `torch.optim.Adam` has an operation for each group, and checks more than an update can afford.
    """

    def __init__(self, groups: list[Group]) -> None:
        self.groups = groups
        self._by_rate = {
            rate: _joined([group for group in groups if group.rate == rate])
            for rate in dict.fromkeys(group.rate for group in groups)
        }

    @torch.no_grad()
    def step(self) -> None:
        """Move all parameters by their gradients."""
        for rate, (parameters, gradients, first, second, steps) in self._by_rate.items():
            adam(
                parameters,
                gradients,
                first,
                second,
                [],
                steps,
                fused=True,
                capturable=parameters[0].is_cuda,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=rate,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )

    def tensors(self) -> dict[str, Tensor]:
        """Steps and moments by name, in the order of the groups."""
        moments = (
            moment
            for group in self.groups
            for moment in zip(group.steps, group.first, group.second, strict=True)
        )
        names = "step", "exp_avg", "exp_avg_sq"
        return {
            f"adam.{k}.{name}": tensor
            for k, moment in enumerate(moments)
            for name, tensor in zip(names, moment, strict=True)
        }


def _joined(groups: list[Group]) -> list[list[Tensor]]:
    """Parameters, gradients, first and second moments and steps of groups, as lists of all."""
    names = "parameters", "gradients", "first", "second", "steps"
    return [[tensor for group in groups for tensor in getattr(group, name)] for name in names]


def group_of(layers: Layers, gradients: Layers, which: slice, rate: float) -> Group:
    """The parameters of a range of roles as a group of the optimiser.

    Args:
        layers: stacked networks.
        gradients: those of their first roles.
        which: the roles.
        rate: Adam's step size.
    """
    return Group(
        [tensor for layer in roles(layers, which) for tensor in layer],
        [tensor for layer in roles(gradients, which) for tensor in layer],
        rate,
    )
