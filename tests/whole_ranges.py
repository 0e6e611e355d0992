"""What options from their whole ranges must lead to: something finite and legal, or a refusal that says why."""

from __future__ import annotations

from typing import Any

import numpy as np
from strategies import random_actions

from rrm_env import Network, RRMConfig, metrics
from rrm_env.network import DeploymentError


def play_network(values: dict[str, Any], seed: int) -> str:
    """What becomes of fields of `RRMConfig`: "played", or "contradictory" or "no place" where they are refused by name."""
    try:
        config = RRMConfig(**values)
    except ValueError as error:
        refusal = str(error)
    else:
        return _play(config, seed)
    assert any(name in refusal for name in values), refusal
    return "contradictory"


def _play(config: RRMConfig, seed: int) -> str:
    network, generator = Network(config, 2), np.random.default_rng(seed)
    try:
        network.reset(seed)
    except DeploymentError:
        return "no place"
    _assert_sane(network)
    for _ in range(min(config.episode_length, 5)):
        rates, reward = network.step_actions(random_actions(network, generator))
        assert np.isfinite(rates).all()
        assert (rates >= 0).all()
        assert np.isfinite(reward).all()
        assert config.reward == "utility" or (reward >= 0).all()
        _assert_sane(network)
    rates = network.ue_rate_sum / network.t
    for kpi in (metrics.sum_rate(rates), metrics.tail_rate(rates), metrics.score(rates, config.sum_weight, config.score_tail_weight)):
        assert np.isfinite(kpi).all()
        assert (kpi >= 0).all()
    return "played"


def _assert_sane(network: Network) -> None:
    """Everything finite, observations in their space, masks those of the candidates, which are the access points' own."""
    for name, array in network._state._asdict().items():
        assert np.isfinite(array).all(), name
    low, high = network.observation_bounds
    assert (network.observation >= low).all()
    assert (network.observation <= high).all()
    there = network.candidates >= 0
    assert np.array_equal(network.action_mask[..., :-1], there)
    assert (network.action_mask[..., -1] == 1).all()
    own = np.take_along_axis(network.association, np.maximum(network.candidates, 0).reshape(network.num_envs, -1), 1)
    assert (own.reshape(there.shape) == np.arange(network.config.n_aps)[:, None])[there].all()


def play_learner(values: dict[str, Any], seed: int) -> str:
    """What becomes of fields of `marl.LearnerConfig` in a few updates: "finite", or "diverged" where that is found."""
    import torch
    from worlds import random_batch

    from marl import DivergenceError, Learner, LearnerConfig, Team

    config, team = LearnerConfig(**values), Team(2, 3, 3)
    learner = Learner(config, team, (seed, seed + 1))
    learner.fit_normaliser(random_batch(team, 2, 20, seed).observation)
    for update in range(4):
        learner.update(random_batch(team, 2, config.batch_size, seed + update))
    batch, outcome = random_batch(team, 2, 10, seed), "finite"
    try:
        learner.check()
        learner.check_finite()
    except DivergenceError:
        outcome = "diverged"
    explored = learner.explore(batch.observation, batch.mask, torch.tensor(0), config.epsilon_final)
    acted = [learner.policy(k).actions(batch.observation[k].numpy(), batch.mask[k].numpy()) for k in range(2)]
    for actions in (explored, torch.from_numpy(np.stack(acted))):
        assert batch.mask.gather(-1, actions.unsqueeze(-1)).all(), "illegal action"
    return outcome
