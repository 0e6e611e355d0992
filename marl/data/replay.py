"""The replay buffer: the newest transitions of every seed, on the training device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from marl.data.storage import free_bytes, require_like
from marl.data.transitions import COLUMNS, Transitions, check_values, learned_dtype
from marl.team import Team


class Replay:
    """A replay buffer for S seeds, in which every seed has equally many transitions.

    Rows [s * capacity, (s + 1) * capacity) of `stored` belong to seed s.

    Args:
        team: sizes of the environment.
        n_seeds: S.
        capacity: transitions per seed.
        device: device of the tensors.

    Raises:
        ValueError: the free memory cannot hold the buffer, and on the CPU also the copy that a
            checkpoint makes of it.
    """

    def __init__(self, team: Team, n_seeds: int, capacity: int, device: torch.device) -> None:
        self.n_seeds = n_seeds
        self.capacity = capacity
        self.device = device
        self._check_memory(team)
        self.stored = _zeros(team, n_seeds * capacity, device)
        self.first = torch.arange(n_seeds, device=device) * capacity
        self.size = torch.zeros((), dtype=torch.int64, device=device)
        self.added = 0

    def _check_memory(self, team: Team) -> None:
        """Raise ValueError if the full buffer does not fit in memory.

        The system provides the memory only as transitions arrive, which may be hours later.
        """
        copies = 1 if self.device.type == "cuda" else 2
        each = bytes_per_transition(team) * self.n_seeds * copies
        free = free_bytes(self.device)
        needed = each * self.capacity
        if free is not None and needed > free:
            raise ValueError(
                f"replay_capacity = {self.capacity:,} transitions of {self.n_seeds} seeds and "
                f"{team.n_agents} agents need {needed / 2**30:,.1f} GiB, "
                "on the processor with the copy for checkpoints; "
                f"{self.device} has {free / 2**30:,.1f} GiB free, allowed: up to {free // each:,}"
            )

    def add(self, *fields: np.ndarray) -> None:
        """Add E transitions per seed, which replace the oldest ones where the buffer is full.

        Args:
            fields: the fields of `Transitions` in their order, (S, E, ...) each.

        Raises:
            ValueError: as `check_values`; `load` would refuse such values.
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
        """The stored transitions by name, (S, size, ...) each, and the number ``added`` so far."""
        filled = min(self.added, self.capacity)
        fields = {
            name: field.view(self.n_seeds, self.capacity, *field.shape[1:])[:, :filled].contiguous()
            for name, field in self.stored._asdict().items()
        }
        return {**fields, "added": torch.tensor(self.added)}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the state that `tensors` returned.

        Raises:
            ValueError: a tensor is missing, has another shape or type, or holds values that
                `check_values` refuses.
        """
        added = int(tensors["added"])
        filled = min(added, self.capacity)
        own = self.stored._asdict()
        for name, field in own.items():
            shape = self.n_seeds, filled, *field.shape[1:]
            require_like("replay", name, tensors, field.dtype, shape)
        if filled:
            try:
                check_values({name: tensors[name].flatten(0, 1) for name in own})
            except ValueError as error:
                raise ValueError(f"replay: {error}") from None
        self.added = added
        self.size.fill_(filled)
        for name, field in own.items():
            by_seed = field.view(self.n_seeds, self.capacity, *field.shape[1:])
            by_seed[:, :filled].copy_(tensors[name])


def bytes_per_transition(team: Team) -> int:
    """Bytes that one transition occupies as learners read it."""
    return sum(field.nbytes for field in _zeros(team, 1, torch.device("meta")))


def _zeros(team: Team, rows: int, device: torch.device) -> Transitions:
    """Transitions that are all zeros, with leading dimension ``rows``."""
    fields = {}
    for name in Transitions._fields:
        shape = rows, *COLUMNS[name].shape(team)
        fields[name] = torch.zeros(shape, dtype=learned_dtype(name), device=device)
    return Transitions(**fields)
