"""Speed of playing recorded channels, and the memory that a long recording takes.

``python examples/benchmarks/traces.py`` measures, in turns and by minima:

- ``playing``: environment steps per second of 1,024 episodes side by side, drawn by the kernels and
  played from a trace of the same network, as linear gains and in decibels;
- ``long``: a trace of 16 access points, 160 users and a million steps, written part by part,
  checked, saved, opened and played, with the memory that each of these takes apart from the
  system's file cache.

Writes docs/results/traces.json; ``--quick`` does the same in miniature and writes a file only if
``--json`` names one. The long trace needs 12 GB of disk at ``--folder`` for some minutes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.lib.format import open_memmap

from rrm_env import Network, RRMConfig, Trace, record_trace
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

NETWORKS = {name: RRMConfig.preset(name) for name in ("paper", "wide", "dense")}
LONG = 1_000_000, 16, 160
"""Steps, access points and users of the long trace."""
PART = 4096
"""Steps that are drawn at once."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    quick: bool = False
    """Measure in miniature; a file is written only if ``json`` names one."""
    json: Path | None = None
    """File of the results (default: docs/results/traces.json, none with quick)."""
    folder: Path = Path(tempfile.gettempdir())
    """Folder in which traces are written and removed."""
    rounds: int = 5
    """Measurements of each row of ``playing``, of which the fastest counts."""


def main(options: Options) -> None:
    """Measure, print and write."""
    path = options.json or (None if options.quick else Path("docs/results/traces.json"))
    if path is not None:
        check_writable("json", path)
    episodes, steps = (8, 10) if options.quick else (1024, 100)
    result: dict[str, Any] = {"playing": {}, **origin()}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for name, network in NETWORKS.items():
            row = playing(network, Path(folder), episodes, steps, options.rounds)
            result["playing"][name] = row
            print(name, {key: f"{value:,.2f}" for key, value in row.items()}, flush=True)
        length = 3 * PART if options.quick else LONG[0]
        result["long"] = long_trace(Path(folder), (length, *LONG[1:]))
    for name, value in result["long"].items():
        print(f"{name}: {value:,.3f}" if isinstance(value, float) else f"{name}: {value}")
    if path is not None:
        write_json(path, result)
        print(f"wrote {path}")


def playing(
    config: RRMConfig, folder: Path, episodes: int, steps: int, rounds: int
) -> dict[str, float]:
    """Environment steps per second of each way to get the channels, and ratios to the kernels'."""
    short = replace(config, episode_length=steps)
    linear = record_trace(short, episodes=16).save(folder / "linear.npz")
    slow = linear.arrays["large_scale_gain"]
    decibels = Trace.from_arrays(
        10 * np.log10(linear.gain),
        unit="snr_db",
        step_duration_s=config.step_duration_s,
        large_scale_gain=10 * np.log10(slow),
        ap_positions=linear.ap_positions,
        ue_positions=linear.ue_positions,
    ).save(folder / "decibels.npz")
    networks = {
        "kernels": Network(short, episodes),
        "trace": Network(linear.config(episode_length=steps), episodes),
        "trace_db": Network(decibels.config(episode_length=steps), episodes),
    }
    fastest = dict.fromkeys(networks, np.inf)
    actions = np.zeros((episodes, config.n_aps), np.int64)
    for round_ in range(rounds + 1):  # the first compiles
        for name, network in networks.items():
            network.reset(0)
            began = time.perf_counter()
            for _ in range(steps):
                network.step_actions(actions)
            if round_:
                fastest[name] = min(fastest[name], time.perf_counter() - began)
    speed = {name: episodes * steps / seconds for name, seconds in fastest.items()}
    ratios = {f"{name}_over_kernels": speed[name] / speed["kernels"] for name in [*speed][1:]}
    return speed | ratios


def long_trace(folder: Path, size: tuple[int, int, int]) -> dict[str, Any]:
    """Write, check, save, open and play a trace, with the time and the memory of each."""
    measured: dict[str, Any] = {"steps": size[0], "n_aps": size[1], "n_ues": size[2]}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        made = work()
        measured[f"{name}_s"] = time.perf_counter() - began
        measured[f"{name}_own_mib"] = _own_bytes() / 2**20
        return made

    measured["before_own_mib"] = _own_bytes() / 2**20
    timed("draw", lambda: _drawn(folder / "gain.npy", size))
    gain = np.load(folder / "gain.npy", mmap_mode="r")
    trace = timed(
        "check", lambda: Trace.from_arrays(gain, unit="path_gain_db", step_duration_s=0.05)
    )
    timed("save", lambda: trace.save(folder / "long.npz"))
    measured["file_gib"] = (folder / "long.npz").stat().st_size / 2**30
    opened = timed("open", lambda: Trace.load(folder / "long.npz"))
    network = Network(opened.config(episode_length=200), 256)

    def play() -> None:
        network.reset(0)
        while not network.done:
            network.step_actions(np.zeros((256, size[1]), np.int64))

    timed("play", play)
    measured["env_steps_per_second"] = 256 * 200 / measured["play_s"]
    return measured


def _drawn(path: Path, size: tuple[int, int, int]) -> None:
    """Write path gains that wander, in dB, without holding them all."""
    gain = open_memmap(path, "w+", np.float16, size)
    generator = np.random.default_rng(0)
    level = generator.uniform(-120, -70, size[1:]).astype(np.float32)
    for first in range(0, size[0], PART):
        part = gain[first : first + PART]
        noise = generator.standard_normal((len(part), 1, size[2]), np.float32)
        part[:] = np.clip(level + 3 * noise, -160, -40)
        level += generator.standard_normal(size[1:], np.float32)
        np.clip(level, -120, -70, out=level)
    gain.flush()


def _own_bytes() -> int:
    """Resident memory of this process apart from mapped files; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    lines = [
        line
        for line in status.read_text(encoding="utf-8").splitlines()
        if line.startswith("RssAnon:")
    ]
    return int(lines[0].split()[1]) * 1024 if lines else 0


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
