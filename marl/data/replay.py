"""A ring of the newest transitions of every seed, on the training device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from marl.data.storage import free_bytes, require_like
from marl.data.transitions import COLUMNS, Transitions, check_values, learned_dtype
from marl.team import Team


class Replay:
    """Rows [s * capacity, (s + 1) * capacity) of `stored` belong to seed s; all seeds hold equally many.

    Args:
        team: sizes of the environment.
        n_seeds: S.
        capacity: transitions per seed.
        device: where they live.

    Raises:
        ValueError: the replay, and the copy that a checkpoint makes of it on the CPU, do not fit in the memory that is free.
    """

    def __init__(self, team: Team, n_seeds: int, capacity: int, device: torch.device) -> None:
        self.n_seeds, self.capacity, self.device = n_seeds, capacity, device
        self._check_memory(team)
        self.stored = _zeros(team, n_seeds * capacity, device)
        self.first = torch.arange(n_seeds, device=device) * capacity
        self.size = torch.zeros((), dtype=torch.int64, device=device)
        self.added = 0

    def _check_memory(self, team: Team) -> None:
        """Refuse what does not fit: memory is not taken when zeros are made but as transitions come, hours into a run."""
        each = bytes_per_transition(team) * self.n_seeds * (1 if self.device.type == "cuda" else 2)
        free = free_bytes(self.device)
        if free is not None and each * self.capacity > free:
            raise ValueError(
                f"replay_capacity = {self.capacity:,} transitions of {self.n_seeds} seeds and {team.n_agents} agents need "
                f"{each * self.capacity / 2**30:,.1f} GiB, on the processor with the copy for checkpoints; "
                f"{self.device} has {free / 2**30:,.1f} GiB free, allowed: up to {free // each:,}"
            )

    def add(self, *fields: np.ndarray) -> None:
        """Append E transitions per seed, each field (S, E, ...) in the order of `Transitions`; the oldest give way.

        Raises:
            ValueError: values that no environment may give, and that `load` would refuse.
        """
        given = (torch.from_numpy(np.ascontiguousarray(field)).flatten(0, 1) for field in fields)
        new = dict(zip(Transitions._fields, given, strict=True))
        check_values(new)
        n_new = fields[0].shape[1]
        places = (self.added + torch.arange(n_new)) % self.capacity
        rows = (self.first.unsqueeze(-1) + places.to(self.device)).flatten()
        for name, field in new.items():
            stored = getattr(self.stored, name)
            stored[rows] = field.to(self.device, stored.dtype)
        self.added += n_new
        self.size.fill_(min(self.added, self.capacity))

    def tensors(self) -> dict[str, Tensor]:
        """What has been stored, by name: (S, size, ...) each."""
        filled = min(self.added, self.capacity)
        fields = {
            name: field.view(self.n_seeds, self.capacity, *field.shape[1:])[:, :filled].contiguous()
            for name, field in self.stored._asdict().items()
        }
        return {**fields, "added": torch.tensor(self.added)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` gave.

        Raises:
            ValueError: a tensor is missing or of another shape or type, or holds what no environment gives.
        """
        added = int(tensors["added"])
        filled, own = min(added, self.capacity), self.stored._asdict()
        for name, field in own.items():
            require_like(
                "replay", name, tensors, field.dtype, (self.n_seeds, filled, *field.shape[1:])
            )
        if filled:
            try:
                check_values({name: tensors[name].flatten(0, 1) for name in own})
            except ValueError as error:
                raise ValueError(f"replay: {error}") from None
        self.added = added
        self.size.fill_(filled)
        for name, field in own.items():
            field.view(self.n_seeds, self.capacity, *field.shape[1:])[:, :filled].copy_(
                tensors[name]
            )


def bytes_per_transition(team: Team) -> int:
    """Bytes that one transition takes in a replay."""
    return sum(field.nbytes for field in _zeros(team, 1, torch.device("meta")))


def _zeros(team: Team, rows: int, device: torch.device) -> Transitions:
    return Transitions(
        **{
            name: torch.zeros(
                rows, *COLUMNS[name].shape(team), dtype=learned_dtype(name), device=device
            )
            for name in Transitions._fields
        }
    )
