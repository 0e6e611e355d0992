"""The graph policy: learned prices, debts of rate, and a search among neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.exchange import FLOAT_BITS, expect, quantised_gains, quantised_rates
from baselines.scheduler import Baseline, PerNetwork, Served, candidates_alone
from marl.graph.files import read_policy
from marl.graph.links import Links
from marl.graph.network import (
    GraphConfig,
    Inputs,
    leave_out,
    log_prices,
    user_weights,
)
from marl.graph.search import RAYLEIGH, choose, choose_own
from marl.torch_state import known_torch
from rrm_env import Network, RRMConfig, metrics
from rrm_env.checks import bounded_integer, bounded_number, nearest, shown

COUNTED = ("tail", "everybody")
MAX_STEPS = 2**31 - 2
DEBT_WEIGHT = 1.6
"""By default; found on training episodes."""


@dataclass
class _Plan:
    """What is common knowledge in the B episodes of a network."""

    links: Links
    """At the last exchange."""
    counted: Tensor
    """(B, J) 1 for users whose rates the tail counts."""
    log_price: NDArray[np.float32]
    """(B, J) at the last gains for which prices were set."""
    realised: NDArray[np.float64]
    """(B, J) sums of rates: those of the last exchange and what is expected since."""
    expected: NDArray[np.float64]
    """(B, J) rates that the last decision is expected to give."""
    priced: int = 0
    """Step in which prices were set."""
    decided: int = 0
    """Step of the last decision."""


class GraphPolicy(Baseline):
    """Serves whom learned prices and debts of rate favour, in a network of any size.

    A network that sees large-scale gains alone (`marl.graph.network`) says what each user's rate is
    worth to the tail of the rates: its price lambda_j, with the sum mu2 over the users. Prices are
    set anew every `price_steps` steps. In between, and against errors of the prices, a user's price
    falls with what it got:

        lambda_j proportional to exp(log price_j - debt_weight * sum of j's rates / sqrt(T)),

    which is mirror descent on the dual function of the fluid program (`baselines.fluid_program`),
    with the rates really received as its slope. The APs and users are served that a search among
    neighbours finds for sum_j (mu1 + lambda_j) rate_j (`marl.graph.search`).

    All APs can compute the same decision themselves from gains and rates that they exchange every
    `exchange_steps` steps, and from what it is expected to give in between. Nothing else is known
    to it.

    Args:
        policy: a trained policy: the name of one that comes with the package, or its file.
        counted: ``tail``, the users that the 5-percentile rate counts, of whom the dearest are left
            out; or ``everybody``.
        price_steps: steps between new prices, at least 1.
        debt_weight: see above, at least 0.
        exchange_steps: steps between exchanges of gains and rates; 0 exchanges gains alone, once
            per episode.
        own_rates: whether an AP that transmits between exchanges chooses among its users by what
            they really got, which it knows itself.
        bits: of each exchanged number (`baselines.exchange`); 0 exchanges them as they are.

    Raises:
        TypeError, ValueError: another value of an option, or no policy of this name.
        OSError: the file cannot be read.
    """

    def __init__(
        self,
        policy: str = "graph",
        counted: str = "tail",
        price_steps: int = 20,
        debt_weight: float = DEBT_WEIGHT,
        exchange_steps: int = 1,
        own_rates: bool = True,
        bits: int = 0,
    ) -> None:
        if counted not in COUNTED:
            raise ValueError(f"unknown counted {nearest(str(counted), COUNTED)}")
        if not isinstance(own_rates, bool):
            raise TypeError(f"own_rates must be True or False, got {shown(own_rates)}")
        self.counted, self.own_rates = counted, own_rates
        self.price_steps = bounded_integer("price_steps", price_steps, MAX_STEPS)
        self.debt_weight = bounded_number("debt_weight", debt_weight, 0, 1e3)
        self.exchange_steps = bounded_integer("exchange_steps", exchange_steps, MAX_STEPS, 0)
        self.bits = bounded_integer("bits", bits, FLOAT_BITS, 0)
        self.config, self.parameters = read_policy(policy)
        self._plans: PerNetwork[_Plan] = PerNetwork(type(self).__name__)

    @classmethod
    def of(
        cls, config: GraphConfig, parameters: Mapping[str, Tensor], seed: int = 0, **options: Any
    ) -> GraphPolicy:
        """The policy of one of S networks that were just trained, with options as above."""
        policy = cls(**options)
        policy.config = config
        policy.parameters = {name: x[seed : seed + 1].clone() for name, x in parameters.items()}
        return policy

    def bits_per_decision(self, config: RRMConfig) -> float:
        """Bits that all APs send in an episode over I T, the decisions of all APs.

        Each AP sends its users' gains from itself and its neighbours, that of all others in one sum
        where there are more, and from the second exchange on their rates. Who serves whom, and who
        is whose neighbour, is not counted.
        """
        length, every = config.episode_length, self.exchange_steps
        exchanges = -(-length // every) if every else 1
        others = config.n_aps - 1
        known = 1 + min(self.config.n_neighbours, others) + (others > self.config.n_neighbours)
        numbers = config.n_ues * (exchanges * known + exchanges - 1)
        return numbers * (self.bits or FLOAT_BITS) / (config.n_aps * length)

    def reset(self, network: Network) -> None:
        """Begin the network's episodes: exchange gains, and choose whom the tail counts."""
        users = network.num_envs, network.config.n_ues
        plan = _Plan(
            links=self._exchanged_links(network, None),
            counted=torch.ones(users),
            log_price=np.zeros(users, np.float32),
            realised=np.zeros(users),
            expected=np.zeros(users),
            priced=-1,
        )
        self._plans[network] = plan

    def schedule(self, network: Network) -> Served:
        """(B, I) the users served."""
        return self._decide(network, np.ones(network.association.shape, np.bool_))

    def schedule_candidates(self, network: Network) -> Served:
        """Like `schedule`, among the candidates alone, who are taken as known to the plan."""
        return self._decide(network, candidates_alone(network))

    def _decide(self, network: Network, allowed: NDArray[np.bool_]) -> Served:
        plan, t, every = self._plans[network], network.t, self.exchange_steps
        if t > 0 and plan.decided != t:
            plan.realised += plan.expected
            if every and t % every == 0:
                self._exchange(plan, network)
        plan.decided = t
        if plan.priced < 0 or (t % self.price_steps == 0 and plan.priced != t):
            self._set_prices(plan, network)
        fading = _fading(network.config)
        weight = allowed * self._weights(plan, network.config, plan.realised)
        served, rate = choose(plan.links, weight, fading)
        plan.expected[:] = 0.0
        expect(plan.expected, served, rate)
        if not self.own_rates or every == 1:
            return served
        own = allowed * self._weights(plan, network.config, network.ue_rate_sum)
        return choose_own(plan.links, served, own, fading)

    def _exchanged_links(self, network: Network, neighbours: NDArray[np.int64] | None) -> Links:
        links = Links.of_network(network, self.config.n_neighbours, neighbours)
        if not self.bits:
            return links
        present = links.neighbours >= 0
        known = np.take_along_axis(present, links.association[:, :, None], axis=1)
        own, cross, rest = (quantised_gains(gain, self.bits) for gain in links[:3])
        return links._replace(own=own, cross=cross * known, rest=rest)

    def _exchange(self, plan: _Plan, network: Network) -> None:
        """Let gains and rates become common knowledge."""
        plan.links = self._exchanged_links(network, plan.links.neighbours)
        plan.realised[:] = network.ue_rate_sum
        if self.bits:
            plan.realised = network.t * quantised_rates(plan.realised / network.t, self.bits)

    @known_torch
    @torch.no_grad()
    def _set_prices(self, plan: _Plan, network: Network) -> None:
        """Set prices at the gains that are common knowledge."""
        config = network.config
        inputs = Inputs.of(plan.links, self.config, _fading(config))
        if plan.priced < 0:
            n_users = metrics.n_below_tail(config.n_ues) if self.counted == "tail" else 0
            plan.counted = leave_out(self.parameters, self.config, inputs, n_users)
        found = log_prices(self.parameters, self.config, inputs, plan.counted)
        plan.log_price, plan.priced = found[0].numpy(), network.t

    def _weights(
        self, plan: _Plan, config: RRMConfig, realised: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """(B, J) mu1 + lambda_j after these sums of rates."""
        behind = debts(realised, self.debt_weight, config)
        return user_weights(plan.log_price - behind, config.sum_weight, config.score_tail_weight)


def debts(
    rate_sum: NDArray[np.float64], debt_weight: float, config: RRMConfig
) -> NDArray[np.float64]:
    """(B, J) by how much the logarithms of prices fall after these sums of rates."""
    return debt_weight / math.sqrt(config.episode_length) * rate_sum


def _fading(config: RRMConfig) -> float:
    """The factor f of `marl.graph.search` in a network."""
    return 1.0 if config.fading == "none" else RAYLEIGH
