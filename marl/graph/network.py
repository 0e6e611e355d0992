"""The network that sets prices: what each user's rate is worth to the tail of the rates.

It sees gains alone. Its layers are shared by all users and APs, and what it sums or averages it
does not count, so that it runs in networks of any size, and permuting users or APs permutes prices.

    x_j      own gain, strongest interferers, rest, rate with all APs on, users of the AP, counted
    h_j      = f(x_j)
    a_i      = f(mean of h_j over the users of AP i, their number)
    h_j      = f(h_j, a of its AP, sum_k s_jk a_k over the neighbours k, mean of h over all users)
    log price = f(h_j), up to a constant

The share s_jk = g_kj / (1 + g_own + g_kj) says how much neighbour k disturbs user j. The two lines
between are repeated as often as `GraphConfig.rounds` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from baselines.debts import NOT_COUNTED
from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH
from marl.learner import networks
from rrm_env.checks import bounded_integer, nearest


@dataclass(frozen=True, kw_only=True)
class GraphConfig:
    """Sizes of the network that sets prices.

    Raises:
        TypeError, ValueError: a value of another type or out of range.
    """

    n_neighbours: int = 16
    """Neighbours of an AP whose gains are seen, K."""
    n_interferers: int = 6
    """The strongest of them, which a user's features list one by one, strongest first."""
    width: int = 32
    """Features of users and APs in hidden layers."""
    rounds: int = 1
    """Rounds in which users and APs learn of one another; 0 leaves every user alone."""

    def __post_init__(self) -> None:
        for name, highest, lowest in (
            ("n_neighbours", 1024, 1),
            ("n_interferers", self.n_neighbours, 1),
            ("width", 4096, 1),
            ("rounds", 16, 0),
        ):
            value = bounded_integer(name, getattr(self, name), highest, lowest)
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GraphConfig:
        """The config that `as_dict` described (TypeError, ValueError: unknown or bad fields)."""
        known = [item.name for item in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"unknown field of GraphConfig {nearest(name, known)}")
        return cls(**values)

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each layer, by its name."""
        width = self.width
        sizes = {"user.0": (self.n_interferers + 6, width), "user.1": (width, width)}
        for n in range(self.rounds):
            sizes[f"ap.{n}"] = (width + 1, width)
            sizes[f"join.{n}"] = (4 * width, width)
        return {**sizes, "price": (width, 1)}


Parameters = dict[str, Tensor]
"""Weights (S, inputs, outputs) and biases (S, 1, outputs) of S networks, by name."""


def initialise(config: GraphConfig, seeds: Sequence[int]) -> Parameters:
    """S new networks, as `marl.learner.networks.initialise` draws them; prices are equal at first.

    The last layer is 0.
    """
    sizes = config.sizes()
    parameters: Parameters = {}
    drawn = networks.initialise(list(sizes.values()), 1, seeds, 1)
    for name, (weights, biases) in zip(sizes, drawn, strict=True):
        factor = 0.0 if name == "price" else 1.0
        parameters[f"{name}.weights"] = factor * weights[0, :, 0]
        parameters[f"{name}.biases"] = factor * biases[0, :, 0]
    return parameters


class Inputs(NamedTuple):
    """What the network reads of the links of B episodes, as tensors."""

    features: Tensor
    """(B, J, F) all but whether a user is counted."""
    share: Tensor
    """(B, J, K) how much each neighbour disturbs a user, 0 to 1."""
    association: Tensor
    """(B, J) places of the users' APs in a list of all APs of all episodes."""
    neighbours: Tensor
    """(B, J, K) places of the neighbours of a user's AP in that list."""
    load: Tensor
    """(B, I) users of each AP."""
    present: Tensor
    """(B, J) 1 where there is a user."""

    @classmethod
    def of(cls, links: Links, config: GraphConfig, fading: float = RAYLEIGH) -> Inputs:
        """The inputs for links with `GraphConfig.n_neighbours` neighbours.

        Args:
            links: of B episodes.
            config: sizes of the network.
            fading: as in `baselines.neighbour_search.choose`.
        """
        own, cross, rest = (torch.from_numpy(np.array(x)) for x in links[:3])
        present = torch.from_numpy(links.present.astype(np.float32))
        association = torch.from_numpy(links.association.copy())
        b, n_aps = links.neighbours.shape[:2]
        load = own.new_zeros(b, n_aps).scatter_add_(1, association, present)
        of_users = torch.from_numpy(links.neighbours).gather(
            1, association.unsqueeze(-1).expand(-1, -1, cross.shape[-1])
        )
        strongest = cross.sort(-1, descending=True)[0]
        listed = strongest[..., : config.n_interferers]
        others = strongest[..., config.n_interferers :].sum(-1) + rest
        all_on = torch.log2(1 + fading * own / (1 + fading * (listed.sum(-1) + others)))
        features = torch.cat(
            [
                torch.stack(
                    [
                        torch.log10(1 + own) - 2,
                        torch.log10(all_on + 1e-3),
                        load.gather(1, association).clamp_min(1).log() - 1.5,
                        torch.log10(1 + others),
                    ],
                    -1,
                ),
                torch.log10(1 + listed) - 1,
            ],
            -1,
        )
        first = torch.arange(b).view(-1, 1) * n_aps
        return cls(
            features,
            cross / (1 + own.unsqueeze(-1) + cross),
            association + first,
            of_users.clamp_min(0) + first.unsqueeze(-1),
            load,
            present,
        )


def log_prices(
    parameters: Mapping[str, Tensor], config: GraphConfig, inputs: Inputs, counted: Tensor
) -> Tensor:
    """Logarithms of prices (S, B, J), up to a constant of each episode.

    Args:
        parameters: of S networks.
        config: their sizes.
        inputs: of S B episodes, the first B of them for the first network.
        counted: (S B, J) 1 where the tail counts a user; others get `NOT_COUNTED`.
    """
    n_seeds = parameters["price.weights"].shape[0]
    episodes, n_ues = counted.shape
    n_aps = inputs.load.shape[1]

    def layer(name: str, x: Tensor) -> Tensor:
        """A layer applied to x (S B, n, inputs)."""
        rows = x.reshape(n_seeds, -1, x.shape[-1])
        biases, weights = parameters[f"{name}.biases"], parameters[f"{name}.weights"]
        return torch.baddbmm(biases, rows, weights).view(*x.shape[:-1], -1)

    share_of_users = counted.sum(1, keepdim=True) / inputs.present.sum(1, keepdim=True)
    more = torch.stack([counted, share_of_users.expand_as(counted)], -1)
    h = layer("user.0", torch.cat([inputs.features, more], -1)).relu()
    h = layer("user.1", h).relu() * inputs.present.unsqueeze(-1)
    load = inputs.load.clamp_min(1).unsqueeze(-1)
    for n in range(config.rounds):
        total = h.new_zeros(episodes * n_aps, h.shape[-1])
        total = total.index_add(0, inputs.association.flatten(), h.flatten(0, 1))
        mean = total.view(episodes, n_aps, -1) / load
        a = layer(f"ap.{n}", torch.cat([mean, load.log() - 1.5], -1)).relu().flatten(0, 1)
        heard = (inputs.share.unsqueeze(-1) * a[inputs.neighbours]).sum(2)
        everybody = h.sum(1, keepdim=True) / inputs.present.sum(1).view(-1, 1, 1)
        joined = torch.cat([h, a[inputs.association], heard, everybody.expand_as(h)], -1)
        h = layer(f"join.{n}", joined).relu() * inputs.present.unsqueeze(-1)
    prices = layer("price", h).squeeze(-1)
    prices = torch.where(counted > 0, prices, torch.full_like(prices, NOT_COUNTED))
    return prices.view(n_seeds, -1, n_ues)


def leave_out(
    parameters: Mapping[str, Tensor],
    config: GraphConfig,
    inputs: Inputs,
    n_users: int,
) -> Tensor:
    """(S B, J) 1 for the users that are counted if `n_users` may be left out: the dearest.

    They are left out a third of the missing ones at a time, after which prices are set anew.
    """
    counted = inputs.present.clone()
    missing = n_users
    with torch.no_grad():
        while missing > 0:
            more = max(1, missing // 3)
            missing -= more
            prices = log_prices(parameters, config, inputs, counted).flatten(0, 1)
            counted.scatter_(1, prices.topk(more, 1)[1], 0.0)
    return counted
