"""Datasets, policies and exchange formats in networks whose actions have power levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import naive_power
import numpy as np
import pytest
from toys import PARADIGMS, episodes, random_policy

from baselines import WMMSE, ITLinQ, MaxWeight, RandomWalk
from marl import LearnerConfig, collect, dataset_card, from_mdp_arrays, mdp_arrays
from marl.graph.recorded import NEEDED, Recorded
from marl.team import team_of
from rrm_env import SILENT, Network, PoweredDecision, RRMConfig, Scheduler, evaluate, parallel_env

CONFIG = RRMConfig(
    n_aps=3,
    n_ues=5,
    n_candidates=2,
    episode_length=6,
    power_levels_dbm=(0.0, 10.0, -20.0),
)
"""Few users, so that masks differ; the highest level is not the first."""
SEEDS_EACH = 2**32
"""Episode seeds that a recording's seed owns."""


@pytest.mark.parametrize(
    ("scheduler", "levels"),
    [
        (MaxWeight(), {0, 1, 2}),
        (WMMSE(power="levels"), {0, 1, 2}),
        (RandomWalk(silence=True), {0, 1, 2}),
        (ITLinQ(), {1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_recorded_actions_repeat_what_the_scheduler_did(
    scheduler: Scheduler, levels: set[int]
) -> None:
    dataset = collect(scheduler, CONFIG, 20 * CONFIG.episode_length, seed=1)
    actions, rewards = dataset.action.numpy(), dataset.reward.numpy()
    legal = np.take_along_axis(dataset.mask.numpy(), actions[..., None], 2)
    assert legal.all()
    played: set[int] = set()
    for k, rows in enumerate(episodes(dataset, CONFIG.episode_length)):
        networks = [Network(CONFIG), Network(CONFIG)]
        for network in networks:
            network.reset(SEEDS_EACH + k)
        scheduler.reset(networks[1])
        for action, reward in zip(actions[rows], rewards[rows], strict=True):
            _, replayed = networks[0].step_actions(action[None])
            networks[1].step(scheduler.schedule(networks[1]))
            assert replayed[0] == reward
            for name in ("served", "power_level", "power_sum", "ue_rate_sum"):
                one, other = (getattr(network, name) for network in networks)
                np.testing.assert_array_equal(one, other)
            played.update(networks[0].power_level.ravel().tolist())
    assert played - {SILENT} == levels


@pytest.mark.parametrize("paradigm", PARADIGMS)
def test_policies_play_the_levels_of_their_actions(paradigm: Any) -> None:
    learner = LearnerConfig(paradigm=paradigm, hidden_sizes=(16,))
    policy = random_policy(team_of(CONFIG), learner)
    env, network = parallel_env(config=CONFIG), Network(CONFIG)
    observations, infos = env.reset(seed=8)
    network.reset(8)
    levels: set[int] = set()
    while env.agents:
        decision = policy.schedule(network)
        assert isinstance(decision, PoweredDecision)
        actions = policy.actions(network.observation, network.action_mask)
        for (b, i), action in np.ndenumerate(actions):
            ue, level = naive_power.decided(int(action), network.candidates[b, i].tolist(), 3)
            assert decision.served[b, i] == ue
            assert ue == SILENT or decision.level[b, i] == level
        _, reward = network.step(decision)
        observations, rewards, _, _, infos = env.step(policy.act(observations, infos))
        assert rewards["ap_0"] == reward[0]
        assert env.network.power_level.tolist() == network.power_level.tolist()
        levels.update(network.power_level.ravel().tolist())
    assert levels > {SILENT}
    assert evaluate(policy, CONFIG, 3).ue_rates.shape == (3, 5)


def test_policies_of_a_network_without_levels_are_refused() -> None:
    plain = replace(CONFIG, power_levels_dbm=None)
    with pytest.raises(ValueError, match="the policy was trained for"):
        evaluate(random_policy(team_of(plain)), CONFIG, 1)


def test_datasets_survive_the_arrays_of_d3rlpy_with_their_masks() -> None:
    dataset = collect(RandomWalk(silence=True), CONFIG, 30, seed=2)
    back = from_mdp_arrays(mdp_arrays(dataset), CONFIG)
    kept = np.arange(30) % CONFIG.episode_length < CONFIG.episode_length - 1
    for name in ("action", "mask", "next_mask"):
        np.testing.assert_array_equal(getattr(back, name), getattr(dataset, name)[kept])


def test_cards_name_the_levels() -> None:
    card = dataset_card(collect(RandomWalk(), CONFIG, 6))
    assert "Action a serves candidate a // 3 at level a % 3 of 0, 10, -20 dBm." in card
    plain = dataset_card(collect(RandomWalk(), replace(CONFIG, power_levels_dbm=None), 6))
    assert "level" not in plain.partition("power_levels_dbm")[0]


def test_recorded_decisions_of_graph_policies_name_the_users_whatever_the_level() -> None:
    needed: dict[str, Any] = {**NEEDED, "n_neighbours": 2}
    config = replace(CONFIG, **needed)
    dataset = collect(RandomWalk(silence=True), config, 24, seed=3)
    read, _ = Recorded.of_dataset(dataset, 2)
    network = Network(config)
    for k, rows in enumerate(episodes(dataset, config.episode_length)):
        network.reset(3 * SEEDS_EACH + k)
        for t in range(rows.start, rows.stop):
            present = (network.candidates[0] != SILENT).ravel()
            np.testing.assert_array_equal(read.links.present[t], present)
            candidates = network.candidates[0].ravel().copy()
            network.step_actions(dataset.action[t].numpy()[None])
            places = read.served[t]
            users = np.where(places == SILENT, SILENT, candidates[places])
            np.testing.assert_array_equal(users, network.served[0])
