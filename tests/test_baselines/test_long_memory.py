"""Long-memory max-weight chooses the best set, and its weights remember the whole episode."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import naive_optimum
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs, reset_network, seeds

from baselines import ergodic, joint_actions
from baselines.long_memory import LongMemory
from rrm_env import SILENT, Network, RRMConfig, evaluate

USERS = st.sampled_from(["all", "candidates"])
EXPONENT = st.sampled_from([0.0, 1.0, 4.0])
small = configs(
    n_aps=st.sampled_from([1, 2, 3]),
    n_ues=st.sampled_from([1, 4, 7]),
    n_candidates=st.sampled_from([1, 2]),
    episode_length=st.sampled_from([1, 3]),
    fading="iid",
)


class Decision:
    """What the reference implementation says of one step of a network's first episode."""

    def __init__(self, network: Network, scheduler: LongMemory) -> None:
        self.gain = network.large_scale_gain[0].astype(float).tolist()
        self.association: list[int] = network.association[0].tolist()
        self.candidates: list[list[int]] = network.candidates[0].tolist()
        self.users, t = scheduler.users, network.t
        n_aps, prior = len(self.gain), scheduler.prior_steps
        self.weight: list[float] = []
        for j, i in enumerate(self.association):
            share = self.rate(j, range(n_aps)) / self.association.count(i)
            begin = max(share, network.config.min_average_rate)
            mean = (prior * begin + float(network.ue_rate_sum[0, j])) / (prior + t)
            self.weight.append(mean**-scheduler.exponent)

    def rate(self, j: int, members: Any) -> float:
        """The ergodic rate of user j while the APs in `members` transmit."""
        own = self.association[j]
        others = [self.gain[k][j] for k in members if k != own]
        return naive_optimum.ergodic_rate(self.gain[own][j], others, steps=300)

    def value(self, served: list[int]) -> float:
        """The weighted sum of ergodic rates of a joint action."""
        members = [i for i, j in enumerate(served) if j != SILENT]
        return sum(self.weight[served[i]] * self.rate(served[i], members) for i in members)

    def choices(self, i: int) -> list[int]:
        """The users that AP i may serve."""
        own = [j for j, ap in enumerate(self.association) if ap == i]
        return own if self.users == "all" else [j for j in own if j in self.candidates[i]]

    def best(self) -> float:
        """The largest weighted sum over all sets of APs and their users."""
        values = [0.0]
        aps = range(len(self.gain))
        for size in range(1, len(aps) + 1):
            for members in combinations(aps, size):
                tops = [
                    max(
                        (self.weight[j] * self.rate(j, members) for j in self.choices(i)), default=0
                    )
                    for i in members
                ]
                values.append(sum(tops))
        return max(values)


def decisions(
    config: RRMConfig, seed: int, scheduler: LongMemory
) -> Iterator[tuple[Decision, list[int]]]:
    """Every decision of an episode with what the reference knows, each carried out."""
    network = reset_network(config, seed)
    scheduler.reset(network)
    while not network.done:
        served: list[int] = scheduler.schedule(network)[0].tolist()
        yield Decision(network, scheduler), served
        network.step([served])


def within(value: float, expected: float, tolerance: float) -> bool:
    return math.isclose(value, expected, rel_tol=tolerance)


@settings(max_examples=25)
@given(small, seeds, USERS, EXPONENT, st.sampled_from([1.0, 5.0]))
def test_no_set_of_aps_is_better(
    config: RRMConfig, seed: int, users: str, exponent: float, prior: float
) -> None:
    for reference, served in decisions(config, seed, LongMemory(users, exponent, prior)):
        for i, j in enumerate(served):
            assert j == SILENT or j in reference.choices(i)
        assert within(reference.value(served), reference.best(), 3e-4)


@settings(max_examples=25)
@given(small, seeds, USERS, EXPONENT)
def test_in_large_networks_no_ap_that_joins_or_leaves_improves(
    config: RRMConfig, seed: int, users: str, exponent: float
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joint_actions, "EXACT_APS", 0)
        for reference, served in decisions(config, seed, LongMemory(users, exponent)):
            reached = reference.value(served)
            for i, own in enumerate(served):
                for j in [*reference.choices(i), SILENT]:
                    if j == SILENT or own == SILENT:
                        changed = [*served[:i], j, *served[i + 1 :]]
                        assert reference.value(changed) <= reached * (1 + 3e-4)


def test_growing_a_set_comes_near_the_best_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(RRMConfig(), 64)
    network.reset(0)
    scheduler = LongMemory()
    for _ in range(20):
        best, best_values = scheduler.schedule(network), values_of(network, scheduler)
        with monkeypatch.context() as patch:
            patch.setattr(joint_actions, "EXACT_APS", 0)
            grown_values = values_of(network, scheduler)
        assert (grown_values <= best_values * (1 + 1e-6)).all()
        assert (grown_values > 0.98 * best_values).mean() > 0.9
        network.step(best)


def values_of(network: Network, scheduler: LongMemory) -> NDArray[np.float64]:
    """(B,) the weighted sums of ergodic rates of the scheduler's decisions."""
    served = scheduler.schedule(network)
    gain, association = network.large_scale_gain, network.association
    full = ergodic.rates_of_set(gain, association, np.ones(served.shape, np.bool_), coarse=True)
    weight = scheduler._weights(network, full, slice(None))
    rates = ergodic.rates_of_set(gain, association, served != SILENT)
    users = np.maximum(served, 0)
    weighted = np.take_along_axis(weight * rates, users, axis=1)
    total: NDArray[np.float64] = np.where(served == SILENT, 0, weighted).sum(axis=1)
    return total


@pytest.mark.parametrize("exact_aps", [0, 10])
def test_a_decision_does_not_depend_on_the_batch(
    exact_aps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint_actions, "EXACT_APS", exact_aps)
    monkeypatch.setattr(joint_actions, "RATES_AT_ONCE", 500)  # parts of three episodes
    together = evaluate(LongMemory(), RRMConfig(episode_length=20), episodes=8)
    monkeypatch.undo()
    monkeypatch.setattr(joint_actions, "EXACT_APS", exact_aps)
    alone = evaluate(LongMemory(), RRMConfig(episode_length=20), episodes=1)
    np.testing.assert_array_equal(together.ue_rates[:1], alone.ue_rates)


def test_it_beats_max_weight_of_the_network_s_short_memory() -> None:
    from baselines import MaxWeight

    episodes = 32
    long, short = (
        evaluate(scheduler, episodes=episodes)
        for scheduler in (LongMemory(), MaxWeight("large_scale", exponent=2))
    )
    assert (long.score - short.score).mean() > 0.2
    assert (long.worst_rate - short.worst_rate).mean() > 0.08


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": "some"}, "users must be 'all' or 'candidates', got 'some'"),
        ({"exponent": -1}, "exponent"),
        ({"prior_steps": 0}, "prior_steps"),
    ],
)
def test_wrong_options_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LongMemory(**options)
