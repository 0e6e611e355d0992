"""Soak test: a long time under load.

``python tests/reliability/soak.py`` runs, two parts at a time, each in a process of its own:

- 100 million steps of the batched network in the preset ``paper``, and fewer in every other preset,
  with random legal actions, and with a scheduler in one batch of ten;
- one long episode of correlated fading, whose phases grow with time;
- 5 million steps through PettingZoo's dictionaries;
- 24 hours of simulated network time through Gymnasium's vector API with resets in the same step: in
  the preset ``paper`` in each of 16 slots, in the other presets over all slots together;
- eight environments stepped from eight threads at once, against the same ones one after the other.

In every step rates and rewards are finite; regularly all public arrays are finite, within their
bounds, and agree with each other. No episode comes twice. Memory is the resident set, the blocks of
Python's allocator and its objects; their medians in the last tenth are compared with those in the
second tenth (the first is the warm-up). Statistics are values per episode: the first tenth is
compared with the last by Welch's test and that of Kolmogorov and Smirnov, and the slope over all is
tested. The significance level of 0.01 is divided by the number of all comparisons. Seeds are fixed,
so that a second run gives the same verdict.

Writes docs/results/reliability_soak.json, with partial results after every tenth of a part.
``--quick`` does the same in miniature and writes nothing without ``--json``. Needs psutil and
scipy, which the extra ``test`` brings.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from soak_checks import flat
from soak_parts import (
    Record,
    autoreset_part,
    dictionary_part,
    long_episode_part,
    network_part,
    threads_part,
)

from rrm_env import RRMConfig
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

SIGNIFICANCE = 0.01
"""Probability that a correct program fails any of the comparisons."""
DAY_S = 24 * 3600
SLOTS = {"paper": 16, "correlated": 1024, "wide": 64, "dense": 64}
"""Episodes side by side under the vector API."""
QUICK = 400
"""Factor by which ``--quick`` does less."""


@dataclass(frozen=True)
class Options:
    """Options of the soak test."""

    quick: bool = False
    """Do the same in miniature, in seconds."""
    only: tuple[str, ...] = ()
    """Parts to run (default: all)."""
    workers: int = 2
    """Parts that run at the same time."""
    seed: int = 0
    """Seed of the first episodes and of the random actions."""
    json: Path | None = None
    """File of results (default: docs/results/reliability_soak.json, or none with --quick)."""


def parts(quick: bool, seed: int) -> dict[str, Callable[[], Iterator[Record]]]:
    """Return all parts by name, the long ones first."""
    share = 1 / QUICK if quick else 1.0

    def of(preset: str) -> RRMConfig:
        config = RRMConfig.preset(preset)
        return RRMConfig.preset(preset, episode_length=20) if quick else config

    def network(preset: str, batch: int, env_steps: float) -> Callable[[], Iterator[Record]]:
        return lambda: network_part(
            of(preset), max(32, batch // 16) if quick else batch, int(env_steps * share), seed
        )

    def day(preset: str) -> Callable[[], Iterator[Record]]:
        slots = 16 if quick else SLOTS[preset]
        steps = DAY_S / of(preset).step_duration_s / (1 if preset == "paper" else slots)
        return lambda: autoreset_part(of(preset), slots, int(steps * share), seed)

    return {
        "network, paper": network("paper", 1024, 100e6),
        "dictionaries": lambda: dictionary_part(of("paper"), int(5e6 * share), seed),
        **{f"network, {preset}": network(preset, 256, steps) for preset, steps in SHORTER.items()},
        "one long episode, correlated": lambda: long_episode_part(
            RRMConfig.preset("correlated", episode_length=2**31 - 2), 32, int(1e6 * share), seed
        ),
        **{f"24 hours, {preset}": day(preset) for preset in SLOTS},
        "threads": lambda: threads_part(int(20_000 * share) or 50, seed),
    }


SHORTER = {"correlated": 20e6, "wide": 20e6, "dense": 4e6}
"""Env-steps of the batched network in the presets beside ``paper``."""


def work(name: str, quick: bool, seed: int, reports: Any) -> None:
    """Run one part in this process and report every record."""
    began = time.perf_counter()
    try:
        for record in parts(quick, seed)[name]():
            reports.put((name, {**record, "seconds": time.perf_counter() - began}))
    except Exception:
        error = traceback.format_exc(limit=-1).strip()
        reports.put((name, {"error": error, "seconds": time.perf_counter() - began}))


def run(
    names: list[str], options: Options, report: Callable[[str, dict[str, Record]], None]
) -> dict[str, Record]:
    """Run parts and return their records.

    ``report`` is called with a part's name and all records so far whenever that part has advanced.
    """
    context = multiprocessing.get_context("spawn")
    reports, waiting = context.Queue(), list(names)
    running: dict[str, Any] = {}
    known: dict[str, Record] = {name: {} for name in names}
    while waiting or running:
        while waiting and len(running) < options.workers:
            name = waiting.pop(0)
            running[name] = context.Process(
                target=work, args=(name, options.quick, options.seed, reports)
            )
            running[name].start()
        try:
            name, record = reports.get(timeout=1)
        except Empty:
            for name, process in list(running.items()):
                if process.exitcode is not None and reports.empty():
                    error = f"the process ended with exit code {process.exitcode}"
                    known[name] = {"error": error, **known[name]}
                    running.pop(name).join()
            continue
        known[name] = record
        if "share" not in record:
            running.pop(name).join()
        report(name, known)
    return known


def verdicts(found: Mapping[str, Record]) -> dict[str, str]:
    """Return for each part "passes", or what is wrong with it."""
    comparisons = sum(len(record.get("p_values", {})) for record in found.values())
    said = {}
    for name, record in found.items():
        wrong = []
        if "error" in record:
            wrong.append(record["error"].splitlines()[-1])
        elif "env_steps" not in record:
            wrong.append("not finished")
        drifted = [
            f"{test} (p = {p:.1e})"
            for test, p in record.get("p_values", {}).items()
            if p < SIGNIFICANCE / comparisons
        ]
        if drifted:
            wrong.append(f"drift of {', '.join(drifted)}")
        if "memory" in record and not flat(record["memory"]):
            wrong.append(f"memory grew: {record['memory']}")
        said[name] = "; ".join(wrong) or "passes"
    return said


HEADINGS = (
    "env-steps", "episodes", "seconds", "env-steps/s", "arrays\nchecked", "resident\nMiB",
    "growth\nMiB", "blocks", "objects", "compa-\nrisons", "smallest\np",
)  # fmt: skip


def table(found: Mapping[str, Record], said: Mapping[str, str]) -> Table:
    """Return a table for the terminal."""
    grid = Table(title="Soak", box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("")
    for heading in HEADINGS:
        grid.add_column(heading, justify="right")
    grid.add_column("verdict")
    for name, record in found.items():
        memory, p_values = record.get("memory", {}), record.get("p_values", {})
        counts = [f"{record.get(key, 0):,.0f}" for key in ("env_steps", "episodes", "seconds")]
        seconds = record.get("seconds")
        speed = f"{record.get('env_steps', 0) / seconds:,.0f}" if seconds else ""
        mebibytes = [
            f"{memory[key] / 2**20:.1f}" if memory else ""
            for key in ("resident_bytes", "growth_bytes")
        ]
        cells = [
            *counts,
            speed,
            f"{record.get('arrays_checked', 0):,}",
            *mebibytes,
            *(str(memory.get(f"growth_{what}", "")) for what in ("blocks", "objects")),
        ]
        grid.add_row(
            name,
            *cells,
            str(len(p_values)),
            f"{min(p_values.values()):.4f}" if p_values else "",
            said[name],
        )
    return grid


def summary(found: Mapping[str, Record], said: Mapping[str, str], seconds: float) -> str:
    """Return the results in one line."""
    p_values = [p for record in found.values() for p in record.get("p_values", {}).values()]
    steps = sum(record.get("env_steps", 0) for record in found.values())
    growth = max(
        (record["memory"]["growth_bytes"] for record in found.values() if "memory" in record),
        default=0,
    )
    failed = [name for name, verdict in said.items() if verdict != "passes"]
    allowed = f"allowed: {SIGNIFICANCE / len(p_values):.1e}" if p_values else "none made"
    return (
        f"soak: {steps:,} env-steps in {seconds:,.0f} s, "
        f"{len(found) - len(failed)} of {len(found)} parts pass; "
        f"largest growth of memory {growth / 2**20:.1f} MiB; "
        f"smallest p of {len(p_values)} comparisons {min(p_values, default=1.0):.1e} ({allowed})"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )


def main(options: Options) -> int:
    """Run the parts, print and write the results; return 1 if a part fails and 0 otherwise."""
    every = parts(options.quick, options.seed)
    for name in options.only:
        if name not in every:
            raise ValueError(f"only must name parts, {'; '.join(every)}, got {name!r}")
    path = options.json or (None if options.quick else Path("docs/results/reliability_soak.json"))
    path = check_writable("json", path) if path else None
    began, source, console = time.perf_counter(), origin("scipy"), Console(width=200)

    def write(found: dict[str, Record]) -> None:
        if path is not None:
            said = verdicts(found)
            result = {
                **source,
                "significance": SIGNIFICANCE,
                "summary": summary(found, said, time.perf_counter() - began),
            }
            rows = {name: {"verdict": said[name], **record} for name, record in found.items()}
            write_json(path, {**result, "parts": rows})

    def report(name: str, found: dict[str, Record]) -> None:
        write(found)
        how_far = f"{found[name]['share']:.0%}" if "share" in found[name] else "done"
        console.print(f"{time.perf_counter() - began:6.0f} s: {name} {how_far}", highlight=False)

    found = run(list(options.only) or list(every), options, report)
    write(found)
    said = verdicts(found)
    console.print(table(found, said))
    console.print(
        summary(found, said, time.perf_counter() - began), soft_wrap=True, highlight=False
    )
    return int(any(verdict != "passes" for verdict in said.values()))


if __name__ == "__main__":
    sys.exit(status_of(lambda: sys.exit(main(tyro.cli(Options, description=__doc__)))))
