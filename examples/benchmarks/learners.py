"""How fast the learners train, as ratios to d3rlpy and to matrix products, measured in one run.

The training loop's whole update is timed: drawing a batch, gathering it from the resident dataset,
forward and backward passes, optimiser, target networks and the sums for the log. On CUDA that is
one captured graph, which is replayed.

The peer, d3rlpy, runs in a virtual environment of its own, and trains on the same transitions with
networks of the same sizes. Machines differ and stall, so rows take turns. A figure is the median
over rounds, and a ratio the median, lowest and highest over rounds of the ratio within a round.

The comparison is unequal in three points. Our learners mask illegal actions, normalise observations
and keep the log on the device; d3rlpy does none of that, and reads every loss back. Its DiscreteSAC
has no conservative penalty, ours has one. And d3rlpy trains one seed at a time.

examples/benchmarks/performance.py writes its figures to docs/results/benchmark_learners.json.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
import tyro
from d3rlpy_peer import started
from rich import box
from rich.console import Console
from rich.table import Table

from baselines import REGISTRY
from marl import Dataset, Learner, LearnerConfig, collect
from marl.learner.networks import multiply_adds
from marl.training.stores import DatasetStore, Updates
from rrm_env.exit_status import status_of
from rrm_env.files import check_results, write_json
from rrm_env.provenance import machine, origin, versions

TRANSITIONS, SEED_COUNTS = 20_000, (1, 10)
CUDA_UPDATES = 2000  # where an update takes less than a millisecond
PRODUCTS = LARGE, SMALL = "large torch.mm", "30 x 256³ torch.bmm"
"""Matrix products in float32.

The large one shows the most that the device reaches; the small ones are as many as ten seeds of
three networks have.
"""

FORMULA = (
    "Multiply-adds per update = seeds x heads x batch x (trained x P + target x P + trained x "
    "(2 P - F)): trained networks forward on s, networks of the target forward on s', trained "
    "networks backward without the gradient of their inputs. P = sum over layers of inputs x "
    "outputs, F = the first layer's. Trained: sac C critics and an actor, dqn C critics; target: "
    "sac the actor and C targets, double dqn C critics and C targets. Elementwise work is left out."
)
"""How multiply-adds are counted."""


@dataclass(frozen=True)
class Options:
    """What to measure, and how long."""

    rounds: int = 11
    """Rounds over all rows; figures are medians over rounds."""
    updates: int = 100
    """Updates per row and round, shared among the seeds; on CUDA at least 2,000 of all seeds."""
    threads: int = 0
    """Torch's threads, here and in d3rlpy; 0 leaves torch's choice."""
    device: Literal["cpu", "cuda", "all"] = "all"
    """Device to measure on; all: the CPU, and CUDA if torch finds it."""
    peer_venv: Path | None = None
    """Virtual environment that holds d3rlpy 2.8 (default: pip makes one for this run)."""
    no_peer: bool = False
    """Leave d3rlpy out."""
    json: Path | None = None
    """File to write the figures to."""

    def __post_init__(self) -> None:
        for name, low in (("rounds", 1), ("updates", 1), ("threads", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"--{name} must be at least {low}, got {getattr(self, name)}")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"--device cuda: torch {torch.__version__} finds no CUDA device")
        if self.peer_venv and not (self.peer_venv / "bin" / "python").exists():
            raise ValueError(f"--peer-venv {self.peer_venv} must hold bin/python")


@dataclass(frozen=True)
class Scheme:
    """A scheme to time, and d3rlpy's algorithm of the same kind, if it has one."""

    name: str
    changes: dict[str, Any]
    peer: str | None = None


DQN = Scheme(
    "C-MARL-CQL (DQN), 1 critic",
    {"paradigm": "c", "algorithm": "dqn", "n_critics": 1},
    "DiscreteCQL",
)
SAC = Scheme(
    "C-MARL-CQL (SAC)", {"paradigm": "c", "algorithm": "sac", "n_critics": 2}, "DiscreteSAC"
)
CTDE = Scheme("CTDE-MARL-CQL (SAC)", {"paradigm": "ctde", "algorithm": "sac", "n_critics": 2})
"""Each scheme has as many critics as d3rlpy's algorithm."""


@dataclass
class Row:
    """Something to time: `seconds(n)` runs n updates or matrix products and returns the time."""

    name: str
    device: str
    n: int
    """Updates or products timed per round."""
    seconds: Callable[[int], float]
    seeds: int = 1
    multiply_adds: int = 0
    """Multiply-adds of one update or product; 0 if they are not counted."""
    references: tuple[str, ...] = ()
    """Rows on the same device that it is compared with.

    Products are compared in multiply-adds per second, others in seed-updates per second.
    """


# --- Rows of our own ---


def timer(call: Callable[[], object], device: str) -> Callable[[int], float]:
    """A function that makes n calls, and returns the seconds until the device has done them."""
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None

    def seconds(n: int) -> float:
        wait()
        began = time.perf_counter()
        for _ in range(n):
            call()
        wait()
        return time.perf_counter() - began

    return seconds


def update_multiply_adds(learner: Learner) -> int:
    """Multiply-adds of one update of all seeds, counted as in `FORMULA`."""
    roles = learner.roles
    one, first, trained = (
        multiply_adds(learner.sizes),
        multiply_adds(learner.sizes[:1]),
        roles.trained,
    )
    target = roles.critics + (1 if roles.actor else roles.critics)
    per_input = trained * one + target * one + trained * (2 * one - first)
    return len(learner.seeds) * learner.heads.n_heads * learner.config.batch_size * per_input


def learner_row(
    scheme: Scheme, seeds: int, dataset: Dataset, device: str, updates: int
) -> tuple[Row, Learner]:
    """Row of the training loop's update, offline."""
    learner = Learner(LearnerConfig(**scheme.changes), dataset.team, list(range(seeds)), device)
    update = Updates(learner, DatasetStore(dataset, learner))
    n = max(updates, CUDA_UPDATES) if device == "cuda" else max(1, updates // seeds)
    references = (f"d3rlpy {scheme.peer}", f"d3rlpy {scheme.peer}, update alone", *PRODUCTS)
    return Row(
        scheme.name,
        device,
        n,
        timer(update, device),
        seeds,
        update_multiply_adds(learner),
        references,
    ), learner


def product_rows(device: str) -> list[Row]:
    """Rows of `PRODUCTS`."""
    side, n_large, n_small = (8192, 20, CUDA_UPDATES) if device == "cuda" else (2048, 2, 20)
    large, small = (
        torch.randn(2, side, side, device=device),
        torch.randn(2, 30, 256, 256, device=device),
    )
    large_out, small_out = torch.empty_like(large[0]), torch.empty_like(small[0])
    return [
        Row(
            LARGE,
            device,
            n_large,
            timer(lambda: torch.mm(*large, out=large_out), device),
            multiply_adds=side**3,
        ),
        Row(
            SMALL,
            device,
            n_small,
            timer(lambda: torch.bmm(*small, out=small_out), device),
            multiply_adds=30 * 256**3,
        ),
    ]


# --- Measuring ---


def time_rows(rows: list[Row], rounds: int) -> list[dict[str, Any]]:
    """Time all rows, in turns; the figures of each row."""
    taken: list[list[float]] = [[] for _ in rows]
    for round_ in range(rounds + 1):
        for row, times in zip(rows, taken, strict=True):
            seconds = row.seconds(row.n) / row.n
            if round_ > 0:  # the first round captures graphs, fills caches and warms up the peer
                times.append(seconds)
    return [figure(row, times, rows, taken) for row, times in zip(rows, taken, strict=True)]


def figure(
    row: Row, times: list[float], rows: list[Row], taken: list[list[float]]
) -> dict[str, Any]:
    """A row's rates, medians over rounds, and its ratios to its references, round by round."""
    seconds, ratios = median(times), {}
    for other, theirs in zip(rows, taken, strict=True):
        if other.name in row.references and other.device == row.device:
            work = (
                row.multiply_adds / other.multiply_adds
                if other.name in PRODUCTS
                else row.seeds / other.seeds
            )
            each = [work * their / our for our, their in zip(times, theirs, strict=True)]
            ratios[other.name] = {"median": median(each), "low": min(each), "high": max(each)}
    described = {
        "name": row.name,
        "device": row.device,
        "seeds": row.seeds,
        "timed_per_round": row.n,
        "multiply_adds": row.multiply_adds,
    }
    rates = {
        "ms": 1e3 * seconds,
        "per_second": 1 / seconds,
        "seed_updates_per_second": row.seeds / seconds,
    }
    return {
        **described,
        **rates,
        "giga_multiply_adds_per_second": row.multiply_adds / seconds / 1e9,
        "times": ratios,
    }


def hardware() -> dict[str, Any]:
    """Processor, threads, and the GPU if there is one."""
    found: dict[str, Any] = {**machine(), "threads": torch.get_num_threads()}
    if torch.cuda.is_available():
        found |= {
            "GPU": torch.cuda.get_device_name(),
            "CUDA": torch.version.cuda,
            "TF32": torch.backends.cuda.matmul.allow_tf32,
        }
        found |= {"float32 matmul precision": torch.get_float32_matmul_precision()}
    return found


def aims(figures: list[dict[str, Any]]) -> list[str]:
    """Aims, and what was reached, as lines."""
    rows, lines = {(row["name"], row["device"], row["seeds"]): row for row in figures}, []
    for scheme in (DQN, SAC):
        ratio = rows.get((scheme.name, "cpu", 1), {"times": {}})["times"].get(
            f"d3rlpy {scheme.peer}"
        )
        reached = f"{ratio['median']:.2f}" if ratio else "not measured"
        lines.append(
            f"Aim: {scheme.name} on the CPU, one seed, at least 1.5 times as fast as "
            f"d3rlpy {scheme.peer}. Reached: {reached}."
        )
    fast = rows.get((DQN.name, "cuda", 10))
    reached = f"{fast['seed_updates_per_second']:,.0f}" if fast else "not measured"
    return [
        *lines,
        f"Aim: {DQN.name} on an H200, ten seeds, at least 20,000 seed-updates/s. "
        f"Reached: {reached}.",
    ]


def print_figures(console: Console, figures: list[dict[str, Any]]) -> None:
    """Print the tables of updates and of arithmetic."""
    columns = [
        "device",
        "",
        "seeds",
        "ms per update",
        "updates/s",
        "seed-updates/s",
        "times d3rlpy",
        "times its update alone",
    ]
    updates = Table(*columns, box=box.SIMPLE_HEAD, title="Updates", title_justify="left")
    columns = [
        "device",
        "",
        "seeds",
        "10^6 multiply-adds",
        "10^9 per second",
        *(f"% of {name}" for name in PRODUCTS),
    ]
    arithmetic = Table(
        *columns, box=box.SIMPLE_HEAD, title="Arithmetic, float32", title_justify="left"
    )
    for row in figures:
        times = {
            name: f"{ratio['median']:.2f} ({ratio['low']:.2f}…{ratio['high']:.2f})"
            for name, ratio in row["times"].items()
        }
        if row["name"] not in PRODUCTS:
            rates = (
                f"{row['ms']:,.3f}",
                f"{row['per_second']:,.1f}",
                f"{row['seed_updates_per_second']:,.1f}",
            )
            updates.add_row(
                row["device"],
                row["name"],
                str(row["seeds"]),
                *rates,
                *(times[name] for name in times if name not in PRODUCTS),
            )
        if row["multiply_adds"]:
            cells = (
                f"{row['multiply_adds'] / 1e6:,.0f}",
                f"{row['giga_multiply_adds_per_second']:,.1f}",
            )
            shares = [
                f"{100 * row['times'][name]['median']:.0f}" for name in PRODUCTS if name in times
            ]
            arithmetic.add_row(
                row["device"], row["name"], str(row["seeds"]) if shares else "", *cells, *shares
            )
    console.print(updates, arithmetic, FORMULA, sep="\n")


def main(options: Options) -> None:
    """Measure, print the figures, and write them to the file."""
    path = check_results("--json", options.json) if options.json else None
    if options.threads:
        torch.set_num_threads(options.threads)
    devices = [
        device
        for device in ("cpu", "cuda")
        if options.device in (device, "all") and (device == "cpu" or torch.cuda.is_available())
    ]
    dataset = collect(REGISTRY["random_walk"](), transitions=TRANSITIONS)
    ours = [
        learner_row(scheme, n, dataset, device, options.updates)
        for device in devices
        for scheme in (DQN, SAC, CTDE)
        for n in SEED_COUNTS
    ]
    rows = [row for row, _ in ours] + [row for device in devices for row in product_rows(device)]
    with nullcontext() if options.no_peer else started(options.peer_venv, dataset) as peer:
        timers = peer.timers(devices) if peer else ()
        rows += [Row(name, device, options.updates, seconds) for name, device, seconds in timers]
        figures = time_rows(rows, options.rounds)
    for _, learner in ours:
        learner.check()
    software = {**versions("torch"), "peer": peer.versions if peer else "left out (--no-peer)"}
    console = Console(width=150, highlight=False)
    console.print(
        "; ".join(f"{name} {value}" for name, value in {**hardware(), **software}.items())
    )
    try:
        if path is not None:
            write(path, options, software, figures)
    finally:
        print_figures(console, figures)
        console.print("", *aims(figures), sep="\n")


def write(
    path: Path, options: Options, software: dict[str, Any], figures: list[dict[str, Any]]
) -> None:
    """Write the figures with the options and the machine."""
    # Paths mean something on this machine alone.
    asked = {
        name: value for name, value in asdict(options).items() if name not in ("peer_venv", "json")
    }
    result = {
        **origin(),
        "options": asked,
        "machine": hardware(),
        "versions": software,
        "aims": aims(figures),
        "multiply_adds": FORMULA,
    }
    write_json(path, {**result, "figures": figures})


if __name__ == "__main__":
    sys.exit(
        status_of(
            lambda: main(
                tyro.cli(Options, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
            )
        )
    )
