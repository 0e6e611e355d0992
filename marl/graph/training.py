"""Training of prices without a teacher, by the dual function of the fluid program.

For prices lambda of the sum mu2, no schedule exceeds in expectation

    D(lambda) = max over joint actions of sum_j (mu1 + lambda_j) r_j,

and its least value is the best possible score at these gains (`baselines.fluid_program`). So the
mean of D over networks is a loss that needs nobody's decisions: its slope in lambda_j is the rate
of user j under the best joint action, which a search finds. What it reaches is the bound that the
prices prove.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl.graph.links import Links
from marl.graph.network import (
    GraphConfig,
    Inputs,
    Parameters,
    initialise,
    leave_out,
    log_prices,
    user_weights,
)
from marl.graph.search import choose
from marl.torch_state import known_torch
from rrm_env import SILENT, Network, RRMConfig, metrics

LEARNING_RATE, LAST_LEARNING_RATE = 3e-3, 2e-5
"""Adam's step size, which falls along half a cosine."""


class Contexts:
    """Gains of a network at random times of training episodes.

    Args:
        network: its configuration.
        config: sizes of the policy's network.
        episodes: how many; their seeds are 0 to episodes - 1.
    """

    def __init__(self, network: RRMConfig, config: GraphConfig, episodes: int) -> None:
        self.network = network
        simulated = Network(network, episodes)
        simulated.reset(0)
        silence = np.full((episodes, network.n_aps), SILENT)
        at = np.random.default_rng(0).integers(0, network.episode_length, episodes)
        gain = np.empty(simulated.large_scale_gain.shape, np.float32)
        for t in range(network.episode_length):
            gain[at == t] = simulated.large_scale_gain[at == t]
            simulated.step(silence)
        self.links = Links.of_gains(gain, simulated.association, config.n_neighbours)
        self.left_out = metrics.n_below_tail(network.n_ues)


@dataclass(frozen=True)
class Progress:
    """What training has reached."""

    updates: int
    """Updates done."""
    bound: list[float]
    """The mean of D of each seed since the last report, a bound of the score."""


@known_torch
def train_prices(
    networks: Sequence[RRMConfig],
    config: GraphConfig,
    seeds: Sequence[int],
    *,
    updates: int = 8000,
    batch_size: int = 64,
    episodes: int = 4096,
    report: Callable[[Progress], None] | None = None,
) -> Parameters:
    """Train S networks at once on episodes of some networks.

    Every update sees one of the networks, in turn. In half of the updates of a network all users
    are counted, in the others the dearest are left out, as many as the 5-percentile rate leaves.

    Args:
        networks: to train in.
        config: sizes of the policy's network.
        seeds: S seeds of initial parameters and batches.
        updates: gradient steps.
        batch_size: episodes of each seed in an update.
        episodes: of each network, to draw from.
        report: called 20 times on the way.

    Returns:
        the parameters, without gradients.
    """
    contexts = [Contexts(network, config, episodes) for network in networks]
    parameters = initialise(config, seeds)
    for tensor in parameters.values():
        tensor.requires_grad_()
    optimiser = torch.optim.Adam(parameters.values(), LEARNING_RATE, (0.9, 0.99))
    rngs = [np.random.default_rng(seed) for seed in seeds]
    every, reached = max(1, updates // 20), []
    for k in range(updates):
        fall = 0.5 * (1 + math.cos(math.pi * k / updates))
        optimiser.param_groups[0]["lr"] = (
            LAST_LEARNING_RATE + (LEARNING_RATE - LAST_LEARNING_RATE) * fall
        )
        context = contexts[k % len(contexts)]
        drawn = np.concatenate([rng.integers(0, episodes, batch_size) for rng in rngs])
        tail = (k // len(contexts)) % 2 == 1
        dual = _dual(parameters, config, context, drawn, counts_all=not tail)
        loss = dual.log().sum()  # so that networks of low and of high scores weigh the same
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        reached.append(dual.tolist())
        if report and (k + 1) % every == 0:
            report(Progress(k + 1, [sum(x) / len(reached) for x in zip(*reached, strict=True)]))
            reached = []
    return {name: tensor.detach() for name, tensor in parameters.items()}


def _dual(
    parameters: Parameters,
    config: GraphConfig,
    context: Contexts,
    drawn: NDArray[np.int64],
    *,
    counts_all: bool,
) -> Tensor:
    """The mean of D over the episodes drawn for each seed (S,)."""
    links, network = context.links.at(drawn), context.network
    inputs = Inputs.of(links, config)
    counted = leave_out(parameters, config, inputs, 0 if counts_all else context.left_out)
    log_price = log_prices(parameters, config, inputs, counted)
    mu1, mu2 = network.sum_weight, network.score_tail_weight
    served, rate = choose(links, user_weights(log_price.detach().flatten(0, 1).numpy(), mu1, mu2))
    rates = torch.zeros(counted.shape)
    user = torch.from_numpy(np.maximum(served, 0))
    rates.scatter_add_(1, user, torch.from_numpy(rate).float())  # 0 where an AP is silent
    price = log_price.flatten(0, 1).softmax(-1)
    return ((mu1 + mu2 * price) * rates).sum(-1).view(len(log_price), -1).mean(1)
