"""Max-weight on ergodic rates, with weights that remember the whole episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from baselines.joint_actions import JointActions, parts
from baselines.scheduler import Baseline, Served, candidates_alone
from baselines.weighted_rate import MAX_EXPONENT
from rrm_env import Network
from rrm_env.checks import bounded_number


class LongMemory(Baseline):
    """The APs and users that maximise sum_j m_j^-exponent rho(S, j).

    rho(S, j) is the ergodic rate of user j while the APs of the set S transmit
    (`baselines.ergodic_rate`), one user per AP of S is served, and m_j is the user's mean rate
    since the episode began, (prior_steps p_j + sum of its rates) / (prior_steps + t). The prior p_j
    is what round robin with all APs transmitting would give at the present gains. The weights of
    `MaxWeight` forget after 1 / `rate_ema` steps; these forget nothing, as the paper's KPIs do not.

    With exponent 1 the rule climbs the sum of log(rate); a large exponent approaches the max-min
    rate, and 0 the sum rate (alpha-fair utilities, J. Mo, J. Walrand, "Fair end-to-end window-based
    congestion control", IEEE/ACM Trans. Netw. 8 (2000)). Up to 10 APs all sets are compared. In
    larger networks the APs join one at a time, while one raises the sum, and leave where that
    raises it, as in G. Dimic, N. D. Sidiropoulos (2005), cited at `GreedyMaxWeight`.

    A centre knows the large-scale gains of all links, without fading, and the rates so far.
    Ties go to the set with the fewer high APs and to the lower user.

    Args:
        users: ``all``, or ``candidates``, the candidates of each AP alone.
        exponent: of the weights, 0 to 10.
        prior_steps: steps that the prior counts for, above 0.
    """

    def __init__(self, users: str = "all", exponent: float = 4.0, prior_steps: float = 5.0) -> None:
        if users not in ("all", "candidates"):
            raise ValueError(f"users must be 'all' or 'candidates', got {users!r}")
        self.users = users
        self.exponent = bounded_number("exponent", exponent, 0, MAX_EXPONENT)
        self.prior_steps = bounded_number("prior_steps", prior_steps, 1e-6, 1e6)

    def schedule(self, network: Network) -> Served:
        """(B, I) the users of the best set found."""
        if self.users == "candidates":
            return self.schedule_candidates(network)
        return self._best(network, np.ones(network.association.shape, np.bool_))

    def schedule_candidates(self, network: Network) -> Served:
        """Like `schedule`, among the candidates alone."""
        return self._best(network, candidates_alone(network))

    def _best(self, network: Network, allowed: NDArray[np.bool_]) -> Served:
        served = np.empty((network.num_envs, network.config.n_aps), np.int64)
        for part in parts(network.config, network.num_envs):
            actions = JointActions(network.large_scale_gain[part], network.association[part])
            everyone = np.ones(served[part].shape, np.bool_)
            weight = self._weights(network, actions.rates_beside(everyone), part)
            served[part] = actions.best(weight * allowed[part]).served
        return served

    def _weights(
        self, network: Network, reference: NDArray[np.float64], part: slice
    ) -> NDArray[np.float64]:
        """(b, J) the weights m_j^-exponent of a part of the episodes.

        Args:
            network: the network.
            reference: (b, J) ergodic rates with all APs transmitting.
            part: the episodes.
        """
        association = network.association[part]
        of_same_ap = (association[:, :, None] == association[:, None, :]).sum(axis=2)
        prior = np.maximum(reference / of_same_ap, network.config.min_average_rate)
        total = self.prior_steps * prior + network.ue_rate_sum[part]
        weight: NDArray[np.float64] = (total / (self.prior_steps + network.t)) ** -self.exponent
        return weight
