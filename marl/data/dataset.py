"""Datasets of recorded transitions, in memory and as self-describing safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl.data.metadata import check_behaviours, check_versions
from marl.data.storage import (
    MAX_TEXT,
    checksum,
    dump_json,
    parse_json,
    read_safetensors,
    serialised,
)
from marl.data.transitions import COLUMNS, Transitions, check_values, learned_dtype
from marl.environment import Environment
from marl.team import Team
from marl.torch_state import known_torch
from rrm_env import RRMConfig
from rrm_env.checks import bounded_integer, shown
from rrm_env.files import check_replaceable, check_utf8, write_whole
from rrm_env.provenance import versions

SCHEMA = 1
"""Version of the file layout; increased when old readers would misread the new layout."""

_KIND = "rrm_env transitions"


def check_dataset_path(name: str, path: str | Path) -> Path:
    """The path, if a dataset can be written there.

    Args:
        name: name of the argument, for messages.
        path: the path.

    Raises:
        ValueError: nothing can be written there, or a file that is not a dataset stands there.
    """
    check_utf8(name, path)
    return check_replaceable(name, path, "dataset", _was_dataset)


def _was_dataset(path: Path) -> bool:
    """Whether a file's header names a dataset of any schema; the rest may be damaged."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return _KIND.encode() in file.read(min(length, MAX_TEXT))


class DatasetError(ValueError):
    """A file or a set of arrays is not a dataset; the message says why."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """n recorded transitions of I agents with D observation features and A actions each.

    The arrays are kept, not copied. Do not change them later, least of all while a learner reads
    them.

    Raises:
        DatasetError: shapes contradict each other, a type is wrong, a value is not finite, an
            action is illegal, or the metadata do not fit the arrays.
    """

    observation: Tensor
    """(n, I, D) float32."""
    mask: Tensor
    """(n, I, A) uint8, 1 where an action is legal."""
    action: Tensor
    """(n, I) int32, legal."""
    reward: Tensor
    """(n,) float32, shared by the team."""
    next_observation: Tensor
    """(n, I, D) float32, the next observation of the same episode, also where it ended."""
    next_mask: Tensor
    """(n, I, A) uint8."""
    terminated: Tensor
    """(n,) uint8, 1 where the episode ended by the environment's rules."""
    truncated: Tensor
    """(n,) uint8, 1 where the recording of an episode stops otherwise, as at a time limit."""
    behaviour: Tensor
    """(n,) int32, the id of the behaviour that acted, an index of the metadata's behaviours."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The origin of the data.

    ``environment`` is its kind and config, ``behaviours`` holds for each id the policy's name,
    seed, transitions and KPIs, and ``versions`` those of libraries.
    """

    @known_torch
    def __post_init__(self) -> None:
        if not isinstance(self.metadata, Mapping):
            raise DatasetError(f"metadata must be a mapping, got {shown(self.metadata)}")
        n, team = self._sizes()
        for name, column in COLUMNS.items():
            tensor = getattr(self, name)
            shape = n, *column.shape(team)
            dtype = getattr(torch, column.dtype)
            if tensor.dtype != dtype or tensor.shape != shape:
                found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
                raise DatasetError(f"{name} must be {dtype} of shape {shape}, got {found}")
        self._check_content()

    def _sizes(self) -> tuple[int, Team]:
        """The number of transitions n and the team, as observations and masks have them."""
        for name in ("observation", "mask"):
            if getattr(self, name).ndim != 3:
                raise DatasetError(
                    f"{name} must have 3 dimensions, got shape {tuple(getattr(self, name).shape)}"
                )
        if len(self.observation) == 0:
            raise DatasetError("a dataset must hold at least one transition, got none")
        if 0 in (*self.observation.shape, *self.mask.shape):
            shapes = tuple(self.observation.shape), tuple(self.mask.shape)
            raise DatasetError(
                "observation and mask must have at least one agent, feature and action, "
                f"got shapes {shapes[0]} and {shapes[1]}"
            )
        n, agents, features = self.observation.shape
        return n, Team(agents, features, self.mask.shape[-1])

    def _check_content(self) -> None:
        """Check the values of the arrays, and that the metadata fit them."""
        try:
            check_values(self.tensors())
            if int(self.behaviour.min()) < 0:
                raise ValueError(f"behaviour must be at least 0, got {int(self.behaviour.min())}")
            self.environment.require(self.team)
            check_behaviours(self.metadata.get("behaviours", []), int(self.behaviour.max()))
            check_versions(self.metadata.get("versions", {}))
        except (TypeError, ValueError) as error:
            raise DatasetError(str(error)) from None

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def team(self) -> Team:
        """Sizes of the environment: I, D and A."""
        return Team(self.observation.shape[1], self.observation.shape[2], self.mask.shape[2])

    @property
    def environment(self) -> Environment:
        """The environment that was recorded; an unknown one where the metadata lack it."""
        return Environment.from_dict(self.metadata.get("environment", {}))

    def tensors(self) -> dict[str, Tensor]:
        """The arrays by name, not copied."""
        return {name: getattr(self, name) for name in COLUMNS}

    @known_torch
    def transitions(self, device: torch.device | str = "cpu") -> Transitions:
        """The transitions as learners read them, on ``device``."""
        fields = {
            name: getattr(self, name).to(device).to(learned_dtype(name))
            for name in Transitions._fields
        }
        return Transitions(**fields)

    @known_torch
    def fingerprint(self) -> str:
        """SHA-256 of arrays and metadata, the same for equal content in memory or on disk.

        It ignores library versions, and network options that have their default values, so that it
        stays the same when options are added to `RRMConfig`.
        """
        described = {key: value for key, value in self.metadata.items() if key != "versions"}
        if (network := self.environment.network) is not None:
            defaults = RRMConfig().as_dict()
            options = network.as_dict().items()
            changed = {name: value for name, value in options if value != defaults[name]}
            described["environment"] = {"kind": "network", "config": changed}
        contiguous = {name: tensor.contiguous() for name, tensor in self.tensors().items()}
        return checksum(contiguous, json.dumps(described, sort_keys=True))

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> Dataset:
        """A dataset from numpy arrays.

        Args:
            arrays: the dataset's arrays by name, of any number type; ``behaviour`` is 0 where it is
                left out.
            metadata: as `metadata`.

        Raises:
            DatasetError: as the class.
        """
        given = {"behaviour": np.zeros(len(arrays["reward"]), np.int32), **arrays}
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(given[name], column.dtype))
            for name, column in COLUMNS.items()
        }
        return cls(**tensors, metadata=metadata)

    # --- Parts and unions ---

    @known_torch
    def subset(self, n: int, seed: int = 0) -> Dataset:
        """``n`` transitions drawn without replacement, in their old order.

        The same seed draws the same transitions.

        Raises:
            TypeError, ValueError: n is not 1 ... len(self), or the seed is not an integer of at
                least 0.
        """
        n = bounded_integer("n", n, len(self))
        seed = bounded_integer("seed", seed, 2**63 - 1, lowest=0)
        generator = torch.Generator().manual_seed(seed)
        chosen = torch.randperm(len(self), generator=generator)[:n].sort().values
        tensors = {name: tensor[chosen] for name, tensor in self.tensors().items()}
        return Dataset(**tensors, metadata=self.metadata)

    @staticmethod
    @known_torch
    def concatenate(datasets: Sequence[Dataset]) -> Dataset:
        """All transitions, one dataset after the other; behaviours get new ids.

        Raises:
            DatasetError: there is no dataset, or their environments differ.
        """
        if not datasets:
            raise DatasetError("datasets must hold at least one dataset, got none")
        first = datasets[0]
        columns = []
        behaviours: list[dict[str, Any]] = []
        for k, dataset in enumerate(datasets):
            if dataset.team != first.team or dataset.environment != first.environment:
                raise DatasetError(f"datasets[{k}] is of another environment than datasets[0]")
            columns.append({**dataset.tensors(), "behaviour": dataset.behaviour + len(behaviours)})
            behaviours += dataset.metadata.get("behaviours", [])
        joined = {name: torch.cat([column[name] for column in columns]) for name in COLUMNS}
        return Dataset(**joined, metadata={**first.metadata, "behaviours": behaviours})

    @staticmethod
    @known_torch
    def mix(datasets: Sequence[Dataset], n: int, seed: int = 0) -> Dataset:
        """``n`` transitions drawn without replacement, in equal shares from all datasets.

        If the number of datasets does not divide ``n``, the first ones give one more each.

        Raises:
            TypeError, ValueError: a dataset has fewer transitions than its share, environments
                differ, or ``n`` or ``seed`` is out of range.
        """
        n = bounded_integer("n", n)
        shares = [n // len(datasets) + (k < n % len(datasets)) for k in range(len(datasets))]
        pairs = zip(datasets, shares, strict=True)
        return Dataset.concatenate([data.subset(share, seed) for data, share in pairs if share])

    # --- Files ---

    @known_torch
    def write(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all; equal content gives equal bytes.

        Raises:
            ValueError: nothing can be written there, or a file that is not a dataset stands there.
            DatasetError: arrays or metadata have been changed to what `read` would refuse.
            WriteError: the system cannot store the file, on a full disk for example.
        """
        target = check_dataset_path("path", path)
        # Copies, because safetensors does not store fields that share memory.
        tensors = {name: tensor.contiguous().clone() for name, tensor in self.tensors().items()}
        # Arrays may have changed since they were checked: write nothing that `read` would refuse.
        Dataset(**tensors, metadata=self.metadata)
        described = dump_json({**self.metadata, "versions": versions("torch", "safetensors")})
        metadata = {
            "kind": _KIND,
            "schema": str(SCHEMA),
            "description": described,
            "checksum": checksum(tensors, described),
        }
        content = serialised(tensors, metadata)
        write_whole(target, lambda file: file.write(content))

    @classmethod
    @known_torch
    def read(cls, path: str | Path) -> Dataset:
        """Read a file into memory and verify it; later changes of the file have no effect.

        Reading takes memory of twice the file's size, the dataset itself of once the file's size.

        Raises:
            DatasetError: the file is missing, truncated, altered, of another kind or schema, or too
                large for the free memory; the message says which.
        """
        where = repr(str(path))
        tensors, metadata = read_safetensors(
            path,
            lambda reason: DatasetError(f"{where} cannot be read as a safetensors file: {reason}"),
        )
        if metadata.get("kind") != _KIND:
            raise DatasetError(
                f"{where} holds no transitions of this package: "
                f"its kind is {shown(metadata.get('kind'))}, not {_KIND!r}"
            )
        if metadata.get("schema") != str(SCHEMA):
            found = str(metadata.get("schema"))[:20]
            raise DatasetError(
                f"{where} has schema {found}, this version reads {SCHEMA}: collect it again"
            )
        if missing := sorted(COLUMNS.keys() - tensors.keys()):
            raise DatasetError(f"{where} lacks {', '.join(missing)}")
        tensors = {name: tensors[name] for name in COLUMNS}
        described = metadata.get("description", "")
        if metadata.get("checksum") != checksum(tensors, described):
            raise DatasetError(
                f"{where} was altered after it was written: its checksum does not match"
            )
        try:
            return cls(**tensors, metadata=parse_json(described))
        except ValueError as error:
            raise DatasetError(f"{where} holds no dataset: {error}") from None
