"""Rows of a benchmark that take turns, and processes of other interpreters or revisions that do.

A figure is the median over rounds, and a ratio the median, lowest and highest over rounds of the
ratio within a round, since machines differ and stall.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch


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
    """Rows on the same device that it is compared with."""
    is_product: bool = False
    """Whether others are compared with it in multiply-adds per second, not in seed-updates."""
    stacks: bool = False
    """Whether only rows of as many seeds are compared with it."""


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
        alike = not other.stacks or other.seeds == row.seeds
        if other.name in row.references and other.device == row.device and alike:
            work = (
                row.multiply_adds / other.multiply_adds
                if other.is_product
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


class Peer:
    """A process that answers each line "what n" with the seconds that n updates took.

    Its first line is JSON, which says what it is.

    Args:
        command: how to start it.
        errors: file for what it prints on its standard error.
        environment: its environment variables; where None, those of this process.
    """

    def __init__(
        self, command: list[str], errors: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._errors = errors
        with errors.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                encoding="utf-8",
                bufsize=1,
                env=environment,
            )
        self.described: dict[str, Any] = json.loads(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line: str = self.process.stdout.readline()
        if not line:
            sys.exit(
                f"error: the peer stopped:\n{self._errors.read_text(encoding='utf-8')[-2000:]}"
            )
        return line

    def timer(self, what: str) -> Callable[[int], float]:
        """A function that lets the process make n updates, and returns the seconds they took."""
        stdin = self.process.stdin
        assert stdin is not None

        def seconds(n: int) -> float:
            with suppress(BrokenPipeError):  # `_answer` says why it stopped
                print(what, n, file=stdin, flush=True)
            return float(self._answer())

        return seconds

    def close(self) -> None:
        """Close the process's input, which ends it."""
        self.process.communicate()
