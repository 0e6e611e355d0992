"""Recorded transitions of any parallel environment equal those without the recorder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from toys import UnequalAgents, episodes

from marl import Dataset, collect_parallel
from marl.sources import make_env


def segments(dataset: Dataset, num_envs: int) -> list[slice]:
    """Rows of each environment, equally many but for the last."""
    return episodes(dataset, -(-len(dataset) // num_envs))


def assert_row(
    dataset: Dataset,
    names: tuple[str, str],
    row: int,
    env: UnequalAgents,
    observations: dict[str, Any],
) -> None:
    """Compare a recorded observation and mask with the environment's.

    Recorded ones are padded with zeros and with illegal actions.
    """
    for i, agent in enumerate(env.possible_agents):
        features, mask = np.zeros(5, np.float32), np.zeros(4, np.uint8)
        observation = (
            observations[agent]["observation"]
            if isinstance(observations[agent], dict)
            else observations[agent]
        )
        features[: len(observation)], mask[: len(env.legal[agent])] = observation, env.legal[agent]
        np.testing.assert_array_equal(getattr(dataset, names[0])[row, i], features)
        np.testing.assert_array_equal(getattr(dataset, names[1])[row, i], mask)


@pytest.mark.parametrize("masks", ["infos", "observations", "nowhere"])
def test_transitions_are_what_a_parallel_environment_does(masks: str) -> None:
    dataset = collect_parallel(lambda: UnequalAgents(masks), transitions=50, seed=2, num_envs=3)
    assert len(dataset) == 50
    assert (dataset.team.n_agents, dataset.team.n_features, dataset.team.n_actions) == (2, 5, 4)
    ends = {"terminated": 0, "truncated": 0}
    for rows in segments(dataset, 3):
        env = UnequalAgents(masks)
        observations, _ = env.reset(seed=int(dataset.observation[rows.start, 0, 0]))
        for row in range(rows.start, rows.stop):
            assert_row(dataset, ("observation", "mask"), row, env, observations)
            actions = dict(zip(env.possible_agents, dataset.action[row].tolist(), strict=True))
            observations, rewards, terminations, truncations, _ = env.step(actions)
            assert_row(dataset, ("next_observation", "next_mask"), row, env, observations)
            assert float(dataset.reward[row]) == pytest.approx(
                (rewards["short"] + rewards["long"]) / 2
            )
            last = row == rows.stop - 1
            assert bool(dataset.terminated[row]) == terminations["short"]
            assert bool(dataset.truncated[row]) == (
                truncations["short"] or (last and not terminations["short"])
            )
            ends["terminated"] += terminations["short"]
            ends["truncated"] += truncations["short"]
            if not env.agents:
                observations, _ = env.reset()
    assert min(ends.values()) >= 3
    assert set(dataset.action[:, 1].tolist()) == {0, 1, 2, 3}
    assert dataset.metadata["environment"] == {"kind": "parallel", "name": "unlike_v0"}


def test_environments_side_by_side_and_other_seeds_differ() -> None:
    starts = []
    for seed in (0, 1, 2):
        dataset = collect_parallel(UnequalAgents, transitions=40, seed=seed, num_envs=4)
        starts += [int(dataset.observation[rows.start, 0, 0]) for rows in segments(dataset, 4)]
        assert (
            dataset.fingerprint()
            == collect_parallel(UnequalAgents, transitions=40, seed=seed, num_envs=4).fingerprint()
        )
    assert len(set(starts)) == 12


def test_recordings_that_share_a_seed_begin_with_the_episodes_asked_for() -> None:
    starts: list[int] = []
    for first in (0, 2, 4):
        dataset = collect_parallel(
            UnequalAgents, transitions=6, seed=3, num_envs=2, first_episode=first
        )
        starts += dataset.observation[::3, 0, 0].int().tolist()
    assert len(set(starts)) == 6


@pytest.mark.parametrize("n", [60, 53, 6])
def test_kpis_of_a_parallel_environment_are_those_of_its_finished_episodes(n: int) -> None:
    dataset = collect_parallel(UnequalAgents, transitions=n, seed=3, num_envs=3)
    returns = []
    for rows in segments(dataset, 3):
        running, env = 0.0, UnequalAgents()
        env.reset(seed=int(dataset.observation[rows.start, 0, 0]))
        for row in range(rows.start, rows.stop):
            env.step(dict(zip(env.possible_agents, dataset.action[row].tolist(), strict=True)))
            running += float(dataset.reward[row])
            if not env.agents:
                returns.append(running)
                running = 0.0
                env.reset()
    (behaviour,) = dataset.metadata["behaviours"]
    assert behaviour["kpis"] == (
        pytest.approx({"episodes": len(returns), "return": np.mean(returns)}) if returns else {}
    )
    assert (behaviour["name"], behaviour["seed"], behaviour["transitions"]) == (
        "random actions",
        3,
        n,
    )


def last_legal(observation: NDArray[np.float32], mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The legal action of the highest index."""
    highest: NDArray[np.int64] = mask.shape[-1] - 1 - mask[..., ::-1].argmax(-1)
    return highest


def test_a_given_policy_acts_in_parallel_environments() -> None:
    dataset = collect_parallel(UnequalAgents, last_legal, 20, num_envs=2)
    assert (
        dataset.action.tolist()
        == last_legal(dataset.observation.numpy(), dataset.mask.numpy()).tolist()
    )
    assert dataset.metadata["behaviours"][0]["name"] == "policy"


def test_random_actions_are_uniform_over_legal_ones() -> None:
    dataset = collect_parallel(UnequalAgents, transitions=3000, seed=1, num_envs=4)
    mask, action = dataset.mask[:, 1].numpy(), dataset.action[:, 1].numpy()
    everything = action[mask.all(-1)]
    assert len(everything) > 150
    shares = np.bincount(everything, minlength=4) / len(everything)
    assert (abs(shares - 0.25) < 4 * np.sqrt(0.25 * 0.75 / len(everything))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"transitions": 0}, "transitions must be an integer of at least 1, got 0"),
        ({"num_envs": 0}, "num_envs must be an integer of at least 1, got 0"),
        ({"first_episode": -1}, "first_episode must be an integer of at least 0"),
        (
            {"seed": 2**30},
            "seed must be an integer of at least 0 and at most 1073741823, got 1073741824",
        ),
    ],
)
def test_wrong_arguments_for_parallel_environments_are_refused_by_name(
    arguments: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        collect_parallel(UnequalAgents, **arguments)  # type: ignore[arg-type]


def test_simple_spread_is_recorded_as_it_happens() -> None:
    make = make_env("mpe2.simple_spread_v3:max_cycles=4")
    dataset = collect_parallel(make, transitions=22, seed=0, num_envs=2)
    for k, rows in enumerate(segments(dataset, 2)):
        env: Any = make()
        observations, _ = env.reset(seed=k)
        for row in range(rows.start, rows.stop):
            np.testing.assert_array_equal(
                dataset.observation[row], np.stack(list(observations.values()))
            )
            actions = dict(zip(env.agents, dataset.action[row].tolist(), strict=True))
            observations, rewards, _, _, _ = env.step(actions)
            np.testing.assert_array_equal(
                dataset.next_observation[row], np.stack(list(observations.values()))
            )
            assert float(dataset.reward[row]) == pytest.approx(np.mean(list(rewards.values())))
            if not env.agents:
                observations, _ = env.reset()
    assert dataset.truncated.nonzero().flatten().tolist() == [3, 7, 10, 14, 18, 21]
    assert not dataset.terminated.any()
    assert dataset.mask.all()
    assert dataset.metadata["environment"]["name"] == "simple_spread_v3"
