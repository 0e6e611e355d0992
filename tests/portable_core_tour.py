"""A tour of the public calls that touch the system: files, processes, signals, the console.

`take` works in an empty folder and returns facts that must be the same on every system.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import baselines.__main__ as command
from baselines import REGISTRY
from rrm_env import Network, RRMConfig, Trace, evaluate, parallel_env, record_trace
from rrm_env.exit_status import status_of
from rrm_env.files import append_line
from rrm_env.limits import available_memory, usable_cores
from rrm_env.provenance import facts

SIZES = {"n_aps": 2, "n_ues": 6, "n_candidates": 2, "episode_length": 10}
NETWORK = RRMConfig(**SIZES)  # type: ignore[arg-type] # integers all
OPTIONS = ["--set", *(f"{name}={value}" for name, value in SIZES.items()), "--episodes", "2"]
ENDINGS = ("SIGTERM", "SIGBREAK")
"""Signals that ask a process to end; Linux and macOS lack the second."""


def take(folder: Path) -> dict[str, Any]:
    """The environment, traces, comparisons, pictures, endings and what is left in the folder."""
    append_line(folder / "log", "λ")
    append_line(folder / "log", "×")
    return {
        **_simulated(),
        **_traced(folder),
        **_compared(folder),
        **_ended(),
        "cores": usable_cores() >= 1,
        "memory": available_memory() != 0,
        "machine": sorted(facts()),
        "log": (folder / "log").read_bytes().decode(),
        "files": sorted(path.name for path in folder.iterdir()),
    }


def _simulated() -> dict[str, Any]:
    network = Network(NETWORK, 4, num_threads=2)
    network.reset(3)
    network.step(network.candidates[:, :, 0])
    env = parallel_env(config=NETWORK)
    env.reset(seed=1)
    return {"rates": network.average_rate.tolist(), "agents": env.agents}


def _traced(folder: Path) -> dict[str, Any]:
    saved = record_trace(NETWORK, 7, episodes=8).save(folder / "trace.npz")
    played = evaluate(REGISTRY["tdm"](), saved.config(episode_length=10), episodes=2)
    return {
        "trace": Trace.load(folder / "trace.npz").checksum,
        "played": played.sum_rate.tolist(),
    }


def _compared(folder: Path) -> dict[str, Any]:
    compare = [*OPTIONS, "--schedulers", "tdm,itlinq:tolerance_db=0", "--optimum"]
    written = ["--json", str(folder / "out.json"), "--plot", str(folder / "rates.png")]
    statuses = [command.main([*compare, *written]) for _ in range(2)]  # the second replaces
    video = ["--watch", "tdm", "--video", str(folder / "tdm.gif")]
    statuses.append(command.main([*OPTIONS[:-2], *video]))
    results = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    return {"statuses": statuses, "compared": per_episode(results)}


def _ended() -> dict[str, Any]:
    def raises(name: str) -> Callable[[], object]:
        return lambda: signal.raise_signal(getattr(signal, name))

    ended = {
        name: status_of(raises(name)) - getattr(signal, name)
        for name in ENDINGS
        if hasattr(signal, name)
    }
    shown = status_of(lambda: print("λ × …"))  # noqa: T201 - what an ASCII console cannot show
    return {"ended": sorted(set(ended.values())), "shown": shown}


def per_episode(results: dict[str, Any]) -> dict[str, Any]:
    """The KPIs of every episode, by scheduler, of a file of results."""
    return {name: found["per_episode"] for name, found in results["schedulers"].items()}
