"""The Gymnasium vector environment: spaces, infos, autoreset modes, and slots like any episode."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium
import gymnasium.wrappers.vector as wrappers
import numpy as np
import pytest
from gymnasium.spaces import Box, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from replay import CONFIGS, assert_identical, play, random_actions

from rrm_env import Network, RRMConfig, RRMVectorEnv, parallel_env
from rrm_env.metrics import EPISODE_INFOS

MODES = list(AutoresetMode)
SEEDS = [3, 2**61, 17]
EPISODES = 3

every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
every_mode = pytest.mark.parametrize("mode", MODES, ids=[mode.name for mode in MODES])


def batch_actions(config: RRMConfig) -> list[Any]:
    """(T, B, I) actions of each of a few episodes in a row."""
    return [random_actions(config, len(SEEDS), seed=episode) for episode in range(EPISODES)]


def network_episodes(config: RRMConfig, seed: Any = SEEDS) -> list[Any]:
    """Per episode, what a network shows: (T + 1) observations, masks and candidates, T rewards."""
    network, episodes = Network(config, len(SEEDS)), []
    for episode, actions in enumerate(batch_actions(config)):
        network.reset(seed if episode == 0 else None)
        shown, rewards = [], []
        for row in [*actions, None]:
            shown.append(
                [network.observation.copy(), network.action_mask.copy(), network.candidates.copy()]
            )
            if row is not None:
                rewards.append(network.step_actions(row)[1].astype(np.float64))
        episodes.append([shown, rewards])
    return episodes


def single_episodes(config: RRMConfig) -> list[Any]:
    """The same from as many parallel environments as there are slots."""
    envs = [parallel_env(config=config) for _ in SEEDS]
    episodes = []
    for episode, actions in enumerate(batch_actions(config)):
        played = [
            play(env, actions[:, b], SEEDS[b] if episode == 0 else None)
            for b, env in enumerate(envs)
        ]
        infos = [[frames[0][1], *(frame[4] for frame in frames[1:])] for frames in played]
        states = [[frames[0][2], *(frame[5] for frame in frames[1:])] for frames in played]
        shown = [
            [
                np.stack([state[t] for state in states]),
                *(
                    np.stack([[i[key] for i in info[t].values()] for info in infos])
                    for key in ("action_mask", "candidates")
                ),
            ]
            for t in range(config.episode_length + 1)
        ]
        rewards = [
            np.array([frames[t][1]["ap_0"] for frames in played])
            for t in range(1, config.episode_length + 1)
        ]
        episodes.append([shown, rewards])
    return episodes


def vector_episodes(env: RRMVectorEnv, seed: Any = SEEDS) -> list[Any]:
    """The same from a vector environment in any autoreset mode; flags and infos are checked too."""
    mode, length, n = env.autoreset_mode, env.config.episode_length, env.num_envs
    episodes: list[Any] = []
    observation, infos = env.reset(seed=seed)
    for episode, actions in enumerate(batch_actions(env.config)):
        if episode and mode is AutoresetMode.NEXT_STEP:
            observation, reward, terminated, truncated, infos = env.step(actions[0])
            assert_identical(
                [reward, terminated, truncated],
                [np.zeros(n), np.zeros(n, np.bool_), np.zeros(n, np.bool_)],
            )
        elif episode and mode is AutoresetMode.DISABLED:
            observation, infos = env.reset()
        shown, rewards = [[observation, infos["action_mask"], infos["candidates"]]], []
        for t, row in enumerate(actions, 1):
            observation, reward, terminated, truncated, infos = env.step(row)
            over = t == length
            assert_identical([terminated, truncated], [np.zeros(n, np.bool_), np.full(n, over)])
            last, last_infos = observation, infos
            if over and mode is AutoresetMode.SAME_STEP:
                last, last_infos = infos["final_obs"], infos["final_info"]
            else:
                assert "final_obs" not in infos
                assert "final_info" not in infos
            shown.append([last, last_infos["action_mask"], last_infos["candidates"]])
            rewards.append(reward)
        episodes.append([shown, rewards])
    return episodes


def assert_masked(infos: dict[str, Any], num_envs: int) -> None:
    """Every entry has its boolean companion that says which episodes have it: all."""
    for key, value in infos.items():
        if not key.startswith("_"):
            assert_identical(infos[f"_{key}"], np.ones(num_envs, np.bool_))
            if isinstance(value, dict):
                assert_masked(value, num_envs)
            else:
                assert len(value) == num_envs
    assert sum(key.startswith("_") for key in infos) == len(infos) / 2


# --- Spaces, shapes, declarations ---


@every_config
def test_spaces_are_batches_of_the_single_ones_and_contain_what_is_returned(
    config: RRMConfig,
) -> None:
    env = RRMVectorEnv(3, config)
    assert isinstance(env, VectorEnv)
    assert env.num_envs == 3
    assert isinstance(env.single_observation_space, Box)
    assert env.single_observation_space.shape == (config.n_aps, 2 * config.n_candidates)
    assert env.single_action_space == MultiDiscrete([config.n_actions] * config.n_aps)
    assert env.observation_space == batch_space(env.single_observation_space, 3)
    assert env.action_space == batch_space(env.single_action_space, 3)
    env.action_space.seed(0)
    observation, infos = env.reset(seed=1)
    for _ in range(2 * config.episode_length + 1):
        assert env.observation_space.contains(observation)
        assert observation.shape == (3, config.n_aps, 2 * config.n_candidates)
        assert observation.dtype == np.float32
        assert infos["action_mask"].shape == (3, config.n_aps, config.n_actions)
        assert infos["action_mask"].dtype == np.int8
        assert infos["candidates"].shape == (3, config.n_aps, config.n_candidates)
        assert infos["candidates"].dtype == np.int32
        assert_masked(infos, 3)
        sample = env.action_space.sample()
        assert sample.shape == (3, config.n_aps)
        observation, reward, terminated, truncated, infos = env.step(sample)
        assert reward.dtype == np.float64
        assert terminated.dtype == truncated.dtype == np.bool_
        assert reward.shape == terminated.shape == truncated.shape == (3,)


@every_mode
def test_autoreset_mode_is_declared_and_accepted_by_name(mode: AutoresetMode) -> None:
    for given in (mode, mode.value):
        env = RRMVectorEnv(2, autoreset_mode=given)
        assert env.metadata["autoreset_mode"] is env.autoreset_mode is mode
    assert RRMVectorEnv(2).metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match="Never"):
        RRMVectorEnv(2, autoreset_mode="Never")


def test_metadata_of_two_environments_are_apart() -> None:
    one, other = RRMVectorEnv(1, autoreset_mode="NextStep"), RRMVectorEnv(1)
    assert one.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    assert other.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert VectorEnv.metadata == {}


def test_environment_renders_on_request_and_closes() -> None:
    env = RRMVectorEnv(2)
    assert env.render_mode is None
    assert env.metadata["render_modes"] == ["rgb_array"]
    assert env.unwrapped is env
    env.close()
    assert env.closed


# --- Episodes ---


@every_mode
@every_config
def test_episodes_equal_those_of_network_and_of_single_environments(
    config: RRMConfig, mode: AutoresetMode
) -> None:
    expected = network_episodes(config)
    assert_identical(single_episodes(config), expected)
    assert_identical(
        vector_episodes(RRMVectorEnv(len(SEEDS), config, autoreset_mode=mode)), expected
    )
    assert len({shown[0][0].tobytes() for shown, _ in expected}) == EPISODES


@every_mode
def test_integer_seed_gives_slot_k_the_seed_plus_k(mode: AutoresetMode) -> None:
    config = CONFIGS["paper"]
    assert_identical(
        vector_episodes(RRMVectorEnv(3, config, autoreset_mode=mode), 50),
        network_episodes(config, [50, 51, 52]),
    )


@pytest.mark.parametrize("num_threads", [2, 3, 8])
@every_config
def test_result_does_not_depend_on_the_number_of_threads(
    config: RRMConfig, num_threads: int
) -> None:
    threaded = RRMVectorEnv(len(SEEDS), config, num_threads=num_threads)
    assert threaded.network.num_threads == min(num_threads, len(SEEDS))
    assert_identical(vector_episodes(threaded), vector_episodes(RRMVectorEnv(len(SEEDS), config)))


def test_final_observation_is_the_true_last_one_and_not_the_next_first() -> None:
    config = CONFIGS["paper"]
    env, actions = RRMVectorEnv(3, config), random_actions(config, 3)
    shown, _ = network_episodes(config)[0]
    env.reset(seed=SEEDS)
    for row in actions:
        observation, _, _, _, infos = env.step(row)
    assert_identical(infos["final_obs"], shown[-1][0])
    held = {"action_mask", "candidates", "ue_rates", *EPISODE_INFOS}
    assert set(infos["final_info"]) == held | {f"_{name}" for name in held}
    assert not np.array_equal(observation, infos["final_obs"])
    assert_masked(infos, 3)
    env.step(actions[0])
    assert_identical(infos["final_obs"], shown[-1][0])


def test_step_that_resets_in_next_step_mode_ignores_its_actions() -> None:
    config = CONFIGS["paper"]
    observations = []
    for ignored in (0, 3):
        env = RRMVectorEnv(3, config, autoreset_mode="NextStep")
        env.reset(seed=SEEDS)
        for row in random_actions(config, 3):
            env.step(row)
        observations.append(env.step(np.full((3, config.n_aps), ignored))[0])
        assert env.network.t == 0
    assert_identical(observations[0], observations[1])


def test_reset_between_the_episodes_in_next_step_mode_leaves_no_reset_pending() -> None:
    config = CONFIGS["paper"]
    env = RRMVectorEnv(3, config, autoreset_mode="NextStep")
    env.reset(seed=SEEDS)
    for row in random_actions(config, 3):
        env.step(row)
    env.reset(seed=SEEDS)
    env.step(random_actions(config, 3)[0])
    assert env.network.t == 1


def test_step_after_the_end_is_refused_with_autoreset_disabled() -> None:
    config = RRMConfig(episode_length=1)
    env, actions = RRMVectorEnv(2, config, autoreset_mode="Disabled"), np.zeros((2, 4), np.int64)
    env.reset(seed=0)
    env.step(actions)
    with pytest.raises(RuntimeError, match="episode_length = 1"):
        env.step(actions)
    env.reset()
    env.step(actions)


def test_reset_mask_must_select_every_episode() -> None:
    env, other = RRMVectorEnv(3, CONFIGS["paper"]), RRMVectorEnv(3, CONFIGS["paper"])
    env.reset(seed=1)
    env.step(random_actions(env.config, 3)[0])
    for mask in ([True, False, True], [False] * 3):
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(seed=2, options={"reset_mask": np.array(mask)})
        assert env.network.t == 1
        assert env.network.seeds.tolist() == [1, 2, 3]
    assert_identical(
        env.reset(seed=2, options={"reset_mask": np.ones(3, np.bool_)}), other.reset(seed=2)
    )


# --- Ownership ---


@every_mode
def test_writing_into_returned_arrays_changes_nothing_later(mode: AutoresetMode) -> None:
    config = CONFIGS["paper"]
    env, untouched = (RRMVectorEnv(3, config, autoreset_mode=mode) for _ in range(2))

    def spoil(part: Any) -> None:
        if isinstance(part, dict):
            for value in part.values():
                spoil(value)
            part.clear()
        else:
            part.fill(1)

    def both(call: Any) -> None:
        returned, expected = call(env), call(untouched)
        assert_identical(returned, expected)
        kept = copy.deepcopy(expected)
        for part in returned:
            spoil(part)
        assert_identical(expected, kept)

    both(lambda e: e.reset(seed=SEEDS))
    for row in np.concatenate([random_actions(config, 3)] * 2):
        if mode is AutoresetMode.DISABLED and env.network.done:
            both(lambda e: e.reset())
        both(lambda e, row=row: e.step(row))


@pytest.mark.parametrize("num_threads", [1, 2])
def test_copies_taken_in_mid_episode_continue_identically(num_threads: int) -> None:
    config = CONFIGS["correlated"]
    env, actions = RRMVectorEnv(3, config, num_threads=num_threads), random_actions(config, 3)
    env.reset(seed=SEEDS)
    for row in actions[:2]:
        env.step(row)
    twins = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env)]
    for row in np.concatenate([actions, actions]):
        returned = env.step(row)
        for twin in twins:
            assert_identical(twin.step(row), returned)


# --- Actions ---


@pytest.mark.parametrize(
    ("actions", "error", "message"),
    [
        (
            np.zeros(4, np.int64),
            ValueError,
            r"actions must have shape \(num_envs, n_aps\) = \(2, 4\), got \(4,\)",
        ),
        (np.zeros((4, 2), np.int64), ValueError, r"\(2, 4\), got \(4, 2\)"),
        (np.zeros((2, 4)), TypeError, "actions must be integers, got dtype float64"),
        (np.zeros((2, 4), np.bool_), TypeError, "actions must be integers, got dtype bool"),
        (
            [[0, 0, 0, 0], [0, 0, 4, 0]],
            ValueError,
            r"actions\[1, 2\] = 4 is out of range; allowed: 0 to 3",
        ),
        (
            [[0, -1, 0, 0], [0, 0, 0, 0]],
            ValueError,
            r"actions\[0, 1\] = -1 is out of range; allowed: 0 to 3",
        ),
    ],
)
def test_bad_actions_are_refused_and_change_nothing(
    actions: Any, error: type[Exception], message: str
) -> None:
    env, twin = RRMVectorEnv(2), RRMVectorEnv(2)
    assert_identical(env.reset(seed=1), twin.reset(seed=1))
    with pytest.raises(error, match=message):
        env.step(actions)
    assert_identical(env.step(np.ones((2, 4), np.int32)), twin.step([[1] * 4] * 2))


# --- Gymnasium's wrappers ---


@every_mode
def test_record_episode_statistics_counts_rewards_and_steps_of_each_episode(
    mode: AutoresetMode,
) -> None:
    config = CONFIGS["paper"]
    env = wrappers.RecordEpisodeStatistics(RRMVectorEnv(3, config, autoreset_mode=mode))
    if mode is AutoresetMode.SAME_STEP and tuple(map(int, gymnasium.__version__.split(".")[:2])) < (
        1,
        4,
    ):
        pytest.skip(
            "before Gymnasium 1.4 the wrapper assumes NEXT_STEP and drops the first reward of "
            "every later episode"
        )
    env.reset(seed=SEEDS)  # type: ignore[arg-type]  # annotated for one seed only
    for episode, (actions, (_, rewards)) in enumerate(
        zip(batch_actions(config), network_episodes(config), strict=True)
    ):
        if episode and mode is AutoresetMode.NEXT_STEP:
            env.step(actions[0])
        elif episode and mode is AutoresetMode.DISABLED:
            env.reset()
        for t, row in enumerate(actions, 1):
            infos = env.step(row)[4]
            assert ("episode" in infos) == (t == config.episode_length)
        np.testing.assert_allclose(infos["episode"]["r"], np.sum(rewards, axis=0))
        assert infos["episode"]["l"].tolist() == [config.episode_length] * 3
    assert env.episode_count == 3 * EPISODES


@every_mode
def test_dict_info_to_list_finds_every_info_of_every_episode(mode: AutoresetMode) -> None:
    config = CONFIGS["paper"]
    env, plain = (
        wrappers.DictInfoToList(RRMVectorEnv(3, config, autoreset_mode=mode)),
        RRMVectorEnv(3, config, autoreset_mode=mode),
    )
    pairs: list[Any] = [(env.reset(seed=5)[1], plain.reset(seed=5)[1])]
    pairs += [(env.step(row)[4], plain.step(row)[4]) for row in random_actions(config, 3)]
    for listed, infos in pairs:
        for b, info in enumerate(listed):
            assert set(info) == {key for key in infos if not key.startswith("_")}
            assert_identical(info["action_mask"], infos["action_mask"][b])
            if "final_info" in infos:
                assert_identical(info["final_obs"], infos["final_obs"][b])
                assert_identical(
                    info["final_info"]["candidates"], infos["final_info"]["candidates"][b]
                )


def test_observation_wrapper_flattens_every_observation() -> None:
    config = CONFIGS["paper"]
    plain = RRMVectorEnv(3, config, autoreset_mode="NextStep")
    env = wrappers.FlattenObservation(RRMVectorEnv(3, config, autoreset_mode="NextStep"))
    assert_identical(env.reset(seed=5)[0], plain.reset(seed=5)[0].reshape(3, -1))
    for row in np.concatenate([random_actions(config, 3)] * 2):
        assert_identical(env.step(row)[0], plain.step(row)[0].reshape(3, -1))
