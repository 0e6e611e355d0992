"""Failures of workers that would occur again are reported once and not retried."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from notices import without_notice

from marl.engines.base import Event, Task
from marl.engines.local import Local

SCRIPT = """
    from baselines import RandomWalk
    from marl import collect
    from marl.engines.local import Local

    print("begun", flush=True)
    {guard}
        def listen(event):
            if event.kind != "waiting":
                print(event.kind, flush=True)
        with Local(2, listen) as engine:
            print(len(collect(RandomWalk(), transitions=20_000, engine=engine)))
"""
TOP_LEVEL, GUARDED = "if True:", 'if __name__ == "__main__":'


def script(guard: str) -> str:
    return textwrap.dedent(SCRIPT).format(guard=guard)


def ended(arguments: list[str], given: str = "") -> tuple[int, str, list[str]]:
    process = subprocess.run(
        [sys.executable, *arguments],
        input=given,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NUMBA_NUM_THREADS": "1"},
    )
    return process.returncode, process.stdout, without_notice(process.stderr).splitlines()


def test_script_on_standard_input_is_refused_once() -> None:
    code, output, errors = ended(["-"], script(GUARDED))
    assert code == 1
    assert "lost" not in output
    assert errors[-1].startswith(
        "marl.engines.base.StartError: workers cannot start: '<stdin>', the main script, is no file"
    )
    assert sum("Traceback" in line for line in errors) == 1


def test_script_without_a_main_guard_is_refused_once(tmp_path: Path) -> None:
    path = tmp_path / "unguarded.py"
    path.write_text(script(TOP_LEVEL))
    code, output, errors = ended([str(path)])
    assert code == 1
    assert "lost" not in output
    assert output.count("begun") == 2  # here, and in the first worker
    assert errors[-1].startswith(
        "marl.engines.base.StartError: workers cannot start: "
        f"they import {str(path)!r}, which starts"
    )
    assert 'under if __name__ == "__main__":' in errors[-1]
    assert sum("Traceback" in line for line in errors) == 1


def test_script_that_a_worker_cannot_import_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "picky.py"
    path.write_text(
        script(GUARDED)
        + '\nif __name__ != "__main__":\n    raise OSError("nothing but a main script")\n'
    )
    code, output, errors = ended([str(path)])
    assert code == 1
    assert "lost" not in output
    assert errors[-1].startswith(
        f"marl.engines.base.StartError: workers cannot start: importing {str(path)!r} fails in them"
    )
    assert sum("OSError: nothing but a main script" in line for line in errors) == 1


def test_guarded_script_runs(tmp_path: Path) -> None:
    path = tmp_path / "guarded.py"
    path.write_text(script(GUARDED))
    code, output, errors = ended([str(path)])
    assert (code, errors) == (0, [])
    assert output.splitlines()[-1] == "20000"


# --- Tasks that fail in the same way every time ---


class Unloadable:
    """An object that is pickled and cannot be unpickled."""

    def __reduce__(self) -> Any:
        return missing_module, ()


def missing_module() -> None:
    """Raise an error as an import that fails in a worker does."""
    raise ModuleNotFoundError("No module named 'nowhere'")


class Unpicklable:
    """An object that cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle this")


def give(what: type) -> object:
    """Return an object that cannot be pickled."""
    return what()


def nothing(_: object) -> None:
    """Accept any argument."""


def exhaust() -> None:
    """Allocate more memory than a limit allows."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**33, limits[1]))
    try:
        bytearray(2**36)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def end_by(number: int) -> None:
    """Crash as faulty compiled code does."""
    os.kill(os.getpid(), number)


FAILURES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "import in the worker": (nothing, (Unloadable(),), "No module named 'nowhere'"),
    "unpicklable arguments": (nothing, (Unpicklable(),), "cannot pickle this"),
    "unpicklable function": (lambda: None, (), "pickle"),
    "unpicklable value": (give, (Unpicklable,), "cannot pickle this"),
    "unloadable value": (give, (Unloadable,), "No module named 'nowhere'"),
    "memory": (exhaust, (), "MemoryError"),
    "exit": (os._exit, (3,), "ended itself with status 3"),
    "sys.exit": (sys.exit, (4,), "SystemExit: 4"),
    "crash": (end_by, (signal.SIGSEGV,), "was ended by SIGSEGV"),
}


@pytest.mark.parametrize("case", FAILURES)
@pytest.mark.skipif(sys.platform != "linux", reason="limits and signals are those of Linux")
def test_tasks_that_would_fail_again_are_not_started_again(case: str) -> None:
    function, arguments, reason = FAILURES[case]
    recorded: list[Event] = []
    with Local(1, recorded.append) as engine:
        first, second = engine.run([Task("bad", function, arguments), Task("good", abs, (-2,))])
    assert reason in f"{type(first.error).__name__}: {first.error}"
    assert (second.value, second.error) == (2, None)
    assert [event.kind for event in recorded if event.kind not in ("waiting", "submitted")] == [
        "failed",
        "done",
    ]
