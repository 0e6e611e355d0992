"""Settings shared by all tests."""

import importlib.util
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from baselines import __main__ as command
from rrm_env.compile_notice import ANNOUNCER

# Learners need torch, which is an extra and missing where only the environment is tested.
collect_ignore_glob = (
    []
    if importlib.util.find_spec("torch")
    else ["test_marl/*", "test_examples/*", "test_reliability/test_marl_*", "test_docs/test_marl_*"]
)

# Shared machines stall at random, and the first example of a test may compile kernels: no deadline.
settings.register_profile("default", deadline=None, max_examples=60, print_blob=True)
settings.register_profile("quick", parent=settings.get_profile("default"), max_examples=10)
settings.load_profile("default")

# Tests compare what commands print on standard error. That must not depend on whether kernels were
# compiled before.
ANNOUNCER.silence()

# Background jobs of shells, and nohup, ignore these signals. Programs that tests start and
# interrupt would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders for optima and datasets that start empty, also in the programs that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RRM_ENV_CACHE_DIR", str(tmp_path_factory.mktemp("optima")))
        patch.setenv("RRM_ENV_DATASETS", str(tmp_path_factory.mktemp("datasets")))
        yield


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[list[str], str], None]:
    """A check that ``python -m baselines`` refuses arguments and writes nothing.

    It takes the arguments and the message, and expects status 2.
    """

    def check(arguments: list[str], message: str) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
        assert command.main(arguments) == 2
        assert message in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    return check


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset and runs, as arguments of commands."""
    from toys import furnished  # which needs torch

    return furnished(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with a graph policy of random parameters."""
    from graphs import policy_file  # which needs torch

    return policy_file(tmp_path_factory.mktemp("policies") / "random.safetensors")


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide terminal, and an environment for --env."""
    import toys  # which needs torch

    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setattr(toys, "parallel_env", toys.Match, raising=False)


@pytest.fixture
def minari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library Minari, with a temporary folder for datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return pytest.importorskip("minari", reason="Minari is not installed")
