"""Policies that emit actions as schedulers, and the KPIs in an episode's last infos."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import configs, seeds

from rrm_env import (
    Network,
    RRMConfig,
    RRMJointEnv,
    RRMVectorEnv,
    Scheduler,
    evaluate,
    from_actions,
    parallel_env,
    rrm_v0,
)
from rrm_env.evaluation import first_episode

SHORT = RRMConfig(episode_length=6)
KPIS = ("sum_rate", "tail_rate", "worst_rate", "score")


def busiest(observation: Any, mask: Any) -> Any:
    """The last legal candidate; silence where there is none."""
    legal = np.arange(mask.shape[-1] - 1) * mask[..., :-1]
    return np.where(mask[..., :-1].any(-1), legal.argmax(-1), mask.shape[-1] - 1)


@settings(max_examples=20)
@given(
    config=configs(tx_power_dbm=10.0),
    levels=st.sampled_from([None, (10.0, 3.0, -6.0)]),
    seed=seeds,
)
def test_a_policy_of_actions_plays_what_stepping_its_actions_plays(
    config: RRMConfig, levels: Any, seed: int
) -> None:
    config = replace(config, power_levels_dbm=levels)

    def policy() -> Any:
        generator = np.random.default_rng(0)
        return lambda _, mask: generator.integers(config.n_actions, size=mask.shape[:2])

    scheduled, stepped = Network(config, 3), Network(config, 3)
    scheduled.reset(seed)
    stepped.reset(seed)
    scheduler, act = from_actions(policy()), policy()
    assert isinstance(scheduler, Scheduler)
    scheduler.reset(scheduled)
    while not scheduled.done:
        scheduled.step(scheduler.schedule(scheduled))
        stepped.step_actions(act(stepped.observation, stepped.action_mask))
        np.testing.assert_array_equal(scheduled.observation, stepped.observation)
        np.testing.assert_array_equal(scheduled.power_level, stepped.power_level)
    np.testing.assert_array_equal(scheduled.ue_rate_sum, stepped.ue_rate_sum)


def test_what_a_policy_must_emit_is_said_where_it_emits_something_else() -> None:
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        from_actions(3)  # type: ignore[arg-type]
    for wrong, error, message in (
        (np.zeros((2, 4)), TypeError, "actions must be integers"),
        (np.zeros((2, 3), int), ValueError, r"actions must have shape \(num_envs, n_aps\)"),
        (np.full((2, 4), 4), ValueError, r"actions\[0, 0\] = 4 is out of range; allowed: 0 to 3"),
    ):
        with pytest.raises(error, match=message):
            evaluate(from_actions(lambda *_, wrong=wrong: wrong), SHORT, 2)
    network = Network(SHORT, 1)
    network.reset(0)
    foreign = np.flatnonzero(network.association[0] != 0)[0]
    with pytest.raises(ValueError, match=r"rrm_env\.from_actions makes a scheduler"):
        network.step([[foreign, -1, -1, -1]])


def expected(episode: int) -> dict[str, Any]:
    result = evaluate(from_actions(busiest), SHORT, episode + 1)
    values: dict[str, Any] = {name: result.kpi(name)[episode] for name in KPIS}
    return {**values, "ue_rates": result.ue_rates[episode]}


def check(info: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        np.testing.assert_allclose(info[name], value, rtol=1e-12)
    assert all(type(info[name]) is float for name in KPIS)


def test_the_last_infos_of_both_pettingzoo_apis_hold_the_kpis_that_evaluate_finds() -> None:
    wanted, seed = expected(0), first_episode(0)
    env = parallel_env(config=SHORT)
    _, infos = env.reset(seed=seed)
    while env.agents:
        assert not set(KPIS) & set(infos["ap_0"])
        masks = np.stack([infos[agent]["action_mask"] for agent in env.agents])[None]
        actions = dict(zip(env.agents, busiest(None, masks)[0], strict=True))
        _, _, _, _, infos = env.step(actions)
    for agent in env.possible_agents:
        check(infos[agent], wanted)
    turns = rrm_v0.env(config=SHORT)
    turns.reset(seed=seed)
    last: dict[str, Any] = {}
    for agent in turns.agent_iter():
        _, _, _, truncated, last[agent] = turns.last()
        mask = last[agent]["action_mask"][None, None]
        turns.step(None if truncated else int(busiest(None, mask)[0, 0]))
    for agent in env.possible_agents:
        check(last[agent], wanted)


@pytest.mark.parametrize("flat", [False, True])
def test_the_last_info_of_the_joint_environment_holds_them(flat: bool) -> None:
    env = RRMJointEnv(SHORT, flat_actions=flat)
    _, info = env.reset(seed=first_episode(0))
    done = False
    while not done:
        assert "score" not in info
        action = busiest(None, env.network.action_mask)[0]
        chosen = int(np.ravel_multi_index(tuple(action), (4,) * 4)) if flat else action
        _, _, _, done, info = env.step(chosen)
    check(info, expected(0))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_last_infos_of_the_vector_environment_hold_them(mode: AutoresetMode) -> None:
    env = RRMVectorEnv(3, SHORT, autoreset_mode=mode)
    _, infos = env.reset(seed=first_episode(0))
    done = np.zeros(3, bool)
    while not done.any():
        assert "score" not in infos
        _, _, _, done, infos = env.step(busiest(None, env.network.action_mask))
    if mode is AutoresetMode.SAME_STEP:
        assert "score" not in infos
        infos = infos["final_info"]
    for episode in range(3):
        for name, value in expected(episode).items():
            np.testing.assert_allclose(infos[name][episode], value, rtol=1e-12)
            assert infos[f"_{name}"].all()
