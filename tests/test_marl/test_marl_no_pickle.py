"""Loading a file runs no code from it: neither in practice nor anywhere in the sources."""

from __future__ import annotations

import ast
import builtins
import marshal
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from folders import ROOT
from graphs import policy_file
from toys import SMALL, assert_same_outcome, trained

from baselines import RandomWalk
from marl import (
    Dataset,
    Policy,
    collect,
    from_mdp_arrays,
    from_minari,
    load_policies,
    mdp_arrays,
    read_mdp_arrays,
    to_minari,
)
from marl.benchmark.snapshots import snapshots
from marl.graph.files import described_policy
from marl.runs.checkpoint import load_tensors, read_log
from marl.runs.description import describe

CODE = [
    (pickle, "load"),
    (pickle, "loads"),
    (pickle, "Unpickler"),
    (marshal, "loads"),
    (torch, "load"),
    (builtins, "eval"),
    (builtins, "exec"),
]
"""Functions that run code given as bytes or text."""
OFFLINE, ONLINE = "offline", "online"


class CodeError(BaseException):
    """Raised instead of running code; no `except Exception` hides it."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files of every kind: a dataset, its arrays, and runs offline and online.

    Each run has a copy to resume.
    """
    folder = tmp_path_factory.mktemp("home")
    dataset = collect(RandomWalk(silence=True), SMALL, 45, seed=5)
    dataset.write(folder / "data.safetensors")
    np.savez(folder / "data.npz", **mdp_arrays(dataset))  # type: ignore[arg-type] # numpy's stub takes the first array for a flag
    for name in (OFFLINE, f"{OFFLINE} resumed"):
        trained(folder / name, {"algorithm": "sac"}, dataset=dataset)
    for name in (ONLINE, f"{ONLINE} resumed"):
        trained(folder / name, {"algorithm": "dqn"})
    return folder


@pytest.fixture
def no_code(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make all functions that run code raise, except where Python imports a module."""

    def guarded(module: ModuleType, name: str) -> Callable[..., Any]:
        original = getattr(module, name)

        def guard(*arguments: Any, **options: Any) -> Any:
            if sys._getframe(1).f_code.co_filename.startswith("<frozen importlib"):
                return original(*arguments, **options)
            raise CodeError(f"{module.__name__}.{name}")

        return guard

    with monkeypatch.context() as patch:
        for module, name in CODE:
            patch.setattr(module, name, guarded(module, name))
        yield


LOADERS: dict[str, Callable[[Path], Any]] = {
    "Dataset.read": lambda folder: Dataset.read(folder / "data.safetensors").fingerprint(),
    "describe": lambda folder: describe(folder / OFFLINE)["scheme"],
    "Policy.load": lambda folder: Policy.load(folder / OFFLINE).team,
    "load_policies": lambda folder: [policy.team for policy in load_policies(folder / ONLINE)],
    "checkpoint": lambda folder: load_tensors(folder / OFFLINE, with_replay=False)[0].keys(),
    "replay": lambda folder: (load_tensors(folder / ONLINE, with_replay=True)[1] or {}).keys(),
    "log": lambda folder: list(read_log(folder / ONLINE)),
    "snapshots": lambda _: [(name, share) for name, _, share in snapshots("paper")],
    "described_policy": lambda folder: described_policy(policy_file(folder / "p.safetensors"))[2],
    "read_mdp_arrays": lambda folder: from_mdp_arrays(
        read_mdp_arrays(folder / "data.npz"), SMALL
    ).fingerprint(),
}


@pytest.mark.parametrize("name", LOADERS)
def test_loading_runs_no_code(name: str, home: Path, request: pytest.FixtureRequest) -> None:
    expected = LOADERS[name](home)  # also imports what is imported late
    request.getfixturevalue("no_code")
    assert LOADERS[name](home) == expected


@pytest.mark.parametrize("name", [OFFLINE, ONLINE])
def test_resuming_runs_no_code(name: str, home: Path, request: pytest.FixtureRequest) -> None:
    learner, options = {"algorithm": "sac"}, {"dataset": Dataset.read(home / "data.safetensors")}
    if name == ONLINE:
        learner, options = {"algorithm": "dqn"}, {}
    trained(home / name, learner, {"updates": 30}, resume=True, **options)
    request.getfixturevalue("no_code")
    assert_same_outcome(
        trained(home / f"{name} resumed", learner, {"updates": 30}, resume=True, **options),
        home / name,
    )


def test_minari_folders_run_no_pickle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip("minari")
    pytest.importorskip("h5py")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = collect(RandomWalk(silence=True), SMALL, 30)
    to_minari(dataset, "some-v0")
    assert from_minari("some-v0").fingerprint() == dataset.fingerprint()
    request.getfixturevalue("no_code")
    assert from_minari("some-v0").fingerprint() == dataset.fingerprint()


# --- Sources ---

ALLOWED = {
    *(
        (f"marl/{engine}.py", use)
        for engine in ("engines/base", "engines/local")
        for use in ("import pickle", "pickle.loads", "pickle.dumps")
    ),
    ("rrm_env/compiling.py", "import pickle"),
    ("rrm_env/compiling.py", "pickle.loads"),
    ("baselines/optimum/cache.py", "np.load"),
    ("rrm_env/trace_files.py", "np.load"),
}
"""Engines pickle calls between the user's own processes, and try whether an error can be pickled.
Compiled code in numba's cache is in a file that numba itself unpickled before. The optimum's cache
and traces are read with allow_pickle=False; anything else would be found as "np.load with
allow_pickle"."""
MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "yaml",
}
FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.jit.load",
    "np.load",
    "numpy.load",
    *(f"{name}." for name in MODULES),
}


def suspicious(tree: ast.AST) -> Iterator[str]:
    """Imports and calls in a source file that may run code from a file that is loaded.

    Any `allow_pickle` other than False is one.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (
                f"import {alias.name}"
                for alias in node.names
                if alias.name.split(".")[0] in MODULES
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield f"from {node.module} import"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in FORBIDDEN or called.split(".")[0] + "." in FORBIDDEN:
                yield called
            for keyword in node.keywords:
                if (keyword.arg, ast.unparse(keyword.value)) in (
                    ("weights_only", "False"),
                    ("trust_remote_code", "True"),
                ):
                    yield f"{called} with {keyword.arg}"
                if keyword.arg == "allow_pickle" and ast.unparse(keyword.value) != "False":
                    yield f"{called} with allow_pickle"


def test_no_source_can_run_what_a_file_says() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), what)
        for package in ("rrm_env", "baselines", "marl")
        for path in (ROOT / package).rglob("*.py")
        for what in suspicious(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "pickle.loads(content)",
        "import pickle as p",
        "from pickle import loads",
        "np.load(path)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "np.lib.format.read_array(file, allow_pickle=flag)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_the_search_of_sources_finds_what_it_looks_for(line: str) -> None:
    assert list(suspicious(ast.parse(line)))
