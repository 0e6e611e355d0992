"""FPLinQ, WMMSE and binary power control, and searches that know the present fading.

Each equals its reference implementation, is bounded by exhaustive search, and does what is known by
hand to be right.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import naive
import naive_schedulers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import configs, reset_network, seeds

from baselines import WMMSE, FPLinQ, GreedyMaxWeight, MaxWeight, PowerControl
from baselines.weighted_rate import CSI, WeightedRate
from rrm_env import SILENT, Network, RRMConfig

CHANNELS = st.sampled_from(sorted(CSI))
EXPONENT = st.sampled_from([0.0, 0.8, 1.5, 3.0])
SEARCHES: dict[str, Callable[..., WeightedRate]] = {
    "fplinq": FPLinQ,
    "fplinq:users=all_on": lambda csi="reported", exponent=None: FPLinQ(
        csi, exponent, users="all_on"
    ),
    "wmmse": WMMSE,
    "power_control": PowerControl,
    "power_control:users=alone": lambda csi="reported", exponent=None: PowerControl(
        csi, exponent, "alone"
    ),
    "max_weight": MaxWeight,
    "greedy_max_weight": GreedyMaxWeight,
}
NEW = tuple(SEARCHES)[:5]
small = configs(
    n_aps=st.sampled_from([1, 2, 3, 5]),
    n_ues=st.sampled_from([1, 6, 16]),
    n_candidates=st.sampled_from([1, 2, 3]),
    episode_length=st.sampled_from([1, 3]),
)


class Decision:
    """One decision in the first episode of a network, and what can be asked of it."""

    def __init__(self, search: WeightedRate, network: Network) -> None:
        assert search.exponent is not None
        self.gain = {
            "reported": network.reported_gain,
            "large_scale": network.large_scale_gain,
            "present": network.gain,
        }[search.csi][0].tolist()
        self.averages, self.exponent = network.average_rate[0].tolist(), search.exponent
        self.slots: list[list[int]] = network.candidates[0].tolist()
        self.served: list[int] = search.schedule(network)[0].tolist()
        self.known = self.slots, self.gain, self.averages, self.exponent

    def value(self, served: list[int]) -> float:
        """The weighted rate of a joint action."""
        return naive.weighted_sum(served, self.gain, self.averages, self.exponent)

    def agrees_with(self, expected: list[int]) -> bool:
        """Whether the decision is the expected one, or worth the same where choices tie."""
        return self.served == expected or self.value(self.served) == pytest.approx(
            self.value(expected), rel=1e-6
        )


def decisions(config: RRMConfig, seed: int, search: WeightedRate) -> Iterator[Decision]:
    """Every decision of an episode, each carried out."""
    network = reset_network(config, seed)
    search.reset(network)
    while not network.done:
        decision = Decision(search, network)
        yield decision
        network.step([decision.served])


# --- Reference implementations ---


@settings(max_examples=40)
@given(
    small,
    seeds,
    CHANNELS,
    EXPONENT,
    st.sampled_from([1, 2, 30]),
    st.sampled_from(["iterated", "all_on"]),
)
def test_fplinq_decides_as_its_reference(
    config: RRMConfig, seed: int, csi: str, exponent: float, iterations: int, users: str
) -> None:
    for made in decisions(config, seed, FPLinQ(csi, exponent, iterations, users)):
        course: list[float] = []
        expected = naive_schedulers.fplinq(*made.known, iterations, users, course)
        assert made.agrees_with(expected)
        for before, after in itertools.pairwise(course):
            assert after >= before * (1 - 1e-9)


@settings(max_examples=40)
@given(small, seeds, CHANNELS, EXPONENT, st.sampled_from([1, 2, 20]))
def test_wmmse_decides_as_its_reference(
    config: RRMConfig, seed: int, csi: str, exponent: float, iterations: int
) -> None:
    for made in decisions(config, seed, WMMSE(csi, exponent, iterations)):
        course: list[float] = []
        assert made.agrees_with(naive_schedulers.wmmse(*made.known, iterations, course))
        for before, after in itertools.pairwise(course):
            assert after >= before * (1 - 1e-9)


@settings(max_examples=40)
@given(
    configs(
        n_aps=st.sampled_from([1, 3, 6, 11, 12]),
        n_ues=st.sampled_from([1, 14, 27]),
        episode_length=2,
    ),
    seeds,
    CHANNELS,
    EXPONENT,
    st.sampled_from(["all_on", "alone"]),
)
def test_power_control_decides_as_its_reference(
    config: RRMConfig, seed: int, csi: str, exponent: float, users: str
) -> None:
    for made in decisions(config, seed, PowerControl(csi, exponent, users)):
        assert made.agrees_with(naive_schedulers.power_control(*made.known, users))


def test_with_fixed_users_the_iterations_of_fplinq_and_wmmse_are_the_same() -> None:
    """So says part II of "Fractional programming for communication systems"."""
    network = reset_network(RRMConfig(n_candidates=1), 5)
    known = (
        network.candidates[0].tolist(),
        network.reported_gain[0].tolist(),
        network.average_rate[0].tolist(),
        1.0,
    )
    first: list[float] = []
    second: list[float] = []
    naive_schedulers.fplinq(*known, 30, "all_on", first)
    naive_schedulers.wmmse(*known, 30, second)
    assert first == pytest.approx(second, rel=1e-9)
    assert first[-1] > first[0] * 1.01


# --- Bounds ---


@pytest.mark.parametrize("name", NEW)
@settings(max_examples=15)
@given(config=small, seed=seeds, csi=CHANNELS, exponent=EXPONENT)
def test_exhaustive_search_is_never_worse_and_no_better_for_one_ap(
    name: str, config: RRMConfig, seed: int, csi: str, exponent: float
) -> None:
    network = reset_network(config, seed)
    made = Decision(SEARCHES[name](csi, exponent), network)
    best = made.value(MaxWeight(csi, exponent).schedule(network)[0].tolist())
    assert made.value(made.served) <= best * (1 + 1e-9)
    if config.n_aps == 1:
        assert made.value(made.served) == pytest.approx(best, rel=1e-6)


@settings(max_examples=15)
@given(configs(n_aps=12, n_ues=40), seeds, EXPONENT, st.sampled_from(["all_on", "alone"]))
def test_no_switch_of_one_ap_improves_binary_power_control_of_a_large_network(
    config: RRMConfig, seed: int, exponent: float, users: str
) -> None:
    network = reset_network(config, seed)
    made = Decision(PowerControl("reported", exponent, users), network)
    users_on = {i: ue for i, ue in enumerate(made.served) if ue != SILENT}
    for i in users_on:
        fewer = [SILENT if k == i else ue for k, ue in enumerate(made.served)]
        assert made.value(fewer) <= made.value(made.served) * (1 + 2e-9)


def shares(config: RRMConfig, steps: int, names: tuple[str, ...]) -> dict[str, float]:
    """Mean share of exhaustive search's weighted rate, in states that exhaustive search meets."""
    network, exact = reset_network(config, 0, 40), MaxWeight()
    reached: dict[str, list[float]] = {name: [] for name in names}
    while network.t < steps:
        best = exact.schedule(network)
        for name in names:
            served = SEARCHES[name]().schedule(network)
            reached[name] += [
                _value(network, b, served) / _value(network, b, best) for b in range(40)
            ]
        network.step(best)
    return {name: float(np.mean(values)) for name, values in reached.items()}


def test_searches_come_as_close_to_exhaustive_search_as_the_page_says() -> None:
    found = shares(RRMConfig(), 40, (*NEW, "greedy_max_weight"))
    assert 0.85 < found["fplinq:users=all_on"] < found["fplinq"] < 0.94
    assert found["power_control"] < found["wmmse"] < found["greedy_max_weight"] <= 1 + 1e-9
    assert found["wmmse"] > 0.95


def _value(network: Network, b: int, served: NDArray[np.int64]) -> float:
    return naive.weighted_sum(
        served[b].tolist(),
        network.reported_gain[b].tolist(),
        network.average_rate[b].tolist(),
        network.config.fairness_exponent,
    )


# --- What is known by hand ---


def best_of(name: str, gain: list[list[float]], averages: list[float]) -> list[int]:
    """The decision where AP i has the candidates i n to i n + n - 1, of n each."""
    slots = np.arange(len(averages), dtype=np.int32).reshape(1, len(gain), -1)
    given_arrays = np.array([gain], np.float32), np.array([averages], np.float32)
    served: list[int] = SEARCHES[name]()._best(slots, *given_arrays, 1.0)[0].tolist()
    return served


@pytest.mark.parametrize("name", SEARCHES)
def test_cells_far_apart_all_transmit_to_their_best_user(name: str) -> None:
    gain = [[100, 50, 1e-9, 1e-9], [1e-9, 1e-9, 30, 31]]
    assert best_of(name, gain, [1, 1, 1, 1]) == [0, 3]
    assert best_of(name, gain, [1, 0.1, 0.1, 1]) == [1, 2]


@pytest.mark.parametrize("name", SEARCHES)
def test_of_cells_in_one_place_only_the_better_link_transmits(name: str) -> None:
    """The other one is so much worse that no search stays between the two."""
    gain: list[list[float]] = [[1000, 100], [1000, 100]]
    assert best_of(name, gain, [1, 1]) == [0, SILENT]
    assert best_of(name, gain, [1, 0.1]) == [SILENT, 1]


@pytest.mark.parametrize("name", SEARCHES)
def test_aps_without_candidates_are_silent_and_disturb_nobody(name: str) -> None:
    slots = np.array([[[0, 1], [SILENT, SILENT], [2, SILENT]]], np.int32)
    gain = np.array([[[50, 40, 1e-6], [1e6, 1e6, 1e6], [1e-6, 1e-6, 5]]], np.float32)
    averages = np.ones((1, 3), np.float32)
    assert SEARCHES[name]()._best(slots, gain, averages, 1.0).tolist() == [[0, SILENT, 2]]
    assert SEARCHES[name]()._best(np.full_like(slots, SILENT), gain, averages, 1.0).tolist() == [
        [SILENT, SILENT, SILENT]
    ]


@pytest.mark.parametrize("name", SEARCHES)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32 - 1), n_aps=st.sampled_from([2, 4, 11]))
def test_the_order_of_aps_does_not_matter(name: str, seed: int, n_aps: int) -> None:
    if name == "max_weight" and n_aps > 4:
        n_aps = 5
    generator = np.random.default_rng(seed)
    n_ues = 2 * n_aps
    gain = np.exp(generator.normal(2, 3, (1, n_aps, n_ues))).astype(np.float32)
    slots = np.arange(n_ues, dtype=np.int32).reshape(1, n_aps, 2)
    averages = np.exp(generator.normal(0, 1, (1, n_ues))).astype(np.float32)
    search, order = SEARCHES[name](), generator.permutation(n_aps)
    served = search._best(slots, gain, averages, 1.0)
    permuted = search._best(slots[:, order].copy(), gain[:, order].copy(), averages, 1.0)
    assert permuted.tolist() == served[:, order].tolist()


# --- The present channel ---


@settings(max_examples=30)
@given(small, seeds)
def test_no_joint_action_has_a_higher_reward_than_max_weight_on_the_present_channel(
    config: RRMConfig, seed: int
) -> None:
    network, oracle = reset_network(config, seed), MaxWeight(csi="present")
    while not network.done:
        known = (
            network.candidates[0].tolist(),
            network.gain[0].tolist(),
            network.average_rate[0].tolist(),
        )
        _, reward = network.step(oracle.schedule(network))
        best = naive.max_weight(*known, config.fairness_exponent)
        assert reward[0] == pytest.approx(best, rel=1e-4)


@pytest.mark.parametrize("name", SEARCHES)
def test_every_search_gains_from_the_present_channel(name: str) -> None:
    total = dict.fromkeys(CSI, 0.0)
    for csi in CSI:
        network, search = reset_network(RRMConfig(), 0, 50), SEARCHES[name](csi)
        search.reset(network)
        while network.t < 20:
            _, reward = network.step(search.schedule(network))
            total[csi] += float(reward.mean())
    assert total["present"] > 1.05 * max(total["reported"], total["large_scale"])


@pytest.mark.parametrize("csi", CSI)
def test_searches_leave_the_network_as_it_is(csi: str) -> None:
    network = reset_network(RRMConfig(), 1, 3)
    before: dict[str, Any] = {
        name: getattr(network, name).copy()
        for name in ("gain", "reported_gain", "large_scale_gain", "average_rate", "candidates")
    }
    for search in SEARCHES.values():
        search(csi).schedule(network)
    for name, array in before.items():
        assert np.array_equal(getattr(network, name), array)
