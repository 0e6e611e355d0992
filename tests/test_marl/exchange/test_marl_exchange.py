"""Datasets handed to other libraries and taken back: not a bit changes where the format has a place for it; what it loses is said."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from broken import remove_library
from toys import SMALL, Match, Unlike, arrays, described, made_up, printed, run

from baselines import RandomWalk
from marl import (
    Dataset,
    DatasetError,
    Heads,
    Team,
    collect,
    collect_parallel,
    dataset_card,
    from_mdp_arrays,
    from_minari,
    mdp_arrays,
    read_mdp_arrays,
    to_minari,
)
from marl.environment import Environment
from marl.exchange.d3rlpy import episode_ends
from rrm_env import RRMConfig
from rrm_env.provenance import install_hint

CROWDED_OUT = RRMConfig(n_aps=2, n_ues=3, n_candidates=2, episode_length=10)
"""Fewer users than candidates: access points have empty slots."""
ASKED = "is set to None|env_spec is None"
"""How Minari asks for authors, permalinks and the like."""


def recorded(transitions: int = 45, seed: int = 0, config: RRMConfig = SMALL) -> Dataset:
    """Episodes of ten steps, the last one cut."""
    return collect(RandomWalk(silence=True), config, transitions, seed)


def kinds() -> dict[str, Dataset]:
    """Datasets that differ in how their rows follow one another."""
    whole = recorded()
    return {
        "whole episodes": whole,
        "subset": whole.subset(20, seed=1),
        "mixture": Dataset.mix([whole, recorded(seed=1)], 30),
        "several behaviours": Dataset.concatenate([whole, recorded(seed=1)]),
        "another environment": collect_parallel(Unlike, None, 50),
        "one step": collect_parallel(Match, None, 7),
        "random numbers": made_up(),
        "both flags": Dataset(
            **{
                **arrays(),
                "terminated": torch.ones(6, dtype=torch.uint8),
                "truncated": torch.ones(6, dtype=torch.uint8),
            }
        ),
    }


KINDS = kinds()


def assert_equal(one: Dataset, other: Dataset) -> None:
    """To the bit, arrays and what is said of them."""
    for name, tensor in one.tensors().items():
        found = other.tensors()[name]
        assert tensor.dtype == found.dtype
        assert tensor.numpy().tobytes() == found.numpy().tobytes(), name
    assert one.metadata == other.metadata
    assert one.fingerprint() == other.fingerprint()


# --- Where episodes end ---


def test_episodes_are_cut_where_they_end_and_where_the_next_row_is_not_what_followed() -> None:
    dataset = recorded(45)
    assert np.flatnonzero(episode_ends(dataset)).tolist() == [9, 19, 29, 39, 44]
    rows = torch.tensor([0, 1, 3, 4, 9, 10, 12])
    part = Dataset(
        **{name: tensor[rows] for name, tensor in dataset.tensors().items()},
        metadata=dataset.metadata,
    )
    assert np.flatnonzero(episode_ends(part)).tolist() == [1, 3, 4, 5, 6]


@pytest.mark.parametrize("changed", ["observation", "mask", "behaviour"])
def test_any_difference_to_what_followed_cuts(changed: str) -> None:
    rows: dict[str, Any] = {name: tensor.clone() for name, tensor in recorded(5).tensors().items()}
    assert not episode_ends(Dataset(**rows))[:4].any()
    if changed == "observation":
        rows["observation"][3, 1, 0] = torch.nextafter(
            rows["observation"][3, 1, 0], torch.tensor(9.0)
        )
    elif changed == "mask":
        rows["next_mask"][2, 0, 0] = 1 - rows["mask"][3, 0, 0]
    else:
        rows["behaviour"][3:] = 1
    assert episode_ends(Dataset(**rows)).tolist() == [False, False, True, False, True]


# --- d3rlpy's arrays ---


def test_arrays_are_those_of_all_agents_as_one() -> None:
    dataset = recorded()
    found = mdp_arrays(dataset)
    assert {name: (array.shape, str(array.dtype)) for name, array in found.items()} == {
        "observations": ((45, 2 * 4), "float32"),
        "actions": ((45, 1), "int64"),
        "rewards": ((45, 1), "float32"),
        "terminals": ((45, 1), "float32"),
        "timeouts": ((45, 1), "float32"),
    }
    joint = [np.ravel_multi_index(tuple(row), (3, 3)) for row in dataset.action.tolist()]
    assert (
        found["actions"][:, 0].tolist()
        == joint
        == Heads("c", dataset.team).chosen(dataset.action[None])[0, 0].tolist()
    )
    assert np.array_equal(found["observations"].reshape(45, 2, 4), dataset.observation.numpy())
    assert np.flatnonzero(found["timeouts"]).tolist() == [9, 19, 29, 39, 44]
    assert not found["terminals"].any()


def test_no_row_is_terminal_and_timed_out() -> None:
    found = mdp_arrays(KINDS["one step"])
    assert found["terminals"].all()
    assert not found["timeouts"].any()
    assert not mdp_arrays(KINDS["both flags"])["timeouts"].any()


@pytest.mark.parametrize(
    "config",
    [
        CROWDED_OUT,
        RRMConfig(
            n_aps=2,
            n_ues=4,
            episode_length=10,
            measurements="large_scale",
            turns="equal",
            messages="best",
        ),
    ],
)
def test_arrays_give_back_all_but_the_rows_before_a_timeout(config: RRMConfig) -> None:
    dataset = recorded(45, config=config)
    assert (dataset.mask == 0).any(), "no empty slot"
    found = from_mdp_arrays(mdp_arrays(dataset), config)
    kept = ~episode_ends(dataset)
    for name in (
        "observation",
        "mask",
        "action",
        "reward",
        "next_observation",
        "next_mask",
        "terminated",
        "behaviour",
    ):
        assert torch.equal(found.tensors()[name], dataset.tensors()[name][kept]), name
    assert found.truncated.nonzero()[:, 0].tolist() == [8, 17, 26, 35, 39]
    assert found.environment == dataset.environment


def test_a_terminal_row_needs_no_next_observation() -> None:
    found = mdp_arrays(recorded(12))
    found = {
        **found,
        "terminals": found["timeouts"].copy(),
        "timeouts": np.zeros_like(found["timeouts"]),
    }
    back = from_mdp_arrays(found, SMALL)
    assert len(back) == 12
    assert back.terminated.nonzero()[:, 0].tolist() == [9, 11]
    assert not back.truncated.any()
    assert torch.equal(back.next_observation[9], back.observation[9])
    assert torch.equal(back.next_mask[9], back.mask[9])


def test_rows_after_the_last_end_are_an_episode_cut() -> None:
    found = {name: array[:15] for name, array in mdp_arrays(recorded(20)).items()}
    assert from_mdp_arrays(found, SMALL).truncated.nonzero()[:, 0].tolist() == [8, 12]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "missing: actions"),
        (
            {"rewards": np.zeros(20)},
            r"rewards must have shape \(20, 1\) with at least one row, got \(20,\)",
        ),
        ({"observations": np.zeros((20, 7))}, r"observations must have shape \(20, 8\)"),
        ({"observations": np.zeros((0, 8))}, "at least one row"),
        (
            {"observations": np.float32(1)},
            r"observations must have shape \(0, 8\) with at least one row, got \(\)",
        ),
        ({"timeouts": np.full((20, 1), 0.5)}, "timeouts must be 0 or 1, got 0.5"),
        ({"timeouts": np.ones((20, 1))}, "no transition is left"),
        ({"actions": np.full((20, 1), 9)}, "actions must be whole numbers from 0 to 8, got 9"),
        ({"actions": np.full((20, 1), -1)}, "actions must be whole numbers from 0 to 8, got -1"),
        ({"actions": np.full((20, 1), 0.5)}, "actions must be whole numbers from 0 to 8, got 0.5"),
        ({"rewards": np.full((20, 1), np.nan)}, "reward must be finite"),
    ],
)
def test_arrays_that_are_none_are_refused(changes: dict[str, Any], message: str) -> None:
    given = {
        name: array
        for name, array in {**mdp_arrays(recorded(20)), **changes}.items()
        if array is not None
    }
    with pytest.raises(DatasetError, match=message):
        from_mdp_arrays(given, SMALL)


def test_actions_of_empty_slots_are_refused() -> None:
    dataset = recorded(20, config=CROWDED_OUT)
    given = mdp_arrays(dataset)
    empty = (dataset.mask[:-1] == 0).nonzero()
    row, agent, slot = next(
        place.tolist() for place in empty if not episode_ends(dataset)[place[0]]
    )
    action = dataset.action[row].clone()
    action[agent] = slot
    given["actions"] = given["actions"].copy()
    given["actions"][row] = Heads("c", dataset.team).chosen(action.view(1, 1, -1)).item()
    with pytest.raises(DatasetError, match="is illegal under mask"):
        from_mdp_arrays(given, CROWDED_OUT)


def test_too_many_joint_actions_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"there may be 16,384: Team\(n_agents=8, n_features=3, n_actions=4\) has 65,536",
    ):
        mdp_arrays(Dataset(**arrays(team=Team(8, 3, 4))))


# --- Minari ---


@pytest.fixture
def minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, with a folder of its own for datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari", reason="Minari is not installed")


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
            r"action_mask in episode 0 of Minari dataset 'other/some-v1' must have shape \(4, 1, 2\), got \(3, 2\)",
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


# --- The card ---


def front_matter(card: str) -> list[str]:
    """Lines between the dashes."""
    assert card.startswith("---\n")
    return card.split("---\n")[1].splitlines()


def test_card_says_what_the_network_dataset_is() -> None:
    dataset = Dataset.concatenate([recorded(), recorded(30, seed=1)])
    card = dataset_card(dataset, "some.safetensors")
    lines = front_matter(card)
    assert lines[:2] == [
        "license: mit",
        'pretty_name: "Radio resource management: RandomWalk, 75 transitions"',
    ]
    assert lines[lines.index("size_categories:") + 1] == "- n<1K"
    assert lines[lines.index("task_categories:") + 1] == "- reinforcement-learning"
    for text in (
        dataset.fingerprint(),
        "2501.12991",
        "`n_aps = 2`",
        "| `observation` | 75 × 2 × 4 | float32 |",
        'Dataset.read("some.safetensors")',
    ):
        assert text in card
    kpis = dataset.metadata["behaviours"][1]["kpis"]
    assert (
        f"| RandomWalk | 1 | 30 | 3 | {kpis['return']:,.3f} | {kpis['sum_rate']:,.3f} | {kpis['tail_rate']:,.3f} |"
        in card
    )


def test_card_of_another_environment_claims_nothing_of_the_network() -> None:
    card = dataset_card(KINDS["another environment"])
    assert "license: unknown" in front_matter(card)
    assert "unlike_v0" in card
    for text in ("2501.12991", "SINR", "wireless", "MIT"):
        assert text not in card


@pytest.mark.parametrize(
    ("n", "size"),
    [(999, "n<1K"), (1000, "1K<n<10K"), (99_999, "10K<n<100K"), (100_000, "100K<n<1M")],
)
def test_card_names_the_size(n: int, size: str) -> None:
    assert f"- {size}" in front_matter(
        dataset_card(Dataset(**arrays(n, Team(1, 1, 1)), metadata=described()))
    )


def test_card_of_a_dataset_that_says_nothing_of_itself() -> None:
    assert "`unknown`" in dataset_card(Dataset(**arrays()))


# --- The commands ---


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset's file, in the folder that is the present one."""
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.chdir(tmp_path)
    recorded(40).write("data.safetensors")
    return tmp_path / "data.safetensors"


def test_arrays_and_card_are_exported_and_imported(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "data.safetensors", "--arrays", "a.npz", "--card", "README.md") == 0
    dataset = Dataset.read(data)
    assert printed(capsys) == "wrote a.npz wrote README.md"
    assert Path("README.md").read_text(encoding="utf-8") == dataset_card(
        dataset, "data.safetensors"
    )
    assert all(
        np.array_equal(array, mdp_arrays(dataset)[name])
        for name, array in read_mdp_arrays("a.npz").items()
    )
    network = [
        f"{name}={getattr(SMALL, name)}"
        for name in ("n_aps", "n_ues", "n_candidates", "episode_length")
    ]
    assert run("import", "a.npz", "--out", "back.safetensors", "--set", *network) == 0
    assert (
        Dataset.read("back.safetensors").fingerprint()
        == from_mdp_arrays(mdp_arrays(dataset), SMALL, "a").fingerprint()
    )
    assert "36 transitions" in printed(capsys)


def test_minari_datasets_are_exported_and_imported(
    minari: Any, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("export", "data.safetensors", "--minari", "rrm/some-v0") == 0
    assert printed(capsys) == "wrote rrm/some-v0: 4 episodes, 40 transitions"
    assert run("import", "rrm/some-v0", "--out", "back.safetensors") == 0
    assert Dataset.read("back.safetensors").fingerprint() == Dataset.read(data).fingerprint()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "export data.safetensors",
            "export needs at least one of --minari, --arrays and --card, got none",
        ),
        ("export data.safetensors --arrays a.txt", "--arrays = 'a.txt' must end in .npz"),
        (
            "export data.safetensors --arrays missing/a.npz",
            "--arrays = 'missing/a.npz' must lie in an existing folder",
        ),
        ("export data.safetensors --card .", "--card must be a file, got the folder '.'"),
        ("export missing --card a.md", "'missing' cannot be read as a safetensors file"),
        ("import missing.npz --out b", "'missing.npz' cannot be read as an .npz file"),
        ("import text.npz --out b", "'text.npz' cannot be read as an .npz file"),
        ("import one.npz --out b", "'one.npz' cannot be read as an .npz file"),
        ("import part.npz --out b", "missing: observations, actions, rewards, terminals, timeouts"),
        (
            "import some-v0 --out b --network paper",
            "--network is of arrays in an .npz file: 'some-v0' says itself",
        ),
        (
            "import some-v0 --out b --set n_aps=2",
            "--set is of arrays in an .npz file: 'some-v0' says itself",
        ),
        ("import some-v0 --out missing/b", "--out = 'missing/b' must lie in an existing folder"),
    ],
)
def test_commands_refuse_wrong_input(
    data: Path, arguments: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("text.npz").write_text("text")
    with Path("one.npz").open("wb") as file:
        np.save(file, np.ones(3))
    np.savez("part.npz", other=np.ones(3))
    before = sorted(os.listdir())
    assert run(*arguments.split()) == 2
    assert message in capsys.readouterr().err
    assert sorted(os.listdir()) == before
