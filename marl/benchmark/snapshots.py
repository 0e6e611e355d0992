"""The learner of the tier ``replay``: what it was at several moments of its training.

All experience of an online learner is recorded anew by playing snapshots of its policy, each for
its share of the steps. The snapshots of a network are one file that comes with the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from marl.benchmark.networks import NETWORKS
from marl.data.storage import described, dump_json, parse_json, read_described, require_like
from marl.graph.files import FOLDER, SNAPSHOTS, SUFFIX
from marl.team import Team, team_of
from rrm_env import Network
from rrm_env.checks import bounded_integer, nearest
from rrm_env.files import write_whole
from rrm_env.power import Decision, decision_of

Floats = NDArray[np.float64]


class SnapshotError(ValueError):
    """A file holds no snapshots of the network's learner, or ones that were altered."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A policy that draws its actions from perceptrons with ReLU units.

    It plays the same on every processor and in batches of every size: it computes with float64
    numbers, one product after the other in a fixed order, and draws from `Network.uniform`.

    Shapes: B episodes, I access points, D features, A actions. K networks: one for each access
    point, or a single one, which serves every access point or chooses the joint action. H heads: I,
    or one that chooses the joint action of M = A^I; otherwise M = A.
    """

    team: Team
    """Sizes of the network that it plays in."""
    layers: Sequence[tuple[Floats, Floats]]
    """Weights (K, inputs, outputs) and biases (K, outputs). The first inputs are an access point's
    own observation (D) or all observations (I * D); the last outputs are logits of M actions."""
    shift: Floats
    """(I, D) or (1, D), subtracted from observations."""
    scale: Floats
    """(I, D) or (1, D), multiplied with what is left."""

    def reset(self, network: Network) -> None:
        """Check the network; the policy has no memory.

        Raises:
            ValueError: the policy was trained for other sizes.
        """
        if (found := team_of(network.config)) != self.team:
            raise ValueError(f"the snapshot was trained for {self.team}, the network has {found}")

    def schedule(self, network: Network) -> Decision:
        """Users and power levels of drawn actions, as `Scheduler.schedule`."""
        uniform = network.uniform(self.n_heads).astype(np.float64)
        chosen = self.drawn(network.observation, network.action_mask, uniform)
        return decision_of(network, chosen)

    @property
    def n_heads(self) -> int:
        """Number of heads, H: how many numbers a decision needs."""
        joint = self.layers[-1][0].shape[-1] != self.team.n_actions
        return 1 if joint else self.team.n_agents

    def drawn(
        self, observation: NDArray[Any], mask: NDArray[Any], uniform: Floats
    ) -> NDArray[np.int64]:
        """Legal actions (B, I) for observations (B, I, D), masks (B, I, A), numbers (B, H)."""
        logits = self.logits(observation)
        joint = self.n_heads != self.team.n_agents
        legal = _joint(mask != 0) if joint else mask != 0
        highest = np.where(legal, logits, -np.inf).max(-1, keepdims=True)
        weights = np.where(legal, np.exp(np.where(legal, logits - highest, 0.0)), 0.0)
        upper = weights.cumsum(-1)
        chosen: NDArray[np.int64] = (upper <= uniform[..., None] * upper[..., -1:]).sum(-1)
        if not joint:
            return chosen
        digits = np.unravel_index(chosen[:, 0], (self.team.n_actions,) * self.team.n_agents)
        return np.stack(digits, -1).astype(np.int64)

    def logits(self, observation: NDArray[Any]) -> Floats:
        """Logits (B, H, M) of observations (B, I, D)."""
        values = (observation.astype(np.float64) - self.shift) * self.scale
        if self.layers[0][0].shape[1] != self.team.n_features:
            values = values.reshape(len(values), 1, -1)
        for depth, (weights, biases) in enumerate(self.layers):
            values = np.maximum(values, 0) if depth else values
            shape = len(values), self.n_heads, weights.shape[-1]
            total = np.broadcast_to(biases, shape).copy()
            # A matrix product would add in an order that depends on the batch and the processor.
            for k in range(weights.shape[1]):
                total += values[..., k, None] * weights[:, k]
            values = total
        return values


def _joint(legal: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether joint actions are legal, (B, 1, A^I), from (B, I, A); the first AP's digit leads."""
    total = legal[:, 0]
    for k in range(1, legal.shape[1]):
        total = (total[:, :, None] & legal[:, k, None, :]).reshape(len(legal), -1)
    return total[:, None]


def snapshots(network: str, path: str | Path | None = None) -> list[tuple[str, Snapshot, int]]:
    """The snapshots of a network's learner, from the first to the last.

    Args:
        network: a name in `marl.benchmark.networks.NETWORKS`.
        path: the file; the one that comes with the package where None.

    Returns:
        The name of each, the scheduler, and its share of the learner's experience, in proportion
        to the shares of the others.

    Raises:
        ValueError: there is no network of this name.
        SnapshotError: the file is missing, altered, or holds no snapshots for this network.
    """
    tensors, description = read_snapshots(network, path)
    team = team_of(NETWORKS[network])
    layers = [
        (tensors[f"weights.{k}"].double().numpy(), tensors[f"biases.{k}"].double().numpy())
        for k in range(len(tensors) // 2 - 1)
    ]
    shift, scale = (tensors[name].double().numpy() for name in ("shift", "scale"))
    return [
        (
            f"snapshot after {steps:,} steps",
            Snapshot(team, [(weights[p], biases[p]) for weights, biases in layers], shift, scale),
            share,
        )
        for p, (steps, share) in enumerate(
            zip(description["steps"], description["shares"], strict=True)
        )
    ]


def write_snapshots(
    path: Path,
    tensors: Mapping[str, Tensor],
    steps: Sequence[int],
    shares: Sequence[int],
    training: Mapping[str, Any],
) -> None:
    """Write the snapshots of a learner, whole or not at all.

    Args:
        path: the file.
        tensors: ``weights.L`` (P, K, inputs, outputs) and ``biases.L`` (P, K, outputs) of P
            snapshots for each layer L, and ``shift`` and ``scale``; see `Snapshot`.
        steps: (P,) environment steps that the learner had taken.
        shares: (P,) parts of the experience that the snapshots stand for.
        training: what was trained, and by which command.
    """
    stored = {
        name: tensor.to(_dtype(name)).contiguous() for name, tensor in sorted(tensors.items())
    }
    text = dump_json({"steps": list(steps), "shares": list(shares), "training": dict(training)})
    content = described(stored, text)
    write_whole(path, lambda file: file.write(content))


def _dtype(name: str) -> torch.dtype:
    """The type in which a file holds a tensor: the networks take half of the usual place."""
    return torch.float32 if name in ("shift", "scale") else torch.float16


def read_snapshots(
    network: str, path: str | Path | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description of a file of snapshots; arguments and errors as `snapshots`."""
    if network not in NETWORKS:
        raise ValueError(f"unknown network {nearest(network, NETWORKS)}")
    path = FOLDER / f"{SNAPSHOTS}{network}{SUFFIX}" if path is None else Path(path)
    where = repr(str(path))
    tensors, text = read_described(path, "snapshots", SnapshotError)
    try:
        description = parse_json(text)
        steps = [bounded_integer("steps", one, 2**53, lowest=0) for one in description["steps"]]
        shares = [bounded_integer("shares", one, 2**53) for one in description["shares"]]
        training = dict(description["training"])
        if not steps or len(steps) != len(shares):
            raise ValueError("steps and shares must be of the same number of snapshots")
        _check(where, tensors, len(steps), team_of(NETWORKS[network]))
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"{where}: it holds no snapshots of {network}: {error}") from None
    return tensors, {"steps": steps, "shares": shares, "training": training}


def _check(where: str, tensors: Mapping[str, Tensor], n: int, team: Team) -> None:
    """Raise ValueError unless tensors are those of n snapshots for a team."""
    depth = next(k for k in count() if f"weights.{k}" not in tensors)
    known = {
        "shift",
        "scale",
        *(f"{kind}.{k}" for kind in ("weights", "biases") for k in range(depth)),
    }
    if depth == 0 or known != tensors.keys():
        raise ValueError(f"tensors must be weights, biases, shift and scale, got {[*tensors]}")
    first, last = tensors["weights.0"], tensors[f"biases.{depth - 1}"]
    n_networks = first.shape[1] if first.ndim == 4 else 0
    if n_networks not in (1, team.n_agents):
        raise ValueError(
            f"weights.0 must be of 1 or {team.n_agents} networks, got shape {tuple(first.shape)}"
        )
    seen = first.shape[2]
    if seen not in (allowed := (team.n_features, team.n_agents * team.n_features)):
        raise ValueError(f"weights.0 must have {allowed[0]} or {allowed[1]} inputs, got {seen}")
    outputs = team.n_actions
    if n_networks == 1 and last.shape[-1] == team.n_joint_actions and seen == allowed[1]:
        outputs = team.n_joint_actions
    widths = [seen, *(tensors[f"biases.{k}"].shape[-1] for k in range(depth - 1)), outputs]
    for k in range(depth):
        shape = n, n_networks, widths[k + 1]
        weights = n, n_networks, widths[k], widths[k + 1]
        require_like(where, f"weights.{k}", tensors, torch.float16, weights)
        require_like(where, f"biases.{k}", tensors, torch.float16, shape)
    rows = tensors["shift"].shape[0] if tensors["shift"].ndim == 2 else 1
    for name in ("shift", "scale"):
        rows = rows if rows in (1, team.n_agents) else 1
        require_like(where, name, tensors, torch.float32, (rows, team.n_features))
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} must be finite")
