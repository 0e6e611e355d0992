"""Fuzzes the package with files, configurations and command lines that nobody would write.

``python tests/reliability/fuzz.py`` damages small valid files of every kind that the package loads
(datasets, checkpoints, replays, config.json, log.jsonl, d3rlpy's arrays, Minari's folders) and
loads each in a process under limits of time and memory. A file must be refused by an error that
names it, or load equal to the original. Where no checksum can tell (it was made to fit, or the
format has none) other valid content may load. Then configurations, networks, learners, command
lines and sweeps are drawn.

Hypothesis draws the cases and shrinks each finding to a small case, which is printed; a file is
also kept in a folder. ``--only SECTION --replay BYTES`` judges it again, where BYTES are those in
the finding's line on ``@reproduce_failure``. The results go to docs/results/reliability_fuzz.json,
and the exit status is 1 where there is a finding. ``--quick`` does a hundredth of everything.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import tyro
from fuzz_calls import SECTIONS
from fuzz_files import file_sections, judge_file, unchanged
from fuzz_kinds import KINDS, Original, build
from fuzz_section import Section, run
from rich.console import Console
from rich.table import Table

from marl.cli.progress import progress
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_whole
from rrm_env.provenance import origin

COUNTED = ("dataset", "checkpoint", "replay")
"""Kinds of files that the count is of; the others come on top."""
OUTCOMES = ("refused", "equal", "other", "fine")
"""Refused by name; loaded equal; loaded as other valid content; done as asked."""
BATCH = 500
"""Cases of one Hypothesis run."""
RESULTS = Path(__file__).parents[2] / "docs" / "results" / "reliability_fuzz.json"


class FindingError(RuntimeError):
    """Something was neither refused nor right."""


@dataclass(frozen=True)
class Options:
    """Options of the fuzzer."""

    count: int = 20_000
    """Number of datasets, checkpoints and replays; files of other kinds come on top."""
    calls: int = 1000
    """Number of configurations, and of networks, learners, command lines and sweeps."""
    seed: int = 0
    """The same seed draws the same cases."""
    workers: int = 2
    """Processes side by side."""
    seconds: float = 5.0
    """Time that loading a file may take."""
    megabytes: int = 1024
    """Memory that loading a file may take."""
    only: tuple[str, ...] = ()
    """Sections to run, such as dataset or networks; results are written only if all are run."""
    findings: Path = Path("fuzz_findings")
    """Folder for the files of findings; it is made when there is one."""
    replay: str = ""
    """Judge the one case again that a finding's line on @reproduce_failure describes."""
    quick: bool = False
    """Do a hundredth of everything and write no results."""


@dataclass
class Tally:
    """What came of a section's cases."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By mutation and outcome."""
    findings: int = 0
    seconds: float = 0.0
    """Of its processes."""


def main(options: Options) -> None:
    """Fuzz, print and write the results.

    Raises:
        FindingError: there was a finding.
    """
    torch.set_num_threads(1)
    began, counts = time.perf_counter(), _counts(options)
    written = not (options.quick or options.only or options.replay)
    path = check_writable("results", RESULTS) if written else None
    tallies, megabytes = _fuzz(options, counts)
    rows = _rows(tallies)
    findings = sum(tally.findings for tally in tallies.values())
    seconds = round(time.perf_counter() - began)
    print(f"{findings} findings in {seconds} s, at most {megabytes} MB")
    if path:
        numbers = {
            key: value for key, value in asdict(options).items() if isinstance(value, (int, float))
        }
        content = {
            "origin": origin("torch", "safetensors", "minari", "h5py", "hypothesis"),
            "options": numbers,
            "seconds": seconds,
            "largest_memory_mb": megabytes,
            "findings": findings,
            "rows": rows,
        }
        write_whole(path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))
        print(f"wrote {path}")
    if findings:
        raise FindingError(f"{findings} findings; their files are in {str(options.findings)!r}")


def _counts(options: Options) -> dict[str, int]:
    """Cases of each section."""
    share = sum(KINDS[kind].weight for kind in COUNTED) * (100 if options.quick else 1)
    counts = {kind: -(-options.count * KINDS[kind].weight // share) for kind in KINDS}
    counts |= dict.fromkeys(SECTIONS, options.calls // (100 if options.quick else 1))
    if unknown := [name for name in options.only if name not in counts]:
        raise ValueError(f"unknown section {unknown[0]!r}; allowed: {', '.join(counts)}")
    if options.replay and len(options.only) != 1:
        raise ValueError("replay needs one section in only")
    return {name: counts[name] for name in options.only or counts}


# --- Processes ---

_sections: dict[str, Section] = {}
"""In a process that judges: all sections by name."""


def _start(originals: Sequence[Original], options: Options, scratch: str) -> None:
    torch.set_num_threads(1)
    tempfile.tempdir = tempfile.mkdtemp(dir=scratch)
    os.chdir(tempfile.tempdir)
    for original in originals:  # Libraries that are imported late do not count for the limits.
        assert judge_file(unchanged(original)) == "equal"
    _sections.update(file_sections(originals, options.seconds, options.megabytes), **SECTIONS)


def _batch(
    name: str, count: int, seed: int, smallest: Path, replay: str
) -> tuple[Counter[tuple[str, str]], str, float, int]:
    """Judge some cases: their outcomes, a finding's text, seconds, and the process's kilobytes."""
    began, outcomes, finding = time.perf_counter(), Counter[tuple[str, str]](), ""
    try:
        run(_sections[name], count, seed, outcomes, smallest, replay)
    except BaseException as error:
        finding = "".join(traceback.format_exception(error))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return outcomes, finding, time.perf_counter() - began, memory


def _fuzz(options: Options, counts: dict[str, int]) -> tuple[dict[str, Tally], int]:
    """Judge all cases, in batches; the tallies, and the most megabytes that a process used."""
    tallies, kilobytes = {name: Tally() for name in counts}, 0
    folder, scratch = options.findings.resolve(), tempfile.mkdtemp()
    context = multiprocessing.get_context("spawn")
    originals = build(Path(scratch)) if counts.keys() & KINDS.keys() else []
    arguments = originals, options, scratch
    with ProcessPoolExecutor(options.workers, context, _start, arguments) as pool:
        names = {}
        for name, count in counts.items():
            for k in range(0, 1 if options.replay else count, BATCH):
                seed = int.from_bytes(f"{options.seed} {k} {name}".encode())
                size = min(BATCH, count - k)
                smallest = folder / f"{name} {seed % 2**32}"
                names[pool.submit(_batch, name, size, seed, smallest, options.replay)] = name
        with progress("cases", sum(counts.values())) as advance:
            for future in as_completed(names):
                name = names[future]
                try:
                    outcomes, finding, seconds, memory = future.result()
                except BrokenProcessPool:
                    raise FindingError(
                        f"a process died; what it was loading lies in {scratch!r}, and its "
                        "traceback stands above if it hung; "
                        f"unfinished: {name}, seed {options.seed}"
                    ) from None
                tallies[name].outcomes += outcomes
                tallies[name].seconds += seconds
                kilobytes = max(kilobytes, memory)
                advance(outcomes.total())
                if finding:
                    tallies[name].findings += 1
                    print(f"{name}: {finding}")
    shutil.rmtree(scratch)
    return tallies, round(kilobytes / 1024)


def _rows(tallies: dict[str, Tally]) -> list[dict[str, Any]]:
    """Print and return outcomes of the cases of each section and of each of its mutations."""
    rows: list[dict[str, Any]] = []
    for name, tally in tallies.items():
        mutations = sorted({mutation for mutation, _ in tally.outcomes})
        for mutation in mutations if mutations == [""] else ["", *mutations]:
            numbers = {
                outcome: sum(
                    number
                    for (label, found), number in tally.outcomes.items()
                    if found == outcome and mutation in ("", label)
                )
                for outcome in OUTCOMES
            }
            drawn = sum(numbers.values())
            rows.append({"section": name, "mutation": mutation or "all", "drawn": drawn, **numbers})
    table = Table("Section", "Mutation")
    for heading in ("drawn", *OUTCOMES):
        table.add_column(heading.capitalize(), justify="right")
    for row in rows:
        cells = (f"{value:,}" if isinstance(value, int) else value for value in row.values())
        table.add_row(*cells)
    Console().print(table)
    return rows


if __name__ == "__main__":
    sys.exit(
        status_of(lambda: main(tyro.cli(Options, description=__doc__)), failures=(FindingError,))
    )
