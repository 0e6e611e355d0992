"""Records the datasets of the figures, and writes a table about them.

``python examples/paper/datasets.py sac-16000`` records that dataset into the study's folder, bit
for bit the one that the figures use, and first trains what its behaviour needs; study.py explains
the names. ``--card docs/datasets_table.md`` also writes the table in the docs: what each dataset
holds, how well its behaviours did, its checksum.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import tyro
from study import Scale, Study

from marl import Dataset
from rrm_env import metrics
from rrm_env.exit_status import GOES_ON, status_of
from rrm_env.files import check_replaceable, write_whole

SIZES = (5_000, 10_000, 16_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000)
NAMES = (
    *(f"sac-{size}" for size in SIZES),
    "dqn-320000",
    "mixture-320000",
    "baselines-320000",
    "max_weight-100000",
    "max_weight:csi=large_scale:exponent=2-100000",
)


_KPI_HEADINGS = " | ".join(metrics.KPIS[kpi].heading for kpi in metrics.PAPER_KPIS)
HEADING = f"| dataset | transitions | behaviour | {_KPI_HEADINGS} | checksum |"
"""First line of the table, by which a file is recognised as one."""


@dataclass(frozen=True)
class Options:
    """Which datasets to record, and where to put them."""

    names: tyro.conf.Positional[tuple[str, ...]] = NAMES
    """Datasets (default: those of all figures)."""
    out: Path = Path("study")
    """Folder of runs and datasets."""
    card: Path | None = None
    """File to write the table to."""


def main(options: Options) -> None:
    """Record missing datasets, and print the size and checksum of each."""
    card = (
        check_replaceable("--card", options.card, "card's table", _is_table)
        if options.card
        else None
    )
    study = Study(options.out, Scale())
    lines = [HEADING, "|---|---:|---|---:|---:|---:|---|"]
    for name in options.names:
        dataset = study.data(name)
        lines.append(_line(name, dataset))
        print(f"{name}: {len(dataset):,} transitions, checksum {dataset.fingerprint()}", flush=True)
    if card:
        write_whole(card, lambda file: file.write(("\n".join(lines) + "\n").encode()))
        print(f"wrote {card}")


def _is_table(path: Path) -> bool:
    return path.read_bytes().startswith(HEADING.encode())


def _line(name: str, dataset: Dataset) -> str:
    """A row of the table; all seeds of a learner are one behaviour there, with their mean KPIs."""
    behaviours: dict[str, list[dict[str, float]]] = {}
    for behaviour in dataset.metadata["behaviours"]:
        behaviours.setdefault(behaviour["name"].partition(", seed")[0], []).append(
            behaviour["kpis"]
        )
    names = [
        f"{who}, {len(kpis)} seeds" if len(kpis) > 1 else who for who, kpis in behaviours.items()
    ]
    columns = [
        [f"{fmean(seed[kpi] for seed in kpis):.3f}" for kpis in behaviours.values()]
        for kpi in metrics.PAPER_KPIS
    ]
    cells = " | ".join(" / ".join(values) for values in (names, *columns))
    return f"| {name} | {len(dataset):,} | {cells} | `{dataset.fingerprint()[:16]}` |"


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__)), interrupted=GOES_ON))
