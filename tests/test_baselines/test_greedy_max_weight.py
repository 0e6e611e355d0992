"""Greedy max-weight equals its reference implementation and ends in local optima.

Exhaustive search bounds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import configs, reset_network, seeds

from baselines import GreedyMaxWeight, ITLinQ, MaxWeight, ProportionalFair
from baselines.max_weight import SearchTooLargeError
from rrm_env import SILENT, Network, RRMConfig, evaluate

CSI = st.sampled_from(["reported", "large_scale"])
EXPONENT = st.sampled_from([0.0, 0.8, 1.5, 3.0])
small = configs(
    n_aps=st.sampled_from([1, 2, 3, 5]),
    n_ues=st.sampled_from([1, 6, 16]),
    n_candidates=st.sampled_from([1, 2, 3]),
    episode_length=st.sampled_from([2, 6]),
)


class Decision:
    """One decision in the first episode of a network, and what can be asked of it."""

    def __init__(self, scheduler: GreedyMaxWeight, network: Network) -> None:
        assert scheduler.exponent is not None
        self.gain = (
            network.reported_gain if scheduler.csi == "reported" else network.large_scale_gain
        )[0].tolist()
        self.averages, self.exponent = network.average_rate[0].tolist(), scheduler.exponent
        self.slots: list[list[int]] = network.candidates[0].tolist()
        self.served: list[int] = scheduler.schedule(network)[0].tolist()

    def value(self, served: list[int]) -> float:
        """The weighted rate of a joint action."""
        return naive.weighted_sum(served, self.gain, self.averages, self.exponent)


def decisions(config: RRMConfig, seed: int, scheduler: GreedyMaxWeight) -> Iterator[Decision]:
    """Every decision of an episode, each carried out."""
    network = reset_network(config, seed)
    scheduler.reset(network)
    while not network.done:
        decision = Decision(scheduler, network)
        yield decision
        network.step([decision.served])


@settings(max_examples=60)
@given(small, seeds, CSI, EXPONENT, st.sampled_from([1, 2, 8]))
def test_it_decides_as_its_reference(
    config: RRMConfig, seed: int, csi: str, exponent: float, starts: int
) -> None:
    for made in decisions(config, seed, GreedyMaxWeight(csi, exponent, starts)):
        assert made.served == naive.greedy_max_weight(
            made.slots, made.gain, made.averages, exponent, starts
        )


@settings(max_examples=60)
@given(configs(n_aps=st.sampled_from([1, 3, 6])), seeds, CSI, EXPONENT, st.sampled_from([1, 8]))
def test_no_change_of_one_ap_improves_and_no_link_alone_is_better(
    config: RRMConfig, seed: int, csi: str, exponent: float, starts: int
) -> None:
    for made in decisions(config, seed, GreedyMaxWeight(csi, exponent, starts)):
        reached, silence = made.value(made.served), [SILENT] * config.n_aps
        for i, own in enumerate(made.slots):
            assert made.served[i] in {*own, SILENT}
            for ue in {*own, SILENT}:
                for others in (made.served, silence):
                    assert (
                        made.value([*others[:i], ue, *others[i + 1 :]])
                        <= reached * (1 + 2e-9) + 1e-12
                    )


def test_local_search_goes_on_until_no_ap_improves() -> None:
    """Among many APs one round of changes does not always suffice."""
    scheduler, network = (
        GreedyMaxWeight(starts=1),
        reset_network(RRMConfig(n_aps=16, n_ues=80, area_side_m=150), 0, 100),
    )
    while network.t < 12:
        network.step(scheduler.schedule(network))
    for b, served in enumerate(scheduler.schedule(network).tolist()):
        reached = _value(network, b, served)
        for i, own in enumerate(network.candidates[b].tolist()):
            for ue in {*own, SILENT}:
                assert _value(network, b, [*served[:i], ue, *served[i + 1 :]]) <= reached * (
                    1 + 2e-9
                )


@settings(max_examples=40)
@given(small, seeds, CSI, EXPONENT)
def test_exhaustive_search_is_never_worse_and_no_better_for_one_ap(
    config: RRMConfig, seed: int, csi: str, exponent: float
) -> None:
    network, exhaustive = reset_network(config, seed), MaxWeight(csi, exponent)
    made = Decision(GreedyMaxWeight(csi, exponent), network)
    best = made.value(exhaustive.schedule(network)[0].tolist())
    assert made.value(made.served) <= best * (1 + 1e-9)
    if config.n_aps == 1:
        assert made.value(made.served) == pytest.approx(best, rel=1e-9)


def test_more_starts_are_never_worse_and_the_default_is_close_to_exhaustive_search() -> None:
    network, best = (
        reset_network(RRMConfig(n_aps=6, n_ues=30, area_side_m=120), 0, 200),
        MaxWeight(),
    )
    while network.t < 30:  # averages have grown apart
        network.step(GreedyMaxWeight().schedule(network))
    values = {
        starts: np.array(
            [
                _value(network, b, served)
                for b, served in enumerate(
                    GreedyMaxWeight(starts=starts).schedule(network).tolist()
                )
            ]
        )
        for starts in (1, 2, 4, 8, 1000)
    }
    optimum = np.array(
        [_value(network, b, served) for b, served in enumerate(best.schedule(network).tolist())]
    )
    ordered = list(values.values())
    for fewer, more in pairwise(ordered):
        assert (more >= fewer * (1 - 1e-8)).all()
    assert (values[1] / optimum).mean() < 0.98 < 0.995 < (values[8] / optimum).mean()
    assert (values[1000] / optimum).mean() > 0.998


def _value(network: Network, b: int, served: list[int]) -> float:
    gain, averages = network.reported_gain[b].tolist(), network.average_rate[b].tolist()
    return naive.weighted_sum(served, gain, averages, network.config.fairness_exponent)


def test_it_schedules_where_exhaustive_search_refuses_and_beats_what_else_runs_there() -> None:
    config = RRMConfig.preset("dense")
    with pytest.raises(
        SearchTooLargeError,
        match=r"4,294,967,296\. GreedyMaxWeight \(greedy_max_weight\) takes networks of any size",
    ):
        evaluate(MaxWeight(), config, episodes=1)
    greedy, *others = (
        evaluate(scheduler, config, episodes=4)
        for scheduler in (GreedyMaxWeight(), ITLinQ(-10.0), ProportionalFair())
    )
    assert all((greedy.score > 1.1 * other.score).all() for other in others)
