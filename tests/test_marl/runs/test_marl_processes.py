"""Runs and studies that several processes share, and commands that are interrupted."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from faults import KILL, go_on, hidden, says, started, stopped, until
from studies import small_study
from study import Scale, Study
from toys import checkpoint, contents, trained

from marl import RunError
from marl.runs.lock import BusyError, alone
from rrm_env import RRMConfig
from rrm_env.exit_status import GOES_ON, NOTHING_LOST
from rrm_env.files import WriteError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")

TRAINING = """
    import sys
    from pathlib import Path
    from toys import trained
    from rrm_env.exit_status import status_of

    def report(updates, record):
        if updates == 15:
            print("training", flush=True)

    def train():
        training, resume = {"updates": int(sys.argv[2])}, sys.argv[3] == "resume"
        trained(Path(sys.argv[1]), {}, training, seeds=(0, 1), resume=resume, report=report)

    sys.exit(status_of(train))
"""


def test_run_that_another_process_trains_is_refused_at_once_and_a_killed_one_does_not_block(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    process = started(TRAINING, folder, 1_000_000, "anew")
    says(process, "training")

    def report(updates: int, record: dict[str, Any]) -> None:
        pytest.fail("it trains beside the other process")

    with pytest.raises(RunError, match="holds a run already"):
        trained(folder, {}, {"updates": 1_000_000}, seeds=(0, 1), report=report)
    with pytest.raises(
        BusyError,
        match=r"^another process is training '.*run': "
        r"wait until it ends, or choose another folder$",
    ):
        trained(folder, {}, {"updates": 1_000_000}, seeds=(0, 1), resume=True, report=report)
    before = int(checkpoint(folder)["updates"])
    until(lambda: int(checkpoint(folder)["updates"]) > before, process)  # it was not disturbed
    stopped(process, KILL)
    assert ".lock" in hidden(folder)
    updates = 10 * (int(checkpoint(folder)["updates"]) // 10 + 2)
    trained(folder, {}, {"updates": updates}, seeds=(0, 1), resume=True)
    assert hidden(folder) == []
    assert contents(folder) == contents(
        trained(tmp_path / "whole", {}, {"updates": updates}, seeds=(0, 1))
    )


STUDYING = """
    import sys
    from pathlib import Path
    from studies import small_study

    print("ready", flush=True)
    sys.stdin.readline()
    with small_study(Path(sys.argv[1])) as study:
        study.run("bc.sac-40")
        study.evaluation("bc.sac-40")
"""


def test_two_processes_share_a_study_and_everything_is_made_once(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    processes = [started(STUDYING, folder) for _ in range(2)]
    for process in processes:
        says(process, "ready")
    for process in processes:
        go_on(process)
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [
        (process.returncode, errors)
        for process, (_, errors) in zip(processes, outputs, strict=True)
    ] == [(0, "")] * 2
    said = "".join(output for output, _ in outputs)
    assert re.search(
        r"^another process is making '[\w.-]+' in '.*shared': waiting until it ends$",
        said,
        re.MULTILINE,
    )
    for name in ("online-sac", "bc.sac-40"):
        assert said.count(f"{name}: 1 seeds, 300 updates each") == 1
    with small_study(tmp_path / "alone") as study:
        study.run("bc.sac-40")
    assert contents(folder) == contents(tmp_path / "alone")
    assert hidden(folder) == []


@pytest.mark.parametrize("is_killed", [True, False])
def test_who_waits_goes_on_when_the_other_process_ends_or_is_killed(
    is_killed: bool, tmp_path: Path
) -> None:
    program = """
        import sys
        from filelock import FileLock
        with FileLock(sys.argv[1]):
            print("alone", flush=True)
            sys.stdin.readline()
    """
    lock = tmp_path / ".lock"
    process = started(program, lock)
    says(process, "alone")
    with (
        pytest.raises(BusyError, match="another process is making tea: wait until it ends"),
        alone(lock, "making tea"),
    ):
        pass
    said = []

    def end_it(line: str) -> None:
        said.append(line)
        if is_killed:
            stopped(process, KILL)
        else:
            process.communicate("\n")

    with alone(lock, "making tea", waiting=end_it):
        assert lock.exists()
    assert not lock.exists()
    assert said == ["another process is making tea: waiting until it ends"]


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOLCK])
def test_file_system_without_locks_is_a_message_and_not_a_wait(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    message = (
        r"\.lock' could not be locked: .*; nothing was changed; "
        r"that file system has no locks: work on another one, such as a local disk"
    )
    with pytest.raises(WriteError, match=message):
        trained(tmp_path / "run")
    with pytest.raises(WriteError, match=message):
        Study(tmp_path / "study", Scale(), RRMConfig()).data("random_walk-4")


def test_file_system_whose_locks_are_not_implemented_gets_files_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.warns(UserWarning, match="falling back to SoftFileLock"):
        folder = trained(tmp_path / "run")
    assert hidden(folder) == []


# --- Interruptions ---


def test_training_asked_to_end_says_what_it_keeps_and_goes_on_to_the_same_outcome(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    process = started(TRAINING, folder, 1_000_000, "anew")
    says(process, "training")
    code, _, errors = stopped(process, signal.SIGTERM)
    kept = int(checkpoint(folder)["updates"])
    assert code == 143
    assert errors == (
        f"interrupted by SIGTERM: {str(folder)!r} keeps its checkpoint of update {kept:,} "
        "(of 1,000,000): go on with --resume\n"
    )
    assert hidden(folder) == []
    trained(folder, {}, {"updates": kept + 10}, seeds=(0, 1), resume=True)
    assert contents(folder) == contents(
        trained(tmp_path / "whole", {}, {"updates": kept + 10}, seeds=(0, 1))
    )


@pytest.mark.parametrize(
    "command", ["collect --out data.safetensors --transitions 1000000", "figure"]
)
def test_interrupted_commands_end_with_one_line(command: str, tmp_path: Path) -> None:
    """A collection would start again when repeated; the script of a figure would continue."""
    if command == "figure":
        program = """
            import os, sys
            import marl.training.train
            os.chdir(sys.argv[1])
            curve_point = marl.training.train.curve_point
            def evaluate_twice(*given):
                # The first call loads kernels; numba prints errors when that is interrupted.
                curve_point(*given)
                print("working", flush=True)
                return curve_point(*given)
            marl.training.train.curve_point = evaluate_twice
            sys.argv[1:] = ["--quick"]
            from figure_4 import FIGURE, main
            main(FIGURE, "")
        """
        state = GOES_ON
    else:
        program = """
            import os, sys
            import baselines
            os.chdir(sys.argv[1])
            class Slow(baselines.ITLinQ):
                def schedule(self, network):
                    if network.t == 1:
                        print("working", flush=True)
                    return super().schedule(network)
            baselines.REGISTRY["itlinq"] = Slow
            from marl.__main__ import main
            sys.exit(main(sys.argv[2:]))
        """
        state = NOTHING_LOST
    process = started(program, tmp_path, *([] if command == "figure" else command.split()))
    says(process, "working")
    code, _, errors = stopped(process, signal.SIGINT)
    assert (code, errors) == (130, f"interrupted by SIGINT: {state}\n")
    assert hidden(tmp_path) == []
    assert [path for path in tmp_path.rglob("*.safetensors") if path.parent == tmp_path] == []
