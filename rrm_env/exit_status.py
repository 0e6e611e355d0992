"""How commands end: with an exit status and, on failure, one line on standard error.

Errors that a user can act on never end in a traceback.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from gymnasium.error import DependencyNotInstalled

from rrm_env.output import guarded_output

NOTHING_LOST = (
    "files reported as written are whole, nothing else was changed; the same command starts again"
)
GOES_ON = "nothing that was finished or checkpointed is lost; the same command goes on"
"""Messages of interrupted commands.

`NOTHING_LOST` is for commands that start again, `GOES_ON` for those that continue.
"""

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)
)
"""Signals that ask a process to end; Windows has no SIGHUP, and SIGBREAK where a window closes."""


class TerminatedError(KeyboardInterrupt):
    """A signal asked the process to end.

    It is a `KeyboardInterrupt`, so that the same clean-up runs as after Ctrl-C.
    """

    signal_number = int(signal.SIGTERM)


def status_of(
    work: Callable[[], object], *, interrupted: str = "", failures: tuple[type[Exception], ...] = ()
) -> int:
    """Run a command and return its exit status.

    Text that cannot be shown does not end the work: characters that the encoding of standard output
    lacks are replaced, a pipe without a reader is ignored, and a full device is reported, with
    status 1, when the work is done.

    Args:
        work: what the command does.
        interrupted: what an interruption leaves behind, as a text for the user. Where it is empty,
            the text is the interruption's own, or else `NOTHING_LOST`.
        failures: further errors that are neither the input's fault nor a defect of the program.

    Returns:
        0 on success; 2 where the input is wrong; 1 where the system refuses something, such as disk
        space or memory, or for one of ``failures``; 130 after Ctrl-C; 128 + the signal's number
        after SIGTERM, SIGHUP and SIGBREAK. All but 0 come with one line on standard error.
    """
    with guarded_output() as refusal:
        try:
            status = _ended(work, interrupted, failures)
        except SystemExit as end:  # parsers of options raise it after --help
            if end.code or not refusal():
                raise
            status = 0
        if status == 0 and (error := refusal()):
            reason = error.strerror or error
            print(
                f"error: standard output could not be written: {reason}; "
                "the work is done and its files are written",
                file=sys.stderr,
            )
            status = 1
    return status


def _ended(
    work: Callable[[], object], interrupted: str, failures: tuple[type[Exception], ...]
) -> int:
    """Do the work, print one line if an error ends it, and return the exit status."""
    tolerated: tuple[type[Exception], ...] = (OSError, MemoryError, *failures)
    try:
        with _signals_raise():
            work()
    except KeyboardInterrupt as interruption:
        number = getattr(interruption, "signal_number", signal.SIGINT)
        left = interrupted or str(interruption) or NOTHING_LOST
        print(f"interrupted by {signal.Signals(number).name}: {left}", file=sys.stderr)
        return 128 + number
    except (TypeError, ValueError, DependencyNotInstalled) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except tolerated as error:
        print(f"error: {str(error) or 'out of memory'}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Let signals that would end the process at once raise `TerminatedError` instead.

    Signals that are handled or ignored already stay so.
    """
    if threading.current_thread() is not threading.main_thread():  # only it may set handlers
        yield
        return
    replaced = [number for number in _SIGNALS if signal.getsignal(number) == signal.SIG_DFL]
    for number in replaced:
        signal.signal(number, _raise)
    try:
        yield
    finally:
        for number in replaced:
            signal.signal(number, signal.SIG_DFL)


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - Python passes it
    error = TerminatedError()
    error.signal_number = number
    raise error
