"""Offline training: prices under which recorded joint actions are the best ones.

The value of a joint action is Q(s, a) = sum_j (mu1 + lambda_j) r_j(a), with prices lambda and rates
r as `marl.graph.policy` and `baselines.neighbour_search` take them. A table of joint actions would
have (N + 1)^I entries. Here each access point's action is judged beside the recorded actions of all
others, as CFCQL does (J. Shao et al., "Counterfactual conservative Q learning for offline
multi-agent reinforcement learning", NeurIPS 2023):

    loss = mean over APs of [log sum_a' exp(Q(s, a', a_others) / tau) - Q(s, a) / tau],

which is CQL's penalty (Eqs. 26-28) for one agent at a time, and the negative pseudo-likelihood of
the recorded joint action (J. Besag, 1975). It costs O(I K) rates for K neighbours, so it also
exists where there are 64 access points. tau is learned.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.links import Links
from baselines.neighbour_search import ACTIVITY, RAYLEIGH


def cloning_loss(
    links: Links,
    served: NDArray[np.int64],
    weight: Tensor,
    fading: float = RAYLEIGH,
) -> Tensor:
    """The loss above of each decision (B,).

    Args:
        links: of B decisions.
        served: (B, I) the recorded joint actions.
        weight: (B, J) mu1 + lambda_j, over tau.
        fading: as in `baselines.neighbour_search.choose`.
    """
    b, n_aps = served.shape
    association = torch.from_numpy(links.association.copy())
    users = torch.from_numpy(np.maximum(served, 0))
    alone, harm = counterfactual_values(links, served, weight, fading)
    legal = torch.from_numpy(links.present.copy())
    logits = alone - harm.gather(1, association)
    logits = torch.where(legal, logits, torch.full_like(logits, -math.inf))
    on = torch.from_numpy(served >= 0)
    highest = logits.new_zeros(b, n_aps).scatter_reduce(1, association, logits.detach(), "amax")
    terms = (logits - highest.gather(1, association)).exp()
    total = (-highest).exp().scatter_add(1, association, terms)  # silence is worth 0
    chosen = torch.where(on, logits.gather(1, users), torch.zeros_like(highest))
    return (total.log() + highest - chosen).mean(1)


def counterfactual_values(
    links: Links, served: NDArray[np.int64], weight: Tensor, fading: float = RAYLEIGH
) -> tuple[Tensor, Tensor]:
    """What each action of one AP is worth beside the recorded actions of all others.

    Q(s, a') - Q(s, silence) of AP i is the first of the results for the user that a' serves, less
    the second.

    Returns:
        the weighted rate that each user would get (B, J), and what a transmission of each AP costs
        the users that others serve (B, I).
    """
    b, n_aps, n_neighbours = links.neighbours.shape
    own, cross, rest = (torch.from_numpy(x.astype(np.float64)) * fading for x in links[:3])
    association = torch.from_numpy(links.association.copy())
    neighbours = torch.from_numpy(links.neighbours.copy())
    known = neighbours >= 0
    places = neighbours.clamp_min(0).flatten(1)
    on = torch.from_numpy(served >= 0)
    active = on.gather(1, places).view(b, n_aps, n_neighbours) & known
    rows = association.unsqueeze(-1).expand(-1, -1, n_neighbours)
    floor = 1 + ACTIVITY * rest
    noise = floor + (cross * active.gather(1, rows)).sum(-1)
    alone = weight * torch.log2(1 + own / noise)

    users = torch.from_numpy(np.maximum(served, 0))
    heard = cross.gather(1, users.unsqueeze(-1).expand(-1, -1, n_neighbours))
    others = active.unsqueeze(2) & ~torch.eye(n_neighbours, dtype=torch.bool)
    without = floor.gather(1, users).unsqueeze(-1) + (heard.unsqueeze(2) * others).sum(-1)
    signal = own.gather(1, users).unsqueeze(-1)
    lost = torch.log2(1 + signal / without) - torch.log2(1 + signal / (without + heard))
    lost = lost * (weight.gather(1, users) * on).unsqueeze(-1) * known
    harm = lost.new_zeros(b, n_aps).scatter_add(1, places, lost.flatten(1))
    return alone, harm
