"""Searches over power levels equal their references and are bounded by exhaustive search."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import naive
import naive_power
import naive_schedulers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import configs, reset_network, seeds

from baselines import WMMSE, FPLinQ, Greedy, MaxWeight, ProportionalFair, RandomWalk
from baselines.comparison import summarise, table
from baselines.max_weight import SearchTooLargeError
from baselines.power_levels import PowerSearch, rounded
from baselines.registry import parse_scheduler
from baselines.weighted_rate import CSI, WeightedRate, links
from rrm_env import SILENT, Network, PoweredDecision, RRMConfig, evaluate, parallel_env
from rrm_env.power import actions_of

CHANNELS = st.sampled_from(sorted(CSI))
EXPONENT = st.sampled_from([0.0, 0.8, 2.0])
SEARCHES: dict[str, Callable[..., PowerSearch]] = {"wmmse": WMMSE, "fplinq": FPLinQ}


@st.composite
def small(draw: st.DrawFn) -> RRMConfig:
    """Small networks, mostly with levels, in any order, full power among them or not."""
    power = draw(st.sampled_from([0.0, 10.0, 40.0]))
    below = draw(st.sampled_from([(0.0,), (0.0, -6.0), (-20.0, -1.0, -10.0), (-3.0,), None]))
    return draw(
        configs(
            n_aps=st.sampled_from([1, 2, 3]),
            n_ues=st.sampled_from([1, 6, 16]),
            n_candidates=st.sampled_from([1, 2]),
            episode_length=st.just(2),
            tx_power_dbm=power,
            power_levels_dbm=None if below is None else tuple(power + db for db in below),
        )
    )


class Known:
    """What a search knows in the first episode of a network, in plain Python."""

    def __init__(self, search: WeightedRate, network: Network) -> None:
        gain = {
            "reported": network.reported_gain,
            "large_scale": network.large_scale_gain,
            "present": network.gain,
        }[search.csi][0].tolist()
        slots: list[list[int]] = network.candidates[0].tolist()
        assert search.exponent is not None
        self.of_search = slots, gain, network.average_rate[0].tolist(), search.exponent
        config = network.config
        levels = config.power_levels_dbm or (config.tx_power_dbm,)
        self.powers = [naive_power.relative(level, config.tx_power_dbm) for level in levels]

    def value(self, decision: Any) -> float:
        """The weighted rate of a decision; without levels it is at the highest."""
        _, gain, averages, exponent = self.of_search
        served = decision.served if isinstance(decision, PoweredDecision) else decision
        at = [max(self.powers)] * len(gain)
        if isinstance(decision, PoweredDecision):
            at = [self.powers[level] for level in decision.level[0].tolist()]
        return naive_power.weighted(gain, served[0].tolist(), at, averages, exponent)

    def scaled(self) -> tuple[list[list[int]], list[list[float]], list[float], float]:
        """The same with the highest level as full power."""
        slots, gain, averages, exponent = self.of_search
        return slots, [[max(self.powers) * g for g in row] for row in gain], averages, exponent


@settings(max_examples=40)
@given(small(), seeds, CHANNELS, EXPONENT)
def test_max_weight_finds_the_best_of_all_users_and_levels(
    config: RRMConfig, seed: int, csi: str, exponent: float
) -> None:
    network, search = reset_network(config, seed), MaxWeight(csi, exponent)
    while not network.done:
        known, decision = Known(search, network), search.schedule(network)
        best = naive_power.max_weight(*known.of_search, known.powers)
        assert known.value(decision) == pytest.approx(best, rel=1e-6)
        network.step(decision)


@pytest.mark.parametrize("name", SEARCHES)
@settings(max_examples=30)
@given(config=small(), seed=seeds, csi=CHANNELS, exponent=EXPONENT, n=st.sampled_from([1, 2, 15]))
def test_continuous_powers_and_their_rounding_are_those_of_the_references(
    name: str, config: RRMConfig, seed: int, csi: str, exponent: float, n: int
) -> None:
    network = reset_network(config, seed)
    search = SEARCHES[name](csi, exponent, n, power="levels")
    known, ended = Known(search, network), dict[int, float]()
    if name == "wmmse":
        naive_schedulers.wmmse(*known.scaled(), n, ended=ended)
    else:
        naive_schedulers.fplinq(*known.scaled(), n, "iterated", ended=ended)
    expected = [max(known.powers) * ended.get(i, 0.0) for i in range(config.n_aps)]
    found = search.continuous(network)
    np.testing.assert_allclose(found.power[0], expected, rtol=1e-5, atol=1e-9)
    value, _ = naive_power.value_at(*known.of_search, found.power[0].tolist())
    assert found.value[0] == pytest.approx(value, rel=1e-6)

    decision = search.schedule(network)
    at = naive_power.rounded(*known.of_search, found.power[0].tolist(), known.powers)
    wanted, _ = naive_power.value_at(*known.of_search, at)
    assert known.value(decision) == pytest.approx(wanted, rel=1e-6)
    network.step(decision)  # its users and levels are allowed


@pytest.mark.parametrize("name", SEARCHES)
@settings(max_examples=20)
@given(config=small(), seed=seeds, csi=CHANNELS, exponent=EXPONENT)
def test_no_rounding_exceeds_the_best_of_all_levels(
    name: str, config: RRMConfig, seed: int, csi: str, exponent: float
) -> None:
    network = reset_network(config, seed)
    search = SEARCHES[name](csi, exponent, power="levels")
    known = Known(search, network)
    best = naive_power.max_weight(*known.of_search, known.powers)
    assert known.value(search.schedule(network)) <= best * (1 + 1e-6)


@settings(max_examples=25)
@given(small(), seeds, CHANNELS, EXPONENT)
def test_the_weighted_rate_of_continuous_powers_never_falls_over_iterations(
    config: RRMConfig, seed: int, csi: str, exponent: float
) -> None:
    """Of FPLinQ as it is; of WMMSE while APs still share their power among candidates.

    At its end each AP gives all of its power to one of them, by which the rate never falls either.
    """
    network = reset_network(config, seed)
    course = [
        float(FPLinQ(csi, exponent, n).continuous(network).value[0]) for n in (1, 2, 3, 5, 8, 20)
    ]
    for before, after in itertools.pairwise(course):
        assert after >= before * (1 - 1e-9)
    for n in (1, 3, 12):
        search = WMMSE(csi, exponent, n)
        shared: list[float] = []
        naive_schedulers.wmmse(*Known(search, network).scaled(), n, shared)
        for before, after in itertools.pairwise(shared):
            assert after >= before * (1 - 1e-9)
        assert search.continuous(network).value[0] >= shared[-1] * (1 - 1e-6)


def test_rounding_takes_a_neighbour_of_the_continuous_power() -> None:
    """AP 1 disturbs AP 0 and gains little; its power lies between two levels, both are tried."""
    slots = np.array([[[0], [1]]], np.int32)
    averages = np.ones((1, 2), np.float32)
    for cross, level in ((1e-6, 2), (300.0, 1)):
        gain = np.array([[[1000, 1e-6], [cross, 3]]], np.float32)
        weight, received = links(slots, gain, averages, 1.0)
        powers = np.array([1.0, 0.1, 0.5])  # in any order
        found = rounded(slots, weight, received, np.array([[1.0, 0.45]]), powers)
        assert (found.served.tolist(), found.level[0, 0]) == ([[0, 1]], 0)
        assert found.level[0, 1] == level


def test_rounding_switches_an_ap_off_where_silence_is_worth_more() -> None:
    slots = np.array([[[0], [1], [SILENT]]], np.int32)
    gain = np.array([[[1000, 1], [1000, 1], [5, 5]]], np.float32)
    weight, received = links(slots, gain, np.ones((1, 2), np.float32), 1.0)
    found = rounded(slots, weight, received, np.array([[1.0, 0.2, 0.0]]), np.array([0.25, 1.0]))
    assert found.served.tolist() == [[0, SILENT, SILENT]]
    assert found.level[0, 0] == 1


@pytest.mark.parametrize("name", ["max_weight", "wmmse:power=levels"])
def test_searches_gain_from_levels(name: str) -> None:
    """By far more than the spread of 64 episodes."""
    levels = RRMConfig(power_levels_dbm=(10.0, 4.0, -2.0, -8.0), episode_length=60)
    search = parse_scheduler(f"{name}:csi=present")
    plain = parse_scheduler(f"{name.partition(':')[0]}:csi=present")
    config = RRMConfig(episode_length=60)
    assert evaluate(search, levels, 64).returns.mean() > evaluate(plain, config, 64).returns.mean()


def test_the_table_states_the_power_where_there_are_levels() -> None:
    levels = RRMConfig(power_levels_dbm=(10.0, 0.0), episode_length=5)
    for config, stated in ((levels, True), (RRMConfig(episode_length=5), False)):
        summary = summarise({"greedy": evaluate(Greedy(), config, 3)})
        assert ("power_share" in summary["greedy"]) == stated
        headings = [str(column.header) for column in table(summary, "title").columns]
        assert ("Power\n%" in headings) == stated
        assert "Silent\n%" in headings


@pytest.mark.parametrize("name", SEARCHES)
def test_on_off_takes_no_notice_of_lower_levels(name: str) -> None:
    config = RRMConfig(episode_length=10)
    levels = RRMConfig(power_levels_dbm=(-5.0, 10.0), episode_length=10)
    search = SEARCHES[name](power="on_off")
    assert (evaluate(search, levels, 4).ue_rates == evaluate(search, config, 4).ue_rates).all()


@pytest.mark.parametrize("name", SEARCHES)
def test_another_power_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown power 'level' \(did you mean 'levels'\?\)"):
        SEARCHES[name](power="level")
    with pytest.raises(ValueError, match="unknown power"):
        parse_scheduler(f"{name}:power=full")


def test_max_weight_counts_levels_among_joint_actions() -> None:
    config = RRMConfig(power_levels_dbm=tuple(range(11)), n_aps=4)
    with pytest.raises(SearchTooLargeError, match=r"n_aps = 4 with 34 actions each have 1,336,336"):
        MaxWeight().reset(Network(config))


def test_schedulers_play_levels_under_the_parallel_api() -> None:
    env = parallel_env(power_levels_dbm=(10.0, 0.0, -10.0), episode_length=5)
    seen: set[int] = set()
    for scheduler in (MaxWeight(), WMMSE(power="levels"), ProportionalFair()):
        env.reset(seed=3)
        twin = reset_network(env.config, 3)
        while env.agents:
            decision = scheduler.schedule(twin)
            env.step(scheduler.act(env))
            twin.step(decision)
            assert env.network.served.tolist() == twin.served.tolist()
            assert env.network.power_level.tolist() == twin.power_level.tolist()
            seen.update(twin.power_level.ravel().tolist())
    assert seen == {SILENT, 0, 1, 2}
    assert naive.SILENT == SILENT


def test_random_actions_are_uniform_over_candidates_levels_and_silence() -> None:
    config = RRMConfig(n_aps=2, n_ues=12, n_candidates=2, power_levels_dbm=(10.0, 0.0, -10.0))
    network, counts = reset_network(config, 0, 400), np.zeros(7)
    while network.t < 20:
        legal = network.action_mask.sum(axis=2) == 7
        actions = actions_of(network, RandomWalk(silence=True).schedule(network))
        counts += np.bincount(actions[legal], minlength=7)
        network.step_actions(actions)
    share = counts / counts.sum()
    assert np.abs(share - 1 / 7).max() < 0.01
    network.step(RandomWalk().schedule(network))
    assert set(network.power_level.ravel().tolist()) <= {0, SILENT}
