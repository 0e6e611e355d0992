"""Files under real faults: kills during a write, full disks, read-only folders, several writers.

Commands are interrupted too.
"""

from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from faults import KILL, OLD, go_on, hidden, read_only, says, small_disk, started, stopped

import baselines.__main__ as command
from rrm_env import files
from rrm_env.exit_status import status_of
from rrm_env.files import WriteError, append_line, check_writable, write_json, write_whole

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL and no mounts there")

SHORT = ["--set", "episode_length=4", "--episodes", "4", "--schedulers", "tdm"]


def put(path: Path, content: bytes) -> None:
    write_whole(path, lambda file: file.write(content))


# --- Order ---


def test_content_is_on_the_disk_before_the_name_is_and_the_name_before_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_fsync(descriptor: int) -> None:
        target = (
            Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            if sys.platform == "linux"
            else Path("?")
        )
        done.append(
            "folder" if target == tmp_path else f"{target.suffix} of {target.stat().st_size} bytes"
        )
        fsync(descriptor)

    def spy_replace(source: Path, target: Path) -> None:
        done.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "replace", spy_replace)
    put(tmp_path / "out.json", b"12345")
    assert done == [".json of 5 bytes", "name", "folder"] or sys.platform != "linux"
    done.clear()
    append_line(tmp_path / "log.jsonl", "123")
    assert done == [".jsonl of 4 bytes"] or sys.platform != "linux"


def test_lines_are_added_at_the_end(tmp_path: Path) -> None:
    for line in ("first", "zweite Zeile, lang: ü" * 1000, ""):
        append_line(tmp_path / "log", line)
    assert (tmp_path / "log").read_text(encoding="utf-8").split("\n") == [
        "first",
        "zweite Zeile, lang: ü" * 1000,
        "",
        "",
    ]


# --- Kills ---

HALF = """
    import sys
    from pathlib import Path
    from rrm_env.files import write_whole

    def write(file):
        file.write(b"half")
        file.flush()
        print("half", flush=True)
        sys.stdin.readline()
        file.write(b" and half")

    write_whole(Path(sys.argv[1]), write)
"""


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path, content = tmp_path / "out.json", {"score": [1.5, None, "ü"], "best": True}
    write_json(path, content)
    assert json.loads(path.read_bytes()) == content
    before = path.read_bytes()
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"score": object()})
    assert path.read_bytes() == before
    assert [*tmp_path.iterdir()] == [path]


def test_write_that_was_killed_leaves_the_old_content_and_a_hidden_file_that_the_next_write_removes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.safetensors"
    put(path, b"old")
    process = started(HALF, path)
    says(process, "half")
    stopped(process, KILL)
    (leftover,) = hidden(tmp_path)
    assert (tmp_path / leftover).read_bytes() == b"half"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.glob("data*")) == [path]
    put(tmp_path / "data.json", b"another file of the same stem")
    assert hidden(tmp_path) == [leftover]
    check_writable("path", path)
    assert hidden(tmp_path) == []
    assert path.read_bytes() == b"old"


def test_write_that_goes_on_elsewhere_is_left_alone_and_the_last_one_to_finish_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.json"
    process = started(HALF, path)
    says(process, "half")
    put(path, b"mine")
    put(path, b"mine again")
    assert len(hidden(tmp_path)) == 1
    assert path.read_bytes() == b"mine again"
    process.communicate("go on\n")
    assert process.returncode == 0
    assert path.read_bytes() == b"half and half"
    assert hidden(tmp_path) == []


def test_temporary_files_of_another_machine_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    process = started(HALF, path)
    says(process, "half")
    stopped(process, KILL)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(files, "_HOST", "00000000")
        put(path, b"mine")
    assert len(hidden(tmp_path)) == 1
    put(path, b"mine")
    assert hidden(tmp_path) == []


def test_temporary_file_taken_for_a_leftover_before_it_was_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    flock = fcntl.flock
    taken: list[Path] = []

    def late(descriptor: int, operation: int) -> None:
        if (
            operation == fcntl.LOCK_EX and not taken
        ):  # before the first lock, another process cleans up
            taken.extend(tmp_path.glob(".out.*"))
            taken[0].unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    path = tmp_path / "out.json"

    def write(file: BinaryIO) -> None:
        put(path, b"of another process, which cleans up first")
        file.write(b"content")

    write_whole(path, write)
    assert len(taken) == 1
    assert path.read_bytes() == b"content"


def test_files_are_written_where_there_are_no_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    leftover = tmp_path / f".out.{files._HOST}-0123abcd.part.json"
    leftover.write_text("perhaps of a living process: without locks nobody knows")
    monkeypatch.setattr(fcntl, "flock", refuse)
    put(tmp_path / "out.json", b"content")
    assert (tmp_path / "out.json").read_bytes() == b"content"
    assert hidden(tmp_path) == [leftover.name]


MANY = """
    import sys
    from pathlib import Path
    from rrm_env.files import write_whole

    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(60):
        for byte in (b"a", b"b"):
            write_whole(Path(sys.argv[1]), lambda file: file.write(byte * int(sys.argv[2])))
"""


def test_two_processes_that_write_one_file_never_mix(tmp_path: Path) -> None:
    path, sizes = tmp_path / "out", (1_000_000, 1_000_001)
    writers = [started(MANY, path, size) for size in sizes]
    for writer in writers:
        says(writer, "ready")
    for writer in writers:
        go_on(writer)
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            seen.add((len(content), bytes(set(content))))
    assert [(writer.communicate()[1], writer.returncode) for writer in writers] == [("", 0)] * 2
    assert seen <= {(size, byte) for size in sizes for byte in (b"a", b"b")}
    assert len(seen) > 1
    assert hidden(tmp_path) == []


# --- Disks ---


def test_full_disk_leaves_the_old_content_and_says_what_to_do(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        path = disk.folder / "out.json"
        put(path, b"old")
        disk.fill(left=4096)
        reason = "(No space left on device|File too large)"
        with pytest.raises(
            WriteError,
            match=rf"^'.*out\.json' could not be written: {reason}; "
            "what stood there before is untouched; ",
        ):
            put(path, bytes(100_000))
        assert path.read_bytes() == b"old"
        assert hidden(disk.folder) == []
        disk.free()
        put(path, bytes(100_000))


def test_line_that_does_not_fit_is_left_out_whole(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        log = disk.folder / "log.jsonl"
        append_line(log, "x" * 4000)
        before = log.read_bytes()
        disk.fill()
        with pytest.raises(
            WriteError,
            match=r"log\.jsonl' could not be written: .*; the lines before are untouched; ",
        ):
            append_line(log, "y" * 8000)
        assert log.read_bytes() == before
        disk.free()
        append_line(log, "y" * 8000)
        assert log.read_text().splitlines() == ["x" * 4000, "y" * 8000]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("out.json", [*SHORT, "--episodes", "400", "--json"]),
        ("rates.png", [*SHORT[2:], "--set", "episode_length=50", "--plot"]),
        ("episode.gif", ["--watch", "tdm", "--set", "episode_length=8", "--video"]),
        ("episode.mp4", ["--watch", "tdm", "--set", "episode_length=8", "--video"]),
    ],
)
def test_command_on_a_full_disk_ends_with_one_line_and_succeeds_when_there_is_space(
    name: str, arguments: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if "--video" in arguments:
        pytest.importorskip("imageio_ffmpeg")
    with small_disk(tmp_path / "disk") as disk:
        path = disk.folder / name
        path.write_text(OLD)
        disk.fill(left=8192)
        assert command.main([*arguments, str(path)]) == 1
        disk.free()
        errors = capfd.readouterr().err
        assert errors.count("\n") == 1
        assert errors.startswith(f"error: {str(path)!r} could not be written: ")
        assert errors.endswith(", then try again\n")
        assert [file.read_text() for file in disk.folder.iterdir()] == [OLD]
        assert command.main([*arguments, str(path)]) == 0
        assert path.stat().st_size > 8192


def test_read_only_folder_is_refused_before_the_work_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "out.json").write_text("old")
    with read_only(folder):
        assert command.main([*SHORT, "--json", str(folder / "out.json")]) == 2
        out, errors = capsys.readouterr()
        assert errors.startswith(
            f"error: --json = {str(folder / 'out.json')!r} cannot be written: "
        )
        assert out == ""
        with pytest.raises(
            WriteError,
            match=r"out\.json' could not be written: (Read-only file system|Permission denied); ",
        ):
            put(folder / "out.json", b"new")
        with pytest.raises(
            WriteError,
            match=r"log' could not be written: (Read-only file system|Permission denied); ",
        ):
            append_line(folder / "log", "line")
    assert [file.read_text() for file in folder.iterdir()] == ["old"]


def test_devices_are_not_replaced() -> None:
    with pytest.raises(
        ValueError, match=r"^--json must be a file, got '/dev/null', which is a device or a pipe"
    ):
        check_writable("--json", "/dev/null")


def test_failure_to_clean_up_does_not_hide_the_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def full(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "unlink", fail)
    with pytest.raises(WriteError, match="No space left on device") as caught:
        write_whole(tmp_path / "out", full)
    assert isinstance(caught.value.__cause__, OSError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(
        caught.value
    )  # a worker's error travels


# --- Interruptions ---

WORKING = """
    import sys, time
    from rrm_env.compile_notice import ANNOUNCER
    from rrm_env.exit_status import status_of
    import baselines.__main__ as command
    from baselines import TDM

    ANNOUNCER.silence()  # whether kernels compile depends on which tests ran before

    class Slow(TDM):
        def schedule(self, network):
            if network.t == 1:
                print("working", flush=True)
            return super().schedule(network)

    command.REGISTRY["tdm"] = Slow
    network = ["--set", "episode_length=1000000"]
    arguments = ["--schedulers", "tdm", "--episodes", "4", *network, "--json", sys.argv[1]]
    sys.exit(command.main(arguments))
"""


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_command_ends_with_one_line_and_leaves_nothing(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    (tmp_path / "out.json").write_text(OLD)
    process = started(WORKING, tmp_path / "out.json")
    says(process, "working")
    code, _, errors = stopped(process, number)
    assert code == status
    assert errors == (
        f"interrupted by {number.name}: files reported as written are whole, "
        "nothing else was changed; the same command starts again\n"
    )
    assert [file.read_text() for file in tmp_path.iterdir()] == [OLD]


def test_interruption_during_a_write_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path,
) -> None:
    path = tmp_path / "out.json"
    put(path, b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        os.kill(os.getpid(), signal.SIGTERM)
        file.write(b" and half")

    assert status_of(lambda: write_whole(path, write)) == 143
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_signals_are_as_before_after_a_command_and_ignored_ones_stay_ignored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def check() -> None:
        assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert status_of(check) == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr().err == ""


def raising(error: BaseException) -> int:
    """How a command ends whose work raises this."""

    def work() -> None:
        raise error

    return status_of(
        work,
        interrupted="all is kept" if isinstance(error, KeyboardInterrupt) else "",
        failures=(ArithmeticError,),
    )


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ValueError("n must be 1"), 2, "error: n must be 1"),
        (TypeError("n must be an integer"), 2, "error: n must be an integer"),
        (
            OSError(errno.ENOSPC, "No space left on device", "x.nbi"),
            1,
            "error: [Errno 28] No space left on device: 'x.nbi'",
        ),
        (ZeroDivisionError("it diverged"), 1, "error: it diverged"),
        (KeyboardInterrupt(), 130, "interrupted by SIGINT: all is kept"),
    ],
)
def test_ends_have_their_status_and_line(
    error: BaseException, status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == status
    assert capsys.readouterr().err == line + "\n"


def test_defects_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="a defect"):
        raising(RuntimeError("a defect"))
