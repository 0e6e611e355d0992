"""How fast the learners train, as ratios to d3rlpy and to matrix products, measured in one run.

The training loop's whole update is timed: drawing a batch, gathering it from the resident dataset,
forward and backward passes, optimiser, target networks and the sums for the log. On CUDA that is
one captured graph, which is replayed.

The peer, d3rlpy, runs in a virtual environment of its own, and trains on the same transitions with
networks of the same sizes. Rows take turns, so that ratios within a round say more than figures.
The option ``--before`` times the learners of another checkout of this project in turns with these.

The comparison is unequal in three points. Our learners mask illegal actions, normalise observations
and keep the log on the device; d3rlpy does none of that, and reads every loss back. Its DiscreteSAC
has no conservative penalty, ours has one. And d3rlpy trains one seed at a time.

examples/benchmarks/performance.py writes its figures to docs/results/benchmark_learners.json.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import d3rlpy_peer
import revision_peer
import torch
import tyro
from rich import box
from rich.console import Console
from rich.table import Table
from turns import Peer, Row, time_rows, timer

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
    bfloat16: bool = False
    """Add rows of learners whose matrix products are of bfloat16 numbers."""
    compile: bool = False
    """Add rows of learners whose losses are compiled by torch.compile, on the CPU."""
    before: Path | None = None
    """Another checkout of this project, whose learners are timed in turns with these."""
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
        if self.before and not (self.before / "marl" / "__init__.py").exists():
            raise ValueError(f"--before {self.before} must hold marl/__init__.py")


@dataclass(frozen=True)
class Scheme:
    """A scheme to time, and d3rlpy's algorithm of the same kind, if it has one."""

    name: str
    changes: dict[str, Any]
    peer: str | None = None
    compiled: bool = False
    """Whether torch.compile compiles its losses."""


DQN = Scheme(
    "C-MARL-CQL (DQN), 1 critic",
    {"paradigm": "c", "algorithm": "dqn", "n_critics": 1},
    "DiscreteCQL",
)
SAC = Scheme(
    "C-MARL-CQL (SAC)", {"paradigm": "c", "algorithm": "sac", "n_critics": 2}, "DiscreteSAC"
)
CTDE = Scheme("CTDE-MARL-CQL (SAC)", {"paradigm": "ctde", "algorithm": "sac", "n_critics": 2})
SCHEMES = DQN, SAC, CTDE
"""Each scheme has as many critics as d3rlpy's algorithm."""


def data(transitions: int = TRANSITIONS) -> Dataset:
    """What all learners train on."""
    return collect(REGISTRY["random_walk"](), transitions=transitions)


# --- Rows of our own ---


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
    if scheme.compiled:
        compiled: Any = torch.compile(learner.objective.losses)
        learner.objective = replace(learner.objective, losses=compiled)
    update = Updates(learner, DatasetStore(dataset, learner))
    n = max(updates, CUDA_UPDATES) if device == "cuda" else max(1, updates // seeds)
    peer, plain = f"d3rlpy {scheme.peer}", scheme.name.partition(": ")[0]
    references = (peer, f"{peer}, update alone", f"{plain}: before", plain, *PRODUCTS)
    return Row(
        scheme.name,
        device,
        n,
        timer(update, device),
        seeds,
        update_multiply_adds(learner),
        tuple(name for name in references if name != scheme.name),
        stacks=True,
    ), learner


def variants(options: Options, device: str) -> list[Scheme]:
    """The schemes, and those that are asked for beside them."""
    rounded = [
        replace(one, name=f"{one.name}: bfloat16", changes={**one.changes, "products": "bfloat16"})
        for one in SCHEMES
        if options.bfloat16
    ]
    compiled = [
        replace(one, name=f"{one.name}: compiled", compiled=True)
        for one in SCHEMES
        if options.compile and device == "cpu"
    ]
    return [*SCHEMES, *rounded, *compiled]


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
            is_product=True,
        ),
        Row(
            SMALL,
            device,
            n_small,
            timer(lambda: torch.bmm(*small, out=small_out), device),
            multiply_adds=30 * 256**3,
            is_product=True,
        ),
    ]


# --- Measuring ---


def before(other: Peer, rows: list[Row]) -> list[Row]:
    """Rows of the same updates by the learners of another checkout."""
    numbers = {scheme.name: number for number, scheme in enumerate(SCHEMES)}
    return [
        replace(
            row,
            name=f"{row.name}: before",
            seconds=other.timer(f"{numbers[row.name]} {row.seeds} {row.device}"),
            references=PRODUCTS,
        )
        for row in rows
        if row.name in numbers
    ]


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


def compared(name: str, times: dict[str, str]) -> list[str]:
    """The ratios of a row to d3rlpy, its update alone, the other checkout and the plain scheme."""
    plain = name.partition(": ")[0]
    fit = [other for other in times if other.startswith("d3rlpy") and not other.endswith("alone")]
    alone = [other for other in times if other.endswith("alone")]
    found = *(fit or [""]), *(alone or [""]), f"{plain}: before", plain
    return [times.get(one, "") for one in found]


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
        "times before",
        "times plain",
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
                *compared(row["name"], times),
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
    dataset = data(TRANSITIONS)
    ours = [
        learner_row(scheme, n, dataset, device, options.updates)
        for device in devices
        for scheme in variants(options, device)
        for n in SEED_COUNTS
    ]
    rows = [row for row, _ in ours] + [row for device in devices for row in product_rows(device)]
    software: dict[str, Any] = {**versions("torch"), "peer": "left out (--no-peer)"}
    with ExitStack() as stack:
        if options.before:
            other = stack.enter_context(revision_peer.started(options.before, len(dataset)))
            rows += before(other, rows)
        if not options.no_peer:
            peer = stack.enter_context(d3rlpy_peer.started(options.peer_venv, dataset))
            software["peer"] = peer.described
            timers = peer.timers(devices)
            rows += [Row(name, kind, options.updates, seconds) for name, kind, seconds in timers]
        figures = time_rows(rows, options.rounds)
    for _, learner in ours:
        learner.check()
    console = Console(width=170, highlight=False)
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
        name: value
        for name, value in asdict(options).items()
        if name not in ("peer_venv", "before", "json")
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
