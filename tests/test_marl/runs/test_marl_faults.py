"""Datasets and runs survive real faults: kills, full disks and read-only folders."""

from __future__ import annotations

import errno
import os
import re
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from faults import OLD, hidden, read_only, small_disk
from toys import SMALL, assert_same_outcome, contents, furnished, made_up, records, run, trained

from marl import Dataset, RunError, load_policies
from rrm_env.files import WriteError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL and no mounts there")

NETWORK = [
    "--set",
    *(
        f"{name}={getattr(SMALL, name)}"
        for name in ("n_aps", "n_ues", "n_candidates", "episode_length")
    ),
]
NO_SPACE = "(No space left on device|File too large)"
NO_PERMISSION = "(Read-only file system|Permission denied)"
ON = "go on with --resume"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset and runs, which tests leave as it is."""
    return furnished(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """tests/reliability/kills.py, imported."""
    import kills

    return kills


# --- Kills ---


def test_killed_commands_leave_nothing_half_and_reruns_end_with_the_same_bytes(
    script: ModuleType, tmp_path: Path
) -> None:
    generator = np.random.default_rng(7)
    small = f"--hidden-sizes 16 --updates 30 {script.BRIEF} {' '.join(NETWORK)}"
    works = (
        script.Work("collect", ("-m marl collect --out data.safetensors --transitions 20000",)),
        script.Work(
            "train",
            (f"-m marl train --out run --learning-starts 64 --replay-capacity 20000 {small}",),
            resumes=True,
        ),
    )
    for work in works:
        (folder := tmp_path / work.name).mkdir()
        bench = script.Bench(work, folder, generator)
        while bench.tally.kills < 2:
            bench.chain(2)
        assert bench.tally.faults == []
        assert (bench.tally.equal, bench.tally.results) == (
            bench.tally.results,
            bench.tally.results,
        )
        assert bench.tally.results >= 1


def test_half_files_are_found_by_the_script_that_kills(script: ModuleType, tmp_path: Path) -> None:
    """The script reports traces of a kill, so that its silence about real kills is evidence."""
    trained(tmp_path / "run")
    made_up().write(tmp_path / "data.safetensors")
    script.check_loadable(tmp_path)
    (tmp_path / ".data.part.safetensors").write_bytes(b"half")
    script.check_loadable(tmp_path)
    for name in (
        "run/checkpoint.safetensors",
        "run/replay-20.safetensors",
        "run/config.json",
        "data.safetensors",
    ):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(
            ValueError,
            match=r"cannot be read|no readable checkpoint|is no JSON|Expecting|Unterminated",
        ):
            script.check_loadable(tmp_path)
        (tmp_path / name).write_bytes(whole)
    before = script.contents(tmp_path)
    (tmp_path / "run" / "log.jsonl").write_text(
        re.sub(r'"seconds": [\d.]+', '"seconds": 99', (tmp_path / "run" / "log.jsonl").read_text())
    )
    assert script.contents(tmp_path) == before
    (tmp_path / "run" / ".lock").touch()
    assert script.contents(tmp_path) != before


def test_same_dataset_is_the_same_bytes_every_time(tmp_path: Path) -> None:
    # The library alone would order the metadata by a hash, which differs every time.
    for k in range(12):
        made_up().write(tmp_path / str(k))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    assert Dataset.read(tmp_path / "0").fingerprint() == made_up().fingerprint()
    assert (8 + int.from_bytes((tmp_path / "0").read_bytes()[:8], "little")) % 8 == 0


class PowerCutError(BaseException):
    """An error that ends a run as a power cut would."""


@pytest.mark.parametrize(
    ("function", "name", "nth"),
    [
        ("os.replace", "replay-20.safetensors", 1),
        ("os.replace", "checkpoint.safetensors", 2),
        ("pathlib.Path.unlink", "replay-10.safetensors", 1),
    ],
)
def test_run_cut_between_any_two_writes_of_a_checkpoint_ends_with_the_same_files(
    function: str, name: str, nth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, reached = os.replace if function == "os.replace" else Path.unlink, []

    def cut(*arguments: Any, **options: Any) -> None:
        reached.append(Path(arguments[-1]).name)
        if reached.count(name) == nth:
            raise PowerCutError
        original(*arguments, **options)

    with monkeypatch.context() as cutting:
        cutting.setattr(function, cut)
        with pytest.raises(PowerCutError):
            trained(tmp_path / "run")
    trained(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(trained(tmp_path / "whole"))


@pytest.mark.parametrize("left", [(), (".config.part.json",), (".lock",)])
def test_plain_training_goes_on_in_a_folder_that_a_kill_left_without_a_description(
    left: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    for name in left:
        (tmp_path / "run" / name).touch()
    with pytest.raises(
        RunError,
        match=r"holds no run: config.json .*; "
        r"there is nothing to resume: start it without --resume",
    ):
        trained(tmp_path / "run", resume=True)
    assert_same_outcome(trained(tmp_path / "run"), trained(tmp_path / "whole"))


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "log.jsonl"])
def test_folder_with_the_rest_of_another_run_is_refused(name: str, tmp_path: Path) -> None:
    folder = trained(tmp_path / "run")
    for file in folder.iterdir():
        if file.name != name:
            file.unlink()
    before = contents(folder)
    with pytest.raises(
        RunError, match=f"holds {name} of a run without config.json: choose another folder"
    ):
        trained(folder)
    assert contents(folder) == before


# --- Full disks ---


def test_dataset_that_does_not_fit_leaves_the_old_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        out = disk.folder / "data.safetensors"
        command = ["collect", "--out", out, "--transitions", 400, *NETWORK]
        made_up().write(out)
        disk.fill(left=8192)
        assert run(*command) == 1
        errors = capsys.readouterr().err
        assert re.fullmatch(
            rf"error: '.*data\.safetensors' could not be written: {NO_SPACE}; "
            r"what stood there .*, then try again\n",
            errors,
        )
        assert Dataset.read(out).fingerprint() == made_up().fingerprint()
        assert hidden(disk.folder) == []
        disk.free()
        assert run(*command) == 0
        assert len(Dataset.read(out)) == 400


@pytest.mark.parametrize(
    ("training", "left", "refused", "kept"),
    [
        (
            {"updates": 40},
            8192,
            "(checkpoint|replay-20)\\.safetensors",
            f"keeps its checkpoint of update 10 (of 40): {ON}",
        ),
        (
            {"updates": 60, "checkpoint_every": 60, "log_every": 1},
            0,
            "log\\.jsonl",
            f"has no checkpoint yet (of 60): {ON}",
        ),
    ],
)
def test_run_on_a_full_disk_keeps_its_checkpoint_and_ends_alike_when_there_is_space(
    training: dict[str, Any], left: int, refused: str, kept: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:

        def report(updates: int, record: dict[str, Any]) -> None:
            if updates == 15:
                disk.fill(left)

        folder = disk.folder / "run"
        message = (
            rf"{refused}' could not be written: {NO_SPACE}; .*, then try again; "
            rf"'.*run' {re.escape(kept)}"
        )
        with pytest.raises(WriteError, match=message):
            trained(folder, {"hidden_sizes": (32,)}, training, report=report)
        disk.free()
        assert hidden(folder) == []
        assert [record["update"] for record in records(folder)] == sorted(
            {record["update"] for record in records(folder)}
        )
        trained(folder, {"hidden_sizes": (32,)}, training, resume=True)
        assert contents(folder) == contents(
            trained(tmp_path / "whole", {"hidden_sizes": (32,)}, training)
        )


def test_training_command_on_a_full_disk_ends_with_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        disk.fill(left=8192)
        command = [
            "train",
            "--out",
            disk.folder / "run",
            "--updates",
            10,
            "--log-every",
            10,
            "--checkpoint-every",
            10,
            *NETWORK,
        ]
        arguments = ["--evaluate-every", 10, "--evaluation-episodes", 1, "--learning-starts", 64]
        assert run(*command, *arguments) == 1
        disk.free()
        assert re.fullmatch(
            rf"error: '.*replay-10\.safetensors' could not be written: {NO_SPACE}; .*"
            r"run' has no checkpoint yet \(of 10\): go on with --resume\n",
            capsys.readouterr().err,
        )


def test_evaluation_that_cannot_be_written_ends_with_one_line(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        out = disk.folder / "out.json"
        out.write_text(OLD)
        disk.fill(left=8192)
        assert run("evaluate", home / "sac", "--episodes", 200, "--json", out) == 1
        disk.free()
        captured = capsys.readouterr()
        assert re.fullmatch(
            rf"error: '.*out\.json' could not be written: {NO_SPACE}; .*, then try again\n",
            captured.err,
        )
        assert "C-MARL-CQL (SAC)" in captured.out  # the table does not wait for the file
        assert [path.read_text() for path in disk.folder.iterdir()] == [OLD]


def test_tensorboard_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    class Writing(threading.Thread):
        """A writer of events."""

    Writing.__module__ = "tensorboard.summary.writer"

    class Full:
        """A writer whose disk is full; the real one need not be installed."""

        def __init__(self, folder: str) -> None:
            assert folder.endswith("tensorboard")

        def add_scalar(self, *_: object) -> None:
            """Fail as the real one: first in its thread, whose traceback Python would print."""
            thread = Writing(target=fail)
            thread.start()
            thread.join()
            fail()

        def close(self) -> None:
            """Fail again."""
            raise OSError(errno.EIO, "Input/output error")

    before = threading.excepthook
    module = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Full  # type: ignore[attr-defined]
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "torch.utils.tensorboard", module)
        with pytest.raises(
            WriteError,
            match=r"tensorboard' could not be written: No space left .*; "
            r"TensorBoard shows less than the log",
        ):
            trained(tmp_path / "run")
    assert [record["update"] for record in records(tmp_path / "run")] == [5]
    assert threading.excepthook is before


# --- Read-only folders ---


def test_read_only_run_is_evaluated_and_recorded_but_not_trained(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trained(tmp_path / "run")
    before = contents(folder)
    with read_only(folder):
        assert run("evaluate", folder, "--episodes", 4) == 0
        assert run("info", folder) == 0
        arguments = ["--policy", folder, "--out", tmp_path / "data", "--transitions", 20, *NETWORK]
        assert run("collect", *arguments) == 0
        assert len(load_policies(folder)) == 1
        capsys.readouterr()
        with pytest.raises(
            WriteError,
            match=rf"\.lock' could not be locked: {NO_PERMISSION}; nothing was changed; ",
        ):
            trained(folder, {}, {"updates": 30}, resume=True)
        with pytest.raises(RunError, match=rf"the folder '.*new' cannot be made: {NO_PERMISSION}"):
            trained(folder / "new")
    assert contents(folder) == before
    (empty := tmp_path / "empty").mkdir()
    with (
        read_only(empty),
        pytest.raises(RunError, match=r"cannot be written: config.json = .* cannot be written: "),
    ):
        trained(empty)
