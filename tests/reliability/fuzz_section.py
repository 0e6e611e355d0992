"""Runs a section of the fuzzer: cases from a Hypothesis strategy, judged under limits."""

from __future__ import annotations

import contextlib
import faulthandler
import resource
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psutil
from hypothesis import HealthCheck, Phase, strategies


class HangError(BaseException):
    """The time limit was exceeded; no `except Exception` catches it."""


@dataclass(frozen=True)
class Section:
    """Cases, how to judge them, and what judging one may take."""

    cases: strategies.SearchStrategy[Any]
    judge: Callable[[Any], str]
    """Returns the outcome; anything that it raises is a finding."""
    seconds: float = 30.0
    """Compiling a kernel is part of the first case."""
    megabytes: int = 2048
    """Memory beyond what the process had before."""


def run(
    section: Section,
    count: int,
    seed: int,
    outcomes: Counter[tuple[str, str]],
    smallest: Path | None = None,
    replay: str = "",
) -> None:
    """Judge cases that Hypothesis draws.

    Args:
        section: what to judge.
        count: number of cases.
        seed: the same seed draws the same cases.
        outcomes: counts the cases by mutation (empty where there are none) and outcome.
        smallest: where to write the smallest failing case, if it consists of bytes.
        replay: the bytes in a finding's note on ``@reproduce_failure``; only this case is judged.

    Raises:
        BaseException: a finding, shrunk by Hypothesis; its notes say how to reproduce it.
    """

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        print_blob=True,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[*HealthCheck],
    )
    @hypothesis.given(case=section.cases)
    def judged(case: Any) -> None:
        try:
            with limits(section.seconds, section.megabytes):
                outcome = section.judge(case)
        except Exception:
            content = getattr(case, "content", case)
            if smallest and isinstance(content, bytes):
                smallest.parent.mkdir(parents=True, exist_ok=True)
                smallest.write_bytes(content)
            raise
        outcomes[getattr(case, "mutation", ""), outcome] += 1

    if replay:
        blob = replay.encode()
        judged = hypothesis.reproduce_failure(hypothesis.__version__, blob)(judged)
    judged()


@contextlib.contextmanager
def limits(seconds: float, megabytes: int) -> Iterator[None]:
    """Make warnings errors, and a hang or the use of too much memory a finding.

    What no alarm reaches, because it hangs in compiled code, ends the process after three times as
    long, with a traceback.
    """

    def stop(*_: Any) -> None:
        raise HangError

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    faulthandler.dump_traceback_later(3 * seconds, exit=True, file=2)
    used = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 2**20, hard))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    except HangError:
        raise AssertionError(f"hang: not done after {seconds:g} s") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
