"""Recorded transitions: one safetensors file that says where it came from and refuses to be anything else."""

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
"""Version of the file's layout; raised when a reader of the old one would misread the new one."""

_KIND = "rrm_env transitions"


def check_dataset_path(name: str, path: str | Path) -> Path:
    """The path, if a dataset can be written there and replaces nothing but a dataset (ValueError)."""
    check_utf8(name, path)
    return check_replaceable(name, path, "dataset", _was_dataset)


def _was_dataset(path: Path) -> bool:
    """Whether a file's header says that it is a dataset, whole or damaged, of any schema."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return _KIND.encode() in file.read(min(length, MAX_TEXT))


class DatasetError(ValueError):
    """A file or a set of arrays that is no dataset; the message says what is wrong."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """n transitions of a team of I agents with D observation features and A actions each.

    Arrays that are given are kept, not copied: do not change them afterwards, least of all while something learns from them.

    Raises:
        DatasetError: arrays of contradicting shapes or wrong types, values that are not finite, an illegal action, or metadata that
            describe something else.
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
    """(n, I, D) float32: what followed, also where the episode ended."""
    next_mask: Tensor
    """(n, I, A) uint8."""
    terminated: Tensor
    """(n,) uint8, 1 where nothing follows by the environment's rules."""
    truncated: Tensor
    """(n,) uint8, 1 where the recording of an episode stops for another reason, such as a time limit."""
    behaviour: Tensor
    """(n,) int32, which of `metadata`'s behaviours acted."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """``environment``: its kind and config; ``behaviours``: per id the policy's name, seeds, transitions and KPIs; ``versions``."""

    @known_torch
    def __post_init__(self) -> None:
        if not isinstance(self.metadata, Mapping):
            raise DatasetError(f"metadata must be a mapping, got {shown(self.metadata)}")
        n, team = self._sizes()
        for name, column in COLUMNS.items():
            tensor, shape = getattr(self, name), (n, *column.shape(team))
            kind = getattr(torch, column.dtype)
            if tensor.dtype != kind or tensor.shape != shape:
                found = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
                raise DatasetError(f"{name} must be {kind} of shape {shape}, got {found}")
        self._check_content()

    def _sizes(self) -> tuple[int, Team]:
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
                f"observation and mask must have at least one agent, feature and action, got shapes {shapes[0]} and {shapes[1]}"
            )
        n, agents, features = self.observation.shape
        return n, Team(agents, features, self.mask.shape[-1])

    def _check_content(self) -> None:
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
        """Sizes of the environment."""
        return Team(self.observation.shape[1], self.observation.shape[2], self.mask.shape[2])

    @property
    def environment(self) -> Environment:
        """What was recorded; nothing is known of it where the metadata does not say."""
        return Environment.from_dict(self.metadata.get("environment", {}))

    def tensors(self) -> dict[str, Tensor]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in COLUMNS}

    @known_torch
    def transitions(self, device: torch.device | str = "cpu") -> Transitions:
        """What learners read, on ``device``."""
        return Transitions(
            **{
                name: getattr(self, name).to(device).to(learned_dtype(name))
                for name in Transitions._fields
            }
        )

    @known_torch
    def fingerprint(self) -> str:
        """A checksum of arrays and metadata: equal for equal content, in memory or on disk.

        Of a network's config only what differs from the defaults counts, so that it outlives options added later.
        """
        described = {key: value for key, value in self.metadata.items() if key != "versions"}
        if (network := self.environment.network) is not None:
            defaults = RRMConfig().as_dict()
            changed = {k: value for k, value in network.as_dict().items() if value != defaults[k]}
            described["environment"] = {"kind": "network", "config": changed}
        return checksum(
            {name: tensor.contiguous() for name, tensor in self.tensors().items()},
            json.dumps(described, sort_keys=True),
        )

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]
    ) -> Dataset:
        """A dataset from arrays by name, of any number type; behaviour is 0 where it is left out."""
        given = {"behaviour": np.zeros(len(arrays["reward"])), **arrays}
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(given[name], column.dtype))
            for name, column in COLUMNS.items()
        }
        return cls(**tensors, metadata=metadata)

    # --- Parts and unions ---

    @known_torch
    def subset(self, n: int, seed: int = 0) -> Dataset:
        """``n`` transitions drawn without replacement, in their old order; the same for the same seed.

        Raises:
            TypeError, ValueError: n is not 1 ... len(self), or the seed no integer of at least 0.
        """
        n, seed = (
            bounded_integer("n", n, len(self)),
            bounded_integer("seed", seed, 2**63 - 1, lowest=0),
        )
        chosen = (
            torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))[:n]
            .sort()
            .values
        )
        return Dataset(
            **{name: tensor[chosen] for name, tensor in self.tensors().items()},
            metadata=self.metadata,
        )

    @staticmethod
    @known_torch
    def concatenate(datasets: Sequence[Dataset]) -> Dataset:
        """All transitions, one dataset after the other; behaviours are numbered anew.

        Raises:
            DatasetError: no dataset, or datasets of different environments.
        """
        if not datasets:
            raise DatasetError("datasets must hold at least one dataset, got none")
        first, columns = datasets[0], []
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
        """``n`` transitions in equal shares (the first ones give one more where n does not divide), drawn without replacement."""
        n = bounded_integer("n", n)
        shares = [n // len(datasets) + (k < n % len(datasets)) for k in range(len(datasets))]
        return Dataset.concatenate(
            [
                dataset.subset(share, seed)
                for dataset, share in zip(datasets, shares, strict=True)
                if share
            ]
        )

    # --- Files ---

    @known_torch
    def write(self, path: str | Path) -> None:
        """Write one safetensors file, whole or not at all; the same bytes for the same content.

        Raises:
            ValueError: nothing can be written there, or a file stands there that is no dataset.
            DatasetError: arrays or metadata were changed to what `read` would refuse.
            WriteError: the system refuses to store it, a full disk say.
        """
        target = check_dataset_path("path", path)
        tensors = {
            name: tensor.contiguous().clone() for name, tensor in self.tensors().items()
        }  # fields may share their memory
        Dataset(
            **tensors, metadata=self.metadata
        )  # what would be refused on reading is not written
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
        """Read and verify a file into memory, so that what happens to the file later does not matter.

        Reading takes twice the file's size of memory, the dataset then the file's size.

        Raises:
            DatasetError: missing, truncated, altered, of another kind or schema, or too large for the free memory; the message says
                which.
        """
        where = repr(str(path))
        tensors, metadata = read_safetensors(
            path,
            lambda reason: DatasetError(f"{where} cannot be read as a safetensors file: {reason}"),
        )
        if metadata.get("kind") != _KIND:
            raise DatasetError(
                f"{where} holds no transitions of this package: its kind is {shown(metadata.get('kind'))}, not {_KIND!r}"
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
