"""Makes all named datasets, and publishes their checksums and the table about them.

``python examples/paper/named_datasets.py --folder FOLDER`` records every dataset of the benchmark
in this process, one after the other, and writes marl/benchmark/checksums.json and the table of
docs/datasets.md. It is run once after a recipe was changed; whoever uses the datasets runs
``python -m marl datasets``, which compares with what is published. With names it records these
alone and keeps the others in the table; ``--rewrite`` makes none and writes the table again.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro

from marl.benchmark.published import Published
from marl.benchmark.recipes import RECIPES, Recipe, names_of
from marl.data.dataset import Dataset
from marl.exchange.statistics import episode_values, state_action_coverage
from rrm_env import metrics, normalised_score
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json, write_whole
from rrm_env.provenance import origin

CHECKSUMS = Path("marl/benchmark/checksums.json")
TABLE = Path("docs/named_datasets_table.md")


@dataclass(frozen=True)
class Options:
    """Which datasets to make, and where to put them."""

    names: tyro.conf.Positional[tuple[str, ...]] = ("all",)
    """Datasets to make: names, or patterns such as paper/*."""
    folder: Path = Path("datasets")
    """Folder for the files, which are deleted again unless they are kept."""
    rewrite: bool = False
    """Make nothing, and write the table from the published checksums."""
    keep: bool = False
    """Keep the files."""
    checksums: Path = CHECKSUMS
    """File of the published checksums."""
    table: Path = TABLE
    """File of the table."""


def main(options: Options) -> None:
    """Make the datasets, and write checksums and table."""
    names = [] if options.rewrite else names_of(options.names)
    path = check_writable("--checksums", options.checksums)
    table = check_writable("--table", options.table)
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"datasets": {}}
    known: dict[str, Any] = old["datasets"]
    for name in names:
        known[name] = asdict(made(RECIPES[name], options.folder, keep=options.keep))
        print(f"{name}: {known[name]}", flush=True)
        facts = origin("torch")
        datasets = {name: known[name] for name in RECIPES if name in known}
        facts = {key: facts[key] for key in ("machine", "versions")}
        write_json(path, {**facts, "datasets": datasets})
    rows = [line(RECIPES[name], Published(**known[name])) for name in RECIPES if name in known]
    lines = [HEADING, RULE, *rows]
    write_whole(table, lambda file: file.write(("\n".join(lines) + "\n").encode()))
    print(f"wrote {table}")


def made(recipe: Recipe, folder: Path, *, keep: bool) -> Published:
    """Record a dataset, and say what is published of it."""
    began = time.perf_counter()
    dataset = recipe.record()
    seconds = time.perf_counter() - began
    path = folder / recipe.network / f"{recipe.tier}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.write(path)
    size = path.stat().st_size
    if not keep:
        path.unlink()
    return facts_of(dataset, size, seconds)


def facts_of(dataset: Dataset, size: int, seconds: float) -> Published:
    """What is published of a dataset whose file has this size."""
    values = episode_values(dataset)
    return Published(
        checksum=dataset.fingerprint(),
        transitions=len(dataset),
        bytes=size,
        seconds=round(seconds, 1),
        score=float(values["score"].mean()),
        worst_rate=float(values["worst_rate"].mean()),
        mean_return=float(values["return"].mean()),
        coverage=state_action_coverage(dataset),
    )


HEADING = (
    f"| dataset | {metrics.KPIS['score'].heading} | normalised | "
    f"{metrics.KPIS['worst_rate'].heading} | return | joint SACo | transitions | MB | seconds | "
    "behaviours | checksum |"
)
RULE = "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|"


def line(recipe: Recipe, facts: Published) -> str:
    """A row of the table."""
    cells = (
        f"`{recipe.name}`",
        f"{facts.score:.3f}",
        f"{normalised_score(facts.score, recipe.config):.0f}",
        f"{facts.worst_rate:.3f}",
        f"{facts.mean_return:,.0f}",
        f"{facts.coverage:.2f}",
        f"{facts.transitions:,}",
        f"{facts.bytes / 1e6:.0f}",
        f"{facts.seconds:.0f}",
        recipe.about,
        f"`{facts.checksum[:16]}`",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(status_of(lambda: main(tyro.cli(Options, description=__doc__))))
