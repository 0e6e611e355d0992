"""Recorded transitions equal those of the network stepped without the recorder."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from replay import CONFIGS
from toys import SMALL, episodes, random_policy

from baselines import TDM, Greedy, ITLinQ, ProportionalFair, RandomWalk
from marl import Dataset, LearnerConfig, Policy, collect
from marl.environment import MAX_SEED
from marl.sources import NetworkSource
from marl.team import team_of
from rrm_env import SILENT, Network, RRMConfig, Scheduler, evaluate
from rrm_env.seeds import EVALUATION_SEEDS

SEEDS_EACH = 2**32
"""Episode seeds that a recording's seed owns."""


def column(dataset: Dataset, name: str, rows: slice) -> NDArray[Any]:
    array: NDArray[Any] = getattr(dataset, name)[rows].numpy()
    return array


def seen(network: Network) -> tuple[NDArray[Any], NDArray[Any]]:
    """Copies of observation and mask of a network of one episode."""
    return network.observation[0].copy(), network.action_mask[0].astype(np.uint8)


def played(dataset: Dataset, config: RRMConfig, rows: slice, seed: int) -> Network:
    """The network after the recorded actions; every recorded outcome is compared on the way."""
    network = Network(config)
    network.reset(seed)
    actions = column(dataset, "action", rows)
    recorded = [
        column(dataset, name, rows)
        for name in ("observation", "mask", "reward", "next_observation", "next_mask")
    ]
    for t, action in enumerate(actions):
        before = seen(network)
        _, reward = network.step_actions(action[None])
        for array, expected in zip(recorded, (*before, reward[0], *seen(network)), strict=True):
            np.testing.assert_array_equal(array[t], expected)
    return network


def scheduler_of(kind: str) -> Scheduler:
    """The scheduler of this kind."""
    return {"random": RandomWalk(silence=True), "itlinq": ITLinQ(tolerance_db=0), "tdm": TDM()}[
        kind
    ]


# --- The network ---


@pytest.mark.parametrize("kind", ["random", "itlinq", "tdm"])
@pytest.mark.parametrize(
    "name", ["paper", "old_jakes_reports", "empty_aps", "more_candidates_than_users", "one_ap"]
)
def test_transitions_are_what_the_network_does(name: str, kind: str) -> None:
    config = CONFIGS[name]
    length = config.episode_length
    dataset = collect(scheduler_of(kind), config, 7 * length, seed=5)
    assert len(dataset) == 7 * length
    for k, rows in enumerate(episodes(dataset, length)):
        network = played(dataset, config, rows, 5 * SEEDS_EACH + k)
        assert network.done
        assert column(dataset, "truncated", rows).tolist() == [0] * (length - 1) + [1]
        following, next_mask = (
            column(dataset, "next_observation", rows),
            column(dataset, "next_mask", rows),
        )
        np.testing.assert_array_equal(following[:-1], column(dataset, "observation", rows)[1:])
        np.testing.assert_array_equal(next_mask[:-1], column(dataset, "mask", rows)[1:])
    assert not dataset.terminated.any()
    assert dataset.team == team_of(config)
    if name == "empty_aps":
        assert (dataset.mask.sum(-1) == 1).any()


@pytest.mark.parametrize("kind", ["random", "itlinq", "tdm"])
def test_actions_are_those_of_the_scheduler(kind: str) -> None:
    config, scheduler = CONFIGS["paper"], scheduler_of(kind)
    dataset = collect(scheduler, config, 6 * 5, seed=2)
    for k, rows in enumerate(episodes(dataset, 6)):
        network = Network(config)
        network.reset(2 * SEEDS_EACH + k)
        scheduler.reset(network)
        for action in column(dataset, "action", rows):
            expected = getattr(scheduler, "schedule_candidates")(network)[0]  # noqa: B009 - not in the protocol
            slots = np.concatenate(
                [network.candidates[0], np.full((config.n_aps, 1), SILENT)], axis=1
            )
            assert slots[np.arange(config.n_aps), action].tolist() == expected.tolist()
            network.step_actions(action[None])


def test_last_observation_of_an_episode_is_not_the_next_ones_first() -> None:
    dataset = collect(ProportionalFair(), SMALL, 60, seed=1)
    firsts = {row.tobytes() for row in dataset.observation[::10].numpy()}
    lasts = {row.tobytes() for row in dataset.next_observation[9::10].numpy()}
    assert len(firsts) == len(lasts) == 6
    assert not firsts & lasts


@pytest.mark.parametrize("n", [1, 2, 9, 10, 11, 35])
def test_number_is_exact_and_a_cut_episode_ends_truncated(n: int) -> None:
    dataset = collect(RandomWalk(), SMALL, n, seed=3)
    assert len(dataset) == n
    for k, rows in enumerate(episodes(dataset, 10)):
        played(dataset, SMALL, rows, 3 * SEEDS_EACH + k)
    ends = sorted({*range(9, n, 10), n - 1})
    assert dataset.truncated.nonzero().flatten().tolist() == ends
    assert not dataset.terminated.any()
    assert dataset.metadata["behaviours"][0]["transitions"] == n
    whole = collect(RandomWalk(), SMALL, 40, seed=3)
    assert torch.equal(whole.observation[:n], dataset.observation)


@pytest.mark.parametrize(("n", "whole"), [(9, 0), (10, 1), (19, 1), (35, 3)])
def test_kpis_leave_out_an_episode_that_was_cut(n: int, whole: int) -> None:
    (behaviour,) = collect(ITLinQ(), SMALL, n, seed=3).metadata["behaviours"]
    assert behaviour["kpis"] == (
        collect(ITLinQ(), SMALL, 10 * whole, seed=3).metadata["behaviours"][0]["kpis"]
        if whole
        else {}
    )
    assert behaviour["kpis"].get("episodes", 0) == whole


def test_recordings_that_share_a_seed_begin_with_the_episodes_asked_for() -> None:
    whole = collect(ITLinQ(), SMALL, 40, seed=3)
    for first in (1, 3):
        dataset = collect(ITLinQ(), SMALL, 10, seed=3, first_episode=first)
        for name, tensor in dataset.tensors().items():
            assert torch.equal(tensor, getattr(whole, name)[10 * first : 10 * first + 10]), name


@pytest.mark.parametrize("n_episodes", [5, 6, 7])
def test_many_episodes_are_played_in_batches_and_none_twice(
    n_episodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[collect.__module__], "MAX_BATCH", 2)
    dataset = collect(ITLinQ(), SMALL, 10 * n_episodes, seed=4)
    assert len(dataset) == 10 * n_episodes
    starts = Network(SMALL, 8)
    starts.reset(4 * SEEDS_EACH)
    known = {row.tobytes(): k for k, row in enumerate(starts.observation)}
    found = [
        known[dataset.observation[rows.start].numpy().tobytes()] for rows in episodes(dataset, 10)
    ]
    assert len(set(found)) == n_episodes
    for k, rows in zip(found, episodes(dataset, 10), strict=True):
        assert played(dataset, SMALL, rows, 4 * SEEDS_EACH + k).done
    assert dataset.truncated.nonzero().flatten().tolist() == list(range(9, 10 * n_episodes, 10))


@pytest.mark.parametrize("batch", [512, 2])
def test_kpis_are_those_of_the_recorded_episodes(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[collect.__module__], "MAX_BATCH", batch)
    config = RRMConfig(episode_length=6, score_sum_weight=0.2, score_tail_weight=2.0)
    dataset = collect(ITLinQ(), config, 6 * 5, seed=6, name="mine")
    starts = Network(config, 6)
    starts.reset(6 * SEEDS_EACH)
    known = {row.tobytes(): k for k, row in enumerate(starts.observation)}
    rates = []
    for rows in episodes(dataset, 6):
        k = known[dataset.observation[rows.start].numpy().tobytes()]
        rates.append(played(dataset, config, rows, 6 * SEEDS_EACH + k).ue_rate_sum[0] / 6)
    sums, tails = np.sum(rates, axis=1), np.sort(rates, axis=1)[:, 1]  # the second-lowest of 20
    (behaviour,) = dataset.metadata["behaviours"]
    assert (behaviour["name"], behaviour["seed"], behaviour["transitions"]) == ("mine", 6, 30)
    assert behaviour["kpis"] == pytest.approx(
        {
            "episodes": 5,
            "return": float(dataset.reward.sum()) / 5,
            "sum_rate": sums.mean(),
            "tail_rate": tails.mean(),
            "score": (0.2 * sums + 2 * tails).mean(),
        }
    )
    assert dataset.metadata["environment"] == {"kind": "network", "config": config.as_dict()}
    assert RRMConfig(**dataset.metadata["environment"]["config"]) == config


def test_name_is_the_schedulers_class_and_network_the_paper_s_by_default() -> None:
    dataset = collect(Greedy(), transitions=3)
    assert dataset.metadata["behaviours"][0]["name"] == "Greedy"
    assert RRMConfig(**dataset.metadata["environment"]["config"]) == RRMConfig()
    assert dataset.behaviour.tolist() == [0, 0, 0]


def test_recording_repeats_and_reports_its_progress() -> None:
    done: list[int] = []
    first = collect(RandomWalk(), SMALL, 40, seed=9, progress=done.append)
    assert sum(done) == 40
    assert collect(RandomWalk(), SMALL, 40, seed=9).fingerprint() == first.fingerprint()


# --- Seeds ---


class Spy(RandomWalk):
    """A scheduler that records the seeds of its episodes."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[int] = []

    def reset(self, network: Network) -> None:
        """As any scheduler's."""
        self.met += network.seeds.tolist()


def test_seeds_share_no_episodes_with_each_other_or_with_evaluations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.modules[collect.__module__], "MAX_BATCH", 3)
    every: list[int] = []
    for seed in (0, 1, 2, 2**30 - 2, MAX_SEED):
        spy = Spy()
        collect(spy, SMALL, 70, seed=seed)
        assert min(spy.met) == seed * SEEDS_EACH
        assert max(spy.met) < EVALUATION_SEEDS
        every += spy.met
    for seed in (0, 2**30 - 1):
        spy = Spy()
        evaluate(spy, SMALL, episodes=4, seed=seed)
        assert min(spy.met) >= EVALUATION_SEEDS
        every += spy.met
    assert len(set(every)) == len(every)


# --- What can be recorded, and what not ---


class Outsider(RandomWalk):
    """A scheduler that serves a UE of the AP that is no candidate, if there is one."""

    def schedule(self, network: Network) -> NDArray[np.int64]:
        """As any scheduler's."""
        served = network.candidates[..., 0].astype(np.int64)
        for b, i in np.ndindex(*served.shape):
            others = set(np.flatnonzero(network.association[b] == i).tolist()) - set(
                network.candidates[b, i].tolist()
            )
            served[b, i] = min(others, default=served[b, i])
        return served


def test_scheduler_that_serves_a_ue_that_is_no_candidate_is_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"served\[\d, \d\] = \d+ is no candidate of AP \d; "
        r"datasets hold candidates' indices and silence",
    ):
        collect(Outsider(), RRMConfig(n_candidates=1, episode_length=3), 9)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (RandomWalk, SMALL, 5),
            TypeError,
            r"scheduler must have reset\(network\) and schedule\(network\), got <class",
        ),
        (
            ("itlinq", SMALL, 5),
            TypeError,
            r"scheduler must have reset\(network\) and schedule\(network\), got 'itlinq'",
        ),
        (
            (RandomWalk(), SMALL, 0),
            ValueError,
            "transitions must be an integer of at least 1, got 0",
        ),
        (
            (RandomWalk(), SMALL, 5.0),
            TypeError,
            "transitions must be an integer of at least 1, got 5.0",
        ),
        (
            (RandomWalk(), SMALL, 5, -1),
            ValueError,
            "seed must be an integer of at least 0 and at most 1073741823, got -1",
        ),
        (
            (RandomWalk(), SMALL, 5, 2**30),
            ValueError,
            "seed must be an integer of at least 0 and at most 1073741823, got 1073741824",
        ),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    arguments: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        collect(*arguments)


def test_episodes_before_the_first_are_refused() -> None:
    with pytest.raises(ValueError, match="first_episode must be an integer of at least 0"):
        collect(RandomWalk(), SMALL, 5, first_episode=-1)


def best(policy: Policy, dataset: Dataset) -> NDArray[np.int64]:
    return policy.actions(dataset.observation.numpy(), dataset.mask.numpy())


@pytest.mark.parametrize("paradigm", ["c", "i", "ctde"])
def test_trained_policies_are_recorded_and_sampled(paradigm: Any) -> None:
    config = CONFIGS["empty_aps"] if paradigm != "c" else SMALL
    learner = LearnerConfig(paradigm=paradigm, hidden_sizes=(16,))
    greedy, sampling = (
        random_policy(team_of(config), learner, sample=sample) for sample in (False, True)
    )
    chosen = collect(greedy, config, 60, seed=1)
    assert chosen.action.tolist() == best(greedy, chosen).tolist()
    assert chosen.metadata["behaviours"][0]["name"] == "Policy"
    drawn = collect(sampling, config, 60, seed=1)
    assert drawn.action.tolist() != best(greedy, drawn).tolist()
    assert drawn.fingerprint() == collect(sampling, config, 60, seed=1).fingerprint()
    length = config.episode_length
    for k, rows in enumerate(episodes(drawn, length)):
        played(drawn, config, rows, SEEDS_EACH + k)
    # The draws of an episode do not depend on how many are played beside it.
    assert torch.equal(collect(sampling, config, length, seed=1).action, drawn.action[:length])


# --- Work by the request ---


@pytest.mark.parametrize(
    ("transitions", "length", "steps"),
    [(30, 1_000_000, 30), (7, 10, 7), (10, 10, 10), (25, 10, 10), (1, 1, 1)],
)
def test_recording_stops_after_what_is_asked_for(
    transitions: int, length: int, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    reported: list[int] = []
    step = NetworkSource.step

    def counted(source: NetworkSource, actions: NDArray[Any]) -> Any:
        taken.append(len(actions))
        return step(source, actions)

    monkeypatch.setattr(NetworkSource, "step", counted)
    dataset = collect(
        TDM(), replace(SMALL, episode_length=length), transitions, progress=reported.append
    )
    assert (len(dataset), len(taken), sum(reported)) == (transitions, steps, transitions)


@pytest.mark.parametrize("kind", ["random", "itlinq", "policy"])
def test_a_cut_episode_is_the_beginning_of_the_whole_one(kind: str) -> None:
    config = replace(SMALL, episode_length=60)
    scheduler = random_policy(team_of(config)) if kind == "policy" else scheduler_of(kind)
    whole, cut = (collect(scheduler, config, n, seed=4) for n in (60, 23))
    for name, tensor in cut.tensors().items():
        expected = whole.tensors()[name][:23].clone()
        if name == "truncated":
            expected[-1] = 1
        assert torch.equal(tensor, expected), name
    assert cut.metadata["behaviours"][0]["kpis"] == {}
