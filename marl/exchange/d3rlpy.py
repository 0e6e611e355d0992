"""Datasets as the flat arrays of d3rlpy's ``MDPDataset``, cut into episodes at `episode_ends`."""

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
"""The keys of `mdp_arrays`: arguments of ``d3rlpy.dataset.MDPDataset``."""

MAX_UNPACKED = 2**28
"""Bytes that arrays may unpack to however small their file is."""


@known_torch
def episode_ends(dataset: Dataset) -> NDArray[np.bool_]:
    """(n,) bool: whether a row is the last of its episode.

    It is where the environment's episode ended, or where the next row's observation, mask or
    behaviour are not those that followed. Rows of a subset or a mixture rarely follow one another,
    so most of their episodes have one row.
    """
    ends = (dataset.terminated | dataset.truncated).bool()
    # Bits are compared, because one stored observation can only replace two that are identical.
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
    """The arguments of ``d3rlpy.dataset.MDPDataset``, for one agent that takes joint actions.

    Masks, behaviours and metadata are lost, and so is the next observation at a timeout. d3rlpy
    learns nothing from a row with a timeout, and therefore nothing from an episode of one row:
    export whole episodes.

    Returns:
        ``observations`` (n, I * D) float32; ``actions`` (n, 1) int64 from 0 to A^I - 1, with the
        first agent's action as the most significant digit; ``rewards``, ``terminals`` and
        ``timeouts`` (n, 1) float32. A timeout marks where an episode was truncated, or where the
        dataset goes on with something else (`episode_ends`).

    Raises:
        ValueError: there are more joint actions than a learner of this package enumerates.
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
    """Transitions of the network from arrays such as `mdp_arrays` returns.

    The next observation is that of the next row. At a timeout there is none, so that row is left
    out and the row before it ends the episode. At a terminal, where no learner uses the next
    observation, the row's own is repeated. A candidate slot whose SINR and weight are both at the
    observation's lower bounds is taken to be empty, and its action to be illegal.

    Args:
        arrays: by the names in `MDP_ARRAYS`, ``observations`` (n, I * D), all others (n, 1).
        config: the network they were recorded in; the preset ``paper`` where None.
        name: the behaviour's name in the dataset.

    Raises:
        DatasetError: an array is missing or has a wrong shape, flags are not 0 or 1, actions are
            out of range or illegal, or no transition is left.
    """
    check_text("name", name)
    config = RRMConfig() if config is None else config
    team = team_of(config)
    columns = _checked(arrays, team)
    seen = columns["observations"].reshape(-1, team.n_agents, team.n_features)
    terminal, timeout = columns["terminals"] == 1, columns["timeouts"] == 1
    timeout[-1] |= not terminal[-1]  # nothing follows the last row
    kept = ~(timeout & ~terminal)
    if not kept.any():
        raise DatasetError(
            "no transition is left: the arrays hold no next observation, "
            "every episode has one row and ends by a timeout"
        )
    following = np.where(terminal, np.arange(len(seen)), np.arange(1, len(seen) + 1))[kept]
    truncated = (np.append(timeout[1:] & ~terminal[1:], False) & ~terminal)[kept]
    mask = _network_mask(seen, config)
    joint = torch.from_numpy(columns["actions"][kept]).view(1, 1, -1)
    action = _joint_heads(team).actions(joint)[0]
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
    environment = Environment.of_network(config).as_dict()
    metadata = {"environment": environment, "behaviours": [behaviour]}
    return Dataset.from_arrays(rows, metadata)


def read_mdp_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """Read those of `MDP_ARRAYS` that an .npz file has, and nothing else in it.

    Raises:
        DatasetError: there is no such file, it is no .npz file, or its arrays unpack to far more
            than the file's size.
    """
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            members = [f"{name}.npy" for name in MDP_ARRAYS if f"{name}.npy" in archive.namelist()]
            unpacked = sum(archive.getinfo(member).file_size for member in members)
            check_expansion(unpacked, os.fstat(file.fileno()).st_size)
            return {member.removesuffix(".npy"): _unpacked(archive, member) for member in members}
    except OSError as error:
        raise DatasetError(
            f"{str(path)!r} cannot be read as an .npz file: {error.strerror or error}"
        ) from None
    # zipfile, its decompressors and numpy do not document which errors foreign bytes cause.
    except Exception as error:
        reason = str(error)
        if not isinstance(error, ValueError):
            reason = f"{type(error).__name__} {error}".rstrip()
        raise DatasetError(
            f"{str(path)!r} cannot be read as an .npz file: {shortened(reason)}"
        ) from None


def check_expansion(unpacked: int, stored: int) -> None:
    """Check that a file does not announce far larger arrays than recordings compress to.

    Args:
        unpacked: bytes of the arrays.
        stored: bytes of the file.

    Raises:
        ValueError: the arrays have more than `MAX_UNPACKED` bytes and 100 times the file's size.
    """
    if unpacked > max(MAX_UNPACKED, 100 * stored):
        raise ValueError(
            f"its {stored:,} bytes announce arrays of {unpacked:,}; "
            f"allowed: 100 times the file's size, or {MAX_UNPACKED:,}"
        )


def _unpacked(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """Read an array, after checking that its header announces no more than the file holds."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(member) as file:
        shape, _, kind = readers[np.lib.format.read_magic(file)](file)
    if kind.kind not in "biuf":
        raise ValueError(f"{member} must hold numbers, got {kind}")
    if math.prod(shape) * kind.itemsize > archive.getinfo(member).file_size:
        raise ValueError(f"{member} ends before its shape {shape} does")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # at the end of the file this makes zipfile verify its checksum
            raise ValueError(f"{member} goes on after its shape {shape}")
    return array


def _joint_heads(team: Team) -> Heads:
    """The centralised head, which numbers the joint actions."""
    if (joint := team.n_joint_actions) > MAX_JOINT_ACTIONS:
        raise ValueError(
            "MDP arrays number the joint actions, "
            f"of which there may be {MAX_JOINT_ACTIONS:,}: {team} has {joint:,}"
        )
    return Heads("c", team)


def _checked(arrays: Mapping[str, NDArray[Any]], team: Team) -> dict[str, NDArray[Any]]:
    """The arrays after checks (DatasetError), by name.

    Observations are (n, I * D) float32, actions (n,) int64, all others (n,) float32.
    """
    if missing := [name for name in MDP_ARRAYS if name not in arrays]:
        raise DatasetError(
            f"the arrays must be {', '.join(MDP_ARRAYS)}; missing: {', '.join(missing)}"
        )
    n, width = (arrays["observations"].shape or (0,))[0], team.n_agents * team.n_features
    columns: dict[str, NDArray[Any]] = {}
    for name in MDP_ARRAYS:
        is_flat = name != "observations"
        shape = (n, 1) if is_flat else (n, width)
        if arrays[name].shape != shape or not n:
            raise DatasetError(
                f"{name} must have shape {shape} with at least one row, got {arrays[name].shape}"
            )
        if (kind := np.asarray(arrays[name]).dtype).kind not in "biuf":
            raise DatasetError(f"{name} must hold numbers, got {kind}")
        # What float32 cannot hold becomes infinite, and datasets refuse that.
        with np.errstate(over="ignore"):
            column = np.asarray(arrays[name], np.float32)
        columns[name] = column.reshape(n) if is_flat else column
    for name in ("terminals", "timeouts"):
        if (wrong := columns[name][~np.isin(columns[name], (0, 1))]).size:
            raise DatasetError(f"{name} must be 0 or 1, got {wrong[0]:g}")
    joint = _joint_heads(team).n_actions
    # float64 holds every number of a joint action exactly.
    action = np.asarray(arrays["actions"])[:, 0].astype(np.float64)
    if (wrong := action[(action != np.floor(action)) | (action < 0) | (action >= joint)]).size:
        raise DatasetError(f"actions must be whole numbers from 0 to {joint - 1}, got {wrong[0]}")
    return {**columns, "actions": action.astype(np.int64)}


def _network_mask(seen: NDArray[np.float32], config: RRMConfig) -> NDArray[np.uint8]:
    """(n, I, A) uint8: 1 for legal actions, from the observations (n, I, D)."""
    low = Network(config).observation_bounds[0]
    first = np.arange(config.n_candidates) * config.n_candidate_features
    empty = (seen[..., first] == low[first]) & (seen[..., first + 1] == low[first + 1])
    silence = np.ones((*empty.shape[:-1], 1), bool)
    at_levels = np.repeat(~empty, config.n_power_levels, axis=-1)
    return np.concatenate([at_levels, silence], -1).astype(np.uint8)
