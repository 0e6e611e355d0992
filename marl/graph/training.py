"""Training of prices: without a teacher, by the fluid program's dual, or from recorded decisions.

For prices lambda of the sum mu2, no schedule exceeds in expectation

    D(lambda) = max over joint actions of sum_j (mu1 + lambda_j) r_j,

and its least value is the best possible score at these gains (`baselines.fluid_program`). So the
mean of D over networks is a loss that needs nobody's decisions: its slope in lambda_j is the rate
of user j under the best joint action, which a search finds. What it reaches is the bound that the
prices prove. Gains are all that it needs: simulated ones, or those of a dataset, whoever decided
there. Recorded decisions are cloned by the loss of `marl.graph.cloning`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.debts import debts, fading_factor, user_weights
from baselines.links import Links
from baselines.neighbour_search import choose
from marl.data.dataset import Dataset
from marl.graph.cloning import cloning_loss
from marl.graph.network import (
    GraphConfig,
    Inputs,
    Parameters,
    initialise,
    leave_out,
    log_prices,
)
from marl.graph.recorded import Recorded
from marl.torch_state import known_torch
from rrm_env import SILENT, Network, RRMConfig, metrics

LEARNING_RATE, LAST_LEARNING_RATE = 3e-3, 2e-5
"""Adam's step size, which falls along half a cosine."""
DEBT_WEIGHT = 0.7
"""Of cloned decisions, as in `GraphPolicy`."""
FIRST_TEMPERATURE = 0.5
"""Of cloning, in units of the mean weight times bit/s/Hz."""


class Source(Protocol):
    """What prices are learned from."""

    size: int
    """Decisions or gains to draw from."""

    def loss(
        self, parameters: Parameters, config: GraphConfig, drawn: NDArray[np.int64], turn: int, /
    ) -> tuple[Tensor, Tensor]:
        """The loss of each of S networks (S,), and what to report of it (S,).

        Args:
            parameters: of S networks.
            config: their sizes.
            drawn: (S B,) which decisions, the first B for the first network.
            turn: how often this source was asked before.
        """


class Gains:
    """Gains whose dual function is to be lowered.

    In every other update all users are counted, and in the rest the dearest are left out, as many
    as the 5-percentile rate leaves.

    Args:
        links: of as many networks as there are gains.
        network: the configuration that they belong to.
    """

    def __init__(self, links: Links, network: RRMConfig) -> None:
        self.links, self.network, self.size = links, network, len(links.own)
        self.left_out = metrics.n_below_tail(network.n_ues)

    @classmethod
    def simulated(cls, network: RRMConfig, n_neighbours: int, episodes: int) -> Gains:
        """Gains at a random time of each training episode, whose seeds are 0 to episodes - 1."""
        simulated = Network(network, episodes)
        simulated.reset(0)
        silence = np.full((episodes, network.n_aps), SILENT)
        at = np.random.default_rng(0).integers(0, network.episode_length, episodes)
        gain = np.empty(simulated.large_scale_gain.shape, np.float32)
        for t in range(network.episode_length):
            gain[at == t] = simulated.large_scale_gain[at == t]
            simulated.step(silence)
        return cls(Links.of_gains(gain, simulated.association, n_neighbours), network)

    def loss(
        self, parameters: Parameters, config: GraphConfig, drawn: NDArray[np.int64], turn: int
    ) -> tuple[Tensor, Tensor]:
        """The logarithm of D, so that networks of low and of high scores weigh the same; and D."""
        links = self.links.at(drawn)
        inputs = Inputs.of(links, config, fading_factor(self.network))
        counted = leave_out(parameters, config, inputs, self.left_out * (turn % 2))
        dual = dual_value(parameters, config, links, inputs, counted, self.network)
        return dual.log(), dual


def dual_value(
    parameters: Parameters,
    config: GraphConfig,
    links: Links,
    inputs: Inputs,
    counted: Tensor,
    network: RRMConfig,
) -> Tensor:
    """The mean of D over the gains of each of S networks (S,)."""
    log_price = log_prices(parameters, config, inputs, counted)
    mu1, mu2 = network.sum_weight, network.score_tail_weight
    weight = user_weights(log_price.detach().flatten(0, 1).numpy(), mu1, mu2)
    served, rate = choose(links, weight, fading_factor(network))
    rates = torch.zeros(counted.shape)
    user = torch.from_numpy(np.maximum(served, 0))
    rates.scatter_add_(1, user, torch.from_numpy(rate).float())  # 0 where an AP is silent
    price = log_price.flatten(0, 1).softmax(-1)
    return ((mu1 + mu2 * price) * rates).sum(-1).view(len(log_price), -1).mean(1)


class Decisions:
    """Recorded decisions that are to be cloned.

    Args:
        recorded: the decisions.
        network: the configuration in which they were made.
    """

    def __init__(self, recorded: Recorded, network: RRMConfig) -> None:
        self.recorded, self.network, self.size = recorded, network, len(recorded.served)

    def loss(
        self, parameters: Parameters, config: GraphConfig, drawn: NDArray[np.int64], _turn: int
    ) -> tuple[Tensor, Tensor]:
        """The mean loss of `marl.graph.cloning`, twice."""
        links, rate_sum, level, steps, served = self.recorded.at(drawn)
        length, fading = self.network.episode_length, fading_factor(self.network)
        inputs = Inputs.of(links, config, fading)
        log_price = log_prices(parameters, config, inputs, inputs.present)
        behind = torch.from_numpy(debts(rate_sum, level, steps, length, DEBT_WEIGHT)).float()
        logits = log_price - behind.view(log_price.shape)
        mu1, mu2 = self.network.sum_weight, self.network.score_tail_weight
        weight = (mu1 + mu2 * logits.softmax(-1)) * self.network.n_ues
        temperature = parameters["log_temperature"].exp().expand(log_price.shape).flatten(0, 1)
        loss = cloning_loss(links, served, weight.flatten(0, 1) / temperature, fading)
        mean = loss.view(len(log_price), -1).mean(1).float()
        return mean, mean


@dataclass(frozen=True)
class Progress:
    """What training has reached."""

    updates: int
    """Updates done."""
    reached: list[float]
    """Of each seed, the mean since the last report of D, a bound of the score, or of the loss."""


Report = Callable[[Progress], None]


@known_torch
def train_prices(
    networks: Sequence[RRMConfig],
    config: GraphConfig,
    seeds: Sequence[int],
    *,
    updates: int = 800,
    batch_size: int = 64,
    episodes: int = 4096,
    report: Report | None = None,
) -> Parameters:
    """Train S networks at once by the dual function, on training episodes of some networks.

    Every update sees one of the networks, in turn.

    Args:
        networks: to train in.
        config: sizes of the policy's network.
        seeds: S seeds of initial parameters and batches.
        updates: gradient steps.
        batch_size: gains that each seed sees in an update.
        episodes: of each network, to draw from.
        report: called 20 times on the way.

    Returns:
        the parameters, as `GraphPolicy.of` takes them.
    """
    sources = [Gains.simulated(network, config.n_neighbours, episodes) for network in networks]
    return train_on(sources, config, seeds, updates, batch_size, report)


@known_torch
def train_prices_on(
    dataset: Dataset,
    config: GraphConfig,
    seeds: Sequence[int],
    *,
    clone: bool,
    updates: int = 800,
    batch_size: int = 64,
    report: Report | None = None,
) -> Parameters:
    """Train S networks at once from a dataset alone, without any simulation.

    Args:
        dataset: recorded in a network with ``measurements="neighbours"``, ``clock="elapsed"``,
            ``average="episode"`` and as many neighbours as ``config``, as all named datasets are.
        config: sizes of the policy's network.
        seeds: S seeds of initial parameters and batches.
        clone: whether its decisions are cloned; else the dual function at its gains is lowered,
            whoever decided.
        updates: gradient steps.
        batch_size: decisions that each seed sees in an update.
        report: called 20 times on the way.

    Returns:
        the parameters, as `GraphPolicy.of` takes them.

    Raises:
        ValueError: it was recorded in another network.
    """
    recorded, network = Recorded.of_dataset(dataset, config.n_neighbours)
    source = Decisions(recorded, network) if clone else Gains(recorded.links, network)
    return train_on([source], config, seeds, updates, batch_size, report)


def train_on(
    sources: Sequence[Source],
    config: GraphConfig,
    seeds: Sequence[int],
    updates: int,
    batch_size: int,
    report: Report | None = None,
) -> Parameters:
    """Train S networks at once on sources that take turns; arguments as in `train_prices`."""
    parameters = initialise(config, seeds)
    names = list(parameters)
    first = torch.full((len(seeds), 1, 1), math.log(FIRST_TEMPERATURE))
    parameters["log_temperature"] = first
    for tensor in parameters.values():
        tensor.requires_grad_()
    optimiser = torch.optim.Adam(parameters.values(), LEARNING_RATE, (0.9, 0.99))
    rngs = [np.random.default_rng(seed) for seed in seeds]
    every = max(1, updates // 20)
    reached: list[list[float]] = []
    for k in range(updates):
        fall = 0.5 * (1 + math.cos(math.pi * k / updates))
        step_size = LAST_LEARNING_RATE + (LEARNING_RATE - LAST_LEARNING_RATE) * fall
        optimiser.param_groups[0]["lr"] = step_size
        turn, place = divmod(k, len(sources))
        source = sources[place]
        drawn = np.concatenate([rng.integers(0, source.size, batch_size) for rng in rngs])
        losses, told = source.loss(parameters, config, drawn, turn)
        optimiser.zero_grad()
        losses.sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        reached.append(told.tolist())
        if report and ((k + 1) % every == 0 or k + 1 == updates):
            report(Progress(k + 1, [sum(x) / len(reached) for x in zip(*reached, strict=True)]))
            reached = []
    return {name: parameters[name].detach() for name in names}
