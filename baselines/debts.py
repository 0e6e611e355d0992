"""Prices that fall with what users got, and a search among neighbours: for networks of any size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from baselines.exchange import (
    MAX_STEPS,
    Exchanging,
    expect,
    quantised_gains,
    quantised_rates,
)
from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH, choose, choose_own
from baselines.scheduler import PerNetwork, Served
from rrm_env import Network, RRMConfig, metrics
from rrm_env.checks import bounded_integer, bounded_number

NOT_COUNTED = -1e9
"""Logarithm of the price of users that are not counted."""
PRIOR_STEPS = 5
"""Steps that the mean rate before the first step counts for."""
LAST_STEPS = 0.1
"""Share of the episode that debts are still given after its end, so that they stay bounded."""

Floats = NDArray[np.float64]


@dataclass
class Plan:
    """What is common knowledge in the B episodes of a network."""

    links: Links
    """At the last exchange."""
    counted: NDArray[np.bool_]
    """(B, J) users whose rates the tail counts."""
    prior: Floats
    """(B, 1) a user's mean rate in round robin with all APs transmitting, at the first gains."""
    log_price: NDArray[np.floating]
    """(B, J) of users without debts."""
    realised: Floats
    """(B, J) sums of rates: those of the last exchange and what is expected since."""
    expected: Floats
    """(B, J) rates that the last decision is expected to give."""
    priced: int = 0
    """Step in which prices were set."""
    decided: int = 0
    """Step of the last decision."""


class Debts(Exchanging):
    """Max-weight with prices that fall exponentially with what users got.

    The APs and users are served that a search among neighbours (`baselines.neighbour_search`) finds
    for sum_j (mu1 + lambda_j) rate_j. A user's price lambda_j is what its rate is worth to the
    tail. Prices have the sum mu2, and after t of T steps

        lambda_j proportional to exp(-debt_weight S_j / (r sqrt(T - t + T / 10)))

    with the sum S_j of the user's rates and the mean r of all users' rates per step. So who got
    less costs more, the more so the less time remains. These are multiplicative weights for the
    program of which shares of the time are best (`baselines.fluid_program`), with what was really
    received as its slope. S. A. Plotkin, D. B. Shmoys, E. Tardos, "Fast approximation algorithms
    for fractional packing and covering problems", Math. Oper. Res. 20 (1995); S. Arora, E. Hazan,
    S. Kale, "The multiplicative weights update method", Theory of Computing 8 (2012).

    Nothing is solved, so a decision takes little time also where there are many APs.

    All APs can compute the same decision themselves from gains and rates that they exchange every
    `exchange_steps` steps, and from what it is expected to give in between. Nothing else is known
    to it.

    Args:
        counted: ``tail``, the users that the 5-percentile rate counts: those whose rate would be
            lowest if only their AP transmitted are left out; or ``everybody``.
        debt_weight: see above, 0 to 1000.
        exchange_steps: steps between exchanges of gains and rates; 0 exchanges gains alone, once
            per episode.
        own_rates: whether an AP that transmits between exchanges chooses among its users by what
            they really got, which it knows itself.
        bits: of each exchanged number (`baselines.exchange`); 0 exchanges them as they are.
        n_neighbours: neighbours of an AP whose gains count one by one.

    Raises:
        TypeError, ValueError: another value of an option.
    """

    price_steps = MAX_STEPS
    """Steps between new prices of users without debts, which are always equal here."""

    def __init__(
        self,
        counted: str = "tail",
        debt_weight: float = 0.7,
        exchange_steps: int = 1,
        own_rates: bool = True,
        bits: int = 0,
        n_neighbours: int = 16,
    ) -> None:
        super().__init__(counted, exchange_steps, own_rates, bits)
        self.debt_weight = bounded_number("debt_weight", debt_weight, 0, 1000)
        self.n_neighbours = bounded_integer("n_neighbours", n_neighbours, 1024)
        self._plans: PerNetwork[Plan] = PerNetwork(type(self).__name__)

    def _gains_per_user(self, config: RRMConfig) -> int:
        """Those from its AP and the neighbours, and of all others in one sum if there are more."""
        others = config.n_aps - 1
        return 1 + min(self.n_neighbours, others) + (others > self.n_neighbours)

    def reset(self, network: Network) -> None:
        """Begin the network's episodes: exchange gains, and choose whom the tail counts."""
        config, users = network.config, (network.num_envs, network.config.n_ues)
        links, f = self._exchanged_links(network, None), fading_factor(network.config)
        n_users = metrics.n_below_tail(config.n_ues) if self.counted == "tail" else 0
        load = (links.association[:, :, None] == links.association[:, None, :]).sum(axis=2)
        interference = links.cross.sum(axis=2) + links.rest
        round_robin = np.log2(1 + f * links.own / (1 + f * interference)) / load
        self._plans[network] = Plan(
            links=links,
            counted=self._leave_out(links, n_users, f),
            prior=np.maximum(
                round_robin.mean(axis=1, keepdims=True, dtype=np.float64), config.min_average_rate
            ),
            log_price=np.zeros(users),
            realised=np.zeros(users),
            expected=np.zeros(users),
            priced=-1,
        )

    def _leave_out(self, links: Links, n_users: int, fading: float) -> NDArray[np.bool_]:  # noqa: ARG002 - learned prices need it
        """(B, J) who is counted, if so many users may be left out."""
        counted = np.ones(links.own.shape, np.bool_)
        lowest = np.argsort(links.own, axis=1, kind="stable")[:, :n_users]
        np.put_along_axis(counted, lowest, False, axis=1)
        return counted

    def _log_price(self, plan: Plan, fading: float) -> NDArray[np.floating]:  # noqa: ARG002
        """(B, J) logarithms of the prices of users without debts, up to a constant."""
        return np.where(plan.counted, 0.0, NOT_COUNTED)

    def _decide(self, network: Network, allowed: NDArray[np.bool_]) -> Served:
        plan, t, every = self._plans[network], network.t, self.exchange_steps
        if t > 0 and plan.decided != t:
            plan.realised += plan.expected
            if every and t % every == 0:
                self._exchange(plan, network)
        plan.decided, fading = t, fading_factor(network.config)
        if plan.priced < 0 or (t % self.price_steps == 0 and plan.priced != t):
            plan.log_price, plan.priced = self._log_price(plan, fading), t
        known = self._after_debts(plan, network, plan.realised)
        mu = network.config.sum_weight, network.config.score_tail_weight
        served, rate = choose(plan.links, allowed * user_weights(known, *mu), fading)
        plan.expected[:] = 0.0
        expect(plan.expected, served, rate)
        if not self.own_rates or every == 1:
            return served
        own = self._after_debts(plan, network, network.ue_rate_sum)
        weight = own_weights(known, own, plan.links.association, *mu)
        return choose_own(plan.links, served, allowed * weight, fading)

    def _exchanged_links(self, network: Network, neighbours: NDArray[np.int64] | None) -> Links:
        links = Links.of_network(network, self.n_neighbours, neighbours)
        if not self.bits:
            return links
        present = links.neighbours >= 0
        known = np.take_along_axis(present, links.association[:, :, None], axis=1)
        own, cross, rest = (quantised_gains(gain, self.bits) for gain in links[:3])
        return links._replace(own=own, cross=cross * known, rest=rest)

    def _exchange(self, plan: Plan, network: Network) -> None:
        """Let gains and rates become common knowledge."""
        plan.links = self._exchanged_links(network, plan.links.neighbours)
        plan.realised[:] = network.ue_rate_sum
        if self.bits:
            plan.realised = network.t * quantised_rates(plan.realised / network.t, self.bits)

    def _after_debts(self, plan: Plan, network: Network, rate_sum: Floats) -> Floats:
        """(B, J) logarithms of prices after these sums of rates, up to a constant."""
        t, length = network.t, network.config.episode_length
        mean = plan.realised.mean(axis=1, keepdims=True)
        level = (PRIOR_STEPS * plan.prior + mean) / (PRIOR_STEPS + t)
        fallen: Floats = plan.log_price - debts(rate_sum, level, t, length, self.debt_weight)
        return fallen


def debts(
    rate_sum: Floats, level: Floats, steps: int | Floats, length: int, debt_weight: float
) -> Floats:
    """(B, J) by how much the logarithms of prices fall.

    Args:
        rate_sum: (B, J) each user's rates so far, summed.
        level: (B, 1) mean rate of all users per step.
        steps: steps done, one number or (B, 1).
        length: steps of an episode.
        debt_weight: as in `Debts`.
    """
    remaining = length - steps + LAST_STEPS * length
    fallen: Floats = debt_weight * rate_sum / (level * np.sqrt(remaining))
    return fallen


def user_weights(log_price: NDArray[np.floating], sum_weight: float, tail_weight: float) -> Floats:
    """(B, J) mu1 + lambda_j, with prices lambda of the sum mu2, from their logarithms."""
    price = np.exp(log_price - log_price.max(axis=1, keepdims=True), dtype=np.float64)
    weights: Floats = sum_weight + tail_weight * price / price.sum(axis=1, keepdims=True)
    return weights


def own_weights(
    known: Floats,
    own: Floats,
    association: NDArray[np.int64],
    sum_weight: float,
    tail_weight: float,
) -> Floats:
    """(B, J) `user_weights` as each user's AP knows them.

    Prices have the sum mu2, so that the price of one user depends on the rates of all. An AP knows
    those of its own users, and of all others what is common knowledge.

    Args:
        known: (B, J) logarithms of prices by what is common knowledge.
        own: (B, J) by the rates really received.
        association: (B, J) the users' APs.
        sum_weight: mu1.
        tail_weight: mu2.
    """
    rows, n_aps = np.arange(len(own))[:, None], association.max() + 1
    of_aps = []
    for log_price in (known, own):
        highest = np.full((len(own), n_aps), -np.inf)
        np.maximum.at(highest, (rows, association), log_price)
        total = np.zeros((len(own), n_aps))
        np.add.at(total, (rows, association), np.exp(log_price - highest[rows, association]))
        with np.errstate(divide="ignore"):  # APs without users
            of_aps.append(highest + np.log(total))
    seen = np.where(np.eye(n_aps, dtype=np.bool_), of_aps[1][:, :, None], of_aps[0][:, None, :])
    highest = seen.max(axis=2)
    log_sum = highest + np.log(np.exp(seen - highest[:, :, None]).sum(axis=2))
    weights: Floats = sum_weight + tail_weight * np.exp(own - log_sum[rows, association])
    return weights


def fading_factor(config: RRMConfig) -> float:
    """The factor f of `baselines.neighbour_search` in a network."""
    return 1.0 if config.fading == "none" else RAYLEIGH
