"""The best joint action of large networks: by local search, and by branch and bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.ergodic import nodes_and_weights
from baselines.optimum import moves
from baselines.optimum.choice import Choice, Floats, Integers
from baselines.optimum.moves import CLOSE
from rrm_env import SILENT

MAX_SEARCHED_APS = 20
"""Largest network for branch and bound, whose time doubles with nearly every AP."""
RATE_ERROR = 1e-4
"""Largest relative error of the rates, from the coarse quadrature; bounds include it."""


class Factors:
    """The factors of all users in all time blocks, shared by the searches below.

    Args:
        gain: (n, I, J) received power over noise.
        association: (J,) the AP of each user.
    """

    def __init__(self, gain: Floats, association: Integers) -> None:
        self.shape = gain.shape[0], gain.shape[1], gain.shape[2]
        self.order = np.argsort(association, kind="stable")
        """(J,) the users, sorted by AP."""
        self.first = np.searchsorted(association[self.order], np.arange(gain.shape[1] + 1))
        """(I + 1,) the first user of each AP in this order, and J."""
        nodes, weights = nodes_and_weights(float(gain.sum(axis=1).max()), coarse=True)
        self.each = np.empty((*gain.shape[:2], nodes.size, gain.shape[2]))
        """(n, I, nodes, J)."""
        moves.factors(self.each, gain[:, :, self.order], self.first, nodes, weights)
        n, n_aps, n_nodes, _ = self.each.shape
        self._top = np.full((n, n_aps), -1)
        self._joins = np.ones((n, n_aps, n_nodes, n_aps))
        self._leaves = np.ones((n, n_aps, n_nodes, n_aps))
        self._products = np.empty((n, n_nodes, gain.shape[2]))
        self._sets = np.zeros((n, n_aps), np.bool_)
        for b in range(n):
            moves.products(self._products[b], self.each[b], self.first, self._sets[b])

    def improve(self, transmits: Any, weight: Floats, *, exchange: bool) -> None:
        """Local search from sets of APs (n, I), which it overwrites; see `moves.improve`."""
        kept = self._products, self._sets, self._top, self._joins, self._leaves
        moves.improve(transmits, *kept, self.each, self.first, weight[self.order], exchange)

    def choice(self, transmits: Any, weight: Floats, bound: Floats) -> Choice:
        """The joint action of sets of APs (n, I), each of which serves its best user."""
        n, n_aps, _ = self.shape
        value = np.empty(n)
        served, rate = np.empty((n, n_aps), np.int64), np.empty((n, n_aps))
        moves.serve(value, served, rate, self.each, self.first, transmits, weight[self.order])
        users = np.where(served == SILENT, SILENT, self.order[served])
        return Choice(value, bound, users, rate)


class Nearby:
    """Local search from known sets of APs or those found last: single APs join or leave.

    Args:
        factors: of the episode.
    """

    def __init__(self, factors: Factors) -> None:
        self.shape, self._factors = factors.shape, factors
        self._transmits = np.ones(self.shape[:2], np.bool_)

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:
        """In each block a joint action that no single AP can improve."""
        factors = self._factors
        if known is not None:
            self._transmits = known != SILENT
        factors.improve(self._transmits, weight, exchange=False)
        unknown = np.full(self.shape[0], np.inf)
        return factors.choice(self._transmits, weight, unknown)


class Thorough:
    """Local search from known sets, otherwise from silence and all APs, also by exchanges.

    Args:
        factors: of the episode.
    """

    def __init__(self, factors: Factors) -> None:
        self.shape, self._factors = factors.shape, factors
        self._transmits = np.zeros(self.shape[:2], np.bool_)

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:
        """In each block the best joint action found, without proof."""
        factors, sorted_weight = self._factors, weight[self._factors.order]
        if known is not None:
            self._transmits = known != SILENT
        starts = [self._transmits]
        if known is None:
            starts += [np.zeros_like(self._transmits), np.ones_like(self._transmits)]
        for transmits in starts:
            factors.improve(transmits, weight, exchange=True)
        unknown = np.full(self.shape[0], np.inf)
        values = [factors.choice(transmits, weight, unknown).value for transmits in starts]
        best = np.argmax(values, axis=0)
        self._transmits = np.stack(starts)[best, np.arange(self.shape[0])]
        moves.polish(self._transmits, factors.each, factors.first, sorted_weight)
        return factors.choice(self._transmits, weight, unknown)


class BranchAndBound:
    """The best joint action up to `CLOSE`, with a proof; local search provides the first one.

    Args:
        factors: of the episode.
    """

    def __init__(self, factors: Factors) -> None:
        self.shape, self._factors = factors.shape, factors
        self._thorough = Thorough(factors)

    def best(self, weight: Floats, known: Integers | None = None) -> Choice:
        """In each block the best joint action."""
        factors = self._factors
        transmits = self._thorough.best(weight, known).served != SILENT
        moves.branch(transmits, factors.each, factors.first, weight[factors.order])
        found = factors.choice(transmits, weight, np.empty(self.shape[0]))
        return found._replace(bound=found.value * (1 + CLOSE) * (1 + RATE_ERROR))
