"""Exporting datasets to Minari, as episodes, and importing them from there."""

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
from marl.environment import Environment
from marl.exchange.d3rlpy import episode_ends
from marl.exchange.minari_files import check_minari_files
from marl.team import Team
from marl.torch_state import known_torch
from rrm_env import Network, rrm_v0
from rrm_env.arguments import config_of
from rrm_env.checks import shortened, shown
from rrm_env.joint import joint_observation_space
from rrm_env.optional import required
from rrm_env.provenance import __version__
from rrm_env.references import known_reference

_OURS = "rrm_env"
"""Key in Minari's metadata under which an export keeps this package's own metadata."""

MAX_ACTIONS = 2**20
"""Most actions of all agents together: their mask takes one byte each per step."""


class ReferenceReturns(NamedTuple):
    """Mean undiscounted returns of an episode between which Minari normalises."""

    lowest: float
    """That of uniformly random legal actions."""
    highest: float
    """The highest that is known, of an expert."""
    episodes: int
    """Number of episodes in each mean."""


def check_minari_name(option: str, name: str) -> str:
    """Check that Minari can make a dataset of this name.

    Args:
        option: what errors call the name.
        name: the dataset's id, ``(namespace/)name-vN``.

    Returns:
        The name.

    Raises:
        ValueError: Minari is missing, the name has another form or is taken, or Minari's folder
            is relative or cannot be made.
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
    if not path.is_absolute():
        # Minari 0.5.4 prepends the folder twice when it adds up the sizes of files.
        folder = os.environ["MINARI_DATASETS_PATH"]
        raise ValueError(f"{option}: MINARI_DATASETS_PATH must be an absolute path, got {folder!r}")
    if path.exists():
        raise ValueError(
            f"{option} = {name!r} exists already in {str(path)!r}: "
            "choose another name or version, or delete it"
        )
    return name


@known_torch
def to_minari(
    dataset: Dataset,
    name: str,
    *,
    author: str | None = None,
    reference_returns: ReferenceReturns | None = None,
) -> Any:
    """Write a dataset for Minari, in the joint view: one Gymnasium environment for all agents.

    An episode of T steps has observations (T + 1, I, D) float32, actions (T, I) int64 of a
    `MultiDiscrete` and rewards (T,) float32. Its ``infos`` are ``action_mask`` (T + 1, I, A) int8,
    ``behaviour`` (T + 1,) int32 and ``cut`` (T + 1,) int8, which is 1 where the episode is called
    truncated only because the dataset goes on with something else.

    Args:
        dataset: what to export, with its metadata and checksum.
        name: the dataset's id, ``(namespace/)name-vN``. The dataset is written where Minari keeps
            its datasets, whole or not at all.
        author: whom Minari's metadata name.
        reference_returns: mean returns for Minari's ``ref_min_score`` and ``ref_max_score``, from
            which `minari.get_normalized_score` normalises returns, not scores of Eq. 11. Scores are
            normalised by `rrm_env.normalised_score`, whose references are under ``rrm_env`` in the
            metadata where the network has some.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        ValueError: Minari is missing, or the name cannot be used (`check_minari_name`).
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
    view = f"{len(dataset):,} transitions in the joint view of {dataset.team.n_agents} agents"
    try:
        episodes = [
            _episode(dataset, start, stop)
            for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
        ]
        with warnings.catch_warnings():
            # Minari asks for an author and a permalink, which a recording does not have.
            warnings.simplefilter("ignore", UserWarning)
            written = minari.create_dataset_from_buffers(
                name,
                episodes,
                env=spec,
                eval_env=spec,
                observation_space=observations,
                action_space=actions,
                algorithm_name=", ".join(dict.fromkeys(names)),
                description=f"{view}, recorded by rrm_env.",
                requirements=[f"rrm-env>={__version__}"] if spec else None,
                author=author,
            )
        written.storage.update_metadata(_more_metadata(dataset, reference_returns))
    except BaseException:
        shutil.rmtree(get_dataset_path(name), ignore_errors=True)
        raise
    return written


def _more_metadata(dataset: Dataset, returns: ReferenceReturns | None) -> dict[str, Any]:
    """The metadata beside what Minari itself writes: ours, and its reference scores."""
    ours = {"metadata": dict(dataset.metadata), "checksum": dataset.fingerprint()}
    config = dataset.environment.network
    if config is not None and (known := known_reference(config)) is not None:
        ours["score_references"] = known.as_dict()
    if returns is None:
        return {_OURS: ours}
    # Minari writes them only where it can make the environment, which it then does.
    scores = {
        "ref_min_score": returns.lowest,
        "ref_max_score": returns.highest,
        "num_episodes_average_score": returns.episodes,
    }
    return {_OURS: ours, **scores}


@known_torch
def from_minari(source: Any) -> Dataset:
    """Read the transitions of a Minari dataset with discrete actions.

    Of a dataset that `to_minari` wrote they are the same bits as before. Metadata are those of the
    whole recording, also after ``filter_episodes``.

    Any other dataset must have `Discrete` actions, and is of one agent, whose observation is
    flattened; or it has a `MultiDiscrete` of I agents and observations (I, D). Legal are the
    actions in ``infos["action_mask"]``, or all actions without one. Observations become float32,
    and an episode without an end is called truncated.

    Args:
        source: a local dataset's id, or a `minari.MinariDataset`.

    Raises:
        ValueError: Minari is missing.
        DatasetError: there is no such dataset, it has other spaces, or it was altered after this
            package exported it.
    """
    minari = _minari("from_minari")
    try:
        if isinstance(source, str):
            check_minari_files(source)
        data = minari.load_dataset(source) if isinstance(source, str) else source
        return _read(data)
    # Minari asserts, and h5py does not document which errors foreign bytes cause.
    except Exception as error:
        if isinstance(error, DatasetError) and str(error).startswith("Minari dataset"):
            raise
        name = source if isinstance(source, str) else getattr(source, "id", source)
        reason = str(error)
        if not isinstance(error, (OSError, ValueError)):
            reason = f"{type(error).__name__} {error}".rstrip()
        raise DatasetError(
            f"Minari dataset {shown(name)} cannot be read: {shortened(reason)}"
        ) from None


def _read(data: Any) -> Dataset:
    """The transitions of a `minari.MinariDataset`."""
    layout = _layout(data)
    if parts := data.storage.metadata.get("combined_datasets"):
        raise DatasetError(
            f"Minari dataset {data.id!r} combines {', '.join(map(str, parts))} "
            "and no longer tells their behaviours apart: "
            "import each of them, and join them by Dataset.concatenate"
        )
    if not data.total_episodes:  # as after an export that was killed
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
            f"Minari dataset {data.id!r} was altered after it was exported: "
            "its checksum does not match"
        )
    return dataset


def _minari(what: str) -> Any:
    """Minari's module; with ``what`` named in the error, it must be able to use HDF5."""
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
    """Rows start to stop - 1 as one episode, in Minari's buffer."""
    from minari.data_collector import EpisodeBuffer

    def with_next(present: torch.Tensor, following: torch.Tensor) -> NDArray[Any]:
        return np.concatenate([present[start:stop].numpy(), following[stop - 1 : stop].numpy()])

    terminated = dataset.terminated[start:stop].bool().numpy()
    truncated = dataset.truncated[start:stop].bool().numpy().copy()
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
    """Observation and action space of the joint view; only the network's has bounds."""
    team, config = dataset.team, dataset.environment.network
    actions = MultiDiscrete([team.n_actions] * team.n_agents)
    if config:
        return joint_observation_space(Network(config)), actions
    return Box(-np.inf, np.inf, (team.n_agents, team.n_features), np.float32), actions


def _environment_spec(dataset: Dataset) -> EnvSpec | None:
    """The specification from which Minari can make the joint view; None except of the network."""
    config = dataset.environment.network
    if config is None:
        return None
    return dataclasses.replace(gymnasium.spec(rrm_v0.ENV_ID), kwargs=config.as_dict())


class _Layout(NamedTuple):
    """How a Minari dataset's arrays map to a team's."""

    team: Team
    first_action: NDArray[np.int64]
    """(I,) number of each agent's first action."""
    legal: NDArray[np.uint8]
    """(I, A) 1 for the actions that an agent has."""


def _layout(data: Any) -> _Layout:
    """The layout of a Minari dataset, whose spaces must be those of a team (DatasetError)."""
    observation, action = data.observation_space, data.action_space
    counts, first = _discrete(action)
    agents = len(counts)
    if not agents:
        raise DatasetError(
            f"Minari dataset {data.id!r} must have Discrete actions or a MultiDiscrete "
            f"with one per agent, got {action}"
        )
    if not isinstance(observation, Box) or (
        agents > 1 and (len(observation.shape) != 2 or observation.shape[0] != agents)
    ):
        raise DatasetError(
            f"Minari dataset {data.id!r} must have a Box of observations, "
            f"({agents}, D) for {agents} agents, got {observation}"
        )
    if agents * int(counts.max()) > MAX_ACTIONS:
        raise DatasetError(
            f"Minari dataset {data.id!r} must have up to {MAX_ACTIONS:,} actions "
            f"of all agents together, got {action}"
        )
    team = Team(agents, int(np.prod(observation.shape)) // agents, int(counts.max()))
    return _Layout(team, first, (np.arange(team.n_actions) < counts[:, None]).astype(np.uint8))


def _discrete(space: Space[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(I,) number of actions of each agent, and its first action; empty for other spaces."""
    if isinstance(space, Discrete):
        return np.array([space.n], np.int64), np.array([space.start], np.int64)
    if isinstance(space, MultiDiscrete) and space.nvec.ndim == 1:
        return space.nvec.astype(np.int64), space.start.astype(np.int64)
    return np.empty(0, np.int64), np.empty(0, np.int64)


def _columns(episode: Any, layout: _Layout, name: str) -> dict[str, NDArray[Any]]:
    """One episode's transitions, as columns of a dataset."""
    team, n, infos = layout.team, len(episode), episode.infos or {}
    seen = np.asarray(episode.observations, np.float32)
    seen = seen.reshape(n + 1, team.n_agents, team.n_features)
    shape = n + 1, team.n_agents, team.n_actions
    mask = np.asarray(infos.get("action_mask", np.broadcast_to(layout.legal, shape)), np.uint8)
    if mask.size != np.prod(shape):
        raise DatasetError(
            f"action_mask in episode {episode.id} of Minari dataset {name!r} "
            f"must have shape {shape}, got {mask.shape}"
        )
    mask = mask.reshape(shape)
    terminated = np.asarray(episode.terminations, np.uint8)
    truncated = np.asarray(episode.truncations, np.uint8)
    truncated[-1] |= 1 - terminated[-1]
    action = np.asarray(episode.actions, np.int64).reshape(n, team.n_agents)
    if "cut" in infos:
        truncated = truncated - np.asarray(infos["cut"][1:], np.uint8)
    return {
        "observation": seen[:-1],
        "mask": mask[:-1],
        "action": action - layout.first_action,
        "reward": np.asarray(episode.rewards, np.float32),
        "next_observation": seen[1:],
        "next_mask": mask[1:],
        "terminated": terminated,
        "truncated": truncated,
        "behaviour": np.asarray(infos.get("behaviour", np.zeros(n + 1))[1:], np.int32),
    }


def _foreign_metadata(data: Any, returns: list[float]) -> dict[str, Any]:
    """Metadata of a dataset that another program recorded, perhaps in our joint view."""
    environment = Environment(known_name=data.env_spec.id if data.env_spec else data.id)
    if environment.known_name == rrm_v0.ENV_ID and isinstance(data.action_space, MultiDiscrete):
        # The network is made from its options alone: Minari would call whatever the file names.
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
