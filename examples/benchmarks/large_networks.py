"""Cost of the network, the schedulers and the learners in large networks.

``python examples/benchmarks/large_networks.py`` measures the following. Rows of the network and of
learners run in processes of their own, so that their memory can be told.

- The network, up to 64 access points x 1,280 users x 256 episodes: whole episodes with one thread
  and two. Access points are as dense as in the preset ``paper``, 4 in 100 m x 100 m, so the square
  has a side of 50 sqrt(I) metres.
- Every scheduler at the largest size.
- `GreedyMaxWeight` against the exhaustive search of `MaxWeight`, where both run: the objective
  decision by decision, and the KPIs.
- Learners of 32 access points and 160 users, independent and CTDE, with their own networks and with
  shared ones, by SAC and DQN: speed, memory, and the temporal-difference loss in a short training
  on one thread. A learner is called useful if 5,000 updates take less than an hour of one core.
- The errors with which the centralised form, the exhaustive search and a replay that does not fit
  are refused.

Clock times are of the machine as it is. Processor times are of all threads of the process, and
other programs lengthen them little.

Writes docs/results/large_networks.json; ``--quick`` does the same in miniature and writes a file
only if ``--json`` names one.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
import tyro
from large_parts import gap_row, learner_row, network_row
from rich import box
from rich.console import Console
from rich.table import Table
from schedulers import Row, network_of, scheduler_row

from baselines import REGISTRY, GreedyMaxWeight, MaxWeight, RandomWalk
from marl import Learner, LearnerConfig, collect
from marl.data.replay import Replay, bytes_per_transition
from marl.team import team_of
from rrm_env import Network, RRMConfig
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.joint import JointActions
from rrm_env.provenance import origin

SIZES = ((4, 20), (16, 320), (32, 160), (32, 640), (64, 1280))
LARGEST = SIZES[-1]
LEARNERS_AT = 32, 160
BEHAVIOUR = "random_walk:silence=true"
"""Scheduler that learners of a large network learn from.

It takes all legal actions, so that they need no conservative penalty.
"""
USEFUL_MINUTES = 60.0
"""Minutes of one core for 5,000 updates, below which a learner is called useful."""
REFERENCES = (
    "greedy_max_weight",
    "greedy_max_weight:starts=1",
    "greedy_max_weight:csi=large_scale",
    "max_weight",
)
"""Schedulers evaluated on 256 unseen episodes of the preset ``paper``, for docs/baselines.md."""
MEMORY = (
    "greedy_max_weight",
    "greedy_max_weight:starts=1",
    "long_memory",
    "long_memory:users=candidates",
)
"""Schedulers whose speeds at the largest size are compared, in turns, for docs/baselines.md."""


@dataclass(frozen=True)
class Options:
    """How much to measure, and where to put it."""

    quick: bool = False
    """Measure the same in miniature, in seconds."""
    only: tuple[str, ...] = ()
    """Measure these sections alone, and keep the others of the file that ``json`` names: network,
    references, gap, schedulers, memory, refusals, learners."""
    updates: int = 150
    """Updates per learner."""
    threads: int = 1
    """Threads of each learner."""
    workers: int = 2
    """Learners that train at the same time."""
    json: Path | None = None
    """File of the results (default: docs/results/large_networks.json, or none with --quick)."""


def apart(function: Callable[..., Row], *arguments: Any) -> Row:
    """The row that the function returns in a new process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def network_rows(options: Options) -> list[Row]:
    """Cost of the network against its size."""
    sizes, episodes = (SIZES[:2], 8) if options.quick else (SIZES, 256)
    fields = {"episode_length": 5} if options.quick else {}
    return [
        apart(network_row, network_of(*size, **fields), episodes, threads)
        for size in sizes
        for threads in (1, 2)
    ]


def scheduler_rows(options: Options) -> list[Row]:
    """Every scheduler that runs at the largest size."""
    size, fields = (SIZES[1], {"episode_length": 5}) if options.quick else (LARGEST, {})
    names = [name for name in REGISTRY if name != "max_weight"]
    names += [
        "itlinq:tolerance_db=-10",
        "greedy_max_weight:starts=1",
        "greedy_max_weight:csi=large_scale:exponent=2:starts=1",
    ]
    return [
        scheduler_row(name, network_of(*size, **fields), 2 if options.quick else 32)
        for name in names
    ]


def memory_rows(options: Options) -> list[Row]:
    """Speeds of search with and without long memory at the largest size, the best of 4 rounds.

    Each row names the revision and machine that measured it.
    """
    size, fields = (SIZES[1], {"episode_length": 5}) if options.quick else (LARGEST, {})
    config = network_of(*size, **fields)
    best: dict[str, Row] = {}
    for _, name in product(range(1 if options.quick else 4), MEMORY):
        row = scheduler_row(name, config, 2)
        if name not in best or row[_SPEED] > best[name][_SPEED]:
            best[name] = row | origin()
    return [*best.values()]


def gap_rows(options: Options) -> list[Row]:
    """Loss of `GreedyMaxWeight` where exhaustive search runs."""
    paper = RRMConfig()
    settings: list[tuple[RRMConfig, str, int]] = [
        (paper, csi, starts) for csi in ("reported", "large_scale") for starts in (1, 8)
    ]
    settings += [
        (RRMConfig(n_candidates=5), "reported", 8),
        (RRMConfig.preset("wide"), "reported", 8),
        (network_of(8, 40), "reported", 1),
    ]
    settings += [(network_of(8, 40), "reported", 8), (network_of(10, 50), "reported", 8)]
    if options.quick:
        return [gap_row(RRMConfig(episode_length=10), "reported", 8, 4)]
    return [
        gap_row(config, csi, starts, 256 if config.n_aps == 4 else 32)
        for config, csi, starts in settings
    ]


def reference_rows(options: Options) -> list[Row]:
    """Schedulers of `REFERENCES` in the preset ``paper``."""
    return [scheduler_row(name, RRMConfig(), 4 if options.quick else 256) for name in REFERENCES]


def learner_rows(options: Options) -> list[Row]:
    """All decentralised learners of a large network."""
    n_aps, n_ues = (8, 40) if options.quick else LEARNERS_AT
    size = {"hidden_sizes": (16,), "batch_size": 32} if options.quick else {}
    updates, episodes = (20, 2) if options.quick else (options.updates, 16)
    dataset = collect(
        RandomWalk(silence=True),
        network_of(n_aps, n_ues),
        400 if options.quick else 20_000,
        name=BEHAVIOUR,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.safetensors"
        dataset.write(path)
        changes = [
            {
                "paradigm": paradigm,
                "algorithm": algorithm,
                "share_parameters": shared,
                "cql_alpha": 0.0,
                **size,
            }
            for paradigm, algorithm, shared in product(("i", "ctde"), ("sac", "dqn"), (False, True))
        ]
        with ThreadPoolExecutor(options.workers) as pool:
            return list(
                pool.map(
                    lambda each: apart(learner_row, each, path, updates, episodes, options.threads),
                    changes,
                )
            )


def refusals(_: Options) -> list[Row]:
    """Errors of what cannot be done in a large network."""
    config = network_of(*LEARNERS_AT)
    team, largest = team_of(config), network_of(*LARGEST)
    attempts: dict[str, Callable[[], object]] = {
        "centralised learner": lambda: Learner(LearnerConfig(paradigm="c"), team, [0]),
        "exhaustive search": lambda: MaxWeight().reset(Network(largest)),
        "flat joint actions": lambda: JointActions(config, flat=True),
        "replay of 10 seeds": lambda: Replay(team, 10, 100_000_000, torch.device("cpu")),
    }
    return [{"attempt": name, "error": _error_of(attempt)} for name, attempt in attempts.items()]


def _error_of(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except ValueError as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nothing was refused")


def data_sizes() -> Row:
    """Bytes of transitions of the large network that learners are measured in."""
    n_aps, n_ues = LEARNERS_AT
    each = bytes_per_transition(team_of(network_of(n_aps, n_ues)))
    recorded = collect(GreedyMaxWeight(starts=1), network_of(n_aps, n_ues), 200)
    stored = (
        sum(
            getattr(recorded, name).nbytes
            for name in ("observation", "mask", "action", "next_observation", "next_mask")
        )
        // 200
    )
    return {
        "n_aps": n_aps,
        "replay_bytes_per_transition": each,
        "dataset_bytes_per_transition": stored,
    }


SECTIONS: dict[str, Callable[[Options], list[Row]]] = {
    "network": network_rows,
    "references": reference_rows,
    "gap": gap_rows,
    "schedulers": scheduler_rows,
    "memory": memory_rows,
    "refusals": refusals,
    "learners": learner_rows,
}

Cell = Callable[[Row], str]


def _mebibytes(row: Row) -> str:
    return f"{row['peak_bytes'] / 2**20:,.0f}" if row["peak_bytes"] else "unknown"


def _scheme(row: Row) -> str:
    networks = "shared" if row["share_parameters"] else "own"
    return f"{row['paradigm']} {row['algorithm']}, {networks} networks"


_KPIS: dict[str, Cell] = {
    "scheduler": lambda row: row["scheduler"],
    "episodes": lambda row: str(row["episodes"]),
    "sum rate": lambda row: f"{row['sum_rate']['mean']:.2f}",
    "5-percentile": lambda row: f"{row['tail_rate']['mean']:.4f}",
    "score": lambda row: "{mean:.4f} ({low:.4f}…{high:.4f})".format(**row["score"]),
    "silent %": lambda row: f"{100 * row['silent_share']:.0f}",
    "steps/s": lambda row: f"{row['steps_per_second']:,.0f}",
}
_SPEED = "steps_per_processor_second"
TABLES: dict[str, tuple[str, dict[str, Cell]]] = {
    "network": (
        "Network: whole episodes side by side",
        {
            "I x J x episodes": lambda row: (
                f"{row['n_aps']} x {row['n_ues']:,} x {row['episodes']}"
            ),
            "threads": lambda row: str(row["threads"]),
            "ms per step of all": lambda row: f"{1e3 * row['step_s']:,.2f}",
            "env-steps/s": lambda row: f"{row['env_steps_per_second']:,.0f}",
            "ns per link, clock / processor": lambda row: (
                f"{row['ns_per_link']:.2f} / {row['processor_ns_per_link']:.2f}"
            ),
            "s for all steps": lambda row: f"{row['all_steps_s']:,.1f} ({row['steps']})",
            "s for reset": lambda row: f"{row['reset_s']:.2f}",
            "bytes per episode": lambda row: f"{row['bytes_per_episode']:,}",
            "peak MiB": _mebibytes,
        },
    ),
    "schedulers": (f"Schedulers, {LARGEST[0]} x {LARGEST[1]:,}", _KPIS),
    "gap": (
        "GreedyMaxWeight over MaxWeight: the objective per decision, and scores",
        {
            "I x J, N": lambda row: (
                f"{row['n_aps']} x {row['n_ues']}, {row['n_candidates']} "
                f"in {row['area_side_m']:.0f} m"
            ),
            "joint actions": lambda row: f"{row['joint_actions']:,}",
            "csi": lambda row: row["csi"],
            "starts": lambda row: str(row["starts"]),
            "decisions": lambda row: f"{row['decisions']:,}",
            "mean ratio": lambda row: f"{row['ratio_mean']:.5f}",
            "1st percentile": lambda row: f"{row['ratio_first_percentile']:.3f}",
            "lowest": lambda row: f"{row['ratio_lowest']:.3f}",
            "optimal %": lambda row: f"{100 * row['optimal_share']:.1f}",
            "µs greedy / exact": lambda row: (
                f"{row['greedy_us_per_decision']:,.1f} / {row['exact_us_per_decision']:,.1f}"
            ),
            "score difference": lambda row: "{mean:+.4f} ({low:+.4f}…{high:+.4f})".format(
                **row["score_difference"]
            ),
        },
    ),
    "references": ("Preset paper", _KPIS),
    "memory": (
        f"Search with and without long memory, {LARGEST[0]} x {LARGEST[1]:,}",
        {**_KPIS, "steps/s": lambda row: f"{row[_SPEED]:,.0f} per processor"},
    ),
    "learners": (
        f"Learners, {LEARNERS_AT[0]} x {LEARNERS_AT[1]}, offline from {BEHAVIOUR}",
        {
            "learner": _scheme,
            "parameters": lambda row: f"{row['parameters']:,}",
            "updates": lambda row: str(row["updates"]),
            "ms, clock / processor": lambda row: (
                f"{1e3 * row['update_s']:,.0f} / {1e3 * row['processor_s']:,.0f}"
            ),
            "min. for 5,000": lambda row: f"{row['minutes_for_5000_updates']:.0f}",
            "peak MiB": _mebibytes,
            "TD loss, first and last tenth": lambda row: "{:,.2f} → {:,.2f}".format(
                *row["td_loss"]
            ),
            "mean |TD error|": lambda row: "{:,.2f} → {:,.2f}".format(*row["td_error"]),
            "score, before and after": lambda row: "{:.3f} → {:.3f}".format(*row["score"]),
        },
    ),
    "refusals": ("Refused", {"": lambda row: row["attempt"], "error": lambda row: row["error"]}),
}


def table(section: str, rows: list[Row]) -> Table:
    """A section's table for the terminal."""
    title, columns = TABLES[section]
    grid = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for k, heading in enumerate(columns):
        grid.add_column(heading, justify="left" if k == 0 or section == "refusals" else "right")
    for row in rows:
        grid.add_row(*(cell(row) for cell in columns.values()))
    return grid


def summary(found: Mapping[str, Any]) -> list[str]:
    """Conclusions, one line per section."""
    lines = []
    if "network" in found:
        row = found["network"][-2]
        size, seconds = (
            f"{row['n_aps']} x {row['n_ues']:,} x {row['episodes']} episodes",
            f"{row['all_steps_s']:,.1f} s on one thread",
        )
        cost = f"{row['processor_ns_per_link']:.2f} ns of the processor per link"
        lines.append(
            f"network: {size}, {row['steps']} steps in {seconds}, {cost}, "
            f"{_mebibytes(row)} MiB at most"
        )
    if "gap" in found:
        lowest = 100 * min(row["ratio_mean"] for row in found["gap"] if row["starts"] > 1)
        lines.append(
            f"gap: from 8 starts the substitute reaches {lowest:.2f} % "
            "of exhaustive search's objective or more, on average"
        )
    if "learners" in found:
        rows = found["learners"]
        slowest, falls = (
            max(row["minutes_for_5000_updates"] for row in rows),
            sum(row["td_loss"][1] < row["td_loss"][0] for row in rows),
        )
        verdict = "useful" if slowest < USEFUL_MINUTES else "not useful"
        lines.append(
            f"learners: 5,000 updates take {slowest:.0f} minutes of a core or less "
            f"({verdict}, allowed: {USEFUL_MINUTES:.0f}); "
            f"the loss falls in {falls} of {len(rows)}"
        )
    return lines


def main(options: Options) -> None:
    """Measure, print the tables, and write the results."""
    for name in options.only:
        if name not in SECTIONS:
            raise ValueError(f"only must name sections, {', '.join(SECTIONS)}, got {name!r}")
    path = options.json or (
        None if options.quick or options.only else Path("docs/results/large_networks.json")
    )
    path = check_writable("json", path) if path else None
    console, found = Console(width=200), {**origin("torch"), "data": data_sizes()}
    if options.only and path and path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
    for name in options.only or SECTIONS:
        found[name] = SECTIONS[name](options)
        if path:
            write_json(path, found)
        console.print(table(name, found[name]))
    console.print(*summary(found), sep="\n", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
