"""Files of trained graph policies, of which some come with the package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from marl.data.storage import described, dump_json, parse_json, read_described, require_like
from marl.graph.network import GraphConfig, Parameters
from rrm_env.checks import nearest
from rrm_env.files import write_whole

FOLDER = Path(__file__).parent.parent / "policies"
"""Where the policies are that come with the package."""
SUFFIX = ".safetensors"
SNAPSHOTS = "replay_"
"""First part of the names of files beside them, which hold the learners of the tier ``replay``."""


class PolicyError(ValueError):
    """A file holds no graph policy, or one that was altered."""


def shipped() -> list[str]:
    """Names of the graph policies that come with the package."""
    names = (path.stem for path in FOLDER.glob(f"*{SUFFIX}"))
    return sorted(name for name in names if not name.startswith(SNAPSHOTS))


def write_policy(
    path: Path, config: GraphConfig, parameters: Parameters, seed: int, training: Mapping[str, Any]
) -> None:
    """Write the policy of one of S networks, whole or not at all.

    Args:
        path: the file.
        config: sizes of the network.
        parameters: of S networks.
        seed: which of them, counted from 0.
        training: what it was trained on and by which command.
    """
    chosen = {name: parameters[name][seed].contiguous() for name in sorted(parameters)}
    text = dump_json({"graph": config.as_dict(), "training": dict(training)})
    content = described(chosen, text)
    write_whole(path, lambda file: file.write(content))


def read_policy(policy: str | os.PathLike[str]) -> tuple[GraphConfig, Parameters]:
    """Sizes and parameters, of S = 1 network, of a policy.

    Args:
        policy: the name of one that comes with the package, or its file.

    Raises:
        ValueError: there is no policy of this name.
        PolicyError: the file holds no graph policy, or one that was altered.
    """
    config, parameters, _ = described_policy(policy)
    return config, parameters


def described_policy(
    policy: str | os.PathLike[str],
) -> tuple[GraphConfig, Parameters, dict[str, Any]]:
    """`read_policy`, and how the policy was trained."""
    name, path = os.fspath(policy), Path(policy)
    if path.suffix != SUFFIX:
        if name not in shipped():
            raise ValueError(
                f"unknown policy {nearest(name, shipped())}; a file's name ends in {SUFFIX}"
            )
        path = FOLDER / f"{name}{SUFFIX}"
    where = repr(str(path))
    ordered, text = read_described(path, "graph policy", PolicyError)
    try:
        description = parse_json(text)
        config = GraphConfig.from_dict(description["graph"])
        training = dict(description["training"])
        for layer, (n_inputs, n_outputs) in config.sizes().items():
            for kind, rows in (("weights", n_inputs), ("biases", 1)):
                require_like(where, f"{layer}.{kind}", ordered, torch.float32, (rows, n_outputs))
    except (KeyError, TypeError, ValueError) as error:
        raise PolicyError(f"{where}: it is no graph policy: {error}") from None
    if not all(bool(tensor.isfinite().all()) for tensor in ordered.values()):
        raise PolicyError(f"{where}: its parameters must be finite")
    return config, {name: tensor.unsqueeze(0) for name, tensor in ordered.items()}, training
