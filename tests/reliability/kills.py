"""Kills real commands with SIGKILL again and again, and checks that nothing half-written can be loaded and no finished work is lost.

``python tests/reliability/kills.py`` runs every kind of work once undisturbed, then in fresh folders with kills at random moments, up to
three in a row for the same work: half of them at any moment of the measured duration, half as soon as a file is being written. After
each kill everything in the folder that can be loaded is loaded; then a rerun goes on, in the end to its end, and what it leaves is
compared with the undisturbed result, byte for byte but for the time that things took. Writes docs/results/reliability_kills.json.
``--quick`` kills a handful.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from marl import Dataset, UnfinishedRunWarning, load_policies
from marl.runs.checkpoint import LOG, load_tensors, read_log
from marl.runs.description import CHECKPOINT, DESCRIPTION, describe
from rrm_env.checks import bounded_integer
from rrm_env.exit_status import status_of
from rrm_env.files import check_writable, write_whole
from rrm_env.provenance import origin

ROOT = Path(__file__).resolve().parents[2]
IN_A_ROW = 3
"""Kills of the same work before it is let finish."""
TIMINGS = ("seconds", "steps_per_second", "training_hours")
"""What differs between two runs of the same work: how long it took."""
DIARIES = ("tensorboard", "events.jsonl")
"""What is not compared: records of what happened when."""


class FaultError(RuntimeError):
    """Something half-written could be loaded, or finished work was lost."""


@dataclass(frozen=True)
class Options:
    """How much to kill, and where to put the results."""

    kills: int = 60
    """How many, in all."""
    seed: int = 0
    """Of the moments."""
    quick: bool = False
    """A handful of kills of two kinds of work; writes no results unless told where."""
    json: Path | None = None
    """Results; docs/results/reliability_kills.json without, and with --quick none."""


@dataclass(frozen=True)
class Work:
    """Something to do in a folder of its own."""

    name: str
    stages: tuple[str, ...]
    """Arguments of Python, one command after the other."""
    given: tuple[str, ...] = ()
    """Commands that make what it needs, in the folder ``../given``."""
    sweep: str = ""
    """A file ``../given/sweep.toml``."""
    resumes: bool = False
    """Whether a rerun takes --resume where there is a run already, as the message of an interrupted run says."""
    quick: bool = False
    """Whether it is among the handful."""

    def command(self, stage: str, folder: Path) -> list[str]:
        """What a user would type now."""
        words = [sys.executable, *shlex.split(stage)]
        return (
            [*words, "--resume"]
            if self.resumes and (folder / "run" / DESCRIPTION).exists()
            else words
        )


_COLLECT = "-m marl collect --out data.safetensors --transitions 20000"
BRIEF = "--log-every 10 --checkpoint-every 20 --evaluate-every 20 --evaluation-episodes 2 --batch-size 64 --seeds 2"
_OFFLINE = f"-m marl train --out run --dataset ../given/data.safetensors {BRIEF}"
_ONLINE = f"-m marl train --out run --algorithm dqn {BRIEF} --learning-starts 512 --envs-per-seed 4 --replay-capacity 4000"
_GIVEN_RUN = (
    _COLLECT,
    "-m marl train --out run --dataset data.safetensors --updates 20 --log-every 20 --evaluation-episodes 2",
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
        given=_GIVEN_RUN,
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
    """What happened to one kind of work."""

    seconds: float = 0.0
    """Of the undisturbed work."""
    kills: int = 0
    during_a_write: int = 0
    """Kills that left a temporary file behind."""
    reruns: int = 0
    results: int = 0
    """Reruns that came to the end."""
    equal: int = 0
    """Results that are those of the undisturbed work."""
    faults: list[str] = field(default_factory=list)
    """What should not have happened."""


# --- Processes ---


def start(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """The command in a process group of its own."""
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
    """Kill the whole group if it still runs, without a warning, and say what it wrote to standard error."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate()[1].strip()[-500:]


def finish(command: list[str], folder: Path, watch: Callable[[], object] = lambda: None) -> float:
    """Run the command to its end, calling ``watch`` all the while, and say how long it took.

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


def temporaries(folder: Path) -> set[str]:
    """Files that are being written, or were when their writer was killed."""
    return {
        name
        for _, _, names in os.walk(folder)
        for name in names
        if name.startswith(".") and ".part" in name
    }


# --- What a folder holds ---


def check_loadable(folder: Path) -> None:
    """Load all that can be loaded; whatever raises here was half-written."""
    for path in visible(folder):
        if path.name == LOG:
            list(read_log(path.parent))
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.name == CHECKPOINT:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UnfinishedRunWarning)  # it was killed
                load_policies(path.parent)
            load_tensors(path.parent, with_replay=describe(path.parent)["data"] is None)
        elif path.name.startswith("replay-"):
            load_file(path)
        elif path.suffix == ".safetensors":
            Dataset.read(path)
        elif path.suffix == ".png":
            if not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                raise ValueError(f"{path} is half a picture")
        else:
            raise ValueError(f"{path} is a file that nobody expects")


def visible(folder: Path) -> Iterator[Path]:
    """Files but diaries, temporary files and locks."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part in DIARIES or part.startswith(".") for part in parts):
            yield path


def contents(folder: Path) -> dict[str, bytes]:
    """Every file's bytes, without timings; hidden files count by their names, for there should be none."""
    found = {str(path.relative_to(folder)): _timeless(path) for path in visible(folder)}
    return {
        **found,
        **dict.fromkeys(
            sorted(temporaries(folder) | {str(path) for path in folder.rglob(".*lock")}), b""
        ),
    }


def _timeless(path: Path) -> bytes:
    if path.name == LOG:
        return b"\n".join(
            json.dumps(_without_timings(json.loads(line))).encode()
            for line in path.read_bytes().splitlines()
        )
    if path.suffix == ".json":
        return json.dumps(_without_timings(json.loads(path.read_bytes()))).encode()
    return path.read_bytes()


def _without_timings(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_timings(item) for key, item in value.items() if key not in TIMINGS}
    return [_without_timings(item) for item in value] if isinstance(value, list) else value


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
        """Start the work, kill it up to ``kills`` times, each time another rerun, let the last one finish, and compare."""
        folder = Path(tempfile.mkdtemp(prefix="killed-", dir=self.folder))
        stages = list(self.work.stages)
        try:
            for _ in range(kills):
                while stages and not self._killed(stages[0], folder):
                    stages.pop(0)  # it was done before its end came
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
        """Run a stage and kill it; False where it ended before its moment came, as it should have (RuntimeError where it did not)."""
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
    """Do each work undisturbed, kill, compare, print, write."""
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
        finish(
            [sys.executable, *shlex.split(_COLLECT)], Path(scratch)
        )  # compiles the kernels, which no measured duration should hold
        for k, work in enumerate(work for work in WORKS if work.quick or not options.quick):
            (folder := Path(scratch) / str(k)).mkdir()
            benches.append(Bench(work, folder, generator))
            print(f"{work.name}: {benches[-1].tally.seconds:.1f} s undisturbed", flush=True)
        while (left := kills - sum(bench.tally.kills for bench in benches)) > 0 and not any(
            bench.tally.faults for bench in benches
        ):
            rarest = min(benches, key=lambda bench: bench.tally.kills * bench.tally.seconds)
            rarest.chain(min(IN_A_ROW, left))
            print(
                f"{rarest.work.name}: {rarest.tally.kills} kills, {rarest.tally.equal} results byte-equal",
                flush=True,
            )
    report(benches, time.monotonic() - began)
    if path:
        result = {
            **origin("torch", "safetensors", "filelock"),
            "seed": options.seed,
            "minutes": round((time.monotonic() - began) / 60, 1),
            "works": {bench.work.name: vars(bench.tally) for bench in benches},
            "summary": total(benches),
        }
        write_whole(path, lambda file: file.write(json.dumps(result, indent=1).encode()))
        print(f"wrote {path}")
    if faults := [fault for bench in benches for fault in bench.tally.faults]:
        raise FaultError("; ".join(faults))


def total(benches: list[Bench]) -> dict[str, int]:
    """Over all kinds of work."""
    names = ("kills", "during_a_write", "reruns", "results", "equal")
    return {name: sum(getattr(bench.tally, name) for bench in benches) for name in names}


def report(benches: list[Bench], seconds: float) -> None:
    """A row for each kind of work, and one line for all."""
    grid = Table(
        "Work",
        "Undisturbed, s",
        "Kills",
        "... during a write",
        "Reruns",
        "Results",
        "Byte-equal",
        title_justify="left",
    )
    for bench in benches:
        tally = bench.tally
        numbers = (tally.kills, tally.during_a_write, tally.reruns, tally.results, tally.equal)
        grid.add_row(bench.work.name, f"{tally.seconds:.1f}", *map(str, numbers))
    Console(width=max(100, Console().width)).print(grid)
    of = total(benches)
    print(
        f"{of['kills']} kills (of which {of['during_a_write']} during a write), {of['reruns']} reruns, "
        f"{of['equal']} of {of['results']} results byte-equal, {seconds / 60:.1f} minutes"
    )


if __name__ == "__main__":
    sys.exit(
        status_of(lambda: main(tyro.cli(Options, description=__doc__)), failures=(FaultError,))
    )
