"""Kills real commands with SIGKILL and checks that no file is half-written and no work is lost.

``python tests/reliability/kills.py`` runs every command once undisturbed, then in fresh folders
with kills at random moments, up to three in a row for the same work: half of them at any moment of
the measured duration, half as soon as a file is being written. After each kill everything in the
folder that can be loaded is loaded; then the command is run again. When it has ended, what it left
is compared with the undisturbed result, byte for byte except for durations. The results go to
docs/results/reliability_kills.json. ``--quick`` kills a handful of times.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro
from kills_checks import check_loadable, contents, temporaries
from rich.console import Console
from rich.table import Table

from marl.runs.description import DESCRIPTION
from rrm_env.checks import bounded_integer
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_json
from rrm_env.provenance import origin

ROOT = Path(__file__).resolve().parents[2]
IN_A_ROW = 3
"""Most kills of the same work before it may finish."""


class FaultError(RuntimeError):
    """Something half-written could be loaded, or finished work was lost."""


@dataclass(frozen=True)
class Options:
    """Options of the script."""

    kills: int = 60
    """Number of kills in all."""
    seed: int = 0
    """Seed of the moments."""
    quick: bool = False
    """Kill two commands a handful of times; results are written only with --json."""
    json: Path | None = None
    """File of results (default: docs/results/reliability_kills.json)."""


@dataclass(frozen=True)
class Work:
    """Commands that are run in a folder of their own."""

    name: str
    stages: tuple[str, ...]
    """Arguments of Python, for one command after the other."""
    given: tuple[str, ...] = ()
    """Commands that make its inputs, in the folder ``../given``."""
    sweep: str = ""
    """Content of the file ``../given/sweep.toml``."""
    resumes: bool = False
    """Whether a rerun takes --resume if there is a run already."""
    quick: bool = False
    """Whether --quick includes it."""

    def command(self, stage: str, folder: Path) -> list[str]:
        """Return the command that a user would type now."""
        words = [sys.executable, *shlex.split(stage)]
        started = (folder / "run" / DESCRIPTION).exists()
        return [*words, "--resume"] if self.resumes and started else words


_COLLECT = "-m marl collect --out data.safetensors --transitions 20000"
BRIEF = (
    "--log-every 10 --checkpoint-every 20 --evaluate-every 20 --evaluation-episodes 2 "
    "--batch-size 64 --seeds 2"
)
_OFFLINE = f"-m marl train --out run --dataset ../given/data.safetensors {BRIEF}"
_ONLINE = (
    f"-m marl train --out run --algorithm dqn {BRIEF} --learning-starts 512 --envs-per-seed 4 "
    "--replay-capacity 4000"
)
_TRAIN = (
    "-m marl train --out run --dataset data.safetensors --updates 20 --log-every 20 "
    "--evaluation-episodes 2"
)

_SWEEP = """
seeds = 2
seeds_per_cell = 1
[collect]
transitions = 4000
[train]
algorithm = ["dqn", "sac"]
updates = 40
log_every = 10
checkpoint_every = 20
evaluate_every = 40
evaluation_episodes = 2
batch_size = 64
[evaluate]
episodes = 4
schedulers = "tdm"
"""

WORKS = (
    Work("collect", (_COLLECT,), quick=True),
    Work("train offline", (f"{_OFFLINE} --updates 80",), given=(_COLLECT,), resumes=True),
    Work("train online", (f"{_ONLINE} --updates 80",), resumes=True, quick=True),
    Work(
        "train longer and longer",
        tuple(f"{_ONLINE} --updates {updates}" for updates in (20, 60, 100)),
        resumes=True,
    ),
    Work(
        "evaluate",
        ("-m marl evaluate ../given/run --schedulers tdm,itlinq --json out.json --plot out.png",),
        given=(_COLLECT, _TRAIN),
    ),
    Work(
        "sweep",
        ("-m marl sweep ../given/sweep.toml --out sweep --engine local --workers 2",),
        sweep=_SWEEP,
    ),
    Work("figure script", (f"{ROOT / 'examples' / 'paper' / 'figure_4.py'} --quick --out study",)),
)


@dataclass
class Tally:
    """Counts of one kind of work."""

    seconds: float = 0.0
    """Duration of the undisturbed work."""
    kills: int = 0
    during_a_write: int = 0
    """Kills that left a temporary file behind."""
    reruns: int = 0
    results: int = 0
    """Reruns that came to the end."""
    equal: int = 0
    """Results that equal those of the undisturbed work."""
    faults: list[str] = field(default_factory=list)
    """What should not have happened."""


# --- Processes ---


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH", "")) if part)
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> str:
    """Kill the whole group if it still runs, and return what it wrote to standard error."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[1].strip()[-500:]


def finish(command: list[str], folder: Path, watch: Callable[[], object] = lambda: None) -> float:
    """Run the command to its end, calling ``watch`` meanwhile, and return its duration in seconds.

    Raises:
        RuntimeError: it failed.
    """
    began, process = time.monotonic(), start(command, folder)
    try:
        while process.poll() is None:
            watch()
            time.sleep(0.001)
    finally:
        said = end(process)
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command[1:])} ended with {process.returncode}: {said}")
    return time.monotonic() - began


# --- Killing ---


class Bench:
    """One kind of work, its undisturbed result, and what happened so far.

    Args:
        work: what to do.
        folder: where to do it; an existing one.
        generator: draws the moments.
    """

    def __init__(self, work: Work, folder: Path, generator: np.random.Generator) -> None:
        self.work, self.folder, self.tally = work, folder, Tally()
        self._generator = generator
        (folder / "given").mkdir()
        (folder / "given" / "sweep.toml").write_text(work.sweep)
        for command in work.given:
            finish([sys.executable, *shlex.split(command)], folder / "given")
        reference, seen = folder / "reference", set[str]()
        reference.mkdir()
        last = work.stages[-1]
        self.tally.seconds = finish(
            work.command(last, reference), reference, lambda: seen.update(temporaries(reference))
        )
        self._writes, self._expected = max(1, len(seen)), contents(reference)

    def chain(self, kills: int) -> None:
        """Kill the work and its reruns up to ``kills`` times, let the last finish, and compare."""
        folder = Path(tempfile.mkdtemp(prefix="killed-", dir=self.folder))
        stages = list(self.work.stages)
        try:
            for _ in range(kills):
                while stages and not self._killed(stages[0], folder):
                    stages.pop(0)  # it had ended before the kill
                if not stages:
                    break
                self.tally.kills += 1
                self.tally.reruns += 1
                check_loadable(folder)
            for stage in stages:
                finish(self.work.command(stage, folder), folder)
        except (RuntimeError, ValueError, OSError) as error:
            self.tally.faults.append(f"{self.work.name}: {error}")
            return
        self.tally.results += 1
        found = contents(folder)
        self.tally.equal += found == self._expected
        self.tally.faults += [
            f"{self.work.name}: {name} differs"
            for name in sorted(found.keys() | self._expected.keys())
            if found.get(name) != self._expected.get(name)
        ]

    def _killed(self, stage: str, folder: Path) -> bool:
        """Run a stage and kill it at a random moment; return whether it was killed before its end.

        Raises:
            RuntimeError: it ended before that moment with an error.
        """
        aims_at_write = self._generator.random() < 0.5
        moment = self._generator.uniform(0, self.tally.seconds)
        write = int(self._generator.integers(1, self._writes + 1))
        before, seen = temporaries(folder), set[str]()
        process, began = start(self.work.command(stage, folder), folder), time.monotonic()
        try:
            while process.poll() is None:
                if aims_at_write:
                    seen |= temporaries(folder) - before
                    time.sleep(0.0001)
                elif time.monotonic() - began < moment:
                    time.sleep(0.001)
                if len(seen) >= write if aims_at_write else time.monotonic() - began >= moment:
                    break
        finally:
            said = end(process)
        if process.returncode == -signal.SIGKILL:
            self.tally.during_a_write += bool(temporaries(folder) - before)
            return True
        if process.returncode:
            raise RuntimeError(f"{stage} ended with {process.returncode}: {said}")
        return False


def main(options: Options) -> None:
    """Run every work undisturbed and with kills, print and write the results."""
    if not hasattr(os, "killpg"):
        raise ValueError("this system has no SIGKILL for a group of processes")
    kills = 5 if options.quick else bounded_integer("kills", options.kills)
    target = options.json or (
        None if options.quick else Path("docs/results/reliability_kills.json")
    )
    path = check_writable("--json", target) if target else None
    generator, began = np.random.default_rng(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        benches = []
        # The first command compiles the kernels; no measured duration should include that.
        finish([sys.executable, *shlex.split(_COLLECT)], Path(scratch))
        for k, work in enumerate(work for work in WORKS if work.quick or not options.quick):
            (folder := Path(scratch) / str(k)).mkdir()
            benches.append(Bench(work, folder, generator))
            print(f"{work.name}: {benches[-1].tally.seconds:.1f} s undisturbed", flush=True)
        while (left := kills - sum(bench.tally.kills for bench in benches)) > 0 and not any(
            bench.tally.faults for bench in benches
        ):
            rarest = min(benches, key=lambda bench: bench.tally.kills * bench.tally.seconds)
            rarest.chain(min(IN_A_ROW, left))
            tally = rarest.tally
            equal = f"{tally.equal} results byte-equal"
            print(f"{rarest.work.name}: {tally.kills} kills, {equal}", flush=True)
    report(benches, time.monotonic() - began)
    if path:
        result = {
            **origin("torch", "safetensors", "filelock"),
            "seed": options.seed,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "works": {bench.work.name: vars(bench.tally) for bench in benches},
            "summary": total(benches),
        }
        write_json(path, result)
        print(f"wrote {path}")
    if faults := [fault for bench in benches for fault in bench.tally.faults]:
        raise FaultError("; ".join(faults))


def total(benches: list[Bench]) -> dict[str, int]:
    """Return sums over all kinds of work."""
    names = ("kills", "during_a_write", "reruns", "results", "equal")
    return {name: sum(getattr(bench.tally, name) for bench in benches) for name in names}


def report(benches: list[Bench], seconds: float) -> None:
    """Print a row for each kind of work, and one line for all."""
    grid = Table("Work", "Undisturbed, s", "Kills", "... during a write")
    for heading in ("Reruns", "Results", "Byte-equal"):
        grid.add_column(heading)
    for bench in benches:
        tally = bench.tally
        numbers = (tally.kills, tally.during_a_write, tally.reruns, tally.results, tally.equal)
        grid.add_row(bench.work.name, f"{tally.seconds:.1f}", *map(str, numbers))
    Console(width=max(100, Console().width)).print(grid)
    of = total(benches)
    print(
        f"{of['kills']} kills (of which {of['during_a_write']} during a write), "
        f"{of['reruns']} reruns, {of['equal']} of {of['results']} results byte-equal, "
        f"{seconds / 60:.1f} minutes"
    )


if __name__ == "__main__":
    sys.exit(
        status_of(lambda: main(tyro.cli(Options, description=__doc__)), failures=(FaultError,))
    )
