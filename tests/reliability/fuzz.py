"""Bad input at scale: files, configurations and command lines that nobody would write, given to the package that has to refuse them.

``python tests/reliability/fuzz.py`` mutates small valid files of every kind that the package loads (datasets, checkpoints, replays,
config.json, log.jsonl, d3rlpy's arrays, Minari's folders) and loads each in a process under limits of time and memory. It must be refused
by an error that names it, or load equal to the original. Where no checksum can tell (it was made to fit, or the format has none) other
content may load, if it is valid. Then it draws configurations, networks, learners and command lines. Prints what came of all, writes
docs/results/reliability_fuzz.json, keeps files with findings, and exits with 1 where there is one. ``--quick`` does the same in miniature.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from fuzz_calls import SECTIONS
from fuzz_files import KINDS, Original, build
from fuzz_workers import OUTCOMES, Case, Limits, Verdict, draw_case, mutate, run_cases
from rich.console import Console
from rich.table import Table

from marl.cli.progress import progress
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_whole
from rrm_env.provenance import origin


class FindingError(RuntimeError):
    """Something was neither refused nor right."""


COUNTED = ("dataset", "checkpoint", "replay")
"""Kinds of files that the count is of; the others come on top."""


@dataclass(frozen=True)
class Options:
    """Options of the fuzzer."""

    count: int = 20_000
    """Mutated files of datasets, checkpoints and replays; those of other kinds come on top."""
    calls: int = 1000
    """Draws of each other section: configurations, networks, learners, command lines."""
    seed: int = 0
    """Which files and draws."""
    workers: int = 2
    """Processes side by side."""
    seconds: float = 5.0
    """Time that loading a file may take."""
    megabytes: int = 1024
    """Memory that loading a file may take."""
    only: tuple[str, ...] = ()
    """Sections to run, such as files or networks; all where empty, and only then results are written."""
    findings: Path = Path("fuzz_findings")
    """Folder for files with findings, made where there is one."""
    replay: Path | None = None
    """Judge the case of a finding again; its name says which."""
    quick: bool = False
    """A hundredth of everything, and no results."""


def main(options: Options) -> None:
    """Fuzz, print, write (FindingError)."""
    torch.set_num_threads(1)
    names = ("files", *SECTIONS)
    if unknown := [name for name in options.only if name not in names]:
        raise ValueError(f"unknown section {unknown[0]!r}; allowed: {', '.join(names)}")
    writes = not (options.quick or options.only or options.replay)
    path = (
        check_writable(
            "results", Path(__file__).parents[2] / "docs" / "results" / "reliability_fuzz.json"
        )
        if writes
        else None
    )
    share = 100 if options.quick else 1
    began, found, result = time.perf_counter(), 0, {}
    for name in options.only or names:
        if name == "files":
            result[name] = fuzz_files(options, options.count // share)
        else:
            result[name] = fuzz_calls(name, options, options.calls // share)
        found += result[name]["findings"]
    seconds = time.perf_counter() - began
    print(f"{found} findings in {seconds:.0f} s")
    if path:
        content = {
            "origin": origin("torch", "safetensors", "minari", "h5py"),
            "options": {
                key: value
                for key, value in asdict(options).items()
                if isinstance(value, (int, float))
            },
            "seconds": round(seconds),
            **result,
        }
        write_whole(path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))
        print(f"wrote {path}")
    if found:
        raise FindingError(
            f"{found} findings; those of files are kept in {str(options.findings)!r}"
        )


# --- Files ---


def fuzz_files(options: Options, count: int) -> dict[str, Any]:
    """Judge ``count`` mutated datasets, checkpoints and replays, and the others that are drawn beside them."""
    with tempfile.TemporaryDirectory() as name:
        originals = build(Path(name))
        cases = [_named(options)] if options.replay else _cases(options.seed, count, originals)
        limits, memory, began = Limits(options.seconds, options.megabytes), [0], time.perf_counter()
        verdicts = []
        with progress("files", len(cases)) as advance:
            for verdict in run_cases(
                options.seed, cases, originals, limits, options.workers, memory.append
            ):
                verdicts.append(verdict)
                advance(1)
                if verdict.outcome == "finding":
                    _keep(options, verdict, originals)
        seconds = time.perf_counter() - began
        return _summary(verdicts, originals, seconds, max(memory))


def _cases(seed: int, count: int, originals: Sequence[Original]) -> list[Case]:
    cases: list[Case] = []
    counted = 0
    while counted < count:
        cases.append(draw_case(seed, len(cases), originals))
        counted += originals[cases[-1].original].kind in COUNTED
    return cases


def _named(options: Options) -> Case:
    assert options.replay is not None
    described = json.loads(options.replay.with_suffix(".json").read_text())
    return Case(*described["case"])


def _keep(options: Options, verdict: Verdict, originals: Sequence[Original]) -> None:
    options.findings.mkdir(exist_ok=True)
    path = options.findings / f"seed_{options.seed}_case_{verdict.case.number}"
    path.write_bytes(mutate(options.seed, verdict.case, originals))
    described = {
        "case": verdict.case,
        "seed": options.seed,
        "kind": originals[verdict.case.original].kind,
        "detail": verdict.detail,
    }
    path.with_suffix(".json").write_text(json.dumps(described, indent=1))
    if options.replay:
        print(verdict.detail)


def _summary(
    verdicts: Sequence[Verdict], originals: Sequence[Original], seconds: float, kilobytes: int
) -> dict[str, Any]:
    counts = Counter(
        (originals[verdict.case.original].kind, verdict.case.mutation, verdict.outcome)
        for verdict in verdicts
    )
    table = Table(title="Mutated files", title_justify="left")
    for heading in ("File", "Mutation", "Tried", *(outcome.capitalize() for outcome in OUTCOMES)):
        table.add_column(heading, justify="left" if heading in ("File", "Mutation") else "right")
    rows: list[dict[str, Any]] = []
    for kind, mutation in sorted(
        {(kind, mutation) for kind, mutation, _ in counts},
        key=lambda row: ([*KINDS].index(row[0]), row[1]),
    ):
        numbers = {outcome: counts[kind, mutation, outcome] for outcome in OUTCOMES}
        rows.append({"file": kind, "mutation": mutation, "tried": sum(numbers.values()), **numbers})
        table.add_row(
            kind,
            mutation,
            *(f"{number:,}" for number in (sum(numbers.values()), *numbers.values())),
        )
    Console().print(table)
    totals = {outcome: sum(row[outcome] for row in rows) for outcome in OUTCOMES}
    counted = sum(row["tried"] for row in rows if row["file"] in COUNTED)
    rate = len(verdicts) / seconds
    print(
        f"{len(verdicts):,} mutated files, {counted:,} of them datasets and checkpoints: {totals['refused']:,} refused, "
        f"{totals['equal']:,} loaded equal, {totals['other']:,} loaded as other valid content where no checksum can tell, "
        f"{totals['finding']:,} findings; {rate:.0f} files/s, at most {kilobytes / 1024:.0f} MB"
    )
    return {
        "files": len(verdicts),
        "datasets_and_checkpoints": counted,
        **totals,
        "findings": totals["finding"],
        "seconds": round(seconds),
        "largest_memory_mb": round(kilobytes / 1024),
        "rows": rows,
    }


# --- Everything else ---


def fuzz_calls(name: str, options: Options, count: int) -> dict[str, Any]:
    """Draw ``count`` calls of a section and count what came of them."""
    began, outcomes, findings = time.perf_counter(), Counter[str](), []
    with progress(name, count) as advance:
        for outcome, detail in SECTIONS[name](options.seed, count):
            outcomes[outcome] += 1
            advance(1)
            if outcome == "finding":
                findings.append(detail)
    for detail in findings[:20]:
        print(detail)
    told = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
    print(f"{name}: {outcomes.total():,} drawn in {time.perf_counter() - began:.0f} s: {told}")
    return {
        "tried": outcomes.total(),
        **outcomes,
        "findings": len(findings),
        "seconds": round(time.perf_counter() - began),
    }


if __name__ == "__main__":
    sys.exit(
        status_of(lambda: main(tyro.cli(Options, description=__doc__)), failures=(FindingError,))
    )
