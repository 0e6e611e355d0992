"""Runs the loading of mutated files in processes of their own, under limits of time and memory, and says what came of each."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import torch
from fuzz_files import KINDS, Content, Original, same
from fuzz_mutations import CANARY

from marl import DatasetError, RunError, UnfinishedRunWarning

OUTCOMES = ("refused", "equal", "other", "finding")
"""An error of ours that names the file; content equal to the original's; other content that is valid, where no checksum can tell; a bug."""

NO_FILE = "no regular file"
"""The mutation that puts something else than a file in its place."""

_ERRORS = (DatasetError, RunError, ValueError, TypeError)
"""What may be raised: these types themselves, since json's and Unicode's errors are ValueErrors too."""


class Limits(NamedTuple):
    """Of one load."""

    seconds: float = 5.0
    megabytes: int = 1024
    """Beyond what the process needs without it."""


class Case(NamedTuple):
    """A mutated file; the same for the same seed and number."""

    number: int
    original: int
    mutation: str


class Verdict(NamedTuple):
    """What came of a case."""

    case: Case
    outcome: str
    detail: str
    """The error's message or the finding's traceback."""


class HangError(BaseException):
    """A load went on beyond its time; no `except Exception` catches it."""


def draw_case(seed: int, number: int, originals: Sequence[Original]) -> Case:
    """The case of a number: kinds by their weights, then every original and every mutation alike."""
    rng = _generator(seed, number)
    present = sorted({original.kind for original in originals})
    kind = rng.choices(present, [KINDS[name].weight for name in present])[0]
    original = rng.choice([k for k, candidate in enumerate(originals) if candidate.kind == kind])
    return Case(
        number, original, NO_FILE if rng.random() < 0.01 else rng.choice([*KINDS[kind].mutations])
    )


def _generator(seed: int, number: int, purpose: str = "case") -> Random:
    return Random(f"{seed} {number} {purpose}")


def mutate(seed: int, case: Case, originals: Sequence[Original]) -> bytes:
    """The bytes of a case."""
    rng, original = _generator(seed, case.number, "bytes"), originals[case.original]
    if case.mutation == NO_FILE:
        return b""
    others = [candidate for candidate in originals if candidate.kind == original.kind]
    return KINDS[original.kind].mutations[case.mutation](
        rng, original.content, rng.choice(others).content
    )


def place(rng: Random, mutation: str, content: bytes, path: Path) -> None:
    """Put a file, or for `NO_FILE` something else, where the original is."""
    path.unlink()
    if mutation != NO_FILE:
        path.write_bytes(content)
        return
    what = rng.choice(
        (
            "nothing",
            "folder",
            "link to nothing",
            "link to itself",
            "pipe",
            "device",
            "endless device",
        )
    )
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what != "nothing":
        targets = {
            "link to nothing": "missing",
            "link to itself": path.name,
            "device": "/dev/null",
            "endless device": "/dev/zero",
        }
        path.symlink_to(targets[what])


# --- In a process of its own ---


class Judge:
    """Loads mutated files and compares what comes with what the originals give.

    Args:
        seed: of the cases.
        originals: valid files.
        limits: of one load.
    """

    def __init__(self, seed: int, originals: Sequence[Original], limits: Limits) -> None:
        self._seed, self._originals, self._limits = seed, originals, limits
        self._expected: dict[int, Content] = {}

    def judge(self, case: Case, content: bytes | None = None) -> Verdict:
        """What comes of a case; of ``content`` in its stead, where given."""
        original = self._originals[case.original]
        if case.original not in self._expected:
            self._expected[case.original] = KINDS[original.kind].load(original.folder)
        content = mutate(self._seed, case, self._originals) if content is None else content
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "case"
            shutil.copytree(original.folder, folder)
            place(
                _generator(self._seed, case.number, "place"),
                case.mutation,
                content,
                folder / original.file,
            )
            verdict = self._load(case, original, folder)
            if Path(CANARY).exists():
                Path(CANARY).rmdir() if Path(CANARY).is_dir() else Path(CANARY).unlink()
                return Verdict(
                    case, "finding", f"code in the file was run; it was {verdict.outcome}"
                )
            return verdict

    def _load(self, case: Case, original: Original, folder: Path) -> Verdict:
        signal.signal(signal.SIGALRM, _hang)
        signal.setitimer(signal.ITIMER_REAL, self._limits.seconds)
        try:
            loaded = KINDS[original.kind].load(folder)
        except HangError:
            return Verdict(case, "finding", f"hang: not done after {self._limits.seconds:g} s")
        except Exception as error:
            return self._refused(case, error, (str(folder), *KINDS[original.kind].names))
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if same(loaded, self._expected[case.original]):
            return Verdict(case, "equal", "")
        if case.mutation in KINDS[original.kind].forged:
            return Verdict(case, "other", "")
        return Verdict(case, "finding", "other content was loaded")

    @staticmethod
    def _refused(case: Case, error: Exception, names: Sequence[str]) -> Verdict:
        message, trace = str(error), "".join(traceback.format_exception(error))
        if type(error) not in _ERRORS:
            return Verdict(case, "finding", trace)
        if "MemoryError" in message or "Unable to allocate" in message:
            return Verdict(case, "finding", f"memory blow-up: {trace}")
        if not any(name in message for name in names) or len(message) > 5000:
            return Verdict(
                case, "finding", f"refused without naming the file, or at length: {trace}"
            )
        return Verdict(case, "refused", message)


def _hang(*_: Any) -> None:
    raise HangError


def _work(pipe: Connection, seed: int, originals: Sequence[Original], limits: Limits) -> None:
    """Judge the cases that come through the pipe until none comes."""
    torch.set_num_threads(1)
    os.chdir(tempfile.mkdtemp())
    warnings.simplefilter("error")
    warnings.simplefilter(
        "ignore", UnfinishedRunWarning
    )  # said of a description whose number of updates was forged upwards
    judge = Judge(seed, originals, limits)
    for k, original in enumerate(
        originals
    ):  # before memory is limited: this also loads what is imported late
        judge.judge(Case(-1, k, "bits flipped"), original.content)
    if Path("/proc/self/statm").exists():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + limits.megabytes * 2**20,) * 2)
    pipe.send(None)
    while (case := pipe.recv()) is not None:
        try:
            verdict = judge.judge(case)
        except Exception:
            verdict = Verdict(case, "finding", f"the fuzzer failed: {traceback.format_exc()}")
        pipe.send(verdict)
    pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


class _Worker:
    """A process that judges, and what it is at."""

    def __init__(self, seed: int, originals: Sequence[Original], limits: Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(
            target=_work, args=(end, seed, originals, limits), daemon=True
        )
        self.process.start()
        end.close()
        if not self.pipe.poll(120):
            raise RuntimeError("a worker did not start within two minutes")
        self.pipe.recv()
        self.case: Case | None = None
        self.deadline = 0.0

    def give(self, case: Case | None, seconds: float) -> None:
        self.case, self.deadline = case, time.monotonic() + seconds
        self.pipe.send(case)

    def kill(self) -> int | None:
        """End the process; its exit code where it had ended by itself."""
        self.process.join(0.2)
        code = self.process.exitcode
        self.process.kill()
        self.process.join()
        return code


def run_cases(
    seed: int,
    cases: Sequence[Case],
    originals: Sequence[Original],
    limits: Limits,
    workers: int,
    note_memory: Callable[[int], None],
) -> Iterator[Verdict]:
    """Verdicts of all cases, in any order. A worker that dies, or hangs where no alarm reaches it, is a finding, and is replaced.

    Args:
        seed: of the cases.
        cases: what to judge.
        originals: valid files.
        limits: of one load.
        workers: processes side by side.
        note_memory: called with the kilobytes of memory that a worker used at most.
    """
    waiting, patience = iter(cases), 3 * limits.seconds
    crew = [_Worker(seed, originals, limits) for _ in range(min(workers, len(cases)))]
    for worker in crew:
        worker.give(next(waiting), patience)
    while crew:
        ready = wait([worker.pipe for worker in crew], timeout=1)
        for worker in list(crew):
            late = time.monotonic() > worker.deadline
            if worker.pipe not in ready and not late:
                continue
            try:
                if worker.pipe not in ready:
                    raise EOFError
                answer = worker.pipe.recv()
            except (EOFError, ConnectionError):
                code = worker.kill()
                assert worker.case is not None, "a worker died after its last case"
                yield Verdict(
                    worker.case,
                    "finding",
                    "hang in compiled code" if late else f"the process died, exit code {code}",
                )
                crew[crew.index(worker)] = worker = _Worker(seed, originals, limits)
            else:
                if isinstance(answer, int):
                    note_memory(answer)
                    worker.process.join()
                    crew.remove(worker)
                    continue
                yield answer
            worker.give(next(waiting, None), patience)
