"""Standard output and error of commands that never raise an error over text they cannot show."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

_INSTEAD = {"…": "~", "×": "x", "–": "-", "−": "-", "─": "-"}
"""Replacements of characters that an encoding lacks, as wide as these, to keep columns aligned."""


@contextmanager
def guarded_output() -> Iterator[Callable[[], OSError | None]]:
    """Let standard output and error take any text and raise no error.

    Characters that the encoding lacks are replaced. Once the system refuses a text, as a full
    device or a pipe without a reader does, this text and all that follow are dropped.

    Yields:
        A function that flushes standard output and returns the error for which text was dropped;
        None where no text was dropped, or where the reader of a pipe has left.
    """
    before = sys.stdout, sys.stderr
    output, errors = (_Guarded(stream) if stream is not None else None for stream in before)
    sys.stdout, sys.stderr = cast(TextIO, output), cast(TextIO, errors)

    def refusal() -> OSError | None:
        if output is None:
            return None
        output.flush()
        return None if _reader_left(output.refusal) else output.refusal

    try:
        yield refusal
    finally:
        sys.stdout, sys.stderr = before
        for stream in (output, errors):
            if stream is not None:
                stream.end()


def _reader_left(refusal: OSError | None) -> bool:
    """Whether text was refused because nobody reads a pipe: an invalid argument, on Windows."""
    return isinstance(refusal, BrokenPipeError) or (
        os.name == "nt" and refusal is not None and refusal.errno == errno.EINVAL
    )


class _Guarded:
    """A text stream that drops what it cannot write; all else is left to the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.refusal: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, with replacements for characters that the encoding lacks."""
        self._attempt(lambda: self._write(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all lines."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write what is buffered."""
        self._attempt(self._stream.flush)

    def end(self) -> None:
        """Flush, and discard what a stream still holds if the system refused it.

        Otherwise the interpreter would flush it again at exit, and fail.
        """
        self.flush()
        if self.refusal is None:
            return
        with suppress(OSError, ValueError):  # not every stream has a descriptor
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def _attempt(self, action: Callable[[], object]) -> None:
        if self.refusal is not None or self._stream.closed:
            return
        try:
            action()
        except OSError as error:
            self.refusal = error

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            self._stream.write(_encodable(text, self._stream.encoding))


def _encodable(text: str, encoding: str) -> str:
    """The text with replacements for characters that the encoding lacks."""

    def kept(character: str) -> str:
        try:
            character.encode(encoding)
        except UnicodeEncodeError:
            return _INSTEAD.get(character, "?")
        return character

    return "".join(map(kept, text))
