"""A notice on standard error while kernels compile, so that no first call seems to hang."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

from numba.core import event as events

PATIENCE_S = 2.0
"""Seconds of compiling before anything is said; loading from numba's cache takes less."""
LINE = (
    "rrm_env: compiling the simulator for the first time, which takes from seconds to a minute; "
    "later runs load it"
)
_PACKAGES = ("rrm_env.", "baselines.")


class Announcer(events.Listener):
    """Prints one notice when the kernels of this package have been compiling for long.

    Args:
        patience_s: seconds of compilation, added up over functions, before the notice. A function
            that another one calls is compiled within the compilation of that one.
    """

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._spent_s, self._began = 0.0, 0.0
        self._depth = 0
        self._timer: threading.Timer | None = None
        self._said = False

    def silence(self) -> None:
        """Print no notice from now on."""
        self._said = True

    def on_start(self, event: Any) -> None:
        """Called by numba when a function begins to compile."""
        if self._said or not _is_ours(event):
            return
        self._depth += 1
        if self._depth == 1:
            self._began = time.perf_counter()
            self._timer = threading.Timer(max(0.0, self._patience_s - self._spent_s), self._say)
            self._timer.daemon = True
            self._timer.start()

    def on_end(self, event: Any) -> None:
        """Called by numba when a function has been compiled."""
        if self._said or not _is_ours(event):
            return
        self._depth -= 1
        if self._depth == 0 and self._timer is not None:
            self._timer.cancel()
            self._spent_s += time.perf_counter() - self._began

    def _say(self) -> None:
        self.silence()
        if sys.stderr is not None:
            sys.stderr.write(f"{LINE}\n")
            sys.stderr.flush()


def _is_ours(event: Any) -> bool:
    function = getattr((event.data or {}).get("dispatcher"), "py_func", None)
    return str(getattr(function, "__module__", "")).startswith(_PACKAGES)


ANNOUNCER = Announcer()
"""The announcer of this process."""


def announce() -> None:
    """Start to print the notice where kernels of this process compile for long."""
    events.register("numba:compile", ANNOUNCER)  # type: ignore[no-untyped-call]
