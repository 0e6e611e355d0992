"""Libraries that are missing or broken are named where they are needed, and skipped elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from broken import REASONS, break_library, remove_library, write_broken
from folders import ROOT
from toys import Match, assert_same_outcome, made_up, run, trained

from marl import from_minari, to_minari
from marl.engines import open_engine
from marl.sources import ParallelSource, make_env
from marl.training.tensorboard import tensorboard
from rrm_env import optional


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let notices that are printed once per process appear in each test."""
    monkeypatch.setattr(optional, "_said", set())


@pytest.mark.parametrize("kind", REASONS)
def test_training_goes_on_without_a_broken_tensorboard(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = trained(tmp_path / "expected")
    caplog.clear()
    break_library("tensorboard", kind, tmp_path / "broken", monkeypatch)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    for name in ("first", "second"):
        assert_same_outcome(trained(tmp_path / name), expected)
        assert not (tmp_path / name / "tensorboard").exists()
    (line,) = caplog.messages
    assert line.startswith(f"tensorboard is left out ({kind}: ")
    assert line.endswith("): the log in the run's folder holds the same values")


class Writer:
    """A writer of events that fails where the test says."""

    fails = ""

    def __init__(self, *_: object) -> None:
        self._fail("__init__")

    def add_scalar(self, *_: object) -> None:
        """Write a number."""
        self._fail("add_scalar")

    def close(self) -> None:
        """Write the rest."""
        self._fail("close")

    def _fail(self, name: str) -> None:
        if name == self.fails:
            raise AttributeError("np.string_ was removed in the NumPy 2.0 release")


@pytest.mark.parametrize("fails", ["__init__", "add_scalar", "close"])
def test_training_goes_on_where_tensorboard_breaks_later(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = trained(tmp_path / "expected")
    caplog.clear()
    module: Any = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "fails", fails)
    assert_same_outcome(trained(tmp_path / "run"), expected)
    (line,) = caplog.messages
    assert line.startswith("tensorboard is left out (AttributeError: np.string_ was removed")


def test_trainings_that_overlap_leave_the_hook_for_threads_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads overlap: the one that starts first also ends first."""
    module: Any = type(sys)("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    before = threading.excepthook
    with ExitStack() as second:
        with tensorboard(tmp_path / "first"):
            second.enter_context(tensorboard(tmp_path / "second"))
        assert threading.excepthook is not before
    assert threading.excepthook is before


ASKED: dict[str, tuple[str, Callable[[], object], str]] = {
    "ray": ("ray", lambda: open_engine("ray"), "engine = 'ray' needs ray"),
    "minari": ("minari", lambda: to_minari(made_up(), "a/b-v0"), "to_minari needs minari"),
    "h5py": ("h5py", lambda: from_minari("a/b-v0"), "from_minari needs h5py"),
    "pillow": ("PIL", lambda: from_minari("a/b-v0"), "from_minari needs PIL"),
    "supersuit": (
        "supersuit",
        lambda: ParallelSource(Match, 1),
        "other environments than the network need supersuit",
    ),
}


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("asked", ASKED)
def test_what_needs_a_broken_library_is_refused_with_the_reason(
    asked: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, ask, refusal = ASKED[asked]
    break_library(library, kind, tmp_path, monkeypatch)
    with pytest.raises(
        ValueError,
        match=rf"^{refusal}, which is installed but cannot be imported \({kind}: \w[^\n]*\)$",
    ):
        ask()


@pytest.mark.parametrize("asked", ASKED)
def test_what_needs_a_missing_library_says_how_to_install_it(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, ask, refusal = ASKED[asked]
    remove_library(library, monkeypatch)
    with pytest.raises(ValueError, match=rf'^{refusal}: pip install -e "\.\[\w+\]"$'):
        ask()


@pytest.mark.parametrize("kind", REASONS)
def test_an_environment_that_cannot_be_imported_is_named(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_library("somewhere", kind, tmp_path, monkeypatch)
    with pytest.raises(
        ValueError, match=rf"^env = 'somewhere' cannot be imported: {kind}: \w[^\n]*$"
    ):
        make_env("somewhere")


@pytest.mark.parametrize("kind", REASONS)
def test_a_sweep_leaves_out_its_picture(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.toml").write_text(
        "[train]\nupdates = 2\nhidden_sizes = [4]\nbatch_size = 4\nlearning_starts = 8\n"
        "evaluation_episodes = 1\nset = { n_ues = 6 }\n"
        "[evaluate]\nepisodes = 1\n"
    )
    break_library("matplotlib", kind, tmp_path / "broken", monkeypatch)
    assert run("sweep", tmp_path / "sweep.toml", "--out", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    (left_out,) = [line for line in lines if "left out" in line]
    assert left_out.startswith(
        "results.png left out: it needs matplotlib, "
        f"which is installed but cannot be imported ({kind}: "
    )
    assert (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(
    "script",
    [
        "paper/figure_4.py",
        "paper/sensitivity.py",
        "paper/past_the_paper.py",
        "quickstart.py",
        "simple_spread.py",
    ],
)
def test_a_script_that_ends_with_a_picture_is_refused_before_any_work(
    script: str, tmp_path: Path
) -> None:
    write_broken("matplotlib", "AttributeError", tmp_path / "broken")
    search = os.pathsep.join([str(tmp_path / "broken"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / script), "--out", str(tmp_path / "out")],
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    reason = "AttributeError: module has no attribute float_"
    broken = f"needs matplotlib, which is installed but cannot be imported ({reason})"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the picture {broken}\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("library", ["torch", "safetensors", "filelock"])
@pytest.mark.parametrize("kind", ["OSError", "SystemExit"])
def test_importing_marl_without_what_it_needs_gives_the_reason(
    library: str, kind: str, tmp_path: Path
) -> None:
    write_broken(library, kind, tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    program = "try:\n    import marl\nexcept ImportError as error:\n    print(error)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith(
        f"marl needs {library}, which is installed but cannot be imported ({kind}: "
    )
