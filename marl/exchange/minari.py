"""Datasets as Minari's episodes, and back."""

from __future__ import annotations

import dataclasses
import os
import shutil
import warnings
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Space
from numpy.typing import NDArray

from marl.data.dataset import Dataset, DatasetError
from marl.data.storage import parse_json, read_json, require_file
from marl.environment import Environment
from marl.exchange.d3rlpy import check_expansion, episode_ends
from marl.team import Team
from marl.torch_state import known_torch
from rrm_env import Network, rrm_v0
from rrm_env.arguments import config_of
from rrm_env.checks import bounded_integer, shortened, shown
from rrm_env.joint import joint_observation_space
from rrm_env.optional import required
from rrm_env.provenance import __version__

_OURS = "rrm_env"
"""Key of what Minari's metadata says of a dataset that this package exported."""

MAX_ACTIONS = 2**20
"""Of all agents together: a mask of so many bytes is kept per step."""


def check_minari_name(option: str, name: str) -> str:
    """The name, if Minari can make a dataset of it; ``option`` is what to call it.

    Raises:
        ValueError: Minari is missing, the name is not of its form or taken, or Minari's folder is relative or cannot be made.
    """
    _minari(option)
    from minari.dataset.minari_dataset import parse_dataset_id
    from minari.storage import get_dataset_path

    try:
        parse_dataset_id(name)
    except (TypeError, ValueError):  # TypeError where the version is missing
        raise ValueError(
            f"{option} must be a name such as itlinq-v0 or rrm/itlinq-v0, got {name!r}"
        ) from None
    try:
        path = get_dataset_path(name)
    except OSError as error:
        raise ValueError(f"{option} = {name!r}: Minari's folder cannot be made: {error}") from None
    if (
        not path.is_absolute()
    ):  # Minari 0.5.4 looks for its files below the folder twice then, when it adds up their sizes
        raise ValueError(
            f"{option}: MINARI_DATASETS_PATH must be an absolute path, got {os.environ['MINARI_DATASETS_PATH']!r}"
        )
    if path.exists():
        raise ValueError(
            f"{option} = {name!r} exists already in {str(path)!r}: choose another name or version, or delete it"
        )
    return name


@known_torch
def to_minari(dataset: Dataset, name: str) -> Any:
    """Write a Minari dataset: the joint view, one Gymnasium environment that all agents act in together.

    Observations are (T + 1, I, D) float32, actions (T, I) int64 of a `MultiDiscrete`, rewards (T,) float32. ``infos`` hold, with one
    entry more than there are actions, ``action_mask`` (T + 1, I, A) int8, ``behaviour`` (T + 1,) int32 and ``cut`` (T + 1,) int8:
    1 where an episode is called truncated for this export alone, because the dataset goes on elsewhere.

    Args:
        dataset: what to export; its metadata and checksum go along.
        name: the dataset's id, ``(namespace/)name-vN``; it is written where Minari keeps its datasets, whole or not at all.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        ValueError: Minari is missing, or the name cannot be used.
    """
    minari = _minari("to_minari")
    from minari.storage import get_dataset_path

    check_minari_name("name", name)
    stops = np.flatnonzero(episode_ends(dataset)) + 1
    starts = np.concatenate([[0], stops[:-1]])
    spec = _environment_spec(dataset)
    observations, actions = _spaces(dataset)
    known = dataset.metadata.get("behaviours", [])
    names = [str(behaviour.get("name", k)) for k, behaviour in enumerate(known)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # Minari asks for an author and a permalink, which a recording does not know
            written = minari.create_dataset_from_buffers(
                name,
                [
                    _episode(dataset, start, stop)
                    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
                ],
                env=spec,
                eval_env=spec,
                observation_space=observations,
                action_space=actions,
                algorithm_name=", ".join(dict.fromkeys(names)),
                description=f"{len(dataset):,} transitions in the joint view of {dataset.team.n_agents} agents, recorded by rrm_env.",
                requirements=[f"rrm-env>={__version__}"] if spec else None,
            )
        written.storage.update_metadata(
            {_OURS: {"metadata": dict(dataset.metadata), "checksum": dataset.fingerprint()}}
        )
    except BaseException:
        shutil.rmtree(get_dataset_path(name), ignore_errors=True)
        raise
    return written


@known_torch
def from_minari(source: Any) -> Dataset:
    """The transitions of a Minari dataset: bit for bit those that `to_minari` was given, or of any other with discrete actions.

    Of others, actions must be `Discrete` (one agent, whose observation is flattened) or a `MultiDiscrete` of I agents with
    observations (I, D); ``infos["action_mask"]`` counts where it is there, every action is legal where it is not. Observations
    become float32, and an episode without an end is called truncated. Of ours, ``filter_episodes`` keeps everything that describes
    them, so KPIs remain those of the whole recording.

    Args:
        source: a local dataset's id, or a `minari.MinariDataset`.

    Raises:
        ValueError: Minari is missing.
        DatasetError: no such dataset, one of other spaces, or one of ours that was altered.
    """
    minari = _minari("from_minari")
    try:
        if isinstance(source, str):
            _check_files(source)
        data = minari.load_dataset(source) if isinstance(source, str) else source
        return _transitions(data)
    except (
        Exception
    ) as error:  # Minari asserts, and h5py states no list of what foreign bytes make it raise
        if isinstance(error, DatasetError) and str(error).startswith("Minari dataset"):
            raise
        name = source if isinstance(source, str) else getattr(source, "id", source)
        reason = (
            str(error)
            if isinstance(error, (OSError, ValueError))
            else f"{type(error).__name__} {error}".rstrip()
        )
        raise DatasetError(
            f"Minari dataset {shown(name)} cannot be read: {shortened(reason)}"
        ) from None


def _check_files(name: str) -> None:
    """Refuse what Minari would call, fill the memory with, or follow to another file, before it reads anything (ValueError)."""
    import h5py
    from minari.storage import get_dataset_path

    folder = get_dataset_path(name) / "data"
    if not folder.is_dir():
        return  # as Minari says in its own words
    described, file = read_json(folder / "metadata.json"), folder / "main_data.hdf5"
    if not isinstance(described, dict):
        raise ValueError(f"metadata.json must be a mapping of names, got {shown(described)}")
    for space in ("observation_space", "action_space"):
        if not isinstance(
            described.get(space), str
        ):  # Minari makes the environment then, and what that calls is the file's to say
            raise ValueError(
                f"metadata.json must give {space} as a text, got {shown(described.get(space))}"
            )
        _check_types(parse_json(described[space]))
    episodes = bounded_integer(
        "total_episodes", described.get("total_episodes"), 2**31 - 1, lowest=0
    )
    if not episodes or described.get("data_format") != "hdf5":
        return
    require_file(file)
    with h5py.File(file) as content:
        check_expansion(_unpacked_size(content, set()), file.stat().st_size)
        if episodes > len(content):
            raise ValueError(
                f"metadata.json announces {episodes} episodes, main_data.hdf5 has {len(content)}"
            )


def _check_types(space: Any) -> None:
    """Refuse spaces whose numbers are none: an element of type U100000000 takes 400 MB."""
    if isinstance(space, dict):
        if "dtype" in space and np.dtype(space["dtype"]).kind not in "biuf":
            raise ValueError(
                f"dtype of a space must be one of numbers, got {shown(space['dtype'])}"
            )
        for part in space.values():
            _check_types(part)
    elif isinstance(space, list):
        for part in space:
            _check_types(part)


def _unpacked_size(group: Any, seen: set[int]) -> int:
    """Bytes of all arrays of an HDF5 file, which must keep them itself, each in one place; ``seen`` are the addresses met so far."""
    import h5py

    total = 0
    for name in group:
        part = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        elsewhere = isinstance(part, h5py.Dataset) and (part.external or part.is_virtual)
        if part is None or elsewhere or (address := h5py.h5o.get_info(part.id).addr) in seen:
            raise ValueError(
                f"{group.name}/{name} must be in the file itself and in one place, not a link"
            )
        seen.add(address)
        if isinstance(part, h5py.Group):
            total += _unpacked_size(part, seen)
        elif isinstance(part, h5py.Dataset):
            total += part.nbytes
    return total


def _transitions(data: Any) -> Dataset:
    """Those of a Minari dataset, as `from_minari`."""
    layout = _layout(data)
    if parts := data.storage.metadata.get("combined_datasets"):
        raise DatasetError(
            f"Minari dataset {data.id!r} combines {', '.join(map(str, parts))} and no longer tells their behaviours apart: "
            "import each of them, and join them by Dataset.concatenate"
        )
    if not data.total_episodes:  # as an export leaves it that was killed
        raise DatasetError(f"Minari dataset {data.id!r} holds no episode")
    episodes = [_columns(episode, layout, data.id) for episode in data.iterate_episodes()]
    columns = {
        name: np.concatenate([episode[name] for episode in episodes]) for name in episodes[0]
    }
    ours = data.storage.metadata.get(_OURS)
    if ours is None:
        returns = [float(episode["reward"].sum(dtype=np.float64)) for episode in episodes]
        return Dataset.from_arrays(columns, _foreign_metadata(data, returns))
    dataset = Dataset.from_arrays(columns, ours["metadata"])
    whole = np.array_equal(data.episode_indices, np.arange(data.storage.total_episodes))
    if whole and dataset.fingerprint() != ours["checksum"]:
        raise DatasetError(
            f"Minari dataset {data.id!r} was altered after it was exported: its checksum does not match"
        )
    return dataset


def _minari(what: str) -> Any:
    """The module, with all that it needs to read and write HDF5."""
    return required(
        f"{what} needs",
        "minari",
        "minari.storage",
        "minari.data_collector",
        "h5py",
        "PIL",
        extra="minari",
    )


def _episode(dataset: Dataset, start: int, stop: int) -> Any:
    """Rows start ... stop - 1, an episode of their own, as Minari's buffer."""
    from minari.data_collector import EpisodeBuffer

    def with_next(present: torch.Tensor, following: torch.Tensor) -> NDArray[Any]:
        return np.concatenate([present[start:stop].numpy(), following[stop - 1 : stop].numpy()])

    terminated, truncated = (
        dataset.terminated[start:stop].bool().numpy(),
        dataset.truncated[start:stop].bool().numpy().copy(),
    )
    cut = np.zeros(stop - start + 1, np.int8)
    cut[-1] = not (terminated[-1] or truncated[-1])
    truncated[-1] |= bool(cut[-1])
    return EpisodeBuffer(
        observations=with_next(dataset.observation, dataset.next_observation),
        actions=dataset.action[start:stop].numpy().astype(np.int64),
        rewards=dataset.reward[start:stop].numpy(),
        terminations=terminated,
        truncations=truncated,
        infos={
            "action_mask": with_next(dataset.mask, dataset.next_mask).astype(np.int8),
            "behaviour": np.full(len(cut), int(dataset.behaviour[start]), np.int32),
            "cut": cut,
        },
    )


def _spaces(dataset: Dataset) -> tuple[Box[Any], MultiDiscrete[Any]]:
    """Of the joint view; observations have bounds where the network is what was recorded."""
    team, config = dataset.team, dataset.environment.network
    unbounded = Box(-np.inf, np.inf, (team.n_agents, team.n_features), np.float32)
    return joint_observation_space(Network(config)) if config else unbounded, MultiDiscrete(
        [team.n_actions] * team.n_agents
    )


def _environment_spec(dataset: Dataset) -> EnvSpec | None:
    """What Minari makes the joint view from; of the network only, other environments have none."""
    config = dataset.environment.network
    return (
        dataclasses.replace(gymnasium.spec(rrm_v0.ENV_ID), kwargs=config.as_dict())
        if config
        else None
    )


class _Layout(NamedTuple):
    """How a Minari dataset's arrays map to a team's."""

    team: Team
    first_action: NDArray[np.int64]
    """(I,) the number of each agent's first action."""
    legal: NDArray[np.uint8]
    """(I, A) 1 for the actions that an agent has."""


def _layout(data: Any) -> _Layout:
    observation, action = data.observation_space, data.action_space
    counts, first = _discrete(action)
    agents = len(counts)
    if not agents:
        raise DatasetError(
            f"Minari dataset {data.id!r} must have Discrete actions or a MultiDiscrete with one per agent, got {action}"
        )
    if not isinstance(observation, Box) or (
        agents > 1 and (len(observation.shape) != 2 or observation.shape[0] != agents)
    ):
        raise DatasetError(
            f"Minari dataset {data.id!r} must have a Box of observations, ({agents}, D) for {agents} agents, got {observation}"
        )
    if agents * int(counts.max()) > MAX_ACTIONS:
        raise DatasetError(
            f"Minari dataset {data.id!r} must have up to {MAX_ACTIONS:,} actions of all agents together, got {action}"
        )
    team = Team(agents, int(np.prod(observation.shape)) // agents, int(counts.max()))
    return _Layout(team, first, (np.arange(team.n_actions) < counts[:, None]).astype(np.uint8))


def _discrete(space: Space[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(I,) how many actions each agent has and the number of the first; empty where the space is of another kind."""
    if isinstance(space, Discrete):
        return np.array([space.n], np.int64), np.array([space.start], np.int64)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return space.nvec.astype(np.int64), space.start.astype(np.int64)
    return np.empty(0, np.int64), np.empty(0, np.int64)


def _columns(episode: Any, layout: _Layout, name: str) -> dict[str, NDArray[Any]]:
    """The tensors of a dataset, of one episode's transitions."""
    team, n, infos = layout.team, len(episode), episode.infos or {}
    seen = np.asarray(episode.observations, np.float32).reshape(
        n + 1, team.n_agents, team.n_features
    )
    shape = n + 1, team.n_agents, team.n_actions
    mask = np.asarray(infos.get("action_mask", np.broadcast_to(layout.legal, shape)), np.uint8)
    if mask.size != np.prod(shape):
        raise DatasetError(
            f"action_mask in episode {episode.id} of Minari dataset {name!r} must have shape {shape}, got {mask.shape}"
        )
    mask = mask.reshape(shape)
    terminated, truncated = (
        np.asarray(episode.terminations, np.uint8),
        np.asarray(episode.truncations, np.uint8),
    )
    truncated[-1] |= 1 - terminated[-1]
    return {
        "observation": seen[:-1],
        "mask": mask[:-1],
        "action": np.asarray(episode.actions, np.int64).reshape(n, team.n_agents)
        - layout.first_action,
        "reward": np.asarray(episode.rewards, np.float32),
        "next_observation": seen[1:],
        "next_mask": mask[1:],
        "terminated": terminated,
        "truncated": truncated - np.asarray(infos["cut"][1:], np.uint8)
        if "cut" in infos
        else truncated,
        "behaviour": np.asarray(infos.get("behaviour", np.zeros(n + 1))[1:], np.int32),
    }


def _foreign_metadata(data: Any, returns: list[float]) -> dict[str, Any]:
    """Of a dataset that another program recorded, perhaps in our joint view."""
    environment = Environment(known_name=data.env_spec.id if data.env_spec else data.id)
    if environment.known_name == rrm_v0.ENV_ID and isinstance(data.action_space, MultiDiscrete):
        # Minari would make the environment, and call for it whatever the file names.
        options = {
            name: value
            for name, value in data.env_spec.kwargs.items()
            if name not in ("flat_actions", "render_mode")
        }
        environment = Environment.of_network(config_of(**options))
    kpis = {"episodes": float(len(returns)), "return": float(np.mean(returns))}
    name = data.storage.metadata.get("algorithm_name") or data.id
    return {
        "environment": environment.as_dict(),
        "behaviours": [{"name": name, "transitions": data.total_steps, "kpis": kpis}],
    }
