"""Datasets are exported to Minari and imported from it without a changed bit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from broken import remove_library
from recordings import CROWDED_OUT, KINDS, assert_equal, recorded
from toys import made_up, run

from marl import (
    Dataset,
    DatasetError,
    Team,
    from_minari,
    to_minari,
)
from marl.environment import Environment
from marl.exchange.d3rlpy import episode_ends
from rrm_env import RRMConfig
from rrm_env.provenance import install_hint

ASKED = "is set to None|env_spec is None"
"""Warnings of Minari that ask for authors, permalinks and the like."""


@pytest.mark.parametrize("kind", KINDS)
def test_minari_gives_back_the_same_bits(minari: Any, kind: str) -> None:
    dataset = KINDS[kind]
    written = to_minari(dataset, "rrm/some-v0")
    assert written.total_steps == len(dataset)
    assert written.total_episodes == episode_ends(dataset).sum()
    assert_equal(dataset, from_minari("rrm/some-v0"))


def test_minari_samples_episodes_of_the_joint_view(minari: Any) -> None:
    dataset = recorded(45)
    to_minari(dataset, "some-v0")
    data = minari.load_dataset("some-v0")
    data.set_seed(0)
    assert sorted(len(episode) for episode in data.sample_episodes(5)) == [5, 10, 10, 10, 10]
    episode = data[1]
    assert np.array_equal(
        episode.observations,
        torch.cat([dataset.observation[10:20], dataset.next_observation[19:20]]),
    )
    assert all(data.observation_space.contains(observation) for observation in episode.observations)
    assert all(data.action_space.contains(action) for action in episode.actions)
    assert episode.infos["action_mask"].shape == (11, 2, 3)
    assert episode.truncations.tolist() == [False] * 9 + [True]
    assert episode.infos["cut"].tolist() == [0] * 11


def test_minari_calls_a_cut_truncated_and_says_so(minari: Any) -> None:
    dataset = KINDS["subset"]
    cut = episode_ends(dataset) & (dataset.truncated == 0).numpy()
    assert cut.any()
    episodes = list(to_minari(dataset, "some-v0").iterate_episodes())
    assert all(episode.truncations[-1] for episode in episodes)
    assert sum(int(episode.infos["cut"].sum()) for episode in episodes) == cut.sum()


def test_minari_describes_and_recovers_the_environment(minari: Any) -> None:
    config = RRMConfig(n_aps=2, n_ues=4, episode_length=10, turns="equal")
    to_minari(recorded(20, config=config), "rrm/some-v0")
    found = minari.list_local_datasets()["rrm/some-v0"]
    assert (found["total_episodes"], found["total_steps"], found["algorithm_name"]) == (
        2,
        20,
        "RandomWalk",
    )
    assert (
        json.loads(json.dumps(found["rrm_env"]))["metadata"]["environment"]["config"]["turns"]
        == "equal"
    )
    env = minari.load_dataset("rrm/some-v0").recover_environment()
    assert env.unwrapped.config == config
    assert env.observation_space == minari.load_dataset("rrm/some-v0").observation_space
    assert minari.load_dataset("rrm/some-v0").action_space == env.action_space


def test_minari_knows_no_spec_of_another_environment(minari: Any) -> None:
    data = to_minari(KINDS["another environment"], "some-v0")
    assert data.env_spec is None
    assert not data.observation_space.is_bounded()


def test_filtered_episodes_are_imported(minari: Any) -> None:
    dataset = recorded(40)
    part = to_minari(dataset, "some-v0").filter_episodes(lambda episode: episode.id in (1, 3))
    found = from_minari(part)
    assert torch.equal(
        found.observation, torch.cat([dataset.observation[10:20], dataset.observation[30:40]])
    )
    assert found.metadata == dataset.metadata


def test_altered_minari_data_are_refused(minari: Any) -> None:
    h5py = pytest.importorskip("h5py")
    data = to_minari(recorded(20), "some-v0")
    with h5py.File(data.storage.data_path / "main_data.hdf5", "a") as file:
        file["episode_1/rewards"][3] += 1
    with pytest.raises(DatasetError, match="'some-v0' was altered after it was exported"):
        from_minari("some-v0")


def test_minari_recordings_of_our_joint_view_are_datasets_of_the_network(minari: Any) -> None:
    env = gymnasium.make("rrm_env:rrm/rrm-v0", **CROWDED_OUT.as_dict())
    buffers = []
    for start in (0, 10):
        observation, info = env.reset(seed=3 + start)
        seen, masks, rewards, actions = [observation], [info["action_mask"]], [], []
        for _ in range(10):
            actions.append(np.array([2, 0 if masks[-1][1, 0] else 2]))
            observation, reward, _, _, info = env.step(actions[-1])
            seen.append(observation)
            masks.append(info["action_mask"])
            rewards.append(reward)
        ends = [False] * 9 + [True]
        fields = {
            "observations": np.stack(seen),
            "actions": np.stack(actions),
            "rewards": rewards,
            "infos": {"action_mask": np.stack(masks)},
        }
        buffers.append(
            minari.data_collector.EpisodeBuffer(
                **fields, terminations=[False] * 10, truncations=ends
            )
        )
    with pytest.warns(UserWarning, match=ASKED):
        minari.create_dataset_from_buffers(
            "some-v0", buffers, env=env, algorithm_name="half silent"
        )
    found = from_minari("some-v0")
    assert found.environment == Environment.of_network(CROWDED_OUT)
    assert found.metadata["behaviours"][0]["name"] == "half silent"
    assert found.metadata["behaviours"][0]["kpis"]["return"] == pytest.approx(
        found.reward.sum().item() / 2
    )
    assert np.flatnonzero(episode_ends(found)).tolist() == [9, 19]
    assert torch.equal(found.next_observation[:9], found.observation[1:10])
    assert not found.mask.all()


def foreign(
    minari: Any, observation: gymnasium.Space[Any], action: gymnasium.Space[Any], **fields: Any
) -> Any:
    """One episode of three random steps that another program recorded."""
    observation.seed(0)
    action.seed(0)
    ends = {"terminations": [False] * 3, "truncations": [False] * 3}
    taken = {
        "observations": [observation.sample() for _ in range(4)],
        "actions": [action.sample() for _ in range(3)],
    }
    buffer = minari.data_collector.EpisodeBuffer(
        **{**taken, "rewards": [1.0, 2.0, 4.0], **ends, **fields}
    )
    with pytest.warns(UserWarning, match=ASKED):
        return minari.create_dataset_from_buffers(
            "other/some-v1", [buffer], observation_space=observation, action_space=action
        )


def test_other_minari_datasets_are_imported(minari: Any) -> None:
    box = gymnasium.spaces.Box(-1, 1, (2, 5), np.float64)
    data = foreign(minari, box, gymnasium.spaces.MultiDiscrete([2, 3], start=[1, 4]))
    found = from_minari("other/some-v1")
    assert found.team == Team(2, 5, 3)
    assert found.mask[0].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert np.array_equal(found.action.numpy() + np.array([1, 4]), data[0].actions)
    assert np.array_equal(found.observation, data[0].observations[:3].astype(np.float32))
    assert found.truncated.tolist() == [0, 0, 1]
    assert found.metadata["environment"] == {"kind": "parallel", "name": "other/some-v1"}
    assert found.metadata["behaviours"][0]["kpis"] == {"episodes": 1.0, "return": 7.0}


def test_one_agent_with_discrete_actions_is_a_team_of_one(minari: Any) -> None:
    masks = np.array([[[1, 1, 1]]] * 4)
    box = gymnasium.spaces.Box(-1, 1, (2, 5), np.float32)
    foreign(
        minari,
        box,
        gymnasium.spaces.Discrete(3),
        infos={"action_mask": masks},
        terminations=[False, False, True],
    )
    found = from_minari("other/some-v1")
    assert found.team == Team(1, 10, 3)
    assert (found.terminated.tolist(), found.truncated.tolist()) == ([0, 0, 1], [0, 0, 0])


@pytest.mark.parametrize(
    ("observation", "action", "fields", "message"),
    [
        (
            gymnasium.spaces.Box(-1, 1, (5,)),
            gymnasium.spaces.MultiDiscrete([2, 2]),
            {},
            r"must have a Box of observations, \(2, D\)",
        ),
        (
            gymnasium.spaces.Box(-1, 1, (5,)),
            gymnasium.spaces.Box(-1, 1, (2,)),
            {},
            "must have Discrete actions",
        ),
        (
            gymnasium.spaces.Discrete(5),
            gymnasium.spaces.Discrete(5),
            {},
            "must have a Box of observations",
        ),
        (
            gymnasium.spaces.Box(-1, 1, (5,)),
            gymnasium.spaces.Discrete(2),
            {"infos": {"action_mask": np.ones((3, 2))}},
            r"action_mask in episode 0 of Minari dataset 'other/some-v1' "
            r"must have shape \(4, 1, 2\), got \(3, 2\)",
        ),
    ],
)
def test_minari_datasets_of_other_kinds_are_refused(
    minari: Any, observation: Any, action: Any, fields: Any, message: str
) -> None:
    data = foreign(minari, observation, action, **fields)
    with pytest.raises(DatasetError, match=message):
        from_minari(data)


@pytest.mark.parametrize("name", ["some", "some-v", "some v0", "/some-v0", "a/-v0.1", "../some-v0"])
def test_names_that_minari_does_not_take_are_refused(
    minari: Any, name: str, tmp_path: Path
) -> None:
    with pytest.raises(
        ValueError, match=r"name must be a name such as itlinq-v0 or rrm/itlinq-v0, got "
    ):
        to_minari(made_up(), name)
    assert not any(path.is_dir() for path in (tmp_path / "minari").glob("*"))


def test_no_minari_dataset_is_overwritten(minari: Any) -> None:
    to_minari(made_up(seed=1), "some-v0")
    with pytest.raises(ValueError, match="name = 'some-v0' exists already"):
        to_minari(made_up(), "some-v0")
    assert_equal(from_minari("some-v0"), made_up(seed=1))


def test_an_export_that_fails_leaves_nothing(
    minari: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(self: Dataset) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Dataset, "fingerprint", fail)
    with pytest.raises(KeyboardInterrupt):
        to_minari(made_up(), "some-v0")
    assert not (tmp_path / "minari" / "some-v0").exists()


def test_an_export_that_was_killed_is_refused(minari: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    def nothing(*arguments: Any, **options: Any) -> None:
        pass

    with monkeypatch.context() as patch:
        patch.setattr("minari.dataset._storages.hdf5_storage.HDF5Storage.update_episodes", stop)
        patch.setattr("shutil.rmtree", nothing)  # a killed process cleans nothing up
        with pytest.raises(KeyboardInterrupt):
            to_minari(made_up(), "some-v0")
    with pytest.raises(DatasetError, match="'some-v0' holds no episode"):
        from_minari("some-v0")


def test_relative_folders_of_minari_are_refused(
    minari: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "here")
    with pytest.raises(
        ValueError, match="name: MINARI_DATASETS_PATH must be an absolute path, got 'here'"
    ):
        to_minari(made_up(), "some-v0")


def test_missing_minari_datasets_are_refused(minari: Any) -> None:
    with pytest.raises(DatasetError, match="Minari dataset 'none-v0' cannot be read"):
        from_minari("none-v0")


def test_without_minari_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remove_library("minari", monkeypatch)
    for call in (lambda: to_minari(made_up(), "some-v0"), lambda: from_minari("some-v0")):
        with pytest.raises(ValueError, match=re.escape(f"needs minari: {install_hint('minari')}")):
            call()
    assert run("export", tmp_path / "missing", "--minari", "some-v0") == 2
    assert capsys.readouterr().err == f"error: --minari needs minari: {install_hint('minari')}\n"
