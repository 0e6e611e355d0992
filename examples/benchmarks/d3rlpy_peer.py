"""d3rlpy in a virtual environment and a process of its own, as a peer for the learners' benchmark.

d3rlpy's interpreter runs this file as a script, ``python d3rlpy_peer.py DATA --threads N``. It has
none of this project's packages, so nothing of them is imported above functions.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from turns import Peer

if TYPE_CHECKING:
    from marl import Dataset

PACKAGES = ("d3rlpy>=2.8,<2.9", "torch>=2.6,<2.14")
ALGORITHMS = ("DiscreteCQL", "DiscreteSAC")


def work(data: Path, threads: int) -> None:
    """Answer each line "algorithm device part n" with the seconds of n updates.

    d3rlpy's interpreter runs this. Part ``fit`` is its training loop; ``update`` is its `update`
    alone, on one batch.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # d3rlpy's own lines must not mix with the answers
    import d3rlpy
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    torch.set_num_threads(threads)
    arrays = dict(np.load(data))
    size, hidden, n_actions = (
        int(arrays.pop("batch_size")),
        arrays.pop("hidden_sizes").tolist(),
        int(arrays.pop("n_actions")),
    )
    dataset = d3rlpy.dataset.MDPDataset(
        **arrays, action_space=d3rlpy.ActionSpace.DISCRETE, action_size=n_actions
    )
    batch, encoder = (
        dataset.sample_transition_batch(size),
        d3rlpy.models.encoders.VectorEncoderFactory(hidden),
    )
    configs = {
        "DiscreteCQL": d3rlpy.algos.DiscreteCQLConfig(batch_size=size, encoder_factory=encoder),
        "DiscreteSAC": d3rlpy.algos.DiscreteSACConfig(
            batch_size=size, actor_encoder_factory=encoder, critic_encoder_factory=encoder
        ),
    }
    quiet, algorithms = d3rlpy.logging.NoopAdapterFactory(), {}
    print(
        json.dumps(
            {
                "d3rlpy": d3rlpy.__version__,
                "torch": torch.__version__,
                "cuda": torch.cuda.is_available(),
            }
        ),
        file=answers,
    )
    for line in sys.stdin:
        name, device, part, count = line.split()
        if (name, device) not in algorithms:
            algorithms[name, device] = configs[name].create(
                device="cuda:0" if device == "cuda" else "cpu"
            )
            algorithms[name, device].build_with_dataset(dataset)
        algorithm, n = algorithms[name, device], int(count)
        began = time.perf_counter()
        if part == "fit":
            algorithm.fit(
                dataset, n_steps=n, n_steps_per_epoch=n, show_progress=False, logger_adapter=quiet
            )
        else:
            for _ in range(n):
                algorithm.update(batch)
        # No need to wait for the device: each update has read its losses from there.
        print(time.perf_counter() - began, file=answers)


class D3rlpy(Peer):
    """d3rlpy in a process of its own."""

    def __init__(self, python: Path, data: Path) -> None:
        command = [str(python), __file__, str(data), f"--threads={torch.get_num_threads()}"]
        super().__init__(command, data.with_suffix(".txt"))

    def timers(self, devices: list[str]) -> Iterator[tuple[str, str, Callable[[int], float]]]:
        """Name, device and timer of n updates, on each of the devices that its torch has.

        There is one of each algorithm's training loop, and one of its updates alone.
        """
        for device in devices:
            if device == "cpu" or self.described["cuda"]:
                for name in ALGORITHMS:
                    yield f"d3rlpy {name}", device, self.timer(f"{name} {device} fit")
                    alone = f"d3rlpy {name}, update alone"
                    yield alone, device, self.timer(f"{name} {device} update")


@contextmanager
def started(venv: Path | None, dataset: Dataset) -> Iterator[D3rlpy]:
    """Start d3rlpy with the dataset, and end it afterwards.

    Args:
        venv: the virtual environment that holds it; where None, one is made for this run.
        dataset: the transitions to train on.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data.npz"
        export(dataset, data)
        peer = D3rlpy(interpreter(venv, Path(folder)), data)
        try:
            yield peer
        finally:
            peer.close()


def export(dataset: Dataset, path: Path) -> None:
    """Write the transitions as one agent sees them, and the networks' sizes, for d3rlpy."""
    from marl import LearnerConfig

    team = dataset.team
    np.savez(
        path,
        observations=dataset.observation.flatten(1).numpy(),
        actions=(dataset.action.numpy() * team.n_actions ** np.arange(team.n_agents)[::-1]).sum(
            -1, keepdims=True
        ),
        rewards=dataset.reward.unsqueeze(-1).numpy(),
        terminals=dataset.terminated.float().numpy(),
        timeouts=dataset.truncated.float().numpy(),
        n_actions=team.n_actions**team.n_agents,
        batch_size=LearnerConfig.batch_size,
        hidden_sizes=np.array(LearnerConfig.hidden_sizes),
    )


def interpreter(venv: Path | None, folder: Path) -> Path:
    """Interpreter of d3rlpy's virtual environment, which is made in ``folder`` if none is given."""
    if venv is not None:
        return venv / "bin" / "python"
    python = folder / "venv" / "bin" / "python"
    print(
        f"installing {' and '.join(PACKAGES)} for this run; "
        "--peer-venv uses an environment that is there, --no-peer does without"
    )
    try:
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: {error}")
    return python


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="transitions, from `export`")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads (default: 1)")
    work(**vars(parser.parse_args()))
