"""Gains and rates that a test draws or writes down, and schedules in such episodes."""

from __future__ import annotations

from typing import Any

import naive_graph
import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from baselines.debts import Debts, Plan
from baselines.links import Links
from baselines.neighbour_search import RAYLEIGH, choose
from rrm_env import SILENT, RRMConfig

Floats = NDArray[np.float64]

drawn = st.integers(0, 2**32 - 1)
"""Seeds of the generators of tests."""


class World:
    """Episodes whose gains and rates a test writes, read as a scheduler reads a `Network`."""

    def __init__(self, config: RRMConfig, gain: Floats, association: Any) -> None:
        self.config, self.large_scale_gain, self.t = config, gain, 0
        self.num_envs = len(gain)
        self.association = np.array(association, np.int32)
        self.ue_rate_sum = np.zeros(self.association.shape)

    def step(self, rates: Floats) -> None:
        """Add rates (B, J), and go to the next step."""
        self.ue_rate_sum = self.ue_rate_sum + rates
        self.t += 1


# --- Links ---


def random_gains(
    generator: np.random.Generator, b: int, n_aps: int, n_ues: int, spread_db: float = 20.0
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Gains (B, I, J) and the APs of the users (B, J), which need not be the strongest."""
    gain = 10 ** (generator.normal(10, spread_db, (b, n_aps, n_ues)) / 10)
    return gain.astype(np.float32), generator.integers(0, n_aps, (b, n_ues))


def links_of(gain: Any, association: Any, n_neighbours: int, neighbours: Any = None) -> Links:
    """The links of gains (B, I, J) and associations (B, J), arrays or lists."""
    return Links.of_gains(
        np.asarray(gain, np.float32), np.asarray(association), n_neighbours, neighbours
    )


def random_links(
    generator: np.random.Generator, b: int, n_aps: int, n_ues: int, n_neighbours: int
) -> Links:
    return Links.of_gains(*random_gains(generator, b, n_aps, n_ues), n_neighbours)


def permuted(
    gain: NDArray[Any], association: NDArray[Any], aps: NDArray[Any], users: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same episodes whose AP i was called aps[i] before, and whose user j users[j]."""
    return gain[:, aps][:, :, users], np.argsort(aps)[association[:, users]]


# --- Schedules ---


def plan_of(policy: Debts, network: Any) -> Plan:
    """What the policy takes as common knowledge."""
    return policy._plans[network]


def world(seed: int, length: int = 25, n_aps: int = 3, n_ues: int = 9, b: int = 2) -> World:
    """Episodes with random gains, in which every AP has users."""
    generator = np.random.default_rng(seed)
    config = RRMConfig(n_aps=n_aps, n_ues=n_ues, episode_length=length)
    gain = random_gains(generator, b, n_aps, n_ues, spread_db=8.0)[0]
    return World(config, gain.astype(np.float64), np.tile(np.arange(n_ues) % n_aps, (b, 1)))


def played(policy: Debts, world: World, rates: Any, later: Any = None) -> NDArray[np.int64]:
    """(T, B, I) decisions under rates (T, B, J), with other gains after the first step."""
    policy.reset(world)  # type: ignore[arg-type]
    decisions = []
    for t in range(world.config.episode_length):
        if later is not None and t == 1:
            world.large_scale_gain = later
        decisions.append(policy.schedule(world))  # type: ignore[arg-type]
        world.step(rates[t])
    return np.array(decisions)


def knows_only_what_was_exchanged(policy: Debts, every: int) -> None:
    """Check that other rates and gains change no decision before the next exchange, but then."""
    rates, decisions = random_rates(0, world(0)), []
    for k in range(2):
        later = world(k + 1).large_scale_gain
        decisions.append(played(policy, world(0), rates * (1 + 9 * k), later))
    same = (decisions[0] == decisions[1]).all(axis=(1, 2))
    assert same[: every or 25].all()
    assert every == 0 or not same[every:].all()


def random_rates(seed: int, world: World) -> NDArray[np.float64]:
    shape = world.config.episode_length, *world.association.shape
    return np.random.default_rng(seed).exponential(size=shape)


def decided_by_hand(
    world: World, log_price: Any, debt_weight: float, exchange_steps: int, rates: Any
) -> NDArray[np.int64]:
    """(T, B, I) decisions by log prices (B, J), debts and the search, for 3 neighbours.

    Who transmits decides alone: no AP chooses among its users by rates of its own.
    """
    config, (b, n_ues) = world.config, world.association.shape
    links = links_of(world.large_scale_gain, world.association, 3)
    known, total, decisions = np.zeros((b, n_ues)), np.zeros((b, n_ues)), []
    gain, association = world.large_scale_gain.tolist(), world.association.tolist()
    first = [naive_graph.round_robin(gain[n], association[n], RAYLEIGH) for n in range(b)]
    for t in range(config.episode_length):
        if exchange_steps and t % exchange_steps == 0:
            known = total.copy()
        weight = np.empty((b, n_ues))
        for n in range(b):
            level = (5 * first[n] + known[n].mean()) / (5 + t)
            owed = naive_graph.debts(
                known[n].tolist(), level, t, config.episode_length, debt_weight
            )
            weight[n] = naive_graph.weights(
                (log_price[n] - np.array(owed)).tolist(),
                config.sum_weight,
                config.score_tail_weight,
            )
        served, rate = choose(links, weight)
        decisions.append(served)
        for n, i in zip(*np.nonzero(served != SILENT), strict=True):
            known[n, served[n, i]] += rate[n, i]
        total += rates[t]
    return np.array(decisions)
