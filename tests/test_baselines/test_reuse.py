"""Reuse-k equals its reference implementation, and its groups and turns are as described."""

from __future__ import annotations

from collections.abc import Iterator

import naive_schedulers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import configs, reset_network, seeds

from baselines import Reuse, TurnTaking
from baselines.reuse import _coloured, _disturbance
from rrm_env import SILENT, Network, RRMConfig, evaluate
from rrm_env.seeds import EVALUATION_SEEDS

TURNS = st.sampled_from(["by_load", "equal"])
small = configs(
    n_ues=st.sampled_from([1, 5, 14]), episode_length=st.sampled_from([1, 12]), csi_delay=1
)


class Episode:
    """The first episode of a network, as its reference sees it at the start."""

    def __init__(self, config: RRMConfig, seed: int) -> None:
        self.network = reset_network(config, seed)
        self.gain = self.network.large_scale_gain[0].tolist()
        self.association = self.network.association[0].tolist()
        self.weights = config.sum_weight, config.score_tail_weight

    def plan(self, n_groups: int, turns: str) -> tuple[list[int], list[int], float]:
        """Groups, turns of each in a rotation, and the estimated score."""
        group = naive_schedulers.reuse_groups(self.gain, self.association, n_groups)
        loads = naive_schedulers.reuse_loads(group, self.association, turns)
        score = naive_schedulers.reuse_score(
            group, loads, self.gain, self.association, *self.weights
        )
        return group, loads, score


def served_by(scheduler: Reuse, network: Network) -> Iterator[list[int]]:
    """What is served in each step of the first episode."""
    scheduler.reset(network)
    while not network.done:
        served = scheduler.schedule(network)
        assert served.dtype == np.int64
        yield served[0].tolist()
        network.step(served)


@settings(max_examples=60)
@given(small, seeds, st.integers(0, 7), TURNS)
def test_it_decides_as_its_reference(config: RRMConfig, seed: int, groups: int, turns: str) -> None:
    episode = Episode(config, seed)
    tried = [min(groups, config.n_aps)] if groups else range(1, config.n_aps + 1)
    plans = [episode.plan(k, turns) for k in tried]
    highest = max(score for _, _, score in plans)
    best = [plan for plan in plans if plan[2] >= highest * (1 - 1e-9)]  # ties may fall either way
    decisions = []
    for served in served_by(Reuse(groups, turns), episode.network):
        neediest = [
            naive_schedulers.neediest(own, averages)
            for own, averages in (
                (own, episode.network.average_rate[0].tolist())
                for own in episode.network.candidates[0].tolist()
            )
        ]
        decisions.append((served, neediest))
    courses = [
        (group, naive_schedulers.reuse_turns(loads, config.episode_length))
        for group, loads, _ in best
    ]
    assert any(
        all(
            served == [ue if group[i] == turn else SILENT for i, ue in enumerate(neediest)]
            for turn, (served, neediest) in zip(course, decisions, strict=True)
        )
        for group, course in courses
    )


@given(small, seeds, TURNS)
def test_one_group_is_full_reuse(config: RRMConfig, seed: int, turns: str) -> None:
    network = reset_network(config, seed)
    used = [ap in network.association[0] for ap in range(config.n_aps)]
    for served in served_by(Reuse(1, turns), network):
        assert [ue != SILENT for ue in served] == used


@given(small, seeds, st.sampled_from(["by_load", "equal"]))
def test_as_many_groups_as_aps_take_turns_alone_each_by_its_load(
    config: RRMConfig, seed: int, turns: str
) -> None:
    network = reset_network(config, seed)
    users = np.bincount(network.association[0], minlength=config.n_aps)
    load = users if turns == "by_load" else np.minimum(users, 1)
    given_turns = np.zeros(config.n_aps, int)
    for t, served in enumerate(served_by(Reuse(1000, turns), network), start=1):
        active = [i for i, ue in enumerate(served) if ue != SILENT]
        assert len(active) == 1
        given_turns[active] += 1
        # Nobody is ever a whole turn behind or ahead of its share.
        assert (np.abs(given_turns - t * load / load.sum()) < 1).all()
        if t == load.sum():
            assert given_turns.tolist() == load.tolist()


def test_neighbours_are_in_different_groups_and_share_the_time() -> None:
    """Two pairs of APs, far apart: the two of a pair disturb each other."""
    config = RRMConfig(n_aps=4, n_ues=4, n_candidates=1)
    network = reset_network(config, 0)
    state = network._state
    state.association[:] = [[0, 1, 2, 3]]
    gain = np.full((4, 4), 1e-3, np.float32)
    gain[:2, :2] = gain[2:, 2:] = 50.0
    np.fill_diagonal(gain, 100.0)
    state.large_scale_gain[:] = gain.reshape(state.large_scale_gain.shape)
    scheduler = Reuse(2)
    scheduler.reset(network)
    group = scheduler._plans[network].group[0].tolist()
    assert group[0] != group[1]
    assert group[2] != group[3]
    chosen = Reuse()
    chosen.reset(network)
    assert chosen._plans[network].group[0].tolist() == group  # with k = 2 all score highest


def test_a_chosen_number_of_groups_scores_as_the_best_fixed_one_and_above_full_reuse() -> None:
    """In the preset it is nearly always one AP at a time, which is turn taking."""
    chosen, full, alone, turns = (
        evaluate(scheduler, episodes=64)
        for scheduler in (Reuse(), Reuse(1), Reuse(4), TurnTaking())
    )
    assert chosen.score.mean() > 1.5 * full.score.mean()
    assert chosen.score.mean() == pytest.approx(alone.score.mean(), rel=0.02)
    assert alone.score.mean() == pytest.approx(turns.score.mean(), rel=0.02)
    spread = RRMConfig(area_side_m=2000.0, episode_length=50)
    assert evaluate(Reuse(), spread, 16).score.mean() > 2 * (
        evaluate(Reuse(4), spread, 16).score.mean()
    )


def test_groups_stay_for_an_episode_and_are_formed_anew_for_the_next() -> None:
    network, scheduler = Network(RRMConfig(episode_length=3), 50), Reuse(2)
    groups = []
    for seed in (0, 100):
        network.reset(seed)
        scheduler.reset(network)
        groups.append(scheduler._plans[network].group.copy())
        while not network.done:
            network.step(scheduler.schedule(network))
            assert np.array_equal(scheduler._plans[network].group, groups[-1])
    assert not np.array_equal(groups[0], groups[1])


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 5]), st.integers(1, 5))
def test_the_order_of_aps_does_not_matter(seed: int, n_aps: int, n_groups: int) -> None:
    generator = np.random.default_rng(seed)
    gain = np.exp(generator.normal(2, 3, (1, n_aps, 12))).astype(np.float32)
    association = generator.integers(n_aps, size=(1, 12)).astype(np.int32)
    association[0, :n_aps] = np.arange(n_aps)  # without users, APs would tie
    order = generator.permutation(n_aps)
    group = _coloured(_disturbance(gain, association), n_groups)[0]
    moved = np.argsort(order)[association].astype(np.int32)
    permuted = _coloured(_disturbance(gain[:, order].copy(), moved), n_groups)[0]
    together = group[:, None] == group
    assert np.array_equal((permuted[:, None] == permuted), together[order][:, order])


def test_the_estimated_score_is_close_to_that_of_a_network_without_fading() -> None:
    """Users stand still, and round robin would give each the same share of its AP's time."""
    config = RRMConfig(
        n_ues=8, n_candidates=8, ue_speed_mps=0.0, fading="none", episode_length=1000
    )
    played = evaluate(Reuse(2), config, episodes=8)
    network = Network(config, 8)
    network.reset(EVALUATION_SEEDS)
    expected = []
    for b in range(8):
        gain, association = network.large_scale_gain[b].tolist(), network.association[b].tolist()
        group = naive_schedulers.reuse_groups(gain, association, 2)
        loads = naive_schedulers.reuse_loads(group, association, "by_load")
        expected.append(
            naive_schedulers.reuse_score(
                group, loads, gain, association, config.sum_weight, config.score_tail_weight
            )
        )
    assert played.score.mean() == pytest.approx(np.mean(expected), rel=0.2)
