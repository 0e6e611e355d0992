"""Datasets as other libraries keep them, in episodes: rows are cut at `episode_ends`. Here, flat arrays as d3rlpy's ``MDPDataset`` takes
them; Minari's are in `marl.exchange.minari`.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marl.checks import check_text
from marl.data.dataset import Dataset, DatasetError
from marl.data.storage import opened
from marl.environment import Environment
from marl.learner.heads import MAX_JOINT_ACTIONS, Heads
from marl.team import Team, team_of
from marl.torch_state import known_torch
from rrm_env import Network, RRMConfig
from rrm_env.checks import shortened

MDP_ARRAYS = ("observations", "actions", "rewards", "terminals", "timeouts")
"""The keys of `mdp_arrays`, which are the arguments of ``d3rlpy.dataset.MDPDataset``."""

MAX_UNPACKED = 2**28
"""Bytes that compressed arrays may always unpack to."""


@known_torch
def episode_ends(dataset: Dataset) -> NDArray[np.bool_]:
    """(n,) whether the next row does not continue the episode: it ended, or observation, mask or behaviour are not what followed.

    Rows of a subset or a mixture follow one another only by chance, so that most of their episodes have one row.
    """
    ends = (dataset.terminated | dataset.truncated).bool()
    # Compared by their bits: only then does one stored observation stand for both.
    pairs = (
        (dataset.next_observation.view(torch.int32), dataset.observation.view(torch.int32)),
        (dataset.next_mask, dataset.mask),
    )
    for following, present in pairs:
        ends[:-1] |= (following[:-1] != present[1:]).flatten(1).any(1)
    ends[:-1] |= dataset.behaviour[:-1] != dataset.behaviour[1:]
    ends[-1] = True
    return ends.numpy()


@known_torch
def mdp_arrays(dataset: Dataset) -> dict[str, NDArray[Any]]:
    """The dataset as the arguments of ``d3rlpy.dataset.MDPDataset``: all agents as one, which chooses among the joint actions.

    Returns:
        ``observations`` (n, I * D) float32, ``actions`` (n, 1) int64 from 0 to A^I - 1, the first agent's action being the most
        significant digit, ``rewards``, ``terminals`` and ``timeouts`` (n, 1) float32. An episode has a timeout where it was
        truncated, and where the dataset does not go on with what followed.

    Lost are masks, behaviours and metadata, and the next observation at a timeout: d3rlpy learns nothing from such a row, so that
    of an episode cut down to one row nothing is left. Export whole episodes.

    Raises:
        ValueError: more joint actions than a learner of this package enumerates.
    """
    action = _joint_heads(dataset.team).chosen(dataset.action.long().unsqueeze(0))[0, 0]
    terminals = dataset.terminated.numpy().astype(np.float32)
    return {
        "observations": dataset.observation.flatten(1).numpy(),
        "actions": action.unsqueeze(-1).numpy(),
        "rewards": dataset.reward.unsqueeze(-1).numpy(),
        "terminals": terminals[:, None],
        "timeouts": (episode_ends(dataset) * (1 - terminals))[:, None].astype(np.float32),
    }


@known_torch
def from_mdp_arrays(
    arrays: Mapping[str, NDArray[Any]], config: RRMConfig | None = None, name: str = "MDP arrays"
) -> Dataset:
    """Transitions of the network from arrays as `mdp_arrays` gives them.

    A row's next observation is the next row's. The last row of an episode without a terminal has none and is left out: the row
    before it ends the episode then. At a terminal, where no learner asks what follows, the row's own observation stands for it.
    A slot whose SINR and weight are both at the observation's lower bounds is taken for an empty one, whose action is illegal.

    Args:
        arrays: observations (n, I * D), actions (n, 1), rewards (n, 1), terminals (n, 1), timeouts (n, 1).
        config: the network they were recorded in; the preset ``paper`` where None.
        name: what the dataset calls the behaviour.

    Raises:
        DatasetError: a missing array, a wrong shape, flags other than 0 and 1, actions out of range or illegal, nothing left.
    """
    check_text("name", name)
    config = RRMConfig() if config is None else config
    team, columns = team_of(config), _checked(arrays, team_of(config))
    seen = columns["observations"].reshape(-1, team.n_agents, team.n_features)
    terminal, timeout = columns["terminals"] == 1, columns["timeouts"] == 1
    timeout[-1] |= not terminal[-1]  # nothing follows the last row
    kept = ~(timeout & ~terminal)
    if not kept.any():
        raise DatasetError(
            "no transition is left: the arrays hold no next observation, every episode has one row and ends by a timeout"
        )
    following = np.where(terminal, np.arange(len(seen)), np.arange(1, len(seen) + 1))[kept]
    truncated = (np.append(timeout[1:] & ~terminal[1:], False) & ~terminal)[kept]
    mask = _network_mask(seen, config)
    action = _joint_heads(team).actions(torch.from_numpy(columns["actions"][kept]).view(1, 1, -1))[
        0
    ]
    rows = {
        "observation": seen[kept],
        "mask": mask[kept],
        "action": action.numpy(),
        "reward": columns["rewards"][kept],
        "next_observation": seen[following],
        "next_mask": mask[following],
        "terminated": terminal[kept],
        "truncated": truncated,
    }
    behaviour = {"name": name, "transitions": int(kept.sum()), "kpis": {}}
    metadata = {
        "environment": Environment.of_network(config).as_dict(),
        "behaviours": [behaviour],
    }
    return Dataset.from_arrays(rows, metadata)


def read_mdp_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Those of `MDP_ARRAYS` that an .npz file has; whatever else is in it stays unread.

    Raises:
        DatasetError: no such file, one that is none, or arrays that unpack to far more than the file's size.
    """
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            members = [f"{name}.npy" for name in MDP_ARRAYS if f"{name}.npy" in archive.namelist()]
            check_expansion(
                sum(archive.getinfo(member).file_size for member in members),
                os.fstat(file.fileno()).st_size,
            )
            return {member.removesuffix(".npy"): _unpacked(archive, member) for member in members}
    except OSError as error:
        raise DatasetError(
            f"{str(path)!r} cannot be read as an .npz file: {error.strerror or error}"
        ) from None
    except Exception as error:  # zipfile, its decompressors and numpy state no list of what foreign bytes make them raise
        reason = (
            str(error)
            if isinstance(error, ValueError)
            else f"{type(error).__name__} {error}".rstrip()
        )
        raise DatasetError(
            f"{str(path)!r} cannot be read as an .npz file: {shortened(reason)}"
        ) from None


def check_expansion(unpacked: int, stored: int) -> None:
    """Refuse files of ``stored`` bytes that announce ``unpacked`` ones which no recording would be packed from (ValueError)."""
    if unpacked > max(MAX_UNPACKED, 100 * stored):
        raise ValueError(
            f"its {stored:,} bytes announce arrays of {unpacked:,}; allowed: 100 times the file's size, or {MAX_UNPACKED:,}"
        )


def _unpacked(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """An array, of which nothing is allocated before its header is known to say no more than there is."""
    with archive.open(member) as file:
        reader = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(file)]
        shape, _, kind = reader(file)
    if kind.kind not in "biuf":
        raise ValueError(f"{member} must hold numbers, got {kind}")
    if math.prod(shape) * kind.itemsize > archive.getinfo(member).file_size:
        raise ValueError(f"{member} ends before its shape {shape} does")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # which also makes zipfile compare its checksum
            raise ValueError(f"{member} goes on after its shape {shape}")
    return array


def _joint_heads(team: Team) -> Heads:
    """Numbers the joint actions."""
    if (joint := team.n_joint_actions) > MAX_JOINT_ACTIONS:
        raise ValueError(
            f"MDP arrays number the joint actions, of which there may be {MAX_JOINT_ACTIONS:,}: {team} has {joint:,}"
        )
    return Heads("c", team)


def _checked(arrays: Mapping[str, NDArray[Any]], team: Team) -> dict[str, NDArray[Any]]:
    """Observations (n, I * D) float32, actions (n,) int64 and the rest (n,) float32."""
    if missing := [name for name in MDP_ARRAYS if name not in arrays]:
        raise DatasetError(
            f"the arrays must be {', '.join(MDP_ARRAYS)}; missing: {', '.join(missing)}"
        )
    n, width = (arrays["observations"].shape or (0,))[0], team.n_agents * team.n_features
    columns: dict[str, NDArray[Any]] = {}
    for name in MDP_ARRAYS:
        shape = (n, width) if name == "observations" else (n, 1)
        if arrays[name].shape != shape or not n:
            raise DatasetError(
                f"{name} must have shape {shape} with at least one row, got {arrays[name].shape}"
            )
        if (kind := np.asarray(arrays[name]).dtype).kind not in "biuf":
            raise DatasetError(f"{name} must hold numbers, got {kind}")
        with np.errstate(
            over="ignore"
        ):  # what float32 cannot hold becomes infinite, which datasets refuse
            columns[name] = np.asarray(arrays[name], np.float32).reshape(
                shape if name == "observations" else n
            )
    for name in ("terminals", "timeouts"):
        if (wrong := columns[name][~np.isin(columns[name], (0, 1))]).size:
            raise DatasetError(f"{name} must be 0 or 1, got {wrong[0]:g}")
    joint = _joint_heads(team).n_actions
    action = np.asarray(arrays["actions"])[:, 0].astype(
        np.float64
    )  # holds every number that may be one
    if (wrong := action[(action != np.floor(action)) | (action < 0) | (action >= joint)]).size:
        raise DatasetError(f"actions must be whole numbers from 0 to {joint - 1}, got {wrong[0]}")
    return {**columns, "actions": action.astype(np.int64)}


def _network_mask(seen: NDArray[np.float32], config: RRMConfig) -> NDArray[np.uint8]:
    """(n, I, N + 1) which actions are legal, from the observations (n, I, D)."""
    low = Network(config).observation_bounds[0]
    first = np.arange(config.n_candidates) * config.n_candidate_features
    empty = (seen[..., first] == low[first]) & (seen[..., first + 1] == low[first + 1])
    silence = np.ones((*empty.shape[:-1], 1), bool)
    return np.concatenate([~empty, silence], -1).astype(np.uint8)
