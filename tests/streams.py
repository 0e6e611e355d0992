"""Standard outputs that accept nothing: closed pipes and full devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

FULL = Path("/dev/full")


@contextmanager
def closed_pipe() -> Iterator[TextIO]:
    """A stream whose reader is gone, as after ``| head``."""
    reading, writing = os.pipe()
    os.close(reading)
    stream = open(writing, "w")  # noqa: SIM115 - it cannot be closed in the usual way
    try:
        yield stream
    finally:
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)
        stream.close()


@contextmanager
def full_device() -> Iterator[TextIO]:
    """A stream to a device that is always full."""
    if not FULL.exists():
        pytest.skip("this system has no /dev/full")
    stream = FULL.open("w")
    try:
        yield stream
    finally:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        stream.close()
