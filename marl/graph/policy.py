"""The graph policy: learned prices of users, debts of rate, and a search among neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.debts import Debts, Plan
from baselines.exchange import MAX_STEPS
from baselines.links import Links
from marl.graph.files import read_policy
from marl.graph.network import GraphConfig, Inputs, Parameters, leave_out, log_prices
from marl.torch_state import known_torch
from rrm_env.checks import bounded_integer


class GraphPolicy(Debts):
    """`baselines.Debts` with learned prices, in a network of any size.

    A network that sees large-scale gains alone (`marl.graph.network`) says what each user's rate is
    worth to the tail of the rates before any debts, and who costs the most, so that the tail leaves
    it out. Prices are set anew every `price_steps` steps:

        lambda_j proportional to exp(log price_j - debt of j).

    Args:
        policy: a trained policy: the name of one that comes with the package, its file, or sizes
            and parameters.
        counted: ``tail``, the users that the 5-percentile rate counts, of whom the dearest are left
            out; or ``everybody``.
        price_steps: steps between new prices, at least 1.
        debt_weight: as in `Debts`.
        exchange_steps: as in `Debts`.
        own_rates: as in `Debts`.
        bits: as in `Debts`.

    Raises:
        TypeError, ValueError: another value of an option, or no policy of this name.
        PolicyError: the file cannot be read or holds no policy.
    """

    def __init__(
        self,
        policy: str | tuple[GraphConfig, Parameters] = "graph",
        counted: str = "tail",
        price_steps: int = 20,
        debt_weight: float = 0.7,
        exchange_steps: int = 1,
        own_rates: bool = True,
        bits: int = 0,
    ) -> None:
        config, parameters = policy if isinstance(policy, tuple) else read_policy(policy)
        super().__init__(counted, debt_weight, exchange_steps, own_rates, bits, config.n_neighbours)
        self.price_steps = bounded_integer("price_steps", price_steps, MAX_STEPS)
        self.config, self.parameters = config, parameters

    @classmethod
    def of(
        cls, config: GraphConfig, parameters: Mapping[str, Tensor], seed: int = 0, **options: Any
    ) -> GraphPolicy:
        """The policy of one of S networks that were just trained, with options as above."""
        own = {name: stacked[seed : seed + 1].clone() for name, stacked in parameters.items()}
        return cls((config, own), **options)

    @known_torch
    def _leave_out(self, links: Links, n_users: int, fading: float) -> NDArray[np.bool_]:
        """(B, J) who is counted, if so many users may be left out: not the dearest."""
        inputs = Inputs.of(links, self.config, fading)
        counted: NDArray[np.float32] = leave_out(
            self.parameters, self.config, inputs, n_users
        ).numpy()
        return counted > 0

    @known_torch
    @torch.no_grad()
    def _log_price(self, plan: Plan, fading: float) -> NDArray[np.float32]:
        """(B, J) logarithms of prices at the gains that are common knowledge."""
        inputs = Inputs.of(plan.links, self.config, fading)
        counted = torch.from_numpy(plan.counted.astype(np.float32))
        found: NDArray[np.float32] = log_prices(self.parameters, self.config, inputs, counted)[
            0
        ].numpy()
        return found
