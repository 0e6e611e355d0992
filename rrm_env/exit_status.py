"""How commands end: with one line on standard error and an exit status, never with a traceback for what a user can act on."""

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
"""What interrupted commands say: those that start again, and those that find their finished parts."""

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class TerminatedError(KeyboardInterrupt):
    """The process was asked to end: as an interruption from the keyboard, so that the same clean-up runs."""

    signal_number = int(signal.SIGTERM)


def status_of(
    work: Callable[[], object], *, interrupted: str = "", failures: tuple[type[Exception], ...] = ()
) -> int:
    """Do the work of a command and say how it ended.

    Args:
        work: what to do.
        interrupted: what to say of the state left behind by an interruption; what the interruption says itself, else `NOTHING_LOST`.
        failures: errors that are neither the input's fault nor a defect.

    Returns:
        0; 2 where the input is wrong; 1 where the system refuses something, disk space or memory say, or for one of ``failures``; 130 after
        Ctrl-C, 128 + the signal's number after SIGTERM and SIGHUP. All but 0 with one line on standard error.

        Text that cannot be shown does not end the work: characters that the encoding of standard
        output lacks are replaced, a reader that has left is nothing to report, and a full device
        is reported, with status 1, when the work is done.
    """
    with guarded_output() as refusal:
        try:
            status = _ended(work, interrupted, failures)
        except SystemExit as ending:  # as parsers of options do after --help
            if ending.code or not refusal():
                raise
            status = 0
        if status == 0 and (error := refusal()):
            reason = error.strerror or error
            print(
                f"error: standard output could not be written: {reason}; the work is done and its files are written",
                file=sys.stderr,
            )
            status = 1
    return status


def _ended(
    work: Callable[[], object], interrupted: str, failures: tuple[type[Exception], ...]
) -> int:
    """Do the work, say in one line what ended it early, and return the exit status."""
    tolerated: tuple[type[Exception], ...] = (OSError, MemoryError, *failures)
    try:
        with _signals_raise():
            work()
    except KeyboardInterrupt as interruption:
        number = (
            interruption.signal_number
            if isinstance(interruption, TerminatedError)
            else signal.SIGINT
        )
        print(
            f"interrupted by {signal.Signals(number).name}: {interrupted or str(interruption) or NOTHING_LOST}",
            file=sys.stderr,
        )
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
    """Signals that would end the process at once raise `TerminatedError` instead; where they are handled or ignored, they stay so."""
    if threading.current_thread() is not threading.main_thread():  # others cannot set handlers
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


def _raise(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - the interface asks for it
    error = TerminatedError()
    error.signal_number = number
    raise error
